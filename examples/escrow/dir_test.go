//go:build linux

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/usertest"
)

// lay fills a directory.
func lay(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o640))
	}
}

func readAll(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		require.NoError(t, err)
		p, err := os.ReadFile(name)
		all[rel] = string(p)
		return err
	}))
	return all
}

func TestDirectoryCommands(t *testing.T) {
	s := newShell(t)
	s.init()
	from, cache := t.TempDir(), filepath.Join(t.TempDir(), "cache")
	files := map[string]string{"a/one": "1", "a/b/two.log": "22", "three": "333"}
	lay(t, from, files)
	require.NoError(t, os.Symlink("three", filepath.Join(from, "link")))
	files["link"] = "333"

	got := s.objects(exitDone, "backup-dir", from, "--host", "h", "--tag", "x", "--cache-dir", cache)
	require.Len(t, got, 1)
	require.ElementsMatch(t, []string{"message_type", "snapshot_id", "parent", "files_new", "files_changed", "files_unmodified", "dirs",
		"bytes", "bytes_added", "duration_seconds", "omitted"}, keys(got[0]))
	require.EqualValues(t, 3, got[0]["files_new"])
	require.EqualValues(t, 6, got[0]["bytes"])
	require.Empty(t, got[0]["parent"])
	first := got[0]["snapshot_id"].(string)
	list := s.objects(exitDone, "snapshots")
	require.Equal(t, []any{from}, list[0]["paths"])
	require.Equal(t, "h", list[0]["hostname"])

	lay(t, from, map[string]string{"three": "changed", "a/new.log": "n"})
	got = s.objects(exitDone, "backup-dir", from, "--host", "h", "--exclude", "*.log", "--cache-dir", cache)
	require.Equal(t, first, got[0]["parent"])
	require.EqualValues(t, 1, got[0]["files_changed"])
	require.EqualValues(t, 1, got[0]["files_unmodified"])
	require.EqualValues(t, 0, got[0]["files_new"])
	require.Contains(t, s.ok("backup-dir", from, "--host", "other"), "4 files: 4 new, 0 changed")
	require.Regexp(t, `^[0-9a-f]{64}\n$`, s.ok("backup-dir", from, "--quiet", "--host", "h", "--full"))
	require.DirExists(t, filepath.Join(cache, "CACHEDIR.TAG", ".."))
	s.ok("check", "--read-data")

	to := filepath.Join(t.TempDir(), "to")
	plan := s.objects(exitDone, "restore-dir", first, to, "--dry-run")
	require.Len(t, plan, 5)
	require.Equal(t, map[string]any{"message_type": "planned", "path": "a/b/two.log", "action": "create", "size": 2.0}, plan[0])
	require.NoDirExists(t, to)
	done := last(s.objects(exitDone, "restore-dir", first, to, "--verify"))
	require.ElementsMatch(t, []string{"message_type", "snapshot_id", "dry_run", "files", "links", "dirs", "others", "bytes",
		"duration_seconds", "omitted"}, keys(done))
	require.EqualValues(t, 3, done["files"])
	require.Equal(t, files, readAll(t, to))
	for _, key := range []string{"files", "dirs", "others", "bytes"} {
		require.Equal(t, done[key], last(plan)[key], key)
	}

	// What is there stays, unless asked otherwise.
	lay(t, to, map[string]string{"three": "mine", "own": "mine"})
	s.fails(exitFailed, []string{"restore snapshot", "exists"}, "restore-dir", first, to)
	require.Equal(t, "mine", readAll(t, to)["three"])
	require.Contains(t, s.ok("restore-dir", first, to, "-n"), "conflict three")
	require.Contains(t, s.ok("restore-dir", first, to, "-n", "--overwrite"), "replace  three")
	require.Contains(t, s.ok("restore-dir", first, to, "--overwrite"), "restored 3 files")
	require.Equal(t, "333", readAll(t, to)["three"])
	require.Equal(t, "mine", readAll(t, to)["own"])

	below := t.TempDir()
	s.ok("restore-dir", first+":/a", below, "--exclude", "b")
	require.Equal(t, map[string]string{"one": "1"}, readAll(t, below))
	s.fails(exitFailed, []string{"find", "not exist"}, "restore-dir", first+":/nowhere", below)
	s.fails(exitFailed, []string{"not a directory"}, "restore-dir", first+":/three", below)
	s.fails(exitUsage, []string{"accepts 2 arg"}, "restore-dir", first)
	s.fails(exitUsage, []string{"accepts 1 arg"}, "backup-dir")
	s.fails(exitUsage, []string{"not a pattern"}, "backup-dir", from, "--exclude", "[")
	s.fails(exitFailed, []string{"no such file"}, "backup-dir", filepath.Join(from, "nowhere"))
	s.fails(exitFailed, []string{"not a directory"}, "backup-dir", filepath.Join(from, "three"))
}

