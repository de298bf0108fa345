package repository

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/internal/pack"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

var errUnreachable = errors.New("unreachable")

// unreachable fails to load one pack.
type unreachable struct {
	backend.Backend
	name string
}

func (u *unreachable) Load(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	if h.Name == u.name {
		return nil, errUnreachable
	}
	return u.Backend.Load(ctx, h, off, n)
}

func TestRepairTakesNoTreeForLostThatCannotBeReached(t *testing.T) {
	b := &unreachable{Backend: mem.New()}
	opt := &Options{ScryptN: 1024, LockSettle: 1}
	r, err := Init(t.Context(), b, "secret", opt)
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	s, err := r.Write(t.Context(), Header{}, func(_ context.Context, w *Writer) error {
		f, err := w.Create("f")
		if err != nil {
			return err
		}
		return f.Close()
	})
	require.NoError(t, err)

	// A second, damaged copy in another pack, of which the index must say the same.
	var first index.Location
	for loc := range r.index.Load().Lookup(pack.Tree, s.Tree) {
		first = loc
	}
	bad := make([]byte, first.Offset+first.Length)
	for i := range 16 { // the order in which copies are tried must not matter
		bad[0] = byte(i)
		id := Hash(bad)
		require.NoError(t, b.Save(t.Context(), packHandle(id), bytes.NewReader(bad), int64(len(bad))))
		_, err = r.saveFile(t.Context(), backend.Index, index.AppendFile(nil, []index.Pack{{ID: id, Blobs: []pack.Blob{first.Blob}}}))
		require.NoError(t, err)
	}
	p, err := r.PlanRepairSnapshots(t.Context())
	require.NoError(t, err)
	require.Empty(t, p.Snapshots)
	b.name = ID(first.Pack).String()
	_, err = r.PlanRepairSnapshots(t.Context())
	require.ErrorIs(t, err, errUnreachable)
}
