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
	left   []ID // files that may have to be removed yet; used by one goroutine at a time
	cancel context.CancelCauseFunc
	done   sync.WaitGroup

	mu   sync.Mutex
	id   ID
	last time.Time // wall clock of the last renewal
}

// state gives the name of the lock file and its age.
func (l *heldLock) state() (ID, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id, l.r.now().Round(0).Sub(l.last)
}

// lock takes a lock, and gives a context that ends, with the cause ErrLockLost, when the lock can no longer be renewed.
// The caller releases the lock.
func (r *Repo) lock(ctx context.Context, exclusive bool) (context.Context, *heldLock, error) {
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
	return ctx, l, nil
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
	err := l.create(ctx)
	if err == nil {
		if err = sleep(ctx, l.r.opt.LockSettle); err == nil {
			err = l.conflict(ctx)
		}
		if err != nil {
			l.left = append(l.left, l.id)
		}
	}
	if err != nil {
		if rerr := l.tidy(ctx); rerr != nil {
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
		l.left = append(l.left, id) // it may have arrived all the same
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
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
		if fi.Size == 0 {
			// What a failed upload leaves in some stores: it says nothing, and no program takes it for a lock.
			l.r.opt.Logger.Warn("empty lock file is ignored", "lock", fi.Handle.Name)
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
		if why, stale := f.stale(now, l.r.lockTiming); stale {
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
		id, age := l.state()
		switch {
		case age >= l.r.lockTiming.giveUp:
			_ = l.lose(fmt.Sprintf("last renewed %v ago", age.Round(time.Second)))
			return
		case age >= l.r.lockTiming.refresh:
			// A backend that hangs must not keep us from giving up.
			tctx, cancel := context.WithTimeout(ctx, l.r.lockTiming.giveUp-age)
			err := l.renew(tctx)
			cancel()
			if err != nil && ctx.Err() == nil {
				l.r.opt.Logger.Warn("lock could not be renewed", "lock", id, "age", age, "error", err)
			}
		}
	}
}

// renew stores a new lock file, then removes the old one, so that there always is one.
func (l *heldLock) renew(ctx context.Context) error {
	// If another removed it, data may have been removed since: a new lock would come too late.
	if err := l.held(ctx); err != nil {
		return err
	}
	old := l.id
	if err := l.create(ctx); err != nil {
		return err
	}
	l.left = append(l.left, old)
	return l.tidy(ctx)
}

// held returns an error, which wraps ErrLockLost if that is the reason, unless the lock still keeps others from removing
// data. That nothing was removed so far is proven only by this, not by a context that has not ended: a machine that was
// suspended wakes up in the middle of anything, and others may have removed the lock.
func (l *heldLock) held(ctx context.Context) error {
	for {
		id, _ := l.state()
		_, err := l.r.be.Stat(ctx, backend.Handle{Type: backend.Lock, Name: id.String()})
		present, age := l.state() // now: Stat may have taken long
		switch {
		case age >= l.r.lockTiming.giveUp:
			return l.lose(fmt.Sprintf("last renewed %v ago", age.Round(time.Second)))
		case !backend.IsNotExist(err):
			return err
		case present == id:
			return l.lose("another process removed it")
		}
		// It was renewed between the two: look at the new one.
	}
}

// lose ends the operation.
func (l *heldLock) lose(why string) error {
	err := fmt.Errorf("%w: %s", ErrLockLost, why)
	l.cancel(err)
	return err
}

// release ends the renewal and removes the lock, even if ctx has ended.
func (l *heldLock) release(ctx context.Context) error {
	l.cancel(nil)
	l.done.Wait()
	l.left = append(l.left, l.id)
	return l.tidy(ctx)
}

// tidy removes lock files of ours, even if ctx has ended. What it cannot remove now it tries again the next time; in the
// end it becomes stale by itself.
func (l *heldLock) tidy(ctx context.Context) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	var left []ID
	var errs []error
	for _, id := range l.left {
		err := l.r.be.Remove(ctx, backend.Handle{Type: backend.Lock, Name: id.String()})
		if err != nil && !backend.IsNotExist(err) {
			left = append(left, id)
			errs = append(errs, fmt.Errorf("remove lock: %w", err))
		}
	}
	l.left = left
	return errors.Join(errs...)
}

// detached gives a context for tidying up: it does not end with ctx, but soon.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
}
