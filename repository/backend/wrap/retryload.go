package wrap

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/internal/exact"
)

// Load implements [backend.Backend].
func (r *retrier) Load(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	x := &resuming{ctx: ctx, h: h, off: off, left: n, open: n < 0, pace: r.pace("load", h)}
	for {
		err := x.try()
		if err == nil {
			return x, nil
		}
		if err := x.pace.next(ctx, err); err != nil {
			return nil, err
		}
	}
}

// resuming is a reader that goes on where it broke.
type resuming struct {
	ctx  context.Context
	h    backend.Handle
	off  int64 // of what comes next
	left int64 // bytes, unless open
	open bool  // up to the end of the file
	pace pace

	in     io.ReadCloser // nil: broken
	broken error         // why
	err    error         // for good
}

// pastEnd is an error of a range that the file does not have, however often one asks.
type pastEnd struct{ error }

func (e pastEnd) Unwrap() []error { return []error{e.error, fs.ErrInvalid} }

// rest is how many bytes to ask for.
func (x *resuming) rest() int64 {
	if x.open {
		return -1
	}
	return x.left
}

// try opens the rest of the range.
func (x *resuming) try() error {
	in, err := x.pace.r.Backend.Load(x.ctx, x.h, x.off, x.rest())
	if err != nil {
		return x.explain(err)
	}
	x.in = in
	return nil
}

// explain tells a connection that was cut from a range that reaches past the end.
func (x *resuming) explain(err error) error {
	if !errors.Is(err, io.ErrUnexpectedEOF) || x.ctx.Err() != nil {
		return err
	}
	fi, statErr := x.pace.r.Backend.Stat(x.ctx, x.h)
	if statErr != nil {
		return err
	}
	if _, rangeErr := exact.Range(x.off, x.rest(), fi.Size); rangeErr != nil {
		return fail("load", x.h, pastEnd{cause(err)})
	}
	return err
}

// Read implements io.Reader.
func (x *resuming) Read(p []byte) (int, error) {
	for {
		if x.err != nil {
			return 0, x.err
		}
		if x.in == nil {
			if x.err = x.pace.next(x.ctx, x.broken); x.err != nil {
				continue
			}
			if x.broken = x.try(); x.broken != nil {
				continue
			}
		}
		n, err := x.in.Read(p)
		if n > 0 {
			x.off += int64(n)
			x.left -= int64(n)
			x.pace.moved()
		}
		if err == nil || err == io.EOF {
			return n, err
		}
		if !x.open && x.left == 0 {
			x.err = io.EOF // all is there, whatever happened then
			return n, x.err
		}
		_ = x.in.Close() // only read from
		x.in = nil
		x.broken = x.explain(err)
		if n > 0 {
			return n, nil
		}
	}
}

// Close implements io.Closer.
func (x *resuming) Close() error {
	if x.err == nil {
		x.err = fail("load", x.h, fs.ErrClosed)
	}
	if x.in == nil {
		return nil
	}
	in := x.in
	x.in = nil
	return in.Close()
}
