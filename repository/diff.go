package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
)

// ChangeKind says how an entry differs between two snapshots.
type ChangeKind string

// The kinds of changes.
const (
	Added       ChangeKind = "added"
	Removed     ChangeKind = "removed"
	Modified    ChangeKind = "modified"     // other content or link target
	TypeChanged ChangeKind = "type changed" // such as a file where a directory was
	Attributed  ChangeKind = "attributes"   // the same content, but other mode, owner, modification time or extended attributes
)

// Change is an entry that differs between two snapshots.
type Change struct {
	Kind   ChangeKind
	Path   string      // as in fs.FS
	Before fs.FileInfo // nil if added
	After  fs.FileInfo // nil if removed
}

// DiffOptions of Diff; nil and the zero value work.
type DiffOptions struct {
	Attributes bool // also yield entries of which only attributes changed
}

// Diff yields what changed from one snapshot to another, in the order of the paths' parts: entries of a directory follow it. Of a
// directory that was added or removed, everything below is yielded too. It reads only the trees that differ, takes no lock,
// and stops at the first error.
func (r *Repo) Diff(ctx context.Context, from, to *Snapshot, o *DiffOptions) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		d := &differ{ctx: ctx, yield: yield}
		if o != nil {
			d.opt = *o
		}
		err := d.run(r, from, to)
		if err != nil && !errors.Is(err, errStopped) {
			yield(Change{}, fmt.Errorf("compare snapshots %s and %s: %w", from.ID.Short(), to.ID.Short(), err))
		}
	}
}

// errStopped ends the walk when the caller wants no more.
var errStopped = errors.New("stopped")

// differ is one call of Diff.
type differ struct {
	ctx   context.Context // of the call
	opt   DiffOptions
	yield func(Change, error) bool
	fsys  *snapshotFS // reads trees of both
}

func (d *differ) run(r *Repo, from, to *Snapshot) error {
	fsys, err := r.FS(d.ctx, from)
	if err != nil {
		return err
	}
	d.fsys = fsys.(*snapshotFS)
	return d.dir(".", &from.Tree, &to.Tree)
}

func (d *differ) nodes(tree *ID) ([]*node, error) {
	if tree == nil {
		return nil, nil
	}
	return d.fsys.tree(*tree)
}

// dir compares two directories; nil is one that is not there.
func (d *differ) dir(name string, from, to *ID) error {
	if from != nil && to != nil && *from == *to {
		return nil
	}
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	before, err := d.nodes(from)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	after, err := d.nodes(to)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	for len(before) > 0 || len(after) > 0 {
		var a, b *node
		if len(before) > 0 && (len(after) == 0 || before[0].Name <= after[0].Name) {
			a = before[0]
		}
		if len(after) > 0 && (a == nil || after[0].Name == a.Name) {
			b = after[0]
		}
		if a != nil {
			before = before[1:]
		}
		if b != nil {
			after = after[1:]
		}
		if err := d.entry(name, a, b); err != nil {
			return err
		}
	}
	return nil
}

// entry compares two entries of the same name, of which one may be nil.
func (d *differ) entry(dir string, a, b *node) error {
	c := Change{}
	if a != nil {
		c.Path, c.Before = path.Join(dir, a.Name), info{a, a.Name}
	}
	if b != nil {
		c.Path, c.After = path.Join(dir, b.Name), info{b, b.Name}
	}
	switch {
	case a == nil:
		c.Kind = Added
	case b == nil:
		c.Kind = Removed
	case a.Type != b.Type:
		c.Kind = TypeChanged
	case a.Type != typeDir && !b.sameContent(a):
		c.Kind = Modified
	case d.opt.Attributes && !b.sameAttributes(a):
		c.Kind = Attributed
	}
	if c.Kind != "" && !d.yield(c, nil) {
		return errStopped
	}
	var from, to *ID
	if a != nil && a.Type == typeDir {
		from = a.Subtree
	}
	if b != nil && b.Type == typeDir {
		to = b.Subtree
	}
	return d.dir(c.Path, from, to)
}

func (n *node) sameAttributes(o *node) bool {
	return n.Mode == o.Mode && n.ModTime.Equal(o.ModTime) && n.UID == o.UID && n.GID == o.GID &&
		slices.EqualFunc(n.Xattrs, o.Xattrs, func(a, b Xattr) bool { return a.Name == b.Name && string(a.Value) == string(b.Value) })
}
