package elastic

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
)

// The server unpacks a block of stored documents once for a page whose documents lie side by side, and once for each document of any other
// page. Documents that several writers sent at a time, or that the index sorts, lie in another order than that of their sequence numbers: a range of
// these consists of runs, which are side by side each. Reading run after run costs a request more for each, and one for where they lie; where
// blocks are large, as with best_compression, it is twenty times less work for the server.
const (
	fewRuns    = 256            // documents; a range of fewer is not worth to be asked for where they lie
	shortRun   = 16             // documents; shorter runs beside each other are read in one page
	probeDocs  = 1024           // documents that are read the other way to see what it takes
	asksAgain  = 32             // ranges after which the other way is tried again; doubled every time
	looksIdle  = 4              // ranges in a row that were looked at for nothing, after which fewer are looked at
	looksAgain = 8              // ranges of which one is looked at where it is known which way is better
	gain       = 3              // how many times less work the runs must be: what the server says is of little precision
	gatherMost = 2 * pageTarget // bytes of documents that are held together
)

// errNotByRuns says that a range is better read in the order of its sequence numbers. Nothing of it was handed on.
var errNotByRuns = errors.New("not by runs")

// way is how the ranges of an index are read: in the order of their sequence numbers, or by runs. It is learnt from what the server says that it took.
type way struct {
	mu          sync.Mutex
	plain, runs float64 // milliseconds for one of several documents that do not lie side by side, the last time; 0: not known
	asked       bool    // where the documents of the first range lie
	byRuns      bool
	scattered   bool // the last range had runs that may be worth it
	idle        int  // ranges in a row that were looked at for nothing
	since, wait int  // ranges since the way that is not used was tried, and how many until it is again
}

// look is what to do with a range.
type look struct {
	byRuns bool
	probe  bool // what the other way takes
	watch  bool // where the documents lie
}

// next says how to read the next range. The shard has many of them or few.
func (w *way) next(many bool) look {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.plain == 0 && w.runs == 0 && !w.asked {
		w.asked = many
		return look{many, many, true} // where documents lie is quick to see, and a range may take long
	}
	w.since++
	w.wait = max(w.wait, asksAgain)
	due := w.since > w.wait
	if due {
		w.since, w.wait = 0, 2*w.wait
	}
	if w.byRuns {
		return look{true, due, true}
	}
	known := w.idle >= looksIdle || w.plain > 0 && w.runs > 0
	return look{due && w.scattered, false, due || !known || w.since%looksAgain == 0}
}

// probed says what documents that do not lie side by side took in the order of their sequence numbers.
func (w *way) probed(millis, docs int64) {
	w.mu.Lock()
	w.plain = float64(millis) / float64(docs)
	w.mu.Unlock()
}

// failed says that a range could not be read by runs: documents were too large.
func (w *way) failed() {
	w.mu.Lock()
	w.runs, w.byRuns = math.Inf(1), false
	w.mu.Unlock()
}

// took says what a range took whose documents lay in so many runs.
func (w *way) took(byRuns bool, millis, docs int64, runs int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	each := float64(millis) / float64(docs)
	if w.scattered = worthwhile(runs, docs); !w.scattered {
		if w.idle++; w.idle >= looksIdle {
			w.byRuns = false
		}
		return
	}
	w.idle = 0
	if byRuns {
		w.runs = each
	} else {
		w.plain = each
	}
	w.byRuns = w.runs == 0 || w.plain == 0 || gain*w.runs < w.plain
}

func worthwhile(runs int, docs int64) bool { return runs > 1 && docs >= int64(runs*shortRun) }

// place is where a document lies.
type place struct {
	seqNo, doc int64 // doc is what the server sorts by as _shard_doc, -1 if it did not say
	rank       int   // among the documents of the range, by sequence number
}

