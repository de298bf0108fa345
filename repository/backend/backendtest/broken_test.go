package backendtest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

// broken is a driver that breaks one rule.
type broken struct {
	backend.Backend
	rule   string
	reader *atomic.Pointer[[]byte] // of the last Load
}

// rules names what a broken driver does, and the test of the suite that finds it.
var rules = map[string]string{
	"absent files are forbidden":         "Empty",
	"errors without operation":           "Empty",
	"remove of nothing succeeds":         "Empty",
	"close fails":                        "Empty",
	"remove keeps the file":              "RoundTrip",
	"stat is off by one":                 "RoundTrip",
	"listed twice":                       "RoundTrip",
	"any name will do":                   "InvalidHandles",
	"unknown types are empty":            "InvalidHandles",
	"short read at the end":              "Ranges",
	"offset is ignored":                  "Ranges",
	"empty files are refused":            "Ranges",
	"a byte of large files is lost":      "LargeFile",
	"all of the body is saved":           "LargeFile",
	"overwrites":                         "Overwrite",
	"part of a failed upload stays":      "FailedSave",
	"the list ends after a page":         "List",
	"an ended context is ignored":        "Cancelled",
	"a cancelled upload stays":           "CancelSave",
	"a cancelled reader goes on":         "CancelLoad",
	"a list goes on after its error":     "CancelList",
	"readers share a buffer":             "Concurrency",
	"two save the same":                  "SameFileAtOnce",
	"no connections":                     "OptionalInterfaces",
	"everything is lost at close":        "Reopen",
	"what may not be read is not there":  "Forbidden",
	"what may not be listed is an empty": "Forbidden",
}

// Every rule of the suite has a driver that breaks it and that does not pass. As the suite fails the test that it runs in, it
// runs in a process of its own.
func TestBrokenDriversFail(t *testing.T) {
	for rule, test := range rules {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBrokenDriver$/^"+test+"$", "-test.v")
			cmd.Env = append(os.Environ(), "BROKEN_RULE="+rule)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "it passes:\n%s", out)
			require.Contains(t, string(out), "--- FAIL: TestBrokenDriver/"+test+" ")
		})
	}
}

func TestBrokenDriver(t *testing.T) {
	rule, asked := os.LookupEnv("BROKEN_RULE")
	if !asked {
		rule = "none" // and it passes
	}
	open := mem.NewOpener()
	place := func(t *testing.T, name string) backend.Backend {
		m, err := open(t.Context(), name, nil)
		require.NoError(t, err)
		return &broken{Backend: m, rule: rule, reader: new(atomic.Pointer[[]byte])}
	}
	backendtest.Run(t, func(t *testing.T) backend.Backend { return place(t, t.Name()) }, &backendtest.Options{
		ListEntries: 1200,
		LargeFile:   2 << 20,
		Reopen: func(t *testing.T, _ backend.Backend) backend.Backend {
			if rule == "everything is lost at close" {
				return place(t, "another")
			}
			return place(t, t.Name())
		},
		Forbidden: func(*testing.T) backend.Backend {
			switch rule {
			case "what may not be read is not there":
				return backendtest.NewFaults(mem.New()).Fail("", 0, 0, fs.ErrNotExist)
			case "what may not be listed is an empty":
				f := backendtest.NewFaults(mem.New())
				for _, op := range []backendtest.Op{backendtest.Save, backendtest.Load, backendtest.Stat, backendtest.Remove} {
					f.Fail(op, 0, 0, fs.ErrPermission)
				}
				return f
			}
			return backendtest.NewFaults(mem.New()).Fail("", 0, 0, fs.ErrPermission)
		},
	})
}

func (b *broken) Connections() int {
	if b.rule == "no connections" {
		return 0
	}
	return 4
}

