package backendtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

// Without rules a Faults is as good a Backend as the one below it.
func TestFaultsConform(t *testing.T) {
	backendtest.Run(t, func(*testing.T) backend.Backend { return backendtest.NewFaults(mem.New()) },
		&backendtest.Options{ListEntries: 100})
}

var errBoom = errors.New("boom")

func save(ctx context.Context, b backend.Backend, typ backend.FileType, content string) (backend.Handle, error) {
	h := backendtest.HandleOf(typ, []byte(content))
	return h, b.Save(ctx, h, strings.NewReader(content), int64(len(content)))
}

func read(t *testing.T, b backend.Backend, h backend.Handle) (string, error) {
	r, err := b.Load(t.Context(), h, 0, -1)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(r)
	require.NoError(t, r.Close())
	return string(data), err
}

func TestFailNth(t *testing.T) {
	f := backendtest.NewFaults(mem.New()).Fail("Save", backend.Pack, 2, errBoom)
	_, err := save(t.Context(), f, backend.Pack, "a")
	require.NoError(t, err)
	_, err = save(t.Context(), f, backend.Key, "k") // another type does not count
	require.NoError(t, err)
	h, err := save(t.Context(), f, backend.Pack, "b")
	require.ErrorIs(t, err, errBoom)
	require.ErrorContains(t, err, "save pack "+h.Name)
	_, err = f.Stat(t.Context(), h)
	require.True(t, backend.IsNotExist(err))
	_, err = save(t.Context(), f, backend.Pack, "b")
	require.NoError(t, err)
	require.Equal(t, 5, f.Calls())
	require.Equal(t, "stat pack "+h.Name, f.Trace()[3].String())
	require.Panics(t, func() { f.Fail("Store", 0, 1, errBoom) })
}

func TestLoseAck(t *testing.T) {
	f := backendtest.NewFaults(mem.New()).LoseAck("", 0, 0, errBoom)
	h, err := save(t.Context(), f, backend.Pack, "content")
	require.ErrorIs(t, err, errBoom)
	s, err := read(t, f, h)
	require.ErrorIs(t, err, errBoom)
	require.Equal(t, "content", s)
	_, err = f.Stat(t.Context(), h)
	require.ErrorIs(t, err, errBoom)
	n := 0
	for fi, err := range f.List(t.Context(), backend.Pack) {
		if n++; n == 1 {
			require.NoError(t, err)
			require.Equal(t, h, fi.Handle)
		} else {
			require.ErrorIs(t, err, errBoom)
		}
	}
	require.Equal(t, 2, n)
	require.ErrorIs(t, f.Remove(t.Context(), h), errBoom)
	_, err = f.Clear().Stat(t.Context(), h)
	require.True(t, backend.IsNotExist(err))
}

func TestBadReads(t *testing.T) {
	f := backendtest.NewFaults(mem.New()).ShortRead(backend.Pack, 1).FlipByte(backend.Pack, 2)
	h, err := save(t.Context(), f, backend.Pack, "content")
	require.NoError(t, err)
	s, err := read(t, f, h)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, "con", s)
	s, err = read(t, f, h)
	require.NoError(t, err)
	require.Equal(t, "con\x8bent", s)
	s, err = read(t, f, h)
	require.NoError(t, err)
	require.Equal(t, "content", s)
}

func TestStopAfter(t *testing.T) {
	m := mem.New()
	f := backendtest.NewFaults(m).StopAfter(1)
	_, err := save(t.Context(), f, backend.Pack, "a")
	require.NoError(t, err)
	for range 3 {
		h, err := save(t.Context(), f, backend.Pack, "b")
		require.ErrorIs(t, err, backendtest.ErrStopped)
		_, err = m.Stat(t.Context(), h)
		require.True(t, backend.IsNotExist(err))
	}
	for _, err := range f.List(t.Context(), backend.Pack) {
		require.ErrorIs(t, err, backendtest.ErrStopped)
	}
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := backendtest.NewFaults(mem.New()).Delay(backendtest.Save, 0, 0, time.Hour)
		start := time.Now()
		_, err := save(t.Context(), f, backend.Pack, "a")
		require.NoError(t, err)
		require.Equal(t, time.Hour, time.Since(start))
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errBoom)
		defer cancel()
		_, err = save(ctx, f, backend.Pack, "b")
		require.ErrorIs(t, err, errBoom)
	})
}

// A fault at every call of a procedure, one at a time.
func ExampleFaults() {
	ctx := context.Background()
	procedure := func(b backend.Backend) error {
		for _, content := range []string{"one", "two"} {
			if _, err := save(ctx, b, backend.Pack, content); err != nil {
				return err
			}
		}
		_, err := save(ctx, b, backend.Index, "both")
		return err
	}
	dry := backendtest.NewFaults(mem.New())
	fmt.Println(procedure(dry), dry.Calls())
	for n := 1; n <= dry.Calls(); n++ {
		err := procedure(backendtest.NewFaults(mem.New()).Fail("", 0, n, errors.New("boom")))
		fmt.Println(strings.Fields(err.Error())[:2], errors.Unwrap(err))
	}
	// Output:
	// <nil> 3
	// [save pack] boom
	// [save pack] boom
	// [save index] boom
}
