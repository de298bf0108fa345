package repository

import (
	"container/list"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/internal/pack"
)

// FS reads the files of a snapshot. The result also implements fs.ReadDirFS, fs.ReadFileFS, fs.StatFS and fs.ReadLinkFS, and is safe
// for concurrent use; files opened from it are of the type *File. All reading ends with ctx.
//
// Symbolic links, devices and such things, which other programs may have stored, are listed, but opening one gives an error:
// links are not followed, since their targets lie in another machine's file system.
//
// It takes no lock, so that a store that cannot be written can be read, and that a restore that takes days keeps nobody
// waiting. It may be read while others prune. Whoever removes the snapshot as well makes reading fail with an error that wraps
// fs.ErrNotExist; it never gives wrong bytes.
func (r *Repo) FS(ctx context.Context, s *Snapshot) (fs.FS, error) {
	ix, err := r.refreshIndex(ctx)
	if err != nil {
		return nil, fmt.Errorf("open snapshot %s: %w", s.ID.Short(), err)
	}
	f := &snapshotFS{r: r, ctx: ctx, time: s.Time, root: s.Tree, trees: map[ID]*list.Element{}}
	f.ix.Store(ix)
	f.blobs.limit = 16 << 20
	if _, err := f.tree(s.Tree); err != nil {
		return nil, fmt.Errorf("open snapshot %s: %w", s.ID.Short(), err)
	}
	return f, nil
}

// snapshotFS implements fs.FS, whose methods take no context.
type snapshotFS struct {
	r    *Repo
	ctx  context.Context
	ix   atomic.Pointer[index.Index]
	time time.Time
	root ID

	mu     sync.Mutex
	trees  map[ID]*list.Element // of *cachedTree
	recent list.List            // of *cachedTree, the last used first
	held   int                  // nodes in trees

	blobs blobCache // for File.ReadAt
}

type cachedTree struct {
	id    ID
	nodes []*node
}

// maxCachedNodes bounds the trees that are kept; a larger one is kept alone.
const maxCachedNodes = 50000

// tree reads a directory. The caller must not change it.
func (f *snapshotFS) tree(id ID) ([]*node, error) {
	f.mu.Lock()
	if e, ok := f.trees[id]; ok {
		f.recent.MoveToFront(e)
		f.mu.Unlock()
		return e.Value.(*cachedTree).nodes, nil
	}
	f.mu.Unlock()
	text, err := f.r.loadMoved(f.ctx, &f.ix, pack.Tree, id, nil)
	if err != nil {
		return nil, err
	}
	nodes, err := decodeTree(text)
	if err != nil {
		return nil, fmt.Errorf("tree %v: %w", id, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.trees[id]; !ok {
		f.trees[id] = f.recent.PushFront(&cachedTree{id, nodes})
		f.held += len(nodes)
		for f.held > maxCachedNodes && f.recent.Len() > 1 {
			old := f.recent.Remove(f.recent.Back()).(*cachedTree)
			f.held -= len(old.nodes)
			delete(f.trees, old.id)
		}
	}
	return nodes, nil
}

// find gives the node at name.
func (f *snapshotFS) find(name string) (*node, error) {
	if !fs.ValidPath(name) {
		return nil, fs.ErrInvalid
	}
	n := &node{Name: ".", Type: typeDir, Mode: fs.ModeDir | 0o755, ModTime: f.time, Subtree: &f.root}
	if name == "." {
		return n, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if n.Type != typeDir {
			return nil, fs.ErrNotExist
		}
		nodes, err := f.tree(*n.Subtree)
		if err != nil {
			return nil, err
		}
		i := sort.Search(len(nodes), func(i int) bool { return nodes[i].Name >= part })
		if i == len(nodes) || nodes[i].Name != part {
			return nil, fs.ErrNotExist
		}
		n = nodes[i]
	}
	return n, nil
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// Open implements fs.FS.
func (f *snapshotFS) Open(name string) (fs.File, error) {
	n, err := f.find(name)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	switch n.Type {
	case typeDir:
		return &openDir{fsys: f, name: name, n: n}, nil
	case typeFile:
		file, err := f.open(n, name)
		if err != nil {
			return nil, pathError("open", name, err)
		}
		return file, nil
	}
	return nil, pathError("open", name, fmt.Errorf("%s: %w", n.Type, fs.ErrInvalid))
}

// ReadFile implements fs.ReadFileFS.
func (f *snapshotFS) ReadFile(name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // has nothing to write
	fi, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if fi.IsDir() {
		return nil, pathError("read", name, errIsDir)
	}
	b := make([]byte, fi.Size())
	_, err = io.ReadFull(file, b)
	return b, err
}

// Stat implements fs.StatFS.
func (f *snapshotFS) Stat(name string) (fs.FileInfo, error) { return f.stat("stat", name) }

// Lstat implements fs.ReadLinkFS.
func (f *snapshotFS) Lstat(name string) (fs.FileInfo, error) { return f.stat("lstat", name) }

func (f *snapshotFS) stat(op, name string) (fs.FileInfo, error) {
	n, err := f.find(name)
	if err != nil {
		return nil, pathError(op, name, err)
	}
	return info{n, path.Base(name)}, nil
}

// ReadLink implements fs.ReadLinkFS.
func (f *snapshotFS) ReadLink(name string) (string, error) {
	n, err := f.find(name)
	if err == nil && n.Type != "symlink" {
		err = fs.ErrInvalid
	}
	if err != nil {
		return "", pathError("readlink", name, err)
	}
	return n.link(), nil
}

// ReadDir implements fs.ReadDirFS.
func (f *snapshotFS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.find(name)
	if err == nil && n.Type != typeDir {
		err = fmt.Errorf("not a directory: %w", fs.ErrInvalid)
	}
	if err != nil {
		return nil, pathError("readdir", name, err)
	}
	entries, err := f.entries(n)
	if err != nil {
		return nil, pathError("readdir", name, err)
	}
	return entries, nil
}

func (f *snapshotFS) entries(n *node) ([]fs.DirEntry, error) {
	nodes, err := f.tree(*n.Subtree)
	if err != nil {
		return nil, err
	}
	entries := make([]fs.DirEntry, len(nodes))
	for i, n := range nodes {
		entries[i] = fs.FileInfoToDirEntry(info{n, n.Name})
	}
	return entries, nil
}

// info implements fs.FileInfo.
type info struct {
	n    *node
	name string
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.n.Size }
func (i info) Mode() fs.FileMode  { return i.n.fileMode() }
func (i info) ModTime() time.Time { return i.n.ModTime }
func (i info) IsDir() bool        { return i.n.Type == typeDir }
func (i info) Sys() any           { return i.n.attributes() }
