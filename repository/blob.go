package repository

import (
	"context"
	"errors"
	"fmt"

	"github.com/escrow-backup/escrow/internal/crypto"
	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/internal/pack"
	"github.com/escrow-backup/escrow/repository/backend"
)

// loadBlob reads a blob and checks that its name is its SHA-256. If one copy cannot be read, it tries the others. The text
// may lie in buf.
func (r *Repo) loadBlob(ctx context.Context, ix *index.Index, t pack.Type, id ID, buf []byte) ([]byte, error) {
	var errs []error
	for loc := range ix.Lookup(t, id) {
		p, err := r.loadCopy(ctx, loc, buf)
		if err == nil {
			return p, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	if errs == nil {
		errs = append(errs, errNoBlob)
	}
	return nil, fmt.Errorf("load %v blob %v: %w", t, id, errors.Join(errs...))
}

func (r *Repo) loadCopy(ctx context.Context, loc index.Location, buf []byte) ([]byte, error) {
	h := backend.Handle{Type: backend.Pack, Name: ID(loc.Pack).String()}
	if loc.Length > maxBlob || loc.PlainLength() > maxBlob {
		return nil, fmt.Errorf("%v: a blob of %d bytes is not plausible", h, loc.PlainLength())
	}
	if loc.Type == pack.Tree && r.useCache(ctx) {
		if p := r.cachedTree(ctx, loc, buf); p != nil {
			return p, nil
		}
	}
	var sealed []byte
	if loc.Plain == 0 {
		// The text will lie in the sealed form.
		sealed, buf = buf, nil
	} else {
		pooled, ok := r.sealed.Get().(*[]byte)
		if !ok {
			pooled = new([]byte)
		}
		sealed = *pooled
		defer func() {
			if cap(sealed) <= 2*MaxBlob {
				*pooled = sealed
				r.sealed.Put(pooled)
			}
		}()
	}
	sealed, err := readRange(ctx, r.be, h, int64(loc.Offset), int64(loc.Length), sealed)
	if err != nil {
		return nil, err
	}
	p, err := r.openBlob(loc.Blob, sealed, buf)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", h, err)
	}
	return p, nil
}

// openBlob decrypts sealed in place, decompresses it into buf if it is compressed, and checks its SHA-256.
func (r *Repo) openBlob(b pack.Blob, sealed, buf []byte) ([]byte, error) {
	if len(sealed) < crypto.Overhead {
		return nil, fmt.Errorf("%w: too short", ErrDamaged)
	}
	p, err := r.key.Open(sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if b.Plain != 0 {
		if p, err = r.codec.openBlob(buf, p, int(b.Plain)); err != nil {
			return nil, err
		}
	}
	if Hash(p) != b.ID {
		return nil, fmt.Errorf("%w: its SHA-256 is not its name", ErrDamaged)
	}
	return p, nil
}
