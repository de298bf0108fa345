package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"sync/atomic"

	"github.com/escrow-backup/escrow/layout"
)

// shardLog is a documents file in which not everything is alive, by its sidecar.
type shardLog struct{ segments []layout.Segment }

// readLog returns nil where a shard's file holds live documents only, or where there is no sidecar to tell.
func readLog(src fs.FS, index string, sh *layout.Shard) (*shardLog, error) {
	if sh.Dead == 0 && sh.Deletes == 0 {
		return nil, nil
	}
	side, err := layout.ReadSidecar(src, index, sh.Number)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		if verr := side.Valid(); verr != nil {
			err = fmt.Errorf("%s: %w: %w", layout.SidecarPath(index, sh.Number), ErrDamaged, verr)
		}
	}
	if err != nil {
		return nil, err
	}
	return &shardLog{side.Segments}, nil
}

// documents yields what is alive, in the order of the file.
func (l *shardLog) documents(ctx context.Context, src fs.FS, from string, sh *layout.Shard, to string, want keep, kept *atomic.Int64) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		path := layout.DocumentsPath(from, sh.Number)
		var sum layout.Digest
		var docs, chosen int64
		var lines []byte
		at := logPlace{segments: l.segments}
		for d, err := range rawDocuments(src, from, sh.Number, to) {
			if err == nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			dead, use := false, false
			if err == nil {
				var fits bool
				if dead, fits = at.next(d.Deleted); !fits {
					err = fmt.Errorf("%s: %w: it does not fit %s", path, ErrDamaged, layout.SidecarPath(from, sh.Number))
				}
			}
			if err == nil && !dead {
				lines, err = sum.AddWith(&d, lines)
				docs++
				if use, err = want.of(d, err); use {
					chosen++
				}
			}
			if err != nil {
				yield(Document{}, err)
				return
			}
			if use && !yield(d, nil) {
				return
			}
		}
		if !at.end() {
			yield(Document{}, fmt.Errorf("%s: %w: it ends before %s does", path, ErrDamaged, layout.SidecarPath(from, sh.Number)))
			return
		}
		if err := checkShard(from, sh, docs, sum); err != nil {
			yield(Document{}, err)
		} else if kept != nil {
			kept.Add(chosen)
		}
	}
}

// logPlace is a place in a log: before the pair of lines with an ordinal in the first segment.
type logPlace struct {
	segments []layout.Segment
	ordinal  int64
	dead     []int64 // ordinals of the first segment that are still to come
	begun    bool
}

// end reports whether nothing is left.
func (p *logPlace) end() bool {
	return len(p.segments) == 0 || len(p.segments) == 1 && p.begun && p.ordinal == p.segments[0].Whole().Docs+p.segments[0].Deletes
}

// next moves past a pair of lines and reports whether it holds nothing that is alive; fits says whether the sidecar has it too.
func (p *logPlace) next(deleted bool) (dead, fits bool) {
	for len(p.segments) > 0 {
		g := &p.segments[0]
		if !p.begun {
			p.ordinal, p.dead, p.begun = 0, g.Ordinals(), true
		}
		if p.ordinal == g.Whole().Docs+g.Deletes {
			p.segments, p.begun = p.segments[1:], false
			continue
		}
		if deleted != (g.Deletes > 0) {
			return false, false
		}
		ordinal := p.ordinal
		p.ordinal++
		if deleted {
			return true, true
		}
		if len(p.dead) > 0 && p.dead[0] == ordinal {
			p.dead = p.dead[1:]
			return true, true
		}
		return false, true
	}
	return false, false
}
