package repository

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/internal/pack"
	"github.com/escrow-backup/escrow/repository/backend"
)

// RepairIndexOptions of PlanRepairIndex; nil and the zero value work.
type RepairIndexOptions struct {
	// ReadAll reads the header of every pack, and makes all of the index anew. Otherwise only packs that no index names, or
	// names with another size than they have, are read.
	ReadAll bool

	// ReadData reads all packs whole as well. What of a pack is damaged is named no more, so that it is missing where it is needed,
	// and stored again when it is backed up again; the rest of the pack is copied.
	ReadData bool
}

// IndexRepair is a plan to make the index say what the packs hold.
type IndexRepair struct {
	Damaged []ID // index files that cannot be read: they are removed
	Missing []ID // packs that the index names but that are not there: they are named no more
	Reread  []ID // packs whose header says what the index will say
	Broken  []ID // packs whose header or, if all was read, a blob cannot be read. They stay, but are named no more; the rest is copied

	stale   []ID // index files to be removed
	add     []index.Pack
	keep    []index.Pack // what stays indexed
	salvage []index.Pack // what the index said of the broken packs
	listing ID           // what the plan was made for
	sizes   map[ID]int64 // of the packs
}

// Empty reports whether the index is right.
func (p *IndexRepair) Empty() bool { return len(p.stale) == 0 && len(p.add) == 0 }

// String says on a few lines what will be done.
func (p *IndexRepair) String() string {
	if p.Empty() {
		if len(p.Broken) > 0 {
			return fmt.Sprintf("nothing to repair; packs that cannot be read and that no index names: %d\n", len(p.Broken))
		}
		return "nothing to repair\n"
	}
	var b strings.Builder
	for _, l := range []struct {
		text string
		ids  []ID
	}{
		{"remove index files that cannot be read", p.Damaged}, {"forget packs that are missing", p.Missing},
		{"index packs anew, from their headers", p.Reread}, {"forget packs that are broken, and save what can be read of them", p.Broken},
	} {
		if len(l.ids) > 0 {
			fmt.Fprintf(&b, "%s: %d\n", l.text, len(l.ids))
		}
	}
	fmt.Fprintf(&b, "index files to be replaced: %d\n", len(p.stale))
	return b.String()
}

// PlanRepairIndex compares the index with the packs. It changes nothing.
func (r *Repo) PlanRepairIndex(ctx context.Context, o *RepairIndexOptions) (*IndexRepair, error) {
	var opt RepairIndexOptions
	if o != nil {
		opt = *o
	}
	p, err := r.planRepairIndex(ctx, opt)
	if err != nil {
		return nil, fmt.Errorf("plan repair of index: %w", err)
	}
	return p, nil
}

