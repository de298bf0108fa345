package repository

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/escrow-backup/escrow/internal/pack"
	"github.com/escrow-backup/escrow/repository/backend"
)

// planner makes one plan.
type planner struct {
	r      *Repo
	plan   *PrunePlan
	stored map[ID]int64  // packs
	files  map[ID][]ID   // the packs that each index file names
	blobs  map[ID]int    // and how many blobs
	packs  []packContent // in the order of index.Packs
}

// packContent is what a pack that the indexes name holds.
type packContent struct {
	id    ID
	size  int64 // -1: it is not there
	whole bool  // it is as large as its blobs make it

	types     [2]bool
	plain     bool  // uncompressed blobs
	needed    int64 // bytes of the blobs that it is the one to keep
	copies    int64 // bytes of further copies
	unneeded  int64 // bytes of blobs that are not used
	keepsBlob bool
}

func (c *packContent) spare() int64 { return c.copies + c.unneeded }
func (c *packContent) mixed() bool  { return c.types[pack.Data] && c.types[pack.Tree] }

// blobSize is what a blob takes in its pack.
func blobSize(b pack.Blob) int64 { return int64(b.Length) + int64(b.EntrySize()) }

func (p *planner) make(ctx context.Context) error {
	l, err := p.r.listing(ctx)
	if err != nil {
		return err
	}
	p.plan.state, p.stored = l.digest(), l.packs
	if err := p.loadIndexes(ctx, sortedIDs(l.indexes)); err != nil {
		return err
	}
	trees, err := p.loadTrees(ctx, sortedIDs(l.snapshots))
	if err != nil {
		return err
	}
	p.plan.Snapshots = len(trees)
	if p.plan.used, err = p.r.used(ctx, p.plan.ix, p.stored, trees); err != nil {
		return err
	}
	for _, step := range []func() error{p.survey, p.assign, p.missing, p.count, p.decide, p.reassign, p.chooseIndexes, p.summarize} {
		if ctx.Err() != nil { // with many blobs, each takes a while
			return context.Cause(ctx)
		}
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// loadIndexes reads exactly the given files, so that the plan knows what it builds on.
func (p *planner) loadIndexes(ctx context.Context, ids []ID) error {
	p.files, p.blobs = map[ID][]ID{}, map[ID]int{}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(loaders)
	for _, id := range ids {
		g.Go(func() error {
			packs, err := p.r.readIndex(ctx, backend.Handle{Type: backend.Index, Name: id.String()})
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			p.plan.ix.Add(packs)
			for _, q := range packs {
				p.files[id] = append(p.files[id], q.ID)
				p.blobs[id] += len(q.Blobs)
			}
			return nil
		})
	}
	return g.Wait()
}

// loadTrees gives the roots of the snapshots.
func (p *planner) loadTrees(ctx context.Context, ids []ID) ([]ID, error) {
	trees := make([]ID, len(ids))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(loaders)
	for i, id := range ids {
		g.Go(func() error {
			s, err := p.r.loadSnapshot(ctx, backend.Handle{Type: backend.Snapshot, Name: id.String()})
			if err == nil {
				trees[i] = s.Tree
			}
			return err
		})
	}
	return trees, g.Wait()
}

// survey finds what there is of each pack. For the time being every copy of a used blob counts as needed.
func (p *planner) survey() error {
	for id, blobs := range p.plan.ix.Packs() {
		c := packContent{id: id, size: -1}
		if size, ok := p.stored[id]; ok {
			c.size = size
			c.whole = contiguous(blobs) == nil && size == pack.Size(blobs)
		}
		for _, b := range blobs {
			c.types[b.Type] = true
			c.plain = c.plain || b.Plain == 0
			if _, used := p.plan.used[b.Type][b.ID]; !used {
				c.unneeded += blobSize(b)
			}
		}
		p.packs = append(p.packs, c)
	}
	return nil
}

// each calls do for each blob of each pack, with the pack's number.
func (p *PrunePlan) each(do func(n uint32, b pack.Blob)) {
	n := uint32(0)
	for _, blobs := range p.ix.Packs() {
		for _, b := range blobs {
			do(n, b)
		}
		n++
	}
}

// assign chooses for each used blob the pack that is to keep it: the one with the least waste.
func (p *planner) assign() error {
	p.plan.each(func(n uint32, b pack.Blob) {
		chosen, used := p.plan.used[b.Type][b.ID]
		if !used || !p.packs[n].whole {
			return
		}
		if chosen == 0 || p.packs[n].unneeded < p.packs[chosen-1].unneeded {
			p.plan.used[b.Type][b.ID] = n + 1
		}
	})
	return nil
}

// missing returns a *MissingError if a used blob is in no pack that is whole.
func (p *planner) missing() error {
	var e MissingError
	for t := range p.plan.used {
		for id, n := range p.plan.used[t] {
			if n == 0 {
				e.Blobs = append(e.Blobs, id)
			}
		}
	}
	if len(e.Blobs) == 0 {
		return nil
	}
	p.plan.each(func(n uint32, b pack.Blob) {
		chosen, used := p.plan.used[b.Type][b.ID]
		if last := len(e.Packs) - 1; used && chosen == 0 && (last < 0 || e.Packs[last] != p.packs[n].id) {
			e.Packs = append(e.Packs, p.packs[n].id)
		}
	})
	slices.SortFunc(e.Blobs, compareIDs)
	return &e
}

// count finds how much of each pack is needed.
func (p *planner) count() error {
	seen := map[ID]bool{} // in this pack
	last := uint32(0)
	p.plan.each(func(n uint32, b pack.Blob) {
		if n != last {
			clear(seen)
			last = n
		}
		c := &p.packs[n]
		switch chosen, used := p.plan.used[b.Type][b.ID]; {
		case !used:
			p.plan.Unused.add(blobSize(b))
		case chosen == n+1 && !seen[b.ID]:
			seen[b.ID] = true
			c.needed += blobSize(b)
			c.keepsBlob = true
			p.plan.Used.add(blobSize(b))
		default:
			c.copies += blobSize(b)
			p.plan.Duplicate.add(blobSize(b))
		}
	})
	return nil
}

// decide chooses the packs' fates.
func (p *planner) decide() error {
	p.plan.packs = make([]packPlan, len(p.packs))
	opt := p.plan.options
	var must, may []int
	unused := int64(0)
	for i := range p.packs {
		c, d := &p.packs[i], &p.plan.packs[i]
		d.id = c.id
		switch {
		case c.size < 0:
			d.fate = gone
		case !c.keepsBlob:
			d.fate = remove
		case c.mixed(), opt.RepackUncompressed && c.plain && p.r.cfg.Version >= 2, c.types[pack.Tree] && c.spare() > 0:
			// Packs of trees are what every operation reads, so waste in them is not tolerated.
			must = append(must, i)
			unused += c.spare()
		case c.spare() > 0:
			may = append(may, i)
			unused += c.spare()
		}
	}
	// The largest share of waste first: it frees the most for the least work.
	slices.SortStableFunc(may, func(a, b int) int { return cmp.Compare(p.packs[b].waste(), p.packs[a].waste()) })
	left := opt.MaxRepackSize
	take := func(i int) bool {
		if opt.MaxRepackSize > 0 {
			if p.packs[i].size > left {
				return false
			}
			left -= p.packs[i].size
		}
		p.plan.packs[i].fate = repack
		unused -= p.packs[i].spare()
		return true
	}
	for _, i := range must {
		take(i)
	}
	limit := opt.MaxUnused.limit(p.plan.Used.Bytes)
	for _, i := range may {
		if unused > limit {
			take(i)
		}
	}
	if opt.RepackSmall {
		for t := range pack.Tree + 1 {
			p.join(t, left, take)
		}
	}
	return nil
}

func (c *packContent) waste() float64 { return float64(c.spare()) / float64(c.needed) }

// join takes small packs of a type, if that at least halves their number: otherwise it would do the same over and over.
func (p *planner) join(t pack.Type, left int64, take func(int) bool) {
	target := int64(p.r.opt.PackSize)
	var small []int
	total := int64(0)
	for i := range p.packs {
		c := &p.packs[i]
		if p.plan.packs[i].fate != keep || !c.types[t] || c.size >= target*8/10 ||
			p.plan.options.MaxRepackSize > 0 && total+c.size > left {
			continue
		}
		small = append(small, i)
		total += c.size
	}
	if len(small) < 2 || int64(len(small)) < 2*((total+target-1)/target) {
		return
	}
	for _, i := range small {
		take(i)
	}
}

// reassign lets packs that stay keep what they hold anyhow, so that less is copied.
func (p *planner) reassign() error {
	p.plan.each(func(n uint32, b pack.Blob) {
		chosen, used := p.plan.used[b.Type][b.ID]
		if !used || chosen == n+1 || p.plan.packs[n].fate != keep || p.plan.packs[chosen-1].fate == keep {
			return
		}
		p.plan.used[b.Type][b.ID] = n + 1
		p.packs[chosen-1].needed -= blobSize(b)
		p.packs[n].needed += blobSize(b)
		p.packs[n].copies -= blobSize(b)
	})
	return nil
}

// smallIndexes is how many small index files are joined even if nothing else is to be done.
const smallIndexes = 32

// chooseIndexes finds the index files to be written anew: those that name a pack that goes, and then small ones, too.
func (p *planner) chooseIndexes() error {
	number := func(id ID) int {
		n, _ := slices.BinarySearchFunc(p.packs, id, func(c packContent, id ID) int { return compareIDs(c.id, id) })
		return n
	}
	var small []ID
	for file, packs := range p.files {
		switch {
		case slices.ContainsFunc(packs, func(id ID) bool { return p.plan.packs[number(id)].fate != keep }):
			p.plan.indexes = append(p.plan.indexes, file)
		case p.blobs[file] < p.r.indexLimits.blobs/2:
			small = append(small, file)
		}
	}
	if len(p.plan.indexes) > 0 || len(small) >= smallIndexes {
		p.plan.indexes = append(p.plan.indexes, small...)
	}
	slices.SortFunc(p.plan.indexes, compareIDs)
	// Several files may name a pack, each with other blobs: what one of them says must not be lost because another stays.
	for _, file := range p.plan.indexes {
		for _, id := range p.files[file] {
			p.plan.packs[number(id)].index = true
		}
	}
	return nil
}

// summarize fills in what people want to know.
func (p *planner) summarize() error {
	plan := p.plan
	indexed := map[ID]bool{}
	for i := range p.packs {
		c := &p.packs[i]
		indexed[c.id] = true
		switch plan.packs[i].fate {
		case keep:
			plan.Keep.add(c.size)
			plan.UnusedAfter += c.spare()
		case repack:
			plan.Repack.add(c.size)
			plan.Freed += c.size - c.needed
		case remove:
			plan.Remove.add(c.size)
			plan.Freed += c.size
		case gone:
			plan.Gone = append(plan.Gone, c.id)
		}
	}
	for _, id := range sortedIDs(p.stored) {
		if !indexed[id] {
			plan.unknown = append(plan.unknown, id)
			plan.Unknown.add(p.stored[id])
			plan.Freed += p.stored[id]
		}
	}
	plan.RewriteIndexes = len(plan.indexes)
	return nil
}
