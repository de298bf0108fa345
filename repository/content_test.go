package repository

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/chunker"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

// TestContentKeepsOrder writes one file in pieces of many sizes: its blobs are the chunks in order, whoever is done first.
func TestContentKeepsOrder(t *testing.T) {
	r := testRepo(t, mem.New(), Options{})
	data := bytes.Join([][]byte{noise(1, 9<<20), make([]byte, 9<<20), noise(2, 5<<20)}, nil) // with a chunk of the largest size
	var want []BlobID
	c := chunker.New(bytes.NewReader(data), r.cfg.Polynomial)
	for {
		p, err := c.Next(nil)
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		want = append(want, Hash(p))
	}
	require.Greater(t, len(want), 5)
	sizes := []int{len(data), lookAt - 1, lookAt, lookAt + 1, 999, 32 << 10, 3 << 20}
	s, err := r.Write(t.Context(), Header{}, func(_ context.Context, w *Writer) error {
		for _, size := range sizes {
			f, err := w.Create(time.Duration(size).String())
			require.NoError(t, err)
			for p := data; len(p) > 0; {
				n, err := f.Write(p[:min(size, len(p))])
				require.NoError(t, err)
				p = p[n:]
			}
			require.EqualValues(t, len(data), f.Size())
			require.NoError(t, f.Close())
			require.EqualValues(t, len(data), f.Size())
		}
		return nil
	})
	require.NoError(t, err)
	fsys, err := r.FS(t.Context(), s)
	require.NoError(t, err)
	for _, size := range sizes {
		f, err := fsys.Open(time.Duration(size).String())
		require.NoError(t, err)
		var got []BlobID
		for _, b := range f.(*File).Blobs() {
			got = append(got, b.ID)
		}
		require.Equal(t, want, got, "pieces of %d bytes", size)
		p, err := io.ReadAll(f)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, p))
		require.NoError(t, f.Close())
	}
}

// refusing stores no packs.
type refusing struct {
	backend.Backend
	err error
}

func (b refusing) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	if h.Type == backend.Pack {
		return b.err
	}
	return b.Backend.Save(ctx, h, body, size)
}

// TestContentTellsErrorsOfTheBackground fails an upload while the file is written: the file cannot be completed.
func TestContentTellsErrorsOfTheBackground(t *testing.T) {
	full := errors.New("no space left")
	r := testRepo(t, refusing{mem.New(), full}, Options{PackSize: 4 << 20, Concurrency: 1})
	_, err := r.Write(t.Context(), Header{}, func(ctx context.Context, w *Writer) error {
		f, err := w.Create("f")
		require.NoError(t, err)
		for i := range byte(40) {
			if _, err = f.Write(noise(i, 1<<20)); err != nil {
				break
			}
		}
		if err == nil {
			<-ctx.Done()
			err = f.Close()
		}
		require.ErrorIs(t, err, full)
		require.ErrorIs(t, f.Close(), full, "an error stays")
		require.NoError(t, f.Abort())
		return nil
	})
	require.ErrorIs(t, err, full)
}

// TestContentEndsWithItsContext ends the context while the storage hangs: Write, then Close, give up at that moment.
func TestContentEndsWithItsContext(t *testing.T) {
	for _, call := range []string{"write", "close"} {
		synctest.Test(t, func(t *testing.T) {
			b := &stuck{Backend: mem.New(), t: backend.Pack}
			r := testRepo(t, b, Options{PackSize: 4 << 20, Concurrency: 1})
			b.on.Store(true)
			enough := errors.New("enough")
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, enough)
			defer cancel()
			start := time.Now()
			_, err := r.Write(ctx, Header{}, func(_ context.Context, w *Writer) error {
				f, err := w.Create("f")
				require.NoError(t, err)
				for n := 0; err == nil && (call == "write" || n < 7<<20); n += 1 << 20 {
					_, err = f.Write(noise(byte(n>>20), 1<<20))
				}
				if err == nil {
					err = f.Close()
				}
				return err
			})
			require.ErrorIs(t, err, enough)
			require.Less(t, time.Since(start), 2*time.Second, "of the test's clock, which stands still while anything runs")
		})
	}
}

// TestAbortWhileBlobsAreSaved drops a file in the middle: its name is free at once, and Write waits for the blobs.
func TestAbortWhileBlobsAreSaved(t *testing.T) {
	r := testRepo(t, mem.New(), Options{})
	s, err := r.Write(t.Context(), Header{}, func(_ context.Context, w *Writer) error {
		f, err := w.Create("f")
		require.NoError(t, err)
		for i := range byte(3) {
			_, err = f.Write(noise(i, 1<<20))
			require.NoError(t, err)
			require.NoError(t, f.Cut())
		}
		require.NoError(t, f.Abort())
		f, err = w.Create("f")
		require.NoError(t, err)
		_, err = f.Write([]byte("second"))
		require.NoError(t, err)
		return f.Close()
	})
	require.NoError(t, err)
	fsys, err := r.FS(t.Context(), s)
	require.NoError(t, err)
	p, err := fs.ReadFile(fsys, "f")
	require.NoError(t, err)
	require.Equal(t, "second", string(p))
	for p, err := range r.Check(t.Context(), &CheckOptions{ReadData: true}) {
		require.NoError(t, err)
		t.Error(p)
	}
}
