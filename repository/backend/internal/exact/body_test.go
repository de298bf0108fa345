package exact_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend/internal/exact"
)

func TestBody(t *testing.T) {
	b := exact.NewBody(t.Context(), strings.NewReader("0123456789"), 7)
	require.NoError(t, iotest.TestReader(b, []byte("0123456")))
	_, err := b.Seek(-1, io.SeekStart)
	require.ErrorIs(t, err, fs.ErrInvalid)
	require.NoError(t, b.Stop())
	_, err = b.Read(make([]byte, 1))
	require.ErrorIs(t, err, fs.ErrClosed)

	b = exact.NewBody(t.Context(), strings.NewReader("012"), 7)
	got, err := io.ReadAll(b)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, "012", string(got))
	require.ErrorIs(t, b.Stop(), io.ErrUnexpectedEOF)

	boom := errors.New("boom")
	b = exact.NewBody(t.Context(), failing{boom}, 7)
	_, err = io.ReadAll(b)
	require.ErrorIs(t, err, boom)
	require.ErrorIs(t, b.Stop(), boom)

	ctx, cancel := context.WithCancelCause(t.Context())
	b = exact.NewBody(ctx, strings.NewReader("0123456789"), 7)
	_, err = io.ReadFull(b, make([]byte, 4))
	require.NoError(t, err)
	cancel(boom)
	_, err = b.Read(make([]byte, 4))
	require.ErrorIs(t, err, boom)
	require.ErrorIs(t, b.Stop(), boom)
}

type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

func TestRangeHeader(t *testing.T) {
	for _, c := range []struct {
		off, n int64
		want   string
		ok     bool
	}{
		{0, -1, "", true},
		{3, -1, "bytes=3-", true},
		{0, 1, "bytes=0-0", true},
		{3, 5, "bytes=3-7", true},
		{1, math.MaxInt64 - 1, "bytes=1-9223372036854775806", true},
		{2, math.MaxInt64 - 1, "", false},
		{3, 0, "", false},
		{0, 0, "", false},
		{-1, 5, "", false},
		{-1, -1, "", false},
	} {
		got, ok := exact.RangeHeader(c.off, c.n)
		require.Equal(t, c.want, got, "%d %d", c.off, c.n)
		require.Equal(t, c.ok, ok, "%d %d", c.off, c.n)
	}
}

func TestContentRange(t *testing.T) {
	for _, c := range []struct {
		header         string
		length, off, n int64
		want           int64 // -1 is an error
	}{
		{"bytes 0-9/10", 10, 0, -1, 10},
		{"bytes 2-6/10", 5, 2, 5, 5},
		{"bytes 2-6/10", -1, 2, 5, 5},
		{"bytes 2-9/10", 8, 2, -1, 8},
		{"bytes 2-6/10", 4, 2, 5, -1},
		{"bytes 3-7/10", 5, 2, 5, -1},
		{"bytes 2-6/10", 5, 2, -1, -1},
		{"bytes 8-9/10", 2, 8, 5, -1},
		{"bytes 2-6/*", 5, 2, 5, -1},
		{"2-6/10", 5, 2, 5, -1},
		{"", 5, 2, 5, -1},
	} {
		got, err := exact.ContentRange(c.header, c.length, c.off, c.n)
		if c.want < 0 {
			require.Error(t, err, "%+v", c)
			continue
		}
		require.NoError(t, err, "%+v", c)
		require.Equal(t, c.want, got)
	}
}
