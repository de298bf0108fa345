package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/local"
)

// days makes a snapshot a day, each with a file of its own, and gives their ids, the oldest first.
func (s *shell) days(n int) (ids []string) {
	s.t.Helper()
	s.init()
	store, err := local.New(s.repo())
	require.NoError(s.t, err)
	repo, err := repository.Open(s.t.Context(), store, repoPassword, &repository.Options{LockSettle: time.Millisecond})
	require.NoError(s.t, err)
	for i := range n {
		h := repository.Header{Time: time.Date(2026, 1, 1+i, 12, 0, 0, 0, time.UTC), Hostname: "db-1", Tags: []string{"nightly"}}
		sn, err := repo.Write(s.t.Context(), h, func(_ context.Context, w *repository.Writer) error {
			f, err := w.Create("file")
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(f, "day %d", i); err != nil {
				return err
			}
			return f.Close()
		})
		require.NoError(s.t, err)
		ids = append(ids, sn.ID.String())
	}
	require.NoError(s.t, repo.Close())
	require.NoError(s.t, store.Close())
	return ids
}

// listed gives the ids that snapshots lists.
func (s *shell) listed() (ids []string) {
	s.t.Helper()
	for _, o := range s.objects(exitDone, "snapshots") {
		ids = append(ids, o["snapshot_id"].(string))
	}
	return ids
}

func TestForgetAndPrune(t *testing.T) {
	s := newShell(t)
	ids := s.days(6)
	for _, c := range []struct {
		text string
		args []string
	}{
		{"forget what?", []string{"forget"}},
		{"not both", []string{"forget", "--keep-last", "1", ids[0]}},
		{"colour", []string{"forget", "--keep-last", "1", "--group-by", "colour"}},
		{"--keep-last", []string{"forget", "--keep-last", "some"}},
		{"--keep-last", []string{"forget", "--keep-last", "-1"}},
		{"want years", []string{"forget", "--keep-within", "soon"}},
		{"want a percentage", []string{"prune", "--max-unused", "200%"}},
		{"want a number of bytes", []string{"prune", "--max-repack-size", "much"}},
	} {
		s.fails(exitUsage, []string{c.text}, c.args...)
	}
	s.fails(exitFailed, []string{"--unsafe-allow-remove-all"}, "forget", "--keep-tag", "nobody")
	s.fails(exitFailed, []string{"find snapshot"}, "forget", "ffff")

	would := s.objects(exitDone, "forget", "--keep-daily", "2", "--dry-run")
	require.Len(t, would, 7)
	require.ElementsMatch(t, []string{"message_type", "action", "snapshot_id", "short_id", "time", "hostname", "tags", "paths", "reasons",
		"group"}, keys(would[0]))
	require.Equal(t, "keep", would[0]["action"])
	require.Equal(t, ids[5], would[0]["snapshot_id"])
	require.Equal(t, []any{"daily snapshot"}, would[0]["reasons"])
	require.Equal(t, "remove", would[2]["action"])
	require.Equal(t, []any{}, would[2]["reasons"])
	sum := would[6]
	require.ElementsMatch(t, []string{"message_type", "dry_run", "kept", "removed", "duration_seconds"}, keys(sum))
	require.Equal(t, true, sum["dry_run"])
	require.EqualValues(t, 4, sum["removed"])
	require.Equal(t, ids, s.listed())

	text := s.ok("forget", "--keep-daily", "2", "--keep-tag", "other", "-n")
	require.Contains(t, text, `group host "db-1" paths ["/"]: keep 2, remove 4`)
	require.Contains(t, text, "would remove 4 snapshots\n")
	require.Contains(t, s.ok("forget", "--keep-last", "unlimited"), "removed 0 snapshots\n")
	text = s.ok("forget", "--keep-daily", "2")
	require.Contains(t, text, "removed 4 snapshots\n")
	require.Equal(t, ids[4:], s.listed())
	require.Contains(t, s.ok("forget", ids[4]), "removed 1 snapshot\n")
	require.Empty(t, s.ok("forget", "--quiet", "--keep-last", "1"))

	files := func() int {
		n := 0
		require.NoError(t, filepath.WalkDir(filepath.Join(s.repo(), "data"), func(_ string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				n++
			}
			return err
		}))
		return n
	}
	before := files()
	o := s.objects(exitDone, "prune", "--dry-run", "--max-unused", "0")
	require.Len(t, o, 1)
	require.ElementsMatch(t, []string{"message_type", "dry_run", "snapshots", "used_blobs", "used_bytes", "duplicate_blobs", "duplicate_bytes",
		"unused_blobs", "unused_bytes", "packs_kept", "packs_repacked", "repacked_bytes", "packs_removed", "packs_unindexed", "packs_missing",
		"indexes_rewritten", "freed_bytes", "unused_bytes_after", "duration_seconds"}, keys(o[0]))
	require.EqualValues(t, 10, o[0]["packs_removed"])
	require.Equal(t, before, files())
	text = s.ok("prune", "--max-unused", "10%", "--max-repack-size", "1G")
	require.Contains(t, text, "remove ")
	require.Contains(t, text, "freed ")
	require.Equal(t, 2, files())
	require.Contains(t, s.ok("prune", "--repack-small", "--repack-uncompressed=false"), "nothing to do\n")
	require.Contains(t, s.ok("check", "--read-data"), "no problems found")
	require.Equal(t, "day 5", s.ok("dump", "latest", "file"))
}

