package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

func TestRun(t *testing.T) {
	h, es := cluster(t)
	repo := repositorytest.New(t)
	var last Progress
	res, err := Run(t.Context(), es, repo, &Options{Tags: []string{"nightly"}, Host: "h", Progress: func(p Progress) {
		require.False(t, last.Done)
		last = p
	}})
	require.NoError(t, err)
	requireSame(t, es, repo, res, "a", "b", "empty")
	require.EqualValues(t, 299+41, res.Documents)
	require.Equal(t, res.Documents, res.DocumentsRead)
	require.Nil(t, res.Parent)
	require.Empty(t, res.Omitted)
	require.Equal(t, []string{"nightly"}, res.Snapshot.Tags)
	require.Equal(t, "h", res.Snapshot.Hostname)
	require.True(t, last.Done)
	require.Equal(t, 3, last.IndicesDone)
	require.Equal(t, res.Documents, last.DocsDone)
	require.Equal(t, res.Documents, last.Docs)
	require.Equal(t, res.Bytes, last.BytesDone)
	require.Zero(t, h.OpenContexts())

	files := repoFiles(t, repo, res.Snapshot)
	var ix struct {
		Aliases  map[string]any
		Settings struct{ Index map[string]any }
	}
	require.NoError(t, json.Unmarshal(files["indices/b/index.json"], &ix))
	require.Contains(t, ix.Aliases, "bee")
	require.Equal(t, "1", ix.Settings.Index["number_of_shards"])
	require.Contains(t, string(files["indices/b/shard-0.ndjson"]), `{"index":{"_id":"odd \"id\"","routing":"ré"}}`+"\n"+`{"pretty":9007199254740993}`+"\n")
	require.Regexp(t, `^\[0,\d+,"id-0"\]\n\[1,\d+,"id-1"\]\n`, string(files["indices/b/shard-0.ids"]))

	for _, shard := range res.Manifest.Indices[0].Shards {
		require.True(t, shard.Sealed, shard.Reason)
		require.Equal(t, shard.MaxSeqNo, shard.GlobalCheckpoint)
		side, err := layout.ReadSidecar(mustFS(t, repo, res.Snapshot), "a", shard.Number)
		require.NoError(t, err)
		for _, g := range side.Segments {
			require.True(t, g.Final)
			require.Positive(t, g.Blobs)
		}
	}
}

func TestIncrement(t *testing.T) {
	_, es := cluster(t)
	repo := repositorytest.New(t)
	run := func(o *Options) *Result {
		t.Helper()
		res, err := Run(t.Context(), es, repo, o)
		require.NoError(t, err)
		requireSame(t, es, repo, res, "a", "b", "empty")
		return res
	}
	// The first documents are in segments of 64 at most; a big middle part makes some larger ones.
	index(t, es, "a", 1000, 9000, strings.Repeat("y", 300))
	first := run(nil)

	same := run(nil)
	require.Equal(t, first.Snapshot.ID, same.Parent.ID)
	require.Zero(t, same.DocumentsRead)
	require.Equal(t, same.Segments, same.SegmentsReused)
	require.Equal(t, first.Documents, same.Documents)
	require.Equal(t, first.Manifest.Indices[0].Shards[0].Digest, same.Manifest.Indices[0].Shards[0].Digest)

	index(t, es, "a", 20000, 20010, "appended")
	appended := run(nil)
	require.Less(t, appended.DocumentsRead, first.Documents/2)
	require.Positive(t, appended.SegmentsReused)

	index(t, es, "a", 1500, 1501, "updated")
	send(t, es, "DELETE", "/a/_doc/id-1600", "")
	updated := run(nil)
	require.Less(t, updated.DocumentsRead, first.Documents/2)
	require.Equal(t, appended.Documents-1, updated.Documents)

	full := run(&Options{Full: true})
	require.Equal(t, full.Documents, full.DocumentsRead)
	require.Zero(t, full.SegmentsReused)

	// Another selection is no parent, and every snapshot is still what it was.
	other, err := Run(t.Context(), es, repo, &Options{Indices: []string{"a"}})
	require.NoError(t, err)
	require.Nil(t, other.Parent)
	require.Equal(t, other.Documents, other.DocumentsRead)
	for _, res := range []*Result{first, same, appended, updated} {
		contents(t, repoFiles(t, repo, res.Snapshot), res.Manifest)
	}
}

