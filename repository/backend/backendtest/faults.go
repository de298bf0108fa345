package backendtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/escrow-backup/escrow/repository/backend"
)

// Op names a method of backend.Backend in a rule, in the spelling of backend.Error.Op; capitals do not matter. The
// empty Op stands for every method but Close, which is never counted nor disturbed.
type Op string

// The methods.
const (
	Save   Op = "save"
	Load   Op = "load"
	Stat   Op = "stat"
	List   Op = "list"
	Remove Op = "remove"
)

// ErrStopped is what every call fails with after StopAfter took effect.
var ErrStopped = errors.New("stopped by the test")

// anyType in a rule matches every file type.
const anyType backend.FileType = 0

// Call is one call that was made.
type Call struct {
	Op     Op
	Handle backend.Handle // without a name for List
}

// String gives the call as in an error: "save pack 3f1c...".
func (c Call) String() string {
	if c.Op == List {
		return string(c.Op) + " " + c.Handle.Type.String() + "s"
	}
	return string(c.Op) + " " + c.Handle.String()
}

// Faults is a Backend that passes calls on to another one and misbehaves as it was told. Each rule counts the calls that
// match it, from 1, since it was added; n is the number of the call it is for, and 0 means every one. A file type of 0
// matches every type. Rules return the Faults, to be chained, and may be added at any time.
//
// To put a fault at every call of a procedure, run it once without, ask Calls, and run it again with each number:
//
//	for n := 1; n <= calls; n++ {
//		faults := backendtest.NewFaults(mem.New()).Fail("", 0, n, errors.New("boom"))
//		err := procedure(faults) // an error, or the right result
//	}
type Faults struct {
	b backend.Backend

	mu      sync.Mutex
	rules   []*rule
	trace   []Call
	stop    int // calls still let through; only if stopping
	stopped bool
}

type rule struct {
	op     Op
	typ    backend.FileType
	n      int
	seen   int
	effect effect
}

// effect is what happens to one call; several rules add up.
type effect struct {
	before error         // instead of the call
	after  error         // in place of the success of the call
	delay  time.Duration // before the call
	short  bool
	flip   bool
}

var _ backend.Backend = (*Faults)(nil)

// NewFaults returns a Faults without rules over b. Closing it closes b.
func NewFaults(b backend.Backend) *Faults { return &Faults{b: b} }

// Fail makes the call return err without reaching the backend. List yields the error first.
func (f *Faults) Fail(op Op, t backend.FileType, n int, err error) *Faults {
	return f.add(op, t, n, effect{before: err})
}

// LoseAck makes the call reach the backend and take effect, and then return err: an answer that got lost. Load's reader
// fails at its end, List after its last file.
func (f *Faults) LoseAck(op Op, t backend.FileType, n int, err error) *Faults {
	return f.add(op, t, n, effect{after: err})
}

// Delay makes the call wait for d before it reaches the backend, or until its context ends.
func (f *Faults) Delay(op Op, t backend.FileType, n int, d time.Duration) *Faults {
	return f.add(op, t, n, effect{delay: d})
}

// ShortRead makes the reader of a Load fail with io.ErrUnexpectedEOF after half of its bytes: a cut connection.
func (f *Faults) ShortRead(t backend.FileType, n int) *Faults {
	return f.add(Load, t, n, effect{short: true})
}

// FlipByte inverts the middle byte of what a Load reads: a bad disk.
func (f *Faults) FlipByte(t backend.FileType, n int) *Faults {
	return f.add(Load, t, n, effect{flip: true})
}

// StopAfter lets n more calls through; from then on every call fails with ErrStopped and changes nothing, as if the
// process had been killed. To kill it between the effect of call n and its return, add LoseAck for that call.
func (f *Faults) StopAfter(n int) *Faults {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stop, f.stopped = n, true
	return f
}

// Clear removes all rules. The trace stays.
func (f *Faults) Clear() *Faults {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules, f.stopped = nil, false
	return f
}

// Calls is how many calls were made so far, those that failed included.
func (f *Faults) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.trace)
}

// Trace lists the calls made so far, in the order in which they began.
func (f *Faults) Trace() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.trace)
}

