package elastic

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/escrow-backup/escrow/layout"
)

// ReadOptions choose how shards are read; the zero value works.
type ReadOptions struct {
	Concurrency int           // search requests at once over all shards; default 4
	KeepAlive   time.Duration // of a point in time between two requests; default 5 min
	SealTimeout time.Duration // how long to wait for a checkpoint; default 10 s
	Versions    bool          // ask for the documents' versions
	Pace        *Pace         // of all searches for documents; default: none
}

func (o *ReadOptions) defaults() {
	if o.Concurrency <= 0 {
		o.Concurrency = 4
	}
	if o.KeepAlive <= 0 {
		o.KeepAlive = 5 * time.Minute
	}
	if o.SealTimeout <= 0 {
		o.SealTimeout = 10 * time.Second
	}
}

// Shard is a point in time on one shard of an index, and what is known of it. Pages may be called concurrently.
type Shard struct {
	Index *Index
	Info  layout.Shard // all but Docs, Bytes and Digest
	AsOf  time.Time
	Stale string // why documents that were acknowledged may be missing; empty in general
	Total int64  // live documents

	c   *Client
	pit *pit
	// expect is how many documents the primary counts, -1 if that cannot be compared with what a search sees.
	expect int64
	// perDoc is the size of a document in answers, in bytes: an estimate, 0 if nothing is known.
	perDoc atomic.Int64
	ahead  int64 // documents that are to be read
	noSeq  bool  // the shard cannot be read by sequence number
	o      ReadOptions
}

// Range is a half-open range of sequence numbers with what the server counted in it.
type Range struct {
	From, To  int64
	Docs, Sum int64
}

const (
	openAttempts = 5 // while primaries change

	// How long to wait before a checkpoint is read again.
	firstWait, longestWait = 20 * time.Millisecond, 500 * time.Millisecond
)

// OpenShard opens a point in time on a shard. It reads the shard's checkpoint, refreshes, opens the point in time, and then
// waits until everything that it can show is final (see Info.Sealed). If another copy became the primary meanwhile, it does so
// again: nobody could say what the copy that answers had just gone back to. If its Standing is given, the checkpoint is that one, and it is not
// refreshed again. The caller closes the Shard.
func (c *Client) OpenShard(ctx context.Context, ix *Index, number int, o ReadOptions, known *Standing) (*Shard, error) {
	o.defaults()
	for attempt := 1; ; attempt++ {
		var before *ready
		var err error
		switch {
		case attempt > 1:
			before, err = c.prepare(ctx, ix, number, o.SealTimeout)
		case known != nil:
			before = known.ready.afresh(o.SealTimeout)
		default:
			before, err = c.prepareOnce(ctx, ix, number, o.SealTimeout)
		}
		if err != nil {
			return nil, err
		}
		s, err := c.openShard(ctx, ix, number, o, before)
		var moved *movedError
		if attempt == openAttempts || !errors.As(err, &moved) {
			return s, err
		}
		c.log.Warn("open shard again", "index", ix.Name, "shard", number, "error", err)
		if err := c.o.Sleep(ctx, Backoff(attempt)); err != nil {
			return nil, err
		}
	}
}

// movedError says that a shard is not what it was a moment ago.
type movedError struct{ what string }

func (e *movedError) Error() string { return e.what + " while the point in time was opened" }

