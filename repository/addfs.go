package repository

import (
	"context"
	"fmt"
	"io/fs"
	"os/user"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/escrow-backup/escrow/internal/pack"
	"github.com/escrow-backup/escrow/repository/backend"
)

// AddOptions of AddFS; nil and the zero value work.
type AddOptions struct {
	// Dir is where the files go in the snapshot: a path that fs.ValidPath accepts. Default ".": the entries of the file system
	// are those of the snapshot's root. Otherwise Dir becomes a directory with the attributes of the file system's root.
	Dir string

	// Exclude is asked about every entry; true leaves it out, and what is below it. It is called from several goroutines.
	Exclude func(name string, d fs.DirEntry) bool

	// Full reads every file, also those that did not change since the parent.
	Full bool

	// OnError is told what cannot be read: a file without permission, or one that vanished. If it returns nil, the entry is
	// left out of the snapshot and AddFS goes on; otherwise that is its error. By default the first error ends it. It is
	// called from several goroutines. Errors of the repository always end AddFS.
	OnError func(name string, err error) error
}

// AddFS adds the files of a file system to the snapshot: directories, files, links (if fsys implements fs.ReadLinkFS) and
// special files, with modes and times, with extended attributes if fsys is an XattrFS, and with what the FileInfo's Sys
// gives: see Attributes. For a directory of this machine use OpenDirFS. Links are not followed. Reading happens in several
// goroutines, so fsys must be safe for concurrent use; in memory are the entries of one directory at each level.
//
// If the Header names a Parent, files of it that did not change are not read again. A file counts as unchanged if its size,
// modification time, change time, inode and file system are those of the parent's, and its change time lies at least two
// seconds before the parent was begun: a file that is written while it is read may keep its times. Without change time and
// inode, which only the system can tell, every file is read: name, size and modification time prove nothing.
//
// Either all is added or, after an error, nothing: then the rest of the snapshot can be continued.
func (w *Writer) AddFS(ctx context.Context, fsys fs.FS, o *AddOptions) error {
	done, err := w.enter()
	if err != nil {
		return fmt.Errorf("add file system: %w", err)
	}
	defer done()
	a := &adder{w: w, fsys: fsys, ctx: ctx}
	if o != nil {
		a.opt = *o
	}
	if a.opt.Dir == "" {
		a.opt.Dir = "."
	}
	if err := a.add(); err != nil {
		return fmt.Errorf("add file system: %w", err)
	}
	return nil
}

// adder is one call of AddFS.
type adder struct {
	w     *Writer
	ctx   context.Context // of the call
	fsys  fs.FS
	opt   AddOptions
	start time.Time // files of the parent that changed later are read again

	mu  sync.Mutex
	sum Summary
}

// addedCounts is what all calls of AddFS have in common.
type addedCounts struct {
	mu     sync.Mutex
	sum    Summary
	owners *owners
}

// names is where owners' names come from: by default, this machine.
func (c *addedCounts) names() *owners {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.owners == nil {
		c.owners = newOwners(user.LookupId, user.LookupGroupId)
	}
	return c.owners
}

func (c *addedCounts) addTo(s *Summary) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.add(c.sum)
}

// add adds what AddFS counts.
func (s *Summary) add(o Summary) {
	s.FilesNew += o.FilesNew
	s.FilesChanged += o.FilesChanged
	s.FilesUnmodified += o.FilesUnmodified
	s.DirsNew += o.DirsNew
	s.DirsChanged += o.DirsChanged
	s.DirsUnmodified += o.DirsUnmodified
	s.TotalFilesProcessed += o.TotalFilesProcessed
	s.TotalBytesProcessed += o.TotalBytesProcessed
}

func (a *adder) add() (err error) {
	root, err := fs.Lstat(a.fsys, ".")
	if err == nil && !root.IsDir() {
		err = fmt.Errorf("not a directory: %w", fs.ErrInvalid)
	}
	if err != nil {
		return err
	}
	var taken []*FileWriter
	defer func() {
		if err != nil {
			for _, f := range taken {
				a.w.names.remove(f)
			}
		}
	}()
	// The names are taken first: it would be a pity to find out after hours.
	take := func(name string) error {
		f := &FileWriter{w: a.w, name: name, ended: true}
		if err := a.w.names.add(f); err != nil {
			return pathError("create", name, err)
		}
		taken = append(taken, f)
		return nil
	}
	entries, err := fs.ReadDir(a.fsys, ".")
	if err != nil {
		return err
	}
	entries = a.chosen(".", entries)
	if a.opt.Dir != "." {
		if err := take(a.opt.Dir); err != nil {
			return err
		}
	} else {
		for _, e := range entries {
			if err := take(e.Name()); err != nil {
				return err
			}
		}
	}
	old := a.parent()
	was := old != nil
	if was && old.Type != typeDir {
		old = nil
	}
	nodes, err := a.entries(".", entries, a.load(old))
	if err != nil {
		return err
	}
	if a.opt.Dir != "." {
		n := a.node(root)
		n.Name = path.Base(a.opt.Dir)
		if err := a.xattrs(n, "."); err != nil {
			return err
		}
		if nodes, err = a.tree(n, nodes, old, was); err != nil {
			return err
		}
	}
	byName := map[string]*node{}
	for _, n := range nodes {
		byName[n.Name] = n
	}
	for _, f := range taken {
		if f.ready = byName[path.Base(f.name)]; f.ready == nil {
			a.w.names.remove(f) // OnError left it out
			continue
		}
		f.complete.Store(true)
	}
	a.w.added.mu.Lock()
	defer a.w.added.mu.Unlock()
	a.w.added.sum.add(a.sum)
	return nil
}

