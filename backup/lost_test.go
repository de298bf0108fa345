package backup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// An index that goes while the backup runs is missing from it, and that is said; one that comes is not in it.
func TestIndexGoesOrComesInTheMiddle(t *testing.T) {
	for _, at := range []string{"/b/_stats", "/b/_pit", "/_refresh"} {
		_, es := cluster(t)
		var once sync.Once
		w := &wire{next: es, at: -1, each: func(r *http.Request) {
			if strings.Contains(r.URL.Path, at) {
				once.Do(func() {
					send(t, es, "DELETE", "/b", "")
					create(t, es, "new", 1)
					index(t, es, "new", 0, 10, "v")
				})
			}
		}}
		repo := repositorytest.New(t)
		_, err := Run(t.Context(), w, repo, &Options{Concurrency: 1, sleep: impatient})
		require.ErrorContains(t, err, "back up index b", at)
		requireNoSnapshot(t, repo)

		once = sync.Once{}
		send(t, es, "DELETE", "/new", "")
		create(t, es, "b", 1)
		res, err := Run(t.Context(), w, repo, &Options{Concurrency: 1, AllowOmissions: true, sleep: impatient})
		require.NoError(t, err)
		require.Len(t, res.Omitted, 1, at)
		require.Equal(t, "index b", res.Omitted[0].What)
		requireSame(t, es, repo, res, "a", "empty")
	}
}

// Frozen indices are left out of searches by servers that still have them: the point in time covers no shard.
func TestFrozenIndex(t *testing.T) {
	_, es := one(t)
	create(t, es, "other", 1)
	w := onRequests(es, "/i/_pit", edited(func(b []byte) []byte {
		return bytes.Replace(b, []byte(`"total":1`), []byte(`"total":0`), 1)
	}, nil))
	_, err := Dump(t.Context(), w, &memTarget{}, &Options{Retries: 1, sleep: impatient})
	require.ErrorContains(t, err, "back up index i: shard 0: open point in time: incomplete answer: it covers 0 shards")
	m, err := Dump(t.Context(), w, &memTarget{}, &Options{Retries: 1, AllowOmissions: true, sleep: impatient})
	require.NoError(t, err)
	require.Len(t, m.Omitted, 1)
	require.Equal(t, "index i", m.Omitted[0].What)
}

// A point in time that was on a node which is gone, as the versions say it, is opened again on another copy, and the shard read from the start.
func TestPointInTimeOnLostNode(t *testing.T) {
	for _, body := range []string{
		`{"error":{"type":"search_phase_execution_exception","root_cause":[{"type":"search_context_missing_exception"}]}}`,
		`{"error":{"type":"search_context_missing_nodes_exception","reason":"Search context of type [pit] references nodes that have left the cluster: [x]",
			"root_cause":[{"type":"search_context_missing_nodes_exception"}]}}`,
	} {
		for nth := range 4 {
			h, es := cluster(t)
			n := 0
			var mu sync.Mutex
			w := onRequests(es, "/_search", func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
				mu.Lock()
				n++
				fails := n == nth+1
				mu.Unlock()
				if fails {
					return answer(404, body)
				}
				return next.Perform(r)
			})
			repo := repositorytest.New(t)
			res, err := Run(t.Context(), w, repo, &Options{Concurrency: 1, sleep: impatient})
			require.NoError(t, err, "search %d", nth)
			requireSame(t, es, repo, res, "a", "b", "empty")
			require.Zero(t, h.OpenContexts())
		}
	}
}

