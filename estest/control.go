package estest

import (
	"bytes"
	"fmt"
)

// Doc is a document to seed. Its index is created if it is absent.
type Doc struct {
	ID, Routing string // Routing "": none; ID "": generated
	Source      []byte
}

// Index stores documents, as index operations of a bulk request, without refreshing. It stops at the first that is refused.
func (h *Handler) Index(index string, docs ...Doc) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range docs {
		w := &write{kind: "index", index: index, id: d.ID, routing: d.Routing, hasRouting: d.Routing != "", source: bytes.Clone(d.Source), ifSeq: -1}
		if res := h.execute(w); res.err != nil {
			return fmt.Errorf("index document %q into %s: %w", d.ID, index, res.err)
		}
	}
	return nil
}

// Refresh makes the writes of an index visible to searches.
func (h *Handler) Refresh(index string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	ix := h.indices[index]
	if ix == nil {
		return fmt.Errorf("refresh %s: %w", index, noIndex(index))
	}
	for _, s := range ix.shards {
		s.refresh()
	}
	return nil
}

func (h *Handler) withShard(verb, index string, n int, fn func(*shard)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	ix := h.indices[index]
	if ix == nil {
		return fmt.Errorf("%s %s: %w", verb, index, noIndex(index))
	}
	if n < 0 || n >= len(ix.shards) {
		return fmt.Errorf("%s %s: no shard %d", verb, index, n)
	}
	fn(ix.shards[n])
	return nil
}

// SetGlobalCheckpoint holds a shard's global checkpoint at n, as a replica that lags does: operations above it are acknowledged, visible after a
// refresh, and lost by a Failover. -1 is below every operation.
func (h *Handler) SetGlobalCheckpoint(index string, number int, n int64) error {
	return h.withShard("hold the global checkpoint of", index, number, func(s *shard) { s.held = &n })
}

// ReleaseGlobalCheckpoint lets it follow the operations again.
func (h *Handler) ReleaseGlobalCheckpoint(index string, number int) error {
	return h.withShard("release the global checkpoint of", index, number, func(s *shard) { s.held = nil })
}

// Failover makes another copy the primary: operations above the global checkpoint are gone, the older versions of the documents that they
// replaced or deleted are back with their old sequence numbers, later operations get the lost numbers again, the primary term is one higher,
// and the new primary is refreshed. The history uuid stays. Points in time go on showing what they showed: as if they were open on a copy that
// lives; DropContexts closes them. It returns how many operations were lost.
func (h *Handler) Failover(index string, number int) (lost int, err error) {
	err = h.withShard("fail over", index, number, func(s *shard) { lost = s.failover() })
	return lost, err
}

// PutBack makes a shard what it was after operation n, as a node does whose disk is replaced by an older image of it: what came later is
// undone, acknowledged or not, later operations get its numbers again, and the primary term is one higher than it was then. The
// history uuid stays.
func (h *Handler) PutBack(index string, number int, n int64) error {
	return h.withShard("put back", index, number, func(s *shard) {
		s.held = &n
		s.failover()
		s.term = 1
		if len(s.ops) > 0 {
			s.term = s.ops[len(s.ops)-1].cur.term + 1
		}
	})
}

// NewHistory gives a shard a new history uuid, as a restore from a snapshot or a forced stale allocation does.
func (h *Handler) NewHistory(index string, number int) error {
	return h.withShard("renew the history of", index, number, func(s *shard) { s.history = newUUID(); s.term++ })
}

// OpenContexts counts the points in time and scrolls that were opened and not closed, nor expired.
func (h *Handler) OpenContexts() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, c := range h.contexts {
		if !c.gone && !h.o.Now().After(c.expires) {
			n++
		}
	}
	return n
}

// DropContexts closes every point in time and scroll, as a restart does.
func (h *Handler) DropContexts() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.contexts)
}

// Count is the number of documents of an index, refreshed or not; 0 if there is no such index.
func (h *Handler) Count(index string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	if ix := h.indices[index]; ix != nil {
		for _, s := range ix.shards {
			for _, d := range s.live {
				if !d.deleted {
					n++
				}
			}
		}
	}
	return n
}

// ShardOf is the shard that a document of an index with so many primary shards belongs to (default number_of_routing_shards); routing "" means
// none, and the id decides. Indices of Options.Version 9.3 and later are split by PlainShardOf.
func ShardOf(id, routing string, shards int) int {
	if routing == "" {
		routing = id
	}
	return shardOf(routing, shards, defaultRoutingShards(shards))
}

// PlainShardOf is ShardOf for indices that were made by 9.3 or later, where the hash alone decides unless number_of_routing_shards was set.
func PlainShardOf(id, routing string, shards int) int {
	if routing == "" {
		routing = id
	}
	return shardOf(routing, shards, 0)
}
