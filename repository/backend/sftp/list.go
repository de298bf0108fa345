package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"

	"github.com/pkg/sftp"
	"golang.org/x/sync/errgroup"

	"github.com/escrow-backup/escrow/repository/backend"
)

// listAtOnce is how many directories are read at the same time: each takes some turns from here to the server and back.
const listAtOnce = 16

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
	var dirs [][]backend.FileInfo
	var err error
	switch t {
	case backend.Config:
		var fi backend.FileInfo
		fi.Handle = backend.Handle{Type: t}
		fi.Size, err = b.size(ctx, fi.Handle)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		dirs = [][]backend.FileInfo{{fi}}
	case backend.Pack:
		err = b.do(ctx, func(s *session) error {
			dirs, err = b.packs(ctx, s)
			return err
		})
	default:
		dirs = make([][]backend.FileInfo, 1)
		err = b.do(ctx, func(s *session) error {
			dirs[0], err = b.files(ctx, s, t, path.Join(b.cfg.Path, t.Dir()))
			return err
		})
	}
	if err != nil {
		return err
	}
	for _, files := range dirs {
		for _, fi := range files {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if !yield(fi, nil) {
				return nil
			}
		}
	}
	return nil
}

// packs reads all directories that packs lie in.
func (b *Backend) packs(ctx context.Context, s *session) ([][]backend.FileInfo, error) {
	top := path.Join(b.cfg.Path, backend.Pack.Dir())
	entries, err := readDir(ctx, s, top)
	if err != nil {
		return nil, err
	}
	dirs := make([][]backend.FileInfo, len(entries))
	var g errgroup.Group
	g.SetLimit(listAtOnce)
	for i, e := range entries {
		if len(e.Name()) != 2 || e.Mode().IsRegular() && complete(e) {
			continue
		}
		g.Go(func() (err error) {
			dirs[i], err = b.files(ctx, s, backend.Pack, path.Join(top, e.Name()))
			return err
		})
	}
	return dirs, g.Wait()
}

// files reads one directory of files of type t.
func (b *Backend) files(ctx context.Context, s *session, t backend.FileType, dir string) ([]backend.FileInfo, error) {
	entries, err := readDir(ctx, s, dir)
	if err != nil {
		return nil, err
	}
	files := make([]backend.FileInfo, 0, len(entries))
	for _, e := range entries {
		h := backend.Handle{Type: t, Name: e.Name()}
		if !backend.ValidName(h.Name) || b.file(h) != path.Join(dir, h.Name) {
			continue
		}
		if e.Mode()&fs.ModeSymlink != 0 || !complete(e) {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			e, err = s.Stat(b.file(h))
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed since the directory was read
			}
			if err != nil {
				return nil, err
			}
		}
		if e.Mode().IsRegular() {
			files = append(files, backend.FileInfo{Handle: h, Size: e.Size()})
		}
	}
	return files, nil
}

// complete reports whether a directory came with the attributes of the entry, which servers may leave out.
func complete(e os.FileInfo) bool {
	st, ok := e.Sys().(*sftp.FileStat)
	return ok && st.Mode != 0
}

// readDir returns the entries of dir; one that does not exist has none.
func readDir(ctx context.Context, s *session, dir string) ([]os.FileInfo, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	entries, err := s.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}
