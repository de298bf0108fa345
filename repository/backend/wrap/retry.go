package wrap

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"github.com/escrow-backup/escrow/repository/backend"
)

// RetryOptions of Retry; nil and the zero value work.
type RetryOptions struct {
	Tries     int           // of one call, the first one included; default: 10
	Limit     time.Duration // between the failure of a call, or its last progress, and another try; default: 15 minutes
	FirstWait time.Duration // before the second try, doubled for each that follows; default: 500 ms
	MaxWait   time.Duration // which it does not exceed, unless the server asks for more; default: 30 s

	// Notify is told of each failure that is followed by another try, before the wait. It may be called concurrently.
	Notify func(Retrying)
}

// Retrying says that a call has failed and will be tried again.
type Retrying struct {
	Op     string
	Handle backend.Handle
	Err    error
	Try    int           // that has failed, from 1
	Wait   time.Duration // until the next
}

// Retry tries calls again that failed for a reason that may pass. Waits grow exponentially, with jitter, and are at least what
// the server asks for, where an error has a method RetryAfter() time.Duration. What does not pass is not tried again: errors
// that wrap fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, fs.ErrInvalid or fs.ErrClosed, a certificate that cannot be verified, a full
// disk, a body that cannot be read, and the end of the context.
//
// Calls whose first try may have had an effect that nobody reported are not repeated blindly:
//
//   - A Save that finds its file there after a try that failed compares it with the body, byte by byte. If it is the same, that try
//     had succeeded, and so has Save. If it is not, Save tries on, in case somebody removes it, and then fails.
//   - A Remove that finds nothing after a try that failed is done.
//   - A reader of Load that breaks goes on at the byte where it broke.
//   - A List that breaks begins anew, and yields what it has not yielded before.
func Retry(b backend.Backend, o *RetryOptions) backend.Backend { return newRetrier(b, o) }

func newRetrier(b backend.Backend, o *RetryOptions) *retrier {
	r := &retrier{through: through{b}}
	if o != nil {
		r.o = *o
	}
	if r.o.Tries <= 0 {
		r.o.Tries = 10
	}
	if r.o.Limit <= 0 {
		r.o.Limit = 15 * time.Minute
	}
	if r.o.FirstWait <= 0 {
		r.o.FirstWait = 500 * time.Millisecond
	}
	if r.o.MaxWait <= 0 {
		r.o.MaxWait = 30 * time.Second
	}
	return r
}

type retrier struct {
	through
	o RetryOptions
}

// pace counts the tries of one call.
type pace struct {
	r      *retrier
	op     string
	h      backend.Handle
	failed int       // tries
	since  time.Time // the first failure since anything moved
}

func (r *retrier) pace(op string, h backend.Handle) pace { return pace{r: r, op: op, h: h} }

// moved is called when a try got somewhere, even if it fails later.
func (p *pace) moved() { p.since = time.Time{} }

// next waits until another try is due, or returns what the call fails with.
func (p *pace) next(ctx context.Context, err error) error {
	p.failed++
	if ctx.Err() != nil {
		return p.ended(ctx, err)
	}
	if final(err) {
		return err
	}
	now := time.Now()
	if p.since.IsZero() {
		p.since = now
	}
	wait := p.r.wait(p.failed)
	var asks interface{ RetryAfter() time.Duration }
	if errors.As(err, &asks) {
		wait = max(wait, asks.RetryAfter())
	}
	if p.failed >= p.r.o.Tries || now.Add(wait).Sub(p.since) > p.r.o.Limit {
		if p.failed == 1 {
			return err
		}
		return p.fail(fmt.Errorf("given up after %d tries: %w", p.failed, cause(err)))
	}
	if p.r.o.Notify != nil {
		p.r.o.Notify(Retrying{Op: p.op, Handle: p.h, Err: err, Try: p.failed, Wait: wait})
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return p.ended(ctx, err)
	}
}

// ended is what a call fails with whose context has ended, after err.
func (p *pace) ended(ctx context.Context, err error) error {
	if errors.Is(err, context.Cause(ctx)) {
		return err
	}
	return p.fail(fmt.Errorf("%w, after: %w", context.Cause(ctx), cause(err)))
}

func (p *pace) fail(err error) error {
	if p.h.Type == 0 && p.op == "open" {
		return err // what opens says itself what it is
	}
	return fail(p.op, p.h, err)
}

// wait is between half of the interval and all of it, so that those who failed together do not come again together.
func (r *retrier) wait(failed int) time.Duration {
	d := r.o.FirstWait
	for i := 1; i < failed && d < r.o.MaxWait; i++ {
		d *= 2
	}
	d = min(d, r.o.MaxWait)
	return d/2 + rand.N(d/2+1)
}

// final reports whether another try would end no better.
func final(err error) bool {
	for _, target := range []error{fs.ErrNotExist, fs.ErrExist, fs.ErrPermission, fs.ErrInvalid, fs.ErrClosed, syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, target) {
			return true
		}
	}
	var certificate *tls.CertificateVerificationError
	return errors.As(err, &certificate)
}