func TestManySmallBackupsLeaveFewSegments(t *testing.T) {
	es := estest.NewHandler(nil).Transport()
	create(t, es, "i", 1)
	repo := repositorytest.New(t)
	for n := range 40 {
		index(t, es, "i", n*10, n*10+10, "v")
		res, err := Run(t.Context(), es, repo, nil)
		require.NoError(t, err)
		require.EqualValues(t, n*10+10, res.Documents)
		require.Less(t, res.Segments, int64(10))
	}
}

func TestWholeReadWhenTheShardIsNotTheSame(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, h *estest.Handler, es elastictransport.Interface){
		"index made anew": func(t *testing.T, _ *estest.Handler, es elastictransport.Interface) {
			send(t, es, "DELETE", "/i", "")
			create(t, es, "i", 1)
			index(t, es, "i", 0, 200, "other")
		},
		"history changed": func(t *testing.T, h *estest.Handler, _ elastictransport.Interface) {
			require.NoError(t, h.NewHistory("i", 0))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := estest.NewHandler(nil)
			es := h.Transport()
			create(t, es, "i", 1)
			index(t, es, "i", 0, 200, "v")
			repo := repositorytest.New(t)
			_, err := Run(t.Context(), es, repo, nil)
			require.NoError(t, err)
			change(t, h, es)
			res, err := Run(t.Context(), es, repo, nil)
			require.NoError(t, err)
			require.EqualValues(t, 200, res.DocumentsRead)
			require.Zero(t, res.SegmentsReused)
			requireSame(t, es, repo, res, "i")
		})
	}
}

// An update above the checkpoint hides the document's older version, and a failover brings it back: the counts are the same, the
// documents are not. The first backup must not have been sealed.
func TestRollbackBringsBackWhatAnUpdateHid(t *testing.T) {
	h := estest.NewHandler(nil)
	es := h.Transport()
	create(t, es, "i", 1)
	index(t, es, "i", 0, 4, "v")
	require.NoError(t, h.SetGlobalCheckpoint("i", 0, 3))
	index(t, es, "i", 0, 1, "lost")
	index(t, es, "i", 3, 4, "lost")
	repo := repositorytest.New(t)
	first, err := Run(t.Context(), es, repo, &Options{SealTimeout: time.Millisecond})
	require.NoError(t, err)
	require.False(t, first.Manifest.Indices[0].Shards[0].Sealed)
	require.Len(t, first.Manifest.Warnings, 1)
	require.EqualValues(t, 4, first.Documents)

	lost, err := h.Failover("i", 0)
	require.NoError(t, err)
	require.Equal(t, 2, lost)
	send(t, es, "DELETE", "/i/_doc/id-1", "")
	send(t, es, "DELETE", "/i/_doc/id-2", "")
	second, err := Run(t.Context(), es, repo, nil)
	require.NoError(t, err)
	require.Zero(t, second.SegmentsReused)
	requireSame(t, es, repo, second, "i")
	require.EqualValues(t, 2, second.Documents)
}

