package repository

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/pack"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

// added stores a file system with a parent, and gives the nodes of its root.
func added(t *testing.T, r *Repo, fsys fs.FS, parent *ID, names *owners) (*Snapshot, []*node) {
	t.Helper()
	s, err := r.Write(t.Context(), Header{Parent: parent}, func(ctx context.Context, w *Writer) error {
		if names != nil {
			w.added.owners = names
		}
		return w.AddFS(ctx, fsys, nil)
	})
	require.NoError(t, err)
	text, err := r.loadBlob(t.Context(), r.index.Load(), pack.Tree, s.Tree, nil)
	require.NoError(t, err)
	nodes, err := decodeTree(text)
	require.NoError(t, err)
	return s, nodes
}

// The clock of whoever wrote the parent may have been ahead: then its times prove nothing about files that changed since.
func TestParentOfTheFutureProvesNothing(t *testing.T) {
	r := testRepo(t, mem.New(), Options{LockSettle: time.Millisecond})
	now := time.Now()
	file := func(text string) fstest.MapFS {
		return fstest.MapFS{"f": {Data: []byte(text), ModTime: now, Sys: &Attributes{Inode: 1, DeviceID: 1, ChangeTime: now}}}
	}
	r.now = func() time.Time { return now.Add(time.Hour) }
	parent, _ := added(t, r, file("aaaa"), nil, nil)
	r.now = func() time.Time { return now.Add(time.Minute) }
	s, _ := added(t, r, file("bbbb"), &parent.ID, nil)
	require.Equal(t, int64(1), s.Summary.FilesChanged)
	r.now = func() time.Time { return now.Add(2 * time.Minute) }
	s, _ = added(t, r, file("cccc"), &s.ID, nil)
	require.Equal(t, int64(1), s.Summary.FilesUnmodified, "the times of a parent of the past do count")
}

func TestOwnersAreNamed(t *testing.T) {
	r := testRepo(t, mem.New(), Options{LockSettle: time.Millisecond})
	dir := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		require.NoError(t, os.WriteFile(dir+"/"+name, []byte(name), 0o600))
	}
	d, err := OpenDirFS(dir)
	require.NoError(t, err)
	defer d.Close()

	var users, groups atomic.Int32
	s, nodes := added(t, r, d, nil, newOwners(func(id string) (*user.User, error) {
		users.Add(1)
		require.Equal(t, strconv.Itoa(os.Getuid()), id)
		return &user.User{Username: "somebody"}, nil
	}, func(string) (*user.Group, error) {
		groups.Add(1)
		return nil, errors.New("no such group")
	}))
	require.Equal(t, []int32{1, 1}, []int32{users.Load(), groups.Load()}, "each is looked up once")
	require.Len(t, nodes, 3)
	for _, n := range nodes {
		require.Equal(t, []string{"somebody", ""}, []string{n.User, n.Group})
	}

	// What a snapshot says of owners is kept when it is added again; an id of who knows which machine is not looked up.
	fsys, err := r.FS(t.Context(), s)
	require.NoError(t, err)
	_, nodes = added(t, r, fsys, nil, newOwners(func(string) (*user.User, error) {
		t.Error("looked up")
		return nil, errors.ErrUnsupported
	}, nil))
	require.Equal(t, "somebody", nodes[0].User)

	_, nodes = added(t, r, d, nil, nil)
	if u, err := user.Current(); err == nil {
		require.Equal(t, u.Username, nodes[0].User)
	}
}
