package elastic

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// aggregate runs aggregations over the point in time.
func (s *Shard) aggregate(ctx context.Context, query any, aggs map[string]any, out any) (total int64, err error) {
	body := map[string]any{"size": 0, "track_total_hits": true}
	if query != nil {
		body["query"] = query
	}
	if aggs != nil {
		body["aggs"] = aggs
	}
	_, text, err := s.answer(ctx, body, false)
	if err != nil {
		return 0, err
	}
	var w struct {
		Hits struct {
			Total struct {
				Value    int64  `json:"value"`
				Relation string `json:"relation"`
			} `json:"total"`
		} `json:"hits"`
		Aggregations json.RawMessage `json:"aggregations"`
	}
	if err := json.Unmarshal(text, &w); err != nil {
		return 0, fmt.Errorf("POST /_search: decode answer: %w", err)
	}
	if w.Hits.Total.Relation != "eq" {
		return 0, fmt.Errorf("POST /_search: total is not exact (%q)", w.Hits.Total.Relation)
	}
	if out != nil {
		err = json.Unmarshal(w.Aggregations, out)
	}
	return w.Hits.Total.Value, err
}

// bucket is one of the server's, of a histogram or of ranges.
type bucket struct {
	Key  json.RawMessage `json:"key"` // a number in a histogram, a text in ranges
	From float64         `json:"from"`
	To   float64         `json:"to"`
	Docs int64           `json:"doc_count"`
	Sum  struct {
		Value float64 `json:"value"`
	} `json:"sum"`
}

type buckets struct {
	B struct {
		Buckets []bucket `json:"buckets"`
	} `json:"b"`
}

var sumSeqNo = map[string]any{"sum": map[string]any{"sum": map[string]string{"field": "_seq_no"}}}

// maxBuckets keeps answers well below search.max_buckets (65,536).
const maxBuckets = 50_000

// width is how many sequence numbers a range has when documents are first counted: about a sixteenth of a page's documents are in it, so that
// pages become full, and no more: each range costs the server some 4 us.
func (s *Shard) width() int64 {
	d := s.perDoc.Load()
	if d == 0 {
		return 64
	}
	want := float64(s.c.scaled(pageTarget)) / float64(d) / 16 * float64(s.Info.MaxSeqNo+1) / float64(max(s.Total, 1))
	width := int64(8)
	for width < 8192 && float64(2*width) <= want {
		width *= 2
	}
	return width
}

// Histogram counts the documents with sequence numbers of at least from, in ranges whose width fits the documents' size.
// Empty ranges are left out, the last one ends just above the highest sequence number.
func (s *Shard) Histogram(ctx context.Context, from int64) ([]Range, error) {
	end := s.Info.MaxSeqNo + 1
	width := s.width()
	for width < 8192 && (end-from)/width > maxBuckets {
		width *= 2
	}
	var ranges []Range
	for lo := from; lo < end; lo += maxBuckets * width {
		hi := min(lo+maxBuckets*width, end)
		var out buckets
		_, err := s.aggregate(ctx, seqRange(lo, hi), map[string]any{"b": map[string]any{
			"histogram": map[string]any{"field": "_seq_no", "interval": width, "offset": from % width, "min_doc_count": 1},
			"aggs":      sumSeqNo,
		}}, &out)
		if err != nil {
			return nil, fmt.Errorf("count documents by sequence number: %w", err)
		}
		for _, b := range out.B.Buckets {
			key, err := strconv.ParseFloat(string(b.Key), 64)
			if err != nil {
				return nil, fmt.Errorf("count documents by sequence number: key %s", b.Key)
			}
			k := int64(key)
			ranges = append(ranges, Range{From: max(k, lo), To: min(k+width, hi), Docs: b.Docs, Sum: int64(b.Sum.Value)})
		}
	}
	return ranges, nil
}

// countAtOnce is how many ranges are given to the server in one request.
const countAtOnce = 5000

// CountAgain counts the documents in given ranges, which ascend and do not overlap, and as Histogram does those after the last of them.
// The answer has the same ranges.
func (s *Shard) CountAgain(ctx context.Context, ranges []Range) (counted, tail []Range, err error) {
	end := s.Info.MaxSeqNo + 1
	from := int64(0)
	if len(ranges) > 0 {
		from = ranges[len(ranges)-1].To
	}
	width := s.width()
	if (end-from)/width < countAtOnce/10 { // they cost less than another request
		all := slices.Clip(ranges)
		for ; from < end; from += width {
			all = append(all, Range{From: from, To: min(from+width, end)})
		}
		if all, err = s.countRanges(ctx, all); err != nil {
			return nil, nil, err
		}
		tail = slices.DeleteFunc(all[len(ranges):], func(r Range) bool { return r.Docs == 0 })
		return all[:len(ranges)], tail, nil
	}
	if counted, err = s.countRanges(ctx, ranges); err == nil {
		tail, err = s.Histogram(ctx, from)
	}
	return counted, tail, err
}

// countRanges counts the documents in given ranges, which ascend and do not overlap. The answer has the same ranges.
func (s *Shard) countRanges(ctx context.Context, ranges []Range) ([]Range, error) {
	out := make([]Range, 0, len(ranges))
	for len(ranges) > 0 {
		part := ranges[:min(len(ranges), countAtOnce)]
		ranges = ranges[len(part):]
		type fromTo struct {
			From int64 `json:"from"`
			To   int64 `json:"to"`
		}
		spec := make([]fromTo, len(part))
		for i, r := range part {
			spec[i] = fromTo{r.From, r.To}
		}
		var got buckets
		_, err := s.aggregate(ctx, seqRange(part[0].From, part[len(part)-1].To), map[string]any{"b": map[string]any{
			"range": map[string]any{"field": "_seq_no", "ranges": spec},
			"aggs":  sumSeqNo,
		}}, &got)
		if err != nil {
			return nil, fmt.Errorf("count documents by sequence number: %w", err)
		}
		if len(got.B.Buckets) != len(part) {
			return nil, fmt.Errorf("count documents by sequence number: %d ranges in the answer, asked for %d", len(got.B.Buckets), len(part))
		}
		for i, b := range got.B.Buckets {
			if int64(b.From) != part[i].From || int64(b.To) != part[i].To {
				return nil, fmt.Errorf("count documents by sequence number: the answer has range [%v,%v), asked for [%d,%d)", b.From, b.To, part[i].From, part[i].To)
			}
			out = append(out, Range{From: part[i].From, To: part[i].To, Docs: b.Docs, Sum: int64(b.Sum.Value)})
		}
	}
	return out, nil
}

func seqRange(from, to int64) any {
	return map[string]any{"range": map[string]any{"_seq_no": map[string]int64{"gte": from, "lt": to}}}
}
