package repository

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/escrow-backup/escrow/repository/backend"
)

type lockTiming struct {
	refresh time.Duration // how often a lock is renewed
	tick    time.Duration // how often that is looked at
	giveUp  time.Duration // after the last renewal: end the operation before others take the lock for stale
	stale   time.Duration // age at which the lock of another counts for nothing
	retry   time.Duration // pause before looking again whether a conflicting lock is gone
}

// As restic does, except that it looks every minute, so that one failed renewal is repeated soon.
var defaultLockTiming = lockTiming{
	refresh: 5 * time.Minute, tick: time.Minute, giveUp: 22*time.Minute + 30*time.Second, stale: 30 * time.Minute,
	retry: 5 * time.Second,
}

// heldLock is a lock of this process.
type heldLock struct {
	r      *Repo
	file   lockFile
	id     ID
	last   time.Time // wall clock of the last renewal
	cancel context.CancelCauseFunc
	done   sync.WaitGroup
}

// lock takes a lock, and gives a context that ends, with the cause ErrLockLost, when the lock can no longer be
// renewed, and a function that removes the lock, even if ctx has ended.
func (r *Repo) lock(ctx context.Context, exclusive bool) (context.Context, func() error, error) {
	l := &heldLock{r: r, file: lockFile{
		Exclusive: exclusive, Hostname: hostname(), Username: username(), PID: os.Getpid(),
		UID: uint32(max(os.Getuid(), 0)), GID: uint32(max(os.Getgid(), 0)),
	}}
	start := r.now()
	for {
		err := l.try(ctx)
		if err == nil {
			break
		}
		rest := r.opt.LockTimeout - r.now().Sub(start)
		if !errors.Is(err, ErrLocked) || rest <= 0 {
			return nil, nil, fmt.Errorf("lock repository: %w", err)
		}
		r.opt.Logger.Info("waiting for a lock", "error", err, "remaining", rest)
		if err := sleep(ctx, min(rest, r.lockTiming.retry)); err != nil {
			return nil, nil, fmt.Errorf("lock repository: %w", err)
		}
	}
	ctx, l.cancel = context.WithCancelCause(ctx)
	l.done.Go(func() { l.keep(ctx) })
	return ctx, func() error { return l.release(ctx) }, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// try creates the lock unless there is a conflict, then looks again: another process may have done the same at the
// same moment.
func (l *heldLock) try(ctx context.Context) error {
	if err := l.conflict(ctx); err != nil {
		return err
	}
	if err := l.create(ctx); err != nil {
		return err
	}
	err := sleep(ctx, l.r.opt.LockSettle)
	if err == nil {
		err = l.conflict(ctx)
	}
	if err != nil {
		if rerr := l.remove(ctx, l.id); rerr != nil {
			err = errors.Join(err, rerr)
		}
	}
	return err
}

// create stores the lock with the present time.
func (l *heldLock) create(ctx context.Context) error {
	now := l.r.now()
	f := l.file
	f.Time = now
	text, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode lock: %w", err)
	}
	id, err := l.r.saveFile(ctx, backend.Lock, text)
	if err != nil {
		return err
	}
	l.id, l.last = id, now.Round(0)
	return nil
}

// conflict returns a *LockedError if a lock of another keeps us out. It removes stale ones.
func (l *heldLock) conflict(ctx context.Context) error {
	for fi, err := range l.r.be.List(ctx, backend.Lock) {
		if err != nil {
			return err
		}
		if fi.Handle.Name == l.id.String() {
			continue
		}
		text, err := l.r.loadFile(ctx, fi.Handle)
		if backend.IsNotExist(err) {
			continue // released or renewed meanwhile
		}
		if err != nil {
			return err
		}
		f, err := decodeLock(text)
		if err != nil {
			return fmt.Errorf("%v: %w", fi.Handle, err)
		}
		now := l.r.now()
		if why, stale := f.stale(now, l.r.lockTiming.stale); stale {
			l.removeStale(ctx, fi.Handle, f, why)
			continue
		}
		if f.Exclusive || l.file.Exclusive {
			return &LockedError{fi.Handle.Name, f.Hostname, f.Username, f.PID, f.Exclusive, now.Sub(f.Time)}
		}
	}
	return nil
}

// removeStale removes a lock that counts for nothing. If that fails, it still counts for nothing.
func (l *heldLock) removeStale(ctx context.Context, h backend.Handle, f lockFile, why string) {
	log := l.r.opt.Logger.With("lock", h.Name, "host", f.Hostname, "pid", f.PID, "time", f.Time, "reason", why)
	if err := l.r.be.Remove(ctx, h); err != nil && !backend.IsNotExist(err) {
		log.Warn("stale lock could not be removed", "error", err)
		return
	}
	log.Warn("removed stale lock")
}

// keep renews the lock until ctx ends.
func (l *heldLock) keep(ctx context.Context) {
	t := time.NewTicker(l.r.lockTiming.tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		age := l.r.now().Round(0).Sub(l.last)
		switch {
		case age >= l.r.lockTiming.giveUp:
			l.cancel(fmt.Errorf("%w: last renewed %v ago", ErrLockLost, age.Round(time.Second)))
			return
		case age >= l.r.lockTiming.refresh:
			// A backend that hangs must not keep us from giving up.
			tctx, cancel := context.WithTimeout(ctx, l.r.lockTiming.giveUp-age)
			err := l.renew(tctx)
			cancel()
			if err != nil && ctx.Err() == nil {
				l.r.opt.Logger.Warn("lock could not be renewed", "lock", l.id, "age", age, "error", err)
			}
		}
	}
}

// renew stores a new lock file, then removes the old one, so that there always is one.
func (l *heldLock) renew(ctx context.Context) error {
	old := l.id
	if err := l.create(ctx); err != nil {
		return err
	}
	if err := l.r.be.Remove(ctx, backend.Handle{Type: backend.Lock, Name: old.String()}); err != nil && !backend.IsNotExist(err) {
		// It becomes stale by itself.
		return err
	}
	return nil
}

// release ends the renewal and removes the lock.
func (l *heldLock) release(ctx context.Context) error {
	l.cancel(nil)
	l.done.Wait()
	return l.remove(ctx, l.id)
}

// remove removes a lock of ours, even if ctx has ended.
func (l *heldLock) remove(ctx context.Context, id ID) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	err := l.r.be.Remove(ctx, backend.Handle{Type: backend.Lock, Name: id.String()})
	if err != nil && !backend.IsNotExist(err) {
		return fmt.Errorf("remove lock: %w", err)
	}
	return nil
}

// detached gives a context for tidying up: it does not end with ctx, but soon.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
}
