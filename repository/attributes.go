package repository

import (
	"io/fs"
	"slices"
	"time"
)

// Attributes is what fs.FileInfo has no methods for. The Sys method of a FileInfo gives a *Attributes if it is of a
// snapshot, and may give one to AddFS, which also understands the *syscall.Stat_t of package os on Linux.
type Attributes struct {
	UID, GID   uint32
	Inode      uint64
	DeviceID   uint64 // of the file system
	Links      uint64 // how many names the file has
	Device     uint64 // of a device: its number, as the operating system encodes it
	ChangeTime time.Time

	// The names of the owner. For files of this machine AddFS finds them itself.
	User, Group string
}

// Xattr is an extended attribute.
type Xattr struct {
	Name  string `json:"name"` // such as "user.comment"
	Value []byte `json:"value"`
}

// XattrFS is a file system that knows extended attributes. Names of symbolic links are not followed. A file system below that
// does not support them gives none, and no error. The FS of a snapshot and DirFS implement it.
type XattrFS interface {
	fs.FS
	Xattrs(name string) ([]Xattr, error)
}

// Xattrs implements XattrFS.
func (f *snapshotFS) Xattrs(name string) ([]Xattr, error) {
	n, err := f.find(name)
	if err != nil {
		return nil, pathError("xattrs", name, err)
	}
	return slices.Clone(n.Xattrs), nil
}

func (n *node) attributes() *Attributes {
	return &Attributes{n.UID, n.GID, n.Inode, n.DeviceID, n.Links, n.Device, n.ChangeTime, n.User, n.Group}
}

// sameContent reports whether the two are the same but for attributes.
func (n *node) sameContent(old *node) bool {
	switch {
	case old == nil || n.Type != old.Type:
		return false
	case n.Type == typeDir:
		return *n.Subtree == *old.Subtree
	}
	return slices.Equal(n.Content, old.Content) && n.link() == old.link() && n.Device == old.Device
}

// nodeOf gives the node of a file that fi describes, without content, link target and extended attributes.
func nodeOf(fi fs.FileInfo) *node {
	n := &node{
		Name: fi.Name(), Type: typeOf(fi.Mode()),
		Mode:    fi.Mode() & (fs.ModePerm | fs.ModeType | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky),
		ModTime: plausible(fi.ModTime()),
	}
	if a := attributesOf(fi); a != nil {
		n.UID, n.GID, n.Inode, n.DeviceID, n.User, n.Group = a.UID, a.GID, a.Inode, a.DeviceID, a.User, a.Group
		n.ChangeTime = plausible(a.ChangeTime)
		switch n.Type {
		case typeFile, typeSymlink, "dev", "chardev": // as restic, so that both make the same trees
			n.Links = a.Links
		}
		if n.Mode&fs.ModeDevice != 0 {
			n.Device = a.Device
		}
	} else {
		n.ChangeTime = n.ModTime
	}
	// As restic does unless told otherwise: else every reading would change the tree.
	n.AccessTime = n.ModTime
	return n
}

func attributesOf(fi fs.FileInfo) *Attributes {
	if a, ok := fi.Sys().(*Attributes); ok {
		return a
	}
	return systemAttributes(fi)
}

// plausible gives the time, or the nearest one that JSON can hold.
func plausible(t time.Time) time.Time {
	switch y := t.UTC().Year(); {
	case y < 1:
		return time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC)
	case y > 9998:
		return time.Date(9998, 12, 31, 0, 0, 0, 0, time.UTC)
	}
	return t
}

func typeOf(m fs.FileMode) string {
	switch m.Type() {
	case 0:
		return typeFile
	case fs.ModeDir:
		return typeDir
	case fs.ModeSymlink:
		return typeSymlink
	case fs.ModeDevice:
		return "dev"
	case fs.ModeDevice | fs.ModeCharDevice:
		return "chardev"
	case fs.ModeNamedPipe:
		return "fifo"
	case fs.ModeSocket:
		return "socket"
	}
	return "irregular"
}

const typeSymlink = "symlink"
