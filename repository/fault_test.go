package repository_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

var errBoom = errors.New("boom")

// session opens b, makes a snapshot of text, and reads it back.
func session(ctx context.Context, b backend.Backend, text []byte) (err error) {
	r, err := repository.Open(ctx, b, repositorytest.Password, smallPacks())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	s, err := r.Write(ctx, repository.Header{}, func(_ context.Context, w *repository.Writer) error {
		return create(w, "dir/file", text)
	})
	if err != nil {
		return err
	}
	return verify(ctx, r, s.ID.String(), text)
}

func verify(ctx context.Context, r *repository.Repo, ref string, text []byte) error {
	s, err := r.Snapshot(ctx, ref)
	if err != nil {
		return err
	}
	fsys, err := r.FS(ctx, s)
	if err != nil {
		return err
	}
	got, err := fs.ReadFile(fsys, "dir/file")
	if err != nil {
		return err
	}
	if !bytes.Equal(got, text) {
		return errors.New("WRONG BYTES")
	}
	return nil
}

func smallPacks() *repository.Options {
	o := repositorytest.Options()
	o.PackSize = 4 << 20
	o.Concurrency = 1
	return o
}

// prepared gives a repository with a snapshot of text.
func prepared(t *testing.T, text []byte) *mem.Backend {
	b := mem.New()
	repositorytest.Init(t, b)
	require.NoError(t, session(t.Context(), b, text))
	return b
}

func TestFaultAtEveryCall(t *testing.T) {
	old, text := random(10, 1<<10), random(11, 100<<10)
	trace := backendtest.NewFaults(prepared(t, old))
	require.NoError(t, session(t.Context(), trace, text))
	calls := trace.Calls()
	require.Greater(t, calls, 15)
	rules := map[string]func(f *backendtest.Faults, n int){
		"fail":     func(f *backendtest.Faults, n int) { f.Fail("", 0, n, errBoom) },
		"lost ack": func(f *backendtest.Faults, n int) { f.LoseAck("", 0, n, errBoom) },
		"short":    func(f *backendtest.Faults, n int) { f.ShortRead(0, n) },
		"flipped":  func(f *backendtest.Faults, n int) { f.FlipByte(0, n) },
		"killed":   func(f *backendtest.Faults, n int) { f.StopAfter(n) },
	}
	for name, rule := range rules {
		t.Run(name, func(t *testing.T) {
			failed := 0
			for n := 1; n <= calls; n++ {
				b := prepared(t, old)
				f := backendtest.NewFaults(b)
				rule(f, n)
				if err := session(t.Context(), f, text); err != nil {
					require.NotContains(t, err.Error(), "WRONG")
					failed++
				}
				r := repositorytest.Reopen(t, b)
				for s, err := range r.Snapshots(t.Context(), repository.Filter{}) {
					require.NoError(t, err)
					if verify(t.Context(), r, s.ID.String(), old) != nil {
						require.NoError(t, verify(t.Context(), r, s.ID.String(), text), "call %d", n)
					}
				}
				repositorytest.RequireClean(t, r)
				require.NoError(t, session(t.Context(), b, text), "after a fault at call %d", n)
			}
			require.Positive(t, failed)
		})
	}
}

func TestKilledRunIsContinued(t *testing.T) {
	b := mem.New()
	r := repositorytest.Init(t, b)
	boom := errors.New("boom")
	text := random(12, 40<<20)
	_, err := r.Write(t.Context(), repository.Header{}, func(_ context.Context, w *repository.Writer) error {
		require.NoError(t, create(w, "f", text))
		return boom
	})
	require.ErrorIs(t, err, boom)
	s, err := repositorytest.Reopen(t, b).Write(t.Context(), repository.Header{}, func(_ context.Context, w *repository.Writer) error {
		return create(w, "f", text)
	})
	require.NoError(t, err)
	require.Less(t, s.Summary.DataAdded, int64(33<<20), "the packs that were uploaded must be found again")
	repositorytest.RequireClean(t, repositorytest.Reopen(t, b))
}

