package repository

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/escrow-backup/escrow/internal/crypto"
	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/internal/pack"
)

const (
	repackReaders = 4       // parts of packs that are read at once
	maxRun        = 4 << 20 // bytes that are read at once, unless a single blob has more
	maxGap        = 64 << 10
)

// repacker moves blobs to new packs. It holds a few parts of old packs, and the new packs that are filled and uploaded.
type repacker struct {
	r       *Repo
	plan    *PrunePlan
	pages   pagePool
	stop    context.CancelCauseFunc
	readers errgroup.Group
	uploads errgroup.Group

	mu   sync.Mutex // held while a blob waits for a slot to upload: that is what bounds memory
	open [2]*openPack

	indexMu sync.Mutex
	index   *indexWriter
	since   time.Time // when the first pack was stored that no index names
}

// run is blobs that lie close together in a pack.
type run struct {
	pack  ID
	blobs []pack.Blob
}

func (u *run) begin() int64 { return int64(u.blobs[0].Offset) }

func (u *run) end() int64 {
	last := u.blobs[len(u.blobs)-1]
	return int64(last.Offset) + int64(last.Length)
}

// takes reports whether b, which lies behind the others, can be read with them.
func (u *run) takes(b pack.Blob) bool {
	return len(u.blobs) == 0 ||
		int64(b.Offset)-u.end() <= maxGap && int64(b.Offset)+int64(b.Length)-u.begin() <= maxRun
}

// repack copies what is used of the packs that are to be repacked, and adds the new packs to the index.
func (r *Repo) repack(ctx context.Context, p *PrunePlan, w *indexWriter) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	k := &repacker{
		r: r, plan: p, stop: stop, index: w,
		pages: make(pagePool, (r.opt.Concurrency+2)*(r.opt.PackSize/pageSize+1)),
	}
	k.readers.SetLimit(repackReaders)
	k.uploads.SetLimit(r.opt.Concurrency)
	last := p.lastCopies()
	n := uint32(0)
	for id, blobs := range p.ix.Packs() {
		if ctx.Err() != nil {
			break
		}
		switch p.packs[n].fate {
		case repack:
			moved := runs(id, blobs, func(b pack.Blob) bool {
				if p.used[b.Type][b.ID] != n+1 {
					return false
				}
				p.used[b.Type][b.ID] = inNewPack // if that fails, so does all
				return true
			})
			for _, u := range moved {
				k.readers.Go(func() error { return k.ended(k.copy(ctx, u, false)) })
			}
		case keep:
			for _, u := range runs(id, blobs, func(b pack.Blob) bool { return last[b.Type][b.ID] == n+1 }) {
				k.readers.Go(func() error { return k.ended(k.copy(ctx, u, true)) })
			}
		}
		n++
	}
	if k.readers.Wait() == nil {
		k.finish(ctx)
	}
	if err := k.uploads.Wait(); err != nil || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return p.verifyCopied()
}

// ended stops everything if err is an error.
func (k *repacker) ended(err error) error {
	if err != nil {
		k.stop(err)
	}
	return err
}

// lastCopies gives the blobs of which a copy goes and one in a pack that stays is left, with that pack's number plus 1.
func (p *PrunePlan) lastCopies() blobMap {
	last := newBlobMap()
	p.each(func(n uint32, b pack.Blob) {
		chosen, used := p.used[b.Type][b.ID]
		goes := p.packs[n].fate == remove || p.packs[n].fate == repack
		if used && goes && chosen != inNewPack && chosen != n+1 && p.packs[chosen-1].fate == keep {
			last[b.Type][b.ID] = chosen
		}
	})
	return last
}

// runs gives the blobs of a pack that take accepts. It asks about each once.
func runs(id ID, blobs []pack.Blob, take func(pack.Blob) bool) []run {
	var all []run
	u := run{pack: id}
	for _, b := range blobs {
		if !take(b) {
			continue
		}
		if !u.takes(b) {
			all = append(all, u)
			u.blobs = nil
		}
		u.blobs = append(u.blobs, b)
	}
	if len(u.blobs) > 0 {
		all = append(all, u)
	}
	return all
}

