package backup

import (
	"context"
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
