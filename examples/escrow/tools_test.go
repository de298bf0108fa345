package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend/local"
)

const newPassword = "another-secret-password"

func secretFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(name, []byte(text+"\n"), 0o600))
	return name
}

func last(all []map[string]any) map[string]any { return all[len(all)-1] }

func TestKeyCommands(t *testing.T) {
	s := newShell(t)
	s.days(1)
	file := secretFile(t, newPassword)
	s.fails(exitUsage, []string{"key what?"}, "key")
	s.fails(exitUsage, []string{"--new-password-file"}, "key", "add")
	one := s.objects(exitDone, "key", "list")
	require.Len(t, one, 1)
	require.ElementsMatch(t, []string{"message_type", "id", "in_use", "created", "hostname", "username", "error"}, keys(one[0]))
	require.Equal(t, true, one[0]["in_use"])
	s.fails(exitFailed, []string{"remove key", "was opened with it"}, "key", "remove", one[0]["id"].(string))

	added := s.objects(exitDone, "key", "add", "--new-password-file", file, "--user", "kim", "--host", "there")
	require.Len(t, added, 1)
	require.Equal(t, "added", added[0]["action"])
	list := s.ok("key", "list")
	require.Contains(t, list, "there")
	require.Regexp(t, `(?m)^\*`+one[0]["id"].(string)[:8], list)
	s.ok("snapshots", "--password-file", file)
	would := s.objects(exitDone, "key", "remove", "--dry-run", added[0]["id"].(string)[:10])
	require.Equal(t, "would be removed", would[0]["action"])
	require.Equal(t, added[0]["id"], would[0]["id"])
	s.fails(exitFailed, []string{"was opened with it"}, "key", "remove", "-n", one[0]["id"].(string)[:8])
	s.fails(exitFailed, []string{"find key", "no key has this id"}, "key", "remove", "0000000000")
	s.ok("snapshots", "--password-file", file)
	removed := s.ok("key", "remove", added[0]["id"].(string)[:10])
	require.Contains(t, removed, `made by "kim" on "there"`)
	require.Contains(t, removed, "removed key")
	s.fails(exitFailed, []string{"wrong password"}, "snapshots", "--password-file", file)

	require.Contains(t, s.ok("key", "passwd", "--new-password-file", file), "changed key")
	s.fails(exitFailed, []string{"wrong password"}, "snapshots")
	s.ok("snapshots", "--password-file", file)
}

func TestCopyStatsDiff(t *testing.T) {
	s := newShell(t)
	ids := s.days(2)
	source, pw := s.repo(), secretFile(t, repoPassword)
	s.fails(exitUsage, []string{"--from-repo"}, "copy")
	s.env["RESTIC_REPOSITORY"] = filepath.Join(t.TempDir(), "copy")
	args := []string{"copy", "--from-repo", source, "--from-password-file", pw, "--init"}
	got := s.objects(exitDone, append(args, ids[0])...)
	require.Len(t, got, 2)
	require.Equal(t, ids[0], got[0]["original"])
	require.EqualValues(t, 1, last(got)["copied"])
	got = s.objects(exitDone, args...)
	require.EqualValues(t, 1, last(got)["copied"])
	require.EqualValues(t, 1, last(got)["skipped"])
	require.Contains(t, s.ok(args...), "0 snapshots copied")
	s.ok("check", "--read-data")
	copies := s.listed()
	require.Len(t, copies, 2)

	stats := last(s.objects(exitDone, "stats"))
	require.EqualValues(t, 2, stats["snapshots"])
	require.EqualValues(t, 2, stats["files"])
	require.EqualValues(t, 10, stats["bytes"])
	require.EqualValues(t, 1, last(s.objects(exitDone, "stats", copies[0]))["files"])
	require.Contains(t, s.ok("stats"), "2 snapshots with 2 files")

	require.Equal(t, "M  file\n0 added, 0 removed, 1 changed\n", s.ok("diff", copies[0], copies[1]))
	changes := s.objects(exitDone, "diff", copies[0], "latest")
	require.Len(t, changes, 2)
	require.Equal(t, "modified", changes[0]["kind"])
	require.EqualValues(t, 1, last(changes)["changed"])
	s.fails(exitFailed, []string{"find snapshot"}, "diff", "latest", "ffff")
}

func TestRepairCommands(t *testing.T) {
	s := newShell(t)
	ids := s.days(2)
	s.fails(exitUsage, []string{"repair what?"}, "repair")
	require.Contains(t, s.ok("repair", "index"), "nothing to repair")
	require.Contains(t, s.ok("repair", "snapshots"), "damaged snapshots: 0, sound: 2")
	indexes, err := filepath.Glob(filepath.Join(s.repo(), "index", "*"))
	require.NoError(t, err)
	for _, name := range indexes {
		require.NoError(t, os.Remove(name))
	}
	got := last(s.objects(exitDone, "repair", "index", "--dry-run"))
	require.EqualValues(t, 4, got["reread"])
	s.fails(exitFailed, []string{"in no index"}, "dump", "latest", "file")
	got = last(s.objects(exitDone, "repair", "index"))
	require.EqualValues(t, 4, got["reread"])
	require.Equal(t, "day 1", s.ok("dump", "latest", "file"))

	// Every pack of the second snapshot but its tree is lost.
	files := s.ok("ls", "latest")
	require.Contains(t, files, "file")
	packs, err := filepath.Glob(filepath.Join(s.repo(), "data", "*", "*"))
	require.NoError(t, err)
	for _, name := range packs {
		kept := filepath.Join(t.TempDir(), "kept")
		require.NoError(t, os.Rename(name, kept))
		if code, out, _ := s.run("ls", "latest"); code == exitDone && out == files {
			if code, _, _ := s.run("dump", "latest", "file"); code != exitDone {
				break
			}
		}
		require.NoError(t, os.Rename(kept, name))
	}
	s.ok("repair", "index")
	lost := s.objects(exitDone, "repair", "snapshots", "--dry-run")
	require.Equal(t, map[string]any{"message_type": "loss", "snapshot_id": ids[1], "path": "file", "dir": false, "bytes": 5.0}, lost[0])
	require.Equal(t, ids, s.listed())
	require.Contains(t, s.ok("repair", "snapshots", "--forget"), `file "file": 5 bytes`)
	require.Len(t, s.listed(), 2)
	require.NotContains(t, s.listed(), ids[1])
	require.Contains(t, s.ok("ls", "latest"), "file.repaired")
	s.ok("check", "--read-data")
}

