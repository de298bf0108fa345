package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/escrow-backup/escrow/internal/elastic"
)

// Increment is a way to build on an earlier snapshot.
type Increment string

const (
	// IncrementLog takes over segments in which documents died since, and records which: a shard's file becomes a log, whose
	// cost is in proportion to what changed. It is the default. With Options.Versions it is IncrementSegments: versions on delete
	// lines could refuse what was written after them.
	IncrementLog Increment = "log"
	// IncrementSegments takes over only segments in which nothing changed, and reads all others again: the files hold no dead
	// documents and no delete lines.
	IncrementSegments Increment = "segments"
)

func (i Increment) valid() error {
	if i != "" && i != IncrementLog && i != IncrementSegments {
		return fmt.Errorf("options: increment %q: want %q or %q", string(i), IncrementLog, IncrementSegments)
	}
	return nil
}

func (j *job) byLog() bool { return j.o.Increment != IncrementSegments && !j.o.Versions }

// NotReused says why something that a parent holds was read again.
type NotReused struct {
	Index    string `json:"index"`
	Shard    int    `json:"shard"`
	Segments int64  `json:"segments"` // how many; 0: the whole shard
	Why      string `json:"why"`
}

const (
	smallSegment = 1 << 20
	// A segment of which more than half is dead is written anew, if what is alive in all such segments of a shard is at most a
	// compactShare-th of the shard's bytes, or small.
	compactShare = 50
)

// shardPlan is what to take over and what to read of one shard.
type shardPlan struct {
	kept      []*storedSegment // in the order of the file; delete lines too
	planners  []*elastic.Planner
	notReused []NotReused
}

// next returns the next range to read, false if there is none.
func (p *shardPlan) next() (elastic.Range, bool) {
	for len(p.planners) > 0 {
		if r, ok := p.planners[0].Next(); ok {
			return r, true
		}
		p.planners = p.planners[1:]
	}
	return elastic.Range{}, false
}

// plan decides what of a shard is read. It stores the delete lines of what died.
func (j *job) plan(ctx context.Context, sh *elastic.Shard, out shardOutput) (*shardPlan, error) {
	segments, why, err := j.reusable(ctx, sh)
	if err != nil {
		return nil, err
	}
	if why == "" {
		c := &comparison{j: j, sh: sh, out: out, log: segments}
		p, err := c.plan(ctx)
		if p != nil || err != nil {
			return p, err
		}
		why = c.why
		j.log.Warn("read whole shard", "index", sh.Index.Name, "shard", sh.Info.Number, "why", why)
	} else {
		j.log.Debug("read whole shard", "index", sh.Index.Name, "shard", sh.Info.Number, "why", why)
	}
	ranges, err := sh.Plan(ctx)
	if err != nil {
		return nil, err
	}
	p := &shardPlan{planners: []*elastic.Planner{sh.Planner(ranges)}}
	if j.parent != nil {
		p.notReused = []NotReused{{Why: why}}
	}
	return p, nil
}

// comparison holds a parent's log of a shard against what the server counts now.
type comparison struct {
	j   *job
	sh  *elastic.Shard
	out shardOutput
	log []*storedSegment // the parent's, in the order of the file
	why string           // that nothing of it can be used

	ids      *idsOf
	newIDs   *newIDs // nil: not read
	mu       sync.Mutex
	lines    []byte // delete lines that are not stored yet
	deletes  *storedSegment
	unusable map[string]int64 // segments that are read again, by why
}

// verdict is what becomes of a segment.
type verdict struct {
	old *storedSegment
	now elastic.Range
	new *storedSegment // nil: read again, or gone
}

