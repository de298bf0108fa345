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
	// newIDsShare is how many ids cost the server as much as to find one document that died by counting.
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

// has reports whether a new document has an id. Of nil none has.
func (n *newIDs) has(id []byte) bool {
	if n == nil {
		return false
	}
	_, ok := n.ids[n.hash(id)]
	return ok
}

// readNewIDs reads the ids of the documents in tail, which ascends. It returns nil if they are more than it is worth to find so many that died, or
// if they say nothing of those.
func (c *comparison) readNewIDs(ctx context.Context, tail []elastic.Range, died int64) (*newIDs, error) {
	docs := elastic.CountDocs(tail)
	if docs == 0 || docs > min(mostNewIDs, died*newIDsShare) || !c.sh.Index.UniqueIDs() {
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
