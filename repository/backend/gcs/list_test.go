package gcs_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/gcs"
)

// listing answers the requests of a list with these pages, and tells the tokens it was asked with.
func listing(t *testing.T, tokens *[]string, pages ...string) *gcs.Backend {
	return serve(t, gcs.Config{Prefix: "pre"}, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		require.Equal(t, "/storage/v1/b/bucket/o", r.URL.Path)
		require.Equal(t, "pre/data/", q.Get("prefix"))
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		fmt.Fprint(w, pages[min(len(*tokens), len(pages)-1)])
		*tokens = append(*tokens, q.Get("pageToken"))
	})
}

func page(next string, names ...string) string {
	items := []map[string]string{}
	for _, n := range names {
		items = append(items, map[string]string{"name": n, "size": fmt.Sprint(len(n))})
	}
	data, err := json.Marshal(map[string]any{"nextPageToken": next, "items": items})
	if err != nil {
		panic(err)
	}
	return string(data)
}

func TestList(t *testing.T) {
	handle := func(content string) backend.Handle { return backendtest.HandleOf(backend.Pack, []byte(content)) }
	a, c, wrong := handle("a"), handle("c"), handle("wrong").Name
	var tokens []string
	b := listing(t, &tokens,
		page("t1", "pre/data/", "pre/data/README", "pre/"+a.Path(), "pre/"+a.Path()+".bak"),
		page("t2"),
		page("", "pre/data/zz/"+wrong, "pre/data/"+wrong, "pre/data/"+wrong[:2]+"/x/"+wrong, "pre/"+c.Path()))
	infos, err := list(b, backend.Pack)
	require.NoError(t, err)
	size := int64(len("pre/" + a.Path()))
	require.Equal(t, []backend.FileInfo{{Handle: a, Size: size}, {Handle: c, Size: size}}, infos)
	require.Equal(t, []string{"", "t1", "t2"}, tokens)
}

func TestListThatIsNotWhole(t *testing.T) {
	a := "pre/" + backendtest.HandleOf(backend.Pack, []byte("a")).Path()
	whole := page("", a)
	for name, pages := range map[string][]string{
		"cut":                 {whole[:len(whole)-3]},
		"cut in a later page": {page("t1", a), whole[:len(whole)-3]},
		"empty":               {""},
		"something else":      {`[]`},
		"the same page again": {page("t1", a)},
		"a negative size":     {`{"items":[{"name":"` + a + `","size":"-1"}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			var tokens []string
			_, err := list(listing(t, &tokens, pages...), backend.Pack)
			require.Error(t, err)
		})
	}
}
