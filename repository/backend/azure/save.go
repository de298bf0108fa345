package azure

import (
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"io/fs"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/internal/exact"
	"github.com/escrow-backup/escrow/repository/backend/web"
)

// maxPut is the most that Azure takes in one Put Blob, in bytes.
const maxPut = 5000 << 20

// Save implements [backend.Backend]. A file of more than 5,000 MiB is an error wrapping fs.ErrInvalid.
func (b *Backend) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	return fail("save", h, b.save(ctx, h, body, size))
}

func (b *Backend) save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	if size > maxPut {
		return fmt.Errorf("%d bytes are more than Azure takes in one request, %d: %w", size, int64(maxPut), fs.ErrInvalid)
	}
	if err := b.check(ctx, h); err != nil {
		return err
	}
	// The first of two passes over the body also finds a body that is short or cannot be read, before anything is sent.
	sum := md5.New()
	if err := exact.Copy(ctx, sum, backend.Unpaced(body), size); err != nil {
		return err
	}
	err := b.put(ctx, h, body, size, sum.Sum(nil))
	if b.cfg.CreateContainer && web.HasCode(err, string(bloberror.ContainerNotFound)) {
		if err := b.create(ctx); err != nil {
			return fmt.Errorf("create container %q: %w", b.cfg.Container, err)
		}
		err = b.put(ctx, h, body, size, sum.Sum(nil))
	}
	return err
}

func (b *Backend) put(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64, md5 []byte) error {
	o := &blockblob.UploadOptions{
		HTTPHeaders:             &blob.HTTPHeaders{BlobContentType: to.Ptr("application/octet-stream")},
		TransactionalValidation: blob.TransferValidationTypeMD5(md5),
		AccessConditions:        &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)}},
	}
	if h.Type == backend.Pack {
		o.Tier = b.tier
	}
	r := exact.NewBody(ctx, body, size)
	_, err := b.container.NewBlockBlobClient(b.key(h)).Upload(ctx, streaming.NopCloser(r), o)
	if bodyErr := r.Stop(); err != nil && bodyErr != nil && ctx.Err() == nil {
		return bodyErr
	}
	return b.explain(ctx, err)
}

// create makes the container. Whoever else creates it at the same time does no harm.
func (b *Backend) create(ctx context.Context) error {
	_, err := b.container.Create(ctx, nil)
	if err = b.explain(ctx, err); web.HasCode(err, string(bloberror.ContainerAlreadyExists)) {
		return nil
	}
	return err
}
