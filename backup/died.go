package backup

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

const (
	// togetherBytes is about how much of the ids file belongs to the segments of which the server is asked at once.
	togetherBytes = 4 << 20
	// farApart is the distance between segments above which another request costs the server less than to pass over what lies between.
	farApart = 1 << 17
)

// died finds out which documents of segments, which ascend, are dead now: those whose ids new documents have, and of the others those that the
// server does not have any more. In a shard, a document is dead as soon as another has its id, and below the checkpoint none comes back.
func (c *comparison) died(ctx context.Context, changed []*verdict) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.j.o.Concurrency)
	for len(changed) > 0 {
		n, bytes := 1, changed[0].old.IDsBytes
		for ; n < len(changed) && bytes+changed[n].old.IDsBytes <= togetherBytes && changed[n].old.From-changed[n-1].old.To < farApart; n++ {
			bytes += changed[n].old.IDsBytes
		}
		together := changed[:n]
		changed = changed[n:]
		g.Go(func() error { return c.diedTogether(gctx, together) })
	}
	return g.Wait()
}

func (c *comparison) diedTogether(ctx context.Context, changed []*verdict) error {
	if err := c.j.searches.Acquire(ctx, 1); err != nil {
		return context.Cause(ctx)
	}
	defer c.j.searches.Release(1)
	var all []*funeral
	var known []elastic.Known
	for _, v := range changed {
		f, err := c.prepare(v)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			c.again(err.Error())
			continue
		}
		all, known = append(all, f), append(known, elastic.Known{Range: v.now, SeqNos: f.alive})
	}
	missing, err := c.sh.Missing(ctx, known)
	if err != nil {
		return err
	}
	for _, f := range all {
		n, _ := slices.BinarySearch(missing, f.v.old.To)
		lines, fresh, err := f.hold(missing[:n])
		missing = missing[n:]
		if err != nil {
			c.again(c.useless(errOtherIDs, err).Error())
			continue
		}
		if err := c.bury(ctx, lines, fresh); err != nil {
			return err
		}
	}
	return nil
}

// Why what a parent has of a segment is of no use.
var (
	errAmbiguous = errors.New("their sequence numbers stand for several documents")
	errNoDigests = errors.New("they are of an older program, which kept no digests of single documents")
	errNoIDs     = errors.New("their ids in the parent cannot be read")
	errOtherIDs  = errors.New("their ids in the parent are not what the sidecar says")
)

// funeral goes through a segment's stored documents.
type funeral struct {
	v        *verdict
	ids      []byte  // lines of the ids file
	replaced []int64 // sequence numbers of what the parent has alive, and whose ids new documents have
	alive    []int64 // of the rest
}

// prepare reads what the parent has of a segment.
func (c *comparison) prepare(v *verdict) (*funeral, error) {
	if v.old.Ambiguous {
		return nil, errAmbiguous
	}
	f := &funeral{v: v, alive: make([]int64, 0, v.old.Docs)}
	var err error
	if f.ids, err = c.ids.read(v.old); err != nil {
		return nil, c.useless(errNoIDs, err)
	}
	docs, alive, last := int64(0), layout.Stored{}, int64(-1)
	err = f.each(func(l *layout.IDLine, _ int64, wasDead bool) error {
		if docs++; !l.HasDigest {
			return errNoDigests
		}
		if wasDead {
			return nil
		}
		if l.SeqNo <= last || l.SeqNo >= v.old.To {
			return errOtherIDs
		}
		last = l.SeqNo
		alive.Docs++
		alive.Sum += l.SeqNo
		if c.newIDs.has(l.ID()) {
			f.replaced = append(f.replaced, l.SeqNo)
		} else {
			f.alive = append(f.alive, l.SeqNo)
		}
		return nil
	})
	switch {
	case errors.Is(err, errNoDigests):
		return nil, err
	case err != nil || docs != v.old.Whole().Docs || alive.Docs != v.old.Docs || alive.Sum != v.old.Sum:
		return nil, c.useless(errOtherIDs, cmp.Or(err, errOtherIDs))
	}
	return f, nil
}

// useless logs what was found wrong, and returns why.
func (c *comparison) useless(why, found error) error {
	c.j.log.Warn("read the ids of a parent", "index", c.sh.Index.Name, "shard", c.sh.Info.Number, "error", found)
	return why
}

// each calls fn for every stored document, with its ordinal and whether it was dead in the parent.
func (f *funeral) each(fn func(l *layout.IDLine, ordinal int64, wasDead bool) error) error {
	ordinal, dead := int64(0), f.v.old.Ordinals()
	return layout.ReadIDs(f.ids, f.v.old.From, func(l *layout.IDLine) error {
		wasDead := len(dead) > 0 && dead[0] == ordinal
		if wasDead {
			dead = dead[1:]
		}
		ordinal++
		return fn(l, ordinal-1, wasDead)
	})
}

// hold makes the segment one of which also what was replaced and the missing documents are dead. It returns the delete lines, and how many pairs they are.
func (f *funeral) hold(missing []int64) (lines []byte, fresh int64, err error) {
	gone := slices.Concat(f.replaced, missing)
	slices.Sort(gone)
	var dead []int64
	left := f.v.old.Whole()
	err = f.each(func(l *layout.IDLine, ordinal int64, wasDead bool) error {
		died := !wasDead && len(gone) > 0 && gone[0] == l.SeqNo
		if !died && !wasDead {
			return nil
		}
		dead = append(dead, ordinal)
		left.Docs--
		left.Sum -= l.SeqNo
		left.Digest.SubtractLow(l.Low)
		if wasDead {
			return nil
		}
		gone = gone[1:]
		fresh++
		d, err := l.Document()
		if err == nil {
			lines, err = d.AppendLines(lines)
		}
		return err
	})
	if now := f.v.now; err == nil && (left.Docs != now.Docs || left.Sum != now.Sum) {
		err = &elastic.CountError{Range: now, Docs: left.Docs, Sum: left.Sum}
	}
	if err != nil {
		return nil, 0, err
	}
	g := *f.v.old
	g.SetDead(dead, left)
	g.changed = true
	f.v.new = &g
	return lines, fresh, nil
}

// bury stores delete lines.
func (c *comparison) bury(ctx context.Context, lines []byte, n int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deletes == nil {
		c.deletes = &storedSegment{Segment: layout.Segment{From: -1, To: -1}}
	}
	c.deletes.Deletes += n
	c.lines = append(c.lines, lines...)
	return c.flush(ctx, maxBlob/2)
}

// flush stores the delete lines, if they are more than limit.
func (c *comparison) flush(ctx context.Context, limit int) error {
	for len(c.lines) > limit {
		p := c.lines[:min(len(c.lines), maxBlob)]
		id, err := c.out.save(ctx, docsFile, p)
		if err != nil {
			return &ownError{err}
		}
		c.deletes.blobs[docsFile] = append(c.deletes.blobs[docsFile], id)
		c.deletes.Bytes += int64(len(p))
		c.deletes.Blobs++
		c.lines = c.lines[:copy(c.lines, c.lines[len(p):])]
	}
	return nil
}
