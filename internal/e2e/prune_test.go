package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/resticcli"
	"github.com/escrow-backup/escrow/repository"
)

// scatter writes files whose bytes depend on the seeds, several to each, so that packs are partly used later.
func scatter(t *testing.T, dir string, seeds ...uint64) {
	t.Helper()
	for _, seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 0))
		p := make([]byte, 300<<10)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		name := filepath.Join(dir, fmt.Sprintf("d%d", seed%3), fmt.Sprintf("f%d", seed))
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
		require.NoError(t, os.WriteFile(name, p, 0o600))
	}
}

// requireTree compares a folder with what a snapshot of it holds.
func requireTree(t *testing.T, src fs.FS, dir string) {
	t.Helper()
	n := 0
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		want, err := os.ReadFile(name)
		require.NoError(t, err)
		got, err := fs.ReadFile(src, strings.TrimPrefix(name, "/"))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), name)
		n++
		return nil
	}))
	require.Positive(t, n)
}

func requireClean(t *testing.T, repo *repository.Repo) {
	t.Helper()
	for p, err := range repo.Check(t.Context(), &repository.CheckOptions{ReadData: true}) {
		require.NoError(t, err)
		t.Errorf("%v", p)
	}
}

// TestPruneBothWays removes from repositories of both formats what the other program wrote, with ours and with restic's.
func TestPruneBothWays(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1", "2"} {
		t.Run("format "+version, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "repo")
			restic := resticcli.New(t, dir, password)
			restic.Run(t, "init", "--repository-version", version)
			data := t.TempDir()
			backup := func() string {
				restic.Run(t, "backup", "--host", "restic", data)
				list := restic.Snapshots(t)
				return list[len(list)-1].ID
			}
			scatter(t, data, 1, 2, 3, 4, 5, 6, 7, 8)
			first := backup()
			require.NoError(t, os.RemoveAll(filepath.Join(data, "d1")))
			scatter(t, data, 10, 20)
			second := backup()
			repo := openRepo(t, dir)
			_, err := repo.Write(t.Context(), repository.Header{Hostname: "ours"}, func(_ context.Context, w *repository.Writer) error {
				f, err := w.Create("f")
				if err != nil {
					return err
				}
				if _, err := f.Write(bytes.Repeat([]byte("ours"), 1<<20)); err != nil {
					return err
				}
				return f.Close()
			})
			require.NoError(t, err)

			// We remove theirs.
			id, err := repository.ParseID(first)
			require.NoError(t, err)
			plan, err := repo.PlanForgetIDs(t.Context(), id)
			require.NoError(t, err)
			require.NoError(t, repo.Forget(t.Context(), plan))
			tagged, err := repo.Tag(t.Context(), repository.TagChange{Add: []string{"kept"}}, nil)
			require.NoError(t, err)
			require.Len(t, tagged, 2)
			work, err := repo.PlanPrune(t.Context(), &repository.PruneOptions{MaxUnused: repository.UnusedBytes(0)})
			require.NoError(t, err)
			require.Positive(t, work.Repack.Count, "%v", work)
			require.NoError(t, repo.Prune(t.Context(), work))
			restic.Check(t)
			requireClean(t, repo)
			require.Regexp(t, `total prune: +0 blobs`, string(restic.Run(t, "prune", "--max-unused", "0", "--dry-run")))
			list := restic.Snapshots(t)
			require.Len(t, list, 2)
			require.Equal(t, []string{"kept"}, list[0].Tags)
			sn, err := repo.Snapshot(t.Context(), list[0].ID)
			require.NoError(t, err)
			require.Equal(t, second, sn.Original.String())
			requireTree(t, files(t, repo, sn), data)
			target := t.TempDir()
			restic.Run(t, "restore", list[0].ID, "--target", target)
			requireTree(t, os.DirFS(target), data)
			require.Equal(t, 4<<20, len(restic.Dump(t, list[1].ID, "/f")))

			// They remove ours, and what we have moved.
			scatter(t, data, 30)
			backup()
			require.NoError(t, os.RemoveAll(filepath.Join(data, "d2")))
			last := backup()
			restic.Run(t, "forget", "--keep-last", "1", "--host", "restic", "--group-by", "", "--prune", "--max-unused", "0")
			restic.Check(t)
			repo = openRepo(t, dir)
			requireClean(t, repo)
			sn, err = repo.Snapshot(t.Context(), last)
			require.NoError(t, err)
			requireTree(t, files(t, repo, sn), data)
			got, err := fs.ReadFile(files(t, repo, mustSnapshot(t, repo, tagged[1].New.ID)), "f")
			require.NoError(t, err)
			require.Equal(t, 4<<20, len(got))
			work, err = repo.PlanPrune(t.Context(), &repository.PruneOptions{MaxUnused: repository.UnusedBytes(0)})
			require.NoError(t, err)
			require.True(t, work.Empty(), "%v", work)
		})
	}
}

func mustSnapshot(t *testing.T, repo *repository.Repo, id repository.ID) *repository.Snapshot {
	t.Helper()
	s, err := repo.Snapshot(t.Context(), id.String())
	require.NoError(t, err)
	return s
}
