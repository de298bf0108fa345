package repository_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// twofold gives a repository in which each of two snapshots with the same pieces has packs of its own for them.
func twofold(t *testing.T, files map[string][]int) *mem.Backend {
	t.Helper()
	b := initialized(t)
	one, two := open4(t, b), open4(t, b)
	_, err := one.Write(t.Context(), repository.Header{Hostname: "h"}, func(_ context.Context, w *repository.Writer) error {
		mustPieces(t, two, files)
		for name, numbers := range files {
			f, err := w.Create(name)
			require.NoError(t, err)
			for _, n := range numbers {
				_, err := f.Write(random(uint64(n), pieceSize))
				require.NoError(t, err)
				require.NoError(t, f.Cut())
			}
			require.NoError(t, f.Close())
		}
		return nil
	})
	require.NoError(t, err)
	return b
}

// A copy of a blob goes only if the one that stays can be read: whichever of two is damaged, the other survives.
func TestPruneKeepsTheReadableCopy(t *testing.T) {
	files := map[string][]int{"a": upTo(0, 10)}
	start := twofold(t, files)
	damaged := 0
	for _, h := range handlesOf(t, start, backend.Pack) {
		p := load(t, start, h)
		if len(p) < 5*pieceSize {
			continue // of trees
		}
		damaged++
		b := clone(t, start)
		for i := pieceSize / 2; i < len(p)-pieceSize; i += 3 * pieceSize {
			p[i] ^= 1
		}
		require.NoError(t, b.Remove(t.Context(), h))
		put(t, b, h, p)
		r := open4(t, b)
		plan := prune(t, r, none())
		require.Equal(t, int64(10), plan.Duplicate.Count, "%v", plan)
		for s, err := range r.Snapshots(t.Context(), repository.Filter{}) {
			require.NoError(t, err)
			requirePieces(t, r, s, files)
		}
	}
	require.Equal(t, 2, damaged)

	// If none can be read, nothing goes: somebody may know better.
	b := clone(t, start)
	for _, h := range handlesOf(t, start, backend.Pack) {
		if p := load(t, start, h); len(p) > 5*pieceSize {
			for i := pieceSize / 2; i < len(p)-pieceSize/2; i += pieceSize / 2 {
				p[i] ^= 1 // in each, in whatever order they lie
			}
			require.NoError(t, b.Remove(t.Context(), h))
			put(t, b, h, p)
		}
	}
	r := open4(t, b)
	plan, err := r.PlanPrune(t.Context(), none())
	require.NoError(t, err)
	require.ErrorIs(t, r.Prune(t.Context(), plan), repository.ErrDamaged)
	require.Subset(t, handlesOf(t, b, backend.Pack), handlesOf(t, start, backend.Pack))
	repositorytest.Reopen(t, b)
}