// ended is the context that the driver below sees.
func (b *broken) ended(ctx context.Context) context.Context {
	if b.rule == "an ended context is ignored" {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

// told is how the driver says what went wrong.
func (b *broken) told(err error) error {
	var e *backend.Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case b.rule == "errors without operation":
		return e.Err
	case b.rule == "absent files are forbidden" && errors.Is(err, fs.ErrNotExist):
		return &backend.Error{Op: e.Op, Handle: e.Handle, Err: errors.Join(err, fs.ErrPermission)}
	}
	return err
}

func (b *broken) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	ctx = b.ended(ctx)
	switch b.rule {
	case "any name will do":
		if h.Valid() != nil {
			return nil
		}
	case "empty files are refused":
		if size == 0 {
			return &backend.Error{Op: "save", Handle: h, Err: fs.ErrInvalid}
		}
	case "all of the body is saved":
		if all, err := io.ReadAll(io.NewSectionReader(body, 0, 1<<30)); err == nil && h.Valid() == nil && ctx.Err() == nil && size >= 0 && int64(len(all)) > size {
			return b.Backend.Save(ctx, h, bytes.NewReader(all), int64(len(all)))
		}
	case "a byte of large files is lost":
		if all, err := io.ReadAll(io.NewSectionReader(body, 0, size)); err == nil && size > 1<<20 && ctx.Err() == nil {
			all[size/2] ^= 1
			body = bytes.NewReader(all)
		}
	case "overwrites":
		if _, err := b.Backend.Stat(ctx, h); err == nil {
			if err := b.Backend.Remove(ctx, h); err != nil {
				return err
			}
		}
	case "two save the same":
		if err := b.Backend.Save(ctx, h, body, size); !errors.Is(err, fs.ErrExist) || size < 1<<20 {
			return err
		}
		return nil
	case "part of a failed upload stays", "a cancelled upload stays":
		err := b.Backend.Save(ctx, h, body, size)
		cancelled := err != nil && ctx.Err() != nil && b.rule == "a cancelled upload stays"
		if cancelled || errors.Is(err, io.ErrUnexpectedEOF) && b.rule == "part of a failed upload stays" {
			part := []byte("part")
			return errors.Join(err, b.Backend.Save(context.WithoutCancel(ctx), h, bytes.NewReader(part), 4))
		}
		return err
	}
	return b.told(b.Backend.Save(ctx, h, body, size))
}

func (b *broken) Load(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	ctx = b.ended(ctx)
	switch b.rule {
	case "offset is ignored":
		if off > 0 {
			off = 0
		}
	case "short read at the end":
		if fi, err := b.Backend.Stat(ctx, h); err == nil && off >= 0 && off <= fi.Size {
			n = min(n, fi.Size-off)
		}
	case "a cancelled reader goes on":
		if ctx.Err() == nil {
			ctx = context.WithoutCancel(ctx)
		}
	}
	r, err := b.Backend.Load(ctx, h, off, n)
	if err != nil || b.rule != "readers share a buffer" {
		return r, b.told(err)
	}
	data, err := io.ReadAll(r)
	b.reader.Store(&data)
	return io.NopCloser(&shared{b.reader, 0}), errors.Join(err, r.Close())
}

// shared reads what was loaded last.
type shared struct {
	last *atomic.Pointer[[]byte]
	off  int
}

func (s *shared) Read(p []byte) (int, error) {
	data := *s.last.Load()
	if s.off >= len(data) {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 100)], data[s.off:])
	runtime.Gosched() // another may load now
	s.off += n
	return n, nil
}

func (b *broken) Stat(ctx context.Context, h backend.Handle) (backend.FileInfo, error) {
	fi, err := b.Backend.Stat(b.ended(ctx), h)
	if b.rule == "stat is off by one" {
		fi.Size++
	}
	return fi, b.told(err)
}

func (b *broken) List(ctx context.Context, t backend.FileType) iter.Seq2[backend.FileInfo, error] {
	return func(yield func(backend.FileInfo, error) bool) {
		if b.rule == "unknown types are empty" && !t.Valid() {
			return
		}
		n := 0
		for fi, err := range b.Backend.List(b.ended(ctx), t) {
			if n++; n > 1000 && b.rule == "the list ends after a page" {
				return
			}
			if !yield(fi, b.told(err)) {
				return
			}
			if b.rule == "listed twice" && err == nil || b.rule == "a list goes on after its error" && err != nil {
				if !yield(fi, err) {
					return
				}
			}
		}
	}
}

func (b *broken) Remove(ctx context.Context, h backend.Handle) error {
	err := b.Backend.Remove(b.ended(ctx), h)
	switch {
	case b.rule == "remove of nothing succeeds" && errors.Is(err, fs.ErrNotExist):
		return nil
	case b.rule == "remove keeps the file" && err == nil:
		name := strings.NewReader("kept")
		return b.Backend.Save(context.WithoutCancel(ctx), h, name, 4)
	}
	return b.told(err)
}

func (b *broken) Close() error {
	err := b.Backend.Close()
	if b.rule == "close fails" {
		return errors.Join(err, errBoom)
	}
	return err
}

// Every test of the suite is shown to fail for somebody.
func TestEveryTestHasABrokenDriver(t *testing.T) {
	if _, asked := os.LookupEnv("BROKEN_RULE"); asked {
		t.Skip("this process runs a broken driver")
	}
	out, err := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBrokenDriver$", "-test.v").CombinedOutput()
	require.NoError(t, err, string(out))
	found := 0
	for line := range strings.Lines(string(out)) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "--- PASS: TestBrokenDriver/")
		if !ok || strings.Contains(name, "/") {
			continue
		}
		name, _, _ = strings.Cut(name, " ")
		found++
		covered := false
		for _, test := range rules {
			covered = covered || test == name
		}
		require.True(t, covered, "no broken driver shows that %s can fail", name)
	}
	require.GreaterOrEqual(t, found, len(slices.Compact(slices.Sorted(maps.Values(rules)))))
}
