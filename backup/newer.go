package backup

import (
	"context"
	"hash/maphash"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

const (
	// mostNewer is how many ids are held of a shard.
	mostNewer = 1 << 19
	// newerShare is how many times as many documents the changed segments must hold: an id costs the server some more than a survivor.
	newerShare = 2
)

// newer holds the ids of the documents that a shard got since its parent, as hashes that do not meet.
type newer struct {
	seeds [2]maphash.Seed
	ids   map[[2]uint64]struct{}
}

func (n *newer) hash(id []byte) [2]uint64 {
	return [2]uint64{maphash.Bytes(n.seeds[0], id), maphash.Bytes(n.seeds[1], id)}
}

// readNewer reads the ids of the documents in tail, which ascends. It returns nil if there are more than it is worth, for changed segments that
// hold so many documents.
func (c *comparison) readNewer(ctx context.Context, tail []elastic.Range, changed int64) (*newer, error) {
	docs := elastic.CountDocs(tail)
	if docs == 0 || docs > min(mostNewer, changed/newerShare) {
		return nil, nil
	}
	if err := c.j.searches.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	defer c.j.searches.Release(1)
	n := &newer{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, ids: make(map[[2]uint64]struct{}, docs)}
	var text []byte
	r := elastic.Range{From: tail[0].From, To: tail[len(tail)-1].To, Docs: docs}
	err := c.sh.IDs(ctx, r, func(id string) {
		text = layout.AppendString(text[:0], id)
		n.ids[n.hash(text)] = struct{}{}
	})
	return n, err
}

// survivors returns the sequence numbers of a segment's documents that were alive in the parent and that no newer document took the place of,
// nil if they are not as many as the server counted, with the same sum. Every document that is alive is among them: in a shard, a document is dead
// as soon as another has its id, and below the checkpoint none comes back. So as many of them are all of them.
func (n *newer) survivors(b []byte, v *verdict) []int64 {
	if n == nil {
		return nil
	}
	before := v.old.Ordinals()
	seqs := make([]int64, 0, v.old.Docs)
	sum, ordinal := int64(0), int64(-1)
	err := layout.ReadIDs(b, v.old.From, func(l *layout.IDLine) error {
		ordinal++
		if len(before) > 0 && before[0] == ordinal {
			before = before[1:]
			return nil
		}
		if _, gone := n.ids[n.hash(l.ID())]; !gone {
			seqs = append(seqs, l.SeqNo)
			sum += l.SeqNo
		}
		return nil
	})
	if err != nil || int64(len(seqs)) != v.now.Docs || sum != v.now.Sum {
		return nil
	}
	return seqs
}
