package wrap_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/backend/wrap"
)

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := bytes.Repeat([]byte("x"), 100_000)
		h := backendtest.HandleOf(backend.Pack, content)
		m := mem.New()
		b := wrap.Limit(m, &wrap.LimitOptions{Upload: 10_000, Download: 20_000})
		took := func(want time.Duration, fn func() error) {
			t.Helper()
			began := time.Now()
			require.NoError(t, fn())
			// What may pass at once passes before the clock begins.
			require.InDelta(t, want.Seconds(), time.Since(began).Seconds(), 0.2)
		}
		took(10*time.Second, func() error { return b.Save(t.Context(), h, bytes.NewReader(content), int64(len(content))) })
		time.Sleep(time.Minute)
		took(5*time.Second, func() error { _, err := read(t.Context(), b, h, 0, -1); return err })
		time.Sleep(time.Minute)
		// All together get no more.
		var wg sync.WaitGroup
		began := time.Now()
		for range 4 {
			wg.Go(func() { _, _ = read(t.Context(), b, h, 0, -1) })
		}
		wg.Wait()
		require.InDelta(t, 20, time.Since(began).Seconds(), 0.2)

		// Whoever does not want to wait need not.
		cause := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer cancel()
		_, err := read(ctx, b, h, 0, -1)
		require.ErrorIs(t, err, cause)
		require.NoError(t, m.Remove(t.Context(), h))
		ctx, cancel = context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer cancel()
		require.ErrorIs(t, b.Save(ctx, h, bytes.NewReader(content), int64(len(content))), cause)
		require.Empty(t, list(t, m, backend.Pack))
		require.Same(t, m, wrap.Limit(m, nil))
	})
}

// hashing reads a body twice, as drivers do whose protocol has a checksum in front.
type hashing struct{ *mem.Backend }

func (b hashing) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	if _, err := io.Copy(io.Discard, io.NewSectionReader(backend.Unpaced(body), 0, size)); err != nil {
		return err
	}
	return b.Backend.Save(ctx, h, body, size)
}

// A limit is for what is sent, however deep the driver lies.
func TestLimitLeavesChecksumsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := strings.Repeat("x", 100_000)
		b := wrap.Limit(hashing{mem.New()}, &wrap.LimitOptions{Upload: 10_000})
		b = wrap.Retry(wrap.Timeout(wrap.Limit(b, &wrap.LimitOptions{Upload: 20_000}), nil), nil)
		began := time.Now()
		put(t, b, backend.Pack, content)
		require.InDelta(t, 10, time.Since(began).Seconds(), 0.5) // the lower of the two; twice that if the checksum counted
		// What cannot be read is the body's fault on either way.
		h := backendtest.HandleOf(backend.Pack, nil)
		require.ErrorIs(t, b.Save(t.Context(), h, strings.NewReader("x"), 2), io.ErrUnexpectedEOF)
	})
}

// counting counts the calls that are under way.
type counting struct {
	*mem.Backend
	now, most atomic.Int64
}

func (c *counting) enter() func() {
	n := c.now.Add(1)
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	time.Sleep(time.Second)
	return func() { c.now.Add(-1) }
}

func (c *counting) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	defer c.enter()()
	return c.Backend.Save(ctx, h, body, size)
}

func (c *counting) Stat(ctx context.Context, h backend.Handle) (backend.FileInfo, error) {
	defer c.enter()()
	return c.Backend.Stat(ctx, h)
}

func (c *counting) Remove(ctx context.Context, h backend.Handle) error {
	defer c.enter()()
	return c.Backend.Remove(ctx, h)
}

func (c *counting) Load(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	leave := c.enter()
	r, err := c.Backend.Load(ctx, h, off, n)
	if err != nil {
		leave()
		return nil, err
	}
	return leaving{r, leave}, nil
}

type leaving struct {
	io.ReadCloser
	leave func()
}

func (l leaving) Close() error {
	l.leave()
	return l.ReadCloser.Close()
}

func TestConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{Backend: mem.New()}
		b := wrap.Connections(c, 3)
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				h := put(t, b, backend.Pack, fmt.Sprint(i))
				_, _ = b.Stat(t.Context(), h)
				_, _ = read(t.Context(), b, h, 0, -1)
				_, _ = read(t.Context(), b, h, 5000, -1) // fails, and gives its place back
				_ = b.Remove(t.Context(), h)
			})
		}
		wg.Wait()
		require.EqualValues(t, 3, c.most.Load())
		require.Zero(t, c.now.Load())

		// Open readers count.
		h := put(t, b, backend.Pack, "x")
		var open []io.ReadCloser
		for range 3 {
			r, err := b.Load(t.Context(), h, 0, -1)
			require.NoError(t, err)
			open = append(open, r)
		}
		cause := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Hour, cause)
		defer cancel()
		for op, err := range each(ctx, b, h) {
			require.ErrorIs(t, err, cause, op)
		}
		require.NoError(t, open[0].Close())
		_ = open[0].Close() // twice is no second place
		_, err := b.Stat(t.Context(), h)
		require.NoError(t, err)
		require.NoError(t, errors.Join(open[1].Close(), open[2].Close()))
	})
}

