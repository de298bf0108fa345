package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// locked runs fn under a lock. The context that fn gets ends when the lock is lost; the error is then that cause.
func (r *Repo) locked(ctx context.Context, exclusive bool, fn func(context.Context, *heldLock) error) error {
	if r.opt.NoLock {
		return fmt.Errorf("repository was opened without locks, for reading: %w", fs.ErrPermission)
	}
	if exclusive && r.cfg.AppendOnly {
		return fmt.Errorf("the repository's config says that it is append-only: %w", fs.ErrPermission)
	}
	ctx, l, err := r.lock(ctx, exclusive)
	if err != nil {
		return err
	}
	defer func() {
		// What fn did is done whether or not the lock could be removed.
		if rerr := l.release(ctx); rerr != nil {
			r.opt.Logger.Warn("lock could not be removed", "error", rerr)
		}
	}()
	err = fn(ctx, l)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w (%w)", cause, err) // err may say no more than that ctx has ended
	}
	return err
}
