package repository

import (
	"context"
	"fmt"
	"slices"

	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/internal/pack"
	"github.com/escrow-backup/escrow/repository/backend"
)

// Prune removes what the plan says. It holds an exclusive lock. If anything was added or removed since the plan was made,
// or if the plan was carried out before, it changes nothing, and the error wraps ErrPlanOutdated.
//
// Every blob that it moves to a new pack is decrypted and its SHA-256 compared with its name, and so is one that stays where
// it is while a copy of it goes: if it cannot be read, the copy is moved to a new pack instead. It stores the new packs
// first, then the indexes that name them, and only then removes old indexes, and last old packs. So wherever it is
// interrupted, nothing that a snapshot needs is lost; the next prune clears away what is left over.
//
// Programs that take no locks, such as rustic, must not write meanwhile. If a snapshot or index of such a program appears
// while packs are copied, nothing is removed, and the error wraps ErrPlanOutdated; that is a safety net, no substitute.
func (r *Repo) Prune(ctx context.Context, p *PrunePlan) error {
	if p.Empty() {
		return nil
	}
	if err := r.locked(ctx, true, func(ctx context.Context, lock *heldLock) error { return r.prune(ctx, lock, p) }); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	return nil
}

func (r *Repo) prune(ctx context.Context, lock *heldLock, p *PrunePlan) error {
	l, err := r.listing(ctx)
	if err != nil {
		return err
	}
	if l.digest() != p.state {
		return ErrPlanOutdated
	}
	if !p.begun.CompareAndSwap(false, true) {
		return fmt.Errorf("%w: it was carried out, or begun, before", ErrPlanOutdated)
	}
	w := &indexWriter{r: r, lock: lock}
	if err := r.repack(ctx, p, w); err != nil {
		return err
	}
	n := 0
	for id, blobs := range p.ix.Packs() {
		if d := p.packs[n]; d.fate == keep && d.index {
			if err := w.add(ctx, index.Pack{ID: id, Blobs: slices.Clone(blobs)}); err != nil {
				return err
			}
		}
		n++
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	if err := r.undisturbed(ctx, l, w.saved); err != nil {
		return err
	}
	if err := r.removeAll(ctx, lock, backend.Index, p.indexes); err != nil {
		return err
	}
	packs := slices.Clone(p.unknown)
	for _, d := range p.packs {
		if d.fate == remove || d.fate == repack {
			packs = append(packs, d.id)
		}
	}
	return r.removeAll(ctx, lock, backend.Pack, packs)
}

// undisturbed returns an error if there are snapshots or indexes besides those listed and saved: a program that takes no
// locks wrote while packs were copied, and may rely on what is to be removed.
func (r *Repo) undisturbed(ctx context.Context, l listing, saved []ID) error {
	snapshots, err := r.names(ctx, backend.Snapshot)
	if err != nil {
		return err
	}
	indexes, err := r.names(ctx, backend.Index)
	if err != nil {
		return err
	}
	for _, id := range saved {
		delete(indexes, id)
	}
	for id := range snapshots {
		if _, ok := l.snapshots[id]; !ok {
			return fmt.Errorf("%w: snapshot %s was added, so nothing was removed", ErrPlanOutdated, id.Short())
		}
	}
	for id := range indexes {
		if _, ok := l.indexes[id]; !ok {
			return fmt.Errorf("%w: index %s was added, so nothing was removed", ErrPlanOutdated, id.Short())
		}
	}
	return nil
}

// indexWriter stores packs in as few index files as may be.
type indexWriter struct {
	r     *Repo
	lock  *heldLock
	packs []index.Pack
	blobs int
	saved []ID
}

func (w *indexWriter) add(ctx context.Context, p index.Pack) error {
	if w.blobs+len(p.Blobs) > w.r.indexLimits.blobs {
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	w.packs = append(w.packs, p)
	w.blobs += len(p.Blobs)
	return nil
}

func (w *indexWriter) flush(ctx context.Context) error {
	if len(w.packs) == 0 {
		return nil
	}
	if err := w.lock.held(ctx); err != nil {
		return err
	}
	id, err := w.r.saveFile(ctx, backend.Index, index.AppendFile(nil, w.packs))
	if err != nil {
		return fmt.Errorf("save index: %w", err)
	}
	w.saved = append(w.saved, id)
	w.packs, w.blobs = nil, 0
	return nil
}

// inNewPack marks in a plan's blobMap what lies in a new pack.
const inNewPack = 1 << 31

// verifyCopied returns an error unless every used blob is in a pack that stays, or was copied. It is the last line of
// defence before anything is removed.
func (p *PrunePlan) verifyCopied() error {
	for t := range p.used {
		for id, n := range p.used[t] {
			if n != inNewPack && (n == 0 || p.packs[n-1].fate != keep) {
				return fmt.Errorf("%v blob %v would be lost, so nothing was removed", pack.Type(t), id)
			}
		}
	}
	return nil
}
