package repository

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

func files(t *testing.T, b backend.Backend, typ backend.FileType) (n int) {
	t.Helper()
	for _, err := range b.List(t.Context(), typ) {
		require.NoError(t, err)
		n++
	}
	return n
}

// Once others may have taken our lock for stale they may have removed packs in no index, so neither an index nor a snapshot
// may name them.
func TestNothingIsNamedWithoutTheLock(t *testing.T) {
	boom := errors.New("boom")
	for name, lose := range map[string]func(t *testing.T, b *backendtest.Faults, jump *atomic.Int64) error{
		"suspended machine": func(_ *testing.T, _ *backendtest.Faults, jump *atomic.Int64) error {
			jump.Store(int64(time.Hour))
			return nil
		},
		"suspended machine, then an error": func(_ *testing.T, _ *backendtest.Faults, jump *atomic.Int64) error {
			jump.Store(int64(time.Hour))
			return boom
		},
		"removed by another": func(t *testing.T, b *backendtest.Faults, _ *atomic.Int64) error {
			for _, n := range locks(t, b) {
				require.NoError(t, b.Remove(t.Context(), backend.Handle{Type: backend.Lock, Name: n}))
			}
			return nil
		},
		"not renewed": func(t *testing.T, b *backendtest.Faults, _ *atomic.Int64) error {
			b.Fail(backendtest.Save, backend.Lock, 0, errors.New("read-only now"))
			time.Sleep(time.Hour)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := backendtest.NewFaults(mem.New())
				r := testRepo(t, f, Options{PackSize: 4 << 20, Compression: CompressionFastest})
				var jump atomic.Int64
				r.now = func() time.Time { return time.Now().Add(time.Duration(jump.Load())) }
				_, err := r.Write(t.Context(), Header{}, func(ctx context.Context, w *Writer) error {
					for i := range byte(9) {
						p := noise(i, 1<<20)
						if _, err := w.SaveBlob(ctx, p); err != nil {
							return err
						}
					}
					return lose(t, f, &jump)
				})
				require.Error(t, err)
				if !errors.Is(err, boom) {
					require.ErrorIs(t, err, ErrLockLost)
				}
				require.Positive(t, files(t, f, backend.Pack))
				require.Zero(t, files(t, f, backend.Index))
				require.Zero(t, files(t, f, backend.Snapshot))
			})
		})
	}
}

// A lock that another removed is not made anew.
func TestRenewalOfARemovedLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mem.New()
		r := testRepo(t, b, Options{})
		ctx, l, err := r.lock(t.Context(), false)
		require.NoError(t, err)
		require.NoError(t, b.Remove(t.Context(), backend.Handle{Type: backend.Lock, Name: locks(t, b)[0]}))
		<-ctx.Done()
		require.ErrorIs(t, context.Cause(ctx), ErrLockLost)
		require.ErrorContains(t, context.Cause(ctx), "another process removed it")
		require.Empty(t, locks(t, b))
		require.NoError(t, l.release(t.Context()))
	})
}

// Whatever call fails, no lock of ours is left to keep others waiting.
func TestNoLockIsLeft(t *testing.T) {
	for op, rule := range map[string]func(f *backendtest.Faults, n int){
		"lost ack of save":   func(f *backendtest.Faults, n int) { f.LoseAck(backendtest.Save, backend.Lock, n, errors.New("cut")) },
		"lost ack of remove": func(f *backendtest.Faults, n int) { f.LoseAck(backendtest.Remove, backend.Lock, n, errors.New("cut")) },
		"failed remove":      func(f *backendtest.Faults, n int) { f.Fail(backendtest.Remove, backend.Lock, n, errors.New("cut")) },
	} {
		for n := 1; n <= 3; n++ {
			synctest.Test(t, func(t *testing.T) {
				f := backendtest.NewFaults(mem.New())
				r := testRepo(t, f, Options{})
				rule(f, n)
				ctx, l, err := r.lock(t.Context(), false)
				if err == nil {
					time.Sleep(21 * time.Minute)
					require.NoError(t, ctx.Err(), op)
					require.NoError(t, l.release(t.Context()))
				}
				require.Empty(t, locks(t, f), "%s %d", op, n)
			})
		}
	}
}

// A store whose uploads are not atomic may be left with an empty file. It must not keep everybody out for ever.
func TestEmptyLockIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mem.New()
		r := testRepo(t, b, Options{})
		h := backend.Handle{Type: backend.Lock, Name: Hash([]byte("x")).String()}
		require.NoError(t, b.Save(t.Context(), h, emptyReader{}, 0))
		_, l, err := r.lock(t.Context(), true)
		require.NoError(t, err)
		require.NoError(t, l.release(t.Context()))
	})
}

type emptyReader struct{}

func (emptyReader) ReadAt([]byte, int64) (int, error) { return 0, nil }
