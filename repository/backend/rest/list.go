package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"

	"github.com/escrow-backup/escrow/repository/backend"
)

// List implements [backend.Backend]. The server's list is read as a whole before the first file is yielded, so that the calls
// made meanwhile find a free connection.
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
	files := []backend.FileInfo{{Handle: backend.Handle{Type: t}, Size: -1}}
	if t != backend.Config {
		var err error
		if files, err = b.names(ctx, t); err != nil {
			return err
		}
	}
	for _, fi := range files {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if fi.Size < 0 {
			var err error
			fi.Size, err = b.size(ctx, fi.Handle)
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed since it was listed
			}
			if err != nil {
				return err
			}
		}
		if !yield(fi, nil) {
			return nil
		}
	}
	return nil
}

// names asks for the files of a type. Those of version 1 have the size -1.
func (b *Backend) names(ctx context.Context, t backend.FileType) ([]backend.FileInfo, error) {
	resp, err := b.request(ctx, http.MethodGet, b.base.JoinPath(t.Dir()+"/").String(), nil, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	files, err := decode(resp.Body, t)
	if err := errors.Join(err, drain(resp)); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("the list that %s sends: %w", b.place, err)
	}
	return files, nil
}

// decode reads a JSON array of names (version 1) or of objects with name and size (version 2). A list that ends early is an
// error wrapping io.ErrUnexpectedEOF.
func decode(r io.Reader, t backend.FileType) ([]backend.FileInfo, error) {
	d := json.NewDecoder(r)
	switch begin, err := d.Token(); {
	case err == nil && begin == nil:
		return nil, nil // null: how some servers write a list of nothing
	case err != nil:
		return nil, whole(err)
	case begin != json.Delim('['):
		return nil, fmt.Errorf("it begins with %v", begin)
	}
	var files []backend.FileInfo
	seen := map[string]bool{}
	for d.More() {
		var e entry
		if err := d.Decode(&e); err != nil {
			return nil, whole(err)
		}
		if !backend.ValidName(e.Name) || seen[e.Name] {
			continue
		}
		seen[e.Name] = true
		fi := backend.FileInfo{Handle: backend.Handle{Type: t, Name: e.Name}, Size: -1}
		if e.Size != nil {
			if fi.Size = *e.Size; fi.Size < 0 {
				return nil, fmt.Errorf("%v has %d bytes", fi.Handle, fi.Size)
			}
		}
		files = append(files, fi)
	}
	if _, err := d.Token(); err != nil { // the closing bracket
		return nil, whole(err)
	}
	return files, nil
}

func whole(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// entry is one file in a list of either version.
type entry struct {
	Name string
	Size *int64
}

// UnmarshalJSON takes a string or an object.
func (e *entry) UnmarshalJSON(p []byte) error {
	if len(p) > 0 && p[0] == '"' {
		return json.Unmarshal(p, &e.Name)
	}
	type object entry
	return json.Unmarshal(p, (*object)(e))
}