// Whoever makes calls while he lists does not wait for himself.
func TestConnectionsWhileListing(t *testing.T) {
	m := mem.New()
	for i := range 2100 {
		put(t, m, backend.Pack, fmt.Sprint(i))
	}
	b := wrap.Connections(m, 1)
	n := 0
	for fi, err := range b.List(t.Context(), backend.Pack) {
		require.NoError(t, err)
		require.NoError(t, b.Remove(t.Context(), fi.Handle))
		n++
	}
	require.Equal(t, 2100, n)
	faults := backendtest.NewFaults(m).LoseAck(backendtest.List, 0, 0, errBoom)
	put(t, m, backend.Pack, "x")
	n = 0
	for fi, err := range wrap.Connections(faults, 1).List(t.Context(), backend.Pack) {
		if n++; n == 1 {
			require.NoError(t, err)
			require.NotEmpty(t, fi.Handle.Name)
		} else {
			require.ErrorIs(t, err, errBoom)
		}
	}
	require.Equal(t, 2, n)
}

// stuck waits for ever, or until its context ends.
type stuck struct {
	*mem.Backend
	after int64 // bytes of a body, or of a file
}

func (s stuck) hang(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func (s stuck) Save(ctx context.Context, _ backend.Handle, body io.ReaderAt, _ int64) error {
	for off := range s.after {
		time.Sleep(time.Minute)
		if _, err := body.ReadAt(make([]byte, 1), off); err != nil {
			return err
		}
	}
	return s.hang(ctx)
}

func (s stuck) Stat(ctx context.Context, _ backend.Handle) (backend.FileInfo, error) {
	return backend.FileInfo{}, s.hang(ctx)
}

func (s stuck) Remove(ctx context.Context, _ backend.Handle) error { return s.hang(ctx) }

func (s stuck) Load(ctx context.Context, _ backend.Handle, _, _ int64) (io.ReadCloser, error) {
	if s.after == 0 {
		return nil, s.hang(ctx)
	}
	return io.NopCloser(&stuckReader{s, ctx, s.after}), nil
}

type stuckReader struct {
	s    stuck
	ctx  context.Context
	left int64
}

func (r *stuckReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, r.s.hang(r.ctx)
	}
	time.Sleep(time.Minute)
	r.left--
	return copy(p, "x"), nil
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mem.New()
		h := put(t, m, backend.Pack, "content")
		ended := func(want time.Duration, fn func() error) {
			t.Helper()
			began := time.Now()
			require.ErrorIs(t, fn(), os.ErrDeadlineExceeded)
			require.Equal(t, want, time.Since(began))
		}
		// 5 minutes are the default.
		b := wrap.Timeout(stuck{Backend: m}, nil)
		ended(5*time.Minute, func() error { _, err := b.Stat(t.Context(), h); return err })
		ended(5*time.Minute, func() error { return b.Remove(t.Context(), h) })
		ended(5*time.Minute, func() error { return b.Save(t.Context(), h, strings.NewReader("content"), 7) })
		ended(5*time.Minute, func() error { _, err := b.Load(t.Context(), h, 0, -1); return err })
		// Counted from the last byte that moved.
		b = wrap.Timeout(stuck{m, 7}, nil)
		ended(12*time.Minute, func() error { return b.Save(t.Context(), h, strings.NewReader("content"), 7) })
		ended(12*time.Minute, func() error { _, err := read(t.Context(), b, h, 0, -1); return err })
		// Or of the whole call.
		b = wrap.Timeout(stuck{m, 7}, &wrap.TimeoutOptions{Call: 150 * time.Second, Stall: -1})
		ended(7*time.Minute, func() error { return b.Save(t.Context(), h, strings.NewReader("content"), 7) })
		ended(150*time.Second, func() error { _, err := b.Stat(t.Context(), h); return err })
		// The time that the caller takes is none of the server's.
		b = wrap.Timeout(m, nil)
		r, err := b.Load(t.Context(), h, 0, -1)
		require.NoError(t, err)
		time.Sleep(time.Hour)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, "content", string(data))
		require.NoError(t, r.Close())
		for _, err := range b.List(t.Context(), backend.Pack) {
			require.NoError(t, err)
			time.Sleep(time.Hour)
		}
		faults := backendtest.NewFaults(m).Delay(backendtest.List, 0, 1, time.Hour)
		ended(5*time.Minute, func() error {
			for _, err := range wrap.Timeout(faults, nil).List(t.Context(), backend.Pack) {
				return err
			}
			return nil
		})
		// The caller's own end is called by its own name, and a timeout is no such end: Retry tries again.
		cause := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer cancel()
		_, err = b.Stat(ctx, h)
		require.NoError(t, err)
		_, err = wrap.Timeout(stuck{Backend: m}, nil).Stat(ctx, h)
		require.ErrorIs(t, err, cause)
		faults = backendtest.NewFaults(m).Delay(backendtest.Stat, 0, 1, time.Hour)
		_, err = wrap.Retry(wrap.Timeout(faults, nil), nil).Stat(t.Context(), h)
		require.NoError(t, err)
		require.Equal(t, 2, faults.Calls())
	})
}

