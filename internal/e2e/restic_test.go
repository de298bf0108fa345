package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/need"
	"github.com/escrow-backup/escrow/internal/e2e/resticcli"
	"github.com/escrow-backup/escrow/repository"
)

// smallData makes two indices with routing, aliases, nested documents, updates and deletes, and returns what is in them.
func smallData(t *testing.T, e *es, orders, odd string) contents {
	t.Helper()
	r := seeded(3)
	e.create(t, orders, strings.ReplaceAll(fidBodies[fidShop], "fid-", orders+"-"))
	e.create(t, odd, fidBodies[fidOdd])
	l := e.loader(t)
	for n := range 20_000 {
		routing, source := order(r, n)
		l.index(orders, fmt.Sprintf("o-%d", n), routing, source)
	}
	for i, id := range oddIDs() {
		l.index(odd, id, "", fmt.Appendf(nil, `{"k":"%d","v":%s}`, i, values[i%len(values)]))
	}
	l.flush()
	l.delete(odd, "null", "")
	l.flush()
	c := contents{}
	e.read(t, c, false, orders, odd)
	return c
}

// TestResticReadsOurs lets restic judge a repository of ours, and then loads what it gives with nothing but plain requests.
func TestResticReadsOurs(t *testing.T) {
	onEach(t, func(t *testing.T, e *es) {
		const orders, odd = "judge-orders", "judge-odd"
		want := smallData(t, e, orders, odd)
		dir := filepath.Join(t.TempDir(), "repo")
		repo := newRepo(t, dir)
		restic := resticcli.New(t, dir, password)

		first := runBackup(t, e, repo, orders, odd)
		restic.Check(t)
		list := restic.Snapshots(t)
		require.Len(t, list, 1)
		require.Equal(t, first.Snapshot.ID.String(), list[0].ID)
		require.Equal(t, "e2e", list[0].Hostname)

		// Every file, by restic and by us.
		src := files(t, repo, first.Snapshot)
		sizes := map[string]int64{}
		for _, n := range restic.Ls(t, "latest") {
			if n.Type == "file" {
				sizes[strings.TrimPrefix(n.Path, "/")] = n.Size
			}
		}
		seen := 0
		require.NoError(t, fs.WalkDir(src, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			seen++
			ours, err := fs.ReadFile(src, name)
			if err != nil {
				return err
			}
			require.Equal(t, sizes[name], int64(len(ours)), name)
			require.True(t, bytes.Equal(ours, restic.Dump(t, "latest", "/"+name)), name)
			return nil
		}))
		require.Len(t, sizes, seen)

		for _, index := range []string{orders, odd} {
			e.remove(t, index)
			byHand(t, e, restic, index)
		}
		got := contents{}
		e.read(t, got, false, orders, odd)
		same(t, want, got)
	})
}

// byHand restores an index as README tells a person to do it who has nothing of ours: with its very commands.
func byHand(t *testing.T, e *es, restic *resticcli.CLI, index string) {
	t.Helper()
	for _, name := range []string{"curl", "jq", "split"} {
		need.Program(t, name, "apt-get install curl jq coreutils")
	}
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, recipe, ok := strings.Cut(string(readme), "With nothing but restic, curl and jq:\n\n```\n")
	require.True(t, ok, "README has no recipe")
	recipe, _, ok = strings.Cut(recipe, "```")
	require.True(t, ok)
	require.Contains(t, recipe, "logs-1")
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", strings.ReplaceAll(recipe, "logs-1", index))
	cmd.Env = append(restic.Command(t).Env, "ES="+e.url)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	left, err := os.ReadDir(cmd.Dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestResticAmongOurs: restic makes the repository and adds snapshots of its own between ours.
func TestResticAmongOurs(t *testing.T) {
	onEach(t, func(t *testing.T, e *es) {
		const orders, odd = "among-orders", "among-odd"
		smallData(t, e, orders, odd)
		dir := filepath.Join(t.TempDir(), "repo")
		restic := resticcli.New(t, dir, password)
		restic.Init(t)

		// What restic writes: large files that its chunker cuts, many small ones, odd names.
		data := t.TempDir()
		r := seeded(4)
		big := make([]byte, 6<<20)
		for i := range big {
			big[i] = byte(r.Uint32())
		}
		require.NoError(t, os.WriteFile(filepath.Join(data, "big.bin"), big, 0o600))
		for i := range 200 {
			require.NoError(t, os.WriteFile(filepath.Join(data, fmt.Sprintf("file \"%d\" ü", i)), fmt.Appendf(nil, "%d", i), 0o600))
		}
		require.NoError(t, os.Mkdir(filepath.Join(data, "empty"), 0o700))
		backup := func() string {
			restic.Run(t, "backup", "--host", "restic", data)
			list := restic.Snapshots(t)
			return list[len(list)-1].ID
		}
		checkBoth := func() {
			restic.Check(t)
			repo := openRepo(t, dir)
			for p, err := range repo.Check(t.Context(), &repository.CheckOptions{ReadData: true}) {
				require.NoError(t, err)
				t.Errorf("%v", p)
			}
		}

		theirs := backup()
		repo := openRepo(t, dir)
		sn, err := repo.Snapshot(t.Context(), theirs)
		require.NoError(t, err)
		require.Equal(t, []string{data}, sn.Paths)
		got, err := fs.ReadFile(files(t, repo, sn), strings.TrimPrefix(data, "/")+"/big.bin")
		require.NoError(t, err)
		require.True(t, bytes.Equal(big, got))
		small, err := fs.ReadFile(files(t, repo, sn), strings.TrimPrefix(data, "/")+`/file "17" ü`)
		require.NoError(t, err)
		require.Equal(t, "17", string(small))

		first := runBackup(t, e, repo, orders, odd)
		checkBoth()
		require.NoError(t, os.WriteFile(filepath.Join(data, "file new"), []byte("new"), 0o600))
		theirs2 := backup()
		// A handle opened afterwards builds on our snapshot, not on restic's newer one.
		repo = openRepo(t, dir)
		second := runBackup(t, e, repo, orders, odd)
		require.Equal(t, first.Snapshot.ID, second.Parent.ID)
		require.Zero(t, second.DocumentsRead)
		checkBoth()

		var ids []string
		for s, err := range repo.Snapshots(t.Context(), repository.Filter{}) {
			require.NoError(t, err)
			ids = append(ids, s.ID.String())
		}
		require.Equal(t, []string{theirs, first.Snapshot.ID.String(), theirs2, second.Snapshot.ID.String()}, ids)
		var judged []string
		for _, s := range restic.Snapshots(t) {
			judged = append(judged, s.ID)
		}
		require.Equal(t, ids, judged)
		require.True(t, verify(t, e, files(t, repo, second.Snapshot), nil).Identical())

		// Both find again what is there: nothing of a document or a file is stored twice.
		var sum struct {
			DataBlobs int `json:"data_blobs"`
		}
		out := restic.Run(t, "backup", "--json", "--force", "--host", "restic", data)
		lines := slices.Collect(bytes.Lines(out))
		require.NoError(t, json.Unmarshal(lines[len(lines)-1], &sum))
		require.Zero(t, sum.DataBlobs)

		// Restic removes what we no longer want, and what stays is whole.
		restic.Run(t, "forget", "--prune", ids[1], theirs)
		checkBoth()
		repo = openRepo(t, dir)
		require.True(t, verify(t, e, files(t, repo, second.Snapshot), nil).Identical())
	})
}
