// Package backendtest helps to test what stores a repository and what uses such a store: [Run] is the conformance suite
// that every driver passes, [Faults] a Backend that misbehaves on command. Only tests import it.
package backendtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
)

// Options of Run; nil and the zero value work.
type Options struct {
	ListEntries int   // files in the longest list; default 10,000
	LargeFile   int64 // bytes of the largest file; default 20 MiB

	// Reopen opens the place of b, which is closed, once more, so that what was saved is looked for there. Default: what
	// outlives Close is not tested.
	Reopen func(t *testing.T, b backend.Backend) backend.Backend

	// Forbidden opens a place that exists, where the driver may neither read nor write. Default: not tested.
	Forbidden func(t *testing.T) backend.Backend
}

// Run tests that the backends which open returns keep the contract of backend.Backend, and of those optional interfaces,
// backend.Connector and backend.Unwrapper, that they have. Each call of open gives an empty one of its own; Run closes it.
func Run(t *testing.T, open func(t *testing.T) backend.Backend, o *Options) {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.ListEntries == 0 {
		opts.ListEntries = 10_000
	}
	if opts.LargeFile == 0 {
		opts.LargeFile = 20 << 20
	}
	for _, c := range []struct {
		name string
		fn   func(t *testing.T, b backend.Backend, o Options)
	}{
		{"Empty", testEmpty},
		{"RoundTrip", testRoundTrip},
		{"InvalidHandles", testInvalidHandles},
		{"Ranges", testRanges},
		{"LargeFile", testLargeFile},
		{"Overwrite", testOverwrite},
		{"FailedSave", testFailedSave},
		{"List", testList},
		{"Cancelled", testCancelled},
		{"CancelSave", testCancelSave},
		{"CancelLoad", testCancelLoad},
		{"CancelList", testCancelList},
		{"Concurrency", testConcurrency},
		{"SameFileAtOnce", testSameFileAtOnce},
		{"OptionalInterfaces", testOptionalInterfaces},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t)
			t.Cleanup(func() { require.NoError(t, b.Close()) })
			c.fn(t, b, opts)
		})
	}
	if opts.Reopen != nil {
		t.Run("Reopen", func(t *testing.T) { testReopen(t, open(t), opts.Reopen) })
	}
	if opts.Forbidden != nil {
		t.Run("Forbidden", func(t *testing.T) { testForbidden(t, opts.Forbidden(t)) })
	}
}

// HandleOf names a file of type t with this content.
func HandleOf(t backend.FileType, content []byte) backend.Handle {
	if t == backend.Config {
		return backend.Handle{Type: t}
	}
	sum := sha256.Sum256(content)
	return backend.Handle{Type: t, Name: hex.EncodeToString(sum[:])}
}

func save(t testing.TB, b backend.Backend, typ backend.FileType, content []byte) backend.Handle {
	t.Helper()
	h := HandleOf(typ, content)
	require.NoError(t, b.Save(t.Context(), h, bytes.NewReader(content), int64(len(content))))
	return h
}

