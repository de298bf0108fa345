package repository_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/escrow-backup/escrow/internal/usertest"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// messy fills a directory with everything that a backup may meet.
func messy(t *testing.T, dir string) {
	t.Helper()
	write := func(name string, p []byte, mode fs.FileMode) {
		name = filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, p, 0o600))
		require.NoError(t, os.Chmod(name, mode))
	}
	write("big", random(21, 3<<20), 0o644)
	write("holes", append(append(make([]byte, 1<<20), random(22, 5000)...), make([]byte, 1<<20)...), 0o600)
	if os.Geteuid() == 0 {
		write("empty", nil, 0)
	} else {
		write("empty", nil, 0o400) // with less it could not be read
	}
	write("setuid", []byte("x"), fs.ModeSetuid|0o755)
	write("a/b/c/deep", []byte("deep"), 0o640)
	write("a/\xff not UTF-8 \" \n", []byte("odd"), 0o600)
	write("read-only/file", []byte("r"), 0o444)
	write("linked/one", []byte("same"), 0o600)
	require.NoError(t, os.Link(filepath.Join(dir, "linked/one"), filepath.Join(dir, "a/two")))
	require.NoError(t, os.Link(filepath.Join(dir, "linked/one"), filepath.Join(dir, "linked/three")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "empty-dir"), 0o700))
	for name, target := range map[string]string{"rel": "a/b", "abs": "/etc/passwd", "up": "../../..", "gone": "nowhere", "raw": "\xfe\xff"} {
		require.NoError(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o620))
	for _, name := range []string{"big", "a"} {
		if err := unix.Setxattr(filepath.Join(dir, name), "user.comment", []byte("\x00\xffvalue"), 0); !errors.Is(err, unix.ENOTSUP) {
			require.NoError(t, err)
		}
	}
	require.NoError(t, os.Chmod(filepath.Join(dir, "read-only"), 0o555))
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "read-only"), 0o755) }) // for the removal
	at := time.Date(2001, 2, 3, 4, 5, 6, 789_012_345, time.UTC)
	require.NoError(t, filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		ts, terr := unix.TimeToTimespec(at)
		require.NoError(t, terr)
		at = at.Add(time.Hour)
		return errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
	}))
}

// describe gives a line for everything below dir, with all that must come back.
func describe(t *testing.T, dir string) map[string]string {
	t.Helper()
	all, inodes := map[string]string{}, map[uint64]string{}
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		fi, err := d.Info()
		require.NoError(t, err)
		st := fi.Sys().(*syscall.Stat_t)
		s := fmt.Sprintf("%v %v %d:%d", fi.Mode(), fi.ModTime().UTC(), st.Uid, st.Gid)
		if !d.IsDir() {
			if inodes[st.Ino] == "" {
				inodes[st.Ino] = rel
			}
			s += fmt.Sprintf(" links %d of %q", st.Nlink, inodes[st.Ino])
		}
		switch d.Type() {
		case 0:
			p, err := os.ReadFile(name)
			require.NoError(t, err)
			s += fmt.Sprintf(" %d %v", fi.Size(), repository.Hash(p))
		case fs.ModeSymlink:
			target, err := os.Readlink(name)
			require.NoError(t, err)
			s += fmt.Sprintf(" %q", target)
		}
		value := make([]byte, 100)
		if n, err := unix.Lgetxattr(name, "user.comment", value); err == nil {
			s += fmt.Sprintf(" xattr %q", value[:n])
		}
		all[rel] = s
		return nil
	}))
	return all
}

func addDir(t *testing.T, r *repository.Repo, dir string, h repository.Header, o *repository.AddOptions) *repository.Snapshot {
	t.Helper()
	d, err := repository.OpenDirFS(dir)
	require.NoError(t, err)
	defer d.Close()
	s, err := r.Write(t.Context(), h, func(ctx context.Context, w *repository.Writer) error { return w.AddFS(ctx, d, o) })
	require.NoError(t, err)
	return s
}

func TestDirectoryRoundTrip(t *testing.T) {
	t.Run("as anybody", directoryRoundTrip)
	t.Run("not as root", func(t *testing.T) { usertest.Unprivileged(t, directoryRoundTrip) })
}

