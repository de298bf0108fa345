package backup

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
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
	const docs = 4000
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
		if strings.Contains(string(b), `"sort":[{"_seq_no":"asc"}]`) && !strings.Contains(string(b), `"_source":false`) {
			searches.Add(1)
		}
	}}
	repo := repositorytest.New(t)
	res, err := Run(t.Context(), w, repo, &Options{shrink: 16})
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
		sh, err := c.OpenShard(t.Context(), ix, n, elastic.ReadOptions{}, nil)
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

// cutBody breaks off after some bytes.
type cutBody struct {
	io.ReadCloser
	left int
}

func (b *cutBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, syscall.ECONNRESET
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// cutter cuts every answer with documents that is longer than some bytes.
type cutter struct {
	next elastictransport.Interface
	long int
	cuts atomic.Int64
}

func (c *cutter) Perform(r *http.Request) (*http.Response, error) {
	res, err := c.next.Perform(r)
	if err != nil || r.URL.Path != "/_search" {
		return res, err
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(b))
	if len(b) > c.long {
		c.cuts.Add(1)
		res.Body = &cutBody{res.Body, c.long}
	}
	return res, nil
}

// Whatever arrived of an answer before its connection broke counts: as long as something arrives each time, a backup gets on, and no
// document is in it twice.
func TestAnswersThatBreakOff(t *testing.T) {
	es := estest.NewHandler(nil).Transport()
	create(t, es, "i", 1)
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "{\"index\":{\"_id\":\"%d\"}}\n{\"pad\":%q}\n", i, strings.Repeat("x", 100))
	}
	send(t, es, "POST", "/i/_bulk", b.String())
	via := &cutter{next: es, long: 8_000}
	repo := repositorytest.New(t)
	res, err := Run(t.Context(), via, repo, &Options{Retries: 1, Concurrency: 1, sleep: impatient, shrink: 8})
	require.NoError(t, err)
	require.EqualValues(t, 1000, res.Documents)
	require.Greater(t, via.cuts.Load(), int64(20))
	require.GreaterOrEqual(t, res.Retries, via.cuts.Load())
	requireSame(t, es, repo, res, "i")
}

// Documents that are read one by one, since they are large, in several segments that are read at the same time and wanted in order.
func TestLargeDocumentsInOrder(t *testing.T) {
	es := estest.NewHandler(nil).Transport()
	create(t, es, "i", 1)
	const shrink = 16
	for i := range 24 {
		send(t, es, "POST", "/i/_bulk", fmt.Sprintf("{\"index\":{\"_id\":\"%d\"}}\n{\"pad\":%q}\n", i, strings.Repeat("x", (3<<20+i%3<<20)/shrink)))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n := 0
	for d, err := range Documents(ctx, es, &Options{Concurrency: 4, shrink: shrink}) {
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(n), d.ID)
		n++
	}
	require.Equal(t, 24, n)
}
