package elastic

import (
	"context"
	"fmt"
	"slices"
)

// Known is a range of sequence numbers as the server counts it now, with the numbers of the documents that were in it, ascending.
type Known struct {
	Range
	SeqNos []int64
}

// CameError says that a document came where documents can only go.
type CameError struct{ Range Range }

func (e *CameError) Error() string {
	return fmt.Sprintf("documents came to sequence numbers [%d,%d), which were final: the shard was put back to an earlier state", e.Range.From, e.Range.To)
}

const (
	// partsOfLost is in how many parts a range is counted for each document of it that is gone: few parts miss two then.
	partsOfLost = 4
	// partDocs is how many documents a part has at least: documents go in rows too.
	partDocs = 16
	// hitsOfPart is how many hits, of which nothing is asked for but the sequence number, cost the server as much as a part that it counts.
	hitsOfPart = 3
)

// Missing tells which documents of ranges are gone, where others cannot come: their sequence numbers, ascending as the ranges do. It is a CameError
// if one came; several are not seen where the sums and counts of what came and of what is gone cancel out.
//
// Where one document of a range is gone, the sums tell which. Where more are, the range is counted again in small parts, and the documents of
// parts that still miss more than one are asked for by number. So the cost is in proportion to what is gone. What the sums told is asked for as
// well: where two documents are gone and one came, they tell of any.
func (s *Shard) Missing(ctx context.Context, ranges []Known) ([]int64, error) {
	var f findings
	for _, r := range ranges {
		if err := f.sift(r); err != nil {
			return nil, err
		}
	}
	parts := f.parts()
	asked := make([]Range, len(parts))
	for i, p := range parts {
		asked[i] = p.Range
	}
	counted, err := s.countRanges(ctx, asked)
	if err != nil {
		return nil, err
	}
	for i, p := range parts {
		p.Range = counted[i]
		if err := f.sift(p); err != nil {
			return nil, err
		}
	}
	doubtful := slices.Clone(f.told)
	for _, p := range f.open {
		doubtful = append(doubtful, p.SeqNos...)
	}
	slices.Sort(doubtful)
	alive, err := s.alive(ctx, doubtful)
	if err != nil {
		return nil, err
	}
	return f.settle(alive)
}

// findings are what is known so far.
type findings struct {
	lost []int64
	told []int64 // by the sums
	open []Known // some of their documents are gone, and it is not known which
}

// sift takes from a count what it tells.
func (f *findings) sift(p Known) error {
	gone, sum := int64(len(p.SeqNos))-p.Docs, -p.Sum
	for _, n := range p.SeqNos {
		sum += n
	}
	switch {
	case gone == 0 && sum == 0:
	case p.Docs == 0:
		f.lost = append(f.lost, p.SeqNos...)
	case gone == 1:
		if _, found := slices.BinarySearch(p.SeqNos, sum); !found {
			return &CameError{p.Range}
		}
		f.told = append(f.told, sum)
	case gone > 1:
		f.open = append(f.open, p)
	default:
		return &CameError{p.Range}
	}
	return nil
}

// parts takes the open ranges that are worth it, and cuts them up.
func (f *findings) parts() (parts []Known) {
	f.open = slices.DeleteFunc(f.open, func(p Known) bool {
		docs := int64(len(p.SeqNos))
		step := max(docs/((docs-p.Docs)*partsOfLost), partDocs)
		if docs <= step || docs/step*hitsOfPart > p.Docs {
			return false
		}
		for from := p.From; from < p.To; {
			part := Known{Range{From: from, To: p.To}, p.SeqNos}
			if int64(len(p.SeqNos)) > step {
				part.To, part.SeqNos, p.SeqNos = p.SeqNos[step], p.SeqNos[:step], p.SeqNos[step:]
			}
			parts, from = append(parts, part), part.To
		}
		return true
	})
	return parts
}

// settle takes what is open as far as it is not alive.
func (f *findings) settle(alive []int64) ([]int64, error) {
	is := func(n int64) bool {
		_, found := slices.BinarySearch(alive, n)
		return found
	}
	for _, n := range f.told {
		if is(n) {
			return nil, &CameError{Range{From: n, To: n + 1}}
		}
	}
	lost := append(f.lost, f.told...)
	for _, p := range f.open {
		left := Range{From: p.From, To: p.To}
		for _, n := range p.SeqNos {
			if is(n) {
				left.Docs++
				left.Sum += n
			} else {
				lost = append(lost, n)
			}
		}
		if left != p.Range {
			return nil, &CameError{p.Range}
		}
	}
	slices.Sort(lost)
	return lost, nil
}

// alive tells which of documents are there: their sequence numbers, ascending as those that are asked for.
func (s *Shard) alive(ctx context.Context, seqNos []int64) (alive []int64, err error) {
	for some := range slices.Chunk(seqNos, s.Index.terms) {
		// Where sequence numbers are not indexed, the server looks at the whole shard for terms alone.
		places, _, err := s.placesOf(ctx, map[string]any{"bool": map[string]any{"filter": []any{
			seqRange(some[0], some[len(some)-1]+1), map[string]any{"terms": map[string]any{"_seq_no": some}},
		}}}, int64(len(some)))
		if err != nil {
			return nil, fmt.Errorf("list documents by sequence number: %w", err)
		}
		for _, p := range places {
			alive = append(alive, p.seqNo)
		}
	}
	return alive, nil
}

// IDs calls fn with the id of each document in r, and fails unless they are as many as the server counted. It reads what is stored of each.
func (s *Shard) IDs(ctx context.Context, r Range, fn func(id string)) error {
	docs := int64(0)
	_, err := s.list(ctx, seqRange(r.From, r.To), r.Docs, "_shard_doc", false, func(h *Hit) {
		docs++
		fn(h.Document.ID)
	})
	if err != nil {
		return fmt.Errorf("list the ids in [%d,%d): %w", r.From, r.To, err)
	}
	if docs != r.Docs {
		return &CountError{Range: r, Docs: docs, Sum: r.Sum}
	}
	return nil
}
