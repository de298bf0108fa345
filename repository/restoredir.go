package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// RestoreOptions of RestoreDir; nil and the zero value work.
type RestoreOptions struct {
	// Path is the directory of the snapshot whose entries are restored. Default ".": all.
	Path string

	// Exclude is asked about every entry, with its name below Path; true leaves it out, and what is below it. It is called
	// from several goroutines.
	Exclude func(name string, fi fs.FileInfo) bool

	// Overwrite replaces files that are there; without it, they are an error that wraps fs.ErrExist. A file is replaced when
	// the new one is complete. Directories that are there are filled in any case, and with Overwrite get the snapshot's
	// attributes, also those that their owner may not write in; entries that the snapshot does not have stay.
	Overwrite bool

	Verify  bool // read each file back, and compare the SHA-256 of each of its blobs
	Sparse  bool // leave holes where files have blocks of zeros
	NoOwner bool // do not restore user and group; without it they are restored if the process runs as root. Files that then
	// would belong to another than before lose the bits that let them run as their owner or group

	// OnError is told what could not be restored. If it returns nil, RestoreDir goes on; otherwise that is its error. By
	// default the first error ends it. It is called from several goroutines. A file whose content could not be restored is
	// not there afterwards; one whose attributes could not be is.
	OnError func(name string, err error) error
}

// RestoreResult says what RestoreDir made.
type RestoreResult struct {
	Files    int64 // with content of their own
	Links    int64 // further names of such files
	Dirs     int64 // those that were there count too
	Others   int64 // symbolic links, devices, pipes, sockets
	Bytes    int64 // in files
	Failures int64 // told to OnError
}

// RestoreDir writes the files of a snapshot to a directory of this machine, which it makes if need be: directories, files,
// hard and symbolic links and special files, with modes, times and extended attributes. Whatever the snapshot holds, nothing
// outside of dir is touched: neither names nor links lead out of it.
//
// Extended attributes and special files are restored on Linux only; elsewhere they are errors.
func (r *Repo) RestoreDir(ctx context.Context, s *Snapshot, dir string, o *RestoreOptions) (*RestoreResult, error) {
	x := &restorer{ctx: ctx, links: map[inode]*linked{}}
	if o != nil {
		x.opt = *o
	}
	if x.opt.Path == "" {
		x.opt.Path = "."
	}
	if err := x.restore(r, s, dir); err != nil {
		return nil, fmt.Errorf("restore snapshot %s: %w", s.ID.Short(), err)
	}
	return &x.res, nil
}

// restorer is one call of RestoreDir.
type restorer struct {
	ctx   context.Context // of the call
	opt   RestoreOptions
	fsys  *snapshotFS
	top   *os.Root
	links map[inode]*linked // used by one goroutine

	mu  sync.Mutex
	res RestoreResult
}

type inode struct{ device, inode uint64 }

// linked is a file that may get further names.
type linked struct {
	name    string
	content []ID
	left    uint64
}

