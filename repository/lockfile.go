package repository

import (
	"encoding/json"
	"fmt"
	"time"
)

// lockFile is the content of a lock file.
type lockFile struct {
	Time      time.Time `json:"time"`
	Exclusive bool      `json:"exclusive"`
	Hostname  string    `json:"hostname"`
	Username  string    `json:"username"`
	PID       int       `json:"pid"`
	UID       uint32    `json:"uid,omitempty"`
	GID       uint32    `json:"gid,omitempty"`
}

func decodeLock(text []byte) (lockFile, error) {
	var l lockFile
	if err := json.Unmarshal(text, &l); err != nil {
		return l, fmt.Errorf("decode lock: %w: %w", ErrDamaged, err)
	}
	if l.Time.IsZero() {
		return l, fmt.Errorf("decode lock: %w: no time", ErrDamaged)
	}
	return l, nil
}

// stale reports whether the lock's owner is provably gone, and why: it did not refresh the lock for long, or it ran on
// this host and there is no such process. That alone would prove nothing: containers may share a host name and see only
// their own processes. So the process must have missed a renewal, too.
func (l lockFile) stale(now time.Time, timing lockTiming) (string, bool) {
	// Wall clocks: a process that slept in a suspended machine lost its lock too.
	age := now.Round(0).Sub(l.Time)
	if age > timing.stale {
		return fmt.Sprintf("not refreshed for %v", age.Round(time.Second)), true
	}
	if age > 2*timing.refresh && l.Hostname != "" && l.Hostname == hostname() && l.PID > 0 && processGone(l.PID) {
		return fmt.Sprintf("process %d is gone", l.PID), true
	}
	return "", false
}

// LockedError says who holds a conflicting lock. It wraps ErrLocked.
type LockedError struct {
	Lock      string // name of the lock file
	Hostname  string
	Username  string
	PID       int
	Exclusive bool
	Age       time.Duration // since it was created or refreshed
}

func (e *LockedError) Error() string {
	kind := "shared"
	if e.Exclusive {
		kind = "exclusive"
	}
	return fmt.Sprintf("%v: %s lock %.8s of process %d of %s on %s, %v old", ErrLocked, kind, e.Lock, e.PID, e.Username,
		e.Hostname, e.Age.Round(time.Second))
}

// Unwrap gives ErrLocked.
func (e *LockedError) Unwrap() error { return ErrLocked }
