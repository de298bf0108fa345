package s3

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/minio/minio-go/v7"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/internal/exact"
	"github.com/escrow-backup/escrow/repository/backend/web"
)

// maxPut is the most that S3 takes in one PUT. A pack is a few thousandths of it.
const maxPut = 5 << 30

// Save implements [backend.Backend]. A file of more than 5 GiB is an error wrapping fs.ErrInvalid.
func (b *Backend) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	return fail("save", h, b.save(ctx, h, body, size))
}

func (b *Backend) save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	if size > maxPut {
		return fmt.Errorf("%d bytes are more than S3 takes in one request, %d: %w", size, int64(maxPut), fs.ErrInvalid)
	}
	if err := b.check(ctx, h); err != nil {
		return err
	}
	done, err := b.alone(ctx, h)
	if err != nil {
		return err
	}
	defer done()
	if err := b.absent(ctx, h); err != nil {
		return err
	}
	// The first of two passes over the body also finds a body that is short or cannot be read, before anything is sent.
	sum := md5.New()
	if err := exact.Copy(ctx, sum, backend.Unpaced(body), size); err != nil {
		return err
	}
	condition := !b.noCondition.Load()
	put := func() error {
		return b.put(ctx, h, body, size, base64.StdEncoding.EncodeToString(sum.Sum(nil)), condition)
	}
	err = put()
	if b.cfg.CreateBucket && web.HasCode(err, minio.NoSuchBucket) {
		if err := b.makeBucket(ctx); err != nil {
			return fmt.Errorf("create bucket %q: %w", b.cfg.Bucket, err)
		}
		err = put()
	}
	if condition && web.HasCode(err, minio.NotImplemented, minio.APINotSupported) {
		b.noCondition.Store(true)
		condition = false
		err = put()
	}
	if web.HasCode(err, minio.Conflict, "ConditionalRequestConflict") {
		// Somebody else is saving or removing the same file. Which of them came first only the bucket knows.
		if absent := b.absent(ctx, h); absent != nil {
			err = absent
		}
	}
	return err
}

// alone waits until no other Save of h is under way. Between the look and the PUT there is a gap where the server knows no
// conditions: so at least the calls of one process never meet in it.
func (b *Backend) alone(ctx context.Context, h backend.Handle) (done func(), err error) {
	for {
		b.mu.Lock()
		other, busy := b.saving[h]
		if !busy {
			mine := make(chan struct{})
			b.saving[h] = mine
			b.mu.Unlock()
			return func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				delete(b.saving, h)
				close(mine)
			}, nil
		}
		b.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// absent returns nil if there is no h, and an error wrapping fs.ErrExist if there is.
func (b *Backend) absent(ctx context.Context, h backend.Handle) error {
	_, err := b.stat(ctx, h)
	switch {
	case err == nil:
		return fs.ErrExist
	case web.HasCode(err, minio.NoSuchBucket) && !b.cfg.CreateBucket:
		return err
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

func (b *Backend) put(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64, md5 string, condition bool) error {
	// MD5 is a signed header, so it also binds the body to the signature: a second checksum of it for the signature alone, which
	// minio-go would compute for servers without TLS, adds nothing.
	o := minio.PutObjectOptions{ContentType: "application/octet-stream", DisableContentSha256: true}
	if h.Type == backend.Pack {
		o.StorageClass = b.class
	}
	if condition {
		o.SetMatchETagExcept("*")
	}
	return b.call(ctx, func(ctx context.Context) error {
		r := exact.NewBody(ctx, body, size)
		// A body that can seek would make minio-go retry in some cases.
		info, err := b.core.PutObject(ctx, b.cfg.Bucket, b.key(h), struct{ io.Reader }{r}, size, md5, "", o)
		if bodyErr := r.Stop(); err != nil && bodyErr != nil {
			return bodyErr
		}
		if err == nil && info.ETag == "" {
			err = errNoETag
		}
		return err
	})
}

// errNoETag is said of a success that only something else than S3 can have reported.
var errNoETag = errors.New("an answer without an ETag is not one of S3")

// makeBucket creates the bucket. Whoever else creates it at the same time does no harm.
func (b *Backend) makeBucket(ctx context.Context) error {
	err := b.call(ctx, func(ctx context.Context) error {
		return b.core.MakeBucket(ctx, b.cfg.Bucket, minio.MakeBucketOptions{Region: b.region})
	})
	if web.HasCode(err, "BucketAlreadyOwnedByYou") {
		return nil
	}
	return err
}
