package wrap_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/backend/wrap"
)

// each makes every call once, of a file that exists.
func each(ctx context.Context, b backend.Backend, h backend.Handle) map[backendtest.Op]error {
	_, statErr := b.Stat(ctx, h)
	_, loadErr := read(ctx, b, h, 0, -1)
	var listErr error
	for _, err := range b.List(ctx, h.Type) {
		listErr = err
	}
	other := "other of " + h.Name
	saveErr := b.Save(ctx, backendtest.HandleOf(h.Type, []byte(other)), strings.NewReader(other), int64(len(other)))
	return map[backendtest.Op]error{
		backendtest.Stat: statErr, backendtest.Load: loadErr, backendtest.List: listErr, backendtest.Save: saveErr,
		backendtest.Remove: b.Remove(ctx, h),
	}
}

// A failure of each kind of call, before or after its effect, is not seen by the caller, and is told to Notify.
func TestRetryEachCall(t *testing.T) {
	for name, disturb := range map[string]func(*backendtest.Faults, backendtest.Op, int){
		"fails":       func(f *backendtest.Faults, op backendtest.Op, n int) { f.Fail(op, 0, n, errBoom) },
		"loses acks":  func(f *backendtest.Faults, op backendtest.Op, n int) { f.LoseAck(op, 0, n, errBoom) },
		"short reads": func(f *backendtest.Faults, _ backendtest.Op, n int) { f.ShortRead(0, n) },
	} {
		for _, op := range []backendtest.Op{backendtest.Save, backendtest.Load, backendtest.Stat, backendtest.List, backendtest.Remove} {
			t.Run(name+" "+string(op), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := mem.New()
					h := put(t, m, backend.Pack, "content")
					faults := backendtest.NewFaults(m)
					var told []wrap.Retrying
					b := wrap.Retry(faults, &wrap.RetryOptions{Notify: func(r wrap.Retrying) { told = append(told, r) }})
					disturb(faults, op, 1)
					disturb(faults, op, 2)
					for op, err := range each(t.Context(), b, h) {
						require.NoError(t, err, op)
					}
					require.Len(t, list(t, m, backend.Pack), 1)
					if name == "fails" {
						require.Len(t, told, 2)
						require.Equal(t, string(op), told[0].Op)
						require.ErrorIs(t, told[0].Err, errBoom)
						require.Equal(t, []int{1, 2}, []int{told[0].Try, told[1].Try})
						require.Greater(t, 2*told[1].Wait, told[0].Wait)
					}
				})
			})
		}
	}
}

func TestRetryGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mem.New()
		h := put(t, m, backend.Pack, "content")
		for op := range each(t.Context(), wrap.ReadOnly(m), h) {
			faults := backendtest.NewFaults(m).Fail(op, 0, 0, errBoom)
			b := wrap.Retry(faults, &wrap.RetryOptions{Tries: 4})
			began := time.Now()
			err := each(t.Context(), b, h)[op]
			require.ErrorIs(t, err, errBoom)
			require.ErrorContains(t, err, "given up after 4 tries: boom")
			require.True(t, strings.HasPrefix(err.Error(), string(op)+" pack"), err.Error())
			waited := time.Since(began)
			require.GreaterOrEqual(t, waited, (500+1000+2000)*time.Millisecond/2)
			require.LessOrEqual(t, waited, (500+1000+2000)*time.Millisecond)
			if op == backendtest.Remove {
				continue
			}
			_ = m.Remove(t.Context(), h) // whatever each has done
			put(t, m, backend.Pack, "content")
			for _, fi := range list(t, m, backend.Pack) {
				if fi.Handle != h {
					require.NoError(t, m.Remove(t.Context(), fi.Handle))
				}
			}
		}
		// By the clock, too.
		faults := backendtest.NewFaults(m).Fail(backendtest.Stat, 0, 0, errBoom)
		b := wrap.Retry(faults, &wrap.RetryOptions{Tries: 1000, Limit: time.Hour})
		began := time.Now()
		_, err := b.Stat(t.Context(), h)
		require.ErrorIs(t, err, errBoom)
		require.LessOrEqual(t, time.Since(began), time.Hour)
		require.Greater(t, time.Since(began), time.Hour-time.Minute)
	})
}

