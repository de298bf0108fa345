package estest_test

import (
	"fmt"
	"net/http"

	"github.com/escrow-backup/escrow/estest"
)

// A whole server, with a client that is connected to it.
func ExampleNew() {
	s := estest.New(nil, nil) // in a test, give it the testing.T: it ends with the test
	defer s.Close()
	if err := s.Index("books", estest.Doc{ID: "1", Source: []byte(`{"title":"Walden"}`)}); err != nil {
		fmt.Println(err)
	}
	res, err := s.Client().Get("books", "1")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	fmt.Println(res.StatusCode, s.Count("books"))
	// Output: 200 1
}

// The first search is answered 429, all others as usual.
func ExampleHandler_Inject() {
	s := estest.New(nil, nil)
	defer s.Close()
	if err := s.Index("books", estest.Doc{ID: "1", Source: []byte(`{"title":"Walden"}`)}); err != nil {
		fmt.Println(err)
	}
	busy := s.Inject().Path("/_search").Once().Status(http.StatusTooManyRequests)
	es := s.Client()
	for range 2 {
		res, err := es.Search(es.Search.WithIndex("books"))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(res.StatusCode, busy.Count())
		_ = res.Body.Close() // of an example
	}
	// Output:
	// 429 1
	// 200 1
}