// places reads where the documents of r lie, in the order of their sequence numbers. It fails unless they are as many as the server counted in r,
// with the same sum.
func (s *Shard) places(ctx context.Context, r Range) (places []place, millis int64, err error) {
	if places, millis, err = s.placesOf(ctx, seqRange(r.From, r.To), r.Docs); err != nil {
		return nil, 0, fmt.Errorf("list the documents in [%d,%d): %w", r.From, r.To, err)
	}
	sum := int64(0)
	for _, p := range places {
		sum += p.seqNo
	}
	if int64(len(places)) != r.Docs || sum != r.Sum {
		return nil, 0, &CountError{Range: r, Docs: int64(len(places)), Sum: sum}
	}
	return places, millis, nil
}

// placesOf reads where the documents of a query lie, in the order of their sequence numbers, and of each document nothing else.
func (s *Shard) placesOf(ctx context.Context, query any, most int64) (places []place, millis int64, err error) {
	places = make([]place, 0, most)
	millis, err = s.list(ctx, query, most, "_seq_no", true, func(h *Hit) {
		places = append(places, place{h.Document.SeqNo, h.doc, len(places)})
	})
	return places, millis, err
}

// list reads hits without their _source, and stops when they are more than most. Bare ones have no _id either, and are sorted by sequence number.
func (s *Shard) list(ctx context.Context, query any, most int64, by string, bare bool, fn func(h *Hit)) (millis int64, err error) {
	size, docs := s.Index.window, int64(0)
	body := map[string]any{
		"query": query, "sort": []any{map[string]string{by: "asc"}}, "track_total_hits": false, "_source": false,
	}
	if bare {
		body["stored_fields"] = "_none_"
	}
	for trips := 0; ; {
		body["size"] = size
		p, text, err := s.answer(ctx, body, bare)
		var large *tooLargeError
		if errors.As(err, &large) {
			size /= 2
			if err := s.c.o.Sleep(ctx, Backoff(min(trips, 4))); err != nil {
				return 0, err
			}
			trips++
			continue
		}
		if err != nil {
			return 0, err
		}
		millis += p.head.took
		for i := range p.hits {
			fn(&p.hits[i])
		}
		docs += int64(len(p.hits))
		read := 0
		if !bare {
			read = len(p.hits)
		}
		if err := s.o.Pace.wait(ctx, read, len(text)); err != nil {
			return 0, err
		}
		if len(p.hits) < size || docs > most {
			return millis, nil
		}
		body["search_after"] = json.RawMessage(p.hits[len(p.hits)-1].Sort)
	}
}

// countRuns says in how many runs documents lie, and sorts them by where they do.
func countRuns(docs []int64) int {
	slices.Sort(docs)
	runs := 0
	for i, d := range docs {
		if i == 0 || d != docs[i-1]+1 {
			runs++
		}
	}
	return runs
}

// chunk is what is asked for in one page: a run, or short runs that follow each other.
type chunk struct {
	from, to int   // among the documents in the order in which they lie
	seqNos   Range // that all of theirs are in
}

// chunks cuts documents where they do not lie side by side. They are in the order in which they lie.
func chunks(order []place) (all []chunk, runs int) {
	short := false // the last chunk consists of short runs
	for i := 0; i < len(order); {
		end := i + 1
		for end < len(order) && order[end].doc == order[end-1].doc+1 {
			end++
		}
		runs++
		if isShort := end-i < shortRun; !isShort || !short {
			all, short = append(all, chunk{from: i, seqNos: Range{From: order[i].seqNo}}), isShort
		}
		c := &all[len(all)-1]
		c.to = end
		for _, p := range order[i:end] {
			c.seqNos.From, c.seqNos.To = min(c.seqNos.From, p.seqNo), max(c.seqNos.To, p.seqNo+1)
		}
		i = end
	}
	return all, runs
}

// gathered is what was read of a range by runs.
type gathered struct {
	hits []Hit    // by sequence number
	at   [][2]int // where in buf the _source of each is
	buf  []byte
}

