// Package mem keeps a repository in memory: for tests, and for programs that want to look at a backup without
// storing it. What it holds is gone when the last handle is.
//
// [New] gives a store of its own. [NewOpener] gives a [backend.Opener] under which the same name always opens
// the same store:
//
//	var m backend.Mux
//	m.Handle("mem", mem.NewOpener())
//	a, err := m.Open(ctx, "mem:one", nil) // and once more: the same files
package mem

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/internal/exact"
)

// store is what handles of the same name share.
type store struct {
	mu    sync.RWMutex
	files map[backend.Handle][]byte // never changed once saved, so that readers need no lock
}

// Backend is a handle on files in memory. It fulfils [backend.Backend]. After Close every call fails with an
// error wrapping fs.ErrClosed; the files stay for other handles of the same name.
type Backend struct {
	s      *store
	closed atomic.Bool
}

var _ backend.Backend = (*Backend)(nil)

// New returns an empty store.
func New() *Backend { return &Backend{s: newStore()} }

func newStore() *store { return &store{files: map[backend.Handle][]byte{}} }

// NewOpener returns an opener that has stores by name: the location is the name, which may be empty, and opening
// a name again gives the same files. Another opener has other stores.
func NewOpener() backend.Opener {
	var mu sync.Mutex
	stores := map[string]*store{}
	return func(ctx context.Context, location string, _ *backend.Settings) (backend.Backend, error) {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("open mem:%s: %w", location, context.Cause(ctx))
		}
		mu.Lock()
		defer mu.Unlock()
		s, ok := stores[location]
		if !ok {
			s = newStore()
			stores[location] = s
		}
		return &Backend{s: s}, nil
	}
}

// check is what every call starts with.
func (b *Backend) check(ctx context.Context, h backend.Handle) error {
	if b.closed.Load() {
		return fs.ErrClosed
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return h.Valid()
}

// Save implements [backend.Backend]. The bytes are copied.
func (b *Backend) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	if err := b.save(ctx, h, body, size); err != nil {
		return &backend.Error{Op: "save", Handle: h, Err: err}
	}
	return nil
}

func (b *Backend) save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	if err := b.check(ctx, h); err != nil {
		return err
	}
	b.s.mu.RLock()
	_, exists := b.s.files[h]
	b.s.mu.RUnlock()
	if exists {
		return fs.ErrExist
	}
	var buf bytes.Buffer
	if size > 0 {
		buf.Grow(int(size))
	}
	if err := exact.Copy(ctx, &buf, body, size); err != nil {
		return err
	}
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	// Looked at again: two calls may have copied the same file at the same time.
	if _, exists := b.s.files[h]; exists {
		return fs.ErrExist
	}
	b.s.files[h] = buf.Bytes()
	return nil
}

// Load implements [backend.Backend].
func (b *Backend) Load(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	data, err := b.get(ctx, h)
	if err == nil {
		n, err = exact.Range(off, n, int64(len(data)))
	}
	if err != nil {
		return nil, &backend.Error{Op: "load", Handle: h, Err: err}
	}
	r := io.NopCloser(bytes.NewReader(data[off : off+n]))
	return exact.NewReader(ctx, r, r, n), nil
}

// Stat implements [backend.Backend].
func (b *Backend) Stat(ctx context.Context, h backend.Handle) (backend.FileInfo, error) {
	data, err := b.get(ctx, h)
	if err != nil {
		return backend.FileInfo{}, &backend.Error{Op: "stat", Handle: h, Err: err}
	}
	return backend.FileInfo{Handle: h, Size: int64(len(data))}, nil
}

func (b *Backend) get(ctx context.Context, h backend.Handle) ([]byte, error) {
	if err := b.check(ctx, h); err != nil {
		return nil, err
	}
	b.s.mu.RLock()
	defer b.s.mu.RUnlock()
	data, ok := b.s.files[h]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return data, nil
}

// List implements [backend.Backend]: the files as they were when the iteration began.
func (b *Backend) List(ctx context.Context, t backend.FileType) iter.Seq2[backend.FileInfo, error] {
	return func(yield func(backend.FileInfo, error) bool) {
		fail := func(err error) {
			yield(backend.FileInfo{}, &backend.Error{Op: "list", Handle: backend.Handle{Type: t}, Err: err})
		}
		if b.closed.Load() {
			fail(fs.ErrClosed)
			return
		}
		if !t.Valid() {
			fail(fmt.Errorf("%v: %w", t, fs.ErrInvalid))
			return
		}
		var infos []backend.FileInfo
		b.s.mu.RLock()
		for h, data := range b.s.files {
			if h.Type == t {
				infos = append(infos, backend.FileInfo{Handle: h, Size: int64(len(data))})
			}
		}
		b.s.mu.RUnlock()
		if ctx.Err() != nil {
			fail(context.Cause(ctx))
			return
		}
		for _, fi := range infos {
			if ctx.Err() != nil {
				fail(context.Cause(ctx))
				return
			}
			if !yield(fi, nil) {
				return
			}
		}
	}
}

// Remove implements [backend.Backend].
func (b *Backend) Remove(ctx context.Context, h backend.Handle) error {
	err := b.check(ctx, h)
	if err == nil {
		b.s.mu.Lock()
		defer b.s.mu.Unlock()
		if _, ok := b.s.files[h]; ok {
			delete(b.s.files, h)
			return nil
		}
		err = fs.ErrNotExist
	}
	return &backend.Error{Op: "remove", Handle: h, Err: err}
}

// Close implements [backend.Backend]. Closing twice is an error wrapping fs.ErrClosed.
func (b *Backend) Close() error {
	if b.closed.Swap(true) {
		return fmt.Errorf("close: %w", fs.ErrClosed)
	}
	return nil
}
