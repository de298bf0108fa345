package repository

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// file restores a file. It stands under its name only when it is complete, or not at all.
func (x *restorer) file(p place, n *node) (err error) {
	name, create := n.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL
	f, err := p.root.OpenFile(name, create, 0o600)
	if errors.Is(err, fs.ErrExist) && x.opt.Overwrite {
		name = ".restoring-" + rand.Text()
		f, err = p.root.OpenFile(name, create, 0o600)
	}
	if err != nil {
		return err
	}
	made := false
	defer func() {
		if !made {
			if rerr := p.root.Remove(name); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
				err = errors.Join(err, rerr)
			}
		}
	}()
	err = x.content(f, n)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && x.opt.Verify {
		err = x.verify(p, n, name)
	}
	if err != nil {
		return err
	}
	// If that fails, the content is right all the same: the file stays.
	aerr := x.attributes(p, n, name)
	if name != n.Name {
		if err := p.root.Rename(name, n.Name); err != nil {
			return err
		}
	}
	made = true
	return aerr
}

// content writes the blobs of a file.
func (x *restorer) content(f *os.File, n *node) error {
	src, err := x.fsys.open(n, n.Name)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }() // read only
	var w io.Writer = whole{x.ctx, f}
	if x.opt.Sparse {
		w = &sparse{f: f}
	}
	k, err := src.WriteTo(w)
	if err == nil && k != n.Size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && x.opt.Sparse {
		err = f.Truncate(n.Size) // the end may be a hole
	}
	return err
}

// whole ends with a context between two blobs.
type whole struct {
	ctx context.Context // io.Writer takes none
	w   io.Writer
}

func (w whole) Write(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.w.Write(p)
}

// sparse leaves out blocks of zeros of a new file.
type sparse struct {
	f   *os.File
	off int64
}

const sparseBlock = 4096

var zeros [sparseBlock]byte

func (s *sparse) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		// Up to the next boundary of a block, then further while blocks are not all zeros.
		n := next(p, s.off)
		if !isZero(p[:n]) {
			for n < len(p) {
				m := next(p[n:], s.off+int64(n))
				if m == sparseBlock && isZero(p[n:n+m]) {
					break
				}
				n += m
			}
			if _, err := s.f.WriteAt(p[:n], s.off); err != nil {
				return written, err
			}
		}
		s.off += int64(n)
		written += n
		p = p[n:]
	}
	return written, nil
}

// next is the length of the next piece: a block, unless a boundary or the end comes first.
func next(p []byte, off int64) int {
	return min(len(p), sparseBlock-int(off%sparseBlock))
}

func isZero(p []byte) bool { return bytes.Equal(p, zeros[:len(p)]) }

// verify reads a file back.
func (x *restorer) verify(p place, n *node, name string) error {
	src, err := x.fsys.open(n, n.Name)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }() // read only
	f, err := p.root.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // read only
	var buf []byte
	for i, b := range src.Blobs() {
		if x.ctx.Err() != nil {
			return context.Cause(x.ctx)
		}
		if int64(cap(buf)) < b.Size {
			buf = make([]byte, b.Size)
		}
		if _, err := io.ReadFull(f, buf[:b.Size]); err != nil {
			return fmt.Errorf("verify: %w", err)
		}
		if Hash(buf[:b.Size]) != b.ID {
			return fmt.Errorf("verify: %w: blob %d is not what was written", ErrDamaged, i)
		}
	}
	if k, err := f.Read(make([]byte, 1)); k != 0 || err != io.EOF {
		return fmt.Errorf("verify: %w: longer than what was written", ErrDamaged)
	}
	return nil
}
