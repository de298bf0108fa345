package repository_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// hanging is a backend whose call number n does not return before its context ends. Before it hangs, it calls reached.
type hanging struct {
	backend.Backend
	n       int64
	calls   atomic.Int64
	reached func()
}

func (b *hanging) call(ctx context.Context) error {
	if b.calls.Add(1) != b.n {
		return nil
	}
	b.reached()
	<-ctx.Done()
	return ctx.Err()
}

// Save of a config is for the moment of a migration in which there is none: it must not end in the middle of that.
func (b *hanging) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	if h.Type != backend.Config {
		if err := b.call(ctx); err != nil {
			return err
		}
	}
	return b.Backend.Save(ctx, h, body, size)
}

// Load hangs in the middle of reading.
func (b *hanging) Load(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	rc, err := b.Backend.Load(ctx, h, off, n)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{readFunc(func(p []byte) (int, error) {
		if err := b.call(ctx); err != nil {
			return 0, err
		}
		return rc.Read(p)
	}), rc}, nil
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func (b *hanging) Stat(ctx context.Context, h backend.Handle) (backend.FileInfo, error) {
	if err := b.call(ctx); err != nil {
		return backend.FileInfo{}, err
	}
	return b.Backend.Stat(ctx, h)
}

func (b *hanging) List(ctx context.Context, t backend.FileType) iter.Seq2[backend.FileInfo, error] {
	return func(yield func(backend.FileInfo, error) bool) {
		if err := b.call(ctx); err != nil {
			yield(backend.FileInfo{}, err)
			return
		}
		b.Backend.List(ctx, t)(yield)
	}
}

// Remove of locks is the last that is tried after the end of a context: it gets some time of its own.
func (b *hanging) Remove(ctx context.Context, h backend.Handle) error {
	if h.Type != backend.Lock && h.Type != backend.Config {
		if err := b.call(ctx); err != nil {
			return err
		}
	}
	return b.Backend.Remove(ctx, h)
}

// TestEverythingEndsWithItsContext lets each operation hang at each of its calls, and ends its context then: it returns within a second,
// and says why.
func TestEverythingEndsWithItsContext(t *testing.T) {
	base, one := mem.New(), mem.New()
	repositorytest.Init(t, base)
	first := open4(t, base)
	mustPieces(t, first, map[string][]int{"d/a": upTo(0, 3)})
	mustPieces(t, first, map[string][]int{"d/a": upTo(1, 4)})
	_, err := first.AddKey(t.Context(), "second", nil)
	require.NoError(t, err)
	o := smallPacks()
	o.Version = 1
	v1, err := repository.Init(t.Context(), one, repositorytest.Password, o)
	require.NoError(t, err)
	require.NoError(t, v1.Close())
	// One in which everything can be repaired.
	damaged := clone(t, base)
	require.NoError(t, damaged.Remove(t.Context(), handlesOf(t, damaged, backend.Pack)[0]))
	replace(t, damaged, handlesOf(t, damaged, backend.Index)[0], flipMiddle)

	nothing := func(err error) (string, error) { return "", err }
	type scene struct {
		operation
		b *mem.Backend
	}
	scenes := []scene{
		{operation{"write", func(ctx context.Context, r *repository.Repo) (string, error) {
			_, err := pieces(ctx, r, repository.Header{Hostname: "h"}, map[string][]int{"x/y": upTo(20, 70)})
			return nothing(err)
		}}, base},
		{operation{"add files", func(ctx context.Context, r *repository.Repo) (string, error) {
			all, err := twoSnapshots(ctx, r)
			if err != nil {
				return nothing(err)
			}
			_, err = r.Write(ctx, repository.Header{Parent: &all[1].ID}, func(ctx context.Context, w *repository.Writer) error {
				return w.AddFS(ctx, fstest.MapFS{"d/a": {Data: []byte("x"), ModTime: time.Now()}, "e/f/g": {Data: random(5, 5<<20)}}, nil)
			})
			return nothing(err)
		}}, base},
		{operation{"restore", func(ctx context.Context, r *repository.Repo) (string, error) {
			s, err := r.Snapshot(ctx, "latest")
			if err != nil {
				return nothing(err)
			}
			_, err = r.RestoreDir(ctx, s, t.TempDir(), &repository.RestoreOptions{Verify: true})
			return nothing(err)
		}}, base},
		{operation{"tag", func(ctx context.Context, r *repository.Repo) (string, error) {
			_, err := r.Tag(ctx, repository.TagChange{Add: []string{"x"}}, nil)
			return nothing(err)
		}}, base},
		{operation{"forget and prune", func(ctx context.Context, r *repository.Repo) (string, error) {
			f, err := r.PlanForget(ctx, repository.Policy{Last: 1}, nil)
			if err == nil {
				err = r.Forget(ctx, f)
			}
			if err != nil {
				return nothing(err)
			}
			p, err := r.PlanPrune(ctx, none())
			if err != nil {
				return nothing(err)
			}
			return nothing(r.Prune(ctx, p))
		}}, base},
		{operation{"copy", func(ctx context.Context, r *repository.Repo) (string, error) {
			all, err := twoSnapshots(ctx, r)
			if err != nil {
				return nothing(err)
			}
			to, err := repository.Init(ctx, mem.New(), repositorytest.Password, smallPacks())
			if err != nil {
				return nothing(err)
			}
			_, err = r.Copy(ctx, to, all...)
			return nothing(errors.Join(err, to.Close()))
		}}, base},
		{operation{"change password", func(ctx context.Context, r *repository.Repo) (string, error) {
			_, err := r.ChangePassword(ctx, "new", nil)
			return nothing(err)
		}}, base},
		{operation{"repair", func(ctx context.Context, r *repository.Repo) (string, error) {
			ix, err := r.PlanRepairIndex(ctx, nil)
			if err == nil {
				err = r.RepairIndex(ctx, ix)
			}
			if err != nil {
				return nothing(err)
			}
			s, err := r.PlanRepairSnapshots(ctx)
			if err != nil {
				return nothing(err)
			}
			_, err = r.RepairSnapshots(ctx, s, &repository.RepairSnapshotsOptions{Forget: true})
			return nothing(err)
		}}, damaged},
		{operation{"migrate", func(ctx context.Context, r *repository.Repo) (string, error) {
			return nothing(r.Migrate(ctx, func([]byte) error { return nil }))
		}}, one},
	}
	for _, op := range operations() {
		scenes = append(scenes, scene{op, base})
	}
	for _, c := range scenes {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			run := func(ctx context.Context, b backend.Backend) error {
				r, err := repository.Open(ctx, b, repositorytest.Password, smallPacks())
				if err != nil {
					return err
				}
				defer func() { require.NoError(t, r.Close()) }()
				_, err = c.do(ctx, r)
				return err
			}
			trace := &hanging{Backend: clone(t, c.b)}
			require.NoError(t, run(t.Context(), trace))
			calls := trace.calls.Load()
			require.Greater(t, calls, int64(4))
			hung := 0
			for n := int64(1); n <= calls; n++ {
				// The clock of a bubble goes on only when all wait: what is measured is waiting, however busy the machine is.
				synctest.Test(t, func(t *testing.T) {
					var canceled time.Time
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					b := &hanging{Backend: clone(t, c.b), n: n, reached: func() {
						canceled = time.Now()
						cancel()
					}}
					err := run(ctx, b)
					if ctx.Err() == nil { // several goroutines make other numbers of calls
						return
					}
					hung++
					require.ErrorIs(t, err, context.Canceled, "call %d", n)
					require.Less(t, time.Since(canceled), time.Second, "call %d", n)
				})
			}
			require.Positive(t, hung)
		})
	}
}