// Save implements [backend.Backend].
func (r *retrier) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	watched := &failingBody{body: body}
	p := r.pace("save", h)
	for {
		err := r.Backend.Save(ctx, h, watched, size)
		if err == nil || watched.failed() {
			return err
		}
		if p.failed > 0 && errors.Is(err, fs.ErrExist) {
			same, looked := r.same(ctx, h, body, size)
			switch {
			case looked == nil && same:
				return nil
			case looked == nil && h.Type == backend.Config:
				return err // that of somebody else, who made a repository at the same moment
			case looked == nil:
				err = fail("save", h, errors.New("an earlier try failed, and what is there is not what was to be saved"))
			case errors.Is(looked, fs.ErrNotExist):
				err = fail("save", h, errors.New("it was there, and is gone"))
			default:
				err = fail("save", h, fmt.Errorf("look at what an earlier try left: %w", cause(looked)))
			}
		}
		if err := p.next(ctx, err); err != nil {
			return err
		}
	}
}

// same reports whether what is stored as h is the body.
func (r *retrier) same(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) (_ bool, err error) {
	fi, err := r.Backend.Stat(ctx, h)
	if err != nil || fi.Size != size {
		return false, err
	}
	stored, err := r.Backend.Load(ctx, h, 0, size)
	if err != nil {
		return false, err
	}
	defer func() { _ = stored.Close() }() // only read from
	const step = 256 << 10
	have, want := make([]byte, min(size, step)), make([]byte, min(size, step))
	for off := int64(0); off < size; off += step {
		n := min(size-off, step)
		if _, err := io.ReadFull(stored, have[:n]); err != nil {
			return false, err
		}
		if k, err := body.ReadAt(want[:n], off); k < int(n) {
			return false, err
		}
		if !bytes.Equal(have[:n], want[:n]) {
			return false, nil
		}
	}
	return true, nil
}

// failingBody remembers whether the body could be read.
type failingBody struct {
	body io.ReaderAt
	mu   sync.Mutex
	bad  bool
}

// ReadAt implements io.ReaderAt.
func (b *failingBody) ReadAt(p []byte, off int64) (int, error) {
	n, err := b.body.ReadAt(p, off)
	if n < len(p) {
		b.fails()
	}
	return n, err
}

func (b *failingBody) fails() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bad = true
}

func (b *failingBody) failed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bad
}

// Unpaced is what [backend.Unpaced] asks for.
func (b *failingBody) Unpaced() io.ReaderAt { return unpaced{backend.Unpaced(b.body), b} }

type unpaced struct {
	body io.ReaderAt
	b    *failingBody
}

func (u unpaced) ReadAt(p []byte, off int64) (int, error) {
	n, err := u.body.ReadAt(p, off)
	if n < len(p) {
		u.b.fails()
	}
	return n, err
}

// Stat implements [backend.Backend].
func (r *retrier) Stat(ctx context.Context, h backend.Handle) (backend.FileInfo, error) {
	p := r.pace("stat", h)
	for {
		fi, err := r.Backend.Stat(ctx, h)
		if err == nil {
			return fi, nil
		}
		if err := p.next(ctx, err); err != nil {
			return backend.FileInfo{}, err
		}
	}
}

// List implements [backend.Backend].
func (r *retrier) List(ctx context.Context, t backend.FileType) iter.Seq2[backend.FileInfo, error] {
	return func(yield func(backend.FileInfo, error) bool) {
		p := r.pace("list", backend.Handle{Type: t})
		yielded := map[[32]byte]bool{} // a third of the space that the names take
		for {
			err := p.list(r.Backend.List(ctx, t), yielded, yield)
			if err == nil {
				return
			}
			if err := p.next(ctx, err); err != nil {
				yield(backend.FileInfo{}, err)
				return
			}
		}
	}
}

// list returns nil when it is done or yield said to stop.
func (p *pace) list(files iter.Seq2[backend.FileInfo, error], yielded map[[32]byte]bool, yield func(backend.FileInfo, error) bool) error {
	for fi, err := range files {
		if err != nil {
			return err
		}
		var name [32]byte // of the config file: zeros
		if err := fi.Handle.Valid(); err != nil {
			return fail("list", p.h, err)
		}
		if _, err := hex.Decode(name[:], []byte(fi.Handle.Name)); err != nil {
			return fail("list", p.h, err)
		}
		if yielded[name] {
			continue
		}
		yielded[name] = true
		p.moved()
		if !yield(fi, nil) {
			return nil
		}
	}
	return nil
}

// Remove implements [backend.Backend].
func (r *retrier) Remove(ctx context.Context, h backend.Handle) error {
	p := r.pace("remove", h)
	for {
		err := r.Backend.Remove(ctx, h)
		if err == nil || p.failed > 0 && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err := p.next(ctx, err); err != nil {
			return err
		}
	}
}
