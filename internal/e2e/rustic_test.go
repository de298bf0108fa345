package e2e_test

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/resticcli"
	"github.com/escrow-backup/escrow/internal/e2e/rusticcli"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend/local"
)

// trio is one repository that three programs use in turn. After each step all three find it whole.
type trio struct {
	dir    string
	repo   *repository.Repo
	restic *resticcli.CLI
	rustic *rusticcli.CLI
	want   map[string][]string // of each snapshot: its directory, described
}

// newTrio makes a repository. rustic itself makes none of version 1.
func newTrio(t *testing.T, maker string, version int) *trio {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo")
	x := &trio{dir: dir, rustic: rusticcli.New(t, dir, password), restic: resticcli.New(t, dir, password), want: map[string][]string{}}
	switch maker {
	case "restic":
		x.restic.Run(t, "init", "--repository-version", map[int]string{1: "1", 2: "2"}[version])
	case "rustic":
		require.Equal(t, 2, version)
		x.rustic.Init(t)
	default:
		b, err := local.New(dir)
		require.NoError(t, err)
		made, err := repository.Init(t.Context(), b, password, &repository.Options{Version: version, ScryptN: 1 << 10})
		require.NoError(t, err)
		require.NoError(t, made.Close())
		require.NoError(t, b.Close())
	}
	x.repo = openRepo(t, dir)
	require.Equal(t, version, x.repo.Version())
	return x
}

// resticSummary is what restic says of a backup.
type resticSummary struct {
	ID        string `json:"snapshot_id"`
	DataBlobs int64  `json:"data_blobs"`
}

// backup lets a program back up the directory, and returns the snapshot's id and how many data blobs were not there before.
func (x *trio) backup(t *testing.T, program, data string) (id string, blobs int64) {
	t.Helper()
	switch program {
	case "restic":
		cmd := x.restic.Command(t, "backup", "--host", "restic", "--force", "--json", ".")
		cmd.Dir = data
		out, err := cmd.Output()
		require.NoError(t, err)
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		var s resticSummary
		require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &s))
		for _, sn := range x.restic.Snapshots(t) {
			if strings.HasPrefix(sn.ID, s.ID) {
				id = sn.ID
			}
		}
		blobs = s.DataBlobs
	case "rustic":
		s := x.rustic.Backup(t, data)
		id, blobs = s.ID, s.Summary.DataBlobs
	default:
		s := addDirectory(t, x.repo, data, nil)
		id, blobs = s.ID.String(), s.Summary.DataBlobs
	}
	require.NotEmpty(t, id)
	x.want[id] = describeDirectory(t, data)
	return id, blobs
}

// check lets all three list, read and verify everything.
func (x *trio) check(t *testing.T) {
	t.Helper()
	requireClean(t, x.repo)
	x.restic.Check(t)
	x.rustic.Check(t)
	ids := slices.Sorted(maps.Keys(x.want))
	var ours, restics []string
	for s, err := range x.repo.Snapshots(t.Context(), repository.Filter{}) {
		require.NoError(t, err)
		ours = append(ours, s.ID.String())
	}
	for _, s := range x.restic.Snapshots(t) {
		restics = append(restics, s.ID)
	}
	slices.Sort(ours)
	slices.Sort(restics)
	require.Equal(t, ids, ours)
	require.Equal(t, ids, restics)
	require.Equal(t, ids, slices.Sorted(maps.Keys(x.rustic.Snapshots(t))))
}

// restore lets all three restore a snapshot, list it and dump a file of it.
func (x *trio) restore(t *testing.T, id, file string) {
	t.Helper()
	want := x.want[id]
	s, err := x.repo.Snapshot(t.Context(), id)
	require.NoError(t, err)
	ours, restics, rustics := t.TempDir(), t.TempDir(), t.TempDir()
	_, err = x.repo.RestoreDir(t.Context(), s, ours, &repository.RestoreOptions{Verify: true})
	require.NoError(t, err)
	require.Equal(t, want, describeDirectory(t, ours))
	x.restic.Run(t, "restore", id, "--target", restics)
	require.Equal(t, want, describeDirectory(t, restics))
	x.rustic.Restore(t, id, rustics)
	require.Equal(t, want, describeDirectory(t, rustics))

	f := files(t, x.repo, s)
	text, err := fs.ReadFile(f, file)
	require.NoError(t, err)
	require.NotEmpty(t, text)
	require.Equal(t, text, x.restic.Dump(t, id, "/"+file))
	require.Equal(t, text, x.rustic.Dump(t, id, file))
	require.Len(t, x.restic.Ls(t, id), len(want))
	var names []string
	for _, line := range want {
		quoted, err := strconv.QuotedPrefix(line)
		require.NoError(t, err)
		name, err := strconv.Unquote(quoted)
		require.NoError(t, err)
		names = append(names, strings.ToValidUTF8(name, "\ufffd"))
	}
	listed := strings.TrimSuffix(x.rustic.Ls(t, id), "\n")
	require.ElementsMatch(t, strings.Split(strings.Join(names, "\n"), "\n"), strings.Split(listed, "\n"))
}

