package repository

import (
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"github.com/escrow-backup/escrow/internal/pack"
)

// FileWriter writes one file. It is used by one goroutine at a time. Blobs are stored in the background, so that the error of
// one may be returned by a later call, at the latest by Close. Close makes the file part of the snapshot; Abort
// drops it, and its name may be created again. A file neither closed nor aborted when fn returns nil is an error of Write.
type FileWriter struct {
	w        *Writer
	name     string
	blobs    content
	content  []ID  // of a closed file
	size     int64 // likewise
	err      error // the file lacks something: it can only be aborted
	ended    bool  // closed or aborted
	complete atomic.Bool
	ready    *node // instead of all that: an entry that AddFS made
}

// Create begins a file. The name is a slash-separated path that fs.ValidPath accepts, directories are made as needed. The
// error wraps fs.ErrExist if there is such a file or directory, or if a file stands where a directory would have to be.
func (w *Writer) Create(name string) (*FileWriter, error) {
	done, err := w.enter()
	if err == nil {
		defer done()
		f := &FileWriter{w: w, name: name, blobs: content{w: w, ctx: w.ctx}}
		if err = w.names.add(f); err == nil {
			return f, nil
		}
	}
	return nil, &fs.PathError{Op: "create", Path: name, Err: err}
}

// Size is the number of bytes written and appended so far.
func (f *FileWriter) Size() int64 { return f.blobs.size + int64(len(f.blobs.buf)) }

// Write appends p, cut into blobs by its content where restic would cut it: equal stretches of files give equal blobs.
func (f *FileWriter) Write(p []byte) (int, error) {
	done, err := f.enter()
	if err != nil {
		return 0, f.error("write", err)
	}
	defer done()
	n, err := f.blobs.write(p)
	return n, f.fail("write", err)
}

// Cut ends the blob here: what follows begins a new one. Without bytes since the last blob it does nothing.
func (f *FileWriter) Cut() error {
	done, err := f.enter()
	if err != nil {
		return f.error("cut", err)
	}
	defer done()
	return f.fail("cut", f.blobs.cut())
}

// Append ends the blob here and appends blobs that HasBlob: ones that a stored file consists of, or that SaveBlob gave. If
// one is missing, none is appended and the error wraps fs.ErrNotExist; the file can be continued.
func (f *FileWriter) Append(ids ...BlobID) error {
	done, err := f.enter()
	if err != nil {
		return f.error("append", err)
	}
	defer done()
	var size int64
	for _, id := range ids {
		n, ok := f.w.size(pack.Data, id)
		if !ok {
			return f.error("append", fmt.Errorf("data blob %v: %w", id, errNoBlob))
		}
		size += n
	}
	if err := f.blobs.cut(); err != nil {
		return f.fail("append", err)
	}
	f.blobs.append(ids, size)
	return nil
}

// Close waits until all blobs are stored or on their way, ends the file and makes it part of the snapshot. After an error
// it is not part of it; abort it then.
func (f *FileWriter) Close() error {
	done, err := f.enter()
	if err != nil {
		return f.error("close", err)
	}
	defer done()
	if f.content, err = f.blobs.finish(); err != nil {
		return f.fail("close", err)
	}
	f.size, f.ended, f.blobs.split = f.blobs.size, true, nil
	f.complete.Store(true)
	return nil
}

// Abort drops the file. After Close or Abort it does nothing and returns an error wrapping ErrClosed.
func (f *FileWriter) Abort() error {
	if f.ended {
		return f.error("abort", ErrClosed)
	}
	f.ended = true
	f.blobs.drop()
	f.w.names.remove(f)
	return nil
}

// enter begins a call that changes the file.
func (f *FileWriter) enter() (func(), error) {
	if f.ended {
		return nil, ErrClosed
	}
	if f.err != nil {
		return nil, fmt.Errorf("an earlier call failed: %w", f.err)
	}
	return f.w.enter()
}

// fail remembers an error after which the file lacks something.
func (f *FileWriter) fail(op string, err error) error {
	if err != nil {
		f.err = err
	}
	return f.error(op, err)
}

func (f *FileWriter) error(op string, err error) error {
	if err == nil {
		return nil
	}
	var pe *fs.PathError
	if errors.As(err, &pe) && pe.Path == f.name {
		return err
	}
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}