// copy moves the blobs of a run; those that may stay are only read. One that cannot be read there is taken from elsewhere in any
// case.
func (k *repacker) copy(ctx context.Context, u run, stay bool) error {
	buf, rerr := readRange(ctx, k.r.be, packHandle(u.pack), u.begin(), u.end()-u.begin(), nil)
	var scratch, opened []byte
	for _, b := range u.blobs {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := rerr
		var sealed []byte
		if b.PlainLength() > maxBlob {
			return fmt.Errorf("%v: blob %v: %d bytes are not plausible", packHandle(u.pack), ID(b.ID), b.PlainLength())
		}
		if err == nil {
			off := int64(b.Offset) - u.begin()
			sealed = buf[off : off+int64(b.Length)]
			scratch = append(scratch[:0], sealed...) // opening overwrites it
			var text []byte
			if text, err = k.r.openBlob(b, scratch, opened); err == nil {
				if b.Plain != 0 {
					opened = text
				}
				if stay {
					continue
				}
				b, sealed = k.anew(b, sealed, text)
			}
		}
		if err != nil {
			// Another copy may be whole, or the failure may pass.
			k.r.opt.Logger.Warn("blob cannot be read, looking for another copy", "pack", u.pack, "blob", ID(b.ID), "error", err)
			text, err := k.r.loadBlob(ctx, k.plan.ix, b.Type, b.ID, nil)
			if err != nil {
				return err
			}
			b, sealed = k.seal(b, text)
		}
		if err := k.add(ctx, b, sealed); err != nil {
			return err
		}
	}
	return nil
}

// anew compresses a blob if that was asked for and it is not; otherwise it stays as it is.
func (k *repacker) anew(b pack.Blob, sealed, text []byte) (pack.Blob, []byte) {
	if k.plan.options.RepackUncompressed && b.Plain == 0 && k.r.cfg.Version >= 2 {
		if c, s := k.seal(b, text); len(s) < len(sealed) {
			return c, s
		}
	}
	return b, sealed
}

// seal compresses and encrypts a blob.
func (k *repacker) seal(b pack.Blob, text []byte) (pack.Blob, []byte) {
	buf := make([]byte, crypto.IVSize, crypto.Overhead+len(text))
	b.Plain = 0
	if !k.r.compresses(b.Type) {
		buf = append(buf, text...)
	} else {
		var compressed bool
		if buf, compressed = k.r.codec.appendBlob(buf, text); compressed {
			b.Plain = uint32(len(text))
		}
	}
	return b, k.r.key.Seal(buf)
}

// add adds a blob to the open pack of its type.
func (k *repacker) add(ctx context.Context, b pack.Blob, sealed []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	o := k.open[b.Type]
	if o != nil && !o.fits(len(sealed), int64(k.r.opt.PackSize)) {
		k.send(ctx, o)
		o = nil
	}
	if o == nil {
		o = &openPack{pool: k.pages}
		k.open[b.Type] = o
	}
	o.add(b, sealed)
	return context.Cause(ctx)
}

// send begins to upload a pack, as soon as there is a slot.
func (k *repacker) send(ctx context.Context, o *openPack) {
	k.uploads.Go(func() error {
		id := o.finish(k.r.key)
		err := save(ctx, k.r.be, packHandle(id), o, o.size)
		o.free()
		if err != nil {
			return k.ended(fmt.Errorf("upload: %w", err))
		}
		return k.ended(k.stored(ctx, index.Pack{ID: id, Blobs: o.blobs}))
	})
}

// stored notes a pack that was uploaded. From time to time it stores an index, so that a prune that is interrupted was not
// in vain.
func (k *repacker) stored(ctx context.Context, p index.Pack) error {
	k.indexMu.Lock()
	defer k.indexMu.Unlock()
	if len(k.index.packs) == 0 {
		k.since = k.r.now()
	}
	if err := k.index.add(ctx, p); err != nil {
		return err
	}
	if k.r.now().Sub(k.since) >= k.r.indexLimits.age {
		return k.index.flush(ctx)
	}
	return nil
}

// finish uploads what is left.
func (k *repacker) finish(ctx context.Context) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, o := range k.open {
		if o != nil {
			k.send(ctx, o)
		}
	}
}
