package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
)

// Dir is a Target that writes into a directory, which must be empty or not exist. A file gets its name when it is
// complete and on the disk. What Dump wrote is read back with os.DirFS.
func Dir(dir string) (*DirTarget, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("dump into %s: %w", dir, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("dump into %s: %w", dir, err)
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("dump into %s: it is not empty: %w", dir, fs.ErrExist)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("dump into %s: %w", dir, err)
	}
	return &DirTarget{root: root}, nil
}

// DirTarget is what Dir returns.
type DirTarget struct{ root *os.Root }

// Close releases the directory.
func (t *DirTarget) Close() error { return t.root.Close() }

// Create implements Target.
func (t *DirTarget) Create(_ context.Context, name string) (File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrInvalid}
	}
	if err := t.root.MkdirAll(filepath.FromSlash(path.Dir(name)), 0o700); err != nil {
		return nil, err
	}
	f, err := t.root.OpenFile(filepath.FromSlash(name+partial), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &dirFile{File: f, root: t.root, name: filepath.FromSlash(name)}, nil
}

// partial ends the names of files that are not complete.
const partial = ".partial"

type dirFile struct {
	*os.File
	root *os.Root
	name string
}

func (f *dirFile) Close() error {
	err := errors.Join(f.Sync(), f.File.Close())
	if err == nil {
		err = f.root.Rename(f.name+partial, f.name)
	}
	if err != nil {
		return errors.Join(err, f.root.Remove(f.name+partial))
	}
	// The name, and those of the directories that it lies in, must survive a power failure too.
	for dir := filepath.Dir(f.name); ; dir = filepath.Dir(dir) {
		if err := syncDir(f.root, dir); err != nil {
			return err
		}
		if dir == "." {
			return nil
		}
	}
}

func syncDir(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if runtime.GOOS == "windows" {
		err = nil // directories cannot be synced there
	}
	return errors.Join(err, d.Close())
}

func (f *dirFile) Abort() error {
	return errors.Join(f.File.Close(), f.root.Remove(f.name+partial))
}