func (f *Faults) add(op Op, t backend.FileType, n int, e effect) *Faults {
	op = Op(strings.ToLower(string(op)))
	if !slices.Contains([]Op{"", Save, Load, Stat, List, Remove}, op) {
		panic(fmt.Sprintf("backendtest: no method %q", op))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, &rule{op: op, typ: t, n: n, effect: e})
	return f
}

// call records a call, waits as told, and returns what is to happen to it. Its before is set if it must not happen.
func (f *Faults) call(ctx context.Context, op Op, h backend.Handle) effect {
	e := f.effect(op, h)
	if e.delay > 0 {
		timer := time.NewTimer(e.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			e.before = context.Cause(ctx)
		}
	}
	wrap := func(err error) error {
		if err == nil {
			return nil
		}
		return &backend.Error{Op: string(op), Handle: h, Err: err}
	}
	e.before, e.after = wrap(e.before), wrap(e.after)
	return e
}

func (f *Faults) effect(op Op, h backend.Handle) effect {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trace = append(f.trace, Call{Op: op, Handle: h})
	if f.stopped {
		if f.stop <= 0 {
			return effect{before: ErrStopped}
		}
		f.stop--
	}
	var sum effect
	for _, r := range f.rules {
		if r.op != "" && r.op != op || r.typ != anyType && r.typ != h.Type {
			continue
		}
		r.seen++
		if r.n != 0 && r.n != r.seen {
			continue
		}
		if sum.before == nil {
			sum.before = r.effect.before
		}
		if sum.after == nil {
			sum.after = r.effect.after
		}
		sum.delay += r.effect.delay
		sum.short = sum.short || r.effect.short
		sum.flip = sum.flip || r.effect.flip
	}
	return sum
}

// Save implements backend.Backend.
func (f *Faults) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	e := f.call(ctx, Save, h)
	if e.before != nil {
		return e.before
	}
	if err := f.b.Save(ctx, h, body, size); err != nil {
		return err
	}
	return e.after
}

// Load implements backend.Backend.
func (f *Faults) Load(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	e := f.call(ctx, Load, h)
	if e.before != nil {
		return nil, e.before
	}
	r, err := f.b.Load(ctx, h, off, n)
	if err != nil || e.after == nil && !e.short && !e.flip {
		return r, err
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	if e.flip && len(data) > 0 {
		data[len(data)/2] ^= 0xff
	}
	end := e.after
	if e.short {
		data, end = data[:len(data)/2], io.ErrUnexpectedEOF
	}
	out := io.Reader(bytes.NewReader(data))
	if end != nil {
		out = io.MultiReader(out, failing{end})
	}
	return io.NopCloser(out), nil
}

type failing struct{ err error }

func (r failing) Read([]byte) (int, error) { return 0, r.err }

// Stat implements backend.Backend.
func (f *Faults) Stat(ctx context.Context, h backend.Handle) (backend.FileInfo, error) {
	e := f.call(ctx, Stat, h)
	if e.before != nil {
		return backend.FileInfo{}, e.before
	}
	fi, err := f.b.Stat(ctx, h)
	if err == nil && e.after != nil {
		return backend.FileInfo{}, e.after
	}
	return fi, err
}

// List implements backend.Backend. The call counts when the iteration begins.
func (f *Faults) List(ctx context.Context, t backend.FileType) iter.Seq2[backend.FileInfo, error] {
	return func(yield func(backend.FileInfo, error) bool) {
		e := f.call(ctx, List, backend.Handle{Type: t})
		if e.before != nil {
			yield(backend.FileInfo{}, e.before)
			return
		}
		for fi, err := range f.b.List(ctx, t) {
			if !yield(fi, err) || err != nil {
				return
			}
		}
		if e.after != nil {
			yield(backend.FileInfo{}, e.after)
		}
	}
}

// Remove implements backend.Backend.
func (f *Faults) Remove(ctx context.Context, h backend.Handle) error {
	e := f.call(ctx, Remove, h)
	if e.before != nil {
		return e.before
	}
	if err := f.b.Remove(ctx, h); err != nil {
		return err
	}
	return e.after
}

// Close implements backend.Backend.
func (f *Faults) Close() error { return f.b.Close() }
