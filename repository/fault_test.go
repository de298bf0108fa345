package repository_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"testing"
	"time"

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
		"delay":    func(f *backendtest.Faults, n int) { f.Delay("", 0, n, time.Millisecond) },
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
			if name == "delay" {
				require.Zero(t, failed)
			} else {
				require.Positive(t, failed)
			}
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
