package wrap

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	"github.com/escrow-backup/escrow/repository/backend"
)

// defaultStall is that of restic.
const defaultStall = 5 * time.Minute

// TimeoutOptions of Timeout; nil and the zero value work.
type TimeoutOptions struct {
	Call  time.Duration // for a whole call, that of Load until its reader is closed; default: none
	Stall time.Duration // during which nothing moves: no byte of a file, no file of a list; default: 5 minutes; negative: none
}

// Timeout ends calls that take too long, with an error that wraps os.ErrDeadlineExceeded. The time that the caller takes, between
// two reads or two files of a list, does not count as a stall, but counts for the whole call.
func Timeout(b backend.Backend, o *TimeoutOptions) backend.Backend {
	t := &timeout{through: through{b}}
	if o != nil {
		t.o = *o
	}
	if t.o.Stall == 0 {
		t.o.Stall = defaultStall
	}
	return t
}

type timeout struct {
	through
	o TimeoutOptions
}

// watchdog ends a context when nothing has moved for too long.
type watchdog struct {
	cancel      context.CancelCauseFunc
	stall       time.Duration
	call, quiet *time.Timer // nil: no such limit
}

// watch returns the context of a call. The caller calls stop when the call has ended.
func (t *timeout) watch(ctx context.Context) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watchdog{cancel: cancel, stall: t.o.Stall}
	if d := t.o.Call; d > 0 {
		w.call = time.AfterFunc(d, func() { cancel(fmt.Errorf("not done after %v: %w", d, os.ErrDeadlineExceeded)) })
	}
	if d := t.o.Stall; d > 0 {
		w.quiet = time.AfterFunc(d, func() { cancel(fmt.Errorf("nothing has moved for %v: %w", d, os.ErrDeadlineExceeded)) })
	}
	return ctx, w
}

// begin is called when something has moved, or is asked for.
func (w *watchdog) begin() {
	if w.quiet != nil {
		w.quiet.Reset(w.stall)
	}
}

// pause is called when it is the caller's turn.
func (w *watchdog) pause() {
	if w.quiet != nil {
		w.quiet.Stop()
	}
}

func (w *watchdog) stop() {
	w.pause()
	if w.call != nil {
		w.call.Stop()
	}
	w.cancel(nil)
}

// Save implements [backend.Backend].
func (t *timeout) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	ctx, w := t.watch(ctx)
	defer w.stop()
	return t.Backend.Save(ctx, h, &watchedBody{body, w}, size)
}

// watchedBody is a body of which every read is a movement.
type watchedBody struct {
	body io.ReaderAt
	w    *watchdog
}

// ReadAt implements io.ReaderAt.
func (b *watchedBody) ReadAt(p []byte, off int64) (int, error) {
	b.w.pause()
	defer b.w.begin()
	return b.body.ReadAt(p, off)
}

// Unpaced is what [backend.Unpaced] asks for.
func (b *watchedBody) Unpaced() io.ReaderAt { return &watchedBody{backend.Unpaced(b.body), b.w} }

// Load implements [backend.Backend].
func (t *timeout) Load(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	ctx, w := t.watch(ctx)
	r, err := t.Backend.Load(ctx, h, off, n)
	if err != nil {
		w.stop()
		return nil, err
	}
	w.pause()
	return &watchedReader{closing{r, w.stop}, w}, nil
}

type watchedReader struct {
	closing
	w *watchdog
}

// Read implements io.Reader.
func (r *watchedReader) Read(p []byte) (int, error) {
	r.w.begin()
	defer r.w.pause()
	return r.closing.Read(p)
}

// Stat implements [backend.Backend].
func (t *timeout) Stat(ctx context.Context, h backend.Handle) (backend.FileInfo, error) {
	ctx, w := t.watch(ctx)
	defer w.stop()
	return t.Backend.Stat(ctx, h)
}

// List implements [backend.Backend].
func (t *timeout) List(ctx context.Context, typ backend.FileType) iter.Seq2[backend.FileInfo, error] {
	return func(yield func(backend.FileInfo, error) bool) {
		ctx, w := t.watch(ctx)
		defer w.stop()
		for fi, err := range t.Backend.List(ctx, typ) {
			w.pause()
			if !yield(fi, err) || err != nil {
				return
			}
			w.begin()
		}
	}
}

// Remove implements [backend.Backend].
func (t *timeout) Remove(ctx context.Context, h backend.Handle) error {
	ctx, w := t.watch(ctx)
	defer w.stop()
	return t.Backend.Remove(ctx, h)
}
