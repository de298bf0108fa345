package swift

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/internal/exact"
)

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
	span, ok := exact.RangeHeader(off, n)
	if !ok {
		return b.nothing(ctx, h, off, n)
	}
	r := request{method: http.MethodGet, path: b.path(b.name(h))}
	if span != "" {
		r.header = map[string]string{"Range": span}
	}
	resp, err := b.do(ctx, r)
	if status(err) == http.StatusRequestedRangeNotSatisfiable {
		return b.nothing(ctx, h, off, n)
	}
	if err != nil {
		return nil, err
	}
	n, err = length(resp, off, n)
	if err != nil {
		_ = resp.Body.Close() // only read from
		return nil, err
	}
	return exact.NewReader(ctx, resp.Body, resp.Body, n), nil
}

// length returns how many bytes the answer has, which are those that were asked for.
func length(resp *http.Response, off, n int64) (int64, error) {
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return 0, fmt.Errorf("the server sends the file encoded as %q", enc)
	}
	got := resp.Header.Get("Content-Range")
	if resp.StatusCode == http.StatusPartialContent && (off > 0 || n > 0) {
		return exact.ContentRange(got, resp.ContentLength, off, n)
	}
	if resp.StatusCode != http.StatusOK || got != "" {
		return 0, fmt.Errorf("the server answers %d with the range %q, which was not asked for", resp.StatusCode, got)
	}
	// The whole file: also the answer to a range of an empty one.
	if resp.ContentLength < 0 {
		return 0, errors.New("the answer does not say its length")
	}
	n, err := exact.Range(off, n, resp.ContentLength)
	if err == nil && off > 0 {
		err = errors.New("the server sends the whole file instead of a range")
	}
	return n, err
}

// nothing answers for a range that is empty or cannot be, for which HTTP has no words.
func (b *Backend) nothing(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	size, err := b.size(ctx, h)
	if err != nil {
		return nil, err
	}
	return exact.Nothing(off, n, size)
}

// Stat implements [backend.Backend].
func (b *Backend) Stat(ctx context.Context, h backend.Handle) (backend.FileInfo, error) {
	err := b.check(ctx, h)
	var size int64
	if err == nil {
		size, err = b.size(ctx, h)
	}
	if err != nil {
		return backend.FileInfo{}, fail("stat", h, err)
	}
	return backend.FileInfo{Handle: h, Size: size}, nil
}

func (b *Backend) size(ctx context.Context, h backend.Handle) (int64, error) {
	header, err := b.ask(ctx, request{method: http.MethodHead, path: b.path(b.name(h))})
	if err != nil {
		return 0, err
	}
	size, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64)
	if err != nil || size < 0 {
		return 0, errors.New("the answer does not say the size of the file")
	}
	return size, nil
}
