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
	clock   func() time.Time
	// unopened are the documents of indices of which not every shard was opened yet.
	unopened map[string]int64
	known    bool // unopened has every index
	past     []sample
}

// sample is how far a backup was at some time.
type sample struct {
	at   time.Duration // since the start
	docs int64
}

// recently is the time whose speed the rest is estimated by.
const recently = 30 * time.Second

func newReporter(fn func(Progress), started time.Time, indices int) *reporter {
	return &reporter{fn: fn, started: started, clock: time.Now, now: Progress{Indices: indices}, past: []sample{{}}, unopened: map[string]int64{}}
}

// expect says how many documents the server counts, nil if that is not known.
func (r *reporter) expect(names []string, counts map[string]int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known, r.unopened = counts != nil, map[string]int64{}
	for _, name := range names {
		r.unopened[name] = counts[name]
	}
}

// left estimates the rest from the speed of late. A speed from the beginning on would be wrong for long where parts of a cluster take
// many times longer than others.
func (r *reporter) left(elapsed time.Duration) time.Duration {
	if last := r.past[len(r.past)-1]; elapsed-last.at >= time.Second {
		r.past = append(r.past, sample{elapsed, r.now.DocsDone})
	}
	for len(r.past) > 2 && r.past[1].at <= elapsed-max(recently, elapsed/10) {
		r.past = r.past[1:]
	}
	rest := r.now.Docs - r.now.DocsDone
	for _, docs := range r.unopened {
		rest += docs
	}
	done, took := r.now.DocsDone-r.past[0].docs, elapsed-r.past[0].at
	if done <= 0 || took < time.Second || !r.known {
		return 0
	}
	return time.Duration(float64(took) * float64(rest) / float64(done))
}

// shardProgress is what one attempt at a shard adds to the progress.
type shardProgress struct {
	r     *reporter
	index string
	total Progress
}

func (r *reporter) shard(index string, docs int64) *shardProgress {
	s := &shardProgress{r: r, index: index}
	r.change(func(p *Progress) {
		s.total.Docs = docs
		p.Docs += docs
		p.Index = index
		r.unopened[index] = max(r.unopened[index]-docs, 0)
	})
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
	r.change(func(p *Progress) { p.IndicesDone++; p.Index = name; delete(r.unopened, name) })
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
	now := r.clock()
	if !r.now.Done && now.Sub(r.said) < progressEvery {
		return
	}
	r.said = now
	r.now.Elapsed = now.Sub(r.started)
	r.now.Left = 0
	if !r.now.Done && !r.now.Uploading {
		r.now.Left = r.left(r.now.Elapsed)
	}
	r.fn(r.now)
}
