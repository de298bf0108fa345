package repository_test

import (
	"context"
	"iter"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// hooked calls hook before the nth listing.
type hooked struct {
	backend.Backend
	lists atomic.Int64
	n     int64
	hook  func()
}

func (h *hooked) List(ctx context.Context, t backend.FileType) iter.Seq2[backend.FileInfo, error] {
	if h.lists.Add(1) == h.n {
		h.hook()
	}
	return h.Backend.List(ctx, t)
}

// A snapshot that another process writes during a check is not damage.
func TestCheckDuringAWrite(t *testing.T) {
	for n := int64(1); ; n++ {
		b := mem.New()
		other := repositorytest.Init(t, b)
		repositorytest.Write(t, other, map[string]string{"old": "old"})
		h := &hooked{Backend: b, n: n, hook: func() { repositorytest.Write(t, other, map[string]string{"d/new": "new"}) }}
		for p, err := range repositorytest.Reopen(t, h).Check(t.Context(), &repository.CheckOptions{ReadData: true}) {
			require.NoError(t, err)
			require.Fail(t, "false alarm", "written before listing %d: %v", n, p)
		}
		if h.lists.Load() < n {
			require.Greater(t, n, int64(5))
			return
		}
	}
}
