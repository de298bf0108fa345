package swift

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"path"

	"github.com/escrow-backup/escrow/repository/backend"
)

// object is an entry of the list of a container. What is no object, a "subdir", has no name.
type object struct {
	Name  string
	Bytes *int64
}

// List implements [backend.Backend]. The list comes in pages of some thousand files, each of which is read as a whole before its
// first file is yielded, so that the calls made meanwhile find a free connection.
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
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !t.Valid() {
		return fmt.Errorf("%v: %w", t, fs.ErrInvalid)
	}
	if t == backend.Config {
		h := backend.Handle{Type: t}
		size, err := b.size(ctx, h)
		if err == nil {
			yield(backend.FileInfo{Handle: h, Size: size}, nil)
		}
		return orEmpty(err)
	}
	// How many a page has is the server's to decide: only one without any is the last.
	for last := ""; ; {
		objects, err := b.page(ctx, b.under(t.Dir()+"/"), last)
		if last == "" {
			err = orEmpty(err) // but a container that goes while it is listed is no end
		}
		if err != nil || len(objects) == 0 {
			return err
		}
		for _, o := range objects {
			if o.Name <= last {
				return fmt.Errorf("the list is not in order: %q comes after %q", o.Name, last)
			}
			last = o.Name
			h := backend.Handle{Type: t, Name: path.Base(o.Name)}
			if !backend.ValidName(h.Name) || o.Name != b.name(h) {
				continue
			}
			if o.Bytes == nil || *o.Bytes < 0 {
				return fmt.Errorf("%v: the server does not say its size", h)
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if !yield(backend.FileInfo{Handle: h, Size: *o.Bytes}, nil) {
				return nil
			}
		}
	}
}

// orEmpty drops an error that says that there is nothing to list.
func orEmpty(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// page returns the objects that come after marker.
func (b *Backend) page(ctx context.Context, prefix, marker string) ([]object, error) {
	q := url.Values{"format": {"json"}, "prefix": {prefix}}
	if marker != "" {
		q.Set("marker", marker)
	}
	resp, err := b.do(ctx, request{method: http.MethodGet, path: b.path(""), query: "?" + q.Encode()})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	if resp.StatusCode == http.StatusNoContent {
		return nil, nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("the list of the container: %w", err)
	}
	var objects []object
	if err := json.Unmarshal(body, &objects); err != nil {
		return nil, fmt.Errorf("the list of the container: %w", err)
	}
	return objects, nil
}