func TestMigrateCommand(t *testing.T) {
	s := newShell(t)
	s.days(1)
	s.fails(exitUsage, []string{"--keep-config"}, "migrate")
	require.Contains(t, s.ok("migrate", "--dry-run"), "nothing to do")
	got := last(s.objects(exitDone, "migrate", "--keep-config", filepath.Join(t.TempDir(), "config")))
	require.EqualValues(t, 2, got["from"])
	name := filepath.Join(t.TempDir(), "new")
	require.NoError(t, writeNew(name, []byte("config")))
	require.ErrorIs(t, writeNew(name, nil), fs.ErrExist)
}

// tree backs up a directory with a file, a link and a directory.
func (s *shell) tree() string {
	s.t.Helper()
	s.init()
	dir := s.t.TempDir()
	require.NoError(s.t, os.MkdirAll(filepath.Join(dir, "sub/empty"), 0o750))
	require.NoError(s.t, os.WriteFile(filepath.Join(dir, "sub/file"), []byte("text"), 0o640))
	require.NoError(s.t, os.Symlink("sub/file", filepath.Join(dir, "link")))
	require.NoError(s.t, os.Chtimes(filepath.Join(dir, "sub/file"), time.Unix(1e9, 0), time.Unix(1e9, 0)))
	store, err := local.New(s.repo())
	require.NoError(s.t, err)
	repo, err := repository.Open(s.t.Context(), store, repoPassword, nil)
	require.NoError(s.t, err)
	files, err := repository.OpenDirFS(dir)
	require.NoError(s.t, err)
	_, err = repo.Write(s.t.Context(), repository.Header{}, func(ctx context.Context, w *repository.Writer) error {
		return w.AddFS(ctx, files, nil)
	})
	require.NoError(s.t, errors.Join(err, files.Close(), repo.Close(), store.Close()))
	return dir
}

func TestExport(t *testing.T) {
	s := newShell(t)
	s.tree()
	s.fails(exitUsage, []string{"export where?"}, "export", "latest", "--format", "dir")
	s.fails(exitUsage, []string{`--format "rar"`}, "export", "latest", "--format", "rar")
	s.fails(exitFailed, []string{"file does not exist"}, "export", "latest:nowhere")

	in := tar.NewReader(strings.NewReader(s.ok("export", "latest")))
	var got []string
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		p, err := io.ReadAll(in)
		require.NoError(t, err)
		got = append(got, h.Name+" "+h.FileInfo().Mode().String()+" "+h.Linkname+string(p))
		if h.Name == "sub/file" {
			require.True(t, h.ModTime.Equal(time.Unix(1e9, 0)))
			require.Equal(t, os.Getuid(), h.Uid)
		}
	}
	require.Equal(t, []string{"link Lrwxrwxrwx sub/file", "sub/ drwxr-x--- ", "sub/empty/ drwxr-x--- ", "sub/file -rw-r----- text"}, got)

	name := filepath.Join(t.TempDir(), "out.zip")
	require.Empty(t, s.ok("export", "latest:sub", "--format", "zip", "--output", name))
	s.fails(exitFailed, []string{"file exists"}, "export", "latest:sub", "--format", "zip", "--output", name)
	z, err := zip.OpenReader(name)
	require.NoError(t, err)
	defer z.Close()
	require.Len(t, z.File, 2)
	p, err := fs.ReadFile(z, "file")
	require.NoError(t, err)
	require.Equal(t, "text", string(p))

	dir := filepath.Join(t.TempDir(), "made")
	sum := last(s.objects(exitDone, "export", "latest", "--format", "dir", "--output", dir, "--verify"))
	require.EqualValues(t, 1, sum["files"])
	require.EqualValues(t, 1, sum["others"])
	link, err := os.Readlink(filepath.Join(dir, "link"))
	require.NoError(t, err)
	require.Equal(t, "sub/file", link)
	s.fails(exitFailed, []string{"file exists"}, "export", "latest", "--format", "dir", "--output", dir)
	require.Contains(t, s.ok("export", "latest", "--format", "dir", "--output", dir, "--overwrite"), "1 file with 4 B written")
}

// An archive that cannot be written whole is an error, and its file goes.
func TestExportIsWholeOrFails(t *testing.T) {
	a := &app{out: &output{w: io.Discard}}
	name := filepath.Join(t.TempDir(), "x")
	boom := errors.New("boom")
	require.ErrorIs(t, a.exportTo(name, func(io.Writer) error { return boom }), boom)
	_, err := os.Stat(name)
	require.ErrorIs(t, err, fs.ErrNotExist)
	var out bytes.Buffer
	require.ErrorIs(t, copyAll(&out, strings.NewReader("abc"), "f", 4), io.ErrUnexpectedEOF)
}