// Shards that fail for good, the first or the last, in searches for documents or for counts, though the server answers 200: from the
// nth search of that shard on.
func TestShardThatFails(t *testing.T) {
	for _, shard := range []int{0, 1} {
		for _, nth := range []int{1, 2, 3} {
			h, es := cluster(t)
			index(t, es, "a", 1000, 2000, "v")
			var mu sync.Mutex
			var pits []string
			searches := 0
			var fault *estest.Fault
			w := &wire{next: es, at: -1, stays: true, do: func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
				if strings.HasSuffix(r.URL.Path, "/a/_pit") && strings.Contains(r.URL.Query().Get("preference"), fmt.Sprintf("_shards:%d", shard)) {
					return edited(func(b []byte) []byte {
						var opened struct{ ID string }
						require.NoError(t, json.Unmarshal(b, &opened))
						mu.Lock()
						defer mu.Unlock()
						pits = append(pits, opened.ID)
						return b
					}, nil)(next, r)
				}
				if r.URL.Path == "/_search" {
					body, err := io.ReadAll(r.Body)
					require.NoError(t, err)
					r.Body = io.NopCloser(bytes.NewReader(body))
					mu.Lock()
					if slices.ContainsFunc(pits, func(id string) bool { return bytes.Contains(body, []byte(id)) }) {
						if searches++; searches == nth {
							fault = h.Inject().Path("/_search").FailShards(shard).Forced()
						}
					}
					mu.Unlock()
				}
				return next.Perform(r)
			}}
			repo := repositorytest.New(t)
			_, err := Run(t.Context(), w, repo, &Options{Retries: 1, sleep: impatient})
			require.ErrorContains(t, err, "failed", "shard %d from search %d on", shard, nth)
			require.Positive(t, fault.Count())
			requireNoSnapshot(t, repo)
			require.Zero(t, h.OpenContexts())
		}
	}
}

// Storms of 429: every second request is refused, for as long as the backup takes.
func TestStormOfRefusals(t *testing.T) {
	_, es := cluster(t)
	var n atomic.Int64
	w := &wire{next: es, stays: true, do: func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
		if r.Method != "DELETE" && n.Add(1)%2 == 0 {
			return answer(429, `{"error":{"type":"es_rejected_execution_exception","reason":"queue full"}}`)
		}
		return next.Perform(r)
	}}
	repo := repositorytest.New(t)
	res, err := Run(t.Context(), w, repo, &Options{sleep: impatient})
	require.NoError(t, err)
	require.Positive(t, res.Retries)
	requireSame(t, es, repo, res, "a", "b", "empty")
}

// A reader that is slow holds back the requests: what was read ahead does not grow.
func TestSlowReader(t *testing.T) {
	h := estest.NewHandler(nil)
	es := h.Transport()
	create(t, es, "i", 1)
	for n := range 8 {
		index(t, es, "i", n*1000, n*1000+1000, strings.Repeat("v", 200))
	}
	searches := func() int { return len(h.Requests("/_search")) }
	docs, before := 0, 0
	for _, err := range Documents(t.Context(), es, &Options{Concurrency: 2, shrink: 16}) {
		require.NoError(t, err)
		if docs++; docs != 1 {
			continue
		}
		// Wait until no more is asked for.
		for before = -1; before != searches(); {
			before = searches()
			time.Sleep(50 * time.Millisecond)
		}
		require.Less(t, before, 12)
	}
	require.Equal(t, 8000, docs)
	require.Greater(t, searches(), before)
}

// However many indices there are, and however many shards they have.
func TestManySmallIndices(t *testing.T) {
	h := estest.NewHandler(nil)
	es := h.Transport()
	var want []string
	for n := range 1000 {
		name := fmt.Sprintf("small-%04d", n)
		require.NoError(t, h.Index(name, estest.Doc{ID: "1", Source: fmt.Appendf(nil, `{"n":%d}`, n)}))
		want = append(want, name)
	}
	repo := repositorytest.New(t)
	res, err := Run(t.Context(), es, repo, nil)
	require.NoError(t, err)
	require.EqualValues(t, 1000, res.Documents)
	require.Len(t, res.Manifest.Indices, len(want))
	got := contents(t, repoFiles(t, repo, res.Snapshot), res.Manifest)
	for n, name := range want {
		require.Equal(t, map[string]string{"1\x00": fmt.Sprintf(`{"n":%d}`, n)}, got[name])
	}
	again, err := Run(t.Context(), es, repo, nil)
	require.NoError(t, err)
	require.Zero(t, again.DocumentsRead)
	require.Zero(t, h.OpenContexts())
}