func TestFailedUploadIsTheError(t *testing.T) {
	b := mem.New()
	repositorytest.Init(t, b)
	f := backendtest.NewFaults(b).Fail(backendtest.Save, backend.Pack, 1, errBoom)
	r := repositorytest.Reopen(t, f)
	_, err := r.Write(t.Context(), repository.Header{}, func(ctx context.Context, w *repository.Writer) error {
		for i := range uint64(100) {
			if _, err := w.SaveBlob(ctx, random(i, 4<<20)); err != nil {
				return err
			}
		}
		return errors.New("back-pressure should have shown the error long ago")
	})
	require.ErrorIs(t, err, errBoom)
}

func TestCheckNamesTheDamage(t *testing.T) {
	text := random(13, 6<<20)
	pick := func(b backend.Backend, typ backend.FileType) (h backend.Handle) {
		for fi, err := range b.List(t.Context(), typ) {
			require.NoError(t, err)
			h = fi.Handle
		}
		return h
	}
	read := func(b backend.Backend, h backend.Handle) []byte {
		rc, err := b.Load(t.Context(), h, 0, -1)
		require.NoError(t, err)
		defer rc.Close()
		var buf bytes.Buffer
		_, err = buf.ReadFrom(rc)
		require.NoError(t, err)
		return buf.Bytes()
	}
	remove := func(typ backend.FileType) func(backend.Backend) {
		return func(b backend.Backend) { require.NoError(t, b.Remove(t.Context(), pick(b, typ))) }
	}
	replace := func(typ backend.FileType, change func([]byte) []byte) func(backend.Backend) {
		return func(b backend.Backend) {
			h := pick(b, typ)
			p := change(read(b, h))
			require.NoError(t, b.Remove(t.Context(), h))
			require.NoError(t, b.Save(t.Context(), h, bytes.NewReader(p), int64(len(p))))
		}
	}
	cut := func(p []byte) []byte { return p[:len(p)-1] }
	empty := func([]byte) []byte { return nil }
	flip := func(p []byte) []byte { p[len(p)/2] ^= 1; return p }
	flipEnd := func(p []byte) []byte { p[len(p)-1] ^= 1; return p }
	foreign := func(b backend.Backend) {
		p := []byte("foreign")
		h := backend.Handle{Type: backend.Pack, Name: repository.Hash(p).String()}
		require.NoError(t, b.Save(t.Context(), h, bytes.NewReader(p), int64(len(p))))
	}
	for i, c := range []struct {
		damage func(backend.Backend)
		want   []repository.ProblemKind // among others
	}{
		{remove(backend.Pack), []repository.ProblemKind{repository.PackMissing}},
		{replace(backend.Pack, cut), []repository.ProblemKind{repository.PackSize, repository.PackDamaged}},
		{replace(backend.Pack, empty), []repository.ProblemKind{repository.PackSize, repository.PackDamaged}},
		{replace(backend.Pack, flip), []repository.ProblemKind{repository.BlobDamaged, repository.PackDamaged}},
		{replace(backend.Pack, flipEnd), []repository.ProblemKind{repository.PackDamaged}},
		{remove(backend.Index), []repository.ProblemKind{repository.BlobMissing, repository.PackUnindexed}},
		{replace(backend.Index, cut), []repository.ProblemKind{repository.IndexDamaged}},
		{replace(backend.Index, flip), []repository.ProblemKind{repository.IndexDamaged}},
		{replace(backend.Index, empty), []repository.ProblemKind{repository.IndexDamaged}},
		{replace(backend.Snapshot, flip), []repository.ProblemKind{repository.SnapshotDamaged}},
		{replace(backend.Key, flip), []repository.ProblemKind{repository.KeyDamaged}},
		{foreign, []repository.ProblemKind{repository.PackUnindexed, repository.PackDamaged}},
	} {
		t.Run(fmt.Sprint(i, c.want), func(t *testing.T) {
			b := prepared(t, text)
			r := repositorytest.Reopen(t, b)
			c.damage(b)
			var found []repository.ProblemKind
			for p, err := range r.Check(t.Context(), &repository.CheckOptions{ReadData: true, Leftovers: true}) {
				require.NoError(t, err)
				require.NotEmpty(t, p.String())
				found = append(found, p.Kind)
			}
			require.Subset(t, found, c.want)
			for range r.Check(t.Context(), nil) {
				break // ends the check without leaving goroutines
			}
		})
	}
}
