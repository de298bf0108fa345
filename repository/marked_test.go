package repository

import (
	"bytes"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

// markPacks makes of all index files one in which the packs are marked for removal, as the first of two runs of rustic's prune
// leaves them, and returns their number.
func markPacks(t *testing.T, r *Repo) int {
	t.Helper()
	var packs []index.Pack
	for fi, err := range r.be.List(t.Context(), backend.Index) {
		require.NoError(t, err)
		p, err := r.readIndex(t.Context(), fi.Handle)
		require.NoError(t, err)
		packs = append(packs, p...)
		require.NoError(t, r.be.Remove(t.Context(), fi.Handle))
	}
	text := string(index.AppendFile(nil, packs))
	text = strings.Replace(text, `{"packs":`, `{"packs":[],"packs_to_delete":`, 1)
	text = strings.ReplaceAll(text, `,"blobs":`, `,"time":"2024-01-01T00:00:00+01:00","blobs":`)
	_, err := r.saveFile(t.Context(), backend.Index, []byte(text))
	require.NoError(t, err)
	return len(packs)
}

func problems(t *testing.T, r *Repo, o *CheckOptions) (kinds []ProblemKind) {
	t.Helper()
	for p, err := range r.Check(t.Context(), o) {
		require.NoError(t, err)
		kinds = append(kinds, p.Kind)
	}
	return kinds
}

func stored(t *testing.T, b backend.Backend, typ backend.FileType) (n int) {
	t.Helper()
	for _, err := range b.List(t.Context(), typ) {
		require.NoError(t, err)
		n++
	}
	return n
}

// What no snapshot needs goes, and with it the index file that names nothing else: left behind, it would name missing packs.
func TestPruneRemovesMarkedPacks(t *testing.T) {
	b := mem.New()
	r := testRepo(t, b, Options{LockSettle: time.Millisecond})
	s := written(t, r, "one")
	plan, err := r.PlanForgetIDs(t.Context(), s.ID)
	require.NoError(t, err)
	require.NoError(t, r.Forget(t.Context(), plan))
	n := markPacks(t, r)
	require.Empty(t, problems(t, r, &CheckOptions{ReadData: true}))
	leftovers := problems(t, r, &CheckOptions{ReadData: true, Leftovers: true})
	require.Len(t, leftovers, n)
	for _, k := range leftovers {
		require.Equal(t, PackUnindexed, k)
	}
	// The same again is not held for stored: the marked pack may go at any time.
	again := written(t, r, "one")

	work, err := r.PlanPrune(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, int64(n), work.Remove.Count)
	require.NoError(t, r.Prune(t.Context(), work))
	require.Empty(t, problems(t, r, &CheckOptions{ReadData: true, Leftovers: true}))
	require.Equal(t, 1, stored(t, b, backend.Index))
	f, err := r.FS(t.Context(), again)
	require.NoError(t, err)
	got, err := fs.ReadFile(f, "f")
	require.NoError(t, err)
	require.Equal(t, "one", string(got))
}

// What a snapshot needs after all, since it was written while rustic marked, is neither removed nor lost.
func TestMarkedPacksInUseAreRecovered(t *testing.T) {
	b := mem.New()
	r := testRepo(t, b, Options{LockSettle: time.Millisecond})
	written(t, r, "one")
	n := markPacks(t, r)
	require.Contains(t, problems(t, r, nil), BlobMissing)
	_, err := r.PlanPrune(t.Context(), nil)
	require.ErrorIs(t, err, ErrDamaged)
	require.Equal(t, n, stored(t, b, backend.Pack))

	plan, err := r.PlanRepairIndex(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, plan.Reread, n)
	require.NoError(t, r.RepairIndex(t.Context(), plan))
	require.Empty(t, problems(t, r, &CheckOptions{ReadData: true, Leftovers: true}))
	work, err := r.PlanPrune(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, work.Empty(), "%v", work)
}

// A marked pack that is gone is struck out by prune and by repair.
func TestMarkedPacksThatAreGone(t *testing.T) {
	for _, repair := range []bool{false, true} {
		b := mem.New()
		r := testRepo(t, b, Options{LockSettle: time.Millisecond})
		text := []byte(`{"packs":[],"packs_to_delete":[{"id":"` + strings.Repeat("07", 32) + `","blobs":[],"time":"2024-01-01T00:00:00Z","size":99}]}`)
		_, err := r.saveFile(t.Context(), backend.Index, bytes.Clone(text))
		require.NoError(t, err)
		require.Equal(t, []ProblemKind{PackMissing}, problems(t, r, nil)) // as rustic says
		if repair {
			plan, err := r.PlanRepairIndex(t.Context(), nil)
			require.NoError(t, err)
			require.NoError(t, r.RepairIndex(t.Context(), plan))
		} else {
			work, err := r.PlanPrune(t.Context(), nil)
			require.NoError(t, err)
			require.NoError(t, r.Prune(t.Context(), work))
		}
		require.Empty(t, problems(t, r, nil))
		require.Zero(t, stored(t, b, backend.Index))
	}
}
