package repository

import (
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// DirFS is a directory of this machine, for AddFS: unlike os.DirFS it gives extended attributes, and takes names that are not
// UTF-8. No name and no link leads out of it.
type DirFS struct{ root *os.Root }

// OpenDirFS opens a directory. The caller closes it.
func OpenDirFS(dir string) (*DirFS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &DirFS{root}, nil
}

// Close releases the directory.
func (d *DirFS) Close() error { return d.root.Close() }

// Open implements fs.FS. It does not wait for the other end of a pipe.
func (d *DirFS) Open(name string) (fs.File, error) {
	return d.root.OpenFile(name, os.O_RDONLY|openNoWait, 0)
}

// Lstat implements fs.ReadLinkFS.
func (d *DirFS) Lstat(name string) (fs.FileInfo, error) { return d.root.Lstat(name) }

// Stat implements fs.StatFS.
func (d *DirFS) Stat(name string) (fs.FileInfo, error) { return d.root.Stat(name) }

// ReadLink implements fs.ReadLinkFS.
func (d *DirFS) ReadLink(name string) (string, error) { return d.root.Readlink(name) }

// ReadDir implements fs.ReadDirFS.
func (d *DirFS) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	entries, err := f.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for i, e := range entries {
		// Those of package os look by a path that begins with the root's, which may have been renamed since.
		entries[i] = dirEntry{e, d, path.Join(name, e.Name())}
	}
	return entries, err
}

type dirEntry struct {
	fs.DirEntry
	d    *DirFS
	name string
}

func (e dirEntry) Info() (fs.FileInfo, error) { return e.d.root.Lstat(e.name) }

// Xattrs implements XattrFS.
func (d *DirFS) Xattrs(name string) ([]Xattr, error) {
	dir, err := d.root.Open(path.Dir(name))
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }() // read only
	all, err := readXattrs(dir, path.Base(name))
	if err != nil {
		return nil, pathError("xattrs", name, err)
	}
	return all, nil
}
