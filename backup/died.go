package backup

import (
	"context"
	"errors"
	"hash/maphash"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

const (
	// mostNewIDs is how many ids are held of a shard.
	mostNewIDs = 1 << 19
	// newIDsShare is how many times as many documents the changed segments must hold: an id costs the server more than a sequence number, and may
	// be asked for in vain.
	newIDsShare = 4
)

// newIDs holds the ids of a shard's documents that are above the parent's segments, as 128 bits of hash.
type newIDs struct {
	seeds [2]maphash.Seed
	ids   map[[2]uint64]struct{}
}

// hash takes an id as layout.AppendString writes it.
func (n *newIDs) hash(id []byte) [2]uint64 {
	return [2]uint64{maphash.Bytes(n.seeds[0], id), maphash.Bytes(n.seeds[1], id)}
}

func (n *newIDs) has(id []byte) bool {
	_, ok := n.ids[n.hash(id)]
	return ok
}

// readNewIDs reads the ids of the documents in tail, which ascends. It returns nil if they are more than it is worth, for changed segments that
// hold so many documents, or if they say nothing of those.
func (c *comparison) readNewIDs(ctx context.Context, tail []elastic.Range, changed int64) (*newIDs, error) {
	docs := elastic.CountDocs(tail)
	if docs == 0 || docs > min(mostNewIDs, changed/newIDsShare) || !c.sh.Index.UniqueIDs() {
		return nil, nil
	}
	if err := c.j.searches.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	defer c.j.searches.Release(1)
	n := &newIDs{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, ids: make(map[[2]uint64]struct{}, docs)}
	var text []byte
	r := elastic.Range{From: tail[0].From, To: tail[len(tail)-1].To, Docs: docs}
	err := c.sh.IDs(ctx, r, func(id string) {
		text = layout.AppendString(text[:0], id)
		n.ids[n.hash(text)] = struct{}{}
	})
	return n, err
}

// died finds out which documents of a segment are dead now: those whose ids new documents have, if that explains what the server counts, else
// those that are not among the sequence numbers that the server still has.
//
// In a shard, a document is dead as soon as another has its id, and below the checkpoint none comes back: so what is alive is among the parent's
// living documents without a new one of their id, and as many of these are all of them.
func (c *comparison) died(ctx context.Context, v *verdict) error {
	if v.old.Ambiguous {
		c.again("their sequence numbers stand for several documents")
		return nil
	}
	if err := c.j.searches.Acquire(ctx, 1); err != nil {
		return context.Cause(ctx)
	}
	defer c.j.searches.Release(1)
	b, err := c.ids.read(v.old)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.j.log.Warn("read segment again", "index", c.sh.Index.Name, "shard", c.sh.Info.Number, "error", err)
		c.again("their ids in the parent cannot be read")
		return nil
	}
	f := newFuneral(v)
	if f.newIDs = c.newIDs; f.newIDs != nil {
		err = layout.ReadIDs(b, v.old.From, f.line)
	}
	if f.newIDs == nil || err == nil && !f.explains(v.now) {
		f = newFuneral(v)
		if f.seqs, err = c.sh.Survivors(ctx, v.now); err != nil {
			return err
		}
		err = layout.ReadIDs(b, v.old.From, f.line)
	}
	switch {
	case errors.Is(err, errCame):
		return &cameError{v.old}
	case errors.Is(err, errNoDigests):
		c.again("they are of an older program, which kept no digests of single documents")
		return nil
	case err != nil || f.ordinal != v.old.Whole().Docs:
		c.j.log.Warn("read segment again", "index", c.sh.Index.Name, "shard", c.sh.Info.Number, "error", err)
		c.again("their ids in the parent are not what the sidecar says")
		return nil
	case len(f.seqs) > 0:
		return &cameError{v.old}
	case !f.explains(v.now):
		c.again("their ids in the parent are not what the sidecar says")
		return nil
	}
	g := *v.old
	g.SetDead(f.dead, f.left)
	g.changed = true
	v.new = &g
	return c.bury(ctx, f.lines, f.fresh)
}

var (
	errCame      = errors.New("a document came")
	errNoDigests = errors.New("no digests")
)

// funeral goes through a segment's stored documents.
type funeral struct {
	newIDs *newIDs       // if not nil, what says that a document is dead
	seqs   []int64       // else the survivors that were not met yet
	before []int64       // ordinals of the parent's dead that were not met yet
	left   layout.Stored // what is alive

	ordinal int64
	dead    []int64
	lines   []byte // delete lines of what died since the parent
	fresh   int64
}

func newFuneral(v *verdict) *funeral {
	return &funeral{before: v.old.Ordinals(), left: v.old.Whole()}
}

// explains reports whether what is left is what the server counts.
func (f *funeral) explains(now elastic.Range) bool {
	return f.left.Docs == now.Docs && f.left.Sum == now.Sum
}

func (f *funeral) alive(l *layout.IDLine, wasDead bool) (bool, error) {
	switch {
	case f.newIDs != nil:
		return !wasDead && !f.newIDs.has(l.ID()), nil
	case len(f.seqs) == 0 || f.seqs[0] > l.SeqNo:
		return false, nil
	case f.seqs[0] < l.SeqNo || wasDead:
		return false, errCame // one that was never stored, or one that had a delete line
	}
	f.seqs = f.seqs[1:]
	return true, nil
}

func (f *funeral) line(l *layout.IDLine) error {
	ordinal := f.ordinal
	f.ordinal++
	wasDead := len(f.before) > 0 && f.before[0] == ordinal
	if wasDead {
		f.before = f.before[1:]
	}
	if !l.HasDigest {
		return errNoDigests
	}
	if alive, err := f.alive(l, wasDead); alive || err != nil {
		return err
	}
	f.dead = append(f.dead, ordinal)
	f.left.Docs--
	f.left.Sum -= l.SeqNo
	f.left.Digest.SubtractLow(l.Low)
	if wasDead {
		return nil
	}
	d, err := l.Document()
	if err == nil {
		f.lines, err = d.AppendLines(f.lines)
	}
	f.fresh++
	return err
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
