package wrap

import (
	"context"
	"io"
	"time"

	"golang.org/x/time/rate"

	"github.com/escrow-backup/escrow/repository/backend"
)

// LimitOptions of Limit; nil and the zero value limit nothing.
type LimitOptions struct {
	Upload   int64 // bytes a second of all Saves together; 0: no limit
	Download int64 // bytes a second of all Loads together; 0: no limit
}

// Limit limits the rate at which the contents of files are moved. Requests without one, and what a protocol adds, do not count.
func Limit(b backend.Backend, o *LimitOptions) backend.Backend {
	if o == nil || o.Upload <= 0 && o.Download <= 0 {
		return b
	}
	return &limited{through: through{b}, up: newPacer(o.Upload), down: newPacer(o.Download)}
}

type limited struct {
	through
	up, down *pacer // nil: no limit
}

// Save implements [backend.Backend].
func (l *limited) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	if l.up != nil {
		body = &pacedBody{ctx: ctx, p: l.up, body: body}
	}
	return l.Backend.Save(ctx, h, body, size)
}

// Load implements [backend.Backend].
func (l *limited) Load(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	r, err := l.Backend.Load(ctx, h, off, n)
	if err != nil || l.down == nil {
		return r, err
	}
	return &pacedReader{ReadCloser: r, ctx: ctx, p: l.down}, nil
}

// pacer lets so many bytes a second pass, in pieces, so that they pass evenly.
type pacer struct {
	limiter *rate.Limiter
	piece   int
}

func newPacer(perSecond int64) *pacer {
	if perSecond <= 0 {
		return nil
	}
	piece := int(min(max(perSecond/10, 1<<10), 256<<10))
	return &pacer{rate.NewLimiter(rate.Limit(perSecond), piece), piece}
}

// wait waits until n bytes, at most a piece, may pass.
func (p *pacer) wait(ctx context.Context, n int) error {
	r := p.limiter.ReserveN(time.Now(), n)
	d := r.Delay()
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		r.Cancel()
		return context.Cause(ctx)
	}
}

type pacedBody struct {
	ctx  context.Context
	p    *pacer
	body io.ReaderAt
}

// ReadAt implements io.ReaderAt.
func (b *pacedBody) ReadAt(p []byte, off int64) (int, error) {
	for done := 0; ; {
		piece := p[done:min(done+b.p.piece, len(p))]
		if err := b.p.wait(b.ctx, len(piece)); err != nil {
			return done, err
		}
		n, err := b.body.ReadAt(piece, off+int64(done))
		done += n
		if err != nil || done == len(p) {
			return done, err
		}
	}
}

// Unpaced is what [backend.Unpaced] asks for.
func (b *pacedBody) Unpaced() io.ReaderAt { return backend.Unpaced(b.body) }

type pacedReader struct {
	io.ReadCloser
	ctx context.Context
	p   *pacer
}

// Read implements io.Reader. The wait comes after the bytes: how many there are is not known before.
func (r *pacedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p[:min(len(p), r.p.piece)])
	if n > 0 {
		if werr := r.p.wait(r.ctx, n); werr != nil {
			return n, werr
		}
	}
	return n, err
}
