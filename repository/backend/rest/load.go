package rest

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
	var header []string
	if span != "" {
		header = []string{"Range", span}
	}
	resp, err := b.request(ctx, http.MethodGet, b.url(h), nil, 0, header...)
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusRequestedRangeNotSatisfiable && header != nil {
		return b.nothing(ctx, h, off, n)
	}
	if err != nil {
		return nil, err
	}
	r, err := b.body(ctx, h, resp, off, n)
	if err != nil {
		_ = resp.Body.Close() // only read from
		return nil, err
	}
	return r, nil
}

// nothing answers for a range that is empty or cannot be, for which HTTP has no words.
func (b *Backend) nothing(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	size, err := b.size(ctx, h)
	if err != nil {
		return nil, err
	}
	return exact.Nothing(off, n, size)
}

// body returns the reader of the range (off, n), after looking whether it is the one that the server sends.
func (b *Backend) body(ctx context.Context, h backend.Handle, resp *http.Response, off, n int64) (io.ReadCloser, error) {
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, fmt.Errorf("%s sends the file encoded as %s", b.place, enc)
	}
	length := resp.ContentLength // -1 if the server does not say
	got := resp.Header.Get("Content-Range")
	if resp.StatusCode == http.StatusPartialContent && (off > 0 || n > 0) {
		want, err := exact.ContentRange(got, length, off, n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.place, err)
		}
		return exact.NewReader(ctx, resp.Body, resp.Body, want), nil
	}
	if resp.StatusCode != http.StatusOK || got != "" {
		return nil, fmt.Errorf("%s answers %d with the range %q, which was not asked for", b.place, resp.StatusCode, got)
	}
	// The whole file. A server may ignore ranges: then what lies before this one has to be passed over.
	if length < 0 {
		var err error
		if length, err = b.size(ctx, h); err != nil {
			return nil, err
		}
	}
	want, err := exact.Range(off, n, length)
	if err != nil {
		return nil, err
	}
	r := exact.NewReader(ctx, resp.Body, resp.Body, off+want)
	if _, err := io.CopyN(io.Discard, r, off); err != nil {
		return nil, err
	}
	return r, nil
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
	header, err := b.ask(ctx, http.MethodHead, b.url(h))
	if err != nil {
		return 0, err
	}
	size, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64)
	if err != nil || size < 0 {
		return 0, fmt.Errorf("%s does not say the size of the file", b.place)
	}
	return size, nil
}

// Remove implements [backend.Backend].
func (b *Backend) Remove(ctx context.Context, h backend.Handle) error {
	err := b.check(ctx, h)
	if err == nil {
		_, err = b.ask(ctx, http.MethodDelete, b.url(h))
	}
	return fail("remove", h, err)
}
