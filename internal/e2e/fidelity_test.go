package e2e_test

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend/local"
	"github.com/escrow-backup/escrow/restore"
)

// newRepo makes a repository in a directory, whose password costs little to try and whose locks are quick.
func newRepo(t *testing.T, dir string) *repository.Repo {
	t.Helper()
	b, err := local.New(dir)
	require.NoError(t, err)
	repo, err := repository.Init(t.Context(), b, password, &repository.Options{ScryptN: 1 << 10, LockSettle: time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, repo.Close())
		require.NoError(t, b.Close())
	})
	return repo
}

func openRepo(t *testing.T, dir string) *repository.Repo {
	t.Helper()
	b, err := local.New(dir)
	require.NoError(t, err)
	repo, err := repository.Open(t.Context(), b, password, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, repo.Close())
		require.NoError(t, b.Close())
	})
	return repo
}

func files(t *testing.T, repo *repository.Repo, s *repository.Snapshot) fs.FS {
	t.Helper()
	f, err := repo.FS(t.Context(), s)
	require.NoError(t, err)
	return f
}

func runBackup(t *testing.T, e *es, repo *repository.Repo, indices ...string) *backup.Result {
	t.Helper()
	res, err := backup.Run(t.Context(), e.transport(t), repo, &backup.Options{Indices: indices, Host: "e2e"})
	require.NoError(t, err)
	require.Empty(t, res.Omitted)
	for _, ix := range res.Manifest.Indices {
		for _, sh := range ix.Shards {
			require.True(t, sh.Sealed, "index %s shard %d: %s", ix.Name, sh.Number, sh.Reason)
		}
	}
	return res
}

func runRestore(t *testing.T, e *es, src fs.FS, o *restore.Options) *restore.Result {
	t.Helper()
	plan, err := restore.NewPlan(t.Context(), src, e.transport(t), o)
	require.NoError(t, err)
	res, err := plan.Run(t.Context())
	require.NoError(t, err)
	return res
}

func verify(t *testing.T, e *es, src fs.FS, o *restore.Options) *restore.Diff {
	t.Helper()
	diff, err := restore.Verify(t.Context(), src, e.transport(t), o)
	require.NoError(t, err)
	return diff
}

// TestFidelity is the main job: what was in the cluster before is in it afterwards, to the byte, through a repository, and
// what did not change is not read again.
func TestFidelity(t *testing.T) {
	onEach(t, func(t *testing.T, e *es) {
		indices := fidIndices()
		before := fidelity(t, e)
		meta := map[string]map[string]any{}
		for _, index := range indices {
			meta[index] = metadata(t, e, index)
		}
		repo := newRepo(t, filepath.Join(t.TempDir(), "repo"))

		first := runBackup(t, e, repo, "fid-*")
		require.EqualValues(t, len(before), first.Documents)
		require.Equal(t, first.Documents, first.DocumentsRead)
		require.Zero(t, first.SegmentsReused)
		require.Len(t, first.Manifest.Indices, len(indices))
		noContexts(t, e, "fid-*")

		for _, index := range indices {
			e.remove(t, index)
		}
		src := files(t, repo, first.Snapshot)
		res := runRestore(t, e, src, nil)
		require.EqualValues(t, len(before), res.Documents)
		require.Zero(t, res.Rejected)
		require.True(t, verify(t, e, src, nil).Identical())
		after := contents{}
		e.read(t, after, false, fidPlain...)
		e.read(t, after, true, fidVectors)
		same(t, before, after)
		for _, index := range indices {
			require.Equal(t, meta[index], metadata(t, e, index))
		}

		// The restored indices are new ones: read once, then nothing has changed.
		second := runBackup(t, e, repo, "fid-*")
		require.Equal(t, second.Documents, second.DocumentsRead)
		third := runBackup(t, e, repo, "fid-*")
		require.Zero(t, third.DocumentsRead)
		require.Equal(t, third.Segments, third.SegmentsReused)
		require.Equal(t, second.Manifest.Indices[0].Docs, third.Manifest.Indices[0].Docs)

		changed := changes(t, e, repo, third, after)
		fourth, err := backup.Run(t.Context(), e.transport(t), repo, &backup.Options{Indices: []string{"fid-*"}, Increment: backup.IncrementSegments})
		require.NoError(t, err)
		require.EqualValues(t, len(changed.now), fourth.Documents)
		require.Equal(t, changed.read, fourth.DocumentsRead)
		require.Positive(t, fourth.SegmentsReused)
		noContexts(t, e, "fid-*")

		problems := 0
		for p, err := range repo.Check(t.Context(), &repository.CheckOptions{ReadData: true}) {
			require.NoError(t, err)
			t.Logf("%v", p)
			problems++
		}
		require.Zero(t, problems)

		// Both are still there in full: the state before the changes under other names, then the one after.
		rename := []restore.Rename{{From: "fid-*", To: "old-fid-*"}}
		for _, index := range indices {
			e.removeLater(t, "old-"+index)
			// An alias may not be an index's name, and the old aliases point to both then: the new indices go first.
			e.remove(t, index)
		}
		o := &restore.Options{Rename: rename}
		runRestore(t, e, files(t, repo, third.Snapshot), o)
		require.True(t, verify(t, e, files(t, repo, third.Snapshot), o).Identical())
		got := contents{}
		for _, index := range fidPlain {
			e.read(t, got, false, "old-"+index)
		}
		e.read(t, got, true, "old-"+fidVectors)
		same(t, after.renamed(func(s string) string { return "old-" + s }), got)
		for _, index := range indices {
			e.remove(t, "old-"+index)
		}

		runRestore(t, e, files(t, repo, fourth.Snapshot), nil)
		require.True(t, verify(t, e, files(t, repo, fourth.Snapshot), nil).Identical())
		got = contents{}
		e.read(t, got, false, fidPlain...)
		e.read(t, got, true, fidVectors)
		same(t, changed.now, got)

		// A comparison that could not fail would prove nothing.
		e.do(t, "PUT", "/"+fidEvents+"/_doc/e1?refresh=true", `{"day":"2026-01-01","n":1,"kind":"other"}`)
		e.do(t, "DELETE", "/"+fidOdd+"/_doc/pretty%201?refresh=true", "")
		diff := verify(t, e, files(t, repo, fourth.Snapshot), nil)
		require.False(t, diff.Identical())
		require.Len(t, diff.Indices, 2)
		require.Equal(t, fidEvents, diff.Indices[0].Index)
		require.EqualValues(t, 1, diff.Indices[0].DocsChanged)
		require.Equal(t, []restore.DocDiff{{ID: "e1", Kind: "changed"}}, diff.Indices[0].Examples)
		require.Equal(t, []restore.DocDiff{{ID: "pretty 1", Kind: "missing"}}, diff.Indices[1].Examples)
	})
}

