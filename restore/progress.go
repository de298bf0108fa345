package restore

import (
	"sync"
	"time"
)

// tracker calls the user's Progress function: serially and at most ten times a second.
type tracker struct {
	mu    sync.Mutex
	fn    func(Progress)
	p     Progress
	start time.Time
	last  time.Time
}

func newTracker(fn func(Progress), indices int, docs int64) *tracker {
	return &tracker{fn: fn, start: time.Now(), p: Progress{Indices: indices, Docs: docs}}
}

// update changes the numbers and reports them, if the last report is old enough.
func (t *tracker) update(change func(p *Progress)) {
	if t.fn == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.p)
	if now := time.Now(); now.Sub(t.last) >= 100*time.Millisecond {
		t.last = now
		t.p.Elapsed = now.Sub(t.start)
		t.fn(t.p)
	}
}

func (t *tracker) docs(index string, docs, bytes int64) {
	t.update(func(p *Progress) { p.Index, p.DocsDone, p.BytesDone = index, p.DocsDone+docs, p.BytesDone+bytes })
}

func (t *tracker) done() {
	if t.fn == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.p.Done, t.p.Elapsed = true, time.Since(t.start)
	t.fn(t.p)
}
