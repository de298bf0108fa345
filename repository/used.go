package repository

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/internal/pack"
)

// blobMap holds a number for each blob, by type.
type blobMap [2]map[ID]uint32

func newBlobMap() blobMap { return blobMap{{}, {}} }

// reach finds all blobs that the trees need. Whatever cannot be read is an error: nobody knows what it needs.
type reach struct {
	r  *Repo
	ix *index.Index
	g  *errgroup.Group

	stored map[ID]int64 // the packs that are there, with their sizes

	mu   sync.Mutex
	used blobMap
}

// used gives every blob that the trees need, with the number 0. A tree that lies in no pack that is there and long enough is a
// *MissingError.
func (r *Repo) used(ctx context.Context, ix *index.Index, stored map[ID]int64, trees []ID) (blobMap, error) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(loaders)
	w := &reach{r: r, ix: ix, stored: stored, g: g, used: newBlobMap()}
	for _, id := range trees {
		w.mu.Lock()
		fresh := w.fresh(id)
		w.mu.Unlock()
		if fresh {
			g.Go(func() error { return w.forest(ctx, id) })
		}
	}
	return w.used, g.Wait()
}

// fresh notes a tree, and reports whether it was not known. The caller holds the lock.
func (w *reach) fresh(id ID) bool {
	_, known := w.used[pack.Tree][id]
	w.used[pack.Tree][id] = 0
	return !known
}

// forest notes what a tree and those below it need. It leaves to others as many as they can take.
func (w *reach) forest(ctx context.Context, root ID) error {
	for todo := []ID{root}; len(todo) > 0; {
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		below, err := w.tree(ctx, id)
		if err != nil {
			return err
		}
		for _, id := range below {
			if !w.g.TryGo(func() error { return w.forest(ctx, id) }) {
				todo = append(todo, id)
			}
		}
	}
	return nil
}

// missing gives an error if no pack has room for a tree.
func (w *reach) missing(id ID) error {
	e := &MissingError{Blobs: []ID{id}}
	for loc := range w.ix.Lookup(pack.Tree, id) {
		if size, ok := w.stored[loc.Pack]; ok && int64(loc.Offset)+int64(loc.Length) <= size {
			return nil
		}
		e.Packs = append(e.Packs, loc.Pack)
	}
	return e
}

// tree notes what a tree needs, and gives the trees right below it that nobody has seen. It looks at nothing else: what other
// programs, or later versions of them, store beside it must not matter.
func (w *reach) tree(ctx context.Context, id ID) ([]ID, error) {
	text, err := w.r.loadBlob(ctx, w.ix, pack.Tree, id, nil)
	if err != nil {
		if e := w.missing(id); e != nil && ctx.Err() == nil {
			return nil, e
		}
		return nil, err
	}
	var t struct {
		Nodes []struct {
			Content []ID `json:"content"`
			Subtree *ID  `json:"subtree"`
		} `json:"nodes"`
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, fmt.Errorf("decode tree %v: %w: %w", id, ErrDamaged, err)
	}
	if err := knownTree(text, t.Nodes == nil); err != nil {
		return nil, fmt.Errorf("decode tree %v: %w", id, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var below []ID
	for _, n := range t.Nodes {
		for _, blob := range n.Content {
			w.used[pack.Data][blob] = 0
		}
		if n.Subtree != nil && w.fresh(*n.Subtree) {
			below = append(below, *n.Subtree)
		}
	}
	return below, nil
}
