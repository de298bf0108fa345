// Package local keeps a repository in a directory, in restic's default layout.
//
// A file is written under a temporary name beside its place, synced, and moved there without ever replacing
// another one; then the directory is synced. Files are read-only for their owner, directories private; where the
// repository's config file can be read by its group, new files and directories can too, as restic does.
//
// Temporary files that a killed process left behind are not listed. Once nothing has touched one for a day, the
// next Save into its directory removes it.
//
// Parts of a repository may be symbolic links, for example a data directory on another disk, so paths are not
// confined with os.Root; names are checked to be hexadecimal before they become part of a path.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/internal/exact"
)

// Backend is a repository's directory. It fulfils [backend.Backend]. After Close every call fails with an error
// wrapping fs.ErrClosed.
type Backend struct {
	path   string // absolute
	closed atomic.Bool

	mu   sync.Mutex
	dirs map[string]bool // directories that are known to exist durably, and where leftovers were looked for
	mode modes           // valid once the first directory is in dirs
}

var _ backend.Backend = (*Backend)(nil)

// New returns the Backend for the directory path. It creates nothing: a directory that does not exist is an empty
// repository, and the first Save makes it. A path at which there is something else is an error wrapping
// syscall.ENOTDIR.
func New(path string) (*Backend, error) {
	if path == "" {
		return nil, errors.New("open directory: empty path")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open directory %s: %w", path, err)
	}
	switch fi, err := os.Stat(abs); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("open directory: %w", clear(err))
	case !fi.IsDir():
		return nil, fmt.Errorf("open directory %s: %w", abs, syscall.ENOTDIR)
	}
	return &Backend{path: abs, dirs: map[string]bool{}}, nil
}

// Opener is the [backend.Opener] of directories, for the scheme "local": the location is the path.
func Opener(ctx context.Context, location string, _ *backend.Settings) (backend.Backend, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("open directory %s: %w", location, context.Cause(ctx))
	}
	b, err := New(location)
	if err != nil {
		return nil, err // not b: a nil *Backend would make a Backend that is not nil
	}
	return b, nil
}

// Path returns the absolute path of the directory.
func (b *Backend) Path() string { return b.path }

// file returns where h lies.
func (b *Backend) file(h backend.Handle) string {
	return filepath.Join(b.path, filepath.FromSlash(h.Path()))
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

// fail wraps what went wrong; nil stays nil.
func fail(op string, h backend.Handle, err error) error {
	if err == nil {
		return nil
	}
	return &backend.Error{Op: op, Handle: h, Err: clear(err)}
}

// clear makes a read-only file system recognisable as a missing permission; the system's text is kept.
func clear(err error) error {
	if errors.Is(err, syscall.EROFS) {
		return readOnly{err}
	}
	return err
}

type readOnly struct{ error }

func (e readOnly) Unwrap() []error { return []error{e.error, fs.ErrPermission} }

// Load implements [backend.Backend].
func (b *Backend) Load(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	r, err := b.load(ctx, h, off, n)
	if err != nil {
		return nil, fail("load", h, err)
	}
	return r, nil
}

func (b *Backend) load(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	if err := b.check(ctx, h); err != nil {
		return nil, err
	}
	f, err := os.Open(b.file(h))
	if err != nil {
		return nil, err
	}
	size, err := regularSize(f)
	if err == nil {
		n, err = exact.Range(off, n, size)
	}
	if err != nil {
		_ = f.Close() // only read from
		return nil, err
	}
	return exact.NewReader(ctx, io.NewSectionReader(f, off, n), f, n), nil
}

func regularSize(f *os.File) (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !fi.Mode().IsRegular() {
		return 0, fmt.Errorf("%s is not a regular file", f.Name())
	}
	return fi.Size(), nil
}

// Stat implements [backend.Backend].
func (b *Backend) Stat(ctx context.Context, h backend.Handle) (backend.FileInfo, error) {
	if err := b.check(ctx, h); err != nil {
		return backend.FileInfo{}, fail("stat", h, err)
	}
	fi, err := os.Stat(b.file(h))
	if err != nil {
		return backend.FileInfo{}, fail("stat", h, err)
	}
	if !fi.Mode().IsRegular() {
		return backend.FileInfo{}, fail("stat", h, fmt.Errorf("%s is not a regular file", b.file(h)))
	}
	return backend.FileInfo{Handle: h, Size: fi.Size()}, nil
}

// Remove implements [backend.Backend].
func (b *Backend) Remove(ctx context.Context, h backend.Handle) error {
	if err := b.check(ctx, h); err != nil {
		return fail("remove", h, err)
	}
	name := b.file(h)
	if err := os.Remove(name); err != nil {
		return fail("remove", h, err)
	}
	return fail("remove", h, syncDir(filepath.Dir(name)))
}

// Close implements [backend.Backend]. Closing twice is an error wrapping fs.ErrClosed.
func (b *Backend) Close() error {
	if b.closed.Swap(true) {
		return fmt.Errorf("close %s: %w", b.path, fs.ErrClosed)
	}
	return nil
}
