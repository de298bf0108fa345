package repository

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/escrow-backup/escrow/internal/pack"
	"github.com/escrow-backup/escrow/repository/backend"
)

// walk visits every tree once, several at a time, whatever the number of snapshots that share it.
type walk struct {
	c *checker

	mu      sync.Mutex
	wake    *sync.Cond
	seen    map[ID]bool
	todo    []treeRef // last in, first out, which keeps it short
	working int
	ended   bool
}

type treeRef struct {
	id, snapshot ID
	path         string
}

// snapshots reads the snapshot files.
func (c *checker) snapshots(ctx context.Context) error {
	var mu sync.Mutex
	return c.each(ctx, backend.Snapshot, func(ctx context.Context, h backend.Handle) error {
		s, err := c.r.loadSnapshot(ctx, h)
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			c.roots = append(c.roots, treeRef{id: s.Tree, snapshot: s.ID})
		}
		return c.damaged(ctx, SnapshotDamaged, h, err)
	})
}

// trees checks that all that the snapshots refer to is there.
func (c *checker) trees(ctx context.Context) error {
	w := &walk{c: c, seen: map[ID]bool{}}
	w.wake = sync.NewCond(&w.mu)
	for _, t := range c.roots {
		w.push(t)
	}
	stop := context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ended = true
		w.wake.Broadcast()
	})
	defer stop()
	var g errgroup.Group
	for range loaders {
		g.Go(func() error {
			for {
				t, ok := w.pop()
				if !ok {
					return nil
				}
				w.tree(ctx, t)
				w.finish()
			}
		})
	}
	return g.Wait()
}

func (w *walk) push(t treeRef) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.seen[t.id] {
		w.seen[t.id] = true
		w.todo = append(w.todo, t)
		w.wake.Signal()
	}
}

// pop waits for a tree, and reports false when there will be none.
func (w *walk) pop() (treeRef, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.todo) == 0 && w.working > 0 && !w.ended {
		w.wake.Wait()
	}
	if len(w.todo) == 0 || w.ended {
		return treeRef{}, false
	}
	t := w.todo[len(w.todo)-1]
	w.todo = w.todo[:len(w.todo)-1]
	w.working++
	return t, true
}

func (w *walk) finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.working--; w.working == 0 {
		w.wake.Broadcast()
	}
}

func (w *walk) tree(ctx context.Context, t treeRef) {
	report := func(k ProblemKind, blob ID, path string, err error) {
		w.c.report(ctx, Problem{Kind: k, Blob: blob, Snapshot: t.snapshot, Path: path, Err: err})
	}
	if _, ok := w.c.ix.Size(pack.Tree, t.id); !ok {
		report(BlobMissing, t.id, t.path, nil)
		return
	}
	text, err := w.c.r.loadBlob(ctx, w.c.ix, pack.Tree, t.id, nil)
	var nodes []*node
	if err == nil {
		nodes, err = decodeTree(text)
	}
	if err != nil {
		report(TreeDamaged, t.id, t.path, err)
		return
	}
	for _, n := range nodes {
		path := n.Name
		if t.path != "" {
			path = t.path + "/" + n.Name
		}
		switch n.Type {
		case typeDir:
			w.push(treeRef{*n.Subtree, t.snapshot, path})
		case typeFile:
			w.file(n, func(k ProblemKind, blob ID, err error) { report(k, blob, path, err) })
		default:
			if _, ok := nodeTypes[n.Type]; !ok {
				report(TreeDamaged, t.id, path, fmt.Errorf("unknown type %.20q", n.Type))
			}
		}
	}
}

func (w *walk) file(n *node, report func(ProblemKind, ID, error)) {
	size, whole := int64(0), true
	for _, id := range n.Content {
		k, ok := w.c.ix.Size(pack.Data, id)
		if !ok {
			report(BlobMissing, id, nil)
			whole = false
		}
		size += int64(k)
	}
	if whole && size != n.Size {
		report(FileSizeWrong, ID{}, fmt.Errorf("the tree says %d bytes, the blobs have %d", n.Size, size))
	}
}
