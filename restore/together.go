package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// unit is an index or a data stream to restore.
type unit struct {
	what        string // what its errors begin with
	small, last bool
	do          func(ctx context.Context, r *Result) error
}

// indexUnits are the indices outside of data streams.
func (p *Plan) indexUnits(t *tracker) []unit {
	var all []unit
	for i := range p.Indices {
		x := &p.Indices[i]
		all = append(all, unit{what: "restore: index " + x.To, small: x.small(&p.o), last: x.last, do: func(ctx context.Context, r *Result) error {
			if x.Action == "skip" {
				r.Skipped++
			} else {
				if err := p.restore(ctx, x, r, t); err != nil {
					return err
				}
				r.add(x)
			}
			t.update(func(q *Progress) { q.Index, q.IndicesDone = x.To, q.IndicesDone+1 })
			return nil
		}})
	}
	return all
}

// streamUnits are the data streams. The indices of one are restored as those outside are: small ones several at a time.
func (p *Plan) streamUnits(t *tracker) []unit {
	var all []unit
	for i := range p.DataStreams {
		s := &p.DataStreams[i]
		large := slices.ContainsFunc(s.Indices, func(x PlannedIndex) bool { return !x.small(&p.o) })
		all = append(all, unit{what: "restore: data stream " + s.To, small: !large, do: func(ctx context.Context, r *Result) error {
			if s.Action == "skip" {
				r.Skipped += len(s.Indices)
				t.update(func(q *Progress) { q.IndicesDone += len(s.Indices) })
				return nil
			}
			if err := p.restoreStream(ctx, s, r, t); err != nil {
				return err
			}
			r.Streams++
			for i := range s.Indices {
				r.add(&s.Indices[i])
			}
			return nil
		}})
	}
	return all
}

// small reports whether an index is restored beside others: what there is to send is one bulk request's, without a line that is read alone.
func (x *PlannedIndex) small(o *Options) bool {
	if o.MetadataOnly || !x.loads() {
		return true
	}
	var bytes int64
	for _, sh := range x.index.Shards {
		bytes += sh.Bytes
	}
	return bytes <= int64(min(o.BulkBytes, largeLine))
}

// carryOut restores small units first, several at a time, then the others, and those that have to wait for others at last. The error
// is the first one, which names its unit and stops the rest.
func (p *Plan) carryOut(ctx context.Context, all []unit, r *Result) error {
	var small, large, last []unit
	for _, x := range all {
		switch {
		case x.last:
			last = append(last, x)
		case x.small:
			small = append(small, x)
		default:
			large = append(large, x)
		}
	}
	for _, step := range []struct {
		units  []unit
		atOnce int
	}{{small, p.o.IndicesAtOnce}, {large, 1}, {last, 1}} {
		if err := together(ctx, step.units, step.atOnce, r); err != nil {
			return err
		}
	}
	return nil
}

var errOther = errors.New("stopped, since something else failed")

// together restores units, some at a time. After the first error no further one is begun, and those that are not done are stopped: what
// they say is told only where it is more than that they were stopped.
func together(ctx context.Context, units []unit, atOnce int, r *Result) error {
	type failure struct {
		what string
		err  error
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var mu sync.Mutex // of what follows, and of r
	var first *failure
	var more []failure
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, x := range units {
		g.Go(func() error {
			own := &Result{}
			err := context.Cause(ctx)
			if err == nil {
				err = x.do(ctx, own)
			}
			mu.Lock()
			defer mu.Unlock()
			r.merge(own)
			switch {
			case err == nil:
			case first == nil:
				first = &failure{x.what, err}
				stop(errOther)
			case errors.Is(err, errLeft) || !errors.Is(err, context.Cause(ctx)) && !errors.Is(err, context.Canceled):
				more = append(more, failure{x.what, err})
			}
			return nil
		})
	}
	_ = g.Wait() // they return none
	if first == nil {
		return nil
	}
	slices.SortFunc(more, func(a, b failure) int { return cmp.Compare(a.what, b.what) })
	errs := make([]error, 0, 1+len(more))
	for _, f := range slices.Concat([]failure{*first}, more) {
		errs = append(errs, fmt.Errorf("%s: %w", f.what, f.err))
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

// merge adds what was done to one unit to the result of the whole.
func (r *Result) merge(o *Result) {
	r.Indices += o.Indices
	r.Skipped += o.Skipped
	r.Kept += o.Kept
	r.Streams += o.Streams
	r.Documents += o.Documents
	r.LeftOut += o.LeftOut
	r.Bytes += o.Bytes
	r.Rejected += o.Rejected
	r.Retried += o.Retried
}

// serial makes calls of fn wait for each other. That of nil is nil.
func serial(fn func(Rejection)) func(Rejection) {
	if fn == nil {
		return nil
	}
	var mu sync.Mutex
	return func(j Rejection) {
		mu.Lock()
		defer mu.Unlock()
		fn(j)
	}
}
