package repository

import (
	"context"
	"fmt"
	"time"

	"github.com/escrow-backup/escrow/repository/backend"
)

// UnlockOptions of an unlock; nil and the zero value work.
type UnlockOptions struct {
	// All removes all locks, also those of processes that are at work. That is for when you know that there are none: a
	// prune beside a process at work destroys what that process writes.
	All    bool
	DryRun bool // remove nothing, only say what would be removed
}

// LockInfo describes a lock. Of one that cannot be read, only ID and Reason are given.
type LockInfo struct {
	ID        ID
	Time      time.Time // when it was created or refreshed
	Exclusive bool
	Hostname  string
	Username  string
	PID       int
	Reason    string // why it counts for nothing; empty if it does count
}

// String gives the lock on one line.
func (l LockInfo) String() string {
	s := "lock " + l.ID.Short()
	if !l.Time.IsZero() {
		kind := "shared"
		if l.Exclusive {
			kind = "exclusive"
		}
		s = fmt.Sprintf("%s lock %s of process %d of %s on %s, refreshed %s", kind, l.ID.Short(), l.PID, l.Username, l.Hostname,
			l.Time.Format(time.RFC3339))
	}
	if l.Reason != "" {
		s += ": " + l.Reason
	}
	return s
}

// Unlock removes locks that provably nobody holds: those that were not refreshed for half an hour, those of a process of
// this host that is gone and has missed a refresh, and empty files. A lock that cannot be read stays, unless all are to go. It returns what it
// removed, also beside an error. Other operations do the same with locks that are in their way; it needs no lock itself.
func (r *Repo) Unlock(ctx context.Context, o *UnlockOptions) ([]LockInfo, error) {
	var opt UnlockOptions
	if o != nil {
		opt = *o
	}
	removed, err := r.unlock(ctx, opt)
	if err != nil {
		return removed, fmt.Errorf("unlock: %w", err)
	}
	return removed, nil
}

func (r *Repo) unlock(ctx context.Context, opt UnlockOptions) ([]LockInfo, error) {
	stored, err := r.names(ctx, backend.Lock)
	if err != nil {
		return nil, err
	}
	var removed []LockInfo
	for _, id := range sortedIDs(stored) {
		h := backend.Handle{Type: backend.Lock, Name: id.String()}
		l, stale, err := r.lockInfo(ctx, id, stored[id])
		if err != nil {
			return removed, err
		}
		if !stale && !opt.All {
			continue
		}
		if !opt.DryRun {
			if err := r.be.Remove(ctx, h); backend.IsNotExist(err) {
				continue // its owner did it
			} else if err != nil {
				return removed, err
			}
		}
		removed = append(removed, l)
	}
	return removed, nil
}

// lockInfo reads a lock and judges whether it is stale.
func (r *Repo) lockInfo(ctx context.Context, id ID, size int64) (LockInfo, bool, error) {
	l := LockInfo{ID: id}
	if size == 0 {
		l.Reason = "empty"
		return l, true, nil
	}
	text, err := r.loadFile(ctx, backend.Handle{Type: backend.Lock, Name: id.String()})
	var f lockFile
	if err == nil {
		f, err = decodeLock(text)
	}
	if ctx.Err() != nil {
		return l, false, context.Cause(ctx)
	}
	if err != nil {
		l.Reason = "cannot be read: " + err.Error()
		return l, false, nil
	}
	why, stale := f.stale(r.now(), r.lockTiming)
	return LockInfo{id, f.Time, f.Exclusive, f.Hostname, f.Username, f.PID, why}, stale, nil
}
