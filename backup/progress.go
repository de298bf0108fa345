package backup

import (
	"sync"
	"time"
)

const progressEvery = 100 * time.Millisecond

// reporter calls the user's progress function: serially, not too often, and a last time at the end.
type reporter struct {
	fn func(Progress)

	mu      sync.Mutex
	now     Progress
	started time.Time
	said    time.Time
}

func newReporter(fn func(Progress), started time.Time, indices int) *reporter {
	return &reporter{fn: fn, started: started, now: Progress{Indices: indices}}
}

// shardProgress is what one attempt at a shard adds to the progress.
type shardProgress struct {
	r     *reporter
	index string
	total Progress
}

func (r *reporter) shard(index string, docs int64) *shardProgress {
	s := &shardProgress{r: r, index: index}
	r.change(func(p *Progress) { s.total.Docs = docs; p.Docs += docs; p.Index = index })
	return s
}

func (s *shardProgress) add(docs, bytes int64, reused bool) {
	s.r.change(func(p *Progress) {
		for _, x := range []*Progress{p, &s.total} {
			x.DocsDone += docs
			x.BytesDone += bytes
			if reused {
				x.DocsReused += docs
			}
		}
		p.Index = s.index
	})
}

// drop takes back what a failed attempt added.
func (s *shardProgress) drop() {
	s.r.change(func(p *Progress) {
		p.Docs -= s.total.Docs
		p.DocsDone -= s.total.DocsDone
		p.BytesDone -= s.total.BytesDone
		p.DocsReused -= s.total.DocsReused
	})
}

func (r *reporter) indexDone(name string) {
	r.change(func(p *Progress) { p.IndicesDone++; p.Index = name })
}

// done says the last word, once.
func (r *reporter) done() {
	r.change(func(p *Progress) { p.Done = true })
}

func (r *reporter) change(f func(p *Progress)) {
	if r.fn == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now.Done {
		return
	}
	f(&r.now)
	now := time.Now()
	if !r.now.Done && now.Sub(r.said) < progressEvery {
		return
	}
	r.said = now
	r.now.Elapsed = now.Sub(r.started)
	r.fn(r.now)
}
