package backup

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

// DifferenceError says that an increment would have taken over what the cluster no longer holds: the rule by which increments are
// made did not hold for this shard, or its earlier snapshots are not what the cluster held. Nothing was kept. A backup with
// Options.Full reads everything anew.
type DifferenceError struct {
	Index    string
	Shard    int
	From, To int64 // sequence numbers of the segment
	Detail   string
}

func (e *DifferenceError) Error() string {
	return fmt.Sprintf("index %s shard %d: sequence numbers [%d,%d): the earlier snapshots do not hold what the cluster does: %s; make a full backup",
		e.Index, e.Shard, e.From, e.To, e.Detail)
}

// verifyKept reads what a shard takes over, and compares. It returns how many documents it read.
func (j *job) verifyKept(ctx context.Context, sh *elastic.Shard, kept []*storedSegment) (int64, error) {
	g, gctx := errgroup.WithContext(ctx)
	read := int64(0)
	for _, k := range kept {
		read += k.Docs
	}
	sh.WillRead(read)
	for _, k := range kept {
		if k.Deletes > 0 {
			continue
		}
		if err := j.searches.Acquire(gctx, 1); err != nil {
			break // Wait says why
		}
		g.Go(func() error {
			defer j.searches.Release(1)
			return j.verifySegment(gctx, sh, k)
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return read, nil
}

func (j *job) verifySegment(ctx context.Context, sh *elastic.Shard, k *storedSegment) error {
	var digest layout.Digest
	var lines []byte
	err := sh.Pages(ctx, elastic.Range{From: k.From, To: k.To, Docs: k.Docs, Sum: k.Sum}, true, func(hits []elastic.Hit) (err error) {
		for i := range hits {
			if lines, err = digest.AddWith(&hits[i].Document, lines); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !digest.Equal(k.Digest) {
		return &ownError{&DifferenceError{Index: sh.Index.Name, Shard: sh.Info.Number, From: k.From, To: k.To,
			Detail: fmt.Sprintf("%d documents have digest %v, want %v", k.Docs, digest, k.Digest)}}
	}
	return nil
}
