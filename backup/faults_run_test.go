package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// grown is a cluster, and a repository with a snapshot of it, in which an increment finds everything that it can: segments that are as they
// were, some with dead documents, some to be written anew, and new documents.
func grown(t *testing.T, o Options) (h *estest.Handler, store *mem.Backend, repo *repository.Repo, parent *repository.Snapshot) {
	t.Helper()
	h = estest.NewHandler(nil)
	es := h.Transport()
	create(t, es, "a", 2)
	store = mem.New()
	repo = repositorytest.Init(t, store)
	for _, r := range [][2]int{{0, 60}, {60, 90}, {90, 200}, {200, 300}} {
		index(t, es, "a", r[0], r[1], "v")
		o.Full = false
		res, err := Run(t.Context(), es, repo, &o)
		require.NoError(t, err)
		parent = res.Snapshot
	}
	for id := 3; id < 60; id += 4 { // so many that what is left is listed
		send(t, es, "DELETE", fmt.Sprintf("/a/_doc/id-%d", id), "")
	}
	index(t, es, "a", 62, 86, "again")
	index(t, es, "a", 100, 102, "again")
	index(t, es, "a", 110, 116, "again") // so few that they are looked for by counting
	index(t, es, "a", 400, 410, "new")
	return h, store, repo, parent
}

// snapshotsOf are the ids in a repository.
func snapshotsOf(t *testing.T, repo *repository.Repo) map[repository.ID]bool {
	t.Helper()
	all := map[repository.ID]bool{}
	for s, err := range repo.Snapshots(context.WithoutCancel(t.Context()), repository.Filter{}) {
		require.NoError(t, err)
		all[s.ID] = true
	}
	return all
}

// mayStayOpen says whether a fault of one request can leave a point in time open until its keep-alive has passed: where the server
// opened it, and the answer that names it was lost; or was never asked to close it, and the answer says that there is nothing to ask again.
func mayStayOpen(fault, call string) bool {
	switch {
	case !strings.HasSuffix(call, "/_pit"):
		return false
	case strings.HasPrefix(call, "DELETE"):
		return slices.Contains([]string{"400", "404 context", "not JSON", "empty", "{}"}, fault)
	}
	return true
}

// Each fault at each request of an increment, once and for good: an error and no snapshot, or a snapshot that holds exactly the right
// documents, and that the next increment can be built on. Nothing is left open.
func TestEveryFaultAtEveryRequestOfAnIncrement(t *testing.T) {
	for mode, o := range map[string]Options{
		"log":      {},
		"segments": {Increment: IncrementSegments},
		"verify":   {VerifyEvery: 1},
	} {
		o.Concurrency, o.Retries, o.SealTimeout, o.sleep, o.small = 1, 2, time.Nanosecond, impatient, 1
		o.Sections = []string{"none"}
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h, store, repo, parent := grown(t, o)
			es := h.Transport()
			want := live(t, es, "a")
			before := snapshotsOf(t, repo)
			asked := &counter{next: es}
			count := &wire{next: asked, at: -1}
			res, err := Run(t.Context(), count, repo, &o)
			require.NoError(t, err)
			require.Equal(t, parent.ID, res.Parent.ID)
			require.Equal(t, mode != "segments", asked.ids > 0)
			require.Equal(t, mode != "segments", asked.places > 0)
			require.Equal(t, mode != "segments", asked.ranges > 12)
			require.Positive(t, res.SegmentsReused)
			require.Equal(t, mode != "segments", res.SegmentsChanged > 0)
			forget := func(id repository.ID) {
				require.NoError(t, store.Remove(t.Context(), backend.Handle{Type: backend.Snapshot, Name: id.String()}))
			}
			forget(res.Snapshot.ID)
			good, failed := 0, 0
			for name, fault := range httpFaults {
				for n := range count.calls {
					for _, stays := range []bool{false, true} {
						if stays && n%6 > 0 || mode == "verify" && n%3 > 0 {
							continue // what stays at one request meets the next ones too
						}
						w := &wire{next: es, at: n, stays: stays, do: fault}
						res, err := Run(t.Context(), w, repo, &o)
						if len(w.calls) <= n {
							require.NoError(t, err) // shards are read beside each other: there may be fewer requests
							forget(res.Snapshot.ID)
							continue
						}
						at := fmt.Sprintf("%s at request %d (%s), stays %v", name, n, w.calls[n], stays)
						if !stays && !mayStayOpen(name, w.calls[n]) {
							require.Zero(t, h.OpenContexts(), at)
						}
						h.DropContexts()
						if err != nil {
							failed++
							require.Equal(t, before, snapshotsOf(t, repo), at)
							continue
						}
						good++
						require.True(t, maps.Equal(want, contents(t, repoFiles(t, repo, res.Snapshot), res.Manifest)["a"]), at)
						if good%8 == 0 { // reads everything, and compares it with what it takes over
							check := o
							check.VerifyEvery = 1
							next, err := Run(t.Context(), es, repo, &check)
							require.NoError(t, err, at)
							require.Equal(t, res.Snapshot.ID, next.Parent.ID, at)
							forget(next.Snapshot.ID)
						}
						forget(res.Snapshot.ID)
					}
				}
			}
			require.Greater(t, good, 50)
			require.Greater(t, failed, 50)
			last, err := Run(t.Context(), es, repo, &o)
			require.NoError(t, err)
			require.Equal(t, parent.ID, last.Parent.ID)
			repositorytest.RequireClean(t, repo)
		})
	}
}

