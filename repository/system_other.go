//go:build !linux

package repository

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

func systemAttributes(fs.FileInfo) *Attributes { return nil }

const openNoWait = 0

func readXattrs(*os.File, string) ([]Xattr, error) { return nil, nil }

func writeXattrs(_ *os.File, _ string, all []Xattr) error {
	if len(all) == 0 {
		return nil
	}
	return fmt.Errorf("extended attributes: %w", errors.ErrUnsupported)
}

func setTimes(_ *os.File, root *os.Root, name string, access, mod time.Time) error {
	if fi, err := root.Lstat(name); err != nil || fi.Mode()&fs.ModeSymlink != 0 {
		return err // the times of links themselves cannot be set everywhere
	}
	return root.Chtimes(name, access, mod)
}

func makeSpecial(_ *os.File, n *node) error {
	return fmt.Errorf("type %.20q cannot be restored: %w", n.Type, errors.ErrUnsupported)
}
