package repository_test

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// cached opens the repository in b with a cache, and gives what is asked of b.
func cached(t *testing.T, b backend.Backend, dir string) (*repository.Repo, *backendtest.Faults, *bytes.Buffer) {
	t.Helper()
	f, log := backendtest.NewFaults(b), &bytes.Buffer{}
	o := smallPacks()
	o.Cache, o.Logger = dir, slog.New(slog.NewTextHandler(log, nil))
	r, err := repository.Open(t.Context(), f, repositorytest.Password, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r, f, log
}

// loads counts what was read of a type.
func loads(f *backendtest.Faults, typ backend.FileType) (n int) {
	for _, c := range f.Trace() {
		if c.Op == backendtest.Load && c.Handle.Type == typ {
			n++
		}
	}
	return n
}

// held gives the files of a cache, by their paths.
func held(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		fi, err := d.Info()
		require.NoError(t, err)
		if d.IsDir() {
			require.True(t, name == dir || fi.Mode().Perm() == 0o700, name)
			return nil
		}
		require.Equal(t, fs.FileMode(0o600), fi.Mode().Perm(), name)
		if d.Name() != "CACHEDIR.TAG" {
			all[name], err = os.ReadFile(name)
		}
		return err
	}))
	return all
}

// tour reads what the cache is for: the snapshots, and all directories.
func tour(t *testing.T, r *repository.Repo) (files int64) {
	t.Helper()
	var all []*repository.Snapshot
	for s, err := range r.Snapshots(t.Context(), repository.Filter{}) {
		require.NoError(t, err)
		all = append(all, s)
	}
	st, err := r.Stats(t.Context(), all...)
	require.NoError(t, err)
	return st.Files
}

func TestCache(t *testing.T) {
	b, dir := mem.New(), filepath.Join(t.TempDir(), "below", "cache")
	plain := repositorytest.Init(t, b)
	first := repositorytest.Write(t, plain, map[string]string{"a/b/c": "1", "d": "2"})
	repositorytest.Write(t, plain, map[string]string{"a/b/c": "3", "e": "4"})

	r, f, _ := cached(t, b, dir)
	require.EqualValues(t, 4, tour(t, r))
	require.Equal(t, []int{2, 2, 2}, []int{loads(f, backend.Index), loads(f, backend.Snapshot), loads(f, backend.Pack)})
	require.Len(t, held(t, dir), 6)
	for name, p := range held(t, dir) {
		require.Equal(t, filepath.Base(name), repository.Hash(p).String(), "as it is in the repository: %s", name)
		require.True(t, strings.HasPrefix(name, filepath.Join(dir, r.ID())))
	}
	r, f, log := cached(t, b, dir)
	require.EqualValues(t, 4, tour(t, r))
	require.Equal(t, []int{0, 0, 0}, []int{loads(f, backend.Index), loads(f, backend.Snapshot), loads(f, backend.Pack)})
	require.Equal(t, []int{1, 1}, []int{loads(f, backend.Config), loads(f, backend.Key)}, "these are never kept")
	require.Empty(t, log.String())

	// What is written goes through it.
	s := repositorytest.Write(t, r, map[string]string{"f": "5"})
	require.Len(t, held(t, dir), 8)
	require.Contains(t, held(t, dir), filepath.Join(dir, r.ID(), "snapshots", s.ID.String()[:2], s.ID.String()))

	// What others removed goes from it, and is not found there.
	forget(t, plain, first.ID)
	_, err := r.Snapshot(t.Context(), first.ID.String())
	require.ErrorIs(t, err, fs.ErrNotExist)
	prune(t, plain, none())
	r, _, _ = cached(t, b, dir)
	require.EqualValues(t, 3, tour(t, r))
	r, _, _ = cached(t, b, dir) // packs go the next time
	require.EqualValues(t, 3, tour(t, r))
	there := 0
	for name := range held(t, dir) {
		typ := map[string]backend.FileType{"index": backend.Index, "snapshots": backend.Snapshot, "data": backend.Pack}
		rel, err := filepath.Rel(filepath.Join(dir, r.ID()), name)
		require.NoError(t, err)
		kind, _, _ := strings.Cut(filepath.ToSlash(rel), "/")
		_, err = b.Stat(t.Context(), backend.Handle{Type: typ[kind], Name: filepath.Base(name)})
		require.NoError(t, err, name)
		there++
	}
	require.Positive(t, there)
	repositorytest.RequireClean(t, r)
}

