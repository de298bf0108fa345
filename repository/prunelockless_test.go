package repository_test

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
)

// meanwhile calls do at the first upload of a pack.
type meanwhile struct {
	backend.Backend
	do func()
}

func (m *meanwhile) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	if do := m.do; h.Type == backend.Pack && do != nil {
		m.do = nil
		do()
	}
	return m.Backend.Save(ctx, h, body, size)
}

func TestPruneRemovesNothingIfSomebodyWritesWithoutLocks(t *testing.T) {
	for _, typ := range []backend.FileType{backend.Snapshot, backend.Index} {
		t.Run(typ.String(), func(t *testing.T) {
			b := initialized(t)
			r := open4(t, b)
			mustPieces(t, r, map[string][]int{"old": upTo(0, 3)})
			other := clone(t, b)
			mustPieces(t, r, map[string][]int{"new": upTo(2, 4)})
			plan, err := r.PlanForget(t.Context(), repository.Policy{Last: 1}, &repository.ForgetOptions{GroupBy: repository.GroupTogether})
			require.NoError(t, err)
			require.NoError(t, r.Forget(t.Context(), plan))

			m := &meanwhile{Backend: b}
			p := open4(t, m)
			work, err := p.PlanPrune(t.Context(), none())
			require.NoError(t, err)
			require.Positive(t, work.Repack.Count)
			before := append(handlesOf(t, b, backend.Pack), handlesOf(t, b, backend.Index)...)
			m.do = func() {
				s := mustPieces(t, open4(t, other), map[string][]int{"more": {1}})
				h := backend.Handle{Type: typ, Name: s.ID.String()}
				if typ == backend.Index {
					all := handlesOf(t, other, typ)
					for _, h = range all {
						if _, err := b.Stat(t.Context(), h); err != nil {
							break
						}
					}
				}
				put(t, b, h, load(t, other, h))
			}
			require.ErrorIs(t, p.Prune(t.Context(), work), repository.ErrPlanOutdated)
			require.Nil(t, m.do)
			require.Subset(t, append(handlesOf(t, b, backend.Pack), handlesOf(t, b, backend.Index)...), before)
		})
	}
}