// brokenStore fails, or does what it was asked and fails, at one of its calls, and if stays is set at every one after it.
type brokenStore struct {
	backend.Backend
	mu     sync.Mutex
	n, at  int
	stays  bool
	later  bool // done all the same
	breaks bool
}

var errStoreBroken = errors.New("the store is broken")

func (s *brokenStore) fails() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return s.breaks && (s.n-1 == s.at || s.stays && s.n-1 > s.at)
}

func (s *brokenStore) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	if !s.fails() {
		return s.Backend.Save(ctx, h, body, size)
	}
	if s.later {
		if err := s.Backend.Save(ctx, h, body, size); err != nil {
			return err
		}
	}
	return errStoreBroken
}

// Each fault at each request of a backup by way of a directory: an error with neither a snapshot nor files left, or the right
// documents. The same when the dump of an earlier run is uploaded, of which nothing is lost then.
func TestEveryFaultAtEveryRequestWithInterim(t *testing.T) {
	for _, kept := range []bool{false, true} {
		var good, failed atomic.Int64
		t.Run(fmt.Sprintf("kept %v", kept), func(t *testing.T) {
			for name, fault := range httpFaults {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					f := newInterimFaults(t, kept)
					f.atEveryRequest(t, name, fault)
					good.Add(f.good)
					failed.Add(f.failed)
				})
			}
		})
		require.Positive(t, good.Load())
		require.Positive(t, failed.Load())
	}
}

// interimFaults is a cluster that is backed up by way of a directory, in which a dump was kept or not.
type interimFaults struct {
	h            *estest.Handler
	es           elastictransport.Interface
	want         map[string]string
	o            *Options
	kept         bool
	good, failed int64
}

func newInterimFaults(t *testing.T, kept bool) *interimFaults {
	f := &interimFaults{h: estest.NewHandler(nil), kept: kept}
	f.es = f.h.Transport()
	create(t, f.es, "a", 2)
	index(t, f.es, "a", 0, 60, "v")
	f.want = live(t, f.es, "a")
	f.o = &Options{Interim: memoryDir(t), Concurrency: 1, Retries: 2, SealTimeout: time.Nanosecond, sleep: impatient, Sections: []string{"none"}}
	return f
}

// repo is a repository, and if a dump is to be kept there is one in the directory that could not be uploaded to it.
func (f *interimFaults) repo(t *testing.T) *repository.Repo {
	store := &fullStore{Backend: mem.New()}
	repo := repositorytest.Init(t, store)
	if f.kept {
		store.full = true
		_, err := Run(t.Context(), f.es, repo, f.o)
		require.ErrorIs(t, err, errStoreFull)
		require.Len(t, dumpsIn(t, f.o.Interim), 1)
		store.full = false
	}
	return repo
}