func TestForgetThenPrune(t *testing.T) {
	s := newShell(t)
	s.days(3)
	require.Contains(t, s.ok("forget", "--keep-last", "1", "--prune", "--dry-run"), "known only after")
	o := s.objects(exitDone, "forget", "--keep-last", "1", "--prune", "--max-unused", "0")
	require.Len(t, o, 5)
	require.EqualValues(t, 4, o[4]["packs_removed"])
	s.ok("check", "--read-data")
}

func TestTagCommand(t *testing.T) {
	s := newShell(t)
	ids := s.days(2)
	s.fails(exitUsage, []string{"nothing to change"}, "tag")
	s.fails(exitUsage, []string{"--set excludes"}, "tag", "--set", "a", "--add", "b")
	would := s.objects(exitDone, "tag", "--add", "a, b", "--dry-run")
	require.Len(t, would, 3)
	require.ElementsMatch(t, []string{"message_type", "old_snapshot_id", "new_snapshot_id", "old_tags", "new_tags"}, keys(would[0]))
	require.Equal(t, "", would[0]["new_snapshot_id"])
	require.Equal(t, ids, s.listed())
	done := s.objects(exitDone, "tag", "--add", "a,b", "--remove", "nightly", ids[0][:12])
	require.Len(t, done, 2)
	require.Equal(t, []any{"a", "b"}, done[0]["new_tags"])
	require.ElementsMatch(t, []string{"message_type", "dry_run", "changed"}, keys(done[1]))
	require.Equal(t, []string{done[0]["new_snapshot_id"].(string), ids[1]}, s.listed())
	require.Contains(t, s.ok("tag", "--set", "", "--tag", "nightly"), "changed 1 snapshot\n")
	all := s.objects(exitDone, "snapshots")
	require.Equal(t, []any{"a", "b"}, all[0]["tags"])
	require.Equal(t, []any{}, all[1]["tags"])
	require.Contains(t, s.ok("tag", "--add", "a", "--tag", "a,b"), "changed 0 snapshots\n")
}

func TestUnlockCommand(t *testing.T) {
	s := newShell(t)
	s.init()
	require.Contains(t, s.ok("unlock"), "removed 0 locks\n")
	store, err := local.New(s.repo())
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	text := []byte("nobody can read this")
	h := backend.Handle{Type: backend.Lock, Name: repository.Hash(text).String()}
	require.NoError(t, store.Save(t.Context(), h, bytes.NewReader(text), int64(len(text))))
	require.Len(t, s.objects(exitDone, "unlock"), 1, "it may be a lock all the same")
	would := s.objects(exitDone, "unlock", "--remove-all", "-n")
	require.Len(t, would, 2)
	require.ElementsMatch(t, []string{"message_type", "id", "time", "exclusive", "hostname", "username", "pid", "reason"}, keys(would[0]))
	require.Equal(t, h.Name, would[0]["id"])
	require.Equal(t, map[string]any{"message_type": "summary", "dry_run": true, "removed": 1.0}, would[1])
	out := s.ok("unlock", "--remove-all")
	require.True(t, strings.HasSuffix(out, "removed 1 lock\n"), out)
	_, err = store.Stat(t.Context(), h)
	require.True(t, backend.IsNotExist(err))
	require.Equal(t, "removed 0 locks\n", s.ok("unlock", "--remove-all"))
}
