package elastic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// maxSegment is the largest number of documents in a planned segment: one page can hold them.
const maxSegment = 8192

// Whole is the range that stands for all documents of a shard that cannot be read by sequence number.
func (s *Shard) Whole() Range { return Range{From: -1, To: -1, Docs: s.Total} }

// BySeqNo reports whether the shard can be read in ranges of sequence numbers.
func (s *Shard) BySeqNo() bool { return !s.noSeq }

// Planner joins ranges into segments, whose size follows the documents' size as it becomes known.
type Planner struct {
	s      *Shard
	ranges []Range
}

// WillRead says how many more documents Pages will be asked for. It is called before Pages.
func (s *Shard) WillRead(docs int64) { s.ahead += docs }

// Planner returns a Planner over ranges that were counted, all of which will be read.
func (s *Shard) Planner(ranges []Range) *Planner {
	s.WillRead(CountDocs(ranges))
	return &Planner{s: s, ranges: ranges}
}

// Next returns the next segment, false if there is none.
func (p *Planner) Next() (Range, bool) {
	if len(p.ranges) == 0 {
		return Range{}, false
	}
	seg := p.ranges[0]
	n := 1
	most := int64(p.s.pageSize())
	for ; n < len(p.ranges) && seg.Docs+p.ranges[n].Docs <= min(most, maxSegment); n++ {
		seg.To = p.ranges[n].To
		seg.Docs += p.ranges[n].Docs
		seg.Sum += p.ranges[n].Sum
	}
	p.ranges = p.ranges[n:]
	return seg, true
}

// pageSize is how many documents to ask for at once.
func (s *Shard) pageSize() int {
	d := s.perDoc.Load()
	paced := int(s.o.Pace.page(d, s.o.KeepAlive, s.o.Concurrency))
	if d == 0 {
		return min(64, paced)
	}
	return min(int(max(int64(s.c.scaled(pageTarget))/d, 1)), s.Index.window, paced)
}

// body is what every search for documents asks for, in an order.
func (s *Shard) body(by string) map[string]any {
	body := map[string]any{"track_total_hits": false, "sort": []any{map[string]string{by: "asc"}}}
	if s.o.Versions {
		body["version"] = true
	}
	if s.Index.vectors {
		body["_source"] = map[string]bool{"exclude_vectors": false}
	}
	return body
}

// whole fails if a hit lacks what was asked for.
func (s *Shard) whole(h *Hit) error {
	if h.Document.Source == nil {
		return fmt.Errorf("document %q has no _source", h.Document.ID)
	}
	if s.o.Versions && !h.Document.Versioned {
		return fmt.Errorf("document %q has no _version", h.Document.ID)
	}
	return nil
}

// taken learns from documents that were read, and waits until they are paid for.
func (s *Shard) taken(ctx context.Context, docs, bytes int) error {
	s.learn(int64(bytes), int64(docs))
	return s.o.Pace.wait(ctx, docs, bytes)
}

// pageMemory returns memory for one reader, which done gives back.
func (c *Client) pageMemory() (mem *pageMemory, done func()) {
	mem, _ = c.pages.Get().(*pageMemory)
	if mem == nil {
		mem = &pageMemory{}
	}
	return mem, func() {
		if cap(mem.buf) <= c.scaled(pooledWindow) {
			c.pages.Put(mem)
		}
	}
}

