package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/escrow-backup/escrow/internal/e2e/resticcli"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend/local"
)

// fillDirectory makes what a backup of a volume may meet.
func fillDirectory(t *testing.T, dir string) {
	t.Helper()
	r := seeded(9)
	big := make([]byte, 9<<20)
	for i := range big {
		big[i] = byte(r.Uint32())
	}
	for name, p := range map[string][]byte{
		"big.bin": big, "empty": nil, "a/b/c/deep": []byte("deep"), "a/\xff \"odd\" \n<&>": []byte("odd"), "ro/file": []byte("r"), "setuid": []byte("x"),
	} {
		name = filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, p, 0o640))
	}
	require.NoError(t, os.Chmod(filepath.Join(dir, "setuid"), fs.ModeSetuid|0o711))
	require.NoError(t, os.Link(filepath.Join(dir, "a/b/c/deep"), filepath.Join(dir, "a/other name")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "void"), 0o700))
	require.NoError(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o620))
	for name, target := range map[string]string{"rel": "a/b", "abs": "/etc/passwd", "up": "../../..", "gone": "nowhere"} {
		require.NoError(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	if err := unix.Setxattr(filepath.Join(dir, "big.bin"), "user.comment", []byte("\x00\xff"), 0); !errors.Is(err, unix.ENOTSUP) {
		require.NoError(t, err)
	}
	require.NoError(t, os.Chmod(filepath.Join(dir, "ro"), 0o555))
	at := time.Date(2011, 12, 13, 14, 15, 16, 171_819_202, time.UTC)
	require.NoError(t, filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		ts, terr := unix.TimeToTimespec(at)
		require.NoError(t, terr)
		at = at.Add(time.Hour)
		return errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
	}))
}

// describeDirectory gives a line for every entry, with all that a restore must bring back.
func describeDirectory(t *testing.T, dir string) []string {
	t.Helper()
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "ro"), 0o755) }) // for the removal
	var all []string
	inodes := map[uint64]string{}
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		require.NoError(t, err)
		fi, err := d.Info()
		require.NoError(t, err)
		st, ok := fi.Sys().(*syscall.Stat_t)
		require.True(t, ok)
		s := fmt.Sprintf("%q %v %v %d:%d", rel, fi.Mode(), fi.ModTime().UTC(), st.Uid, st.Gid)
		if !d.IsDir() {
			if inodes[st.Ino] == "" {
				inodes[st.Ino] = rel
			}
			s += fmt.Sprintf(" %d links of %q", st.Nlink, inodes[st.Ino])
		}
		switch d.Type() {
		case 0:
			p, err := os.ReadFile(name)
			require.NoError(t, err)
			s += fmt.Sprintf(" %v", repository.Hash(p))
		case fs.ModeSymlink:
			target, err := os.Readlink(name)
			require.NoError(t, err)
			s += fmt.Sprintf(" %q", target)
		}
		value := make([]byte, 100)
		if n, err := unix.Lgetxattr(name, "user.comment", value); err == nil {
			s += fmt.Sprintf(" %q", value[:n])
		}
		all = append(all, s)
		return nil
	}))
	return all
}

func addDirectory(t *testing.T, repo *repository.Repo, dir string, parent *repository.ID) *repository.Snapshot {
	t.Helper()
	d, err := repository.OpenDirFS(dir)
	require.NoError(t, err)
	defer d.Close()
	s, err := repo.Write(t.Context(), repository.Header{Hostname: "ours", Paths: []string{dir}, Parent: parent},
		func(ctx context.Context, w *repository.Writer) error { return w.AddFS(ctx, d, nil) })
	require.NoError(t, err)
	return s
}

