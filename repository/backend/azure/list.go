package azure

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/internal/place"
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
	prefix := place.Under(b.cfg.Prefix, t.Dir()+"/")
	pages := b.container.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: &prefix})
	for pages.More() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		page, err := pages.NextPage(ctx)
		if err != nil {
			return b.orEmpty(b.explain(ctx, err))
		}
		if page.Segment == nil {
			continue
		}
		for _, item := range page.Segment.BlobItems {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if item.Name == nil {
				return errors.New("the list has a blob without a name")
			}
			h := backend.Handle{Type: t, Name: path.Base(*item.Name)}
			if !backend.ValidName(h.Name) || *item.Name != b.key(h) {
				continue
			}
			if item.Properties == nil || item.Properties.ContentLength == nil || *item.Properties.ContentLength < 0 {
				return fmt.Errorf("%v: the list does not say its size", h)
			}
			if !yield(backend.FileInfo{Handle: h, Size: *item.Properties.ContentLength}, nil) {
				return nil
			}
		}
	}
	return nil
}

// orEmpty drops an error that says that there is nothing to list.
func (b *Backend) orEmpty(err error) error {
	if errors.Is(err, fs.ErrNotExist) && (b.cfg.CreateContainer || !web.HasCode(err, string(bloberror.ContainerNotFound))) {
		return nil
	}
	return err
}
