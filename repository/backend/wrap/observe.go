package wrap

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/escrow-backup/escrow/repository/backend"
)

// Call is a call that has ended.
type Call struct {
	Op       string         // "save", "load", "stat", "list" or "remove"
	Handle   backend.Handle // without a name for a list
	Bytes    int64          // moved: the size of what was saved, or what was read
	Files    int            // of a list
	Began    time.Time
	Duration time.Duration // of a load until its reader was closed, of a list until it ended, the caller's time included
	Err      error         // nil if all went well, or the caller had enough
}

// Observe calls fn after each call but Close; fn may be called concurrently, and must not take long.
func Observe(b backend.Backend, fn func(Call)) backend.Backend { return &observed{through{b}, fn} }

type observed struct {
	through
	fn func(Call)
}

func (o *observed) begin(op string, h backend.Handle) *Call {
	return &Call{Op: op, Handle: h, Began: time.Now()}
}

func (o *observed) end(c *Call, err error) {
	c.Duration, c.Err = time.Since(c.Began), err
	o.fn(*c)
}

// Save implements [backend.Backend].
func (o *observed) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	c := o.begin("save", h)
	err := o.Backend.Save(ctx, h, body, size)
	if err == nil {
		c.Bytes = size
	}
	o.end(c, err)
	return err
}

// Load implements [backend.Backend].
func (o *observed) Load(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	c := o.begin("load", h)
	r, err := o.Backend.Load(ctx, h, off, n)
	if err != nil {
		o.end(c, err)
		return nil, err
	}
	x := &observedReader{call: c}
	x.closing = closing{r, sync.OnceFunc(func() { o.end(c, x.err) })}
	return x, nil
}

type observedReader struct {
	closing
	call *Call
	err  error // what ended the reading
}

// Read implements io.Reader.
func (r *observedReader) Read(p []byte) (int, error) {
	n, err := r.closing.Read(p)
	r.call.Bytes += int64(n)
	if err != nil && err != io.EOF && r.err == nil {
		r.err = err
	}
	return n, err
}

// Stat implements [backend.Backend].
func (o *observed) Stat(ctx context.Context, h backend.Handle) (backend.FileInfo, error) {
	c := o.begin("stat", h)
	fi, err := o.Backend.Stat(ctx, h)
	o.end(c, err)
	return fi, err
}

// List implements [backend.Backend].
func (o *observed) List(ctx context.Context, t backend.FileType) iter.Seq2[backend.FileInfo, error] {
	return func(yield func(backend.FileInfo, error) bool) {
		c := o.begin("list", backend.Handle{Type: t})
		var failed error
		defer func() { o.end(c, failed) }()
		for fi, err := range o.Backend.List(ctx, t) {
			if failed = err; err == nil {
				c.Files++
			}
			if !yield(fi, err) || err != nil {
				return
			}
		}
	}
}

// Remove implements [backend.Backend].
func (o *observed) Remove(ctx context.Context, h backend.Handle) error {
	c := o.begin("remove", h)
	err := o.Backend.Remove(ctx, h)
	o.end(c, err)
	return err
}

// Log returns what Observe calls to write calls to l: at level debug, and at level warn those that failed otherwise than by
// finding, or not finding, a file.
func Log(l *slog.Logger) func(Call) {
	return func(c Call) {
		level := slog.LevelDebug
		attrs := []slog.Attr{slog.String("op", c.Op), slog.String("type", c.Handle.Type.String()), slog.Duration("took", c.Duration)}
		if c.Handle.Name != "" {
			attrs = append(attrs, slog.String("name", c.Handle.Name))
		}
		if c.Op == "list" {
			attrs = append(attrs, slog.Int("files", c.Files))
		} else {
			attrs = append(attrs, slog.Int64("bytes", c.Bytes))
		}
		if c.Err != nil {
			attrs = append(attrs, slog.String("error", c.Err.Error()))
			if r := result(c.Err); r == "error" || r == "permission" {
				level = slog.LevelWarn
			}
		}
		l.LogAttrs(context.Background(), level, "storage call", attrs...)
	}
}

// A Meter adds v to the counter name, of the series with these labels: names and values in turn.
type Meter func(name string, v float64, labels ...string)

// Measure returns what Observe calls to count calls with add, all with the labels op and type:
//
//	storage_calls_total            also with the label result: ok, not_exist, exist, permission, cancelled or error
//	storage_call_seconds_total     the time that calls took
//	storage_bytes_total            the bytes that Save and Load moved
func Measure(add Meter) func(Call) {
	return func(c Call) {
		op, typ := c.Op, c.Handle.Type.String()
		add("storage_calls_total", 1, "op", op, "type", typ, "result", result(c.Err))
		add("storage_call_seconds_total", c.Duration.Seconds(), "op", op, "type", typ)
		if c.Bytes > 0 {
			add("storage_bytes_total", float64(c.Bytes), "op", op, "type", typ)
		}
	}
}

// result puts an error into one of few classes.
func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, fs.ErrNotExist):
		return "not_exist"
	case errors.Is(err, fs.ErrExist):
		return "exist"
	case errors.Is(err, fs.ErrPermission):
		return "permission"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	}
	return "error"
}