func TestSelection(t *testing.T) {
	_, es := cluster(t)
	create(t, es, ".hidden", 1)
	create(t, es, "closed", 1)
	send(t, es, "POST", "/closed/_close", "")
	names := func(o *Options) ([]string, error) {
		m, err := Dump(t.Context(), es, &memTarget{}, o)
		if err != nil {
			return nil, err
		}
		var all []string
		for _, ix := range m.Indices {
			all = append(all, ix.Name)
		}
		return all, nil
	}
	for _, c := range []struct {
		in, ex, want []string
		err          string
	}{
		{in: []string{"a"}, want: []string{"a"}},
		{in: []string{"bee"}, want: []string{"b"}},
		{in: []string{"b*", "a"}, want: []string{"a", "b"}},
		{ex: []string{"c*"}, want: []string{"a", "b", "empty"}},
		{in: []string{"*"}, ex: []string{"closed", "b"}, want: []string{"a", "empty"}},
		{in: []string{".h*"}, want: []string{".hidden"}},
		{in: []string{"none*"}},
		{in: []string{"none"}, err: "index none: the cluster has no index, data stream or alias of that name"},
		{err: "cannot be backed up: index closed: it is closed"},
	} {
		got, err := names(&Options{Indices: c.in, Exclude: c.ex})
		if c.err != "" {
			require.EqualError(t, err, c.err)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%v less %v", c.in, c.ex)
	}
	m, err := Dump(t.Context(), es, &memTarget{}, &Options{AllowOmissions: true})
	require.NoError(t, err)
	require.Equal(t, []layout.Omission{{What: "index closed", Why: "it is closed"}}, m.Omitted)
	require.Len(t, m.Indices, 3)
}

func TestOneBadIndex(t *testing.T) {
	_, es := cluster(t)
	w := &wire{next: es, do: nil}
	forbid := func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
		if strings.HasPrefix(r.URL.Path, "/b/_pit") {
			return answer(403, `{"error":{"type":"security_exception","reason":"no"}}`)
		}
		return next.Perform(r)
	}
	w.do, w.at, w.stays = forbid, 0, true
	repo := repositorytest.New(t)
	_, err := Run(t.Context(), w, repo, nil)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "back up index b: shard 0")
	requireNoSnapshot(t, repo)

	res, err := Run(t.Context(), w, repo, &Options{AllowOmissions: true})
	require.NoError(t, err)
	require.Len(t, res.Omitted, 1)
	require.Equal(t, "index b", res.Omitted[0].What)
	requireSame(t, es, repo, res, "a", "empty")
	for name := range repoFiles(t, repo, res.Snapshot) {
		require.NotContains(t, name, "indices/b/")
	}
}

func TestNoRightToRefreshOrToSeeCheckpoints(t *testing.T) {
	for _, path := range []string{"_refresh", "_stats", "_cluster/state"} {
		_, es := cluster(t)
		w := &wire{next: es, stays: true, do: func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
			if strings.Contains(r.URL.Path, path) {
				return answer(403, `{"error":{"type":"security_exception","reason":"no"}}`)
			}
			return next.Perform(r)
		}}
		send(t, es, "POST", "/_refresh", "")
		repo := repositorytest.New(t)
		res, err := Run(t.Context(), w, repo, &Options{Sections: []string{"none"}})
		if path == "_refresh" {
			var o *OmissionError
			require.ErrorAs(t, err, &o)
			requireNoSnapshot(t, repo)
			res, err = Run(t.Context(), w, repo, &Options{AllowOmissions: true})
			require.Len(t, res.Omitted, 3)
		}
		require.NoError(t, err)
		requireSame(t, es, repo, res, "a", "b", "empty")
		require.False(t, res.Manifest.Indices[0].Shards[0].Sealed)
		again, err := Run(t.Context(), w, repo, &Options{AllowOmissions: true})
		require.NoError(t, err)
		require.Zero(t, again.SegmentsReused)
	}
}

// Each fault at each request, once and for good: an error, or exactly the right documents.
func TestEveryFaultAtEveryRequest(t *testing.T) {
	es := estest.NewHandler(nil).Transport()
	create(t, es, "a", 2)
	create(t, es, "b", 1)
	index(t, es, "a", 0, 90, "v")
	index(t, es, "b", 0, 5, "v")
	want := map[string]map[string]string{"a": live(t, es, "a"), "b": live(t, es, "b")}
	count := &wire{next: es, at: -1}
	_, err := Dump(t.Context(), count, &memTarget{}, &Options{Concurrency: 1})
	require.NoError(t, err)
	require.Greater(t, len(count.calls), 20)
	var good, failed atomic.Int64
	t.Run("faults", func(t *testing.T) {
		for name, fault := range httpFaults {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for n := range count.calls {
					for _, stays := range []bool{false, true} {
						w := &wire{next: es, at: n, stays: stays, do: fault}
						target := &memTarget{}
						m, err := Dump(t.Context(), w, target, &Options{Concurrency: 1, Retries: 2, SealTimeout: time.Nanosecond, sleep: impatient})
						at := fmt.Sprintf("request %d (%s), stays %v", n, count.calls[n], stays)
						if err != nil {
							failed.Add(1)
							require.NotContains(t, target.files, layout.ManifestPath, at)
							require.Zero(t, target.open, at)
							continue
						}
						good.Add(1)
						require.True(t, reflect.DeepEqual(want, contents(t, target.files, m)), at)
					}
				}
			})
		}
	})
	require.Greater(t, good.Load(), int64(100))
	require.Greater(t, failed.Load(), int64(100))
}