func TestRetryNotWhatDoesNotPass(t *testing.T) {
	m := mem.New()
	h := put(t, m, backend.Pack, "content")
	for _, target := range []error{
		fs.ErrNotExist, fs.ErrPermission, fs.ErrInvalid, fs.ErrClosed, syscall.ENOSPC, syscall.EDQUOT, &tls.CertificateVerificationError{Err: errBoom},
	} {
		faults := backendtest.NewFaults(m).Fail("", 0, 0, fmt.Errorf("no: %w", target))
		calls := each(t.Context(), wrap.Retry(faults, nil), h)
		for op, err := range calls {
			require.ErrorIs(t, err, target, op)
		}
		require.Equal(t, len(calls), faults.Calls(), target)
	}
	// And what is the body's fault.
	faults := backendtest.NewFaults(m)
	b := wrap.Retry(faults, nil)
	short := backendtest.HandleOf(backend.Pack, []byte("short"))
	require.ErrorIs(t, b.Save(t.Context(), short, strings.NewReader("sho"), 5), io.ErrUnexpectedEOF)
	require.Equal(t, 1, faults.Calls())
	_, err := read(t.Context(), b, h, 3, 100)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, 3, faults.Calls(), "one Load, and one look at the size")
}

func TestRetryEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mem.New()
		h := put(t, m, backend.Pack, "content")
		b := wrap.Retry(backendtest.NewFaults(m).Fail("", 0, 0, errBoom), nil)
		cause := errors.New("enough")
		for op := range each(t.Context(), m, h) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
			err := each(ctx, b, h)[op]
			cancel()
			require.ErrorIs(t, err, cause, op)
			var be *backend.Error
			require.ErrorAs(t, err, &be)
		}
	})
}

// slow is a server that says when to come again.
type slow struct{ after time.Duration }

func (slow) Error() string               { return "slow down" }
func (s slow) RetryAfter() time.Duration { return s.after }

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mem.New()
		h := put(t, m, backend.Pack, "content")
		began := time.Now()
		faults := backendtest.NewFaults(m).Fail(backendtest.Stat, 0, 1, fmt.Errorf("busy: %w", slow{2 * time.Minute}))
		_, err := wrap.Retry(faults, nil).Stat(t.Context(), h)
		require.NoError(t, err)
		require.Equal(t, 2*time.Minute, time.Since(began))
		// One that asks for more than there is gets no other call.
		faults = backendtest.NewFaults(m).Fail(backendtest.Stat, 0, 1, slow{time.Hour})
		_, err = wrap.Retry(faults, nil).Stat(t.Context(), h)
		require.ErrorContains(t, err, "slow down")
		require.Equal(t, 1, faults.Calls())
	})
}

// After a try that failed, a file that is there counts only if it is the one that was to be saved.
func TestRetrySaveLooksAtWhatIsThere(t *testing.T) {
	const content = "content"
	h := backendtest.HandleOf(backend.Pack, []byte(content))
	for name, c := range map[string]struct{ h, there, want string }{
		"the same":       {there: content},
		"half of it":     {there: content[:3], want: "what is there is not what was to be saved"},
		"something else": {there: "CONTENT", want: "what is there is not what was to be saved"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := mem.New()
				require.NoError(t, m.Save(t.Context(), h, strings.NewReader(c.there), int64(len(c.there))))
				b := wrap.Retry(backendtest.NewFaults(m).Fail(backendtest.Save, 0, 1, errBoom), nil)
				err := b.Save(t.Context(), h, strings.NewReader(content), int64(len(content)))
				if c.want == "" {
					require.NoError(t, err)
					return
				}
				require.ErrorContains(t, err, c.want)
				require.NotErrorIs(t, err, fs.ErrExist)
				require.Equal(t, c.there, get(t, m, h), "it is not ours to remove")
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		// Without a failure before, a file that exists is what it always is.
		m := mem.New()
		put(t, m, backend.Pack, content)
		require.ErrorIs(t, wrap.Retry(m, nil).Save(t.Context(), h, strings.NewReader(content), 7), fs.ErrExist)
		// A server that takes its time to remove what it had begun.
		require.NoError(t, m.Remove(t.Context(), h))
		require.NoError(t, m.Save(t.Context(), h, strings.NewReader("con"), 3))
		time.AfterFunc(5*time.Second, func() { _ = m.Remove(t.Context(), h) })
		b := wrap.Retry(backendtest.NewFaults(m).Fail(backendtest.Save, 0, 1, errBoom), nil)
		require.NoError(t, b.Save(t.Context(), h, strings.NewReader(content), 7))
		require.Equal(t, content, get(t, m, h))
		// The config has no hash for a name: one of somebody else's is no accident.
		config := put(t, m, backend.Config, "theirs")
		b = wrap.Retry(backendtest.NewFaults(m).Fail(backendtest.Save, 0, 1, errBoom), nil)
		require.ErrorIs(t, b.Save(t.Context(), config, strings.NewReader("ours"), 4), fs.ErrExist)
		// A look that fails is followed by another.
		require.NoError(t, m.Remove(t.Context(), h))
		b = wrap.Retry(backendtest.NewFaults(m).LoseAck(backendtest.Save, 0, 1, errBoom).Fail(backendtest.Stat, 0, 1, errBoom).
			ShortRead(0, 1), nil)
		require.NoError(t, b.Save(t.Context(), h, strings.NewReader(content), 7))
	})
}

