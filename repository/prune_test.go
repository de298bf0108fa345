package repository_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

const pieceSize = 100 << 10

// pieces writes a snapshot whose files, by name, consist of the given numbered pieces, each a blob of its own.
func pieces(ctx context.Context, r *repository.Repo, h repository.Header, files map[string][]int) (*repository.Snapshot, error) {
	return r.Write(ctx, h, func(_ context.Context, w *repository.Writer) error {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			f, err := w.Create(name)
			if err != nil {
				return err
			}
			for _, n := range files[name] {
				if _, err := f.Write(random(uint64(n), pieceSize)); err != nil {
					return err
				}
				if err := f.Cut(); err != nil {
					return err
				}
			}
			if err := f.Close(); err != nil {
				return err
			}
		}
		return nil
	})
}

func mustPieces(t *testing.T, r *repository.Repo, files map[string][]int) *repository.Snapshot {
	t.Helper()
	s, err := pieces(t.Context(), r, repository.Header{Hostname: "h"}, files)
	require.NoError(t, err)
	return s
}

// requirePieces reads all of a snapshot.
func requirePieces(t *testing.T, r *repository.Repo, s *repository.Snapshot, files map[string][]int) {
	t.Helper()
	fsys, err := r.FS(t.Context(), s)
	require.NoError(t, err)
	seen := 0
	require.NoError(t, fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		seen++
		got, err := fs.ReadFile(fsys, name)
		require.NoError(t, err)
		require.Contains(t, files, name)
		require.Len(t, got, len(files[name])*pieceSize)
		for i, n := range files[name] {
			require.True(t, bytes.Equal(random(uint64(n), pieceSize), got[i*pieceSize:(i+1)*pieceSize]), "%s: piece %d", name, i)
		}
		return nil
	}))
	require.Equal(t, len(files), seen)
}

// upTo gives the numbers from a up to b.
func upTo(a, b int) (all []int) {
	for i := a; i < b; i++ {
		all = append(all, i)
	}
	return all
}

func forget(t *testing.T, r *repository.Repo, ids ...repository.ID) {
	t.Helper()
	plan, err := r.PlanForgetIDs(t.Context(), ids...)
	require.NoError(t, err)
	require.NoError(t, r.Forget(t.Context(), plan))
}

func prune(t *testing.T, r *repository.Repo, o *repository.PruneOptions) *repository.PrunePlan {
	t.Helper()
	plan, err := r.PlanPrune(t.Context(), o)
	require.NoError(t, err)
	require.NoError(t, r.Prune(t.Context(), plan))
	return plan
}

func sizes(t *testing.T, b backend.Backend, typ backend.FileType) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	for fi, err := range b.List(t.Context(), typ) {
		require.NoError(t, err)
		all[fi.Handle.Name] = fi.Size
	}
	return all
}

func total(sizes map[string]int64) (n int64) {
	for _, size := range sizes {
		n += size
	}
	return n
}

func none() *repository.PruneOptions {
	return &repository.PruneOptions{MaxUnused: repository.UnusedBytes(0)}
}

// requireNothingToPrune also shows that nothing unused is left.
func requireNothingToPrune(t *testing.T, r *repository.Repo) {
	t.Helper()
	plan, err := r.PlanPrune(t.Context(), none())
	require.NoError(t, err)
	require.True(t, plan.Empty(), "%v", plan)
	require.Zero(t, plan.Unused)
	require.Zero(t, plan.Duplicate)
	require.Zero(t, plan.UnusedAfter)
	require.NoError(t, r.Prune(t.Context(), plan))
}

