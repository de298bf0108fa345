package repository

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/internal/pack"
	"github.com/escrow-backup/escrow/repository/backend"
)

// repairedSuffix marks the names of what lost something, as restic does.
const repairedSuffix = ".repaired"

// Loss is something of a snapshot that is lost.
type Loss struct {
	Path  string // in the damaged snapshot
	Dir   bool   // all of a directory, rather than a part of a file
	Bytes int64  // of the file; 0 for a directory: nobody knows
}

// SnapshotRepair is what is to be done about one damaged snapshot.
type SnapshotRepair struct {
	Snapshot *Snapshot
	Lost     []Loss // in the order of the tree
	All      bool   // the root cannot be read: there is nothing to be saved
	tree     ID     // the new root
}

// SnapshotsRepair is a plan to make snapshots usable that need blobs which are not there.
type SnapshotsRepair struct {
	Snapshots []*SnapshotRepair // the damaged ones only
	Sound     int               // how many are not damaged
}

// String says what will be done, a line for each snapshot and each loss.
func (p *SnapshotsRepair) String() string {
	var b strings.Builder
	for _, s := range p.Snapshots {
		if s.All {
			fmt.Fprintf(&b, "snapshot %s: everything is lost\n", s.Snapshot.ID.Short())
			continue
		}
		fmt.Fprintf(&b, "snapshot %s: write without what is lost\n", s.Snapshot.ID.Short())
		for _, l := range s.Lost {
			if l.Dir {
				fmt.Fprintf(&b, "  directory %q: all that is in it\n", l.Path)
			} else {
				fmt.Fprintf(&b, "  file %q: %d bytes\n", l.Path, l.Bytes)
			}
		}
	}
	fmt.Fprintf(&b, "damaged snapshots: %d, sound: %d\n", len(p.Snapshots), p.Sound)
	return b.String()
}

// PlanRepairSnapshots finds what snapshots need that is not there: of the given ones, or of all. It reads the trees, and looks
// whether the blobs of files lie in packs that exist; it does not read those. It changes nothing. Repair the index first, and
// if the source still exists, back it up again: blobs that come back that way heal all snapshots.
func (r *Repo) PlanRepairSnapshots(ctx context.Context, snapshots ...*Snapshot) (*SnapshotsRepair, error) {
	p, err := r.planRepairSnapshots(ctx, snapshots)
	if err != nil {
		return nil, fmt.Errorf("plan repair of snapshots: %w", err)
	}
	return p, nil
}

func (r *Repo) planRepairSnapshots(ctx context.Context, snapshots []*Snapshot) (p *SnapshotsRepair, err error) {
	ctx = withoutCache(ctx)
	if len(snapshots) == 0 {
		if snapshots, err = r.loadSnapshots(ctx); err != nil {
			return nil, err
		}
	}
	d, err := r.newDoctor(ctx, nil)
	if err != nil {
		return nil, err
	}
	p = &SnapshotsRepair{}
	for _, s := range snapshots {
		rep, err := d.snapshot(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("snapshot %s: %w", s.ID.Short(), err)
		}
		if rep.All || rep.tree != s.Tree {
			p.Snapshots = append(p.Snapshots, rep)
		} else {
			p.Sound++
		}
	}
	return p, nil
}

// RepairSnapshotsOptions of RepairSnapshots; nil and the zero value work.
type RepairSnapshotsOptions struct {
	Forget bool // remove the damaged snapshots when the new ones are stored; also those of which everything is lost
}

// RepairSnapshots writes each damaged snapshot of the plan anew, without what is lost, and gives the new ones. What lost
// something has a name that ends in ".repaired": a file without the missing parts, a directory without its entries. The new
// snapshots say in Original what they were made of. The old ones stay unless Forget; without it, a shared lock is enough.
//
// If what is there changed since the plan was made, so that the outcome would be another, the error wraps ErrPlanOutdated.
func (r *Repo) RepairSnapshots(ctx context.Context, p *SnapshotsRepair, o *RepairSnapshotsOptions) ([]*Snapshot, error) {
	forget := o != nil && o.Forget
	var made []*Snapshot
	err := r.locked(ctx, forget, func(ctx context.Context, lock *heldLock) (err error) {
		made, err = r.repairSnapshots(ctx, lock, p)
		if err != nil || !forget {
			return err
		}
		var old []ID
		for _, s := range p.Snapshots {
			old = append(old, s.Snapshot.ID)
		}
		return r.removeAll(ctx, lock, backend.Snapshot, old)
	})
	if err != nil {
		return made, fmt.Errorf("repair snapshots: %w", err)
	}
	return made, nil
}