// Pages reads the documents of r, in the order of their sequence numbers, and calls fn for some at a time. It fails unless it
// read exactly the documents that the server counted in r. With reuse, hits and their bytes are good until fn returns, and
// their memory is used again after.
func (s *Shard) Pages(ctx context.Context, r Range, reuse bool, fn func(hits []Hit) error) error {
	bySeqNo := r.From >= 0
	onePage := int64(s.pageSize())*5/4 >= r.Docs && r.Docs < int64(s.Index.window)
	var l look
	if bySeqNo && onePage && r.Docs >= fewRuns {
		l = s.Index.way.next(s.ahead >= 4*r.Docs)
	}
	if l.byRuns {
		if err := s.gather(ctx, r, l.probe, reuse, fn); !errors.Is(err, errNotByRuns) {
			return err
		}
	}
	var mem *pageMemory
	if reuse {
		var done func()
		mem, done = s.c.pageMemory()
		defer done()
	}
	body := s.body("_shard_doc")
	if bySeqNo {
		body = s.body("_seq_no")
		body["query"] = seqRange(r.From, r.To)
	}
	var docs, sum, millis int64
	var lie []int64 // where the documents do
	if l.watch {
		lie = make([]int64, 0, r.Docs)
	}
	take := func(hits []Hit) error {
		for i := range hits {
			h := &hits[i]
			if err := s.whole(h); err != nil {
				return err
			}
			sum += h.Document.SeqNo
			if l.watch {
				lie = append(lie, h.doc)
			}
		}
		docs += int64(len(hits))
		// A copy: the memory of what was read may be used again.
		after := json.RawMessage(slices.Clone(hits[len(hits)-1].Sort))
		if err := fn(hits); err != nil {
			return err
		}
		body["search_after"] = after
		return nil
	}
	window := s.Index.window
	most, trips := window, 0
	for docs < r.Docs {
		size := min(s.pageSize(), most)
		// Since the segment was planned, documents may have turned out to be a little larger: a page has room for that.
		if docs == 0 && most == window && r.Docs <= int64(size)+int64(size)/4 && r.Docs < int64(window) {
			size = int(r.Docs) + 1 // the whole segment in one page, and a document too many would show
		}
		body["size"] = size
		before := docs
		a, err := s.pit.search(ctx, body, bySeqNo, mem, take)
		var large *tooLargeError
		if errors.As(err, &large) {
			most = max(int(min(int64(size), r.Docs-docs))/2, 1)
			if err := s.c.o.Sleep(ctx, Backoff(min(trips, 4))); err != nil {
				return err
			}
			trips++
			continue
		}
		if err != nil {
			return err
		}
		millis += a.took + 1
		most = min(2*most, window) // the server's memory may have become free
		n := docs - before
		if n > 0 {
			if err := s.taken(ctx, int(n), a.size); err != nil {
				return err
			}
		}
		if a.whole && n < int64(size) {
			break
		}
	}
	if docs != r.Docs || bySeqNo && sum != r.Sum {
		return &CountError{Range: r, Docs: docs, Sum: sum}
	}
	if l.watch {
		s.Index.way.took(false, millis, docs, countRuns(lie))
	}
	return nil
}

// CountError says that a range did not hold the documents that the server had counted in it.
type CountError struct {
	Range     Range
	Docs, Sum int64
}

func (e *CountError) Error() string {
	return fmt.Sprintf("sequence numbers [%d,%d): read %d documents (sum %d), the server counted %d (sum %d)",
		e.Range.From, e.Range.To, e.Docs, e.Sum, e.Range.Docs, e.Range.Sum)
}

// learn takes a page's size into the estimate: at once when documents are larger than thought, slowly when smaller.
func (s *Shard) learn(bytes, docs int64) {
	d := max(bytes/docs, 1)
	if old := s.perDoc.Load(); d < old {
		d = (old + d + 1) / 2
	}
	s.perDoc.Store(d)
}

// Plan counts the documents of the whole shard in ranges for a Planner. A shard whose sequence numbers do not account for
// every document gives the one range Whole.
func (s *Shard) Plan(ctx context.Context) ([]Range, error) {
	if s.Total == 0 {
		return nil, nil
	}
	if s.noSeq {
		return []Range{s.Whole()}, nil
	}
	ranges, err := s.Histogram(ctx, 0)
	if Unnumbered(err) || err == nil && CountDocs(ranges) != s.Total {
		s.noSeq = true
		return []Range{s.Whole()}, nil
	}
	return ranges, err
}

// CountDocs adds up the documents of ranges.
func CountDocs(ranges []Range) int64 {
	n := int64(0)
	for _, r := range ranges {
		n += r.Docs
	}
	return n
}

// Lost reports whether err says that the point in time is gone, or that the shard must be read from the start for
// another reason that a new point in time may cure.
func Lost(err error) bool {
	var count *CountError
	var moved *movedError
	// The second is how version 9 says that it was on a node that is gone.
	return HasCause(err, "search_context_missing_exception") || HasCause(err, "search_context_missing_nodes_exception") ||
		HasCause(err, "no_shard_available_action_exception") || HasCause(err, "node_not_connected_exception") ||
		HasCause(err, "node_disconnected_exception") || HasCause(err, "transport_exception") ||
		errors.As(err, &count) || errors.As(err, &moved) || Retryable(err)
}
