package repository

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/repository/backend"
)

// loaders is how many small files are read at once.
const loaders = 8

// refreshIndex brings the index in memory up to what is stored: it loads new index files, and starts afresh if one of
// those it knows is gone, since then somebody removed data. A Writer does that under its lock, so that nobody can remove
// what it relies on.
func (r *Repo) refreshIndex(ctx context.Context) (*index.Index, error) {
	if err := r.indexTurn.take(ctx); err != nil {
		return nil, err
	}
	defer r.indexTurn.give()
	ix, err := r.loadNewIndexes(ctx)
	for range 2 {
		if !backend.IsNotExist(err) {
			break
		}
		// Between the listing and the reading a prune, or who repairs the index, put others in its place.
		ix, err = r.loadNewIndexes(ctx)
	}
	if err == nil && r.cache != nil {
		r.cache.keepPacks(ix)
	}
	return ix, err
}

// loadNewIndexes does it once. The caller has the turn.
func (r *Repo) loadNewIndexes(ctx context.Context) (*index.Index, error) {
	stored := map[string]bool{}
	var fresh []backend.Handle
	for fi, err := range r.be.List(ctx, backend.Index) {
		if err != nil {
			return nil, err
		}
		if !stored[fi.Handle.Name] {
			stored[fi.Handle.Name] = true
			fresh = append(fresh, fi.Handle)
		}
	}
	ix, known := r.index.Load(), maps.Clone(r.indexes)
	for name := range known {
		if !stored[name] {
			ix, known = &index.Index{}, nil
			break
		}
	}
	if known == nil {
		known = map[string]bool{}
	}
	todo := slices.DeleteFunc(fresh, func(h backend.Handle) bool { return known[h.Name] })
	err := r.addIndexes(ctx, ix, known, todo)
	if err == nil || ix == r.index.Load() { // what was added counts, although there is more
		r.index.Store(ix)
		r.indexes = known
	}
	if err != nil {
		return nil, err
	}
	return ix, nil
}

// addIndexes reads index files, several at once, adds each to ix as soon as it is decoded, and notes its name.
func (r *Repo) addIndexes(ctx context.Context, ix *index.Index, known map[string]bool, handles []backend.Handle) error {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(loaders)
	for _, h := range handles {
		g.Go(func() error {
			packs, err := r.readIndex(ctx, h)
			if err != nil {
				return err
			}
			ix.Add(packs)
			mu.Lock()
			defer mu.Unlock()
			known[h.Name] = true
			return nil
		})
	}
	return g.Wait()
}

func (r *Repo) readIndex(ctx context.Context, h backend.Handle) ([]index.Pack, error) {
	text, err := r.loadFile(ctx, h)
	if err != nil {
		return nil, err
	}
	packs, err := index.DecodeFile(text)
	if err != nil {
		return nil, fmt.Errorf("load %v: %w", h, err)
	}
	return packs, nil
}

// addIndex adds the packs that the stored index file id names.
func (r *Repo) addIndex(ctx context.Context, id ID, packs []index.Pack) error {
	if err := r.indexTurn.take(ctx); err != nil {
		return err // it is stored: who refreshes next finds it
	}
	defer r.indexTurn.give()
	if r.indexes[id.String()] {
		return nil
	}
	r.index.Load().Add(packs)
	if r.indexes == nil {
		r.indexes = map[string]bool{}
	}
	r.indexes[id.String()] = true
	return nil
}
