package e2e_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/internal/e2e/esproxy"
	"github.com/escrow-backup/escrow/internal/e2e/esserver"
	"github.com/escrow-backup/escrow/repository"
)

// TestIndexInTheMiddle deletes an index in the middle of its backup, or makes another of its name, and makes a new one that the pattern
// matches. What became of the first is said; the new one is not in the backup, and the other indices are whole.
func TestIndexInTheMiddle(t *testing.T) {
	onEach(t, func(t *testing.T, e *es) {
		const stays, goes, comes = "middle-a", "middle-b", "middle-new"
		body := `{"settings":{"number_of_shards":2,"number_of_replicas":0}}`
		for _, anew := range []bool{false, true} {
			for _, at := range []string{"/" + goes + "/_stats", "/" + goes + "/_refresh", "/" + goes + "/_pit"} {
				proxy := esproxy.Start(t, e.url, nil)
				through := &es{url: proxy.URL, version: e.version}
				o := &backup.Options{Indices: []string{"middle-*"}, Sections: []string{"none"}, Concurrency: 1}
				set := func() {
					t.Helper()
					e.remove(t, comes)
					for _, name := range []string{stays, goes} {
						e.create(t, name, body)
						e.put(t, name, 0, 50, "first")
					}
					e.removeLater(t, comes)
					proxy.Clear()
					var once sync.Once
					proxy.Add(&esproxy.Rule{Match: func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, at) }, Before: func(*http.Request) {
						once.Do(func() {
							e.do(t, "DELETE", "/"+goes, "")
							e.do(t, "PUT", "/"+comes, body)
							e.put(t, comes, 0, 10, "new")
							if anew {
								e.do(t, "PUT", "/"+goes, body)
								e.put(t, goes, 0, 70, "anew")
							}
						})
					}})
				}
				set()
				repo := newRepo(t, filepath.Join(t.TempDir(), "repo"))
				_, err := backup.Run(t.Context(), through.transport(t), repo, o)
				require.ErrorContains(t, err, "index "+goes, at)
				require.Zero(t, held(t, repo), at)

				set()
				o.AllowOmissions = true
				res, err := backup.Run(t.Context(), through.transport(t), repo, o)
				require.NoError(t, err, at)
				require.Len(t, res.Omitted, 1, at)
				require.Equal(t, "index "+goes, res.Omitted[0].What)
				require.Len(t, res.Manifest.Indices, 1)
				e.holds(t, repo, res, stays)
				noContexts(t, e, "middle-*")
			}
		}
	})
}

// TestFewPointsInTime looks at the server whenever it is asked for something: no more points in time are open than searches may run at once.
func TestFewPointsInTime(t *testing.T) {
	onEach(t, func(t *testing.T, e *es) {
		for _, index := range []string{"few-a", "few-b", "few-c"} {
			e.create(t, index, `{"settings":{"number_of_shards":5,"number_of_replicas":0}}`)
			e.put(t, index, 0, 2_000, "first")
		}
		var most atomic.Int64
		proxy := esproxy.Start(t, e.url, nil)
		proxy.Add(&esproxy.Rule{Before: func(*http.Request) {
			for n := e.openContexts(t, "few-*"); ; {
				if m := most.Load(); m >= n || most.CompareAndSwap(m, n) {
					return
				}
			}
		}})
		repo := newRepo(t, filepath.Join(t.TempDir(), "repo"))
		for concurrency := int64(1); concurrency <= 3; concurrency++ {
			most.Store(0)
			res, err := backup.Run(t.Context(), (&es{url: proxy.URL, version: e.version}).transport(t), repo,
				&backup.Options{Indices: []string{"few-*"}, Sections: []string{"none"}, Concurrency: int(concurrency), Full: true})
			require.NoError(t, err)
			require.EqualValues(t, 6_000, res.Documents)
			require.Positive(t, most.Load())
			require.LessOrEqual(t, most.Load(), concurrency)
			noContexts(t, e, "few-*")
		}
	})
}

// TestSlowShard has a shard that answers so late that the server has closed its point in time by then. It is opened again, and the snapshot
// holds everything; where that happens again and again, the backup fails, says so, and leaves nothing.
func TestSlowShard(t *testing.T) {
	v := versions()[len(versions())-1]
	c := esserver.Start(t, v, &esserver.Options{HeapMB: 512, Settings: map[string]string{"search.keep_alive_interval": "100ms"}})
	e := &es{url: c.URL(), version: v}
	const index = "slow"
	logs(t, e, index, 2, 20_000)
	proxy := esproxy.Start(t, e.url, nil)
	through := &es{url: proxy.URL, version: v}
	var expired atomic.Int64
	slow := func(times int) {
		proxy.Clear()
		expired.Store(0)
		proxy.Add(&esproxy.Rule{Match: esproxy.PathEnds("/_search"), Skip: 2, Times: times,
			Before: func(*http.Request) { time.Sleep(1500 * time.Millisecond) },
			Mutate: func(_ *http.Request, status int, body []byte) (int, []byte) {
				if status == http.StatusNotFound {
					expired.Add(1)
				}
				return status, body
			}})
	}
	repo := newRepo(t, filepath.Join(t.TempDir(), "repo"))
	o := &backup.Options{Indices: []string{index}, Sections: []string{"none"}, KeepAlive: time.Second, Concurrency: 2, Retries: 2}
	slow(1)
	res, err := backup.Run(t.Context(), through.transport(t), repo, o)
	require.NoError(t, err)
	require.Positive(t, expired.Load(), "no point in time ran out: the case does not arise")
	e.holds(t, repo, res, index)
	noContexts(t, e, index)

	slow(0)
	o.Full = true
	_, err = backup.Run(t.Context(), through.transport(t), repo, o)
	require.ErrorContains(t, err, "back up index "+index+": shard ")
	require.ErrorContains(t, err, "search_context_missing_exception")
	require.Greater(t, expired.Load(), int64(1))
	require.Equal(t, 1, held(t, repo))
	noContexts(t, e, index)
}

// held is how many snapshots a repository holds.
func held(t *testing.T, repo *repository.Repo) (n int) {
	t.Helper()
	for _, err := range repo.Snapshots(t.Context(), repository.Filter{}) {
		require.NoError(t, err)
		n++
	}
	return n
}
