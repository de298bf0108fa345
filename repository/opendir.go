package repository

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"sync"
)

var errIsDir = errors.New("is a directory")

// openDir implements fs.ReadDirFile.
type openDir struct {
	fsys *snapshotFS
	name string
	n    *node

	mu     sync.Mutex
	read   bool
	rest   []fs.DirEntry
	closed bool
}

func (d *openDir) Stat() (fs.FileInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, pathError("stat", d.name, fs.ErrClosed)
	}
	return info{d.n, path.Base(d.name)}, nil
}

func (d *openDir) Read([]byte) (int, error) { return 0, pathError("read", d.name, errIsDir) }

func (d *openDir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return pathError("close", d.name, fs.ErrClosed)
	}
	d.closed = true
	return nil
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, pathError("readdir", d.name, fs.ErrClosed)
	}
	if !d.read {
		entries, err := d.fsys.entries(d.n)
		if err != nil {
			return nil, pathError("readdir", d.name, err)
		}
		d.rest, d.read = entries, true
	}
	if n <= 0 {
		n = len(d.rest)
	} else if len(d.rest) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.rest))
	entries := d.rest[:n:n]
	d.rest = d.rest[n:]
	return entries, nil
}