func (r *Repo) repairSnapshots(ctx context.Context, lock *heldLock, p *SnapshotsRepair) (made []*Snapshot, err error) {
	if _, err := r.refreshIndex(ctx); err != nil {
		return nil, err
	}
	w := newWriter(withoutCache(ctx), r, lock, r.now())
	defer func() {
		w.stop(ErrClosed)
		w.close()
		w.salvage()
	}()
	d, err := r.newDoctor(w.ctx, w)
	if err != nil {
		return nil, err
	}
	for _, s := range p.Snapshots {
		now, err := d.snapshot(w.ctx, s.Snapshot)
		if err != nil {
			return made, w.cause(err)
		}
		if now.tree != s.tree || now.All != s.All {
			return made, ErrPlanOutdated
		}
		if s.All {
			continue
		}
		n, _, err := copyOf(s.Snapshot)
		if err != nil {
			return made, err
		}
		n.Tree, n.Parent = now.tree, s.Snapshot.Parent
		if n.ID, err = w.publish(w.ctx, n); err != nil {
			return made, w.cause(err)
		}
		made = append(made, n)
	}
	return made, nil
}

// doctor makes trees without what is lost. It treats each tree once.
type doctor struct {
	r     *Repo
	w     *Writer // nil to only look
	ix    *index.Index
	packs map[ID]int64
	done  map[ID]*treated
}

type treated struct {
	id   ID
	lost []Loss // with paths below the tree
	all  bool   // it cannot be read
}

func (r *Repo) newDoctor(ctx context.Context, w *Writer) (*doctor, error) {
	ix, err := r.refreshIndex(ctx)
	if err != nil {
		return nil, err
	}
	packs, err := r.names(ctx, backend.Pack)
	return &doctor{r: r, w: w, ix: ix, packs: packs, done: map[ID]*treated{}}, err
}

func (d *doctor) snapshot(ctx context.Context, s *Snapshot) (*SnapshotRepair, error) {
	t, err := d.tree(ctx, s.Tree)
	if err != nil {
		return nil, err
	}
	return &SnapshotRepair{Snapshot: s, Lost: t.lost, All: t.all, tree: t.id}, nil
}

// there reports whether a blob lies in a pack that exists.
func (d *doctor) there(t pack.Type, id ID) bool {
	for loc := range d.ix.Lookup(t, id) {
		if size, ok := d.packs[loc.Pack]; ok && int64(loc.Offset)+int64(loc.Length) <= size {
			return true
		}
	}
	return false
}

