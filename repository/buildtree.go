package repository

import (
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/escrow-backup/escrow/internal/pack"
	"github.com/escrow-backup/escrow/repository/backend"
)

// treeBuilder saves the trees of a snapshot and counts for its summary.
type treeBuilder struct {
	w     *Writer
	extra chan struct{} // goroutines besides the first: reading the parent's trees may be slow
	mu    sync.Mutex
	sum   *Summary
}

// parent gives the root of the parent snapshot. One that cannot be read only makes the summary less telling.
func (b *treeBuilder) parent(id *ID) *ID {
	if id == nil {
		return nil
	}
	s, err := b.w.r.loadSnapshot(b.w.ctx, backend.Handle{Type: backend.Snapshot, Name: id.String()})
	if err != nil {
		b.w.r.opt.Logger.Warn("parent cannot be read", "error", err)
		return nil
	}
	return &s.Tree
}

// build saves the tree of d and those below, and gives its id.
func (b *treeBuilder) build(d *directory, parent *ID) (ID, error) {
	id, _, err := b.dir(d, b.load(parent))
	b.w.added.addTo(b.sum)
	return id, err
}

// load reads a tree of the parent.
func (b *treeBuilder) load(id *ID) map[string]*node {
	if id == nil {
		return nil
	}
	text, err := b.w.r.loadBlob(b.w.ctx, b.w.r.index.Load(), pack.Tree, *id, nil)
	if err != nil {
		return nil
	}
	nodes, err := decodeTree(text)
	if err != nil {
		return nil
	}
	m := make(map[string]*node, len(nodes))
	for _, n := range nodes {
		m[n.Name] = n
	}
	return m
}

type builtDir struct {
	id   ID
	same bool
	err  error
}

// dir saves a directory, whose parent had the nodes old, and says whether it holds the same.
func (b *treeBuilder) dir(d *directory, old map[string]*node) (ID, bool, error) {
	names := slices.Sorted(maps.Keys(d.dirs))
	built := make([]builtDir, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		work := func() { built[i] = b.subdir(d.dirs[name], old[name]) }
		select {
		case b.extra <- struct{}{}:
			wg.Go(func() {
				defer func() { <-b.extra }()
				work()
			})
		default:
			work()
		}
	}
	wg.Wait()
	same := len(old) == len(d.dirs)+len(d.files)
	nodes := make([]*node, 0, len(d.dirs)+len(d.files))
	for i, name := range names {
		if built[i].err != nil {
			return ID{}, false, built[i].err
		}
		same = same && built[i].same
		n := b.node(name, typeDir, fs.ModeDir|0o755)
		n.Subtree = &built[i].id
		nodes = append(nodes, n)
	}
	for name, f := range d.files {
		if f.ready != nil { // AddFS has counted it
			nodes = append(nodes, f.ready)
			same = f.ready.sameContent(old[name]) && same
			continue
		}
		n := b.node(name, typeFile, 0o644)
		n.Content, n.Size = f.content, f.size
		if n.Content == nil {
			n.Content = []ID{} // null means that it is no file
		}
		nodes = append(nodes, n)
		same = b.countFile(n, old[name]) && same
	}
	slices.SortFunc(nodes, func(x, y *node) int { return strings.Compare(x.Name, y.Name) })
	text, err := encodeTree(nodes)
	if err != nil {
		return ID{}, false, err
	}
	id, err := b.w.save(b.w.ctx, pack.Tree, text)
	return id, same, err
}

func (b *treeBuilder) subdir(d *directory, old *node) builtDir {
	was := old != nil && old.Type == typeDir
	var parent *ID
	if was {
		parent = old.Subtree
	}
	id, same, err := b.dir(d, b.load(parent))
	b.mu.Lock()
	defer b.mu.Unlock()
	same = same && was
	count(was, same, &b.sum.DirsNew, &b.sum.DirsChanged, &b.sum.DirsUnmodified)
	return builtDir{id, same, err}
}

func (b *treeBuilder) countFile(n, old *node) bool {
	was := old != nil && old.Type == typeFile
	same := was && slices.Equal(n.Content, old.Content)
	b.mu.Lock()
	defer b.mu.Unlock()
	count(was, same, &b.sum.FilesNew, &b.sum.FilesChanged, &b.sum.FilesUnmodified)
	b.sum.TotalFilesProcessed++
	b.sum.TotalBytesProcessed += n.Size
	return same
}

func count(was, same bool, added, changed, unmodified *int64) {
	switch {
	case !was:
		*added++
	case same:
		*unmodified++
	default:
		*changed++
	}
}

// node gives an entry with what files and directories made here have in common.
func (b *treeBuilder) node(name, kind string, mode fs.FileMode) *node {
	t := b.w.time
	return &node{Name: name, Type: kind, Mode: mode, ModTime: t, AccessTime: t, ChangeTime: t}
}
