package repository

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/pack"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

// indexSizes gives how many blobs each stored index file names.
func indexSizes(t *testing.T, r *Repo) (sizes []int) {
	t.Helper()
	for fi, err := range r.be.List(t.Context(), backend.Index) {
		require.NoError(t, err)
		packs, err := r.readIndex(t.Context(), fi.Handle)
		require.NoError(t, err)
		n := 0
		for _, p := range packs {
			n += len(p.Blobs)
		}
		sizes = append(sizes, n)
	}
	slices.Sort(sizes)
	return sizes
}

func TestIndexIsStoredWhenFull(t *testing.T) {
	r := testRepo(t, mem.New(), Options{PackSize: 4 << 20, Concurrency: 1, LockSettle: time.Millisecond})
	r.indexLimits.blobs = 10
	_, err := r.Write(t.Context(), Header{}, func(ctx context.Context, w *Writer) error {
		f, err := w.Create("f")
		require.NoError(t, err)
		for i := range byte(45) { // 5 or so a pack
			id, err := w.SaveBlob(ctx, noise(i, 700<<10))
			require.NoError(t, err)
			require.True(t, w.HasBlob(id))
			require.NoError(t, f.Append(id))
		}
		// At most those of the open pack and of those being uploaded are in memory only.
		require.GreaterOrEqual(t, len(indexSizes(t, r)), 2)
		for i := range byte(45) {
			require.True(t, w.HasBlob(Hash(noise(i, 700<<10))), "before and after its index is stored")
		}
		return f.Close()
	})
	require.NoError(t, err)
	sizes := indexSizes(t, r)
	require.LessOrEqual(t, slices.Max(sizes), 10)
	total := 0
	for _, n := range sizes {
		total += n
	}
	require.Equal(t, 45+1, total, "each blob and the tree once")
	require.Equal(t, 46, r.index.Load().Len())
	for p, err := range r.Check(t.Context(), &CheckOptions{ReadData: true}) {
		require.NoError(t, err)
		require.Fail(t, "damaged", "%v", p)
	}
}

func TestIndexIsStoredInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testRepo(t, mem.New(), Options{PackSize: 4 << 20})
		_, err := r.Write(t.Context(), Header{}, func(ctx context.Context, w *Writer) error {
			for i := range byte(8) {
				_, err := w.SaveBlob(ctx, noise(i, 3<<20)) // a pack each
				require.NoError(t, err)
				synctest.Wait()
				switch {
				case i < 5: // pack i-1 is uploaded now, 3*(i-1) minutes after the first
					require.Empty(t, indexSizes(t, r), i)
				default:
					require.Equal(t, []int{5}, indexSizes(t, r), i)
				}
				time.Sleep(3 * time.Minute)
				synctest.Wait()
			}
			return nil
		})
		require.NoError(t, err)
		n := 0
		for _, k := range indexSizes(t, r) {
			n += k
		}
		require.Equal(t, 8+1, n)
	})
}

// A blob that could not be read again is not stored.
func TestTooLargeABlobIsRefused(t *testing.T) {
	r := testRepo(t, mem.New(), Options{LockSettle: time.Millisecond})
	_, err := r.Write(t.Context(), Header{}, func(ctx context.Context, w *Writer) error {
		_, err := w.save(ctx, pack.Tree, make([]byte, maxBlob+1)) // never touched, so it takes no memory
		return err
	})
	require.ErrorContains(t, err, "tree blob of 536870913 bytes")
}