func (c *Client) openShard(ctx context.Context, ix *Index, number int, o ReadOptions, before *ready) (_ *Shard, err error) {
	s := &Shard{Index: ix, AsOf: before.asOf, Stale: before.stale, c: c, expect: -1, o: o}
	s.Info = layout.Shard{Number: number, GlobalCheckpoint: -1, MaxSeqNo: -1, Reason: before.unsealed}
	state := before.states[number]
	if state.docs > 0 && state.storeBytes > 0 {
		s.perDoc.Store(4 * state.storeBytes / state.docs) // stored fields compress about that well
	}
	if s.pit, err = c.openPIT(ctx, ix.Name, number, o.KeepAlive); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close(ctx)
		}
	}()
	if err := s.seal(ctx, before, o.SealTimeout); err != nil {
		return nil, err
	}
	if err := s.count(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Close frees the point in time on the server, also when ctx has ended.
func (s *Shard) Close(ctx context.Context) { s.pit.close(ctx) }

// seal records how far the shard was final before the point in time, and whether all that the point in time shows is
// final now: the highest sequence number that the primary had afterwards has come under its global checkpoint, in the same
// history and primary term. An operation above the checkpoint could be rolled back by a failover, and would bring back what it hid.
func (s *Shard) seal(ctx context.Context, before *ready, timeout time.Duration) error {
	if s.Info.Reason != "" {
		if before.states == nil {
			// Without statistics nothing else tells whether this is still the same index.
			_, err := s.c.Again(ctx, layout.Cluster{}, s.Index)
			return err
		}
		_, err := s.c.shardStates(ctx, s.Index)
		return err
	}
	n := s.Info.Number
	first := before.states[n]
	s.Info.HistoryUUID, s.Info.GlobalCheckpoint, s.Info.PrimaryTerm = first.history, first.checkpoint, before.terms[n]
	if !first.hasSeqNo || first.history == "" || s.Info.PrimaryTerm == 0 {
		s.Info.Reason = "the server names no history, checkpoint or primary term"
		return nil
	}
	highest := int64(-1)
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		states, err := s.c.shardStates(ctx, s.Index)
		if err != nil {
			return fmt.Errorf("read shard statistics: %w", err)
		}
		now, ok := states[n]
		if highest < 0 {
			highest = now.maxSeqNo
			s.Info.MaxSeqNo = highest
		}
		switch {
		case !ok:
			return &movedError{"its primary was lost"}
		case now.history != first.history:
			return &movedError{"its history changed"}
		case now.node != first.node:
			return &movedError{"its primary changed"}
		case now.checkpoint >= highest:
			if err := s.sameTerm(ctx); err != nil {
				return err
			}
			s.Info.Sealed = true
			if now.maxSeqNo == first.maxSeqNo {
				s.expect = now.docs // nothing was written since before the refresh
			}
			return nil
		case time.Now().After(before.deadline):
			s.Info.Reason = fmt.Sprintf("its global checkpoint stayed at %d for %s while operations reached %d", now.checkpoint, timeout, highest)
			return s.sameTerm(ctx)
		}
		if err := s.c.o.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// sameTerm fails if the shard got another primary since its term was read.
func (s *Shard) sameTerm(ctx context.Context) error {
	terms, err := s.c.primaryTerms(ctx, s.Index.Name)
	if err != nil {
		return fmt.Errorf("read primary terms: %w", err)
	}
	if terms[s.Info.Number] != s.Info.PrimaryTerm {
		return &movedError{"its primary changed"}
	}
	return nil
}

// HiddenError says that searches do not show every document of a shard to this user.
type HiddenError struct{ Visible, Held int64 }

func (e *HiddenError) Error() string {
	return fmt.Sprintf("the shard holds %d documents, but this user sees %d: document-level security?", e.Held, e.Visible)
}

// Last returns the live document with the highest sequence number of at most upTo, and its primary term: nil if there is no such
// document, the term 0 if the server does not say.
func (s *Shard) Last(ctx context.Context, upTo int64) (*layout.Document, int64, error) {
	return s.pit.last(ctx, s.Index, upTo)
}

// Last is Shard.Last of what searches see now: without a refresh, that may be an older state.
func (c *Client) Last(ctx context.Context, ix *Index, number int, upTo int64) (*layout.Document, int64, error) {
	p := &pit{c: c, index: ix.Name, shard: number}
	return p.last(ctx, ix, upTo)
}

func (p *pit) last(ctx context.Context, ix *Index, upTo int64) (*layout.Document, int64, error) {
	var last *Hit
	// It lies near the end in general, and the server sorts all of the range.
	for span := int64(1000); ; span *= 100 {
		from := max(upTo+1-span, 0)
		body := map[string]any{
			"size": 1, "track_total_hits": false, "seq_no_primary_term": true, "query": seqRange(from, upTo+1),
			"sort": []any{map[string]string{"_seq_no": "desc"}},
		}
		if ix.vectors {
			body["_source"] = map[string]bool{"exclude_vectors": false}
		}
		_, err := p.search(ctx, body, true, nil, func(hits []Hit) error {
			last = &hits[0]
			return nil
		})
		if err != nil {
			return nil, 0, fmt.Errorf("read the document at sequence number %d: %w", upTo, err)
		}
		if last != nil {
			return &last.Document, last.PrimaryTerm, nil
		}
		if from == 0 {
			return nil, 0, nil
		}
	}
}

// count reads how many documents the point in time holds, and the highest sequence number where statistics do not tell.
func (s *Shard) count(ctx context.Context) (err error) {
	if s.Info.Sealed {
		s.Total, err = s.aggregate(ctx, nil, nil, nil)
	} else {
		err = s.countAndHighest(ctx)
	}
	if err != nil {
		return fmt.Errorf("count documents: %w", err)
	}
	if s.expect > s.Total && !s.Index.nested {
		return &HiddenError{Visible: s.Total, Held: s.expect}
	}
	return nil
}

func (s *Shard) countAndHighest(ctx context.Context) (err error) {
	var out struct {
		Max struct {
			Value *float64 `json:"value"`
		} `json:"max"`
	}
	aggs := map[string]any{"max": map[string]any{"max": map[string]string{"field": "_seq_no"}}}
	s.Total, err = s.aggregate(ctx, nil, aggs, &out)
	if Unnumbered(err) {
		s.noSeq = true
		s.Total, err = s.aggregate(ctx, nil, nil, nil)
		return err
	}
	if err != nil {
		return err
	}
	if out.Max.Value == nil {
		s.noSeq = s.Total > 0
	} else {
		s.Info.MaxSeqNo = max(s.Info.MaxSeqNo, int64(*out.Max.Value))
	}
	return nil
}

// Unnumbered reports whether the server refused a search because an index has no sequence numbers to ask for: the setting for that need not be
// among those that it shows.
func Unnumbered(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == 400 && !HasCause(err, "too_many_buckets_exception")
}