func open4(t *testing.T, b backend.Backend) *repository.Repo {
	t.Helper()
	r, err := repository.Open(t.Context(), b, repositorytest.Password, smallPacks())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func initialized(t *testing.T) *mem.Backend {
	b := mem.New()
	repositorytest.Init(t, b)
	return b
}

func TestPrune(t *testing.T) {
	b := initialized(t)
	r := open4(t, b)
	first := mustPieces(t, r, map[string][]int{"old/a": upTo(0, 60)})
	kept := map[string][]int{"b": upTo(45, 100), "c/d": upTo(100, 110)}
	second := mustPieces(t, r, kept)
	requireNothingToPrune(t, r)

	before := sizes(t, b, backend.Pack)
	forget(t, r, first.ID)
	require.Equal(t, before, sizes(t, b, backend.Pack), "forgetting removes snapshots only")
	plan, err := r.PlanPrune(t.Context(), none())
	require.NoError(t, err)
	require.False(t, plan.Empty())
	require.Equal(t, 1, plan.Snapshots)
	require.Equal(t, int64(45+2), plan.Unused.Count, "two trees")
	require.Equal(t, int64(65+2), plan.Used.Count)
	require.Zero(t, plan.Duplicate)
	require.Zero(t, plan.UnusedAfter)
	require.Equal(t, int64(len(before)), plan.Keep.Count+plan.Repack.Count+plan.Remove.Count)
	require.Positive(t, plan.Repack.Count)
	require.Positive(t, plan.Remove.Count)
	require.Positive(t, plan.Keep.Count)
	require.Equal(t, 2, plan.RewriteIndexes)
	require.Equal(t, before, sizes(t, b, backend.Pack), "a plan changes nothing")
	require.NoError(t, r.Prune(t.Context(), plan))

	after := sizes(t, b, backend.Pack)
	require.InDelta(t, total(before)-plan.Freed, total(after), 4096)
	require.Len(t, sizes(t, b, backend.Index), 1)
	require.Empty(t, sizes(t, b, backend.Lock))
	requirePieces(t, r, second, kept)
	r = open4(t, b)
	requirePieces(t, r, second, kept)
	repositorytest.RequireClean(t, r)
	requireNothingToPrune(t, r)
	require.ErrorIs(t, r.Prune(t.Context(), plan), repository.ErrPlanOutdated, "once")

	// What was pruned is stored again if it is needed again.
	again := mustPieces(t, r, map[string][]int{"a": upTo(0, 60)})
	require.Equal(t, int64(45), again.Summary.DataBlobs)
	repositorytest.RequireClean(t, r)
}

func TestPruneEverything(t *testing.T) {
	b := initialized(t)
	r := open4(t, b)
	forget(t, r, mustPieces(t, r, map[string][]int{"a": upTo(0, 10)}).ID)
	prune(t, r, nil)
	require.Empty(t, sizes(t, b, backend.Pack))
	require.Empty(t, sizes(t, b, backend.Index))
	repositorytest.RequireClean(t, r)
}

func TestPruneLimits(t *testing.T) {
	// Three quarters of each pack are used.
	b := initialized(t)
	r := open4(t, b)
	part := func(n int) (all []int) {
		for i := range n {
			if i%4 != 0 {
				all = append(all, i)
			}
		}
		return all
	}
	mustPieces(t, r, map[string][]int{"a": upTo(0, 120)})
	whole, err := r.Snapshot(t.Context(), "latest")
	require.NoError(t, err)
	kept := map[string][]int{"a": part(120)}
	s := mustPieces(t, r, kept)
	forget(t, r, whole.ID)

	plan := func(o repository.PruneOptions) *repository.PrunePlan {
		p, err := r.PlanPrune(t.Context(), &o)
		require.NoError(t, err)
		return p
	}
	all := plan(*none())
	require.Equal(t, int64(3), all.Repack.Count, "%v", all)
	unlimited := plan(repository.PruneOptions{MaxUnused: repository.UnusedUnlimited()})
	require.Zero(t, unlimited.Repack.Count, "%v", unlimited)
	require.Equal(t, int64(1), unlimited.Remove.Count, "the tree of the snapshot that is forgotten")
	require.Greater(t, unlimited.UnusedAfter, int64(29*pieceSize))
	some := plan(repository.PruneOptions{MaxUnused: repository.UnusedPercent(20)})
	require.Positive(t, some.Repack.Count)
	require.Less(t, some.Repack.Count, all.Repack.Count)
	require.LessOrEqual(t, float64(some.UnusedAfter), 0.2*float64(some.Used.Bytes+some.UnusedAfter))
	require.Equal(t, all.Repack.Count, plan(repository.PruneOptions{MaxUnused: repository.UnusedPercent(1)}).Repack.Count)
	require.Equal(t, all.Repack.Count, plan(repository.PruneOptions{}).Repack.Count)
	bytesLimit := plan(repository.PruneOptions{MaxUnused: repository.UnusedBytes(15 * pieceSize)})
	require.LessOrEqual(t, bytesLimit.UnusedAfter, int64(15*pieceSize))
	require.Positive(t, bytesLimit.UnusedAfter)

	o := *none()
	o.MaxRepackSize = 5 << 20
	limited := plan(o)
	require.Equal(t, int64(1), limited.Repack.Count, "%v", limited)
	require.LessOrEqual(t, limited.Repack.Bytes, o.MaxRepackSize)
	for range 4 { // step by step
		repositorytest.RequireClean(t, r)
		if prune(t, r, &o).Empty() {
			break
		}
	}
	requireNothingToPrune(t, r)
	requirePieces(t, r, s, kept)
	repositorytest.RequireClean(t, r)
}

func TestPruneJoinsSmallPacks(t *testing.T) {
	b := initialized(t)
	r := open4(t, b)
	for i := range 12 {
		mustPieces(t, r, map[string][]int{"a": upTo(2*i, 2*i+2)})
	}
	require.Len(t, sizes(t, b, backend.Pack), 24)
	requireNothingToPrune(t, r)
	o := none()
	o.RepackSmall = true
	o.MaxRepackSize = pieceSize
	require.Less(t, prune(t, r, o).Repack.Bytes, int64(pieceSize)+1)
	o.MaxRepackSize = 0
	prune(t, r, o)
	require.Len(t, sizes(t, b, backend.Pack), 2)
	require.Len(t, sizes(t, b, backend.Index), 1)
	repositorytest.RequireClean(t, r)
	plan, err := r.PlanPrune(t.Context(), o)
	require.NoError(t, err)
	require.True(t, plan.Empty(), "it does not do so over and over: %v", plan)
}

// Many small index files are joined even if all data is used.
func TestPruneJoinsIndexes(t *testing.T) {
	b := initialized(t)
	r := open4(t, b)
	for i := range 33 {
		_, err := r.Write(t.Context(), repository.Header{}, func(ctx context.Context, w *repository.Writer) error {
			return create(w, "a", fmt.Appendf(nil, "%d", i))
		})
		require.NoError(t, err)
	}
	plan := prune(t, r, nil)
	require.Equal(t, 33, plan.RewriteIndexes)
	require.Len(t, sizes(t, b, backend.Index), 1)
	require.Len(t, sizes(t, b, backend.Pack), 66)
	repositorytest.RequireClean(t, r)
	requireNothingToPrune(t, r)
}

// Two writers that store the same at the same time leave copies; prune removes them.
func TestPruneDuplicates(t *testing.T) {
	b := initialized(t)
	one, two := open4(t, b), open4(t, b)
	files := map[string][]int{"a": upTo(0, 50)}
	var second *repository.Snapshot
	first, err := one.Write(t.Context(), repository.Header{}, func(_ context.Context, w *repository.Writer) error {
		second = mustPieces(t, two, files)
		f, err := w.Create("a")
		require.NoError(t, err)
		for _, n := range files["a"] {
			_, err := f.Write(random(uint64(n), pieceSize))
			require.NoError(t, err)
			require.NoError(t, f.Cut())
		}
		return f.Close()
	})
	require.NoError(t, err)
	plan := prune(t, one, none())
	require.Equal(t, int64(50), plan.Duplicate.Count, "%v", plan) // the trees have different times
	requireNothingToPrune(t, one)
	for _, s := range []*repository.Snapshot{first, second} {
		requirePieces(t, one, s, files)
	}
	repositorytest.RequireClean(t, one)
	require.Less(t, total(sizes(t, b, backend.Pack)), int64(52*pieceSize))
}

func TestPruneRemovesWhatAKilledRunLeft(t *testing.T) {
	b := initialized(t)
	kept := map[string][]int{"a": upTo(0, 3)}
	s := mustPieces(t, open4(t, b), kept)
	f := backendtest.NewFaults(b)
	killed := open4(t, f)
	_, err := killed.Write(t.Context(), repository.Header{}, func(_ context.Context, w *repository.Writer) error {
		require.NoError(t, create(w, "f", random(1000, 20<<20)))
		f.StopAfter(1)
		return nil
	})
	require.ErrorIs(t, err, backendtest.ErrStopped)
	r := open4(t, b)
	_, err = r.Unlock(t.Context(), &repository.UnlockOptions{All: true})
	require.NoError(t, err)
	plan := prune(t, r, nil)
	require.Positive(t, plan.Unknown.Count, "%v", plan)
	require.Zero(t, plan.Keep.Count-2)
	require.Len(t, sizes(t, b, backend.Pack), 2)
	requirePieces(t, r, s, kept)
	repositorytest.RequireClean(t, r)
}

func TestPlanIsOutdated(t *testing.T) {
	for name, change := range map[string]func(r *repository.Repo, kept repository.ID) error{
		"write": func(r *repository.Repo, _ repository.ID) error {
			_, err := pieces(t.Context(), r, repository.Header{}, map[string][]int{"b": {1, 2}})
			return err
		},
		"tag": func(r *repository.Repo, _ repository.ID) error {
			_, err := r.Tag(t.Context(), repository.TagChange{Set: []string{"x"}}, nil)
			return err
		},
		"forget": func(r *repository.Repo, kept repository.ID) error {
			plan, err := r.PlanForgetIDs(t.Context(), kept)
			if err != nil {
				return err
			}
			return r.Forget(t.Context(), plan)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := initialized(t)
			r := open4(t, b)
			kept := mustPieces(t, r, map[string][]int{"a": {1}})
			forget(t, r, mustPieces(t, r, map[string][]int{"a": {2}}).ID)
			plan, err := r.PlanPrune(t.Context(), nil)
			require.NoError(t, err)
			require.NoError(t, change(open4(t, b), kept.ID))
			before := sizes(t, b, backend.Pack)
			require.ErrorIs(t, r.Prune(t.Context(), plan), repository.ErrPlanOutdated)
			require.Equal(t, before, sizes(t, b, backend.Pack))
			require.Empty(t, sizes(t, b, backend.Lock))
			prune(t, r, nil)
			repositorytest.RequireClean(t, r)
		})
	}
}

