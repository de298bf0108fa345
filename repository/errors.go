package repository

import (
	"errors"
	"fmt"
	"io/fs"
)

var (
	// ErrWrongPassword says that no key of the repository opens with the password.
	ErrWrongPassword = errors.New("wrong password")

	// ErrLocked says that another process holds a conflicting lock. The error that wraps it is a *LockedError.
	ErrLocked = errors.New("repository is locked")

	// ErrLockLost says that a lock could not be refreshed for so long that others may take it for stale.
	ErrLockLost = errors.New("lock lost: it could not be refreshed in time")

	// ErrDamaged says that what was read is not what was written: truncated, changed, sealed with another key, or such that no
	// program writes it.
	ErrDamaged = errors.New("damaged")

	// ErrClosed says that a Repo, Writer or FileWriter was used after its end.
	ErrClosed = errors.New("closed")
)

// errNoBlob says that no index names a blob.
var errNoBlob = fmt.Errorf("in no index: %w", fs.ErrNotExist)