func (x *restorer) restore(r *Repo, s *Snapshot, dir string) (err error) {
	fsys, err := r.FS(x.ctx, s)
	if err != nil {
		return err
	}
	x.fsys = fsys.(*snapshotFS)
	from, err := x.fsys.find(x.opt.Path)
	if err == nil && from.Type != typeDir {
		err = fmt.Errorf("not a directory: %w", fs.ErrInvalid)
	}
	if err != nil {
		return pathError("restore", x.opt.Path, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if x.top, err = os.OpenRoot(dir); err != nil {
		return err
	}
	defer func() { _ = x.top.Close() }() // a directory
	return x.fill(x.top, ".", *from.Subtree)
}

func (x *restorer) count(do func(*RestoreResult)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	do(&x.res)
}

// failed gives what OnError makes of an error.
func (x *restorer) failed(name string, err error) error {
	if err == nil {
		return nil
	}
	if x.ctx.Err() != nil {
		return context.Cause(x.ctx)
	}
	err = fmt.Errorf("%q: %w", name, err)
	if x.opt.OnError == nil {
		return err
	}
	x.count(func(r *RestoreResult) { r.Failures++ })
	return x.opt.OnError(name, err)
}

// place is an open directory that is being filled. Its entries are reached through it by their bare names, so that no link
// on the way can lead elsewhere.
type place struct {
	root *os.Root
	dir  *os.File // the same, for system calls
	name string   // below top
}

// fill makes the entries of a directory: files in parallel, then those with several names, then directories.
func (x *restorer) fill(root *os.Root, name string, tree ID) (err error) {
	nodes, err := x.fsys.tree(tree)
	if err != nil {
		return x.failed(name, err)
	}
	dir, err := root.Open(".")
	if err != nil {
		return x.failed(name, err)
	}
	defer func() { _ = dir.Close() }() // a directory
	p := place{root, dir, name}
	var late []*node
	g, gctx := errgroup.WithContext(x.ctx)
	g.SetLimit(cpus())
	for _, n := range nodes {
		if gctx.Err() != nil {
			break
		}
		at := path.Join(name, n.Name)
		if x.opt.Exclude != nil && x.opt.Exclude(at, info{n, n.Name}) {
			continue
		}
		if n.Type == typeDir || n.Type == typeFile && n.Links > 1 {
			late = append(late, n)
			continue
		}
		g.Go(func() error { return x.failed(at, x.entry(p, n)) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	slices.SortStableFunc(late, func(a, b *node) int { return btoi(a.Type == typeDir) - btoi(b.Type == typeDir) })
	for _, n := range late {
		if x.ctx.Err() != nil {
			return context.Cause(x.ctx)
		}
		at := path.Join(name, n.Name)
		do := x.subdir
		if n.Type != typeDir {
			do = x.linkOrFile
		}
		if err := do(p, n, at); err != nil {
			return err
		}
	}
	if x.ctx.Err() != nil {
		return context.Cause(x.ctx)
	}
	return nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// subdir makes a directory and what is in it, then sets its attributes: filling it changes its times, and it may be read-only.
func (x *restorer) subdir(p place, n *node, at string) error {
	made, err := x.mkdir(p, n)
	if err != nil {
		return x.failed(at, err)
	}
	root, err := p.root.OpenRoot(n.Name)
	if err != nil {
		return x.failed(at, err)
	}
	err = x.fill(root, at, *n.Subtree)
	if cerr := root.Close(); err == nil {
		err = x.failed(at, cerr)
	}
	if err != nil {
		return err
	}
	x.count(func(r *RestoreResult) { r.Dirs++ })
	if made || x.opt.Overwrite {
		return x.failed(at, x.attributes(p, n, n.Name))
	}
	return nil
}

func (x *restorer) mkdir(p place, n *node) (made bool, err error) {
	err = p.root.Mkdir(n.Name, 0o700)
	if !errors.Is(err, fs.ErrExist) {
		return err == nil, err
	}
	fi, serr := p.root.Lstat(n.Name)
	switch {
	case serr != nil:
		return false, serr
	case fi.IsDir():
		// It may be read-only, as from a restore before, and gets the snapshot's mode when it is full.
		if mode := fi.Mode(); x.opt.Overwrite && mode&0o700 != 0o700 {
			return false, p.root.Chmod(n.Name, mode|0o700)
		}
		return false, nil
	case !x.opt.Overwrite:
		return false, err
	}
	if err := p.root.Remove(n.Name); err != nil {
		return false, err
	}
	return true, p.root.Mkdir(n.Name, 0o700)
}

// linkOrFile gives another name to a file that was restored already, or restores it.
func (x *restorer) linkOrFile(p place, n *node, at string) error {
	key := inode{n.DeviceID, n.Inode}
	first := x.links[key]
	// A tree may lie about what is the same file.
	if n.Inode == 0 || first != nil && !slices.Equal(first.content, n.Content) {
		return x.failed(at, x.entry(p, n))
	}
	if first == nil {
		if err := x.entry(p, n); err != nil {
			return x.failed(at, err)
		}
		x.links[key] = &linked{at, n.Content, n.Links - 1}
		return nil
	}
	if first.left--; first.left == 0 {
		delete(x.links, key)
	}
	err := x.link(p, n, first.name, at)
	if err == nil {
		x.count(func(r *RestoreResult) { r.Links++ })
	}
	return x.failed(at, err)
}

func (x *restorer) link(p place, n *node, first, at string) error {
	err := x.top.Link(first, at)
	if !errors.Is(err, fs.ErrExist) || !x.opt.Overwrite {
		return err
	}
	if err := p.root.Remove(n.Name); err != nil {
		return err
	}
	return x.top.Link(first, at)
}

// entry restores what is not a directory.
func (x *restorer) entry(p place, n *node) error {
	if n.Type == typeFile {
		if err := x.file(p, n); err != nil {
			return err
		}
		x.count(func(r *RestoreResult) {
			r.Files++
			r.Bytes += n.Size
		})
		return nil
	}
	create := func() error { return makeSpecial(p.dir, n) }
	if n.Type == typeSymlink {
		create = func() error { return p.root.Symlink(n.link(), n.Name) }
	}
	err := create()
	if errors.Is(err, fs.ErrExist) && x.opt.Overwrite {
		if err = p.root.Remove(n.Name); err == nil {
			err = create()
		}
	}
	if err != nil {
		return err
	}
	x.count(func(r *RestoreResult) { r.Others++ })
	return x.attributes(p, n, n.Name)
}

// attributes sets what the node says, on the entry name: changing the owner clears bits of the mode and capabilities, and who
// is not root cannot add attributes to what he made read-only.
func (x *restorer) attributes(p place, n *node, name string) error {
	mode := n.fileMode()
	if x.opt.NoOwner || os.Geteuid() != 0 {
		// It is ours now: others must not run as us what was to run as somebody else.
		if mode.IsRegular() && int(n.UID) != os.Geteuid() {
			mode &^= fs.ModeSetuid
		}
		if mode.IsRegular() && int(n.GID) != os.Getegid() {
			mode &^= fs.ModeSetgid
		}
	} else if err := p.root.Lchown(name, int(n.UID), int(n.GID)); err != nil {
		return err
	}
	if err := writeXattrs(p.dir, name, n.Xattrs); err != nil {
		return err
	}
	if n.Type != typeSymlink {
		if err := p.root.Chmod(name, mode); err != nil {
			return err
		}
	}
	return setTimes(p.dir, p.root, name, n.AccessTime, n.ModTime)
}