func directoryRoundTrip(t *testing.T) {
	from := t.TempDir()
	messy(t, from)
	want := describe(t, from)
	r := repositorytest.New(t)
	s := addDir(t, r, from, repository.Header{}, nil)
	require.Equal(t, int64(10), s.Summary.FilesNew)
	require.Equal(t, int64(6), s.Summary.DirsNew)
	repositorytest.RequireClean(t, r)
	for _, o := range []*repository.RestoreOptions{nil, {Verify: true, Sparse: true}} {
		to := filepath.Join(t.TempDir(), "made/for/it")
		res, err := r.RestoreDir(t.Context(), s, to, o)
		require.NoError(t, err)
		t.Cleanup(func() { _ = os.Chmod(filepath.Join(to, "read-only"), 0o755) }) // for the removal
		require.Equal(t, want, describe(t, to))
		require.Equal(t, repository.RestoreResult{Files: 8, Links: 2, Dirs: 6, Others: 6, Bytes: res.Bytes}, *res)
		require.Equal(t, s.Summary.TotalBytesProcessed-8, res.Bytes, "a file with three names has four bytes")
		if o != nil {
			fi, err := os.Stat(filepath.Join(to, "holes"))
			require.NoError(t, err)
			require.Less(t, fi.Sys().(*syscall.Stat_t).Blocks*512, int64(1<<20))
		}
		// Again over what is there.
		_, err = r.RestoreDir(t.Context(), s, to, o)
		require.ErrorIs(t, err, fs.ErrExist)
		over := repository.RestoreOptions{Overwrite: true}
		_, err = r.RestoreDir(t.Context(), s, to, &over)
		require.NoError(t, err)
		require.Equal(t, want, describe(t, to))
	}
	// What a snapshot's FS says is enough for another backup of the same.
	fsys, err := r.FS(t.Context(), s)
	require.NoError(t, err)
	x, err := fsys.(repository.XattrFS).Xattrs("big")
	require.NoError(t, err)
	require.LessOrEqual(t, len(x), 1)
}

func TestDirectoryBelow(t *testing.T) {
	from := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(from, "f"), []byte("1"), 0o640))
	require.NoError(t, os.Chmod(from, 0o710))
	r := repositorytest.New(t)
	d, err := repository.OpenDirFS(from)
	require.NoError(t, err)
	defer d.Close()
	s, err := r.Write(t.Context(), repository.Header{}, func(ctx context.Context, w *repository.Writer) error {
		require.NoError(t, create(w, "x/file", []byte("other")))
		require.ErrorIs(t, w.AddFS(ctx, d, &repository.AddOptions{Dir: "x/file"}), fs.ErrExist)
		require.ErrorIs(t, w.AddFS(ctx, d, &repository.AddOptions{Dir: "../x"}), fs.ErrInvalid)
		require.NoError(t, w.AddFS(ctx, d, &repository.AddOptions{Dir: "x/y"}))
		require.ErrorIs(t, create(w, "x/y/z", nil), fs.ErrExist)
		require.NoError(t, w.AddFS(ctx, d, nil))
		return nil
	})
	require.NoError(t, err)
	fsys, err := r.FS(t.Context(), s)
	require.NoError(t, err)
	require.NoError(t, fstest.TestFS(fsys, "x/file", "x/y/f", "f"))
	fi, err := fs.Stat(fsys, "x/y")
	require.NoError(t, err)
	require.Equal(t, fs.ModeDir|0o710, fi.Mode())
	to := t.TempDir()
	_, err = r.RestoreDir(t.Context(), s, to, &repository.RestoreOptions{Path: "x/y"})
	require.NoError(t, err)
	require.Equal(t, describe(t, from), describe(t, to))
	require.Equal(t, int64(3), s.Summary.TotalFilesProcessed)
}

// stated is a file system of which the test says everything, and which counts what is opened.
type stated struct {
	fstest.MapFS
	mu     *sync.Mutex
	opened *[]string
}

func (s stated) Open(name string) (fs.File, error) {
	if f := s.MapFS[name]; f != nil && !f.Mode.IsDir() {
		s.mu.Lock()
		defer s.mu.Unlock()
		*s.opened = append(*s.opened, name)
	}
	return s.MapFS.Open(name)
}

