package local_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/usertest"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/local"
)

func handle(t backend.FileType, content string) backend.Handle {
	sum := sha256.Sum256([]byte(content))
	return backend.Handle{Type: t, Name: hex.EncodeToString(sum[:])}
}

func save(t *testing.T, b backend.Backend, h backend.Handle, content string) {
	t.Helper()
	require.NoError(t, b.Save(t.Context(), h, strings.NewReader(content), int64(len(content))))
}

func list(t *testing.T, b backend.Backend, typ backend.FileType) []string {
	t.Helper()
	var names []string
	for fi, err := range b.List(t.Context(), typ) {
		require.NoError(t, err)
		names = append(names, fi.Handle.Name)
	}
	return names
}

func open(t *testing.T, path string) *local.Backend {
	t.Helper()
	b, err := local.New(path)
	require.NoError(t, err)
	return b
}

// files gives mode and path of everything below dir.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	m := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		fi, err := d.Info()
		require.NoError(t, err)
		rel, err := filepath.Rel(dir, path)
		require.NoError(t, err)
		m[filepath.ToSlash(rel)] = fi.Mode().String()
		return nil
	}))
	return m
}

func TestLayoutAndModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "repo")
	b := open(t, dir)
	p, k := handle(backend.Pack, "p"), handle(backend.Key, "k")
	save(t, b, p, "p")
	save(t, b, k, "k")
	save(t, b, backend.Handle{Type: backend.Config}, "c")
	require.Equal(t, map[string]string{
		".":                                 "drwx------",
		"config":                            "-r--------",
		"keys":                              "drwx------",
		"keys/" + k.Name:                    "-r--------",
		"data":                              "drwx------",
		"data/" + p.Name[:2]:                "drwx------",
		"data/" + p.Name[:2] + "/" + p.Name: "-r--------",
	}, files(t, dir))
}

func TestGroupOfConfigIsFollowed(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config"), []byte("c"), 0o440))
	require.NoError(t, os.Chmod(filepath.Join(dir, "config"), 0o440))
	s := handle(backend.Snapshot, "s")
	save(t, open(t, dir), s, "s")
	m := files(t, dir)
	require.Equal(t, "drwxrwx---", m["snapshots"])
	require.Equal(t, "-r--r-----", m["snapshots/"+s.Name])
}

func TestNewCreatesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	b := open(t, dir)
	require.Empty(t, list(t, b, backend.Pack))
	require.Empty(t, list(t, b, backend.Config))
	_, err := b.Stat(t.Context(), backend.Handle{Type: backend.Config})
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "stat config: ")
	require.NoDirExists(t, dir)
}

func TestPathIsAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	b := open(t, file)
	require.NoError(t, os.WriteFile(file, nil, 0o600))

	_, err := local.New(file)
	require.ErrorIs(t, err, syscall.ENOTDIR)
	require.ErrorContains(t, err, file)
	_, err = local.Opener(t.Context(), file, nil)
	require.ErrorIs(t, err, syscall.ENOTDIR)

	// Also when it became one after New.
	err = b.Save(t.Context(), backend.Handle{Type: backend.Config}, strings.NewReader("c"), 1)
	require.ErrorIs(t, err, syscall.ENOTDIR)
	for _, err := range b.List(t.Context(), backend.Pack) {
		require.ErrorIs(t, err, syscall.ENOTDIR)
	}
	_, err = b.Stat(t.Context(), backend.Handle{Type: backend.Config})
	require.ErrorIs(t, err, syscall.ENOTDIR)
	require.NotErrorIs(t, err, fs.ErrNotExist)
}

func TestForeignFilesAreNotListed(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	p, s := handle(backend.Pack, "p"), handle(backend.Snapshot, "s")
	save(t, b, p, "p")
	save(t, b, s, "s")
	other := handle(backend.Pack, "other").Name
	wrong := "00"
	if other[:2] == wrong {
		wrong = "01"
	}
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "data", wrong), 0o700))
	for _, name := range []string{
		"data/" + other,                   // not in its directory
		"data/" + wrong + "/" + other,     // in another's
		"data/README",                     //
		"data/xy",                         // a file with a directory's name
		"snapshots/.hidden",               //
		"snapshots/" + s.Name + ".bak",    //
		"snapshots/" + other + "-tmp-123", // being written
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "snapshots", other), 0o700))
	require.Equal(t, []string{p.Name}, list(t, b, backend.Pack))
	require.Equal(t, []string{s.Name}, list(t, b, backend.Snapshot))
	_, err := b.Stat(t.Context(), backend.Handle{Type: backend.Snapshot, Name: other})
	require.ErrorContains(t, err, "not a regular file")
	_, err = b.Load(t.Context(), backend.Handle{Type: backend.Snapshot, Name: other}, 0, -1)
	require.ErrorContains(t, err, "not a regular file")
}

