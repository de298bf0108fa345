package backup

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
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

// Shards of an index that are opened together are prepared together: statistics, a refresh and primary terms are of the whole index.
func TestPrepareOnce(t *testing.T) {
	const shards = 8
	es := estest.NewHandler(nil).Transport()
	create(t, es, "i", shards)
	send(t, es, "POST", "/i/_bulk", "{\"index\":{}}\n{}\n")
	var refreshes atomic.Int64
	var begun sync.WaitGroup
	begun.Add(shards)
	c := elastic.New(&wire{next: es, at: -1, each: func(r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/_refresh") {
			refreshes.Add(1)
			begun.Wait()
			time.Sleep(50 * time.Millisecond) // they have asked by then
		}
	}}, nil)
	open := func(ix *elastic.Index, n int) {
		sh, err := c.OpenShard(t.Context(), ix, n, elastic.ReadOptions{})
		require.NoError(t, err)
		require.True(t, sh.Info.Sealed, sh.Info.Reason)
		sh.Close(t.Context())
	}
	ix, err := c.Index(t.Context(), layout.Cluster{}, "i")
	require.NoError(t, err)
	var all sync.WaitGroup
	for n := range shards {
		all.Go(func() {
			begun.Done()
			open(ix, n)
		})
	}
	all.Wait()
	require.Less(t, refreshes.Load(), int64(shards/2))

	before := refreshes.Load()
	for n := range shards { // one after another: each has to see what was written before it
		open(ix, n)
	}
	require.Equal(t, before+shards, refreshes.Load())
}