// load fails or returns all bytes of a range, whether Load or the reader fails.
func load(ctx context.Context, b backend.Backend, h backend.Handle, off, n int64) ([]byte, error) {
	r, err := b.Load(ctx, h, off, n)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

func list(t testing.TB, b backend.Backend, typ backend.FileType) map[backend.Handle]int64 {
	t.Helper()
	m := map[backend.Handle]int64{}
	for fi, err := range b.List(t.Context(), typ) {
		require.NoError(t, err)
		if _, twice := m[fi.Handle]; twice {
			t.Fatalf("%v is listed twice", fi.Handle)
		}
		m[fi.Handle] = fi.Size
	}
	return m
}

// requireError checks that err is a *backend.Error of op about h, and what it wraps.
func requireError(t testing.TB, err error, op Op, h backend.Handle, target error) {
	t.Helper()
	require.ErrorIs(t, err, target)
	var be *backend.Error
	require.ErrorAs(t, err, &be)
	require.Equal(t, string(op), be.Op)
	require.Equal(t, h, be.Handle)
}

// requireAbsent checks that h is nowhere to be seen.
func requireAbsent(t testing.TB, b backend.Backend, h backend.Handle) {
	t.Helper()
	_, err := b.Stat(t.Context(), h)
	requireError(t, err, Stat, h, fs.ErrNotExist)
	require.NotErrorIs(t, err, fs.ErrPermission)
	_, err = load(t.Context(), b, h, 0, -1)
	requireError(t, err, Load, h, fs.ErrNotExist)
	require.NotContains(t, list(t, b, h.Type), h)
}

func testEmpty(t *testing.T, b backend.Backend, _ Options) {
	for _, typ := range backend.FileTypes {
		require.Empty(t, list(t, b, typ))
		h := HandleOf(typ, []byte("absent"))
		requireAbsent(t, b, h)
		requireError(t, b.Remove(t.Context(), h), Remove, h, fs.ErrNotExist)
		require.True(t, backend.IsNotExist(b.Remove(t.Context(), h)))
	}
}

func testRoundTrip(t *testing.T, b backend.Backend, _ Options) {
	content := func(typ backend.FileType) []byte { return []byte("content of a " + typ.String()) }
	for _, typ := range backend.FileTypes {
		save(t, b, typ, content(typ))
	}
	for _, typ := range backend.FileTypes {
		h := HandleOf(typ, content(typ))
		size := int64(len(content(typ)))
		fi, err := b.Stat(t.Context(), h)
		require.NoError(t, err)
		require.Equal(t, backend.FileInfo{Handle: h, Size: size}, fi)
		data, err := load(t.Context(), b, h, 0, -1)
		require.NoError(t, err)
		require.Equal(t, content(typ), data)
		require.Equal(t, map[backend.Handle]int64{h: size}, list(t, b, typ))
	}
	for _, typ := range backend.FileTypes {
		h := HandleOf(typ, content(typ))
		require.NoError(t, b.Remove(t.Context(), h))
		requireAbsent(t, b, h)
		requireError(t, b.Remove(t.Context(), h), Remove, h, fs.ErrNotExist)
		save(t, b, typ, content(typ)) // what was removed may come again
	}
}

func testInvalidHandles(t *testing.T, b backend.Backend, _ Options) {
	good := HandleOf(backend.Pack, nil).Name
	for _, h := range []backend.Handle{
		{},
		{Type: 99, Name: good},
		{Type: backend.Config, Name: good},
		{Type: backend.Pack},
		{Type: backend.Pack, Name: good[1:]},
		{Type: backend.Pack, Name: good + "0"},
		{Type: backend.Pack, Name: strings.ToUpper(good)},
		{Type: backend.Key, Name: "../config"},
		{Type: backend.Key, Name: strings.Repeat("../", 21) + "x"},
	} {
		ctx := t.Context()
		requireError(t, b.Save(ctx, h, strings.NewReader("x"), 1), Save, h, fs.ErrInvalid)
		_, err := b.Load(ctx, h, 0, -1)
		requireError(t, err, Load, h, fs.ErrInvalid)
		_, err = b.Stat(ctx, h)
		requireError(t, err, Stat, h, fs.ErrInvalid)
		requireError(t, b.Remove(ctx, h), Remove, h, fs.ErrInvalid)
	}
	n := 0
	for _, err := range b.List(t.Context(), 99) {
		requireError(t, err, List, backend.Handle{Type: 99}, fs.ErrInvalid)
		n++
	}
	require.Equal(t, 1, n)
}

func testRanges(t *testing.T, b backend.Backend, _ Options) {
	content := []byte("0123456789")
	h := save(t, b, backend.Pack, content)
	empty := save(t, b, backend.Snapshot, nil)
	for _, c := range []struct {
		h      backend.Handle
		off, n int64
		want   string
	}{
		{h, 0, -1, "0123456789"}, {h, 0, 10, "0123456789"}, {h, 3, -1, "3456789"}, {h, 3, 4, "3456"}, {h, 9, 1, "9"},
		{h, 9, -1, "9"}, {h, 10, -1, ""}, {h, 10, 0, ""}, {h, 0, 0, ""}, {h, 4, 0, ""},
		{empty, 0, -1, ""}, {empty, 0, 0, ""},
	} {
		data, err := load(t.Context(), b, c.h, c.off, c.n)
		require.NoError(t, err, "%d bytes from %d", c.n, c.off)
		require.Equal(t, c.want, string(data), "%d bytes from %d", c.n, c.off)
	}
	for _, c := range []struct {
		h      backend.Handle
		off, n int64
		target error
	}{
		{h, 0, 11, io.ErrUnexpectedEOF}, {h, 9, 2, io.ErrUnexpectedEOF}, {h, 10, 1, io.ErrUnexpectedEOF},
		{h, 11, -1, io.ErrUnexpectedEOF}, {h, 11, 0, io.ErrUnexpectedEOF}, {h, 1 << 40, 5, io.ErrUnexpectedEOF},
		{h, 1, 1<<63 - 1, io.ErrUnexpectedEOF}, {empty, 0, 1, io.ErrUnexpectedEOF}, {h, -1, 2, fs.ErrInvalid},
	} {
		_, err := load(t.Context(), b, c.h, c.off, c.n)
		require.ErrorIs(t, err, c.target, "%d bytes from %d", c.n, c.off)
	}
	fi, err := b.Stat(t.Context(), empty)
	require.NoError(t, err)
	require.Zero(t, fi.Size)
	require.Equal(t, map[backend.Handle]int64{empty: 0}, list(t, b, backend.Snapshot))

	// A reader may be closed before its end.
	r, err := b.Load(t.Context(), h, 0, -1)
	require.NoError(t, err)
	_, err = io.ReadFull(r, make([]byte, 3))
	require.NoError(t, err)
	require.NoError(t, r.Close())
}

func random(seed uint64, n int64) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(p) // never fails
	return p
}