// remove lets a program forget a snapshot and prune all that is not used any more.
func (x *trio) remove(t *testing.T, program, id string) {
	t.Helper()
	switch program {
	case "restic":
		x.restic.Run(t, "forget", id, "--prune", "--max-unused", "0")
	case "rustic":
		x.rustic.Run(t, "forget", id)
		x.rustic.Run(t, "prune", "--max-unused", "0b", "--max-repack", "unlimited", "--instant-delete")
	default:
		parsed, err := repository.ParseID(id)
		require.NoError(t, err)
		plan, err := x.repo.PlanForgetIDs(t.Context(), parsed)
		require.NoError(t, err)
		require.NoError(t, x.repo.Forget(t.Context(), plan))
		x.prune(t)
	}
	delete(x.want, id)
}

func (x *trio) prune(t *testing.T) {
	t.Helper()
	work, err := x.repo.PlanPrune(t.Context(), &repository.PruneOptions{MaxUnused: repository.UnusedBytes(0)})
	require.NoError(t, err)
	require.NoError(t, x.repo.Prune(t.Context(), work))
}

// requireUsed shows that nothing is stored that no snapshot needs.
func (x *trio) requireUsed(t *testing.T) {
	t.Helper()
	work, err := x.repo.PlanPrune(t.Context(), &repository.PruneOptions{MaxUnused: repository.UnusedBytes(0)})
	require.NoError(t, err)
	require.Zero(t, work.Unused.Count+work.Duplicate.Count+work.Unknown.Count+work.Remove.Count+int64(len(work.Gone)), "%v", work)
}

// TestRusticResticAndOurs: one repository, of either version, made by each of the three, goes from hand to hand. Each program
// finds the data of the others there, restores it, and forgets and prunes what they wrote.
func TestRusticResticAndOurs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		maker   string
		version int
	}{{"restic", 1}, {"ours", 1}, {"restic", 2}, {"rustic", 2}, {"ours", 2}} {
		t.Run(map[int]string{1: "version 1 by ", 2: "version 2 by "}[c.version]+c.maker, func(t *testing.T) {
			x, data := newTrio(t, c.maker, c.version), t.TempDir()
			fillDirectory(t, data)
			scatter(t, data, 1, 2, 3)
			order := []string{"restic", "ours", "rustic", "ours", "restic"}
			var ids []string
			for i, program := range order {
				id, blobs := x.backup(t, program, data)
				ids = append(ids, id)
				require.Equal(t, i == 0, blobs > 0, "%s stored %d blobs", program, blobs)
			}
			x.check(t)
			for _, id := range ids[1:4] { // one of each
				x.restore(t, id, "d1/f1")
			}

			// Now every step adds and removes data.
			for i, program := range order {
				require.NoError(t, os.RemoveAll(filepath.Join(data, "d"+string(rune('0'+i%3)))))
				scatter(t, data, uint64(10+3*i), uint64(11+3*i), uint64(12+3*i))
				id, blobs := x.backup(t, program, data)
				require.Positive(t, blobs)
				ids = append(ids, id)
				x.remove(t, order[(i+1)%len(order)], ids[0])
				ids = ids[1:]
				x.check(t)
			}
			x.restore(t, ids[0], "big.bin")
			for i, program := range []string{"rustic", "ours", "restic", "ours"} {
				x.remove(t, program, ids[i])
				x.requireUsed(t)
			}
			x.check(t)
			x.restore(t, ids[4], "big.bin")
		})
	}
}