func TestRetryLoadGoesOnWhereItBroke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := bytes.Repeat([]byte("0123456789"), 1000)
		h := backendtest.HandleOf(backend.Pack, content)
		m := mem.New()
		require.NoError(t, m.Save(t.Context(), h, bytes.NewReader(content), int64(len(content))))
		for _, c := range []struct{ off, n, want int64 }{{0, -1, 10000}, {0, 10000, 10000}, {17, 5000, 5000}, {9000, -1, 1000}} {
			faults := backendtest.NewFaults(m)
			for n := 1; n < 8; n++ {
				faults.ShortRead(0, n)
			}
			got, err := read(t.Context(), wrap.Retry(faults, nil), h, c.off, c.n)
			require.NoError(t, err)
			require.True(t, string(content[c.off:c.off+c.want]) == got)
			require.Equal(t, 8, loads(faults))
		}
		// One that breaks after its last byte has given all that was asked for.
		faults := backendtest.NewFaults(m).LoseAck(backendtest.Load, 0, 1, errBoom)
		got, err := read(t.Context(), wrap.Retry(faults, nil), h, 5, 10)
		require.NoError(t, err)
		require.Equal(t, "5678901234", got)
		require.Equal(t, 1, loads(faults))
		// One that breaks for good says so.
		faults = backendtest.NewFaults(m).ShortRead(0, 1).Fail(backendtest.Load, 0, 2, fs.ErrPermission)
		got, err = read(t.Context(), wrap.Retry(faults, nil), h, 0, -1)
		require.ErrorIs(t, err, fs.ErrPermission)
		require.Len(t, got, 5000)
		faults = backendtest.NewFaults(m).LoseAck(backendtest.Load, 0, 0, errBoom)
		_, err = read(t.Context(), wrap.Retry(faults, nil), h, 0, -1)
		require.ErrorContains(t, err, "given up after 10 tries")
		// Closed is closed.
		r, err := wrap.Retry(m, nil).Load(t.Context(), h, 0, -1)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		_, err = r.Read(make([]byte, 1))
		require.ErrorIs(t, err, fs.ErrClosed)
	})
}

func loads(f *backendtest.Faults) (n int) {
	for _, c := range f.Trace() {
		if c.Op == backendtest.Load {
			n++
		}
	}
	return n
}

func TestRetryOpener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []wrap.Retrying
		o := &wrap.RetryOptions{Tries: 3, Notify: func(r wrap.Retrying) { told = append(told, r) }}
		fails, last := 2, error(slow{})
		open := wrap.RetryOpener(func(_ context.Context, location string, _ *backend.Settings) (backend.Backend, error) {
			if fails--; fails >= 0 {
				return nil, fmt.Errorf("open %s: %w", location, last)
			}
			return mem.New(), nil
		}, o)
		b, err := open(t.Context(), "there", nil)
		require.NoError(t, err)
		require.NoError(t, b.Close())
		require.Len(t, told, 2)
		require.Equal(t, "open", told[0].Op)
		fails = 5
		_, err = open(t.Context(), "there", nil)
		require.EqualError(t, err, "given up after 3 tries: open there: slow down")
		fails, last, told = 5, errBoom, nil
		_, err = open(t.Context(), "there", nil)
		require.ErrorIs(t, err, errBoom)
		require.Empty(t, told, "it may be the URL")
	})
}
