package elastic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Survivors reads the sequence numbers of the documents that are alive in r, ascending: of each document nothing else. It fails unless
// they are as many as the server counted in r, with the same sum.
func (s *Shard) Survivors(ctx context.Context, r Range) ([]int64, error) {
	seqs := make([]int64, 0, r.Docs)
	sum := int64(0)
	body := map[string]any{
		"query": seqRange(r.From, r.To), "sort": []any{map[string]string{"_seq_no": "asc"}}, "size": s.Index.window,
		"track_total_hits": false, "_source": false, "stored_fields": "_none_",
	}
	for {
		hits, err := s.bareHits(ctx, body)
		if err != nil {
			return nil, fmt.Errorf("read the sequence numbers in [%d,%d): %w", r.From, r.To, err)
		}
		for i := range hits {
			seqs = append(seqs, hits[i].Document.SeqNo)
			sum += hits[i].Document.SeqNo
		}
		if len(hits) < s.Index.window || int64(len(seqs)) > r.Docs {
			break
		}
		body["search_after"] = json.RawMessage(hits[len(hits)-1].Sort)
	}
	if int64(len(seqs)) != r.Docs || sum != r.Sum {
		return nil, &CountError{Range: r, Docs: int64(len(seqs)), Sum: sum}
	}
	return seqs, nil
}

// bareHits searches for hits that have no stored fields.
func (s *Shard) bareHits(ctx context.Context, body map[string]any) (hits []Hit, err error) {
	err = s.c.attempts(ctx, true, func(ctx context.Context) error {
		r, err := s.pit.request(body)
		if err != nil {
			return err
		}
		res, err := s.c.once(ctx, r)
		if err != nil {
			return err
		}
		p := &page{}
		sc := scanner{b: res.Body, index: s.Index.Name, bare: true}
		if err := sc.page(p, true); err != nil {
			if errors.Is(err, errShort) {
				return &PartialError{What: "POST /_search", Reason: "the answer ends early"}
			}
			return fmt.Errorf("POST /_search: %w", err)
		}
		if err := p.head.check(r); err != nil {
			return err
		}
		s.pit.follow(p.head.pitID)
		hits = p.hits
		return nil
	})
	return hits, err
}
