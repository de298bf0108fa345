package local

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// move gives the file at tmp the name name. A file that is already called name stays: the error then wraps
// fs.ErrExist.
func move(tmp, name string) error {
	err := unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, name, unix.RENAME_NOREPLACE)
	for errors.Is(err, unix.EINTR) {
		err = unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, name, unix.RENAME_NOREPLACE)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EEXIST):
		return &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	case unsupported(err):
		return moveByLink(tmp, name)
	}
	return &os.LinkError{Op: "rename", Old: tmp, New: name, Err: err}
}