func TestLeftoversOfDeadRuns(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	save(t, b, handle(backend.Index, "a"), "a")
	old := filepath.Join(dir, "index", handle(backend.Index, "old").Name+"-tmp-1")
	fresh := filepath.Join(dir, "index", handle(backend.Index, "fresh").Name+"-tmp-1")
	foreign := filepath.Join(dir, "index", "mine-tmp-1")
	for _, f := range []string{old, fresh, foreign} {
		require.NoError(t, os.WriteFile(f, []byte("x"), 0o600))
	}
	for _, f := range []string{old, foreign} {
		require.NoError(t, os.Chtimes(f, time.Time{}, time.Now().Add(-48*time.Hour)))
	}
	save(t, open(t, dir), handle(backend.Index, "b"), "b")
	require.NoFileExists(t, old)
	require.FileExists(t, fresh)
	require.FileExists(t, foreign)
	require.Len(t, list(t, b, backend.Index), 2)
}

func TestFailedSaveLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	boom := errors.New("boom")
	h := handle(backend.Pack, "p")
	err := b.Save(t.Context(), h, readerAt(func([]byte, int64) (int, error) { return 0, boom }), 5)
	require.ErrorIs(t, err, boom)
	for name := range files(t, dir) {
		require.NotContains(t, name, h.Name)
	}
}

func TestDirectoryRemovedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	save(t, b, handle(backend.Pack, "p"), "p")
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "data")))
	save(t, b, handle(backend.Pack, "p"), "p")
	require.Len(t, list(t, b, backend.Pack), 1)
}

func TestSymbolicLinkToAnotherDisk(t *testing.T) {
	dir, disk := t.TempDir(), t.TempDir()
	require.NoError(t, os.Symlink(disk, filepath.Join(dir, "data")))
	b := open(t, dir)
	h := handle(backend.Pack, "p")
	save(t, b, h, "p")
	require.Equal(t, []string{h.Name}, list(t, b, backend.Pack))
	require.FileExists(t, filepath.Join(disk, h.Name[:2], h.Name))
}

func TestTruncatedWhileReading(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	h := handle(backend.Lock, "content")
	save(t, b, h, "content")
	r, err := b.Load(t.Context(), h, 0, -1)
	require.NoError(t, err)
	file := filepath.Join(dir, "locks", h.Name)
	require.NoError(t, os.Chmod(file, 0o600))
	require.NoError(t, os.Truncate(file, 3))
	_, err = io.ReadAll(r)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.NoError(t, r.Close())
}

func TestPermission(t *testing.T) {
	usertest.Unprivileged(t, func(t *testing.T) {
		dir := t.TempDir()
		b := open(t, dir)
		p := handle(backend.Pack, "p")
		save(t, b, handle(backend.Key, "k"), "k")
		save(t, b, p, "p")
		for _, locked := range []string{filepath.Join(dir, "keys"), filepath.Join(dir, "data", p.Name[:2])} {
			require.NoError(t, os.Chmod(locked, 0))
			t.Cleanup(func() { _ = os.Chmod(locked, 0o700) })
		}
		_, err := b.Load(t.Context(), handle(backend.Key, "k"), 0, -1)
		require.ErrorIs(t, err, fs.ErrPermission)
		require.NotErrorIs(t, err, fs.ErrNotExist)
		err = b.Save(t.Context(), handle(backend.Key, "l"), strings.NewReader("l"), 1)
		require.ErrorIs(t, err, fs.ErrPermission)
		for _, typ := range []backend.FileType{backend.Key, backend.Pack} {
			listed := 0
			for _, err := range b.List(t.Context(), typ) {
				require.ErrorIs(t, err, fs.ErrPermission)
				listed++
			}
			require.Equal(t, 1, listed, "what cannot be listed is not empty")
		}
	})
}

func TestOpener(t *testing.T) {
	var m backend.Mux
	m.Handle("local", local.Opener)
	dir := t.TempDir()
	for _, url := range []string{dir, "local:" + dir} {
		b, err := m.Open(t.Context(), url, nil)
		require.NoError(t, err)
		require.Equal(t, dir, b.(*local.Backend).Path())
	}
	_, err := local.Opener(t.Context(), "", nil)
	require.ErrorContains(t, err, "empty path")
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	_, err = local.Opener(ctx, dir, nil)
	require.ErrorIs(t, err, cause)
}

type readerAt func(p []byte, off int64) (int, error)

func (f readerAt) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }

func TestConformance(t *testing.T) {
	dir := t.TempDir()
	at := func(t *testing.T) backend.Backend {
		return open(t, filepath.Join(dir, filepath.Base(t.Name()), "repo"))
	}
	backendtest.Run(t, at, &backendtest.Options{
		ListEntries: 2000, // each is synced
		Reopen:      func(t *testing.T, _ backend.Backend) backend.Backend { return at(t) },
	})
}