func TestPruneNeedsTheRepositoryToItself(t *testing.T) {
	b := initialized(t)
	r := open4(t, b)
	forget(t, r, mustPieces(t, r, map[string][]int{"a": {1}}).ID)
	plan, err := r.PlanPrune(t.Context(), nil)
	require.NoError(t, err)
	_, err = open4(t, b).Write(t.Context(), repository.Header{}, func(context.Context, *repository.Writer) error {
		err := r.Prune(t.Context(), plan)
		require.ErrorIs(t, err, repository.ErrLocked)
		_, err = r.Tag(t.Context(), repository.TagChange{Add: []string{"x"}}, nil)
		require.ErrorIs(t, err, repository.ErrLocked)
		return nil
	})
	require.NoError(t, err)
	o := smallPacks()
	o.NoLock = true
	reader, err := repository.Open(t.Context(), b, repositorytest.Password, o)
	require.NoError(t, err)
	defer reader.Close()
	plan, err = reader.PlanPrune(t.Context(), nil)
	require.NoError(t, err)
	require.False(t, plan.Empty())
	require.ErrorIs(t, reader.Prune(t.Context(), plan), fs.ErrPermission)
}

// What cannot be read, or is not there, stops the plan.
func TestPruneOfADamagedRepository(t *testing.T) {
	files := map[string][]int{"a": upTo(0, 50)}
	damage := func(t *testing.T, b backend.Backend, h backend.Handle, change func([]byte) []byte) {
		rc, err := b.Load(t.Context(), h, 0, -1)
		require.NoError(t, err)
		p, err := io.ReadAll(rc)
		require.NoError(t, err)
		require.NoError(t, rc.Close())
		require.NoError(t, b.Remove(t.Context(), h))
		if p = change(p); p != nil {
			require.NoError(t, b.Save(t.Context(), h, bytes.NewReader(p), int64(len(p))))
		}
	}
	largest := func(t *testing.T, b backend.Backend) backend.Handle {
		packs := sizes(t, b, backend.Pack)
		names := slices.SortedFunc(maps.Keys(packs), func(x, y string) int { return int(packs[y] - packs[x]) })
		return backend.Handle{Type: backend.Pack, Name: names[0]}
	}
	any := func(typ backend.FileType) func(t *testing.T, b backend.Backend) backend.Handle {
		return func(t *testing.T, b backend.Backend) backend.Handle {
			for name := range sizes(t, b, typ) {
				return backend.Handle{Type: typ, Name: name}
			}
			return backend.Handle{}
		}
	}
	smallest := func(t *testing.T, b backend.Backend) backend.Handle {
		packs := sizes(t, b, backend.Pack)
		names := slices.SortedFunc(maps.Keys(packs), func(x, y string) int { return int(packs[x] - packs[y]) })
		return backend.Handle{Type: backend.Pack, Name: names[0]}
	}
	gone := func([]byte) []byte { return nil }
	cut := func(p []byte) []byte { return p[:len(p)-1] }
	flip := func(p []byte) []byte { p[len(p)/2] ^= 1; return p }
	for name, c := range map[string]struct {
		what    func(*testing.T, backend.Backend) backend.Handle
		how     func([]byte) []byte
		missing bool
	}{
		"pack is gone":         {largest, gone, true},
		"pack is cut":          {largest, cut, true},
		"pack of trees gone":   {smallest, gone, true},
		"pack of trees is bad": {smallest, flip, false},
		"index is gone":        {any(backend.Index), gone, true},
		"index is bad":         {any(backend.Index), flip, false},
		"snapshot is bad":      {any(backend.Snapshot), flip, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := initialized(t)
			mustPieces(t, open4(t, b), files)
			damage(t, b, c.what(t, b), c.how)
			f := backendtest.NewFaults(b)
			_, err := open4(t, f).PlanPrune(t.Context(), none())
			var missing *repository.MissingError
			if c.missing {
				require.ErrorAs(t, err, &missing)
				require.NotEmpty(t, missing.Blobs)
				require.ErrorContains(t, err, "nothing was removed")
			}
			require.ErrorIs(t, err, repository.ErrDamaged)
			for _, call := range f.Trace() {
				require.False(t, call.Op == backendtest.Remove && call.Handle.Type != backend.Lock, "%v", call)
			}
		})
	}
	t.Run("pack is gone that nobody needs", func(t *testing.T) {
		b := initialized(t)
		r := open4(t, b)
		kept := map[string][]int{"b": upTo(100, 105)}
		s := mustPieces(t, r, kept)
		before := sizes(t, b, backend.Pack)
		forget(t, r, mustPieces(t, r, files).ID)
		for name := range sizes(t, b, backend.Pack) {
			if _, old := before[name]; !old {
				require.NoError(t, b.Remove(t.Context(), backend.Handle{Type: backend.Pack, Name: name}))
				break
			}
		}
		plan := prune(t, r, nil)
		require.Len(t, plan.Gone, 1)
		requirePieces(t, r, s, kept)
		repositorytest.RequireClean(t, r)
		requireNothingToPrune(t, r)
	})
	t.Run("one of two copies is bad", func(t *testing.T) {
		b := initialized(t)
		one, two := open4(t, b), open4(t, b)
		var second *repository.Snapshot
		_, err := one.Write(t.Context(), repository.Header{}, func(_ context.Context, w *repository.Writer) error {
			second = mustPieces(t, two, files)
			for _, n := range files["a"] {
				_, err := w.SaveBlob(t.Context(), random(uint64(n), pieceSize))
				require.NoError(t, err)
			}
			return nil
		})
		require.NoError(t, err)
		packs := sizes(t, b, backend.Pack)
		damaged := 0
		for name, size := range packs {
			if size < pieceSize {
				continue // trees
			}
			damaged++
			c := clone(t, b)
			damage(t, c, backend.Handle{Type: backend.Pack, Name: name}, flip)
			r := open4(t, c)
			o := none()
			o.RepackUncompressed = true // moves all, since random bytes are not compressed
			require.Positive(t, prune(t, r, o).Repack.Count)
			requirePieces(t, r, second, files)
			repositorytest.RequireClean(t, r)
			requireNothingToPrune(t, r)
		}
		require.Equal(t, 4, damaged)
	})
	t.Run("blob to be moved is bad", func(t *testing.T) {
		b := initialized(t)
		r := open4(t, b)
		victim := mustPieces(t, r, map[string][]int{"a": upTo(0, 11)})
		mustPieces(t, r, map[string][]int{"a": upTo(0, 10)})
		forget(t, r, victim.ID)
		h := largest(t, b)
		damage(t, b, h, flip)
		before := sizes(t, b, backend.Pack)
		plan, err := r.PlanPrune(t.Context(), none())
		require.NoError(t, err, "the plan reads no data")
		err = r.Prune(t.Context(), plan)
		require.ErrorIs(t, err, repository.ErrDamaged)
		require.ErrorContains(t, err, h.Name)
		after := sizes(t, b, backend.Pack)
		for name := range before {
			require.Contains(t, after, name)
		}
	})
}

