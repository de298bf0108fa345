package repository_test

import (
	"context"
	"io"
	"io/fs"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// beforeLoad calls do before the first file of a type is read.
type beforeLoad struct {
	backend.Backend
	typ backend.FileType
	mu  sync.Mutex
	do  func()
}

func (b *beforeLoad) Load(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	if h.Type == b.typ {
		b.mu.Lock()
		do := b.do
		b.do = nil
		if do != nil {
			do()
		}
		b.mu.Unlock()
	}
	return b.Backend.Load(ctx, h, off, n)
}

// A prune moves blobs and swaps index files at any moment of a reader, who takes no lock: he reads on.
func TestReadingSurvivesAPrune(t *testing.T) {
	files := map[string][]int{"a": upTo(2, 6), "d/b": {9}}
	scene := func(t *testing.T) (backend.Backend, *repository.Snapshot, func()) {
		b := initialized(t)
		r := open4(t, b)
		old := mustPieces(t, r, map[string][]int{"old": upTo(0, 4)})
		s := mustPieces(t, r, files)
		forget(t, r, old.ID)
		return b, s, func() {
			p := open4(t, b)
			plan := prune(t, p, none())
			require.Positive(t, plan.Repack.Count, "%v", plan)
		}
	}
	for name, typ := range map[string]backend.FileType{"while indexes are loaded": backend.Index, "while blobs are read": backend.Pack} {
		t.Run(name, func(t *testing.T) {
			b, s, do := scene(t)
			requirePieces(t, open4(t, &beforeLoad{Backend: b, typ: typ, do: do}), s, files)
			b, s, do = scene(t)
			st, err := open4(t, &beforeLoad{Backend: b, typ: typ, do: do}).Stats(t.Context(), s)
			require.NoError(t, err)
			require.Equal(t, int64(2), st.Files)
		})
	}
	t.Run("after the file system was opened", func(t *testing.T) {
		b, s, do := scene(t)
		r := open4(t, b)
		fsys, err := r.FS(t.Context(), s)
		require.NoError(t, err)
		f, err := fsys.Open("a")
		require.NoError(t, err)
		defer f.Close()
		at := make([]byte, 10)
		do()
		_, err = f.(io.ReaderAt).ReadAt(at, pieceSize)
		require.NoError(t, err)
		require.Equal(t, random(3, pieceSize)[:10], at)
		got, err := io.ReadAll(f)
		require.NoError(t, err)
		require.Equal(t, random(5, pieceSize), got[3*pieceSize:])
		_, err = fs.Stat(fsys, "d/b")
		require.NoError(t, err)
		_, err = r.RestoreDir(t.Context(), s, t.TempDir(), &repository.RestoreOptions{Verify: true})
		require.NoError(t, err)
	})
	t.Run("the snapshot went, too", func(t *testing.T) {
		b, s, _ := scene(t)
		r := open4(t, b)
		fsys, err := r.FS(t.Context(), s)
		require.NoError(t, err)
		other := open4(t, b)
		forget(t, other, s.ID)
		prune(t, other, none())
		_, err = fs.ReadFile(fsys, "a")
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.NotErrorIs(t, err, repository.ErrDamaged)
		_, err = r.FS(t.Context(), s)
		require.ErrorIs(t, err, fs.ErrNotExist)
		repositorytest.RequireClean(t, r)
	})
}
