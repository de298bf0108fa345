package exact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
)

// Body is the body of a request: exactly the first size bytes of something. After Stop nothing is read any more: net/http may
// go on for a moment after it has returned an answer, and the caller's bytes are not ours then. Nor is anything read once the context has
// ended: net/http looks at that beside what it sends, and would complete a file that is not to be saved any more.
type Body struct {
	ctx     context.Context // of the request
	mu      sync.Mutex
	body    io.ReaderAt
	size    int64
	off     int64
	err     error // what prevented reading
	stopped bool
}

// NewBody returns a Body of the first size bytes of body, for as long as ctx has not ended: then reading fails with its cause.
func NewBody(ctx context.Context, body io.ReaderAt, size int64) *Body {
	return &Body{ctx: ctx, body: body, size: size}
}

// Read implements io.Reader. A body that is shorter than it should be is an error wrapping io.ErrUnexpectedEOF.
func (b *Body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.stopped:
		return 0, fs.ErrClosed
	case b.err != nil:
		return 0, b.err
	case b.ctx.Err() != nil:
		b.err = context.Cause(b.ctx)
		return 0, b.err
	case b.off >= b.size:
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), b.size-b.off)]
	n, err := b.body.ReadAt(p, b.off)
	b.off += int64(n)
	if n == len(p) {
		return n, nil
	}
	b.err = early(err, b.off, b.size)
	return n, b.err
}

// Seek implements io.Seeker.
func (b *Body) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += b.off
	case io.SeekEnd:
		offset += b.size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek to %d: %w", offset, fs.ErrInvalid)
	}
	b.off = offset
	return offset, nil
}

// Stop ends the use of the body, and returns what prevented reading from it, if anything did.
func (b *Body) Stop() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
	return b.err
}

// early says why a body ended after n bytes of size. An io.ReaderAt that stops early says why; only EOF needs a better name.
func early(err error, n, size int64) error {
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("body has %d bytes, not %d: %w", n, size, io.ErrUnexpectedEOF)
	}
	return err
}
