package repository

import (
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"github.com/escrow-backup/escrow/internal/chunker"
	"github.com/escrow-backup/escrow/internal/pack"
)

// FileWriter writes one file. It is used by one goroutine at a time. Close makes the file part of the snapshot; Abort
// drops it, and its name may be created again. A file neither closed nor aborted when fn returns nil is an error of Write.
type FileWriter struct {
	w        *Writer
	name     string
	split    *chunker.Splitter
	buf      *[]byte // the blob so far, nil while there is none
	content  []ID
	size     int64
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
		f := &FileWriter{w: w, name: name}
		if err = w.names.add(f); err == nil {
			return f, nil
		}
	}
	return nil, &fs.PathError{Op: "create", Path: name, Err: err}
}

// Size is the number of bytes written and appended so far.
func (f *FileWriter) Size() int64 {
	if f.buf != nil {
		return f.size + int64(len(*f.buf))
	}
	return f.size
}

// Write appends p, cut into blobs by its content where restic would cut it: equal stretches of files give equal blobs.
func (f *FileWriter) Write(p []byte) (int, error) {
	done, err := f.enter()
	if err != nil {
		return 0, f.error("write", err)
	}
	defer done()
	if f.split == nil {
		f.split = f.w.r.splitter()
	}
	written := 0
	for len(p) > 0 {
		n, cut := f.split.Next(p)
		if err := f.add(p[:n], cut); err != nil {
			f.err = err
			return written, f.error("write", err)
		}
		written += n
		p = p[n:]
	}
	return written, nil
}

// add appends p to the blob, and saves that if cut.
func (f *FileWriter) add(p []byte, cut bool) error {
	if cut && f.buf == nil {
		return f.save(p)
	}
	if f.buf == nil {
		f.buf, _ = f.w.bufs.Get().(*[]byte)
		if f.buf == nil {
			f.buf = new([]byte)
		}
	}
	*f.buf = append(*f.buf, p...)
	if cut {
		return f.flush()
	}
	return nil
}

// flush saves the blob so far.
func (f *FileWriter) flush() error {
	if f.buf == nil {
		return nil
	}
	err := f.save(*f.buf)
	f.drop()
	return err
}

// drop gives the buffer back.
func (f *FileWriter) drop() {
	if f.buf != nil {
		*f.buf = (*f.buf)[:0]
		f.w.bufs.Put(f.buf)
		f.buf = nil
	}
}

func (f *FileWriter) save(p []byte) error {
	id, err := f.w.save(f.w.ctx, pack.Data, p)
	if err != nil {
		return err
	}
	f.content = append(f.content, id)
	f.size += int64(len(p))
	return nil
}

// Cut ends the blob here: what follows begins a new one. Without bytes since the last blob it does nothing.
func (f *FileWriter) Cut() error {
	done, err := f.enter()
	if err != nil {
		return f.error("cut", err)
	}
	defer done()
	return f.error("cut", f.cut())
}

func (f *FileWriter) cut() error {
	if err := f.flush(); err != nil {
		f.err = err
		return err
	}
	if f.split != nil {
		f.split.Reset()
	}
	return nil
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
	if err := f.cut(); err != nil {
		return f.error("append", err)
	}
	f.content = append(f.content, ids...)
	f.size += size
	return nil
}

// Close ends the file and makes it part of the snapshot. After an error it is not part of it; abort it then.
func (f *FileWriter) Close() error {
	done, err := f.enter()
	if err != nil {
		return f.error("close", err)
	}
	defer done()
	if err := f.cut(); err != nil {
		return f.error("close", err)
	}
	f.ended, f.split = true, nil
	f.complete.Store(true)
	return nil
}

// Abort drops the file. After Close or Abort it does nothing and returns an error wrapping ErrClosed.
func (f *FileWriter) Abort() error {
	if f.ended {
		return f.error("abort", ErrClosed)
	}
	f.ended = true
	f.drop()
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