func testLargeFile(t *testing.T, b backend.Backend, o Options) {
	content := random(1, o.LargeFile)
	h := save(t, b, backend.Pack, content)
	data, err := load(t.Context(), b, h, 0, -1)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, data))
	off, n := o.LargeFile/3, o.LargeFile/2
	data, err = load(t.Context(), b, h, off, n)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content[off:off+n], data))

	// Only the first size bytes of a body count.
	part := HandleOf(backend.Pack, content[:n])
	require.NoError(t, b.Save(t.Context(), part, bytes.NewReader(content), n))
	data, err = load(t.Context(), b, part, 0, -1)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content[:n], data))
}

func testOverwrite(t *testing.T, b backend.Backend, _ Options) {
	for _, typ := range backend.FileTypes {
		h := save(t, b, typ, []byte("first"))
		requireError(t, b.Save(t.Context(), h, strings.NewReader("second"), 6), Save, h, fs.ErrExist)
		data, err := load(t.Context(), b, h, 0, -1)
		require.NoError(t, err)
		require.Equal(t, "first", string(data))
		require.Len(t, list(t, b, typ), 1)
	}
}

func testFailedSave(t *testing.T, b backend.Backend, _ Options) {
	content := random(2, 3<<20)
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		body   io.ReaderAt
		size   int64
		target error
	}{
		"short body":    {bytes.NewReader(content[:2<<20]), int64(len(content)), io.ErrUnexpectedEOF},
		"empty body":    {bytes.NewReader(nil), 1, io.ErrUnexpectedEOF},
		"failing body":  {failingAt{bytes.NewReader(content), 2 << 20, boom}, int64(len(content)), boom},
		"negative size": {bytes.NewReader(content), -1, fs.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			for _, typ := range backend.FileTypes {
				h := HandleOf(typ, content)
				requireError(t, b.Save(t.Context(), h, c.body, c.size), Save, h, c.target)
				requireAbsent(t, b, h)
			}
		})
	}
	save(t, b, backend.Pack, content) // nothing in the way of another try
}

// failingAt fails at the offset at.
type failingAt struct {
	r   io.ReaderAt
	at  int64
	err error
}

