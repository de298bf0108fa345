package wrap_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/backend/wrap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBoom = errors.New("boom")

// at once is for tests that fail often.
var atOnce = &wrap.RetryOptions{Tries: 30, FirstWait: time.Microsecond, MaxWait: time.Microsecond}

// Every wrapper, and all of them together, keep the contract of what they wrap.
func TestConformance(t *testing.T) {
	quiet := slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelDebug}))
	fast := &wrap.LimitOptions{Upload: 4 << 30, Download: 4 << 30}
	all := func(b backend.Backend) backend.Backend {
		b = wrap.Limit(b, fast)
		b = wrap.Timeout(b, &wrap.TimeoutOptions{Call: time.Minute, Stall: time.Minute})
		b = wrap.Connections(b, 4)
		b = wrap.Retry(b, atOnce)
		return wrap.Observe(b, wrap.Log(quiet))
	}
	for name, wrapped := range map[string]func(backend.Backend) backend.Backend{
		"retry":       func(b backend.Backend) backend.Backend { return wrap.Retry(b, nil) },
		"limit":       func(b backend.Backend) backend.Backend { return wrap.Limit(b, fast) },
		"connections": func(b backend.Backend) backend.Backend { return wrap.Connections(b, 1) },
		"timeout":     func(b backend.Backend) backend.Backend { return wrap.Timeout(b, nil) },
		"observe":     func(b backend.Backend) backend.Backend { return wrap.Observe(b, func(wrap.Call) {}) },
		"all":         all,
		"all, over what fails at random": func(b backend.Backend) backend.Backend {
			return all(&flaky{Backend: b, rand: rand.New(rand.NewPCG(1, 2))})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backendtest.Run(t, func(*testing.T) backend.Backend { return wrapped(mem.New()) },
				&backendtest.Options{ListEntries: 2500, LargeFile: 1 << 20})
		})
	}
}

// flaky loses answers, and cuts readers and lists short. What it says about calls that fail is true.
type flaky struct {
	backend.Backend
	mu   sync.Mutex
	rand *rand.Rand
}

// once reports whether to fail, once in n calls.
func (f *flaky) once(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rand.IntN(n) == 0
}

func (f *flaky) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	err := f.Backend.Save(ctx, h, body, size)
	if err == nil && f.once(3) {
		return errBoom
	}
	return err
}

func (f *flaky) Load(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	if f.once(5) {
		return nil, errBoom
	}
	r, err := f.Backend.Load(ctx, h, off, n)
	if err != nil {
		return nil, err
	}
	return &flakyReader{r, f}, nil
}

type flakyReader struct {
	io.ReadCloser
	f *flaky
}

func (r *flakyReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err == nil && r.f.once(40) {
		return n / 2, io.ErrUnexpectedEOF
	}
	return n, err
}

func (f *flaky) Stat(ctx context.Context, h backend.Handle) (backend.FileInfo, error) {
	if f.once(5) {
		return backend.FileInfo{}, errBoom
	}
	return f.Backend.Stat(ctx, h)
}

func (f *flaky) List(ctx context.Context, t backend.FileType) iter.Seq2[backend.FileInfo, error] {
	return func(yield func(backend.FileInfo, error) bool) {
		stop := -1
		if f.once(2) {
			f.mu.Lock()
			stop = f.rand.IntN(1500)
			f.mu.Unlock()
		}
		n := 0
		for fi, err := range f.Backend.List(ctx, t) {
			if n == stop && err == nil {
				yield(backend.FileInfo{}, errBoom)
				return
			}
			n++
			if !yield(fi, err) || err != nil {
				return
			}
		}
	}
}

func (f *flaky) Remove(ctx context.Context, h backend.Handle) error {
	err := f.Backend.Remove(ctx, h)
	if err == nil && f.once(3) {
		return errBoom
	}
	return err
}

// busy is a Backend with an optional interface.
type busy struct{ *mem.Backend }

func (busy) Connections() int { return 17 }

func TestWhatIsWrappedCanBeFound(t *testing.T) {
	b := backend.Backend(busy{mem.New()})
	b = wrap.Observe(wrap.Retry(wrap.Timeout(wrap.ReadOnly(wrap.Limit(b, &wrap.LimitOptions{Upload: 1})), nil), nil), func(wrap.Call) {})
	require.Equal(t, 17, backend.Connections(b))
	_, found := backend.As[busy](b)
	require.True(t, found)
	_, found = backend.As[interface{ Unknown() }](b)
	require.False(t, found)
	require.Equal(t, 3, backend.Connections(wrap.Retry(wrap.Connections(b, 3), nil)))
	require.Zero(t, backend.Connections(wrap.Retry(mem.New(), nil)))
	require.NoError(t, b.Close())
}

func TestReadOnly(t *testing.T) {
	m := mem.New()
	h := put(t, m, backend.Pack, "content")
	b := wrap.ReadOnly(m)
	require.Equal(t, "content", get(t, b, h))
	err := b.Remove(t.Context(), h)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.EqualError(t, err, "remove "+h.String()+": it is open for reading only: permission denied")
	other := backendtest.HandleOf(backend.Pack, []byte("other"))
	require.ErrorIs(t, b.Save(t.Context(), other, strings.NewReader("other"), 5), fs.ErrPermission)
	require.Len(t, list(t, b, backend.Pack), 1)
}

func put(t testing.TB, b backend.Backend, typ backend.FileType, content string) backend.Handle {
	t.Helper()
	h := backendtest.HandleOf(typ, []byte(content))
	require.NoError(t, b.Save(t.Context(), h, strings.NewReader(content), int64(len(content))))
	return h
}

func read(ctx context.Context, b backend.Backend, h backend.Handle, off, n int64) (string, error) {
	r, err := b.Load(ctx, h, off, n)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(r)
	return string(data), errors.Join(err, r.Close())
}

func get(t testing.TB, b backend.Backend, h backend.Handle) string {
	t.Helper()
	s, err := read(t.Context(), b, h, 0, -1)
	require.NoError(t, err)
	return s
}

func list(t testing.TB, b backend.Backend, typ backend.FileType) (all []backend.FileInfo) {
	t.Helper()
	for fi, err := range b.List(t.Context(), typ) {
		require.NoError(t, err)
		all = append(all, fi)
	}
	return all
}
