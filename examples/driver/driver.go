// Package driver is an example of a storage driver that is not part of escrow: it keeps a whole repository in one file, a database of
// bbolt. It uses nothing of escrow but package backend, and one line of its tests shows that it keeps the contract.
//
//	var m backend.Mux
//	m.Handle("bolt", driver.Opener)
//	b, err := m.Open(ctx, "bolt:/srv/backups.db", nil)
package driver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/escrow-backup/escrow/repository/backend"
)

// lockTimeout is how long Open waits for another process that has the file open.
const lockTimeout = 10 * time.Second

// step is how much of a body is read between two looks at the context.
const step = 1 << 20

// Backend is a repository in a file of bbolt. A file in the repository is a value there, under its name, in a bucket for its type.
// It is held in memory as a whole while it is saved or loaded: a pack has 16 to 20 MiB.
type Backend struct {
	db   *bbolt.DB
	once sync.Once
}

var _ backend.Backend = (*Backend)(nil)

// Open opens the file at path, and creates it if it is missing. One process at a time can have it open.
func Open(path string) (*Backend, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout})
	if err != nil {
		return nil, fmt.Errorf("open bolt %s: %w", path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, t := range backend.FileTypes {
			if _, err := tx.CreateBucketIfNotExists([]byte(t.String())); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open bolt %s: %w", path, err), db.Close())
	}
	return &Backend{db: db}, nil
}

// Opener is the [backend.Opener] of this driver. The location is the path of the file.
func Opener(ctx context.Context, location string, _ *backend.Settings) (backend.Backend, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("open bolt %s: %w", location, context.Cause(ctx))
	}
	b, err := Open(location)
	if err != nil {
		return nil, err // not b: a nil *Backend would make a Backend that is not nil
	}
	return b, nil
}

// where is the bucket and the key of a file. A key must not be empty, so the config, which has no name, gets one.
func where(tx *bbolt.Tx, h backend.Handle) (*bbolt.Bucket, []byte) {
	name := h.Name
	if h.Type == backend.Config {
		name = "config"
	}
	return tx.Bucket([]byte(h.Type.String())), []byte(name)
}

// check is what every call starts with.
func check(ctx context.Context, h backend.Handle) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return h.Valid()
}

// fail wraps what went wrong; nil stays nil.
func fail(op string, h backend.Handle, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		err = fs.ErrClosed
	}
	return &backend.Error{Op: op, Handle: h, Err: err}
}

// Save implements [backend.Backend]. A transaction of bbolt is on the disk, or it never was.
func (b *Backend) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	if err := check(ctx, h); err != nil {
		return fail("save", h, err)
	}
	content, err := read(ctx, body, size)
	if err != nil {
		return fail("save", h, err)
	}
	// Calls that come at the same time share a transaction, and its fsync.
	return fail("save", h, b.db.Batch(func(tx *bbolt.Tx) error {
		bucket, key := where(tx, h)
		if bucket.Get(key) != nil {
			return fs.ErrExist
		}
		return bucket.Put(key, content)
	}))
}

// read returns the first size bytes of body.
func read(ctx context.Context, body io.ReaderAt, size int64) ([]byte, error) {
	if size < 0 || size > bbolt.MaxValueSize {
		return nil, fmt.Errorf("size %d: %w", size, fs.ErrInvalid)
	}
	content := make([]byte, size)
	for off := int64(0); off < size; off += step {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		p := content[off:min(off+step, size)]
		n, err := body.ReadAt(p, off)
		if n == len(p) {
			continue
		}
		if err == nil || errors.Is(err, io.EOF) {
			err = fmt.Errorf("body has %d bytes, not %d: %w", off+int64(n), size, io.ErrUnexpectedEOF)
		}
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return content, nil
}

// Load implements [backend.Backend]. The range is copied: what bbolt shows is gone when the transaction ends, and a
// transaction that waits for a slow reader would keep others from writing.
func (b *Backend) Load(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	var data []byte
	err := b.view(ctx, h, func(content []byte) error {
		size := int64(len(content))
		if off < 0 {
			return fmt.Errorf("offset %d: %w", off, fs.ErrInvalid)
		}
		if n < 0 {
			n = max(size-off, 0)
		}
		if off > size || n > size-off {
			return fmt.Errorf("%d bytes from %d of %d: %w", n, off, size, io.ErrUnexpectedEOF)
		}
		data = bytes.Clone(content[off : off+n])
		return nil
	})
	if err != nil {
		return nil, fail("load", h, err)
	}
	return io.NopCloser(&reader{ctx, bytes.NewReader(data)}), nil
}

// reader fails once its context has ended.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

// view calls fn with the content of a file, which must not be kept.
func (b *Backend) view(ctx context.Context, h backend.Handle, fn func(content []byte) error) error {
	if err := check(ctx, h); err != nil {
		return err
	}
	return b.db.View(func(tx *bbolt.Tx) error {
		bucket, key := where(tx, h)
		content := bucket.Get(key)
		if content == nil {
			return fs.ErrNotExist
		}
		return fn(content)
	})
}

// Stat implements [backend.Backend].
func (b *Backend) Stat(ctx context.Context, h backend.Handle) (backend.FileInfo, error) {
	fi := backend.FileInfo{Handle: h}
	err := b.view(ctx, h, func(content []byte) error {
		fi.Size = int64(len(content))
		return nil
	})
	if err != nil {
		return backend.FileInfo{}, fail("stat", h, err)
	}
	return fi, nil
}

// List implements [backend.Backend]: the files as they were when the iteration began.
func (b *Backend) List(ctx context.Context, t backend.FileType) iter.Seq2[backend.FileInfo, error] {
	return func(yield func(backend.FileInfo, error) bool) {
		infos, err := b.infos(t)
		for _, fi := range infos {
			if ctx.Err() != nil || !yield(fi, nil) {
				break
			}
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			yield(backend.FileInfo{}, fail("list", backend.Handle{Type: t}, err))
		}
	}
}

func (b *Backend) infos(t backend.FileType) (infos []backend.FileInfo, err error) {
	if !t.Valid() {
		return nil, fmt.Errorf("%v: %w", t, fs.ErrInvalid)
	}
	err = b.db.View(func(tx *bbolt.Tx) error {
		bucket, _ := where(tx, backend.Handle{Type: t})
		return bucket.ForEach(func(key, content []byte) error {
			h := backend.Handle{Type: t, Name: string(key)}
			if t == backend.Config {
				h.Name = ""
			}
			if h.Valid() == nil {
				infos = append(infos, backend.FileInfo{Handle: h, Size: int64(len(content))})
			}
			return nil
		})
	})
	return infos, err
}

// Remove implements [backend.Backend]. The database reuses the space and does not get smaller.
func (b *Backend) Remove(ctx context.Context, h backend.Handle) error {
	err := check(ctx, h)
	if err == nil {
		err = b.db.Batch(func(tx *bbolt.Tx) error {
			bucket, key := where(tx, h)
			if bucket.Get(key) == nil {
				return fs.ErrNotExist
			}
			return bucket.Delete(key)
		})
	}
	return fail("remove", h, err)
}

// Close implements [backend.Backend]. Closing twice is an error wrapping fs.ErrClosed.
func (b *Backend) Close() error {
	err := fmt.Errorf("close bolt: %w", fs.ErrClosed)
	b.once.Do(func() { err = b.db.Close() })
	return err
}