func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mem.New()
		var calls []wrap.Call
		b := wrap.Observe(m, func(c wrap.Call) { calls = append(calls, c) })
		h := put(t, b, backend.Pack, "content")
		r, err := b.Load(t.Context(), h, 2, 4)
		require.NoError(t, err)
		_, err = io.ReadFull(r, make([]byte, 3))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Len(t, calls, 1, "a load ends when its reader is closed")
		require.NoError(t, r.Close())
		_ = r.Close()
		list(t, b, backend.Pack)
		_, err = b.Stat(t.Context(), h)
		require.NoError(t, err)
		require.NoError(t, b.Remove(t.Context(), h))
		require.ErrorIs(t, b.Remove(t.Context(), h), fs.ErrNotExist)
		_, err = b.Load(t.Context(), h, 0, -1)
		require.ErrorIs(t, err, fs.ErrNotExist)
		var got []string
		for _, c := range calls {
			got = append(got, fmt.Sprintf("%s %v bytes=%d files=%d %v failed=%v", c.Op, c.Handle.Type, c.Bytes, c.Files, c.Duration, c.Err != nil))
		}
		require.Equal(t, []string{
			"save pack bytes=7 files=0 0s failed=false",
			"load pack bytes=3 files=0 1m0s failed=false",
			"list pack bytes=0 files=1 0s failed=false",
			"stat pack bytes=0 files=0 0s failed=false",
			"remove pack bytes=0 files=0 0s failed=false",
			"remove pack bytes=0 files=0 0s failed=true",
			"load pack bytes=0 files=0 0s failed=true",
		}, got)

		// What breaks a reader or a list is the error of the call.
		put(t, m, backend.Pack, "content")
		calls = nil
		b = wrap.Observe(backendtest.NewFaults(m).ShortRead(0, 1).LoseAck(backendtest.List, 0, 1, errBoom), func(c wrap.Call) { calls = append(calls, c) })
		_, err = read(t.Context(), b, h, 0, -1)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		for range b.List(t.Context(), backend.Pack) {
		}
		require.ErrorIs(t, calls[0].Err, io.ErrUnexpectedEOF)
		require.EqualValues(t, 3, calls[0].Bytes)
		require.ErrorIs(t, calls[1].Err, errBoom)
		require.Equal(t, 1, calls[1].Files)
	})
}

func TestLogAndMeasure(t *testing.T) {
	var out bytes.Buffer
	log := wrap.Log(slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	sums := map[string]float64{}
	measure := wrap.Measure(func(name string, v float64, labels ...string) { sums[name+" "+strings.Join(labels, " ")] += v })
	h := backendtest.HandleOf(backend.Pack, nil)
	for _, c := range []wrap.Call{
		{Op: "save", Handle: h, Bytes: 7, Duration: time.Second},
		{Op: "save", Handle: h, Bytes: 5, Duration: time.Second},
		{Op: "load", Handle: h, Bytes: 3, Err: errBoom},
		{Op: "list", Handle: backend.Handle{Type: backend.Index}, Files: 9},
		{Op: "stat", Handle: h, Err: fmt.Errorf("x: %w", fs.ErrNotExist)},
		{Op: "stat", Handle: h, Err: fmt.Errorf("x: %w", fs.ErrPermission)},
		{Op: "stat", Handle: h, Err: fmt.Errorf("x: %w", context.Canceled)},
		{Op: "save", Handle: h, Err: fmt.Errorf("x: %w", fs.ErrExist)},
	} {
		log(c)
		measure(c)
	}
	require.Equal(t, map[string]float64{
		"storage_calls_total op save type pack result ok":         2,
		"storage_calls_total op save type pack result exist":      1,
		"storage_calls_total op load type pack result error":      1,
		"storage_calls_total op list type index result ok":        1,
		"storage_calls_total op stat type pack result not_exist":  1,
		"storage_calls_total op stat type pack result permission": 1,
		"storage_calls_total op stat type pack result cancelled":  1,
		"storage_call_seconds_total op save type pack":            2,
		"storage_call_seconds_total op load type pack":            0,
		"storage_call_seconds_total op list type index":           0,
		"storage_call_seconds_total op stat type pack":            0,
		"storage_bytes_total op save type pack":                   12,
		"storage_bytes_total op load type pack":                   3,
	}, sums)
	var levels []string
	for line := range strings.Lines(out.String()) {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &m))
		levels = append(levels, fmt.Sprint(m["level"], " ", m["op"]))
		if m["op"] == "list" {
			require.EqualValues(t, 9, m["files"])
		} else {
			require.Equal(t, h.Name, m["name"])
		}
	}
	require.Equal(t, []string{"DEBUG save", "DEBUG save", "WARN load", "DEBUG list", "DEBUG stat", "WARN stat", "DEBUG stat", "DEBUG save"}, levels)
}