func (f failingAt) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) <= f.at {
		return f.r.ReadAt(p, off)
	}
	n, _ := f.r.ReadAt(p[:max(f.at-off, 0)], off)
	return n, f.err
}

func testList(t *testing.T, b backend.Backend, o Options) {
	want := map[backend.Handle]int64{}
	var mu sync.Mutex
	parallel(t, 8, o.ListEntries, func(i int) error {
		content := fmt.Appendf(nil, "file %d", i)
		h := HandleOf(backend.Pack, content)
		mu.Lock()
		want[h] = int64(len(content))
		mu.Unlock()
		return b.Save(t.Context(), h, bytes.NewReader(content), int64(len(content)))
	})
	got := list(t, b, backend.Pack)
	require.Len(t, got, len(want))
	for h, size := range want {
		if got[h] != size {
			require.Equal(t, size, got[h], h.String())
		}
	}
	require.Empty(t, list(t, b, backend.Index))
	n := 0
	for _, err := range b.List(t.Context(), backend.Pack) {
		require.NoError(t, err)
		if n++; n == 2 {
			break // and nothing happens after that
		}
	}
}

// parallel calls fn for 0 to n-1 in several goroutines and fails the test at an error.
func parallel(t *testing.T, workers, n int, fn func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				errs[w] = fn(i)
			}
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
}

var errCause = errors.New("the cause")

func testCancelled(t *testing.T, b backend.Backend, _ Options) {
	content := []byte("content")
	h := save(t, b, backend.Key, content)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errCause)
	absent := HandleOf(backend.Key, []byte("other"))
	requireError(t, b.Save(ctx, absent, strings.NewReader("other"), 5), Save, absent, errCause)
	requireAbsent(t, b, absent)
	_, err := load(ctx, b, h, 0, -1)
	require.ErrorIs(t, err, errCause)
	_, err = b.Stat(ctx, h)
	requireError(t, err, Stat, h, errCause)
	requireError(t, b.Remove(ctx, h), Remove, h, errCause)
	n := 0
	for _, err := range b.List(ctx, backend.Key) {
		requireError(t, err, List, backend.Handle{Type: backend.Key}, errCause)
		n++
	}
	require.Equal(t, 1, n)
	require.Contains(t, list(t, b, backend.Key), h, "Remove took effect")
}

func testCancelSave(t *testing.T, b backend.Backend, o Options) {
	content := random(3, o.LargeFile)
	h := HandleOf(backend.Pack, content)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	body := hookAt{bytes.NewReader(content), func(off int64) {
		if off > 0 {
			cancel(errCause)
		}
	}}
	requireError(t, b.Save(ctx, h, body, o.LargeFile), Save, h, errCause)
	requireAbsent(t, b, h)
	save(t, b, backend.Pack, content)
}

type hookAt struct {
	r  io.ReaderAt
	fn func(off int64)
}

func (h hookAt) ReadAt(p []byte, off int64) (int, error) {
	h.fn(off)
	return h.r.ReadAt(p, off)
}

func testCancelLoad(t *testing.T, b backend.Backend, o Options) {
	h := save(t, b, backend.Pack, random(4, o.LargeFile))
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	r, err := b.Load(ctx, h, 0, -1)
	require.NoError(t, err)
	_, err = io.ReadFull(r, make([]byte, 100))
	require.NoError(t, err)
	cancel(errCause)
	_, err = io.Copy(io.Discard, r)
	require.ErrorIs(t, err, errCause)
	require.NoError(t, r.Close())
}

