package repository

import (
	"context"
	"fmt"
	"io/fs"
)

// locked runs fn under a lock. The context that fn gets ends when the lock is lost; the error is then that cause.
func (r *Repo) locked(ctx context.Context, exclusive bool, fn func(context.Context) error) error {
	if r.opt.NoLock {
		return fmt.Errorf("repository was opened without locks, for reading: %w", fs.ErrPermission)
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
	if err = fn(ctx); err == nil {
		return nil
	}
	return withCause(ctx, err)
}

// withCause adds why ctx ended to an error that only says that it did.
func withCause(ctx context.Context, err error) error {
	return (&Writer{ctx: ctx}).cause(err)
}
