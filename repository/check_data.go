package repository

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/escrow-backup/escrow/internal/pack"
)

// packReaders is how many packs are read at once. Each needs memory for a blob, and its text.
const packReaders = 2

// data reads all packs, or the subset of them.
func (c *checker) data(ctx context.Context) error {
	if !c.opt.ReadData {
		c.opt.ReadSubset.restrict(c.packs)
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(packReaders)
	for id, blobs := range c.ix.Packs() {
		size, ok := c.packs[id]
		if !ok || len(blobs) == 0 {
			continue // reported, or to be removed by rustic
		}
		if gctx.Err() != nil {
			break
		}
		delete(c.packs, id)
		blobs = slices.Clone(blobs)
		g.Go(func() error { return c.pack(gctx, id, size, blobs) })
	}
	// Leftovers: the header says what they hold.
	for id, size := range c.packs {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error { return c.pack(gctx, id, size, nil) })
	}
	return g.Wait()
}

// pack reads a whole pack in one go: its blobs where they should be, then the header. blobs is what the index says, nil
// for a pack in no index.
func (c *checker) pack(ctx context.Context, id ID, size int64, blobs []pack.Blob) error {
	h := packHandle(id)
	unindexed := blobs == nil
	header, err := c.header(ctx, id, size)
	if err != nil {
		kind := PackUnreadable
		if errors.Is(err, ErrDamaged) {
			kind = PackDamaged
		}
		// The blobs can be read all the same, by what the index says.
		if cerr := c.damaged(ctx, kind, h, err); cerr != nil {
			return cerr
		}
	} else if unindexed {
		blobs = header
	} else if !slices.Equal(header, blobs) { // both in the order of their offsets
		c.report(ctx, Problem{Kind: IndexWrong, Handle: h, Err: errors.New("its entries differ from the pack's header")})
	}
	rc, err := c.r.be.Load(ctx, h, 0, size)
	if err != nil {
		return c.damaged(ctx, PackUnreadable, h, err)
	}
	defer func() { _ = rc.Close() }() // all that counts is what was read
	sum := sha256.New()
	body := &countingReader{r: io.TeeReader(rc, sum)}
	var sealed, text []byte
	for _, b := range blobs {
		if int64(b.Offset) < body.n || int64(b.Offset)+int64(b.Length) > size || b.PlainLength() > maxBlob {
			if contiguous(blobs) == nil { // else reported
				c.report(ctx, Problem{Kind: BlobDamaged, Handle: h, Blob: b.ID, Err: errors.New("it reaches past the pack's end")})
			}
			continue
		}
		if _, err := io.CopyN(io.Discard, body, int64(b.Offset)-body.n); err != nil {
			return c.damaged(ctx, PackUnreadable, h, err)
		}
		sealed = slices.Grow(sealed[:0], int(b.Length))[:b.Length]
		if _, err := io.ReadFull(body, sealed); err != nil {
			return c.damaged(ctx, PackUnreadable, h, err)
		}
		p, err := c.r.openBlob(b, sealed, text)
		if err != nil {
			c.report(ctx, Problem{Kind: BlobDamaged, Handle: h, Blob: b.ID, Err: err})
		} else if b.Plain != 0 {
			text = p
		}
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		return c.damaged(ctx, PackUnreadable, h, err)
	}
	if ID(sum.Sum(nil)) != id {
		c.report(ctx, Problem{Kind: PackDamaged, Handle: h, Err: errors.New("its SHA-256 is not its name")})
	}
	return nil
}

// header reads the header of a pack.
func (c *checker) header(ctx context.Context, id ID, size int64) ([]pack.Blob, error) {
	if size < pack.LengthSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrDamaged, size)
	}
	h := packHandle(id)
	tail, err := readRange(ctx, c.r.be, h, size-pack.LengthSize, pack.LengthSize, nil)
	if err != nil {
		return nil, err
	}
	n, err := pack.HeaderLength(tail, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	body := size - pack.LengthSize - int64(n)
	sealed, err := readRange(ctx, c.r.be, h, body, int64(n), nil)
	if err != nil {
		return nil, err
	}
	text, err := c.r.key.Open(sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrDamaged, err)
	}
	blobs, err := pack.ParseHeader(text, body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return blobs, nil
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