// probe finds out what documents take in the order of their sequence numbers, unless those lie side by side. Places are in that order.
func (s *Shard) probe(ctx context.Context, places []place, mem *pageMemory) error {
	docs := make([]int64, len(places))
	for i, p := range places {
		docs[i] = p.doc
	}
	if countRuns(docs) == 1 {
		return nil
	}
	body := s.body("_seq_no")
	body["query"] = seqRange(places[0].seqNo, places[len(places)-1].seqNo+1)
	body["size"] = len(places)
	a, err := s.pit.search(ctx, body, true, mem, func([]Hit) error { return nil })
	if err != nil {
		return err
	}
	if a.whole {
		s.Index.way.probed(a.took+1, int64(len(places)))
	}
	return s.o.Pace.wait(ctx, len(places), a.size)
}

// gather reads the documents of r by runs, and calls fn once with all of them, in the order of their sequence numbers. It holds all of
// them until then. It fails with errNotByRuns, before fn was called, if nothing is gained by it or if they are larger than thought.
func (s *Shard) gather(ctx context.Context, r Range, probe, reuse bool, fn func(hits []Hit) error) error {
	order, millis, err := s.places(ctx, r)
	if err != nil {
		return err
	}
	var first []place
	if probe {
		first = slices.Clone(order[:min(len(order), probeDocs)])
	}
	slices.SortFunc(order, func(a, b place) int { return cmp.Compare(a.doc, b.doc) })
	all, runs := chunks(order)
	if order[0].doc < 0 || !worthwhile(runs, r.Docs) {
		return errNotByRuns
	}
	mem, done := s.c.pageMemory()
	defer done()
	var large *tooLargeError
	if probe {
		if err := s.probe(ctx, first, mem); errors.As(err, &large) {
			return errNotByRuns
		} else if err != nil {
			return err
		}
	}
	g := &gathered{}
	if reuse {
		if old, _ := s.c.gathers.Get().(*gathered); old != nil {
			g = old
		}
		defer s.c.gathers.Put(g)
	}
	g.hits = slices.Grow(g.hits[:0], len(order))[:len(order)]
	g.at = slices.Grow(g.at[:0], len(order))[:len(order)]
	g.buf = g.buf[:0]
	for _, c := range all {
		took, err := s.fetch(ctx, r, order, c, mem, g)
		if errors.As(err, &large) || errors.Is(err, errNotByRuns) {
			s.Index.way.failed()
			return errNotByRuns
		}
		if err != nil {
			return err
		}
		millis += took
	}
	for i, at := range g.at {
		g.hits[i].Document.Source = g.buf[at[0]:at[1]:at[1]]
	}
	s.Index.way.took(true, millis, r.Docs, runs)
	return fn(g.hits)
}

// fetch reads a chunk. It fails unless every document is where it was said to lie.
func (s *Shard) fetch(ctx context.Context, r Range, order []place, c chunk, mem *pageMemory, g *gathered) (millis int64, err error) {
	body := s.body("_shard_doc")
	body["query"] = seqRange(c.seqNos.From, c.seqNos.To)
	next := c.from
	take := func(hits []Hit) error {
		for i := range hits {
			h := &hits[i]
			if err := s.whole(h); err != nil {
				return err
			}
			if doc, _, err := parseSort(h.Sort); err != nil || next == c.to || doc != order[next].doc {
				return &CountError{Range: r, Docs: int64(next)}
			}
			if len(g.buf)+len(h.Document.Source) > gatherMost {
				return errNotByRuns
			}
			p := order[next]
			start := len(g.buf)
			g.buf = append(g.buf, h.Document.Source...)
			g.at[p.rank] = [2]int{start, len(g.buf)}
			h.Document.SeqNo, h.Document.Source, h.Sort = p.seqNo, nil, nil
			g.hits[p.rank] = *h
			next++
		}
		return nil
	}
	for next < c.to {
		body["size"] = c.to - next
		if next > 0 {
			body["search_after"] = []int64{order[next].doc - 1}
		}
		before := next
		a, err := s.pit.search(ctx, body, false, mem, take)
		if err != nil {
			return 0, err
		}
		n := next - before
		if n == 0 || a.whole && next < c.to {
			return 0, &CountError{Range: r, Docs: int64(next)}
		}
		millis += a.took + 1
		if err := s.taken(ctx, n, a.size); err != nil {
			return 0, err
		}
	}
	return millis, nil
}