func testCancelList(t *testing.T, b backend.Backend, _ Options) {
	for i := range 3 {
		save(t, b, backend.Snapshot, []byte{byte(i)})
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	n := 0
	var last error
	for _, err := range b.List(ctx, backend.Snapshot) {
		cancel(errCause)
		last = err
		n++
	}
	require.ErrorIs(t, last, errCause)
	require.Equal(t, 2, n, "the list ends with the first error")
}

func testConcurrency(t *testing.T, b backend.Backend, _ Options) {
	shared := random(5, 1<<20)
	sharedHandle := save(t, b, backend.Pack, shared)
	parallel(t, 16, 64, func(i int) error {
		content := random(uint64(100+i), int64(1000+i))
		h := HandleOf(backend.Index, content)
		ctx := t.Context()
		if err := b.Save(ctx, h, bytes.NewReader(content), int64(len(content))); err != nil {
			return err
		}
		data, err := load(ctx, b, h, 0, -1)
		if err != nil || !bytes.Equal(content, data) {
			return errors.Join(err, fmt.Errorf("file %d: %d bytes", i, len(data)))
		}
		off := int64(i) * 1000
		data, err = load(ctx, b, sharedHandle, off, 5000)
		if err != nil || !bytes.Equal(shared[off:off+5000], data) {
			return errors.Join(err, fmt.Errorf("range at %d: %d bytes", off, len(data)))
		}
		for _, err := range b.List(ctx, backend.Index) {
			if err != nil {
				return err
			}
		}
		if i%2 == 0 {
			return b.Remove(ctx, h)
		}
		return nil
	})
	require.Len(t, list(t, b, backend.Index), 32)
}

func testSameFileAtOnce(t *testing.T, b backend.Backend, _ Options) {
	content := random(6, 1<<20)
	h := HandleOf(backend.Pack, content)
	var mu sync.Mutex
	saved := 0
	parallel(t, 8, 8, func(int) error {
		err := b.Save(t.Context(), h, bytes.NewReader(content), int64(len(content)))
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		saved++
		return err
	})
	require.Equal(t, 1, saved, "the file must be saved once, and found to exist by the others")
	data, err := load(t.Context(), b, h, 0, -1)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, data))
}

func testOptionalInterfaces(t *testing.T, b backend.Backend, _ Options) {
	if c, ok := b.(backend.Connector); ok {
		require.GreaterOrEqual(t, c.Connections(), 1)
		require.Equal(t, c.Connections(), backend.Connections(b))
	}
	if u, ok := b.(backend.Unwrapper); ok {
		require.NotNil(t, u.Unwrap())
	}
}

// testReopen closes b itself.
func testReopen(t *testing.T, b backend.Backend, reopen func(*testing.T, backend.Backend) backend.Backend) {
	content := func(typ backend.FileType) []byte { return []byte("content of a " + typ.String()) }
	for _, typ := range backend.FileTypes {
		save(t, b, typ, content(typ))
	}
	removed := save(t, b, backend.Lock, []byte("removed"))
	require.NoError(t, b.Remove(t.Context(), removed))
	require.NoError(t, b.Close())
	b = reopen(t, b)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	for _, typ := range backend.FileTypes {
		h := HandleOf(typ, content(typ))
		require.Equal(t, map[backend.Handle]int64{h: int64(len(content(typ)))}, list(t, b, typ))
		data, err := load(t.Context(), b, h, 0, -1)
		require.NoError(t, err)
		require.Equal(t, content(typ), data)
	}
	requireAbsent(t, b, removed)
}

// testForbidden closes b. Whoever takes what is kept from him for absent makes a new repository on top of an old one.
func testForbidden(t *testing.T, b backend.Backend) {
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	refused := func(err error, op Op, h backend.Handle) {
		requireError(t, err, op, h, fs.ErrPermission)
		require.NotErrorIs(t, err, fs.ErrNotExist)
		require.NotErrorIs(t, err, fs.ErrExist)
	}
	for _, typ := range backend.FileTypes {
		h := HandleOf(typ, []byte("content"))
		refused(b.Save(t.Context(), h, strings.NewReader("content"), 7), Save, h)
		_, err := load(t.Context(), b, h, 0, -1)
		refused(err, Load, h)
		_, err = b.Stat(t.Context(), h)
		refused(err, Stat, h)
		refused(b.Remove(t.Context(), h), Remove, h)
		n := 0
		for _, err := range b.List(t.Context(), typ) {
			refused(err, List, backend.Handle{Type: typ})
			n++
		}
		require.Equal(t, 1, n, "the list of %ss is refused, and not empty", typ)
	}
}
