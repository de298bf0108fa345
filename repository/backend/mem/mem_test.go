package mem_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

func TestConformance(t *testing.T) {
	stores := mem.NewOpener()
	open := func(t *testing.T) backend.Backend {
		b, err := stores(t.Context(), t.Name(), nil)
		require.NoError(t, err)
		return b
	}
	backendtest.Run(t, open, &backendtest.Options{Reopen: func(t *testing.T, _ backend.Backend) backend.Backend { return open(t) }})
}

func TestOpener(t *testing.T) {
	ctx := t.Context()
	config := backend.Handle{Type: backend.Config}
	var m, other backend.Mux
	m.Handle("mem", mem.NewOpener())
	other.Handle("mem", mem.NewOpener())
	a, err := m.Open(ctx, "mem:name", nil)
	require.NoError(t, err)
	require.NoError(t, a.Save(ctx, config, strings.NewReader("x"), 1))
	require.NoError(t, a.Close())
	require.ErrorIs(t, a.Close(), fs.ErrClosed)
	_, err = a.Stat(ctx, config)
	require.ErrorIs(t, err, fs.ErrClosed)

	b, err := m.Open(ctx, "mem:name", nil)
	require.NoError(t, err)
	fi, err := b.Stat(ctx, config)
	require.NoError(t, err)
	require.Equal(t, int64(1), fi.Size)

	for _, open := range []func() (backend.Backend, error){
		func() (backend.Backend, error) { return m.Open(ctx, "mem:", nil) },
		func() (backend.Backend, error) { return other.Open(ctx, "mem:name", nil) },
	} {
		b, err := open()
		require.NoError(t, err)
		_, err = b.Stat(ctx, config)
		require.True(t, backend.IsNotExist(err))
	}
}
