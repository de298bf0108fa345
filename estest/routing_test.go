package estest_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
)

// Asked of a real 8.19.0: documents with these ids were indexed, then each shard was searched with preference=_shards:N.
func TestRoutingVectors(t *testing.T) {
	ids := []string{"a", "0", "1", "abc", "user-42", "x y/z", "é", "日本語", "😀 emoji", `"q"`, "longer routing value 1234567890",
		"ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ"}
	for _, c := range []struct {
		shards int
		want   []int
	}{
		{2, []int{0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}},
		{3, []int{0, 1, 2, 0, 0, 1, 1, 2, 0, 2, 2, 1}},
		{5, []int{1, 3, 4, 4, 1, 0, 4, 2, 1, 3, 4, 4}},
		{8, []int{2, 5, 0, 5, 2, 3, 3, 0, 3, 1, 2, 0}},
		{17, []int{16, 5, 4, 10, 1, 1, 9, 6, 1, 14, 12, 9}},
	} {
		for i, id := range ids {
			require.Equal(t, c.want[i], estest.ShardOf(id, "", c.shards), "%s of %d", id, c.shards)
		}
	}
}

func ExampleNewHandler() {
	h := estest.NewHandler(nil)
	err := h.Index("books", estest.Doc{ID: "1", Source: []byte(`{"title":"Walden"}`)})
	fmt.Println(err, h.Count("books"))
	// Output: <nil> 1
}
