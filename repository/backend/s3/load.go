package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"

	"github.com/minio/minio-go/v7"

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
	var r io.ReadCloser
	err := b.call(ctx, func(ctx context.Context) error {
		var err error
		r, n, err = b.get(ctx, h, span, off, n)
		return err
	})
	if web.IsStatus(err, http.StatusRequestedRangeNotSatisfiable) {
		if r, rangeErr := b.nothing(ctx, h, off, n); rangeErr != nil || n < 0 {
			return r, rangeErr
		}
	}
	if err != nil {
		return nil, err
	}
	return exact.NewReader(ctx, r, r, n), nil
}

// nothing answers for a range that is empty or cannot be, for which HTTP has no words.
func (b *Backend) nothing(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	size, err := b.stat(ctx, h)
	if err != nil {
		return nil, err
	}
	return exact.Nothing(off, n, size)
}

// get asks for a range, of which span is the header, and returns how many bytes the answer promises, which are those that were asked for.
func (b *Backend) get(ctx context.Context, h backend.Handle, span string, off, n int64) (_ io.ReadCloser, _ int64, err error) {
	var o minio.GetObjectOptions
	if span != "" {
		o.Set("Range", span)
	}
	r, info, header, err := b.core.GetObject(ctx, b.cfg.Bucket, b.key(h), o)
	if err != nil {
		return nil, n, err
	}
	defer func() {
		if err != nil {
			_ = r.Close() // only read from
		}
	}()
	if info.ETag == "" {
		return nil, n, errNoETag
	}
	if info.Size < 0 {
		return nil, n, errors.New("the answer does not say its length")
	}
	got := header.Get("Content-Range")
	if span == "" {
		if got != "" {
			return nil, n, fmt.Errorf("the server sends the range %q of a file that was asked for as a whole", got)
		}
		return r, info.Size, nil
	}
	want, err := exact.ContentRange(got, info.Size, off, n)
	if err != nil {
		return nil, n, err
	}
	return r, want, nil
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
	var info minio.ObjectInfo
	err := b.call(ctx, func(ctx context.Context) error {
		var err error
		info, err = b.core.StatObject(ctx, b.cfg.Bucket, b.key(h), minio.StatObjectOptions{})
		if err == nil && info.ETag == "" {
			err = errNoETag
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) && !b.met.Load() {
		// An answer to HEAD has no words, and 404 may be about the bucket as well, or even (VersityGW) about the key id. To
		// GET there are words. Once is enough: what follows finds the same bucket with the same key.
		err = b.call(ctx, func(ctx context.Context) error {
			r, size, err := b.get(ctx, h, "", 0, -1)
			if err == nil {
				info.Size = size
				_ = r.Close() // nothing was wanted of it
			}
			return err
		})
		if web.HasCode(err, minio.NoSuchKey) {
			b.met.Store(true)
		}
	}
	if err != nil {
		return 0, err
	}
	if info.Size < 0 {
		return 0, errors.New("the answer does not say the size")
	}
	return info.Size, nil
}
