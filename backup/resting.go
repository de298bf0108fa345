package backup

import (
	"context"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

// mayRest returns what the parent says of a shard of which all was final in it, so that it may still be what it was: nil if there is no such.
func (j *job) mayRest(ix *elastic.Index, n int) *layout.Shard {
	if j.parent == nil || j.verifying {
		return nil
	}
	old, _ := j.parent.shard(ix, n)
	switch {
	case old == nil || !old.Sealed || old.HistoryUUID == "" || old.GlobalCheckpoint != old.MaxSeqNo:
		return nil
	case !j.byLog() && old.Dead+old.Deletes > 0: // it is to be read again without what is dead
		return nil
	case j.parent.reserialised(j.manifest.Cluster, ix) != "":
		return nil
	}
	return old
}

// resting takes over a whole shard on which nothing was done since the parent was made: nil if that cannot be said. Every operation
// takes a sequence number. Where the highest one, the history and the primary term are still the parent's, and the parent's checkpoint
// had reached it before its point in time was opened, the shard holds what it held in that point in time. So no point in time is opened, and
// nothing is counted. As for other increments, the last document has to be the parent's (see rewound).
func (j *job) resting(ctx context.Context, out output, ix *elastic.Index, old *layout.Shard, stands *elastic.Standing) (*shardJob, error) {
	now, docs, n := &stands.Info, stands.Docs, old.Number
	if now.HistoryUUID != old.HistoryUUID || now.PrimaryTerm != old.PrimaryTerm || now.MaxSeqNo != old.MaxSeqNo ||
		now.GlobalCheckpoint != old.GlobalCheckpoint || docs >= 0 && docs != old.Docs {
		return nil, nil
	}
	segments, err := j.parent.segments(ix.Name, n)
	if err != nil {
		return nil, nil // it will be said where everything is read
	}
	last := func(ctx context.Context, upTo int64) (*Document, int64, error) { return j.c.Last(ctx, ix, n, upTo) }
	if _, same, err := j.parent.rewound(ctx, ix.Name, last, old, segments); !same || err != nil {
		return nil, err
	}
	s := &shardJob{info: *now, asOf: stands.AsOf, sidecar: layout.Sidecar{Format: layout.SidecarFormat, Segments: []layout.Segment{}}}
	s.info.Sealed = true
	if err := s.assemble(&shardPlan{kept: segments}, nil); err != nil {
		return nil, err
	}
	if s.info.Docs != old.Docs || !s.info.Digest.Equal(old.Digest) {
		return nil, nil // some of its segments were not final
	}
	if s.out, err = out.shard(ctx, ix.Name, n); err != nil {
		return nil, &ownError{err}
	}
	s.count = j.progress.shard(ix.Name, s.info.Docs)
	s.takeOver(segments)
	return s, nil
}

// takeOver counts what is kept of the parent.
func (s *shardJob) takeOver(kept []*storedSegment) {
	for _, g := range kept {
		s.count.add(g.Docs, g.Bytes, true)
		if g.Deletes == 0 {
			s.tally.reused++
			s.tally.docsReused += g.Docs
		}
		if g.changed {
			s.tally.changed++
		}
	}
}
