package azure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"

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
	o := &blob.DownloadStreamOptions{Range: blob.HTTPRange{Offset: off, Count: max(n, 0)}} // a count of 0 is all that follows
	resp, err := b.container.NewBlobClient(b.key(h)).DownloadStream(ctx, o)
	if err := b.explain(ctx, err); err != nil {
		if web.IsStatus(err, http.StatusRequestedRangeNotSatisfiable) && span != "" {
			return b.nothing(ctx, h, off, n)
		}
		return nil, err
	}
	want, err := length(resp.DownloadResponse, off, n)
	if err != nil {
		_ = resp.Body.Close() // only read from
		return nil, err
	}
	return exact.NewReader(ctx, resp.Body, resp.Body, want), nil
}

// length is how many bytes the answer promises, which are those that were asked for.
func length(resp blob.DownloadResponse, off, n int64) (int64, error) {
	if resp.ContentLength == nil || *resp.ContentLength < 0 {
		return 0, errors.New("the answer does not say its length")
	}
	span := ""
	if resp.ContentRange != nil {
		span = *resp.ContentRange
	}
	if off == 0 && n < 0 {
		if span != "" {
			return 0, fmt.Errorf("the server sends the range %q of a file that was asked for as a whole", span)
		}
		return *resp.ContentLength, nil
	}
	return exact.ContentRange(span, *resp.ContentLength, off, n)
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
	resp, err := b.container.NewBlobClient(b.key(h)).GetProperties(ctx, nil)
	if err != nil {
		return 0, b.explain(ctx, err)
	}
	if resp.ContentLength == nil || *resp.ContentLength < 0 {
		return 0, errors.New("the answer does not say the size")
	}
	return *resp.ContentLength, nil
}

// Remove implements [backend.Backend]. What the account keeps of it is in the package's comment.
func (b *Backend) Remove(ctx context.Context, h backend.Handle) error {
	err := b.check(ctx, h)
	if err == nil {
		_, err = b.container.NewBlobClient(b.key(h)).Delete(ctx, nil)
		err = b.explain(ctx, err)
	}
	return fail("remove", h, err)
}