// plan returns nil, and sets why, if something does not fit: then everything is read.
func (c *comparison) plan(ctx context.Context) (*shardPlan, error) {
	var all []*verdict
	var bytes, deletes int64
	for _, g := range c.log {
		if bytes += g.Bytes; g.Deletes == 0 {
			all = append(all, &verdict{old: g})
		} else {
			deletes += g.Bytes
		}
	}
	if deletes > bytes/2 {
		c.why = "most of its log is delete lines"
		return nil, nil
	}
	slices.SortFunc(all, func(a, b *verdict) int { return cmp.Compare(a.old.From, b.old.From) })
	tail, err := c.count(ctx, all)
	if err != nil || c.why != "" {
		return nil, err
	}
	c.unusable = map[string]int64{}
	compact := map[*verdict]bool{}
	if c.j.byLog() {
		compact = c.worst(all)
	}
	if c.ids, err = c.j.parent.openIDs(c.sh.Index.Name, c.sh.Info.Number); err != nil {
		return nil, &ownError{err}
	}
	defer c.ids.close()
	var changed []*verdict
	died := int64(0)
	for i, v := range all {
		switch {
		case v.now.Docs == 0:
		case i == len(all)-1 && len(tail) > 0 && v.old.Bytes < cmp.Or(c.j.o.small, smallSegment):
			// A small last segment is joined with what came after it, so that many small backups do not leave many small segments.
		case !c.j.byLog() && (len(v.old.Dead) > 0 || v.now.Docs < v.old.Docs):
			c.again("documents of them were updated or deleted, and the increment is by segments")
		case compact[v]:
			c.again("more than half of them is dead: they are written anew")
		case v.now.Docs == v.old.Docs:
			v.new = v.old
		default:
			changed = append(changed, v)
			died += v.old.Docs - v.now.Docs
		}
	}
	if c.newIDs, err = c.readNewIDs(ctx, tail, died); err != nil {
		return nil, err
	}
	if err := c.died(ctx, changed); err != nil {
		var came *elastic.CameError
		if errors.As(err, &came) {
			c.why = came.Error()
			return nil, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	return c.assemble(ctx, all, tail)
}

// count asks the server for what is alive in the segments, and after the last of them.
func (c *comparison) count(ctx context.Context, all []*verdict) (tail []elastic.Range, err error) {
	asked := make([]elastic.Range, len(all))
	for i, v := range all {
		asked[i] = elastic.Range{From: v.old.From, To: v.old.To}
	}
	counted, tail, err := c.sh.CountAgain(ctx, asked)
	if err != nil {
		return nil, err
	}
	if elastic.CountDocs(counted)+elastic.CountDocs(tail) != c.sh.Total {
		c.why = "the counts by sequence number do not add up"
		return nil, nil
	}
	for i, v := range all {
		v.now = counted[i]
		// Below the checkpoint documents only go. Where one came, nothing that the parent says can be relied on.
		if v.now.Docs > v.old.Docs || v.now.Docs == v.old.Docs && v.now.Sum != v.old.Sum {
			c.why = (&elastic.CameError{Range: v.now}).Error()
		}
	}
	return tail, nil
}

// worst chooses the segments to write anew.
func (c *comparison) worst(all []*verdict) map[*verdict]bool {
	var dead []*verdict
	bytes := int64(0)
	for _, v := range all {
		bytes += v.old.Bytes
		if stored := v.old.Whole().Docs; v.now.Docs > 0 && stored-v.now.Docs > stored/2 {
			dead = append(dead, v)
		}
	}
	alive := func(v *verdict) float64 { return float64(v.now.Docs) / float64(v.old.Whole().Docs) }
	slices.SortFunc(dead, func(a, b *verdict) int {
		return cmp.Or(cmp.Compare(alive(a), alive(b)), cmp.Compare(a.old.From, b.old.From))
	})
	budget := max(bytes/compactShare, smallSegment)
	chosen := map[*verdict]bool{}
	for _, v := range dead {
		if budget -= int64(alive(v) * float64(v.old.Bytes)); budget < 0 {
			break
		}
		chosen[v] = true
	}
	return chosen
}

func (c *comparison) again(why string) {
	c.mu.Lock()
	c.unusable[why]++
	c.mu.Unlock()
}

// assemble puts the plan together: what is kept, in the order of the log, and between what is kept the ranges to read.
func (c *comparison) assemble(ctx context.Context, all []*verdict, tail []elastic.Range) (*shardPlan, error) {
	p := &shardPlan{}
	var run []elastic.Range
	end := func() {
		if len(run) > 0 {
			p.planners = append(p.planners, c.sh.Planner(run))
		}
		run = nil
	}
	kept := map[*storedSegment]*storedSegment{}
	for _, v := range all {
		switch {
		case v.new != nil:
			kept[v.old] = v.new
			end()
		case v.now.Docs > 0:
			run = append(run, v.now)
		}
	}
	run = append(run, tail...)
	end()
	dead := false
	for _, g := range c.log {
		if g.Deletes > 0 {
			// Delete lines that nothing dead stands before do nothing.
			if dead {
				p.kept = append(p.kept, g)
			}
			continue
		}
		if n := kept[g]; n != nil {
			dead = dead || len(n.Dead) > 0
			p.kept = append(p.kept, n)
		}
	}
	if c.deletes != nil {
		if err := c.flush(ctx, 0); err != nil {
			return nil, err
		}
		if c.deletes.Deletes > 0 {
			p.kept = append(p.kept, c.deletes)
		}
	}
	for why, n := range c.unusable {
		p.notReused = append(p.notReused, NotReused{Segments: n, Why: why})
	}
	slices.SortFunc(p.notReused, func(a, b NotReused) int { return cmp.Compare(a.Why, b.Why) })
	return p, nil
}

// tally is what a backup counts.
type tally struct {
	segments, reused, changed int64
	docsReused, read          int64
	notReused                 []NotReused
}

func (t *tally) add(o *tally) {
	t.segments += o.segments
	t.reused += o.reused
	t.changed += o.changed
	t.docsReused += o.docsReused
	t.read += o.read
	t.notReused = append(t.notReused, o.notReused...)
}

func (t *tally) result(r *Result) {
	r.Segments, r.SegmentsReused, r.SegmentsChanged = t.segments, t.reused, t.changed
	r.DocumentsReused, r.DocumentsRead = t.docsReused, t.read
	slices.SortStableFunc(t.notReused, func(a, b NotReused) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.Shard, b.Shard))
	})
	r.NotReused = t.notReused
}