// parent gives the directory of the parent snapshot to compare with, nil if there is none. One that cannot be read only
// makes us read more.
func (a *adder) parent() *node {
	if a.w.parent == nil || a.opt.Full {
		return nil
	}
	s, err := a.w.r.loadSnapshot(a.w.ctx, backend.Handle{Type: backend.Snapshot, Name: a.w.parent.String()})
	if err != nil {
		a.w.r.opt.Logger.Warn("parent cannot be read", "error", err)
		return nil
	}
	a.start = s.Time
	if s.Summary != nil && !s.Summary.BackupStart.IsZero() {
		a.start = s.Summary.BackupStart
	}
	if a.start.After(a.w.r.now()) {
		// Its clock was ahead of ours: by its times, what changed after it was made would seem to be older.
		a.start = time.Time{}
	}
	n := &node{Type: typeDir, Subtree: &s.Tree}
	if a.opt.Dir == "." {
		return n
	}
	for part := range strings.SplitSeq(a.opt.Dir, "/") {
		if n = a.load(n)[part]; n == nil {
			return nil
		}
	}
	return n
}

// load gives the entries of a directory of the parent.
func (a *adder) load(n *node) map[string]*node {
	if n == nil || n.Type != typeDir {
		return nil
	}
	return (&treeBuilder{w: a.w}).load(n.Subtree)
}

// chosen gives the entries that are not excluded.
func (a *adder) chosen(dir string, entries []fs.DirEntry) []fs.DirEntry {
	if a.opt.Exclude == nil {
		return entries
	}
	return slices.DeleteFunc(slices.Clone(entries), func(d fs.DirEntry) bool {
		return a.opt.Exclude(path.Join(dir, d.Name()), d)
	})
}

// unreadable gives what OnError makes of an error of reading, nil if the entry is to be left out.
func (a *adder) unreadable(name string, err error) error {
	if err := a.w.live(a.ctx); err != nil {
		return err
	}
	if a.opt.OnError == nil {
		return fmt.Errorf("read %q: %w", name, err)
	}
	return a.opt.OnError(name, err)
}

// entries gives the nodes of a directory's entries. Files are read in parallel, then directories one after the other.
func (a *adder) entries(dir string, entries []fs.DirEntry, old map[string]*node) ([]*node, error) {
	nodes := make([]*node, len(entries))
	var g errgroup.Group
	g.SetLimit(cpus())
	for i, e := range entries {
		if !e.IsDir() {
			g.Go(func() (err error) {
				nodes[i], err = a.entry(path.Join(dir, e.Name()), e, old[e.Name()])
				return err
			})
		}
	}
	err := g.Wait()
	for i, e := range entries {
		if err != nil {
			return nil, err
		}
		if e.IsDir() {
			nodes[i], err = a.entry(path.Join(dir, e.Name()), e, old[e.Name()])
		}
	}
	if err != nil {
		return nil, err
	}
	nodes = slices.DeleteFunc(nodes, func(n *node) bool { return n == nil })
	slices.SortFunc(nodes, func(x, y *node) int { return strings.Compare(x.Name, y.Name) })
	return nodes, nil
}

// entry gives the node of an entry, nil if it is left out.
func (a *adder) entry(name string, e fs.DirEntry, old *node) (*node, error) {
	if err := a.w.live(a.ctx); err != nil {
		return nil, err
	}
	fi, err := e.Info()
	if err != nil {
		return nil, a.unreadable(name, err)
	}
	n := a.node(fi)
	n.Name = e.Name()
	if err := a.xattrs(n, name); err != nil {
		return nil, a.unreadable(name, err)
	}
	switch n.Type {
	case typeDir:
		all, err := fs.ReadDir(a.fsys, name)
		if err != nil {
			return nil, a.unreadable(name, err)
		}
		nodes, err := a.entries(name, a.chosen(name, all), a.load(old))
		if err != nil {
			return nil, err
		}
		_, err = a.tree(n, nodes, old, old != nil)
		return n, err
	case typeFile:
		n.Size = fi.Size()
		return a.file(n, name, old)
	case typeSymlink:
		if n.LinkTarget, err = fs.ReadLink(a.fsys, name); err != nil {
			return nil, a.unreadable(name, err)
		}
		if !utf8.ValidString(n.LinkTarget) {
			n.LinkRaw = []byte(n.LinkTarget)
		}
	}
	return n, n.check()
}

// node gives the node of a file, with the names of its owner if it is of this machine.
func (a *adder) node(fi fs.FileInfo) *node {
	n := nodeOf(fi)
	if systemAttributes(fi) != nil {
		a.w.added.names().name(n)
	}
	return n
}

func (a *adder) xattrs(n *node, name string) (err error) {
	if x, ok := a.fsys.(XattrFS); ok {
		n.Xattrs, err = x.Xattrs(name)
	}
	return err
}

// tree saves the tree of the directory n, and gives n.
func (a *adder) tree(n *node, nodes []*node, old *node, was bool) ([]*node, error) {
	text, err := encodeTree(nodes)
	if err != nil {
		return nil, err
	}
	id, err := a.w.save(a.ctx, pack.Tree, text)
	if err != nil {
		return nil, err
	}
	n.Subtree = &id
	a.mu.Lock()
	defer a.mu.Unlock()
	count(was, n.sameContent(old), &a.sum.DirsNew, &a.sum.DirsChanged, &a.sum.DirsUnmodified)
	return []*node{n}, n.check()
}
