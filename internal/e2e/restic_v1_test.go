package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/resticcli"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend/local"
)

// TestVersionOneBothWays: a repository of version 1, made by either program, is read, written, checked and pruned by both; then
// we migrate it, and both go on with version 2.
func TestVersionOneBothWays(t *testing.T) {
	t.Parallel()
	for _, maker := range []string{"ours", "restic"} {
		t.Run("made by "+maker, func(t *testing.T) {
			dir, data := filepath.Join(t.TempDir(), "repo"), t.TempDir()
			restic := resticcli.New(t, dir, password)
			if maker == "restic" {
				restic.Run(t, "init", "--repository-version", "1")
			} else {
				b, err := local.New(dir)
				require.NoError(t, err)
				made, err := repository.Init(t.Context(), b, password, &repository.Options{Version: 1, ScryptN: 1 << 10})
				require.NoError(t, err)
				require.NoError(t, made.Close())
				require.NoError(t, b.Close())
			}
			version := func() (v struct{ Version int }) {
				t.Helper()
				require.NoError(t, json.Unmarshal(restic.Run(t, "cat", "config"), &v))
				return v
			}
			require.Equal(t, 1, version().Version)
			repo := openRepo(t, dir)
			require.Equal(t, 1, repo.Version())

			// The same files from both: the second finds all data there.
			fillDirectory(t, data)
			scatter(t, data, 1, 2, 3, 4, 5, 6)
			ours := addDirectory(t, repo, data, nil)
			restic.Check(t)
			cmd := restic.Command(t, "backup", "--host", "restic", "--json", ".")
			cmd.Dir = data
			out, err := cmd.Output()
			require.NoError(t, err)
			require.Contains(t, string(out), `"data_blobs":0`)
			list := restic.Snapshots(t)
			require.Len(t, list, 2)
			theirs, err := repo.Snapshot(t.Context(), list[1].ID)
			require.NoError(t, err)
			require.Equal(t, ours.Tree, theirs.Tree, "all that either stores of every file, owners' names included")
			requireClean(t, repo)
			read := func(id string) {
				t.Helper()
				sn, err := repo.Snapshot(t.Context(), id)
				require.NoError(t, err)
				back, theirs := t.TempDir(), t.TempDir()
				_, err = repo.RestoreDir(t.Context(), sn, back, &repository.RestoreOptions{Verify: true})
				require.NoError(t, err)
				require.Equal(t, describeDirectory(t, data), describeDirectory(t, back))
				restic.Run(t, "restore", id, "--target", theirs)
				require.Equal(t, describeDirectory(t, data), describeDirectory(t, theirs))
			}
			read(list[0].ID)
			read(list[1].ID)
			want, err := os.ReadFile(filepath.Join(data, "d1", "f1"))
			require.NoError(t, err)
			require.Equal(t, want, restic.Dump(t, ours.ID.String(), "/d1/f1"))

			// Each removes a part of what the other wrote.
			require.NoError(t, os.RemoveAll(filepath.Join(data, "d1")))
			scatter(t, data, 7, 8)
			second := addDirectory(t, repo, data, nil)
			restic.Run(t, "forget", ours.ID.String(), list[1].ID, "--prune", "--max-unused", "0")
			restic.Check(t)
			requireClean(t, repo)
			read(second.ID.String())
			scatter(t, data, 9, 10)
			cmd = restic.Command(t, "backup", "--host", "restic", ".")
			cmd.Dir = data
			out, err = cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			list = restic.Snapshots(t)
			plan, err := repo.PlanForgetIDs(t.Context(), second.ID)
			require.NoError(t, err)
			require.NoError(t, repo.Forget(t.Context(), plan))
			work, err := repo.PlanPrune(t.Context(), &repository.PruneOptions{MaxUnused: repository.UnusedBytes(0)})
			require.NoError(t, err)
			require.NoError(t, repo.Prune(t.Context(), work))
			restic.Check(t)
			requireClean(t, repo)
			read(list[1].ID)

			require.NoError(t, repo.Migrate(t.Context(), func([]byte) error { return nil }))
			require.Equal(t, 2, version().Version)
			restic.Check(t)
			require.NoError(t, os.WriteFile(filepath.Join(data, "compressible"), make([]byte, 3<<20), 0o600))
			third := addDirectory(t, repo, data, nil)
			require.Less(t, third.Summary.DataAddedPacked, int64(100<<10))
			work, err = repo.PlanPrune(t.Context(), &repository.PruneOptions{RepackUncompressed: true})
			require.NoError(t, err)
			require.NoError(t, repo.Prune(t.Context(), work))
			restic.Check(t)
			requireClean(t, repo)
			read(third.ID.String())
		})
	}
}
