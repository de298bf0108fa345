package backup

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// Documents are of about one size in general, not of exactly one: where a page turns out a little larger than the one before, the next segments
// are still read with one request each.
func TestOneRequestASegment(t *testing.T) {
	es := estest.NewHandler(nil).Transport()
	create(t, es, "i", 1)
	r := rand.New(rand.NewPCG(1, 2))
	const docs = 30_000
	for from := 0; from < docs; from += 1000 {
		var b strings.Builder
		for i := range 1000 {
			fmt.Fprintf(&b, "{\"index\":{\"_id\":\"%d\"}}\n{\"pad\":%q}\n", from+i, strings.Repeat("x", 800+r.IntN(400)))
		}
		send(t, es, "POST", "/i/_bulk", b.String())
	}
	var searches atomic.Int64
	w := &wire{next: es, at: -1, each: func(r *http.Request) {
		if r.URL.Path != "/_search" {
			return
		}
		b, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		r.Body = io.NopCloser(strings.NewReader(string(b)))
		if strings.Contains(string(b), `"sort":[{"_seq_no":"asc"}]`) {
			searches.Add(1)
		}
	}}
	repo := repositorytest.New(t)
	res, err := Run(t.Context(), w, repo, nil)
	require.NoError(t, err)
	require.EqualValues(t, docs, res.Documents)
	require.Greater(t, res.Segments, int64(5))
	require.Equal(t, res.Segments, searches.Load())
}
