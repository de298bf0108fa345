package elasticdump

import (
	"bytes"
	"io"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/escrow-backup/escrow/layout"
)

// Open implements fs.FS.
func (v *view) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if f := v.files[name]; f != nil {
		in := info{path.Base(name), f.size, v.time, false}
		if f.docs == nil {
			return &opened{info: in, Reader: bytes.NewReader(f.data)}, nil
		}
		d := &docReader{v: v, f: f}
		d.next, d.stop = iter.Pull2(v.all(f))
		return &opened{info: in, Reader: d, stop: d.stop}, nil
	}
	entries := v.below(name)
	if len(entries) == 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &openDir{opened{info: info{path.Base(name), 0, v.time, true}}, name, entries}, nil
}

// below lists a directory.
func (v *view) below(dir string) []fs.DirEntry {
	prefix := dir + "/"
	if dir == "." {
		prefix = ""
	}
	found := map[string]info{}
	for name, f := range v.files {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		child, _, more := strings.Cut(rest, "/")
		if found[child] = (info{child, f.size, v.time, more}); more {
			found[child] = info{child, 0, v.time, true}
		}
	}
	var list []fs.DirEntry
	for _, in := range found {
		list = append(list, fs.FileInfoToDirEntry(in))
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list
}

// all reads the documents of a file.
func (v *view) all(f *file) iter.Seq2[layout.Document, error] {
	return func(yield func(layout.Document, error) bool) {
		for _, name := range f.docs {
			for d, err := range documents(v.ctx, v.src, name, f.index) {
				if !yield(d, err) || err != nil {
					return
				}
			}
		}
	}
}

// docReader gives documents in their two lines.
type docReader struct {
	v    *view
	f    *file
	next func() (layout.Document, error, bool)
	stop func()
	left []byte
	buf  []byte
	err  error
}

func (r *docReader) Read(p []byte) (int, error) {
	for len(r.left) == 0 && r.err == nil {
		d, err, ok := r.next()
		if !ok {
			err = io.EOF
		}
		if err == nil {
			r.buf, err = d.AppendLines(r.buf[:0])
			r.left = r.buf
		}
		r.err = err
	}
	if len(r.left) == 0 && len(p) > 0 {
		return 0, r.err
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

type opened struct {
	io.Reader
	info info
	stop func()
}

func (o *opened) Stat() (fs.FileInfo, error) { return o.info, nil }

func (o *opened) Close() error {
	if o.stop != nil {
		o.stop()
	}
	return nil
}

type openDir struct {
	opened
	name string
	left []fs.DirEntry
}

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: fs.ErrInvalid}
}

// ReadDir implements fs.ReadDirFile.
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 || n > len(d.left) {
		if n > 0 && len(d.left) == 0 {
			return nil, io.EOF
		}
		n = len(d.left)
	}
	list := d.left[:n]
	d.left = d.left[n:]
	return list, nil
}

// info describes a file or directory.
type info struct {
	name string
	size int64
	time time.Time
	dir  bool
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return i.time }
func (i info) IsDir() bool        { return i.dir }
func (i info) Sys() any           { return nil }
func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o500
	}
	return 0o400
}
