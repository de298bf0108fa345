// Package exact moves exactly as many bytes as were asked for, or fails: the part of the contract of
// backend.Backend that every driver shares. A transfer ends at once when its context does.
package exact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strconv"
	"strings"
)

// bufferSize is how much Copy moves between two looks at the context.
const bufferSize = 256 << 10

// Range returns how many bytes the range (off, n) of a file of size bytes has, where n < 0 means up to the end.
// A range that is negative or reaches past the end is an error; the latter wraps io.ErrUnexpectedEOF.
func Range(off, n, size int64) (int64, error) {
	if off < 0 {
		return 0, fmt.Errorf("offset %d: %w", off, fs.ErrInvalid)
	}
	if n < 0 {
		n = max(size-off, 0)
	}
	if off > size || n > size-off {
		return 0, fmt.Errorf("%d bytes from offset %d of a file of %d bytes: %w", n, off, size, io.ErrUnexpectedEOF)
	}
	return n, nil
}

// RangeHeader returns HTTP's words for the range (off, n), the value of the header Range: none for a whole file. There are no such words for
// a range that is empty or cannot be, of which it returns false.
func RangeHeader(off, n int64) (string, bool) {
	switch {
	case off < 0 || n == 0 || n > math.MaxInt64-off:
		return "", false
	case n > 0:
		return fmt.Sprintf("bytes=%d-%d", off, off+n-1), true
	case off > 0:
		return fmt.Sprintf("bytes=%d-", off), true
	}
	return "", true
}

// Nothing answers for a range of a file of size bytes that is empty, for which HTTP has no words, or reaches past the end. Of any
// other, which a server has refused, it says so.
func Nothing(off, n, size int64) (io.ReadCloser, error) {
	n, err := Range(off, n, size)
	if err != nil {
		return nil, err
	}
	if n > 0 {
		return nil, fmt.Errorf("the server refuses bytes %d to %d of %d", off, off+n-1, size)
	}
	return io.NopCloser(strings.NewReader("")), nil
}

// ContentRange looks whether an answer of HTTP with this Content-Range header and this length of its body, -1 if it does not
// say, is exactly the range (off, n), and returns how many bytes that are. Errors are those of Range where it cannot be.
func ContentRange(header string, length, off, n int64) (int64, error) {
	span, total, _ := strings.Cut(strings.TrimPrefix(header, "bytes "), "/")
	from, to, _ := strings.Cut(span, "-")
	var errs [3]error
	first, err := strconv.ParseInt(from, 10, 64)
	errs[0] = err
	last, err := strconv.ParseInt(to, 10, 64)
	errs[1] = err
	size, err := strconv.ParseInt(total, 10, 64)
	errs[2] = err
	if errors.Join(errs[:]...) != nil || !strings.HasPrefix(header, "bytes ") {
		return 0, fmt.Errorf("the server sends %q, which is no range of a file", header)
	}
	want, err := Range(off, n, size)
	if err != nil {
		return 0, err
	}
	if first != off || last != off+want-1 || length >= 0 && length != want {
		return 0, fmt.Errorf("the server sends %d bytes as the range %q, not %d bytes from %d", length, header, want, off)
	}
	return want, nil
}

// Copy writes the first size bytes of body to w. A body that is shorter is an error wrapping
// io.ErrUnexpectedEOF; when ctx ends, Copy returns its cause.
func Copy(ctx context.Context, w io.Writer, body io.ReaderAt, size int64) error {
	if size < 0 {
		return fmt.Errorf("size %d: %w", size, fs.ErrInvalid)
	}
	buf := make([]byte, min(size, bufferSize))
	for off := int64(0); off < size; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p := buf[:min(size-off, bufferSize)]
		n, err := body.ReadAt(p, off)
		if n < len(p) {
			return early(err, off+int64(n), size)
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// NewReader returns a reader of exactly n bytes of r. If r ends earlier, reading fails with
// io.ErrUnexpectedEOF, and with context.Cause(ctx) once ctx has ended. Closing it closes c.
func NewReader(ctx context.Context, r io.Reader, c io.Closer, n int64) io.ReadCloser {
	return &reader{ctx: ctx, r: r, c: c, left: n}
}

type reader struct {
	ctx  context.Context
	r    io.Reader
	c    io.Closer
	left int64
}

func (r *reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	n, err := r.r.Read(p)
	r.left -= int64(n)
	switch {
	case err == nil || errors.Is(err, io.EOF) && r.left == 0:
		return n, nil
	case r.ctx.Err() != nil:
		err = context.Cause(r.ctx)
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (r *reader) Close() error { return r.c.Close() }
