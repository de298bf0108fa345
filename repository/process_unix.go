//go:build unix

package repository

import "golang.org/x/sys/unix"

// processGone reports whether there certainly is no process pid on this host.
func processGone(pid int) bool { return unix.Kill(pid, 0) == unix.ESRCH }
