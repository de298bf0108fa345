package repository

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/escrow-backup/escrow/internal/pack"
	"github.com/escrow-backup/escrow/repository/backend"
)

// each calls do for every file of a type, several at once.
func (c *checker) each(ctx context.Context, t backend.FileType, do func(context.Context, backend.Handle) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(loaders)
	for fi, err := range c.r.be.List(ctx, t) {
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		g.Go(func() error { return do(gctx, fi.Handle) })
	}
	return g.Wait()
}

// damaged reports err as a problem of a file, unless ctx has ended.
func (c *checker) damaged(ctx context.Context, k ProblemKind, h backend.Handle, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		c.report(ctx, Problem{Kind: k, Handle: h, Err: err})
	}
	return nil
}

func (c *checker) keys(ctx context.Context) error {
	return c.each(ctx, backend.Key, func(ctx context.Context, h backend.Handle) error {
		text, err := readFile(ctx, c.r.be, h)
		if err == nil {
			_, err = decodeKeyFile(text)
		}
		return c.damaged(ctx, KeyDamaged, h, err)
	})
}

// indexes loads them anew: what is in memory may be older than the lock.
func (c *checker) indexes(ctx context.Context) error {
	return c.each(ctx, backend.Index, func(ctx context.Context, h backend.Handle) error {
		packs, err := c.r.readIndex(ctx, h)
		if err == nil {
			c.ix.Add(packs)
		}
		return c.damaged(ctx, IndexDamaged, h, err)
	})
}

// structure compares the indexes with the packs that are stored.
func (c *checker) structure(ctx context.Context) error {
	for fi, err := range c.r.be.List(ctx, backend.Pack) {
		if err != nil {
			return err
		}
		id, err := ParseID(fi.Handle.Name)
		if err != nil {
			return err
		}
		c.packs[id] = fi.Size
	}
	indexed := map[ID]bool{}
	for id, blobs := range c.ix.Packs() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		h := packHandle(id)
		size, ok := c.packs[id]
		if ok && len(blobs) == 0 {
			continue // rustic will remove it
		}
		indexed[id] = true
		switch want := pack.Size(blobs); {
		case !ok:
			c.report(ctx, Problem{Kind: PackMissing, Handle: h})
		case contiguous(blobs) != nil:
			c.report(ctx, Problem{Kind: IndexWrong, Handle: h, Err: contiguous(blobs)})
		case size != want:
			c.report(ctx, Problem{Kind: PackSize, Handle: h, Err: fmt.Errorf("%d bytes, its blobs make %d", size, want)})
		}
	}
	for id := range c.packs {
		if indexed[id] {
			continue
		}
		if c.opt.Leftovers {
			c.report(ctx, Problem{Kind: PackUnindexed, Handle: packHandle(id)})
		} else {
			delete(c.packs, id)
		}
	}
	return nil
}

func packHandle(id ID) backend.Handle { return backend.Handle{Type: backend.Pack, Name: id.String()} }

// contiguous returns an error unless the blobs, sorted by offset, follow each other from the beginning of the pack.
func contiguous(blobs []pack.Blob) error {
	end := int64(0)
	for _, b := range blobs {
		if int64(b.Offset) != end {
			return fmt.Errorf("blob %v is at %d, the one before ends at %d", ID(b.ID), b.Offset, end)
		}
		end += int64(b.Length)
	}
	return nil
}
