package s3

import (
	"context"
	"errors"
	"io/fs"

	"github.com/minio/minio-go/v7"

	"github.com/escrow-backup/escrow/repository/backend"
)

// Remove implements [backend.Backend]. What becomes of versions is in the package's comment.
func (b *Backend) Remove(ctx context.Context, h backend.Handle) error {
	return fail("remove", h, b.remove(ctx, h))
}

func (b *Backend) remove(ctx context.Context, h backend.Handle) error {
	// S3 reports success for what was never there.
	if _, err := b.stat(ctx, h); err != nil {
		return err
	}
	if !b.cfg.DeleteVersions {
		return b.delete(ctx, h, "")
	}
	var versions []string
	err := b.objects(ctx, minio.ListObjectsOptions{Prefix: b.key(h), Recursive: true, WithVersions: true},
		func(o minio.ObjectInfo) (bool, error) {
			if o.Key == b.key(h) {
				versions = append(versions, o.VersionID)
			}
			return true, nil
		})
	if err != nil {
		return err
	}
	if len(versions) == 0 {
		return fs.ErrNotExist // removed since the look
	}
	// The list has the newest version first. It goes last: until then the file is there.
	for i := len(versions) - 1; i >= 0; i-- {
		if err := b.delete(ctx, h, versions[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (b *Backend) delete(ctx context.Context, h backend.Handle, version string) error {
	return b.call(ctx, func(ctx context.Context) error {
		return b.core.RemoveObject(ctx, b.cfg.Bucket, b.key(h), minio.RemoveObjectOptions{VersionID: version})
	})
}
