package gcs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"path"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/internal/place"
	"github.com/escrow-backup/escrow/repository/backend/web"
)

// objectInfo is what the JSON API says about an object. Numbers are strings there.
type objectInfo struct {
	Name       string `json:"name"`
	Size       int64  `json:"size,string"`
	MD5        string `json:"md5Hash"`
	Generation string `json:"generation"`
}

// listPage is a part of a list.
type listPage struct {
	NextPageToken string
	Items         []objectInfo
}

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
	q := url.Values{"prefix": {place.Under(b.cfg.Prefix, t.Dir()+"/")}, "fields": {"nextPageToken,items(name,size)"}}
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var page listPage
		if err := b.ask(ctx, http.MethodGet, b.objects("")+"?"+q.Encode(), nil, 0, &page); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				err = b.missingBucket(err)
			}
			return b.orEmpty(err)
		}
		b.met.Store(true)
		for _, o := range page.Items {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			h := backend.Handle{Type: t, Name: path.Base(o.Name)}
			if !backend.ValidName(h.Name) || o.Name != b.key(h) {
				continue
			}
			if o.Size < 0 {
				return fmt.Errorf("%v: the list says it has %d bytes", h, o.Size)
			}
			if !yield(backend.FileInfo{Handle: h, Size: o.Size}, nil) {
				return nil
			}
		}
		if page.NextPageToken == "" {
			return nil
		}
		if page.NextPageToken == q.Get("pageToken") {
			return errors.New("the list does not go on: the server gives the same page again")
		}
		q.Set("pageToken", page.NextPageToken)
	}
}

// orEmpty drops an error that says that there is nothing to list.
func (b *Backend) orEmpty(err error) error {
	if errors.Is(err, fs.ErrNotExist) && (b.cfg.CreateBucket || !web.HasCode(err, bucketMissing)) {
		return nil
	}
	return err
}
