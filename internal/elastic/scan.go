package elastic

import (
	"context"
	"fmt"
	"iter"

	"github.com/escrow-backup/escrow/layout"
)

// Scan yields every live document of an index, shard after shard, in the order of their sequence numbers, reading ahead with
// o.Concurrency requests. It stops at the first error; a scan that ends without one has yielded every document.
func (c *Client) Scan(ctx context.Context, ix *Index, o ReadOptions) iter.Seq2[layout.Document, error] {
	o.defaults()
	return func(yield func(layout.Document, error) bool) {
		for n := range ix.Shards {
			more, err := c.scanShard(ctx, ix, n, o, yield)
			if err != nil {
				yield(layout.Document{}, fmt.Errorf("index %s shard %d: %w", ix.Name, n, err))
				return
			}
			if !more {
				return
			}
		}
	}
}

// pages are the pages of one segment, in order; err may be read when the channel is closed.
type pages struct {
	ch  chan []Hit
	err error
}

func (c *Client) scanShard(ctx context.Context, ix *Index, n int, o ReadOptions, yield func(layout.Document, error) bool) (more bool, err error) {
	s, err := c.OpenShard(ctx, ix, n, o, nil)
	if err != nil {
		return false, err
	}
	defer s.Close(ctx)
	ranges, err := s.Plan(ctx)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancel(ctx)
	// The segments in work, in order. The capacity bounds how many are read ahead: one more is in the reader's hands.
	ahead := make(chan *pages, max(o.Concurrency-1, 1))
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(ahead)
		for planner := s.Planner(ranges); ; {
			seg, ok := planner.Next()
			if !ok {
				return
			}
			p := &pages{ch: make(chan []Hit, 1)}
			select {
			case ahead <- p:
			case <-ctx.Done():
				return
			}
			go p.read(ctx, s, seg)
		}
	}()
	var last *pages
	defer func() {
		cancel()
		<-done
		if last != nil {
			last.drain()
		}
		for p := range ahead {
			p.drain()
		}
	}()
	got := int64(0)
	for p := range ahead {
		last = p
		for hits := range p.ch {
			for i := range hits {
				if !yield(hits[i].Document, nil) {
					return false, nil
				}
			}
			got += int64(len(hits))
		}
		if p.err != nil {
			return false, p.err
		}
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if got != s.Total {
		return false, fmt.Errorf("read %d documents, the server counted %d", got, s.Total)
	}
	return true, nil
}

func (p *pages) read(ctx context.Context, s *Shard, seg Range) {
	defer close(p.ch)
	p.err = s.Pages(ctx, seg, false, func(hits []Hit) error {
		select {
		case p.ch <- hits:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
}

// drain waits until the reading goroutine has ended.
func (p *pages) drain() {
	for range p.ch {
		continue
	}
}
