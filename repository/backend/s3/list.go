package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"

	"github.com/minio/minio-go/v7"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/web"
)

// List implements [backend.Backend]. A file that is saved or removed while the list runs may or may not be in it.
func (b *Backend) List(ctx context.Context, t backend.FileType) iter.Seq2[backend.FileInfo, error] {
	return func(yield func(backend.FileInfo, error) bool) {
		if err := b.list(ctx, t, yield); err != nil {
			yield(backend.FileInfo{}, fail("list", backend.Handle{Type: t}, err))
		}
	}
}

// list returns nil when it is done or yield said to stop.
func (b *Backend) list(ctx context.Context, t backend.FileType, yield func(backend.FileInfo, error) bool) error {
	if b.closed.Load() {
		return fs.ErrClosed
	}
	if !t.Valid() {
		return fmt.Errorf("%v: %w", t, fs.ErrInvalid)
	}
	if t == backend.Config {
		h := backend.Handle{Type: t}
		size, err := b.stat(ctx, h)
		if err == nil {
			yield(backend.FileInfo{Handle: h, Size: size}, nil)
		}
		return b.orEmpty(err)
	}
	err := b.objects(ctx, minio.ListObjectsOptions{Prefix: b.under(t.Dir() + "/"), Recursive: true, UseV1: b.cfg.ListV1},
		func(o minio.ObjectInfo) (bool, error) {
			h := backend.Handle{Type: t, Name: path.Base(o.Key)}
			if !backend.ValidName(h.Name) || o.Key != b.key(h) {
				return true, nil
			}
			if o.Size < 0 {
				return false, fmt.Errorf("%v: the server says it has %d bytes", h, o.Size)
			}
			return yield(backend.FileInfo{Handle: h, Size: o.Size}, nil), nil
		})
	return b.orEmpty(err)
}

// orEmpty drops an error that says that there is nothing to list.
func (b *Backend) orEmpty(err error) error {
	if errors.Is(err, fs.ErrNotExist) && (b.cfg.CreateBucket || !web.HasCode(err, minio.NoSuchBucket)) {
		return nil
	}
	return err
}

// objects calls fn for each object that o asks for until it returns false or an error.
func (b *Backend) objects(ctx context.Context, o minio.ListObjectsOptions, fn func(minio.ObjectInfo) (bool, error)) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	no := false
	o.FetchOwner = &no
	var listErr, fnErr error
	started := false
	err := b.call(ctx, func(ctx context.Context) error {
		if started {
			return listErr // what fn has had must not come again
		}
		for info := range b.core.ListObjectsIter(ctx, b.cfg.Bucket, o) {
			if info.Err != nil {
				listErr = info.Err
				return listErr
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			started = true
			var more bool
			if more, fnErr = fn(info); !more || fnErr != nil {
				return nil
			}
		}
		return ctx.Err() // the iterator of minio-go ends without a word
	})
	return errors.Join(fnErr, err)
}
