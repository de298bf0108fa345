package repository

import (
	"context"
	"sync/atomic"

	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/internal/pack"
	"github.com/escrow-backup/escrow/repository/backend"
)

// loadMoved is loadBlob for those who hold no lock. If the pack is gone, a prune may have moved the blob to another one: then it looks
// at the index anew, once, and ix is that from then on.
func (r *Repo) loadMoved(ctx context.Context, ix *atomic.Pointer[index.Index], t pack.Type, id ID, buf []byte) ([]byte, error) {
	old := ix.Load()
	p, err := r.loadBlob(ctx, old, t, id, buf)
	if err == nil || !backend.IsNotExist(err) || ctx.Err() != nil {
		return p, err
	}
	now, rerr := r.refreshIndex(ctx)
	if rerr != nil || now == old {
		return nil, err
	}
	ix.Store(now)
	return r.loadBlob(ctx, now, t, id, nil)
}
