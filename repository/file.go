package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sort"
	"sync"

	"github.com/escrow-backup/escrow/internal/pack"
)

// File is an open file of a snapshot. Besides fs.File it implements io.Seeker, io.ReaderAt and io.WriterTo. Reading in order
// fetches the blobs ahead in parallel. ReadAt may be called concurrently; all methods may.
type File struct {
	fsys *snapshotFS
	name string
	n    *node
	ends []int64 // where each blob ends in the file
	stop context.CancelFunc
	ctx  context.Context // of the reading ahead; fs.File's methods take none

	mu     sync.Mutex
	closed bool
	off    int64
	cur    int            // blob in buf, -1 if none
	buf    []byte         // its text
	spare  []byte         // memory for the next one
	ahead  map[int]*fetch // by blob
	run    sync.WaitGroup
}

// fetch is a blob being read ahead.
type fetch struct {
	done chan struct{}
	p    []byte
	err  error
	size int64 // taken from Repo.ahead
}

// depth is how many blobs of a file are read ahead.
const depth = 3

func (f *snapshotFS) open(n *node, name string) (*File, error) {
	file := &File{fsys: f, name: name, n: n, ends: make([]int64, len(n.Content)), cur: -1, ahead: map[int]*fetch{}}
	end := int64(0)
	for i, id := range n.Content {
		size, ok := f.ix.Load().Size(pack.Data, id)
		if !ok {
			return nil, fmt.Errorf("data blob %v: %w", id, errNoBlob)
		}
		end += int64(size)
		file.ends[i] = end
	}
	if end != n.Size {
		return nil, fmt.Errorf("%w: the tree says %d bytes, the blobs have %d", ErrDamaged, n.Size, end)
	}
	file.ctx, file.stop = context.WithCancel(f.ctx)
	return file, nil
}

// BlobRef is a blob of a file: its id and the length of its text in bytes.
type BlobRef struct {
	ID   BlobID
	Size int64
}

// Blobs gives the blobs that the file consists of, in order.
func (f *File) Blobs() []BlobRef {
	refs := make([]BlobRef, len(f.ends))
	for i, id := range f.n.Content {
		refs[i] = BlobRef{id, f.ends[i] - f.begin(i)}
	}
	return refs
}

// begin is where blob i begins.
func (f *File) begin(i int) int64 {
	if i == 0 {
		return 0
	}
	return f.ends[i-1]
}

// at gives the blob with the byte at off, which is not empty.
func (f *File) at(off int64) int {
	return sort.Search(len(f.ends), func(i int) bool { return f.ends[i] > off })
}

// Stat implements fs.File.
func (f *File) Stat() (fs.FileInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, pathError("stat", f.name, fs.ErrClosed)
	}
	return info{f.n, path.Base(f.name)}, nil
}

// Close ends the reading ahead and waits for it.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return pathError("close", f.name, fs.ErrClosed)
	}
	f.closed = true
	f.forget()
	f.buf, f.spare = nil, nil
	return nil
}

// Read implements io.Reader.
func (f *File) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, pathError("read", f.name, fs.ErrClosed)
	}
	if f.off >= f.n.Size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	rest, err := f.current()
	if err != nil {
		return 0, pathError("read", f.name, err)
	}
	n := copy(p, rest)
	f.off += int64(n)
	return n, nil
}

// WriteTo implements io.WriterTo: it writes blob by blob, from the present offset to the end.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, pathError("read", f.name, fs.ErrClosed)
	}
	written := int64(0)
	for f.off < f.n.Size {
		rest, err := f.current()
		if err != nil {
			return written, pathError("read", f.name, err)
		}
		n, err := w.Write(rest)
		written += int64(n)
		f.off += int64(n)
		if err != nil {
			return written, err
		}
		if n < len(rest) {
			return written, io.ErrShortWrite
		}
	}
	return written, nil
}

// Seek implements io.Seeker.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, pathError("seek", f.name, fs.ErrClosed)
	}
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += f.off
	case io.SeekEnd:
		offset += f.n.Size
	default:
		return 0, pathError("seek", f.name, fs.ErrInvalid)
	}
	if offset < 0 {
		return 0, pathError("seek", f.name, fs.ErrInvalid)
	}
	f.off = offset
	return offset, nil
}

// current gives the rest of the blob at the offset, which lies before the end.
func (f *File) current() ([]byte, error) {
	if i := f.at(f.off); i != f.cur {
		if err := f.advance(i); err != nil {
			return nil, err
		}
	}
	return f.buf[f.off-f.begin(f.cur):], nil
}

// advance makes i the current blob.
func (f *File) advance(i int) error {
	sequential := i == f.cur+1
	if !sequential && f.ahead[i] == nil {
		f.forget()
		f.ctx, f.stop = context.WithCancel(f.fsys.ctx)
	}
	if f.buf != nil {
		f.spare = f.buf
	}
	f.cur, f.buf = -1, nil
	if sequential {
		f.prefetch(i)
	}
	if a := f.ahead[i]; a != nil {
		<-a.done
		delete(f.ahead, i)
		f.fsys.r.ahead.Release(a.size)
		if a.err != nil {
			return a.err
		}
		f.cur, f.buf = i, a.p
		return nil
	}
	p, err := f.fsys.r.loadMoved(f.ctx, &f.fsys.ix, pack.Data, f.n.Content[i], f.takeSpare())
	if err != nil {
		return err
	}
	if int64(len(p)) != f.ends[i]-f.begin(i) {
		return ErrDamaged
	}
	f.cur, f.buf = i, p
	return nil
}

// takeSpare gives the memory of a text that is no longer needed, if there is any.
func (f *File) takeSpare() []byte {
	buf := f.spare
	f.spare = nil
	return buf
}

// prefetch begins to read the blobs behind i, as far as memory allows.
func (f *File) prefetch(i int) {
	for j := i + 1; j < len(f.ends) && j <= i+depth; j++ {
		// The sealed form and the text.
		size := 2 * (f.ends[j] - f.begin(j))
		if f.ahead[j] != nil {
			continue
		}
		if !f.fsys.r.ahead.TryAcquire(size) {
			return
		}
		a := &fetch{done: make(chan struct{}), size: size}
		f.ahead[j] = a
		buf := f.takeSpare()
		f.run.Go(func() {
			defer close(a.done)
			a.p, a.err = f.fsys.r.loadMoved(f.ctx, &f.fsys.ix, pack.Data, f.n.Content[j], buf)
			if a.err == nil && int64(len(a.p)) != f.ends[j]-f.begin(j) {
				a.err = ErrDamaged
			}
		})
	}
}

// forget ends the reading ahead.
func (f *File) forget() {
	f.stop()
	f.run.Wait()
	for i, a := range f.ahead {
		f.fsys.r.ahead.Release(a.size)
		delete(f.ahead, i)
	}
}

// ReadAt implements io.ReaderAt. It keeps the blobs last used in a small cache, which all files of the snapshot share.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	closed := f.closed
	f.mu.Unlock()
	switch {
	case closed:
		return 0, pathError("read", f.name, fs.ErrClosed)
	case off < 0:
		return 0, pathError("read", f.name, errors.New("negative offset"))
	}
	n := 0
	for n < len(p) && off < f.n.Size {
		i := f.at(off)
		b, err := f.fsys.blob(f.n.Content[i])
		if err == nil && int64(len(b)) != f.ends[i]-f.begin(i) {
			err = ErrDamaged
		}
		if err != nil {
			return n, pathError("read", f.name, err)
		}
		k := copy(p[n:], b[off-f.begin(i):])
		n += k
		off += int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