func TestUnchangedFilesAreNotRead(t *testing.T) {
	r := repositorytest.New(t)
	old := time.Now().Add(-time.Hour)
	files := func() fstest.MapFS {
		at := func(inode uint64) *repository.Attributes {
			return &repository.Attributes{Inode: inode, DeviceID: 1, ChangeTime: old}
		}
		return fstest.MapFS{
			"d/same":   {Data: []byte("same"), ModTime: old, Sys: at(1)},
			"d/mtime":  {Data: []byte("aaaa"), ModTime: old, Sys: at(2)},
			"d/ctime":  {Data: []byte("aaaa"), ModTime: old, Sys: at(3)},
			"d/inode":  {Data: []byte("aaaa"), ModTime: old, Sys: at(4)},
			"d/device": {Data: []byte("aaaa"), ModTime: old, Sys: at(5)},
			"d/size":   {Data: []byte("aaaa"), ModTime: old, Sys: at(6)},
			"d/plain":  {Data: []byte("aaaa"), ModTime: old},
			"d/now":    {Data: []byte("aaaa"), ModTime: old, Sys: &repository.Attributes{Inode: 7, DeviceID: 1, ChangeTime: time.Now()}},
		}
	}
	var opened []string
	back := func(m fstest.MapFS, parent *repository.Snapshot, o *repository.AddOptions) *repository.Snapshot {
		var h repository.Header
		if parent != nil {
			h.Parent = &parent.ID
		}
		opened = nil
		s, err := r.Write(t.Context(), h, func(ctx context.Context, w *repository.Writer) error {
			return w.AddFS(ctx, stated{m, &sync.Mutex{}, &opened}, o)
		})
		require.NoError(t, err)
		return s
	}
	first := files()
	one := back(first, nil, nil)
	require.Len(t, opened, 8)
	second := files()
	second["d/now"].Sys = first["d/now"].Sys
	for _, name := range []string{"mtime", "ctime", "inode", "device", "plain", "now"} {
		second["d/"+name].Data = []byte("bbbb")
	}
	second["d/mtime"].ModTime = old.Add(1)
	second["d/ctime"].Sys = &repository.Attributes{Inode: 3, DeviceID: 1, ChangeTime: old.Add(1)}
	second["d/inode"].Sys = &repository.Attributes{Inode: 44, DeviceID: 1, ChangeTime: old}
	second["d/device"].Sys = &repository.Attributes{Inode: 5, DeviceID: 2, ChangeTime: old}
	second["d/size"].Data = []byte("bbbbb")
	two := back(second, one, nil)
	require.ElementsMatch(t, []string{"d/mtime", "d/ctime", "d/inode", "d/device", "d/size", "d/plain", "d/now"}, opened)
	require.Equal(t, int64(1), two.Summary.FilesUnmodified)
	require.Equal(t, int64(7), two.Summary.FilesChanged)
	fsys, err := r.FS(t.Context(), two)
	require.NoError(t, err)
	for name, f := range second {
		got, err := fs.ReadFile(fsys, name)
		require.NoError(t, err)
		require.True(t, bytes.Equal(f.Data, got), name)
	}
	back(second, two, &repository.AddOptions{Full: true})
	require.Len(t, opened, 8)
	repositorytest.RequireClean(t, r)
}

func TestAddFSExcludesAndGoesOn(t *testing.T) {
	r := repositorytest.New(t)
	files := fstest.MapFS{"a/keep": {Data: []byte("k")}, "a/bad": {Data: []byte("b")}, "skip/x": {}, "top": {Mode: fs.ModeSymlink, Data: []byte("a")}}
	broken := brokenFS{files}
	_, err := r.Write(t.Context(), repository.Header{}, func(ctx context.Context, w *repository.Writer) error {
		return w.AddFS(ctx, broken, nil)
	})
	require.ErrorIs(t, err, errBoom)
	var told []string
	s, err := r.Write(t.Context(), repository.Header{}, func(ctx context.Context, w *repository.Writer) error {
		require.ErrorIs(t, w.AddFS(ctx, broken, nil), errBoom)
		// What failed left no names behind.
		return w.AddFS(ctx, broken, &repository.AddOptions{
			Exclude: func(name string, _ fs.DirEntry) bool { return name == "skip" },
			OnError: func(name string, err error) error {
				require.ErrorIs(t, err, errBoom)
				told = append(told, name)
				return nil
			},
		})
	})
	require.NoError(t, err)
	require.Equal(t, []string{"a/bad"}, told)
	fsys, err := r.FS(t.Context(), s)
	require.NoError(t, err)
	var names []string
	require.NoError(t, fs.WalkDir(fsys, ".", func(name string, _ fs.DirEntry, err error) error {
		names = append(names, name)
		return err
	}))
	require.Equal(t, []string{".", "a", "a/keep", "top"}, names)
}

type brokenFS struct{ fstest.MapFS }

func (b brokenFS) Open(name string) (fs.File, error) {
	if name == "a/bad" {
		return nil, errBoom
	}
	return b.MapFS.Open(name)
}
