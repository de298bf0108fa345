package repository_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

func sameFiles(t *testing.T, a, b *repository.Repo, sa, sb *repository.Snapshot) {
	t.Helper()
	x, err := a.FS(t.Context(), sa)
	require.NoError(t, err)
	y, err := b.FS(t.Context(), sb)
	require.NoError(t, err)
	require.Equal(t, sa.Tree, sb.Tree)
	require.NoError(t, fs.WalkDir(x, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		want, err := fs.ReadFile(x, name)
		require.NoError(t, err)
		got, err := fs.ReadFile(y, name)
		require.NoError(t, err)
		require.True(t, slices.Equal(want, got), name)
		return nil
	}))
}

func TestCopy(t *testing.T) {
	src := repositorytest.New(t)
	big := string(random(31, 5<<20))
	one := repositorytest.Write(t, src, map[string]string{"d/big": big, "d/small": "1"})
	two := repositorytest.Write(t, src, map[string]string{"d/big": big, "d/small": "2", "e/f/g": "3"})
	o := repositorytest.Options()
	o.CopyChunker = src
	b := mem.New()
	dst, err := repository.Init(t.Context(), b, "other", o)
	require.NoError(t, err)
	defer dst.Close()
	require.NotEqual(t, src.ID(), dst.ID())

	res, err := src.Copy(t.Context(), dst, one)
	require.NoError(t, err)
	require.Len(t, res.Copied, 1)
	require.Equal(t, one.ID, *res.Copied[0].Original)
	require.Nil(t, res.Copied[0].Parent)
	sameFiles(t, src, dst, one, res.Copied[0])

	res, err = src.Copy(t.Context(), dst, one, two, two)
	require.NoError(t, err)
	require.Equal(t, []*repository.Snapshot{one, two}, res.Skipped)
	require.Len(t, res.Copied, 1)
	require.Less(t, res.Stats.NewBytes, int64(10000))
	sameFiles(t, src, dst, two, res.Copied[0])
	repositorytest.RequireClean(t, dst)

	// Files written to both have the same blobs; a copy of a copy is one of the first; nothing goes back.
	repositorytest.Write(t, dst, map[string]string{"other": big})
	s, err := dst.Snapshot(t.Context(), "latest")
	require.NoError(t, err)
	require.Zero(t, s.Summary.DataBlobs)
	res, err = dst.Copy(t.Context(), src, res.Copied[0])
	require.NoError(t, err)
	require.Empty(t, res.Copied)
	_, err = src.Copy(t.Context(), src, one)
	require.ErrorIs(t, err, fs.ErrInvalid)
}

// A fault at any call of either repository: an error or a whole copy. What is there stays whole, and copying again ends well.
func TestCopySurvivesFaults(t *testing.T) {
	srcBack := mem.New()
	src := repositorytest.Init(t, srcBack)
	s := repositorytest.Write(t, src, map[string]string{"d/one": string(random(32, 5000)), "d/two": "2", "e": "3"})
	copyAll := func(from, to backend.Backend) error {
		a, err := repository.Open(t.Context(), from, repositorytest.Password, smallPacks())
		if err != nil {
			return err
		}
		defer a.Close()
		b, err := repository.Open(t.Context(), to, repositorytest.Password, smallPacks())
		if err != nil {
			return err
		}
		defer b.Close()
		_, err = a.Copy(t.Context(), b, s)
		return err
	}
	fresh := func() *mem.Backend {
		b := mem.New()
		repositorytest.Init(t, b)
		return b
	}
	for _, which := range []string{"source", "destination"} {
		run := func(rule func(*backendtest.Faults)) (backend.Backend, *backendtest.Faults, error) {
			b := fresh()
			if which == "source" {
				f := backendtest.NewFaults(srcBack)
				rule(f)
				return b, f, copyAll(f, b)
			}
			f := backendtest.NewFaults(b)
			rule(f)
			return b, f, copyAll(srcBack, f)
		}
		_, trace, err := run(func(*backendtest.Faults) {})
		require.NoError(t, err)
		require.Greater(t, trace.Calls(), 8)
		for n := 1; n <= trace.Calls(); n++ {
			for name, rule := range map[string]func(f *backendtest.Faults){
				"fail":     func(f *backendtest.Faults) { f.Fail("", 0, n, errBoom) },
				"lost ack": func(f *backendtest.Faults) { f.LoseAck("", 0, n, errBoom) },
				"short":    func(f *backendtest.Faults) { f.ShortRead(0, n) },
				"flipped":  func(f *backendtest.Faults) { f.FlipByte(0, n) },
				"killed":   func(f *backendtest.Faults) { f.StopAfter(n) },
			} {
				b, _, err := run(rule)
				r := repositorytest.Reopen(t, b)
				repositorytest.RequireClean(t, r)
				found := 0
				for c, lerr := range r.Snapshots(t.Context(), repository.Filter{}) {
					require.NoError(t, lerr)
					sameFiles(t, src, r, s, c)
					found++
				}
				if err == nil {
					require.Equal(t, 1, found, "%s: %s at call %d", which, name, n)
				}
				require.NoError(t, copyAll(srcBack, b), "%s: after %s at call %d", which, name, n)
			}
		}
	}
}