func (d *doctor) tree(ctx context.Context, id ID) (*treated, error) {
	if t := d.done[id]; t != nil {
		return t, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	t := &treated{id: id}
	text, nodes, err := d.load(ctx, id)
	if errors.Is(err, ErrDamaged) {
		text, nodes, err = d.load(ctx, id) // a bad connection must not cost a directory
	}
	switch {
	case errors.Is(err, ErrDamaged):
		t.all = true
	case err != nil:
		return nil, err
	default:
		if err := d.nodes(ctx, t, text, nodes); err != nil {
			return nil, err
		}
	}
	d.done[id] = t
	return t, nil
}

// load reads a tree. The error wraps ErrDamaged if it is lost.
func (d *doctor) load(ctx context.Context, id ID) ([]byte, []*node, error) {
	if !d.there(pack.Tree, id) {
		return nil, nil, fmt.Errorf("tree %v: %w", id, ErrDamaged)
	}
	var text []byte
	var err error
	for loc := range d.ix.Lookup(pack.Tree, id) {
		if size, ok := d.packs[loc.Pack]; !ok || int64(loc.Offset)+int64(loc.Length) > size {
			continue
		}
		var cerr error
		if text, cerr = d.r.loadCopy(ctx, loc, nil); cerr == nil {
			err = nil
			break
		}
		if err == nil || !errors.Is(cerr, ErrDamaged) {
			err = cerr // it is lost only if every copy is damaged: one that cannot be reached may be whole
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("tree %v: %w", id, err)
	}
	nodes, err := decodeTree(text)
	if err != nil {
		return nil, nil, fmt.Errorf("tree %v: %w", id, err)
	}
	return text, nodes, nil
}

// edited is an entry of a tree, with what the program that wrote it may have stored beside what we know.
type edited struct {
	name string
	raw  json.RawMessage
}

// nodes treats what is in a tree, and saves the tree if that changes it.
func (d *doctor) nodes(ctx context.Context, t *treated, text []byte, nodes []*node) error {
	var raw struct {
		Nodes []json.RawMessage `json:"nodes"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return fmt.Errorf("tree %v: %w", t.id, err)
	}
	byName := map[string]json.RawMessage{}
	for _, m := range raw.Nodes {
		var n struct {
			Name string `json:"name"`
		}
		if err := json.Unmarshal(m, &n); err != nil {
			return fmt.Errorf("tree %v: %w", t.id, err)
		}
		byName[n.Name] = m
	}
	names := map[string]bool{}
	for _, n := range nodes {
		names[n.Name] = true
	}
	changed := false
	list := make([]edited, 0, len(nodes))
	for _, n := range nodes {
		e := edited{n.Name, byName[quoted(n.Name)]}
		if e.raw == nil { // written with other escapes than ours
			c := *n
			c.Name = quoted(n.Name)
			m, err := json.Marshal(c)
			if err != nil {
				return err
			}
			e.raw = m
		}
		fields, marked, err := d.node(ctx, t, n)
		if err != nil {
			return err
		}
		if marked {
			for e.name += repairedSuffix; names[e.name]; {
				e.name += repairedSuffix
			}
			names[e.name] = true
			fields["name"] = quoted(e.name)
		}
		if len(fields) > 0 {
			changed = true
			if e.raw, err = setFields(e.raw, fields); err != nil {
				return fmt.Errorf("tree %v: %w", t.id, err)
			}
		}
		list = append(list, e)
	}
	if !changed {
		return nil
	}
	slices.SortFunc(list, func(a, b edited) int { return strings.Compare(a.name, b.name) })
	var buf bytes.Buffer
	buf.WriteString(`{"nodes":[`)
	for i, e := range list {
		if i > 0 {
			buf.WriteByte(',')
		}
		buf.Write(e.raw)
	}
	buf.WriteString("]}\n")
	return d.save(ctx, t, buf.Bytes())
}

func (d *doctor) save(ctx context.Context, t *treated, text []byte) (err error) {
	t.id = Hash(text)
	if d.w != nil {
		_, err = d.w.save(ctx, pack.Tree, text)
	}
	return err
}

// node gives the fields of a node that change, and whether its name is to tell that it lost something.
func (d *doctor) node(ctx context.Context, t *treated, n *node) (map[string]any, bool, error) {
	switch n.Type {
	case typeDir:
		sub, err := d.tree(ctx, *n.Subtree)
		if err != nil {
			return nil, false, err
		}
		for _, l := range sub.lost {
			l.Path = path.Join(n.Name, l.Path)
			t.lost = append(t.lost, l)
		}
		if sub.all {
			t.lost = append(t.lost, Loss{Path: n.Name, Dir: true})
			empty := &treated{}
			if err := d.save(ctx, empty, []byte("{\"nodes\":[]}\n")); err != nil {
				return nil, false, err
			}
			return map[string]any{"subtree": empty.id}, true, nil
		}
		if sub.id != *n.Subtree {
			return map[string]any{"subtree": sub.id}, false, nil
		}
	case typeFile:
		left, size := []ID{}, int64(0)
		for _, id := range n.Content {
			if d.there(pack.Data, id) {
				k, _ := d.ix.Size(pack.Data, id)
				size += int64(k)
				left = append(left, id)
			}
		}
		if len(left) < len(n.Content) || size != n.Size {
			t.lost = append(t.lost, Loss{Path: n.Name, Bytes: max(n.Size-size, 0)})
			return map[string]any{"content": left, "size": size}, true, nil
		}
	}
	return nil, false, nil
}
