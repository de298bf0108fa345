package wrap

import (
	"context"
	"io"
	"iter"
	"sync"

	"github.com/escrow-backup/escrow/repository/backend"
)

// listBatch is how many files of a List are gathered before they are handed on.
const listBatch = 1000

// Connections lets at most n calls pass at once; n is at least 1. A Load counts until its reader is closed, so whoever holds n
// readers and makes another call waits for himself. A List does not count while its caller has the files: they are gathered,
// up to 1000 at once, and then handed on. Callers wait in line. It is a backend.Connector that says n.
func Connections(b backend.Backend, n int) backend.Backend {
	return &connections{through: through{b}, slots: make(chan struct{}, max(n, 1))}
}

type connections struct {
	through
	slots chan struct{}
}

// Connections implements [backend.Connector].
func (c *connections) Connections() int { return cap(c.slots) }

func (c *connections) take(ctx context.Context, op string, h backend.Handle) error {
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fail(op, h, context.Cause(ctx))
	}
}

func (c *connections) give() { <-c.slots }

// Save implements [backend.Backend].
func (c *connections) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	if err := c.take(ctx, "save", h); err != nil {
		return err
	}
	defer c.give()
	return c.Backend.Save(ctx, h, body, size)
}

// Load implements [backend.Backend].
func (c *connections) Load(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	if err := c.take(ctx, "load", h); err != nil {
		return nil, err
	}
	r, err := c.Backend.Load(ctx, h, off, n)
	if err != nil {
		c.give()
		return nil, err
	}
	return &closing{ReadCloser: r, after: sync.OnceFunc(c.give)}, nil
}

// closing calls after once it is closed.
type closing struct {
	io.ReadCloser
	after func()
}

// Close implements io.Closer.
func (r *closing) Close() error {
	defer r.after()
	return r.ReadCloser.Close()
}

// Stat implements [backend.Backend].
func (c *connections) Stat(ctx context.Context, h backend.Handle) (backend.FileInfo, error) {
	if err := c.take(ctx, "stat", h); err != nil {
		return backend.FileInfo{}, err
	}
	defer c.give()
	return c.Backend.Stat(ctx, h)
}

// List implements [backend.Backend].
func (c *connections) List(ctx context.Context, t backend.FileType) iter.Seq2[backend.FileInfo, error] {
	return func(yield func(backend.FileInfo, error) bool) {
		h := backend.Handle{Type: t}
		if err := c.take(ctx, "list", h); err != nil {
			yield(backend.FileInfo{}, err)
			return
		}
		held := true
		defer func() {
			if held {
				c.give()
			}
		}()
		var batch []backend.FileInfo
		// flush hands on what was gathered, without a slot.
		flush := func() bool {
			c.give()
			held = false
			for _, fi := range batch {
				if ctx.Err() != nil {
					yield(backend.FileInfo{}, fail("list", h, context.Cause(ctx)))
					return false
				}
				if !yield(fi, nil) {
					return false
				}
			}
			batch = batch[:0]
			return true
		}
		for fi, err := range c.Backend.List(ctx, t) {
			if err != nil {
				if flush() {
					yield(backend.FileInfo{}, err)
				}
				return
			}
			if batch = append(batch, fi); len(batch) < listBatch {
				continue
			}
			if !flush() {
				return
			}
			if err := c.take(ctx, "list", h); err != nil {
				yield(backend.FileInfo{}, err)
				return
			}
			held = true
		}
		flush()
	}
}

// Remove implements [backend.Backend].
func (c *connections) Remove(ctx context.Context, h backend.Handle) error {
	if err := c.take(ctx, "remove", h); err != nil {
		return err
	}
	defer c.give()
	return c.Backend.Remove(ctx, h)
}
