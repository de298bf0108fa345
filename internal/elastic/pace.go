package elastic

import (
	"context"
	"time"

	"golang.org/x/time/rate"
)

// Pace holds searches back, so that no more documents or bytes a second are read than a cluster can spare, on average and over all
// shards that share it. A nil Pace holds nothing back.
type Pace struct{ docs, bytes *rate.Limiter }

// NewPace returns a Pace of so many documents and bytes a second; 0 or less: any number.
func NewPace(docs, bytes int64) *Pace {
	if docs <= 0 && bytes <= 0 {
		return nil
	}
	return &Pace{limiter(docs), limiter(bytes)}
}

func limiter(perSecond int64) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	l := rate.NewLimiter(rate.Limit(perSecond), int(perSecond))
	l.AllowN(time.Now(), int(perSecond)) // nothing is saved up before the first page
	return l
}

// wait waits until what was read is paid for.
func (p *Pace) wait(ctx context.Context, docs, bytes int) error {
	if p == nil {
		return nil
	}
	for _, w := range []struct {
		l *rate.Limiter
		n int
	}{{p.docs, docs}, {p.bytes, bytes}} {
		for w.l != nil && w.n > 0 {
			n := min(w.n, w.l.Burst())
			if err := w.l.WaitN(ctx, n); err != nil {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				return err
			}
			w.n -= n
		}
	}
	return nil
}

// page bounds a page's documents, of a size each, so that the wait after it is a small part of what a point in time is kept for.
func (p *Pace) page(size int64, keepAlive time.Duration, concurrency int) int64 {
	most := int64(maxHits)
	if p == nil {
		return most
	}
	seconds := keepAlive.Seconds() / float64(8*concurrency)
	if p.docs != nil {
		most = min(most, int64(seconds*float64(p.docs.Limit())))
	}
	if p.bytes != nil {
		most = min(most, int64(seconds*float64(p.bytes.Limit()))/max(size, 1))
	}
	return max(most, 1)
}