// TestDirectoriesBothWays: what one program backs up from a directory, the other restores to an equal one, and each finds
// what the other stored.
func TestDirectoriesBothWays(t *testing.T) {
	t.Parallel()
	repoDir, from := filepath.Join(t.TempDir(), "repo"), t.TempDir()
	restic := resticcli.New(t, repoDir, password)
	restic.Init(t)
	fillDirectory(t, from)
	want := describeDirectory(t, from)
	repo := openRepo(t, repoDir)

	ours := addDirectory(t, repo, from, nil)
	restic.Check(t)
	back := t.TempDir()
	restic.Run(t, "restore", ours.ID.String(), "--target", back)
	require.Equal(t, want, describeDirectory(t, back))

	cmd := restic.Command(t, "backup", "--host", "restic", ".")
	cmd.Dir = from
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	list := restic.Snapshots(t)
	require.Len(t, list, 2)
	theirs, err := repo.Snapshot(t.Context(), list[1].ID)
	require.NoError(t, err)
	back = t.TempDir()
	_, err = repo.RestoreDir(t.Context(), theirs, back, &repository.RestoreOptions{Verify: true})
	require.NoError(t, err)
	require.Equal(t, want, describeDirectory(t, back))

	// Both cut files at the same places: the second stored no data again.
	require.Contains(t, string(restic.Run(t, "stats", "--mode", "raw-data", "--json", ours.ID.String())), `"total_size"`)
	time.Sleep(2100 * time.Millisecond) // files younger than that are read again: see AddFS
	third := addDirectory(t, repo, from, nil)
	require.Zero(t, third.Summary.DataBlobs)
	fourth := addDirectory(t, repo, from, &third.ID)
	require.Equal(t, fourth.Summary.TotalFilesProcessed, fourth.Summary.FilesUnmodified)
	require.Equal(t, third.Tree, fourth.Tree)
	for p, err := range repo.Check(t.Context(), &repository.CheckOptions{ReadData: true}) {
		require.NoError(t, err)
		t.Errorf("%v", p)
	}
	restic.Check(t)
}

// TestKeysWithRestic: restic opens with the passwords that we set, and with no other.
func TestKeysWithRestic(t *testing.T) {
	t.Parallel()
	repoDir := filepath.Join(t.TempDir(), "repo")
	resticcli.New(t, repoDir, password).Init(t)
	repo := openRepo(t, repoDir)
	refused := func(pw string) {
		t.Helper()
		out, err := resticcli.New(t, repoDir, pw).Command(t, "snapshots").CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), "wrong password")
	}
	id, err := repo.AddKey(t.Context(), "second", &repository.KeyOptions{Hostname: "there"})
	require.NoError(t, err)
	list := strings.Split(string(resticcli.New(t, repoDir, "second").Run(t, "key", "list")), "\n")
	require.True(t, slices.ContainsFunc(list, func(line string) bool {
		return strings.HasPrefix(line, "*"+id.Short()) && strings.Contains(line, "there")
	}), list)
	require.NoError(t, repo.RemoveKey(t.Context(), id.Short()))
	refused("second")
	_, err = repo.ChangePassword(t.Context(), "third", nil)
	require.NoError(t, err)
	refused(password)
	resticcli.New(t, repoDir, "third").Check(t)
}

