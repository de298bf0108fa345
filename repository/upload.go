package repository

import (
	"context"
	"fmt"
	"time"

	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/repository/backend"
)

// indexLimits say when a Writer stores an index file, so that a run that is killed loses little.
type indexLimits struct {
	blobs int           // at most, in a file
	age   time.Duration // of the first pack that no index names
}

// As restic does.
var defaultIndexLimits = indexLimits{blobs: 50000, age: 10 * time.Minute}

// send begins the upload of the open pack. It waits for a free slot: that is what bounds memory. The caller has p's turn.
func (w *Writer) send(ctx context.Context, p *packer) error {
	if p.open == nil {
		return nil
	}
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
	o := p.open
	p.open = nil
	w.uploads.Go(func() {
		defer func() { <-w.slots }()
		if err := w.upload(o); err != nil {
			w.stop(err)
		}
	})
	return nil
}

func (w *Writer) upload(o *openPack) error {
	id := o.finish(w.r.key)
	err := save(w.ctx, w.r.be, backend.Handle{Type: backend.Pack, Name: id.String()}, o, o.size)
	o.free()
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	w.mu.Lock()
	if len(w.unindexed) == 0 {
		w.since = w.r.now()
	}
	w.unindexed = append(w.unindexed, index.Pack{ID: id, Blobs: o.blobs})
	w.waiting += len(o.blobs)
	due := w.waiting >= w.r.indexLimits.blobs || w.r.now().Sub(w.since) >= w.r.indexLimits.age
	w.mu.Unlock()
	if !due {
		return nil
	}
	return w.saveIndexes(w.ctx)
}

// saveIndexes stores index files for all packs that are stored and have none. What they name then belongs to everybody, so
// the lock must be held: without it, packs in no index may have been removed.
func (w *Writer) saveIndexes(ctx context.Context) error {
	for {
		packs := w.takeUnindexed()
		if len(packs) == 0 {
			return nil
		}
		var id ID
		err := w.lock.held(ctx)
		if err == nil {
			id, err = w.r.saveFile(ctx, backend.Index, index.AppendFile(nil, packs))
		}
		if err != nil {
			w.mu.Lock()
			for _, p := range packs {
				w.waiting += len(p.Blobs)
			}
			w.unindexed = append(w.unindexed, packs...)
			w.mu.Unlock()
			return fmt.Errorf("save index: %w", err)
		}
		if err := w.r.addIndex(ctx, id, packs); err != nil {
			return fmt.Errorf("save index: %w", err)
		}
		w.mu.Lock()
		for _, p := range packs {
			for _, b := range p.Blobs {
				delete(w.own[b.Type], b.ID)
			}
		}
		w.mu.Unlock()
	}
}

// takeUnindexed takes the packs for one index file out of the list.
func (w *Writer) takeUnindexed() []index.Pack {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, blobs := 0, 0
	for n < len(w.unindexed) && (n == 0 || blobs+len(w.unindexed[n].Blobs) <= w.r.indexLimits.blobs) {
		blobs += len(w.unindexed[n].Blobs)
		n++
	}
	packs := w.unindexed[:n:n]
	w.unindexed = w.unindexed[n:]
	w.waiting -= blobs
	w.since = w.r.now()
	return packs
}

// flush uploads the open packs, waits for all uploads, and indexes them.
func (w *Writer) flush() error {
	for i := range w.packers {
		p := &w.packers[i]
		if err := p.turn.take(w.ctx); err != nil {
			return err
		}
		err := w.send(w.ctx, p)
		p.turn.give()
		if err != nil {
			return err
		}
	}
	w.uploads.Wait()
	if err := w.live(w.ctx); err != nil {
		return err
	}
	return w.saveIndexes(w.ctx)
}

// salvage indexes what was uploaded before the Writer failed, so that the next need not store it again. It is best effort:
// without it those packs are garbage.
func (w *Writer) salvage() {
	w.uploads.Wait()
	ctx, cancel := detached(w.ctx)
	defer cancel()
	if err := w.saveIndexes(ctx); err != nil {
		w.r.opt.Logger.Warn("what was stored could not be indexed", "error", err)
	}
}
