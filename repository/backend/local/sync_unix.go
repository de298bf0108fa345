//go:build !windows

package local

import (
	"errors"
	"io/fs"
	"os"
)

// syncDir makes the entries of dir durable, where the file system can and we may read the directory. A directory
// without right to read (a drop box above the repository) has to do without.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	err = f.Sync()
	if unsupported(err) || errors.Is(err, fs.ErrPermission) {
		err = nil
	}
	return errors.Join(err, f.Close())
}
