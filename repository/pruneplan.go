package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/repository/backend"
)

// Amount is a number of things and their size together.
type Amount struct {
	Count int64
	Bytes int64
}

func (a *Amount) add(bytes int64) {
	a.Count++
	a.Bytes += bytes
}

// PrunePlan is what a prune will do. PlanPrune makes it, Prune carries it out, once. It holds some 100 bytes of memory for
// each blob that is used.
type PrunePlan struct {
	Snapshots int // that use something

	// Blobs in the packs that the indexes name, with what they take there.
	Used      Amount
	Duplicate Amount // further copies of used ones
	Unused    Amount

	Keep    Amount // packs that stay
	Repack  Amount // packs whose used blobs are written to new packs, whereupon they are removed
	Remove  Amount // packs of which nothing is used
	Unknown Amount // packs in no index, left by runs that were killed: they are removed
	Gone    []ID   // packs that the indexes name and that are not there, but of which nothing is used

	RewriteIndexes int   // index files that are written anew
	Freed          int64 // by how many bytes the repository will shrink
	UnusedAfter    int64 // bytes of unused blobs and copies that will remain in packs

	options PruneOptions
	state   ID // of the repository that was looked at
	ix      *index.Index
	used    blobMap // the number of the pack that holds the blob in the end, or that it is copied from, plus 1
	packs   []packPlan
	unknown []ID // packs in no index
	indexes []ID // index files to be written anew
	begun   atomic.Bool
}

// packPlan is what becomes of a pack. They stand in the order of index.Packs, and are numbered so.
type packPlan struct {
	id    ID
	fate  fate
	index bool // an index file that names it is written anew
}

type fate uint8

const (
	keep fate = iota
	repack
	remove
	gone // it is not there
)

// Empty reports whether there is nothing to do.
func (p *PrunePlan) Empty() bool {
	return p.Repack.Count+p.Remove.Count+p.Unknown.Count == 0 && len(p.Gone)+p.RewriteIndexes == 0
}

// String gives the plan in lines of text.
func (p *PrunePlan) String() string {
	var b strings.Builder
	line := func(what string, a Amount, noun string) {
		fmt.Fprintf(&b, "%-18s %10d %s %15d bytes\n", what, a.Count, noun, a.Bytes)
	}
	line("used", p.Used, "blobs")
	line("stored twice", p.Duplicate, "blobs")
	line("not used", p.Unused, "blobs")
	line("keep", p.Keep, "packs")
	line("repack", p.Repack, "packs")
	line("remove", p.Remove, "packs")
	line("remove, unindexed", p.Unknown, "packs")
	if len(p.Gone) > 0 {
		fmt.Fprintf(&b, "%-18s %10d packs that are missing and not needed\n", "strike out", len(p.Gone))
	}
	fmt.Fprintf(&b, "%-18s %10d index files\n", "rewrite", p.RewriteIndexes)
	fmt.Fprintf(&b, "%-18s %32d bytes, then %d bytes are not used\n", "free", p.Freed, p.UnusedAfter)
	return b.String()
}

// MissingError says that snapshots need what is not there, so that it is not known what may be removed. Nothing was
// removed.
type MissingError struct {
	Packs []ID // that indexes name and that are not there, or not whole
	Blobs []ID // in no index, or in those packs alone
}

func (e *MissingError) Error() string {
	show := func(ids []ID) string {
		var names []string
		for _, id := range ids[:min(len(ids), 3)] {
			names = append(names, id.String())
		}
		if len(ids) > 3 {
			names = append(names, "...")
		}
		return strings.Join(names, ", ")
	}
	s := fmt.Sprintf("snapshots need %d blobs that are missing (%s)", len(e.Blobs), show(e.Blobs))
	if len(e.Packs) > 0 {
		s += fmt.Sprintf(", and %d packs are missing or damaged (%s)", len(e.Packs), show(e.Packs))
	}
	return s + ": check and repair the repository first; nothing was removed"
}

// Unwrap gives ErrDamaged.
func (e *MissingError) Unwrap() error { return ErrDamaged }

// PlanPrune finds what no snapshot needs, and decides how to remove it. It changes nothing, and holds a shared lock. If
// snapshots need what is not there, the error wraps a *MissingError; a snapshot, index or tree that cannot be read is an
// error, too.
func (r *Repo) PlanPrune(ctx context.Context, o *PruneOptions) (_ *PrunePlan, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("plan to prune: %w", err)
		}
	}()
	var opt PruneOptions
	if o != nil {
		opt = *o
	}
	if opt.MaxRepackSize < 0 {
		return nil, fmt.Errorf("options: the largest size to repack, %d, is negative", opt.MaxRepackSize)
	}
	if !r.opt.NoLock {
		lctx, lock, err := r.lock(ctx, false)
		if err != nil {
			return nil, err
		}
		defer func() {
			if err := lock.release(ctx); err != nil {
				r.opt.Logger.Warn("lock could not be removed", "error", err)
			}
		}()
		ctx = lctx
	}
	p := &planner{r: r, plan: &PrunePlan{options: opt, ix: &index.Index{}}}
	if err := p.make(ctx); err != nil {
		return nil, err
	}
	return p.plan, nil
}

// listing is the names of all that a plan depends on.
type listing struct {
	snapshots, indexes, packs map[ID]int64
}

func (r *Repo) listing(ctx context.Context) (l listing, err error) {
	if l.snapshots, err = r.names(ctx, backend.Snapshot); err != nil {
		return l, err
	}
	if l.indexes, err = r.names(ctx, backend.Index); err != nil {
		return l, err
	}
	l.packs, err = r.names(ctx, backend.Pack)
	return l, err
}

// digest gives equal ids for equal listings.
func (l listing) digest() ID {
	h := sha256.New()
	for _, m := range []map[ID]int64{l.snapshots, l.indexes, l.packs} {
		for _, id := range sortedIDs(m) {
			h.Write(id[:]) // never fails
			h.Write(binary.LittleEndian.AppendUint64(nil, uint64(m[id])))
		}
		h.Write([]byte{0})
	}
	return ID(h.Sum(nil))
}

func sortedIDs[V any](m map[ID]V) []ID {
	ids := make([]ID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, compareIDs)
	return ids
}

func compareIDs(a, b ID) int { return bytes.Compare(a[:], b[:]) }