// noContexts requires that nothing was left open on the server.
func noContexts(t *testing.T, e *es, indices string) {
	t.Helper()
	require.Zero(t, e.openContexts(t, indices), "points in time were left open")
}

// change is the state after changes, and how many documents the next backup has to read.
type change struct {
	now  contents
	read int64
}

// changes updates, deletes and adds documents of fid-logs, and computes from the last backup's sidecars what must be read
// again: every segment that lost a document, less what it lost, and what is new.
func changes(t *testing.T, e *es, repo *repository.Repo, last *backup.Result, before contents) change {
	t.Helper()
	src := files(t, repo, last.Snapshot)
	type segment struct{ shard, number int }
	lines := map[string]segment{} // which segment a document lies in
	live := map[segment]int64{}
	touched := map[segment]bool{}
	for shard := range 2 {
		side, err := layout.ReadSidecar(src, fidLogs, shard)
		require.NoError(t, err)
		f, err := src.Open(layout.DocumentsPath(fidLogs, shard))
		require.NoError(t, err)
		i, left := 0, side.Segments[0].Docs
		for d, err := range layout.Documents(f, fidLogs) {
			require.NoError(t, err)
			for left == 0 {
				i++
				left = side.Segments[i].Docs
			}
			left--
			lines[d.ID] = segment{shard, i}
			live[segment{shard, i}]++
		}
		require.NoError(t, f.Close())
		// A small last segment is joined with what comes after it.
		if last := len(side.Segments) - 1; side.Segments[last].Bytes < 1<<20 {
			touched[segment{shard, last}] = true
		}
	}

	now := make(contents, len(before))
	for k, h := range before {
		now[k] = h
	}
	lost, added := int64(0), int64(0)
	ids := slices.Collect(func(yield func(string) bool) {
		for n := 100_000; n < 100_040; n++ {
			if _, ok := before[key{fidLogs, strconv.Itoa(n), ""}]; ok && !yield(strconv.Itoa(n)) {
				return
			}
		}
	})
	l := e.loader(t)
	for i, id := range ids {
		touched[lines[id]] = true
		lost++
		if i%4 == 0 {
			l.delete(fidLogs, id, "")
			continue
		}
		added++
		l.index(fidLogs, id, "", fmt.Appendf(nil, `{"level":"INFO","message":"changed %s"}`, id))
	}
	for n := range 500 {
		added++
		l.index(fidLogs, fmt.Sprintf("new-%d", n), "", fmt.Appendf(nil, `{"level":"ERROR","message":"new %d"}`, n))
	}
	l.flush()
	var again int64
	for s := range touched {
		again += live[s]
	}
	require.Less(t, again, int64(len(before)/4), "the changes are spread too widely to show anything")

	clear(now)
	e.read(t, now, false, fidPlain...)
	e.read(t, now, true, fidVectors)
	changed := 0
	for k, h := range now {
		if before[k] != h {
			require.True(t, k.index == fidLogs && (strings.HasPrefix(k.id, "new-") || slices.Contains(ids, k.id)), "%v", k)
			changed++
		}
	}
	require.EqualValues(t, added, changed)
	return change{now: now, read: again - lost + added}
}
