package repository

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// systemAttributes gives what package os knows, nil if fi is not from there.
func systemAttributes(fi fs.FileInfo) *Attributes {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return &Attributes{
		UID: st.Uid, GID: st.Gid, Inode: st.Ino, DeviceID: uint64(st.Dev), Links: uint64(st.Nlink), Device: uint64(st.Rdev),
		ChangeTime: time.Unix(int64(st.Ctim.Sec), int64(st.Ctim.Nsec)),
	}
}

// openNoWait keeps the opening of what has become a pipe from waiting for its other end.
const openNoWait = unix.O_NONBLOCK

// inDir gives a path of an entry of an open directory, for system calls that take no descriptor. What it leads to does not
// depend on what happens to the directories above.
func inDir(d *os.File, name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), name)
}

func readXattrs(d *os.File, name string) ([]Xattr, error) {
	path := inDir(d, name)
	list, err := growing(func(b []byte) (int, error) { return unix.Llistxattr(path, b) })
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Xattr
	for attr := range strings.SplitSeq(string(list), "\x00") {
		if attr == "" {
			continue
		}
		value, err := growing(func(b []byte) (int, error) { return unix.Lgetxattr(path, attr, b) })
		if errors.Is(err, unix.ENODATA) {
			continue // removed since it was listed
		}
		if err != nil {
			return nil, fmt.Errorf("attribute %q: %w", attr, err)
		}
		all = append(all, Xattr{attr, value})
	}
	return all, nil
}

// growing calls a function that fills a buffer, and needs to be asked for the size first.
func growing(call func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := call(nil)
		if err != nil || n == 0 {
			return nil, err
		}
		b := make([]byte, n)
		n, err = call(b)
		if !errors.Is(err, unix.ERANGE) { // it has not grown meanwhile
			return b[:max(n, 0)], err
		}
	}
}

func writeXattrs(d *os.File, name string, all []Xattr) error {
	for _, x := range all {
		if err := unix.Lsetxattr(inDir(d, name), x.Name, x.Value, 0); err != nil {
			return fmt.Errorf("attribute %q: %w", x.Name, err)
		}
	}
	return nil
}

// setTimes works on all types, and does not follow links.
func setTimes(d *os.File, _ *os.Root, name string, access, mod time.Time) error {
	ts := make([]unix.Timespec, 2)
	for i, t := range []time.Time{access, mod} {
		var err error
		if ts[i], err = unix.TimeToTimespec(t); err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(int(d.Fd()), name, ts, unix.AT_SYMLINK_NOFOLLOW)
}

// makeSpecial makes a device, pipe or socket.
func makeSpecial(d *os.File, n *node) error {
	kind := map[string]uint32{"dev": unix.S_IFBLK, "chardev": unix.S_IFCHR, "fifo": unix.S_IFIFO, "socket": unix.S_IFSOCK}[n.Type]
	if kind == 0 {
		return fmt.Errorf("type %.20q cannot be restored: %w", n.Type, errors.ErrUnsupported)
	}
	return unix.Mknodat(int(d.Fd()), n.Name, kind|0o600, int(n.Device))
}