func (f *interimFaults) same(t *testing.T, repo *repository.Repo, res *Result, at string) {
	require.True(t, maps.Equal(f.want, contents(t, repoFiles(t, repo, res.Snapshot), res.Manifest)["a"]), at)
	require.Empty(t, dumpsIn(t, f.o.Interim), at)
}

func (f *interimFaults) atEveryRequest(t *testing.T, name string, fault func(next elastictransport.Interface, r *http.Request) (*http.Response, error)) {
	count := &wire{next: f.es, at: -1}
	_, err := Run(t.Context(), count, f.repo(t), f.o)
	require.NoError(t, err)
	for n := range count.calls {
		for _, stays := range []bool{false, true} {
			if stays && n%4 > 0 {
				continue
			}
			repo := f.repo(t)
			w := &wire{next: f.es, at: n, stays: stays, do: fault}
			res, err := Run(t.Context(), w, repo, f.o)
			if len(w.calls) <= n {
				require.NoError(t, err) // shards are read beside each other: there may be fewer requests
				continue
			}
			at := fmt.Sprintf("%s at request %d (%s), stays %v, kept %v", name, n, w.calls[n], stays, f.kept)
			if !stays && !mayStayOpen(name, w.calls[n]) {
				require.Zero(t, f.h.OpenContexts(), at)
			}
			f.h.DropContexts()
			if err == nil {
				f.good++
				require.Equal(t, f.kept, res.Resumed, at)
				f.same(t, repo, res, at)
				continue
			}
			f.failed++
			requireNoSnapshot(t, repo)
			if !f.kept {
				require.Empty(t, dumpsIn(t, f.o.Interim), at)
				continue
			}
			require.Len(t, dumpsIn(t, f.o.Interim), 1, at)
			res, err = Run(t.Context(), f.es, repo, f.o)
			require.NoError(t, err, at)
			require.True(t, res.Resumed, at)
			f.same(t, repo, res, at)
		}
	}
}

// Each write to the store that fails while a dump is uploaded: the next run goes on with the dump, whatever the cluster holds by then.
func TestInterimOutlivesEveryFailureOfTheStore(t *testing.T) {
	for _, later := range []bool{false, true} {
		for _, stays := range []bool{false, true} {
			for at := 0; ; at++ {
				_, es := one(t)
				want := live(t, es, "i")
				dir := t.TempDir()
				store := &brokenStore{Backend: mem.New(), at: at, stays: stays, later: later}
				repo := repositorytest.Init(t, store)
				store.n, store.breaks = 0, true
				o := &Options{Interim: dir, Sections: []string{"none"}, SealTimeout: time.Nanosecond, sleep: impatient}
				res, err := Run(t.Context(), es, repo, o)
				store.breaks = false
				if store.n <= at {
					require.NoError(t, err)
					require.Greater(t, at, 3)
					break
				}
				if err != nil {
					require.ErrorIs(t, err, errStoreBroken)
					if len(snapshotsOf(t, repo)) > 0 {
						require.True(t, later) // the snapshot was stored, and nobody could know
					}
					index(t, es, "i", 0, 20, "later")
					again, err := Run(t.Context(), es, repo, o)
					require.NoError(t, err)
					if again.Resumed {
						require.True(t, maps.Equal(want, contents(t, repoFiles(t, repo, again.Snapshot), again.Manifest)["i"]))
					} else { // it failed before there was a dump
						requireSame(t, es, repo, again, "i")
					}
					res = again
				}
				require.NotNil(t, res.Snapshot)
				left, err := os.ReadDir(dir)
				require.NoError(t, err)
				require.Empty(t, left)
				repositorytest.RequireClean(t, repo)
			}
		}
	}
}

// The point in time is asked to close more than once: it costs the cluster until its keep-alive has passed.
func TestPointsInTimeAreClosedInSpiteOfAFault(t *testing.T) {
	h, es := one(t)
	failures := 0
	w := onRequests(es, "/_pit", func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
		if r.Method == "DELETE" && failures < 2 {
			failures++
			return answer(503, "")
		}
		return next.Perform(r)
	})
	_, err := Dump(t.Context(), w, &memTarget{}, &Options{Retries: 2, sleep: impatient})
	require.NoError(t, err)
	require.Equal(t, 2, failures)
	require.Zero(t, h.OpenContexts())
}
