package e2e_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/local"
)

var errNoRoom = errors.New("no room")

// roomless is a place for a repository that looks at the server before it stores a pack, and refuses it while it is full.
type roomless struct {
	backend.Backend
	full  atomic.Bool
	packs func()
}

func (r *roomless) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	if h.Type == backend.Pack {
		r.packs()
		if r.full.Load() {
			return errNoRoom
		}
	}
	return r.Backend.Save(ctx, h, body, size)
}

// TestInterimVolume backs up by way of a directory: nothing is uploaded while the server holds a point in time, the directory is empty after
// success, and after an upload that failed the next run uploads what was dumped, although the cluster has changed.
func TestInterimVolume(t *testing.T) {
	onEach(t, func(t *testing.T, e *es) {
		const index = "interim"
		logs(t, e, index, 2, 20_000)
		b, err := local.New(filepath.Join(t.TempDir(), "repo"))
		require.NoError(t, err)
		place := &roomless{Backend: b}
		var open, packs atomic.Int64
		place.packs = func() {
			packs.Add(1)
			open.Add(e.openContexts(t, index))
		}
		repo, err := repository.Init(t.Context(), place, password, &repository.Options{ScryptN: 1 << 10})
		require.NoError(t, err)
		t.Cleanup(func() {
			require.NoError(t, repo.Close())
			require.NoError(t, b.Close())
		})
		dir := t.TempDir()
		o := &backup.Options{Indices: []string{index}, Sections: []string{"none"}, Interim: dir}
		left := func() int {
			t.Helper()
			all, err := os.ReadDir(dir)
			require.NoError(t, err)
			return len(all)
		}
		res, err := backup.Run(t.Context(), e.transport(t), repo, o)
		require.NoError(t, err)
		require.Positive(t, packs.Load())
		require.Zero(t, open.Load(), "something was uploaded while points in time were open")
		require.Zero(t, left())
		e.holds(t, repo, res, index)

		place.full.Store(true)
		e.put(t, index, 0, 500, "in the dump")
		want := contents{}
		e.read(t, want, false, index)
		_, err = backup.Run(t.Context(), e.transport(t), repo, o)
		require.ErrorIs(t, err, errNoRoom)
		require.Equal(t, 1, held(t, repo))
		require.Equal(t, 1, left())
		e.put(t, index, 0, 500, "after it")
		place.full.Store(false)
		res, err = backup.Run(t.Context(), e.transport(t), repo, o)
		require.NoError(t, err)
		require.True(t, res.Resumed)
		require.Zero(t, res.DocumentsRead)
		require.Zero(t, left())
		e.remove(t, index)
		e.restored(t, files(t, repo, res.Snapshot), nil)
		got := contents{}
		e.read(t, got, false, index)
		same(t, want, got)
	})
}
