package e2e_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/internal/e2e/esserver"
)

// TestRolledBackUpdates is the case in which equal counts lie. Updates that were never synced to disk hide two documents when
// the first backup looks; the crash rolls them back, and deletes of the two others then give the shard the same count,
// sum and ids of its history as before. Only the rule that nothing above the checkpoint is built upon tells them apart.
func TestRolledBackUpdates(t *testing.T) {
	t.Parallel()
	for _, v := range versions() {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			c := esserver.Start(t, v, &esserver.Options{HeapMB: 512})
			e := &es{url: c.URL(), version: v}
			const index = "rolled"
			e.do(t, "PUT", "/"+index, `{"settings":{"number_of_shards":1,"number_of_replicas":0,
				"translog.durability":"async","translog.sync_interval":"600s"}}`)
			for n := range 4 {
				e.do(t, "PUT", fmt.Sprintf("/%s/_doc/%d", index, n), fmt.Sprintf(`{"was":"first","n":%d}`, n))
			}
			e.do(t, "POST", "/"+index+"/_flush?force=true", "")
			for _, n := range []int{0, 3} {
				e.do(t, "PUT", fmt.Sprintf("/%s/_doc/%d", index, n), fmt.Sprintf(`{"was":"updated","n":%d}`, n))
			}
			repo := newRepo(t, filepath.Join(t.TempDir(), "repo"))
			o := &backup.Options{Indices: []string{index}, SealTimeout: 1}
			first, err := backup.Run(t.Context(), e.transport(t), repo, o)
			require.NoError(t, err)
			require.False(t, first.Manifest.Indices[0].Shards[0].Sealed, "the updates were final: the case does not arise")
			require.EqualValues(t, 4, first.Documents)

			c.Kill(0)
			c.Restart(t, 0)
			e.do(t, "POST", "/"+index+"/_refresh", "")
			require.Contains(t, string(e.do(t, "GET", "/"+index+"/_doc/0", "")), "first", "the update survived: the case does not arise")
			for _, n := range []int{1, 2} {
				e.do(t, "DELETE", fmt.Sprintf("/%s/_doc/%d", index, n), "")
			}
			want := contents{}
			e.read(t, want, false, index)
			require.Len(t, want, 2)

			second, err := backup.Run(t.Context(), e.transport(t), repo, o)
			require.NoError(t, err)
			require.EqualValues(t, 2, second.Documents)
			require.Zero(t, second.SegmentsReused)
			src := files(t, repo, second.Snapshot)
			require.True(t, verify(t, e, src, nil).Identical())
			e.remove(t, index)
			runRestore(t, e, src, nil)
			got := contents{}
			e.read(t, got, false, index)
			same(t, want, got)
		})
	}
}
