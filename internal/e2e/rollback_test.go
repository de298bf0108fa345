package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/internal/e2e/esproxy"
	"github.com/escrow-backup/escrow/internal/e2e/esserver"
)

// TestRolledBackUpdates is the case in which equal counts lie. Updates that were never synced to disk hide two documents when
// the first backup looks; the crash rolls them back, and deletes of the two others then give the shard the same count,
// sum and ids of its history as before. Only the rule that nothing above the checkpoint is built upon tells them apart.
func TestRolledBackUpdates(t *testing.T) {
	for _, v := range versions() {
		t.Run(string(v), func(t *testing.T) {
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

// TestNodeLost kills a node of three while a backup reads from it. The replicas take over, and the backup either holds
// everything or does not exist.
func TestNodeLost(t *testing.T) {
	v := versions()[len(versions())-1]
	c := esserver.Start(t, v, &esserver.Options{Nodes: 3, HeapMB: 512})
	e := &es{url: c.Nodes[0].URL, version: v}
	const index = "lost"
	logs(t, e, index, 3, 30_000)
	e.do(t, "PUT", "/"+index+"/_settings", `{"index.number_of_replicas":1}`)
	e.do(t, "GET", "/_cluster/health/"+index+"?wait_for_status=green&timeout=120s", "")

	// A node that holds a primary and is not the one that is asked.
	var shards []struct{ Prirep, Node string }
	require.NoError(t, json.Unmarshal(e.do(t, "GET", "/_cat/shards/"+index+"?format=json", ""), &shards))
	gone := -1
	for _, s := range shards {
		for i, n := range c.Nodes {
			if i > 0 && s.Prirep == "p" && s.Node == n.Name {
				gone = i
			}
		}
	}
	require.Positive(t, gone)

	proxy := esproxy.Start(t, e.url, nil)
	kill := &esproxy.Rule{Match: esproxy.PathEnds("/_search"), Skip: 8, Times: 1, Before: func(*http.Request) { c.Kill(gone) }}
	proxy.Add(kill)
	repo := newRepo(t, filepath.Join(t.TempDir(), "repo"))
	o := &backup.Options{Indices: []string{index}}
	through := &es{url: proxy.URL, version: v}
	res, err := backup.Run(t.Context(), through.transport(t), repo, o)
	require.Equal(t, 1, proxy.Applied(kill))
	if err != nil {
		t.Logf("the backup failed: %v", err)
		require.NoError(t, c.Await(t.Context(), 2))
		res, err = backup.Run(t.Context(), through.transport(t), repo, o)
		require.NoError(t, err)
	}
	require.EqualValues(t, 30_000, res.Documents)
	require.True(t, verify(t, e, files(t, repo, res.Snapshot), nil).Identical())

	c.Restart(t, gone)
	again, err := backup.Run(t.Context(), e.transport(t), repo, o)
	require.NoError(t, err)
	require.EqualValues(t, 30_000, again.Documents)
	require.True(t, verify(t, e, files(t, repo, again.Snapshot), nil).Identical())

	// And back, with its replicas.
	want := contents{}
	e.read(t, want, false, index)
	meta := metadata(t, e, index)
	e.remove(t, index)
	runRestore(t, e, files(t, repo, again.Snapshot), nil)
	e.do(t, "GET", "/_cluster/health/"+index+"?wait_for_status=green&timeout=120s", "")
	require.Equal(t, meta, metadata(t, e, index))
	got := contents{}
	e.read(t, got, false, index)
	same(t, want, got)
	require.True(t, verify(t, e, files(t, repo, again.Snapshot), nil).Identical())
}
