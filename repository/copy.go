package repository

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sync/errgroup"

	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/internal/pack"
	"github.com/escrow-backup/escrow/repository/backend"
)

// CopyResult says what Copy did.
type CopyResult struct {
	Copied  []*Snapshot // the new ones in the destination, in the order given
	Skipped []*Snapshot // those of the source that the destination has already
	Stats   WriteStats  // what was stored in the destination
}

// Copy copies snapshots into another repository, which may have another master key, version and compression. Blobs that dst has
// are not copied. Data is deduplicated against that of other snapshots in dst only if both repositories cut files at the same
// places: see Options.CopyChunker.
//
// A copy says in Original which snapshot it is of, as restic's does. One that dst has already is skipped, so that an
// interrupted Copy is simply repeated. After an error the result says what was copied before it. Both repositories are
// locked, shared; the source only if it was opened with locks.
func (r *Repo) Copy(ctx context.Context, dst *Repo, snapshots ...*Snapshot) (*CopyResult, error) {
	res := &CopyResult{}
	err := r.copyTo(ctx, dst, snapshots, res)
	if err != nil {
		err = fmt.Errorf("copy snapshots: %w", err)
	}
	return res, err
}

func (r *Repo) copyTo(ctx context.Context, dst *Repo, snapshots []*Snapshot, res *CopyResult) error {
	if r == dst {
		return fmt.Errorf("source and destination are the same: %w", fs.ErrInvalid)
	}
	work := func(ctx context.Context, _ *heldLock) error {
		ix, err := r.refreshIndex(ctx)
		if err != nil {
			return err
		}
		return dst.store(ctx, func(ctx context.Context, w *Writer) error {
			c := &copier{src: r, ix: ix, w: w, seen: map[ID]bool{}}
			defer func() { res.Stats = w.Stats() }()
			return c.snapshots(ctx, snapshots, res)
		})
	}
	if r.opt.NoLock {
		return work(ctx, nil)
	}
	return r.locked(ctx, false, work)
}

// store calls fn with a Writer that makes no snapshot, under a shared lock. What fn does not flush is not stored; what was
// uploaded is indexed.
func (r *Repo) store(ctx context.Context, fn func(context.Context, *Writer) error) error {
	return r.locked(ctx, false, func(ctx context.Context, lock *heldLock) error {
		if _, err := r.refreshIndex(ctx); err != nil {
			return err
		}
		w := newWriter(ctx, r, lock, r.now())
		defer func() {
			w.stop(ErrClosed)
			w.close()
			w.salvage()
		}()
		if err := fn(w.ctx, w); err != nil {
			return w.cause(err)
		}
		return nil
	})
}

// publish stores a snapshot whose blobs w has saved, and gives its id.
func (w *Writer) publish(ctx context.Context, s *Snapshot) (ID, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return ID{}, fmt.Errorf("encode snapshot: %w", err)
	}
	if err := w.flush(); err != nil {
		return ID{}, err
	}
	// Last of all: until here nobody removed what the snapshot needs.
	if err := w.live(ctx); err != nil {
		return ID{}, err
	}
	if err := w.lock.held(ctx); err != nil {
		return ID{}, err
	}
	return w.r.saveFile(ctx, backend.Snapshot, text)
}

// copier is one call of Copy.
type copier struct {
	src  *Repo
	ix   *index.Index
	w    *Writer
	seen map[ID]bool // trees that were copied with all below, or will be unless Copy fails
}

func (c *copier) snapshots(ctx context.Context, snapshots []*Snapshot, res *CopyResult) error {
	there := map[ID][][]byte{} // what the snapshots of the destination say, by what they are copies of
	all, err := c.w.r.loadSnapshots(ctx)
	if err != nil {
		return err
	}
	for _, s := range all {
		_, text, err := copyOf(s)
		if err != nil {
			return err
		}
		there[s.ID] = append(there[s.ID], text)
		if s.Original != nil {
			there[*s.Original] = append(there[*s.Original], text)
		}
	}
	for _, s := range snapshots {
		n, text, err := copyOf(s)
		if err != nil {
			return err
		}
		known := false
		for _, t := range there[*n.Original] {
			known = known || bytes.Equal(t, text)
		}
		if known {
			res.Skipped = append(res.Skipped, s)
			continue
		}
		if err := c.trees(ctx, s.Tree); err != nil {
			return fmt.Errorf("snapshot %s: %w", s.ID.Short(), err)
		}
		if n.ID, err = c.w.publish(ctx, n); err != nil {
			return fmt.Errorf("snapshot %s: %w", s.ID.Short(), err)
		}
		there[*n.Original] = append(there[*n.Original], text)
		res.Copied = append(res.Copied, n)
	}
	return nil
}

// copyOf gives the copy of a snapshot, and what it says besides whose copy it is: two with the same text are copies of each
// other.
func copyOf(s *Snapshot) (*Snapshot, []byte, error) {
	n := *s
	n.Parent, n.Original = nil, nil
	text, err := json.Marshal(n)
	if n.Original = s.Original; n.Original == nil {
		n.Original = &s.ID
	}
	return &n, text, err
}

// trees copies a tree and what it needs. That the destination has a tree proves nothing about what is below: the copying may
// have been interrupted.
func (c *copier) trees(ctx context.Context, root ID) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(loaders)
	var missing error
	for todo := []ID{root}; len(todo) > 0 && gctx.Err() == nil && missing == nil; {
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if c.seen[id] {
			continue
		}
		var nodes []*node
		if nodes, missing = c.tree(gctx, id); missing != nil {
			break
		}
		for _, n := range nodes {
			if n.Subtree != nil {
				todo = append(todo, *n.Subtree)
			}
			for _, id := range n.Content {
				if _, ok := c.w.size(pack.Data, id); !ok {
					g.Go(func() error { return c.blob(gctx, pack.Data, id) })
				}
			}
		}
		c.seen[id] = true
	}
	err := g.Wait()
	return errors.Join(err, missing, ctx.Err())
}

func (c *copier) tree(ctx context.Context, id ID) ([]*node, error) {
	text, err := c.src.loadBlob(ctx, c.ix, pack.Tree, id, nil)
	if err != nil {
		return nil, err
	}
	nodes, err := decodeTree(text)
	if err != nil {
		return nil, fmt.Errorf("tree %v: %w", id, err)
	}
	_, err = c.w.save(ctx, pack.Tree, text)
	return nodes, err
}

func (c *copier) blob(ctx context.Context, t pack.Type, id ID) error {
	if _, ok := c.w.size(t, id); ok {
		return nil // another file of the snapshot has it too
	}
	text, err := c.src.loadBlob(ctx, c.ix, t, id, nil)
	if err != nil {
		return err
	}
	_, err = c.w.save(ctx, t, text)
	return err
}
