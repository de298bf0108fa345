package backup

import (
	"context"
	"fmt"
	"iter"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
)

// Documents yields every live document of the selection, index by index in ascending order of their names, shard by shard,
// in the order of their sequence numbers. It reads ahead with Options.Concurrency requests. It stops at the first error; what
// it yielded until then is good, but not everything. Each document may be kept.
func Documents(ctx context.Context, es elastictransport.Interface, o *Options) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		j, err := newJob(ctx, es, o)
		if err != nil {
			yield(Document{}, err)
			return
		}
		for _, name := range j.names {
			ix, err := j.c.Index(ctx, j.manifest.Cluster, name)
			if err != nil {
				yield(Document{}, fmt.Errorf("back up index %s: %w", name, err))
				return
			}
			for d, err := range j.c.Scan(ctx, ix, j.reading) {
				keep := true
				if err == nil && j.o.Transform != nil {
					keep, err = j.transform(&d)
				}
				if err != nil {
					yield(Document{}, fmt.Errorf("back up %w", err))
					return
				}
				if keep && !yield(d, nil) {
					return
				}
			}
		}
	}
}
