package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pkg/sftp"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/internal/exact"
)

// readAhead is how many bytes are asked for at once, in requests of 32 KiB that the server answers one after the other.
const readAhead = 1 << 20

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
	r := &reader{ctx: ctx, place: b.place, off: off}
	err := b.do(ctx, func(s *session) (err error) {
		f, err := s.Open(b.file(h))
		if err != nil {
			return err
		}
		defer func() {
			if err != nil {
				_ = f.Close() // only read from
			}
		}()
		fi, err := f.Stat()
		if err != nil {
			return err
		}
		if err := regular(fi, b.file(h)); err != nil {
			return err
		}
		r.s, r.f = s, f
		n, err = exact.Range(off, n, fi.Size())
		r.left = n
		return err
	})
	if err != nil {
		return nil, err
	}
	return exact.NewReader(ctx, r, r, n), nil
}

func regular(fi os.FileInfo, name string) error {
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", name)
	}
	return nil
}

// reader reads a part of a file, some requests at a time.
type reader struct {
	ctx   context.Context
	place string
	s     *session
	f     *sftp.File
	off   int64 // of what is asked for next
	left  int64 // to be asked for
	space []byte
	have  []byte // arrived, and not yet handed out
}

func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(r.have) == 0 {
		if r.left == 0 {
			return 0, io.EOF
		}
		if r.space == nil {
			r.space = make([]byte, min(r.left, readAhead))
		}
		if err := r.s.do(r.ctx, r.place, func(*session) error { return r.fill() }); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.have)
	r.have = r.have[n:]
	return n, nil
}

// fill gets at least one byte.
func (r *reader) fill() error {
	p := r.space[:min(r.left, int64(len(r.space)))]
	n, err := r.f.ReadAt(p, r.off)
	if n == 0 {
		// A server may answer with less than was asked for, but not with nothing.
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	r.have, r.off, r.left = p[:n], r.off+int64(n), r.left-int64(n)
	return nil
}

// Close frees the server's handle. What the server says to that is of no interest: nothing was written.
func (r *reader) Close() error {
	_ = r.s.do(r.ctx, r.place, func(*session) error { return r.f.Close() })
	return nil
}

// Stat implements [backend.Backend].
func (b *Backend) Stat(ctx context.Context, h backend.Handle) (backend.FileInfo, error) {
	size, err := b.size(ctx, h)
	if err != nil {
		return backend.FileInfo{}, fail("stat", h, err)
	}
	return backend.FileInfo{Handle: h, Size: size}, nil
}

func (b *Backend) size(ctx context.Context, h backend.Handle) (size int64, err error) {
	if err := b.check(ctx, h); err != nil {
		return 0, err
	}
	err = b.do(ctx, func(s *session) error {
		fi, err := s.Stat(b.file(h))
		if err != nil {
			return err
		}
		size = fi.Size()
		return regular(fi, b.file(h))
	})
	return size, err
}