func TestStats(t *testing.T) {
	r := repositorytest.New(t)
	empty, err := r.Stats(t.Context())
	require.NoError(t, err)
	require.Equal(t, &repository.Stats{}, empty)
	require.Zero(t, empty.DedupRatio()+empty.CompressionRatio())
	big := string(random(33, 600<<10))
	one := repositorytest.Write(t, r, map[string]string{"d/a": big, "d/b": big})
	two := repositorytest.Write(t, r, map[string]string{"x/d/a": big, "x/d/b": big, "c": string(make([]byte, 100<<10))})
	s, err := r.Stats(t.Context(), one)
	require.NoError(t, err)
	require.Equal(t, int64(2), s.Files)
	require.Equal(t, int64(1), s.Dirs)
	require.Equal(t, int64(1200<<10), s.Bytes)
	require.InDelta(t, 2, s.DedupRatio(), 0.01)
	require.InDelta(t, 1, s.CompressionRatio(), 0.01)
	both, err := r.Stats(t.Context(), one, two)
	require.NoError(t, err)
	require.Equal(t, int64(2), both.Snapshots)
	require.Equal(t, int64(5), both.Files)
	require.Equal(t, int64(3), both.Dirs)
	require.Equal(t, int64(2500<<10), both.Bytes)
	// One big and one small data blob; the trees of one: root and d; of two: root and x, whose d has another time.
	require.GreaterOrEqual(t, both.Blobs, s.Blobs+3)
	require.Greater(t, both.CompressionRatio(), 1.1)
	require.Less(t, both.PackedBytes, int64(610<<10))
}

var repositoryTime = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

func TestDiff(t *testing.T) {
	r := repositorytest.New(t)
	write := func(files map[string]string) *repository.Snapshot {
		h := repository.Header{Hostname: "test", Time: repositoryTime}
		s, err := r.Write(t.Context(), h, func(_ context.Context, w *repository.Writer) error {
			var errs []error
			for name, text := range files {
				errs = append(errs, create(w, name, []byte(text)))
			}
			return errors.Join(errs...)
		})
		require.NoError(t, err)
		return s
	}
	one := write(map[string]string{"a/same": "1", "a/changed": "1", "b/gone": "1", "c": "file", "z/deep/x": "1"})
	two := write(map[string]string{"a/same": "1", "a/changed": "2", "a/new": "1", "c/now": "dir", "z/deep/x": "1"})
	diff := func(a, b *repository.Snapshot) (all []string) {
		for c, err := range r.Diff(t.Context(), a, b, &repository.DiffOptions{Attributes: true}) {
			require.NoError(t, err)
			require.Equal(t, c.Kind == repository.Added, c.Before == nil)
			require.Equal(t, c.Kind == repository.Removed, c.After == nil)
			all = append(all, string(c.Kind)+" "+c.Path)
		}
		return all
	}
	require.Equal(t, []string{"modified a/changed", "added a/new", "removed b", "removed b/gone", "type changed c", "added c/now"}, diff(one, two))
	require.Equal(t, []string{"modified a/changed", "removed a/new", "added b", "added b/gone", "type changed c", "removed c/now"}, diff(two, one))
	require.Empty(t, diff(one, one))
	for range r.Diff(t.Context(), one, two, nil) {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range r.Diff(ctx, one, two, nil) {
		require.ErrorIs(t, err, context.Canceled)
	}
}

func TestResolve(t *testing.T) {
	r := repositorytest.New(t)
	s := repositorytest.Write(t, r, map[string]string{"a/b/c": "1"})
	for ref, want := range map[string]string{
		"latest": ".", "latest:": ".", "latest:/": ".", "latest:a": "a", "latest:/a/b/": "a/b", s.ID.Short() + ":a/../a/b/c": "a/b/c",
		"latest:../../a": "a",
	} {
		got, name, err := r.Resolve(t.Context(), ref)
		require.NoError(t, err, ref)
		require.Equal(t, s.ID, got.ID)
		require.Equal(t, want, name, ref)
	}
	for _, ref := range []string{"latest:x", "latest:a/b/c/d", "latest~1:a", ":a", "ffffffff:a"} {
		_, _, err := r.Resolve(t.Context(), ref)
		require.ErrorIs(t, err, fs.ErrNotExist, ref)
	}
}
