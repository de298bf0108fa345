package repository

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
)

// node is an entry of a tree: a file, directory or other thing in a directory.
type node struct {
	Name       string      `json:"name"` // encoded as strconv.Quote does, without the quotes
	Type       string      `json:"type"`
	Mode       fs.FileMode `json:"mode,omitempty"`
	ModTime    time.Time   `json:"mtime,omitempty"` //nolint:modernize // "omitempty" does nothing here, nor does it in restic
	AccessTime time.Time   `json:"atime,omitempty"` //nolint:modernize // as above
	ChangeTime time.Time   `json:"ctime,omitempty"` //nolint:modernize // as above
	UID        uint32      `json:"uid"`
	GID        uint32      `json:"gid"`
	User       string      `json:"user,omitempty"`
	Group      string      `json:"group,omitempty"`
	Inode      uint64      `json:"inode,omitempty"`
	DeviceID   uint64      `json:"device_id,omitempty"` // of the file system
	Size       int64       `json:"size,omitempty"`
	Links      uint64      `json:"links,omitempty"`
	LinkTarget string      `json:"linktarget,omitempty"`
	LinkRaw    []byte      `json:"linktarget_raw,omitempty"` // where the target is not UTF-8
	Xattrs     []Xattr     `json:"extended_attributes,omitempty"`
	Device     uint64      `json:"device,omitempty"`  // of a device: its number
	Content    []ID        `json:"content"`           // null unless a file
	Subtree    *ID         `json:"subtree,omitempty"` // of a directory
}

const (
	typeFile = "file"
	typeDir  = "dir"
)

var nodeTypes = map[string]fs.FileMode{
	typeFile: 0, typeDir: fs.ModeDir, "symlink": fs.ModeSymlink, "dev": fs.ModeDevice,
	"chardev": fs.ModeDevice | fs.ModeCharDevice, "fifo": fs.ModeNamedPipe, "socket": fs.ModeSocket,
	"irregular": fs.ModeIrregular,
}

// fileMode gives permissions from Mode, and the type from Type, which every program writes.
func (n *node) fileMode() fs.FileMode {
	t, ok := nodeTypes[n.Type]
	if !ok {
		t = fs.ModeIrregular
	}
	return n.Mode&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) | t
}

func (n *node) link() string {
	if len(n.LinkRaw) > 0 {
		return string(n.LinkRaw)
	}
	return n.LinkTarget
}

// encodeTree gives the blob of a tree. The nodes must ascend by name.
func encodeTree(nodes []*node) ([]byte, error) {
	var buf bytes.Buffer
	buf.WriteString(`{"nodes":[`)
	for i, n := range nodes {
		if i > 0 {
			buf.WriteByte(',')
		}
		quoted := strconv.Quote(n.Name)
		c := *n
		c.Name = quoted[1 : len(quoted)-1]
		b, err := json.Marshal(c)
		if err != nil {
			return nil, fmt.Errorf("encode tree: %q: %w", n.Name, err)
		}
		buf.Write(b)
	}
	buf.WriteString("]}\n")
	return buf.Bytes(), nil
}

// decodeTree reads the blob of a tree. Names are such that they cannot lead out of their directory.
func decodeTree(text []byte) ([]*node, error) {
	var t struct {
		Nodes []*node `json:"nodes"`
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, fmt.Errorf("decode tree: %w: %w", ErrDamaged, err)
	}
	if err := knownTree(text, t.Nodes == nil); err != nil {
		return nil, fmt.Errorf("decode tree: %w", err)
	}
	for i, n := range t.Nodes {
		if n == nil {
			return nil, fmt.Errorf("decode tree: %w: node %d is null", ErrDamaged, i)
		}
		name, err := strconv.Unquote(`"` + n.Name + `"`)
		if err != nil {
			return nil, fmt.Errorf("decode tree: %w: name %.200q: %w", ErrDamaged, n.Name, err)
		}
		n.Name = name
		if err := n.check(); err != nil {
			return nil, fmt.Errorf("decode tree: %w: node %.200q: %w", ErrDamaged, n.Name, err)
		}
	}
	byName := func(a, b *node) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(t.Nodes, byName) {
		slices.SortFunc(t.Nodes, byName)
	}
	for i := 1; i < len(t.Nodes); i++ {
		if t.Nodes[i].Name == t.Nodes[i-1].Name {
			return nil, fmt.Errorf("decode tree: %w: name %.200q stands twice", ErrDamaged, t.Nodes[i].Name)
		}
	}
	return t.Nodes, nil
}

// knownTree returns an error for what has no nodes, not even none: it is of a format that we do not know, and must not pass
// for an empty directory.
func knownTree(text []byte, none bool) error {
	if none && !bytes.Contains(text, []byte(`"nodes"`)) {
		return errors.New("it has no nodes, not even none") // not damaged: a repair must not cut it off
	}
	return nil
}

func (n *node) check() error {
	switch {
	case n.Name == "" || n.Name == "." || n.Name == ".." || strings.ContainsAny(n.Name, "/\x00"):
		return errors.New("not a name")
	case n.Type == typeDir && n.Subtree == nil:
		return errors.New("directory without a tree")
	case n.Size < 0:
		return errors.New("negative size")
	}
	return nil
}
