package repository

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

// stuck is a backend that hangs, for one type of file and while on, until its context ends.
type stuck struct {
	backend.Backend
	t  backend.FileType
	on atomic.Bool
}

func (s *stuck) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	if s.on.Load() && h.Type == s.t {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.Backend.Save(ctx, h, body, size)
}

func (s *stuck) List(ctx context.Context, t backend.FileType) iter.Seq2[backend.FileInfo, error] {
	return func(yield func(backend.FileInfo, error) bool) {
		if s.on.Load() && t == s.t {
			<-ctx.Done()
			yield(backend.FileInfo{}, ctx.Err())
			return
		}
		s.Backend.List(ctx, t)(yield)
	}
}

// noise gives bytes that do not compress, others for each seed.
func noise(seed byte, n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

func TestSaveBlobEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &stuck{Backend: mem.New(), t: backend.Pack}
		r := testRepo(t, b, Options{PackSize: 4 << 20, Concurrency: 1})
		enough := errors.New("enough")
		_, err := r.Write(t.Context(), Header{}, func(ctx context.Context, w *Writer) error {
			b.on.Store(true)
			// The first to find no slot waits with a context that does not end.
			for i := range byte(2) {
				go func() {
					for j := range byte(3) {
						_, _ = w.SaveBlob(ctx, noise(10*i+j, 3<<20))
					}
				}()
			}
			synctest.Wait()
			short, cancel := context.WithTimeoutCause(ctx, time.Second, enough)
			defer cancel()
			start := time.Now()
			_, err := w.SaveBlob(short, noise(200, 3<<20))
			require.ErrorIs(t, err, enough)
			require.Equal(t, time.Second, time.Since(start))
			return err
		})
		require.ErrorIs(t, err, enough)
	})
}

func TestRefreshEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &stuck{Backend: mem.New(), t: backend.Index}
		r := testRepo(t, b, Options{})
		s, err := r.Write(t.Context(), Header{}, func(context.Context, *Writer) error { return nil })
		require.NoError(t, err)
		b.on.Store(true)
		long, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		go func() { _, _ = r.FS(long, s) }()
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err = r.FS(short, s)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
	})
}

func TestReadAfterCloseIsNotDamage(t *testing.T) {
	r, err := Init(t.Context(), mem.New(), "pw", &Options{ScryptN: 16, LockSettle: time.Millisecond})
	require.NoError(t, err)
	s, err := r.Write(t.Context(), Header{}, func(_ context.Context, w *Writer) error {
		f, err := w.Create("f")
		require.NoError(t, err)
		_, err = f.Write(make([]byte, 1000))
		require.NoError(t, err)
		return f.Close()
	})
	require.NoError(t, err)
	fsys, err := r.FS(t.Context(), s)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	_, err = fs.ReadFile(fsys, "f")
	require.ErrorIs(t, err, ErrClosed)
	require.NotErrorIs(t, err, ErrDamaged)
}
