package repository

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
)

// namespace holds the files that a Writer creates.
type namespace struct {
	mu    sync.Mutex
	files map[string]*FileWriter
	dirs  map[string]int // how many files lie below
}

func (n *namespace) init() { n.files, n.dirs = map[string]*FileWriter{}, map[string]int{} }

// add takes the name of f, unless it is taken.
func (n *namespace) add(f *FileWriter) error {
	if !fs.ValidPath(f.name) || f.name == "." || strings.ContainsRune(f.name, 0) {
		return fs.ErrInvalid
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.files[f.name] != nil {
		return fs.ErrExist
	}
	if n.dirs[f.name] > 0 {
		return fmt.Errorf("is a directory: %w", fs.ErrExist)
	}
	for dir := path.Dir(f.name); dir != "."; dir = path.Dir(dir) {
		if n.files[dir] != nil {
			return fmt.Errorf("%s is a file: %w", dir, fs.ErrExist)
		}
	}
	n.files[f.name] = f
	n.count(f.name, 1)
	return nil
}

// remove frees the name of f.
func (n *namespace) remove(f *FileWriter) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.files, f.name)
	n.count(f.name, -1)
}

func (n *namespace) count(name string, by int) {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if n.dirs[dir] += by; n.dirs[dir] == 0 {
			delete(n.dirs, dir)
		}
	}
}

// directory is a directory to be written.
type directory struct {
	dirs  map[string]*directory
	files map[string]*FileWriter
}

func newDirectory() *directory {
	return &directory{map[string]*directory{}, map[string]*FileWriter{}}
}

// finish gives the root. It is an error if a file is neither closed nor aborted.
func (n *namespace) finish() (*directory, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var open []string
	root := newDirectory()
	for name, f := range n.files {
		if !f.complete.Load() {
			open = append(open, name)
			continue
		}
		d := root
		rest := name
		for {
			dir, after, found := strings.Cut(rest, "/")
			if !found {
				break
			}
			sub := d.dirs[dir]
			if sub == nil {
				sub = newDirectory()
				d.dirs[dir] = sub
			}
			d, rest = sub, after
		}
		d.files[rest] = f
	}
	if len(open) > 0 {
		slices.Sort(open)
		return nil, fmt.Errorf("%d files were neither closed nor aborted, such as %s", len(open), open[0])
	}
	return root, nil
}