func TestTransform(t *testing.T) {
	_, es := cluster(t)
	repo := repositorytest.New(t)
	mask := &Options{Transform: func(d *Document) (bool, error) {
		if d.ID == "id-3" {
			return false, nil
		}
		d.Source = []byte(`{"masked":true}`)
		return true, nil
	}}
	for range 2 {
		res, err := Run(t.Context(), es, repo, mask)
		require.NoError(t, err)
		require.EqualValues(t, 299+41-2, res.Documents)
		require.EqualValues(t, 299+41, res.DocumentsRead)
		require.Zero(t, res.SegmentsReused)
		for _, docs := range contents(t, repoFiles(t, repo, res.Snapshot), res.Manifest) {
			for _, source := range docs {
				require.Equal(t, `{"masked":true}`, source)
			}
		}
	}
	plain, err := Run(t.Context(), es, repo, nil)
	require.NoError(t, err)
	require.Zero(t, plain.SegmentsReused)
	requireSame(t, es, repo, plain, "a", "b", "empty")

	oops := errors.New("oops")
	_, err = Run(t.Context(), es, repo, &Options{Transform: func(*Document) (bool, error) { return true, oops }})
	require.ErrorIs(t, err, oops)
	_, err = Run(t.Context(), es, repo, &Options{Transform: func(d *Document) (bool, error) { d.Source = []byte("{"); return true, nil }})
	require.ErrorContains(t, err, "no JSON object")
}

func TestDocuments(t *testing.T) {
	h, es := cluster(t)
	got := map[string]map[string]string{}
	lastSeq := map[string]int64{}
	for d, err := range Documents(t.Context(), es, nil) {
		require.NoError(t, err)
		if got[d.Index] == nil {
			got[d.Index] = map[string]string{}
		}
		b, err := d.AppendLines(nil)
		require.NoError(t, err)
		got[d.Index][d.ID+"\x00"+d.Routing] = strings.TrimSuffix(strings.SplitN(string(b), "\n", 2)[1], "\n")
		lastSeq[d.Index] = d.SeqNo
	}
	require.Equal(t, live(t, es, "a"), got["a"])
	require.Equal(t, live(t, es, "b"), got["b"])
	require.EqualValues(t, 40, lastSeq["b"])
	for _, err := range Documents(t.Context(), es, nil) {
		require.NoError(t, err)
		break
	}
	require.Zero(t, h.OpenContexts())

	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	stop := errors.New("stop")
	var last error
	for _, err := range Documents(ctx, es, nil) {
		cancel(stop)
		last = err
	}
	require.ErrorIs(t, last, stop)
	require.Zero(t, h.OpenContexts())
}

func TestCancel(t *testing.T) {
	h, es := cluster(t)
	stop := errors.New("stop")
	for n := range 30 {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		calls, mu := 0, sync.Mutex{}
		w := &wire{next: es, at: -1, each: func(*http.Request) {
			mu.Lock()
			defer mu.Unlock()
			if calls++; calls == n+1 {
				cancel(stop)
			}
		}}
		repo := repositorytest.New(t)
		_, err := Run(ctx, w, repo, nil)
		require.ErrorIs(t, err, stop)
		requireNoSnapshot(t, repo)
		require.Zero(t, h.OpenContexts())
	}
}