// What cannot be read ends the backup, or is named.
func TestDirectoryOmissions(t *testing.T) {
	usertest.Unprivileged(t, func(t *testing.T) {
		s := newShell(t)
		s.init()
		from := t.TempDir()
		lay(t, from, map[string]string{"a": "1", "locked": "2"})
		require.NoError(t, os.Chmod(filepath.Join(from, "locked"), 0))
		s.fails(exitFailed, []string{"locked", "permission denied"}, "backup-dir", from)
		require.Empty(t, s.objects(exitDone, "snapshots"))
		got := s.objects(exitOmitted, "backup-dir", from, "--allow-omissions")
		omitted := last(got)["omitted"].([]any)
		require.Len(t, omitted, 1)
		require.Equal(t, "file locked", omitted[0].(map[string]any)["what"])
		require.Len(t, s.objects(exitDone, "snapshots"), 1)
	})
}

func TestRestoreDirOmissions(t *testing.T) {
	s := newShell(t)
	s.init()
	from, to := t.TempDir(), t.TempDir()
	lay(t, from, map[string]string{"a": "1", "b": "2"})
	s.ok("backup-dir", from)
	lay(t, to, map[string]string{"b": "mine"})
	got := s.objects(exitOmitted, "restore-dir", "latest", to, "--allow-omissions")
	omitted := last(got)["omitted"].([]any)
	require.Len(t, omitted, 1)
	require.Equal(t, "file b", omitted[0].(map[string]any)["what"])
	require.Equal(t, map[string]string{"a": "1", "b": "mine"}, readAll(t, to))
	require.Contains(t, func() string { _, out, _ := s.run("restore-dir", "latest", to, "--allow-omissions"); return out }(), "omitted: file a")
}

func TestRepositoryVersionAndSubset(t *testing.T) {
	s := newShell(t)
	s.fails(exitUsage, []string{"--repository-version 3"}, "init", "--repository-version", "3")
	s.ok("init", "--repository-version", "1")
	got := s.objects(exitDone, "migrate", "--dry-run")
	require.EqualValues(t, 1, last(got)["from"])
	from := t.TempDir()
	lay(t, from, map[string]string{"a": time.Now().String()})
	s.ok("backup-dir", from)
	sum := last(s.objects(exitDone, "check", "--read-data-subset", "100%"))
	require.Equal(t, "100%", sum["read_data_subset"])
	s.ok("check", "--read-data-subset", "1/1")
	s.ok("migrate", "--keep-config", filepath.Join(t.TempDir(), "config"))
	lay(t, from, map[string]string{"zeros": strings.Repeat("0", 100<<10), "ones": strings.Repeat("1", 90<<10)})
	added := func(args ...string) float64 {
		return last(s.objects(exitDone, append([]string{"backup-dir", from}, args...)...))["bytes_added"].(float64)
	}
	require.Greater(t, added("--compression", "off", "--exclude", "ones"), 100_000.0)
	require.Less(t, added("--compression", "max"), 10_000.0)
	s.fails(exitUsage, []string{"want one of"}, "backup-dir", from, "--compression", "best")
	s.fails(exitUsage, []string{"want 1 to 256 parts"}, "check", "--read-data-subset", "2/1")
	s.fails(exitUsage, []string{"--read-data excludes"}, "check", "--read-data", "--read-data-subset", "5%")
}
