package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/escrow-backup/escrow/internal/crypto"
	"github.com/escrow-backup/escrow/repository/backend"
)

// Migrate changes a repository of version 1 to version 2, in which what is written from now on is compressed. What is stored
// stays as it is and readable. It takes an exclusive lock; no other call of this Repo may be under way. In a repository of
// version 2 it does nothing. Check the repository first.
//
// Only the config file changes. A Backend cannot replace a file, so there is a moment in which there is no config. If storing
// the new one fails, Migrate puts the old one back. For the case that the process dies in that moment, keep is called before
// with the stored bytes of the new config: it must keep them where they survive, such as a file elsewhere. They are encrypted,
// and once they are the file "config" of the repository, Migrate is complete.
func (r *Repo) Migrate(ctx context.Context, keep func(config []byte) error) error {
	if keep == nil {
		return fmt.Errorf("migrate repository: nobody keeps the config: %w", fs.ErrInvalid)
	}
	if r.cfg.Version >= 2 {
		return nil
	}
	err := r.locked(ctx, true, func(ctx context.Context, lock *heldLock) error {
		h := backend.Handle{Type: backend.Config}
		old, err := readFile(ctx, r.be, h)
		if err != nil {
			return err
		}
		text, err := r.key.Open(bytes.Clone(old))
		if err != nil {
			return fmt.Errorf("%v: %w: %w", h, ErrDamaged, err)
		}
		cfg, err := decodeConfig(text)
		if err != nil {
			return err
		}
		if cfg != r.cfg {
			return fmt.Errorf("config: %w", ErrPlanOutdated) // another process migrated it
		}
		// Fields that we do not know stay.
		if text, err = setFields(text, map[string]any{"version": 2}); err != nil {
			return err
		}
		if cfg, err = decodeConfig(text); err != nil {
			return err
		}
		sealed := r.key.Seal(append(make([]byte, crypto.IVSize), text...))
		if err := keep(bytes.Clone(sealed)); err != nil {
			return fmt.Errorf("keep the new config: %w", err)
		}
		if err := lock.held(ctx); err != nil {
			return err
		}
		if err := r.replaceConfig(ctx, old, sealed); err != nil {
			return err
		}
		r.cfg = cfg
		return nil
	})
	if err != nil {
		return fmt.Errorf("migrate repository: %w", err)
	}
	return nil
}

// replaceConfig stores the new config in place of the old one, or puts that back. It does not stop half-way if ctx ends.
func (r *Repo) replaceConfig(ctx context.Context, old, config []byte) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	h := backend.Handle{Type: backend.Config}
	rerr := r.be.Remove(ctx, h)
	if backend.IsNotExist(rerr) {
		rerr = nil
	}
	// After an error it may be gone all the same.
	store := func(p []byte) (done bool, err error) {
		for range 3 {
			if err = r.be.Save(ctx, h, bytes.NewReader(p), int64(len(p))); err == nil {
				return true, nil
			}
			if there, lerr := readFile(ctx, r.be, h); lerr == nil {
				return bytes.Equal(there, p), err
			}
		}
		return false, err
	}
	done, err := store(config)
	if done {
		return nil
	}
	if errors.Is(err, fs.ErrExist) && rerr != nil {
		return rerr // the old one is still there
	}
	if back, berr := store(old); !back {
		return fmt.Errorf("there may be no config now: put the one that was kept into its place: %w", errors.Join(rerr, err, berr))
	}
	return errors.Join(rerr, err)
}