func TestTargetThatFails(t *testing.T) {
	_, es := cluster(t)
	full := errors.New("disk full")
	for _, name := range []string{"indices/a/shard-1.ndjson", "indices/b/shard-0.ids", "indices/a/index.json", "indices/a/shard-0.segments.json", "manifest.json"} {
		target := &memTarget{failOn: name, failing: full}
		_, err := Dump(t.Context(), es, target, &Options{AllowOmissions: true})
		require.ErrorIs(t, err, full, name)
		require.NotContains(t, target.files, layout.ManifestPath)
		require.Zero(t, target.open, name)
	}
}

func TestDir(t *testing.T) {
	_, es := cluster(t)
	dir := t.TempDir() + "/dump"
	target, err := Dir(dir)
	require.NoError(t, err)
	m, err := Dump(t.Context(), es, target, nil)
	require.NoError(t, err)
	require.NoError(t, target.Close())
	files := readAll(t, os.DirFS(dir))
	require.Equal(t, live(t, es, "a"), contents(t, files, m)["a"])
	require.False(t, slices.ContainsFunc(slices.Collect(mapKeys(files)), func(n string) bool { return strings.HasSuffix(n, partial) }))
	read, err := layout.ReadManifest(os.DirFS(dir))
	require.NoError(t, err)
	require.Equal(t, m.Indices[0].Docs, read.Indices[0].Docs)

	_, err = Dir(dir)
	require.ErrorIs(t, err, fs.ErrExist)
	target, err = Dir(t.TempDir())
	require.NoError(t, err)
	_, err = target.Create(t.Context(), "../x")
	require.ErrorIs(t, err, fs.ErrInvalid)
	f, err := target.Create(t.Context(), "a/b")
	require.NoError(t, err)
	_, err = f.Write([]byte("x"))
	require.NoError(t, err)
	require.NoError(t, f.Abort())
	require.Empty(t, readAll(t, target.root.FS()))
	require.NoError(t, target.Close())
}

// Large documents: pages are cut off, the server's breaker makes pages smaller, and a document larger than a blob is split.
func TestLargeDocuments(t *testing.T) {
	const shrink = 16
	h := estest.NewHandler(nil)
	es := h.Transport()
	create(t, es, "i", 1)
	for i := range 6 {
		send(t, es, "PUT", fmt.Sprintf("/i/_doc/%d", i), `{"big":"`+strings.Repeat(string(rune('a'+i)), 3<<20/shrink)+`"}`)
	}
	send(t, es, "PUT", "/i/_doc/huge", `{"big":"`+strings.Repeat("z", 17<<20/shrink)+`"}`)
	index(t, es, "i", 0, 2000, "small")
	w := &wire{next: es, stays: true, do: func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
		if r.URL.Path == "/_search" {
			b, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			var q struct{ Size int }
			if err := json.Unmarshal(b, &q); err != nil {
				return nil, err
			}
			if q.Size > 500 {
				return answer(429, `{"error":{"type":"circuit_breaking_exception","reason":"[parent] Data too large"}}`)
			}
			r.Body = io.NopCloser(strings.NewReader(string(b)))
		}
		return next.Perform(r)
	}}
	for _, transport := range []elastictransport.Interface{es, w} {
		repo := repositorytest.New(t)
		res, err := Run(t.Context(), transport, repo, &Options{sleep: impatient, shrink: shrink})
		require.NoError(t, err)
		require.EqualValues(t, 2007, res.Documents)
		requireSame(t, es, repo, res, "i")
	}
	create(t, es, "one", 1)
	send(t, es, "PUT", "/one/_doc/huge", `{"big":"`+strings.Repeat("z", 17<<20/shrink)+`"}`)
	for _, name := range []string{"i", "one"} { // between documents, and in one
		full := &memTarget{failOn: layout.DocumentsPath(name, 0), failing: errors.New("disk full")}
		_, err := Dump(t.Context(), es, full, &Options{Indices: []string{name}, sleep: impatient, shrink: shrink})
		require.ErrorIs(t, err, full.failing)
		require.NotContains(t, full.files, layout.ManifestPath)
		require.Zero(t, full.open)
	}
}
