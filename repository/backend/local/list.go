package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/escrow-backup/escrow/repository/backend"
)

// listBatch is how many directory entries are read at once.
const listBatch = 1024

// List implements [backend.Backend]. A file that is saved or removed while the list runs may or may not be in it.
func (b *Backend) List(ctx context.Context, t backend.FileType) iter.Seq2[backend.FileInfo, error] {
	return func(yield func(backend.FileInfo, error) bool) {
		if err := b.list(ctx, t, yield); err != nil {
			yield(backend.FileInfo{}, fail("list", backend.Handle{Type: t}, err))
		}
	}
}

// list returns nil when it is done or yield said to stop.
func (b *Backend) list(ctx context.Context, t backend.FileType, yield func(backend.FileInfo, error) bool) error {
	if b.closed.Load() {
		return fs.ErrClosed
	}
	if !t.Valid() {
		return fmt.Errorf("%v: %w", t, fs.ErrInvalid)
	}
	files := func(dir string) (bool, error) {
		return entries(ctx, dir, func(e fs.DirEntry) (bool, error) {
			h := backend.Handle{Type: t, Name: e.Name()}
			if !backend.ValidName(h.Name) || b.file(h) != filepath.Join(dir, h.Name) {
				return true, nil
			}
			fi, err := os.Stat(filepath.Join(dir, h.Name))
			if errors.Is(err, fs.ErrNotExist) {
				return true, nil // removed since the directory was read
			}
			if err != nil {
				return false, err
			}
			if !fi.Mode().IsRegular() {
				return true, nil
			}
			return yield(backend.FileInfo{Handle: h, Size: fi.Size()}, nil), nil
		})
	}
	top := filepath.Join(b.path, t.Dir())
	switch t {
	case backend.Config:
		fi, err := b.Stat(ctx, backend.Handle{Type: t})
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		var be *backend.Error
		if errors.As(err, &be) {
			return be.Err
		}
		yield(fi, nil)
		return nil
	case backend.Pack:
		_, err := entries(ctx, top, func(e fs.DirEntry) (bool, error) {
			if len(e.Name()) != 2 || !e.IsDir() && e.Type() != fs.ModeSymlink {
				return true, nil
			}
			return files(filepath.Join(top, e.Name()))
		})
		return err
	default:
		_, err := files(top)
		return err
	}
}

// entries calls fn for each entry of dir until it returns false, which entries then returns too. A directory that does
// not exist has none.
func entries(ctx context.Context, dir string, fn func(fs.DirEntry) (bool, error)) (bool, error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // only read from
	for {
		list, err := f.ReadDir(listBatch)
		for _, e := range list {
			if ctx.Err() != nil {
				return false, context.Cause(ctx)
			}
			if more, err := fn(e); !more || err != nil {
				return false, err
			}
		}
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
}