func (r *Repo) planRepairIndex(ctx context.Context, opt RepairIndexOptions) (*IndexRepair, error) {
	ctx = withoutCache(ctx)
	opt.ReadAll = opt.ReadAll || opt.ReadData
	list, err := r.listing(ctx)
	if err != nil {
		return nil, err
	}
	p := &IndexRepair{listing: list.digest(), sizes: list.packs}
	files := map[ID][]index.Pack{}
	named := &index.Index{}
	for _, id := range sortedIDs(list.indexes) {
		packs, damage, err := r.tryIndex(ctx, id)
		if err != nil {
			return nil, err
		}
		if damage != nil {
			p.Damaged = append(p.Damaged, id)
			continue
		}
		files[id] = packs
		named.Add(packs)
	}
	// By pack: what the index will say; nil is nothing.
	say := map[ID][]pack.Blob{}
	wrong := map[ID]bool{} // what the index says must go
	for id, blobs := range named.Packs() {
		size, there := list.packs[id]
		say[id] = slices.Clone(blobs)
		if !there {
			p.Missing = append(p.Missing, id)
			wrong[id], say[id] = true, nil
		} else if size != pack.Size(blobs) || contiguous(blobs) != nil || opt.ReadAll {
			wrong[id] = true
		}
	}
	c := &checker{r: r}
	for _, id := range sortedIDs(list.packs) {
		old, known := say[id]
		if known && !wrong[id] {
			continue
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		header, err := twice(func() ([]pack.Blob, error) { return c.header(ctx, id, list.packs[id]) })
		if err == nil && opt.ReadData {
			if err = r.verifyBlobs(ctx, id, header); err != nil {
				old, known = header, true // which is better than what the index says
			}
		}
		switch {
		case err == nil:
			if known && slices.Equal(header, old) && !opt.ReadAll {
				wrong[id] = false
				continue
			}
			p.Reread = append(p.Reread, id)
			say[id], wrong[id] = header, true
		case errors.Is(err, ErrDamaged):
			p.Broken = append(p.Broken, id)
			if known {
				p.salvage = append(p.salvage, index.Pack{ID: id, Blobs: old})
			}
			say[id] = nil
		default:
			return nil, err
		}
	}
	// Index files stay if all that they say stays.
	stays := map[ID]bool{}
	for _, id := range sortedIDs(list.indexes) {
		packs, ok := files[id]
		if !ok || opt.ReadAll || slices.ContainsFunc(packs, func(q index.Pack) bool { return wrong[q.ID] }) {
			p.stale = append(p.stale, id)
			continue
		}
		for _, q := range packs {
			if len(q.Blobs) == len(say[q.ID]) {
				stays[q.ID] = true
			}
		}
	}
	for _, id := range sortedIDs(say) {
		if say[id] == nil {
			continue
		}
		q := index.Pack{ID: id, Blobs: say[id]}
		p.keep = append(p.keep, q)
		if !stays[id] {
			p.add = append(p.add, q)
		}
	}
	return p, nil
}

// verifyBlobs reads blobs of a pack. The error wraps ErrDamaged if one of them is damaged.
func (r *Repo) verifyBlobs(ctx context.Context, id ID, blobs []pack.Blob) error {
	var buf, sealed, text []byte
	for _, u := range runs(id, blobs, func(pack.Blob) bool { return true }) {
		var err error
		if buf, err = readRange(ctx, r.be, packHandle(id), u.begin(), u.end()-u.begin(), buf); err != nil {
			return err
		}
		for _, b := range u.blobs {
			if b.PlainLength() > maxBlob {
				return fmt.Errorf("%v: blob %v: %w: %d bytes are not plausible", packHandle(id), ID(b.ID), ErrDamaged, b.PlainLength())
			}
			off := int64(b.Offset) - u.begin()
			sealed = append(sealed[:0], buf[off:off+int64(b.Length)]...) // opening overwrites it
			p, err := r.openBlob(b, sealed, text)
			if errors.Is(err, ErrDamaged) {
				p, err = r.loadCopy(ctx, index.Location{Pack: id, Blob: b}, nil) // see twice
			}
			if err != nil {
				return err
			}
			if b.Plain != 0 {
				text = p
			}
		}
	}
	return nil
}

// tryIndex reads an index file. damage says that it is not what was written, err that nobody knows.
func (r *Repo) tryIndex(ctx context.Context, id ID) (packs []index.Pack, damage, err error) {
	h := backend.Handle{Type: backend.Index, Name: id.String()}
	text, err := twice(func() ([]byte, error) { return readFile(ctx, r.be, h) })
	if errors.Is(err, ErrDamaged) {
		return nil, err, nil
	}
	if err != nil {
		return nil, nil, err
	}
	// It holds what its name says: if that is not an index of this repository, reading again will not help.
	if text, err = r.key.Open(text); err == nil && r.cfg.Version >= 2 {
		text, err = r.codec.openFile(text)
	}
	if err == nil {
		packs, err = index.DecodeFile(text)
	}
	return packs, err, nil
}

// RepairIndex does what the plan says, under an exclusive lock: it stores new index files, then removes the old ones. Packs are
// not touched. If the repository has changed since the plan was made, it changes nothing, and the error wraps
// ErrPlanOutdated.
//
// Blobs that are lost for good are missing afterwards: see PlanRepairSnapshots, and back up again before that, since what
// still exists at the source heals the snapshots.
func (r *Repo) RepairIndex(ctx context.Context, p *IndexRepair) error {
	err := r.locked(ctx, true, func(ctx context.Context, lock *heldLock) error {
		list, err := r.listing(ctx)
		if err != nil {
			return err
		}
		if list.digest() != p.listing {
			return ErrPlanOutdated
		}
		if p.Empty() {
			return nil
		}
		w := &indexWriter{r: r, lock: lock}
		for _, q := range p.add {
			if err := w.add(ctx, q); err != nil {
				return err
			}
		}
		if err := w.flush(ctx); err != nil {
			return err
		}
		if err := r.salvagePacks(ctx, lock, p); err != nil {
			return err
		}
		return r.removeAll(ctx, lock, backend.Index, p.stale)
	})
	if err != nil {
		return fmt.Errorf("repair index: %w", err)
	}
	return nil
}

// salvagePacks copies what can be read of the broken packs into new ones, unless a sound pack has it.
func (r *Repo) salvagePacks(ctx context.Context, lock *heldLock, p *IndexRepair) (err error) {
	if err := r.indexTurn.take(ctx); err != nil {
		return err
	}
	sound := &index.Index{}
	sound.Add(p.keep)
	r.index.Store(sound)
	r.indexes = nil
	r.indexTurn.give()
	defer func() {
		// What is in memory is not what the files say: the next one to ask loads them.
		if terr := r.indexTurn.take(context.WithoutCancel(ctx)); terr == nil {
			r.index.Store(&index.Index{})
			r.indexes = nil
			r.indexTurn.give()
		}
	}()
	w := newWriter(ctx, r, lock, r.now())
	defer func() {
		w.stop(ErrClosed)
		w.close()
		w.salvage()
	}()
	for _, q := range p.salvage {
		for _, b := range q.Blobs {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if int64(b.Offset)+int64(b.Length) > p.sizes[q.ID] || b.Length > maxBlob || b.PlainLength() > maxBlob {
				continue
			}
			text, err := twice(func() ([]byte, error) { return r.loadCopy(ctx, index.Location{Pack: q.ID, Blob: b}, nil) })
			if errors.Is(err, ErrDamaged) {
				continue // lost
			}
			if err != nil {
				return err
			}
			if _, err := w.save(ctx, b.Type, text); err != nil {
				return w.cause(err)
			}
		}
	}
	return w.flush()
}

// twice reads again what seems to be damaged: a bad connection or memory must not make us give up what is stored well.
func twice[T any](read func() (T, error)) (T, error) {
	v, err := read()
	if errors.Is(err, ErrDamaged) {
		return read()
	}
	return v, err
}
