package gcs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/internal/exact"
	"github.com/escrow-backup/escrow/repository/backend/web"
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
	resp, err := b.send(ctx, http.MethodGet, b.object(h)+"?alt=media", nil, 0, header...)
	switch {
	case web.IsStatus(err, http.StatusRequestedRangeNotSatisfiable) && header != nil:
		return b.nothing(ctx, h, off, n)
	case web.HasCode(err, notJSON):
		// Where a file was to come, an error comes as a text. About the same object there is one in JSON.
		if _, statErr := b.stat(ctx, h); statErr != nil {
			err = statErr
		}
		return nil, err
	case err != nil:
		return nil, b.aboutObject(ctx, err)
	}
	want, err := b.length(ctx, h, resp, off, n)
	if err != nil {
		_ = resp.Body.Close() // only read from
		return nil, err
	}
	return exact.NewReader(ctx, resp.Body, resp.Body, want), nil
}

// length is how many bytes the answer promises, which are those that were asked for.
func (b *Backend) length(ctx context.Context, h backend.Handle, resp *http.Response, off, n int64) (int64, error) {
	if web.IsPage(resp) {
		return 0, fmt.Errorf("%s: an HTML page instead of the file", resp.Status)
	}
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return 0, fmt.Errorf("the server sends the file encoded as %s", enc)
	}
	span := resp.Header.Get("Content-Range")
	switch {
	case off > 0 || n >= 0:
		return exact.ContentRange(span, resp.ContentLength, off, n)
	case span != "" || resp.StatusCode != http.StatusOK:
		return 0, fmt.Errorf("%s: the server sends the range %q of a file that was asked for as a whole", resp.Status, span)
	case resp.ContentLength < 0: // it does not say
		return b.stat(ctx, h)
	}
	return resp.ContentLength, nil
}

// nothing answers for a range that is empty or cannot be, for which HTTP has no words.
func (b *Backend) nothing(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	size, err := b.stat(ctx, h)
	if err != nil {
		return nil, err
	}
	return exact.Nothing(off, n, size)
}

// Stat implements [backend.Backend].
func (b *Backend) Stat(ctx context.Context, h backend.Handle) (backend.FileInfo, error) {
	size, err := b.stat(ctx, h)
	if err != nil {
		return backend.FileInfo{}, fail("stat", h, err)
	}
	return backend.FileInfo{Handle: h, Size: size}, nil
}

func (b *Backend) stat(ctx context.Context, h backend.Handle) (int64, error) {
	if err := b.check(ctx, h); err != nil {
		return 0, err
	}
	info := objectInfo{Size: -1}
	err := b.ask(ctx, http.MethodGet, b.object(h)+"?fields=name,size", nil, 0, &info)
	if err := b.aboutObject(ctx, err); err != nil {
		return 0, err
	}
	if info.Name != b.key(h) || info.Size < 0 {
		return 0, errors.New("the answer does not say the size of the file")
	}
	return info.Size, nil
}

// Remove implements [backend.Backend]. What the bucket keeps of it is in the package's comment.
func (b *Backend) Remove(ctx context.Context, h backend.Handle) error {
	err := b.check(ctx, h)
	if err == nil {
		err = b.aboutObject(ctx, b.ask(ctx, http.MethodDelete, b.object(h), nil, 0, nil))
	}
	return fail("remove", h, err)
}
