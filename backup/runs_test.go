package backup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// scattered is an index whose documents came from four writers, and in which some were updated or deleted.
func scattered(t *testing.T, docs, size int) elastictransport.Interface {
	t.Helper()
	es := estest.NewHandler(&estest.Options{Writers: 4}).Transport()
	create(t, es, "i", 1)
	var b strings.Builder
	for i := range docs {
		fmt.Fprintf(&b, "{\"index\":{\"_id\":\"%d\"}}\n{\"n\":%d,\"pad\":%q}\n", i, i, strings.Repeat("x", size))
	}
	for i := 0; i < docs; i += 397 {
		fmt.Fprintf(&b, "{\"delete\":{\"_id\":\"%d\"}}\n{\"index\":{\"_id\":\"%d\"}}\n{\"new\":%d}\n", i, i+1, i)
	}
	send(t, es, "POST", "/i/_bulk", b.String())
	return es
}

// counter counts the pages of documents by how they are sorted, and may do something to those that are read by runs.
type counter struct {
	next elastictransport.Interface
	runs func(next elastictransport.Interface, r *http.Request) (*http.Response, error)

	mu                   sync.Mutex
	places, plain, byWay int
	ids                  int // of documents without their _source
	ranges               int // that were counted
}

func (c *counter) Perform(r *http.Request) (*http.Response, error) {
	if r.URL.Path != "/_search" {
		return c.next.Perform(r)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	var body struct {
		Sort   []map[string]string
		Source *bool `json:"_source"`
		Aggs   struct {
			B struct {
				Range struct{ Ranges []any }
			}
		}
	}
	if err := json.Unmarshal(b, &body); err != nil {
		return nil, err
	}
	sorted := func(by string) bool { return len(body.Sort) == 1 && body.Sort[0][by] == "asc" }
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ranges += len(body.Aggs.B.Range.Ranges)
	switch {
	case sorted("_seq_no") && body.Source != nil:
		c.places++
	case sorted("_seq_no"):
		c.plain++
	case sorted("_shard_doc") && body.Source != nil:
		c.ids++
	case sorted("_shard_doc"):
		c.byWay++
		if c.runs != nil {
			return c.runs(c.next, r)
		}
	}
	return c.next.Perform(r)
}

// Documents that do not lie in the order of their sequence numbers are read run by run, and stored in the order of their sequence numbers all the same.
func TestDocumentsAreReadWhereTheyLie(t *testing.T) {
	es := scattered(t, 4000, 400)
	w := &counter{next: es}
	repo := repositorytest.New(t)
	res, err := Run(t.Context(), w, repo, &Options{Concurrency: 1, shrink: 16})
	require.NoError(t, err)
	requireSame(t, es, repo, res, "i")
	require.Greater(t, w.places, 5)
	require.EqualValues(t, res.Segments, w.places+w.plain-1) // one was a probe
	require.LessOrEqual(t, w.plain, 4)                       // others are of the time before the documents' size was known
	require.Greater(t, w.byWay, 4*w.places)

	// An increment finds in it what it needs.
	index(t, es, "i", 0, 10, "new")
	res, err = Run(t.Context(), es, repo, &Options{shrink: 16})
	require.NoError(t, err)
	requireSame(t, es, repo, res, "i")
	require.Greater(t, res.DocumentsReused, int64(3000))

	last := int64(-1)
	n := 0
	for d, err := range Documents(t.Context(), es, &Options{shrink: 16}) {
		require.NoError(t, err)
		require.Greater(t, d.SeqNo, last)
		last = d.SeqNo
		n++
	}
	require.Len(t, live(t, es, "i"), n)
}

// Where documents lie in the order of their sequence numbers, it is soon not asked any more where that is.
func TestDocumentsInOrderAreReadInOrder(t *testing.T) {
	es := estest.NewHandler(nil).Transport()
	create(t, es, "i", 1)
	var b strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&b, "{\"index\":{\"_id\":\"%d\"}}\n{\"n\":%d,\"pad\":%q}\n", i, i, strings.Repeat("x", 400))
	}
	send(t, es, "POST", "/i/_bulk", b.String())
	w := &counter{next: es}
	res, err := Run(t.Context(), w, repositorytest.New(t), &Options{Concurrency: 1, shrink: 16})
	require.NoError(t, err)
	require.EqualValues(t, res.Segments, w.plain)
	require.Equal(t, 1, w.places)
	require.Zero(t, w.byWay)
}