// TestRusticMarkedPacks: rustic's prune copies what is used, and marks the old packs in the index, to remove them in a later run.
func TestRusticMarkedPacks(t *testing.T) {
	t.Parallel()
	prepare := func(t *testing.T) (x *trio, data, forgotten, stays string, saved []byte) {
		x, data = newTrio(t, "rustic", 2), t.TempDir()
		scatter(t, data, 1, 2, 3, 4, 5, 6)
		forgotten, _ = x.backup(t, "rustic", data)
		require.NoError(t, os.RemoveAll(filepath.Join(data, "d1")))
		scatter(t, data, 8)
		stays, _ = x.backup(t, "ours", data)
		path := filepath.Join(x.dir, "snapshots", forgotten)
		saved, err := os.ReadFile(path)
		require.NoError(t, err)
		x.rustic.Run(t, "forget", forgotten)
		x.rustic.Run(t, "prune", "--max-unused", "0b", "--max-repack", "unlimited")
		return x, data, forgotten, stays, saved
	}
	packs := func(t *testing.T, x *trio) int {
		all, err := filepath.Glob(filepath.Join(x.dir, "data", "*", "*"))
		require.NoError(t, err)
		return len(all)
	}

	t.Run("removed by ours", func(t *testing.T) {
		x, data, forgotten, stays, _ := prepare(t)
		delete(x.want, forgotten)
		leftovers := 0
		for p, err := range x.repo.Check(t.Context(), &repository.CheckOptions{ReadData: true, Leftovers: true}) {
			require.NoError(t, err)
			require.Equal(t, repository.PackUnindexed, p.Kind)
			leftovers++
		}
		require.Positive(t, leftovers)
		requireClean(t, x.repo)
		x.rustic.Check(t)
		// What is in marked packs alone is stored anew; the rest is found.
		scatter(t, data, 1)
		_, blobs := x.backup(t, "ours", data)
		require.Equal(t, int64(1), blobs)
		x.check(t)
		before := packs(t, x)
		x.prune(t)
		require.Less(t, packs(t, x), before)
		x.check(t)
		x.restore(t, stays, "d2/f8")
		x.rustic.Run(t, "prune", "--max-unused", "0b", "--max-repack", "unlimited", "--keep-delete", "0s")
		x.check(t)
	})

	t.Run("removed by rustic", func(t *testing.T) {
		x, _, forgotten, stays, _ := prepare(t)
		delete(x.want, forgotten)
		before := packs(t, x)
		x.rustic.Run(t, "prune", "--max-unused", "0b", "--max-repack", "unlimited", "--keep-delete", "0s")
		require.Less(t, packs(t, x), before)
		x.check(t)
		x.restore(t, stays, "d2/f8")
	})

	// A snapshot that a backup without locks finishes after the marking.
	t.Run("needed after all", func(t *testing.T) {
		x, _, forgotten, stays, saved := prepare(t)
		require.NoError(t, os.WriteFile(filepath.Join(x.dir, "snapshots", forgotten), saved, 0o600))
		before := packs(t, x)
		_, err := x.repo.PlanPrune(t.Context(), nil)
		require.ErrorIs(t, err, repository.ErrDamaged)
		require.Equal(t, before, packs(t, x))
		plan, err := x.repo.PlanRepairIndex(t.Context(), nil)
		require.NoError(t, err)
		require.NotEmpty(t, plan.Reread)
		require.NoError(t, x.repo.RepairIndex(t.Context(), plan))
		x.check(t)
		x.restore(t, forgotten, "d1/f1")
		x.prune(t)
		x.requireUsed(t)
		x.check(t)
		x.restore(t, stays, "d2/f8")
	})
}

// TestRusticConfig: what rustic can say in its config, and we cannot do, is refused by name; what does not concern us is not.
func TestRusticConfig(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T, dir string) error {
		t.Helper()
		b, err := local.New(dir)
		require.NoError(t, err)
		defer b.Close()
		repo, err := repository.Open(t.Context(), b, password, nil)
		if err == nil {
			require.NoError(t, repo.Close())
		}
		return err
	}
	for _, c := range []struct{ option, value, complaint string }{
		{"--set-chunker", "fixed_size", "chunker"},
		{"--set-chunk-size", "2MiB", "chunk sizes"},
		{"--set-chunk-min-size", "256kiB", "chunk sizes"},
		{"--set-chunk-max-size", "4MiB", "chunk sizes"},
		{"--set-chunker", "rabin", ""},
		{"--set-datapack-size", "8MiB", ""},
		{"--set-compression", "7", ""},
	} {
		rustic := rusticcli.New(t, filepath.Join(t.TempDir(), "repo"), password)
		rustic.Run(t, "init", c.option, c.value)
		err := open(t, rustic.Repo)
		if c.complaint == "" {
			require.NoError(t, err, c)
		} else {
			require.ErrorContains(t, err, c.complaint, c)
		}
	}
}
