package query_test

import (
	"fmt"
	"log"

	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/restore/query"
)

func ExampleParse() {
	q, err := query.Parse([]byte(`{"bool":{"must":[{"term":{"user.id":"kim"}},{"range":{"total":{"gte":10}}}]}}`))
	if err != nil {
		log.Fatal(err)
	}
	for _, source := range []string{`{"user":{"id":"kim"},"total":12.50}`, `{"user.id":"kim","total":9}`} {
		match, err := q.Match(&layout.Document{ID: "1", Source: []byte(source)})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(match)
	}
	_, err = query.Parse([]byte(`{"match":{"title":"fox"}}`))
	fmt.Println(err != nil)
	// Output:
	// true
	// false
	// true
}
