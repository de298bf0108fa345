package restore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/escrow-backup/escrow/internal/elastic"
)

// Load bulk-loads documents into the indices that they name. Documents of an id that exists are overwritten, and those with
// Deleted set remove it; what is done to one id is done in order. It needs memory for about twice Concurrency times
// BulkBytes, and for a few documents that are larger than that, and uses no default pipeline; a final pipeline of an index applies.
//
// A document that is Versioned is sent with its version: where the index holds a higher one of the id, the server refuses the
// document (version_conflict_engine_exception).
//
// An error of docs ends the loading. Documents that the server refuses do not: at the end the error is a *LoadError, and
// everything else is written. Of Options only Concurrency, BulkBytes, Retries, Rejected, Logger and Progress count.
//
// See https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk
func Load(ctx context.Context, es elastictransport.Interface, docs iter.Seq2[Document, error], o *Options) (*Result, error) {
	opts := o.withDefaults()
	start := time.Now()
	t := newTracker(opts.Progress, 0, 0)
	s := newSender(es, &opts, false)
	s.progress = t.docs
	err := s.load(ctx, []iter.Seq2[Document, error]{docs})
	r := &Result{}
	s.addTo(r)
	r.Duration = time.Since(start)
	t.done()
	if err == nil {
		err = s.rej.err()
	}
	if err != nil {
		return r, fmt.Errorf("load: %w", err)
	}
	return r, nil
}

func newSender(es elastictransport.Interface, o *Options, fresh bool) *sender {
	return &sender{once: elastic.New(es, o.elastic(-1)), o: o, fresh: fresh, lanes: o.Concurrency, rej: &rejections{fn: o.Rejected},
		large: semaphore.NewWeighted(largeRoom)}
}

func (s *sender) addTo(r *Result) {
	r.Documents += s.documents.Load()
	r.Bytes += s.bytes.Load()
	r.Rejected += s.rejected.Load()
	r.Retried += s.retried.Load()
}

// largeRoom is how many bytes of documents larger than BulkBytes wait or are sent at a time, or one such document.
const largeRoom = 48 << 20

// lane is one bulk request at a time. All documents of one id take the same lane.
type lane struct {
	mu   sync.Mutex
	fill *batch
	full chan *batch
	free chan *batch
}

// load sends the documents of all sources, which are read at the same time. It returns when everything is answered. Refused
// documents are in s.rej, not in the error.
func (s *sender) load(ctx context.Context, sources []iter.Seq2[Document, error]) error {
	g, ctx := errgroup.WithContext(ctx)
	lanes := make([]*lane, s.lanes)
	for i := range lanes {
		l := &lane{fill: &batch{}, full: make(chan *batch), free: make(chan *batch, 2)}
		l.free <- &batch{}
		lanes[i] = l
		g.Go(func() error {
			for b := range l.full {
				if err := s.send(ctx, b); err != nil {
					return err
				}
				s.large.Release(b.large)
				b.reset(s.o.BulkBytes)
				l.free <- b // never blocks: a lane has two batches, and room for both
			}
			return nil
		})
	}
	g.Go(func() error {
		// The lanes end when nothing more can come, whatever the reason.
		defer func() {
			for _, l := range lanes {
				close(l.full)
			}
		}()
		if err := s.readAll(ctx, lanes, sources); err != nil {
			return err
		}
		for _, l := range lanes {
			if err := s.flush(ctx, l); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// readAll reads the sources, as many at a time as there are lanes.
func (s *sender) readAll(ctx context.Context, lanes []*lane, sources []iter.Seq2[Document, error]) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(len(lanes))
	for _, src := range sources {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			for d, err := range src {
				if err != nil {
					return err
				}
				if err := s.put(ctx, lanes, &d); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (s *sender) put(ctx context.Context, lanes []*lane, d *Document) error {
	if err := checkDocument(d); err != nil {
		return err
	}
	h := idHash(d.Index, d.ID)
	l := lanes[h%uint64(len(lanes))]
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fill == nil {
		return errStopped // another source met the end before
	}
	_, twice := l.fill.ids[h]
	if twice || len(l.fill.items) > 0 && len(l.fill.body)+len(d.Source)+2*len(d.ID)+100 > s.o.BulkBytes {
		if err := s.flush(ctx, l); err != nil {
			return err
		}
	}
	to := d.Index
	if s.alias != "" {
		to = s.alias
	}
	if len(d.Source) <= s.o.BulkBytes {
		return l.fill.add(d, h, to)
	}
	// Its lane's worker gives the room back, and waits for nothing that is held here.
	n := min(int64(len(d.Source)), largeRoom)
	if err := s.large.Acquire(ctx, n); err != nil {
		return context.Cause(ctx)
	}
	l.fill.large = n
	if err := l.fill.add(d, h, to); err != nil {
		return err
	}
	return s.flush(ctx, l)
}

var errStopped = errors.New("loading has stopped")

// flush hands the lane's batch to its worker.
func (s *sender) flush(ctx context.Context, l *lane) error {
	if len(l.fill.items) == 0 {
		return nil
	}
	select {
	case l.full <- l.fill:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	l.fill = nil
	select {
	case l.fill = <-l.free:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