// Damage of the cache costs a read, no more. Damage of the repository does not hide behind it.
func TestDamagedCache(t *testing.T) {
	b, dir := mem.New(), t.TempDir()
	s := repositorytest.Write(t, repositorytest.Init(t, b), map[string]string{"a/b": "1", "c": "2"})
	r, _, _ := cached(t, b, dir)
	want := tour(t, r)
	files := held(t, dir)
	require.Len(t, files, 3)
	for name, p := range files {
		for what, damaged := range map[string][]byte{"empty": {}, "cut": p[:len(p)/3], "flipped": flipped(p), "foreign": []byte("foreign")} {
			require.NoError(t, os.WriteFile(name, damaged, 0o600))
			r, _, log := cached(t, b, dir)
			require.Equal(t, want, tour(t, r), "%s %s", what, name)
			require.Contains(t, log.String(), "dropped")
			require.Equal(t, files, held(t, dir), "%s %s", what, name)
		}
	}

	for typ, kind := range map[backend.FileType]repository.ProblemKind{
		backend.Index: repository.IndexDamaged, backend.Snapshot: repository.SnapshotDamaged, backend.Pack: repository.TreeDamaged,
	} {
		b := clone(t, b)
		for _, h := range handlesOf(t, b, typ) {
			p := load(t, b, h)
			require.NoError(t, b.Remove(t.Context(), h))
			put(t, b, h, bytes.Repeat([]byte{7}, len(p)))
		}
		r, _, _ := cached(t, b, dir)
		var found []repository.ProblemKind
		for p, err := range r.Check(t.Context(), nil) {
			require.NoError(t, err)
			found = append(found, p.Kind)
		}
		require.Contains(t, found, kind)
		if typ == backend.Pack {
			plan, err := r.PlanRepairSnapshots(t.Context(), s)
			require.NoError(t, err)
			require.Len(t, plan.Snapshots, 1)
		}
		if typ == backend.Index {
			plan, err := r.PlanRepairIndex(t.Context(), nil)
			require.NoError(t, err)
			require.Len(t, plan.Damaged, 1)
		}
	}
}

func flipped(p []byte) []byte {
	p = bytes.Clone(p)
	for i := range p {
		p[i] ^= 0x55
	}
	return p
}

// Whatever is wrong with the directory, all works, and the logger is told.
func TestCacheThatCannotBeUsed(t *testing.T) {
	b, dir := mem.New(), t.TempDir()
	repositorytest.Write(t, repositorytest.Init(t, b), map[string]string{"a/b": "1"})
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	r, _, log := cached(t, b, file)
	require.EqualValues(t, 1, tour(t, r))
	require.Contains(t, log.String(), "cache cannot be used")

	// A file stands where directories would have to be.
	require.NoError(t, os.Mkdir(filepath.Join(dir, r.ID()), 0o700))
	for _, name := range []string{"index", "snapshots", "data"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, r.ID(), name), nil, 0o600))
	}
	r, _, log = cached(t, b, dir)
	require.EqualValues(t, 1, tour(t, r))
	require.Equal(t, 1, strings.Count(log.String(), "cache cannot be written"), "said once")

	// A link leads nowhere out of it.
	for _, name := range []string{"index", "snapshots", "data"} {
		require.NoError(t, os.Remove(filepath.Join(dir, r.ID(), name)))
		require.NoError(t, os.Symlink(t.TempDir(), filepath.Join(dir, r.ID(), name)))
	}
	r, _, _ = cached(t, b, dir)
	require.EqualValues(t, 1, tour(t, r))
	for _, name := range []string{"index", "snapshots", "data"} {
		entries, err := os.ReadDir(filepath.Join(dir, r.ID(), name))
		require.NoError(t, err)
		require.Empty(t, entries)
	}
}

// Several processes fill, use and tidy a cache while others write and prune.
func TestCacheIsShared(t *testing.T) {
	b, dir := initialized(t), t.TempDir()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 5 {
				o := smallPacks()
				o.Cache = dir
				r, err := repository.Open(t.Context(), b, repositorytest.Password, o)
				if err != nil {
					t.Error(err)
					return
				}
				s, err := pieces(t.Context(), r, repository.Header{Hostname: "h"}, map[string][]int{"d/f": {10*i + j}, "g": {j}})
				if err == nil {
					_, err = r.Stats(t.Context(), s)
				}
				if err != nil {
					t.Error(err)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r, _, log := cached(t, b, dir)
	require.EqualValues(t, 40, tour(t, r))
	require.Empty(t, log.String())
	for name, p := range held(t, dir) {
		require.Equal(t, filepath.Base(name), repository.Hash(p).String())
	}
	repositorytest.RequireClean(t, r)
}
