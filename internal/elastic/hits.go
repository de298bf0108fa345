package elastic

import (
	"errors"
	"fmt"

	"github.com/escrow-backup/escrow/layout"
)

// Hit is one document of a page.
type Hit struct {
	Document layout.Document
	// PrimaryTerm is 0 unless the search asked for it.
	PrimaryTerm int64
	// Sort holds the hit's sort values as they stand in the answer, such as [17,4294967313]: what search_after takes.
	Sort []byte
	doc  int64 // the second of them, if they begin with the sequence number: -1 if there is none
}

// pageHead is what an answer says about itself.
type pageHead struct {
	pitID    string
	took     int64 // milliseconds
	timedOut bool
	timeSeen bool
	shards   *wireShards
}

// complete reports whether everything was seen that tells a good answer from a bad one.
func (h *pageHead) complete() bool { return h.timeSeen && h.shards != nil && h.shards.Failed != nil }

// page is a parsed search answer.
type page struct {
	head pageHead
	hits []Hit
}

// parsePage reads a whole search answer. Documents share b's memory; nothing in a _source is decoded or changed.
func parsePage(b []byte, index string, bySeqNo, bare bool) (*page, error) {
	s := scanner{b: b, index: index, bare: bare}
	p := &page{}
	if err := s.page(p, bySeqNo); err != nil {
		return nil, fmt.Errorf("parse search answer at byte %d: %w", s.i, err)
	}
	return p, nil
}

// errAtHits ends a walk at the first hit.
var errAtHits = errors.New("at the hits")

// begin reads an answer as far as its hits, and leaves the scanner after the bracket that they stand in.
func (s *scanner) begin(h *pageHead) error {
	err := s.object(func(key []byte) error {
		if string(key) != "hits" {
			return s.about(h, key)
		}
		return s.object(func(key []byte) error {
			if string(key) != "hits" {
				return s.skip()
			}
			if err := s.expect('['); err != nil {
				return err
			}
			return errAtHits
		})
	})
	switch {
	case err == nil:
		return errors.New("hits are missing")
	case errors.Is(err, errAtHits):
		return nil
	}
	return err
}

// end reads an answer from after the bracket that its hits stand in.
func (s *scanner) end(h *pageHead) error {
	for _, member := range []func(key []byte) error{
		func([]byte) error { return s.skip() },
		func(key []byte) error { return s.about(h, key) },
	} {
		more, err := s.next('}')
		if err == nil && more {
			err = s.members(member)
		}
		if err != nil {
			return err
		}
	}
	if !h.complete() {
		return errors.New("_shards or timed_out is missing")
	}
	return nil
}

// about reads a member of an answer that is not the hits.
func (s *scanner) about(h *pageHead, key []byte) error {
	switch string(key) {
	case "pit_id":
		return s.decode(&h.pitID)
	case "took":
		return s.decode(&h.took)
	case "timed_out":
		h.timeSeen = true
		return s.decode(&h.timedOut)
	case "_shards":
		return s.decode(&h.shards)
	}
	return s.skip()
}

// page reads a whole answer.
func (s *scanner) page(p *page, bySeqNo bool) error {
	if err := s.begin(&p.head); err != nil {
		return err
	}
	for first := true; ; first = false {
		more, err := s.another(first)
		if err != nil {
			return err
		}
		if !more {
			return s.end(&p.head)
		}
		p.hits = append(p.hits, Hit{}) // filled in its place: it is large
		if err := s.hit(&p.hits[len(p.hits)-1], bySeqNo); err != nil {
			return err
		}
	}
}

// another moves to the next hit, or past the bracket after the last one.
func (s *scanner) another(first bool) (more bool, err error) {
	if !first {
		return s.next(']')
	}
	switch s.peek() {
	case 0:
		return false, errShort
	case ']':
		s.i++
		return false, nil
	}
	return true, nil
}

func (s *scanner) hit(h *Hit, bySeqNo bool) error {
	hasID := false
	h.Document.Index, h.Document.SeqNo = s.index, -1
	err := s.object(func(key []byte) error {
		switch string(key) {
		case "_source":
			v, err := s.value()
			if err != nil {
				return err
			}
			if v[0] != '{' {
				return fmt.Errorf("_source begins with %q", v[0])
			}
			h.Document.Source = v
			return nil
		case "_id":
			hasID = true
			return s.text(&h.Document.ID)
		case "_version":
			h.Document.Versioned = true
			return s.decode(&h.Document.Version)
		case "_primary_term":
			return s.decode(&h.PrimaryTerm)
		case "_routing":
			return s.text(&h.Document.Routing)
		case "sort":
			v, err := s.value()
			if err != nil {
				return err
			}
			h.Sort = v
			if !bySeqNo {
				return nil
			}
			h.Document.SeqNo, h.doc, err = parseSort(v)
			return err
		}
		return s.skip()
	})
	if err != nil {
		return err
	}
	if !hasID && !s.bare || h.Sort == nil {
		return errors.New("hit without _id or sort values")
	}
	return nil
}

// parseSort reads the one or two whole numbers that a hit was sorted by, as they stand in an answer. The second is -1 if there is none.
func parseSort(v []byte) (first, second int64, err error) {
	first, rest, ok := number(v[1:])
	second = -1
	if ok && rest[0] == ',' {
		second, rest, ok = number(rest[1:])
	}
	if !ok || v[0] != '[' || rest[0] != ']' {
		return 0, 0, fmt.Errorf("sort values %q", v)
	}
	return first, second, nil
}

// number reads the number of at most 18 digits that b begins with, and returns what stands after it and after space.
func number(b []byte) (n int64, rest []byte, ok bool) {
	s := scanner{b: b}
	s.space()
	start := s.i
	for ; s.i < len(b) && b[s.i] >= '0' && b[s.i] <= '9'; s.i++ {
		n = 10*n + int64(b[s.i]-'0')
	}
	ok = s.i > start && s.i-start <= 18
	s.space()
	return n, b[s.i:], ok && s.i < len(b)
}