func TestMaxUnused(t *testing.T) {
	for _, s := range []string{"0%", "5%", "12.5%", "unlimited", "0", "1024"} {
		m, err := repository.ParseMaxUnused(s)
		require.NoError(t, err)
		require.Equal(t, s, m.String())
	}
	require.Equal(t, "5%", repository.MaxUnused{}.String())
	m, err := repository.ParseMaxUnused("100%")
	require.NoError(t, err)
	require.Equal(t, "unlimited", m.String())
	for s, want := range map[string]int64{"7": 7, "7k": 7 << 10, "7K": 7 << 10, "2M": 2 << 20, "3g": 3 << 30, "1T": 1 << 40} {
		n, err := repository.ParseSize(s)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	for _, s := range []string{"", "-1", "k", "1x", "1 M", "9999999999T", "1.5G"} {
		_, err := repository.ParseSize(s)
		require.Error(t, err, s)
		_, err = repository.ParseMaxUnused(s)
		require.Error(t, err, s)
	}
	for _, s := range []string{"-1%", "101%", "%", "x%", "NaN%"} {
		_, err := repository.ParseMaxUnused(s)
		require.Error(t, err, s)
	}
}

func mustLatest(t *testing.T, r *repository.Repo) *repository.Snapshot {
	t.Helper()
	s, err := r.Snapshot(t.Context(), "latest")
	require.NoError(t, err)
	return s
}
