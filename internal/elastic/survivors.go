package elastic

import "context"

// Survivors reads the sequence numbers of the documents that are alive in r, ascending: of each document nothing else. It fails unless
// they are as many as the server counted in r, with the same sum.
func (s *Shard) Survivors(ctx context.Context, r Range) ([]int64, error) {
	places, _, err := s.places(ctx, r)
	if err != nil {
		return nil, err
	}
	seqs := make([]int64, len(places))
	for i, p := range places {
		seqs[i] = p.seqNo
	}
	return seqs, nil
}

// IDs calls fn with the id of each document in r, and fails unless they are as many as the server counted. It reads what is stored of each.
func (s *Shard) IDs(ctx context.Context, r Range, fn func(id string)) error {
	docs := int64(0)
	_, err := s.list(ctx, r, "_shard_doc", false, func(h *Hit) {
		docs++
		fn(h.Document.ID)
	})
	if err == nil && docs != r.Docs {
		err = &CountError{Range: r, Docs: docs, Sum: r.Sum}
	}
	return err
}