// Whatever goes wrong with a page of a run, a backup holds each document once, or fails.
func TestPagesOfRunsThatGoWrong(t *testing.T) {
	sortValue := regexp.MustCompile(`"sort":\[(\d+)\]`)
	for name, c := range map[string]struct {
		do    func(next elastictransport.Interface, r *http.Request) (*http.Response, error)
		error string // none: the backup succeeds
	}{
		"cut": {do: func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
			return (&cutter{next: next, long: 10_000}).Perform(r)
		}},
		"too large for the server": {do: func(elastictransport.Interface, *http.Request) (*http.Response, error) {
			return answer(429, `{"error":{"type":"circuit_breaking_exception","reason":"Data too large"}}`)
		}},
		"reset": {do: func(elastictransport.Interface, *http.Request) (*http.Response, error) {
			return nil, syscall.ECONNRESET
		}, error: "reset"},
		"another document": {do: edited(func(b []byte) []byte {
			return sortValue.ReplaceAll(b, []byte(`"sort":[1$1]`))
		}, nil), error: "the server counted"},
		"a hit too few": {do: edited(func(b []byte) []byte {
			hits := oneHit.FindAllIndex(b, -1)
			return append(b[:hits[0][0]:hits[0][0]], b[hits[0][1]:]...)
		}, nil), error: "the server counted"},
		"no hits": {do: edited(func(b []byte) []byte {
			hits := oneHit.FindAllIndex(b, -1)
			return append(b[:hits[0][0]:hits[0][0]], b[hits[len(hits)-1][1]:]...)
		}, nil), error: "the server counted"},
	} {
		t.Run(name, func(t *testing.T) {
			es := scattered(t, 3000, 400)
			w := &counter{next: es, runs: c.do}
			repo := repositorytest.New(t)
			res, err := Run(t.Context(), w, repo, &Options{Retries: 1, sleep: impatient, shrink: 16})
			require.NotZero(t, w.byWay)
			if c.error != "" {
				require.ErrorContains(t, err, c.error)
				requireNoSnapshot(t, repo)
				return
			}
			require.NoError(t, err)
			requireSame(t, es, repo, res, "i")
		})
	}
}

// A server that does not say where documents lie, and documents that turn out larger than the first ones.
func TestNotByRunsAfterAll(t *testing.T) {
	t.Run("no places", func(t *testing.T) {
		es := scattered(t, 3000, 400)
		second := regexp.MustCompile(`("sort":\[\d+),\d+\]`)
		hide := edited(func(b []byte) []byte { return second.ReplaceAll(b, []byte("$1]")) }, nil)
		w := &counter{next: onRequests(es, "/_search", hide)}
		repo := repositorytest.New(t)
		res, err := Run(t.Context(), w, repo, &Options{shrink: 16})
		require.NoError(t, err)
		requireSame(t, es, repo, res, "i")
		require.Zero(t, w.byWay)
	})
	t.Run("large documents", func(t *testing.T) {
		es := scattered(t, 2180, 400) // they end soon after a segment begins, whenever the next one is planned
		var b strings.Builder
		for i := range 170 {
			fmt.Fprintf(&b, "{\"index\":{\"_id\":\"large-%d\"}}\n{\"pad\":%q}\n", i, strings.Repeat("x", 60_000))
		}
		send(t, es, "POST", "/i/_bulk", b.String())
		index(t, es, "i", 0, 200, "small")
		repo := repositorytest.New(t)
		w := &counter{next: es}
		res, err := Run(t.Context(), w, repo, &Options{Concurrency: 1, shrink: 16})
		require.NoError(t, err)
		requireSame(t, es, repo, res, "i")
		require.NotZero(t, w.byWay)
		require.Greater(t, w.plain, 20) // pages of a few large ones
	})
}