// TestCopyStatsDiffWithRestic: restic takes our copy for one of its own, and both count and compare alike.
func TestCopyStatsDiffWithRestic(t *testing.T) {
	t.Parallel()
	srcDir, dstDir, from := filepath.Join(t.TempDir(), "src"), filepath.Join(t.TempDir(), "dst"), t.TempDir()
	srcRestic, dstRestic := resticcli.New(t, srcDir, password), resticcli.New(t, dstDir, "other")
	srcRestic.Init(t)
	fillDirectory(t, from)
	backup := func() {
		cmd := srcRestic.Command(t, "backup", "--host", "restic", ".")
		cmd.Dir = from
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	backup()
	require.NoError(t, os.WriteFile(filepath.Join(from, "setuid"), []byte("other"), 0o600))
	require.NoError(t, os.Remove(filepath.Join(from, "empty")))
	require.NoError(t, os.MkdirAll(filepath.Join(from, "void/new/dir"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(from, "void/new/dir/f"), []byte("new"), 0o600))
	backup()
	repo := openRepo(t, srcDir)
	var all []*repository.Snapshot
	for s, err := range repo.Snapshots(t.Context(), repository.Filter{}) {
		require.NoError(t, err)
		all = append(all, s)
	}
	require.Len(t, all, 2)

	b, err := local.New(dstDir)
	require.NoError(t, err)
	dst, err := repository.Init(t.Context(), b, "other", &repository.Options{CopyChunker: repo, ScryptN: 1 << 10})
	require.NoError(t, err)
	res, err := repo.Copy(t.Context(), dst, all...)
	require.NoError(t, err)
	require.Len(t, res.Copied, 2)
	require.NoError(t, dst.Close())
	require.NoError(t, b.Close())
	dstRestic.Check(t)
	back := t.TempDir()
	dstRestic.Run(t, "restore", "latest", "--target", back)
	require.Equal(t, describeDirectory(t, from), describeDirectory(t, back))
	// Restic finds all of it copied, and so do we what restic copied.
	again := dstRestic.Command(t, "copy", "--from-repo", srcDir, "--from-password-command", "echo "+password)
	out, err := again.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Len(t, dstRestic.Snapshots(t), 2)
	require.Contains(t, string(out), "skipping")

	var stats struct {
		Size  int64 `json:"total_size"`
		Count int64 `json:"total_file_count"`
		Blobs int64 `json:"total_blob_count"`
	}
	ours, err := repo.Stats(t.Context(), all...)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(srcRestic.Run(t, "stats", "--mode", "restore-size", "--json"), &stats))
	require.Equal(t, stats.Size, ours.Bytes)
	require.NoError(t, json.Unmarshal(srcRestic.Run(t, "stats", "--mode", "raw-data", "--json"), &stats))
	require.Equal(t, []int64{stats.Size, stats.Blobs}, []int64{ours.PackedBytes, ours.Blobs})

	marks := map[repository.ChangeKind]string{repository.Added: "+", repository.Removed: "-", repository.Modified: "M", repository.TypeChanged: "T"}
	var lines []string
	for c, err := range repo.Diff(t.Context(), all[0], all[1], nil) {
		require.NoError(t, err)
		name := "/" + c.Path
		if c.Kind == repository.Added && c.After.IsDir() {
			name += "/"
		}
		lines = append(lines, marks[c.Kind]+" "+name)
	}
	var theirs []string
	for line := range strings.Lines(string(srcRestic.Run(t, "diff", all[0].ID.String(), all[1].ID.String()))) {
		if mark, name, found := strings.Cut(strings.TrimSpace(line), " "); found && len(mark) == 1 && strings.HasPrefix(strings.TrimSpace(name), "/") {
			theirs = append(theirs, mark+" "+strings.TrimSpace(name))
		}
	}
	slices.Sort(lines)
	slices.Sort(theirs)
	require.NotEmpty(t, lines)
	require.Equal(t, theirs, lines)
}

// TestRepairAndMigrateForRestic: restic finds nothing wrong with a repository of its own that we repaired and migrated.
func TestRepairAndMigrateForRestic(t *testing.T) {
	t.Parallel()
	dir, from := filepath.Join(t.TempDir(), "repo"), t.TempDir()
	restic := resticcli.New(t, dir, password)
	restic.Run(t, "init", "--repository-version", "1")
	fillDirectory(t, from)
	restic.Run(t, "backup", from)
	repo := openRepo(t, dir)
	require.Equal(t, 1, repo.Version())
	require.NoError(t, repo.Migrate(t.Context(), func(config []byte) error {
		return os.WriteFile(filepath.Join(t.TempDir(), "config"), config, 0o600)
	}))
	restic.Check(t)
	require.Contains(t, string(restic.Run(t, "cat", "config")), `"version": 2`)
	restic.Run(t, "backup", "--force", from)

	names, err := filepath.Glob(filepath.Join(dir, "index", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		require.NoError(t, os.Remove(name))
	}
	p, err := repo.PlanRepairIndex(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, repo.RepairIndex(t.Context(), p))
	restic.Check(t)
	back := t.TempDir()
	restic.Run(t, "restore", "latest", "--target", back)
	require.Equal(t, describeDirectory(t, from), describeDirectory(t, filepath.Join(back, from)))
}
