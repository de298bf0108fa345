package e2e_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/internal/e2e/esproxy"
	"github.com/escrow-backup/escrow/internal/e2e/esserver"
	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/restore"
)

// three is a cluster of three nodes. The first is asked, and never dies.
type three struct {
	*esserver.Cluster
	*es
}

// threes are the clusters of three nodes that run: two at most, for what they take of the machine.
var threes = make(chan struct{}, 2)

func startThree(t *testing.T, v esserver.Version, transport func(node int, addr string) string) *esserver.Cluster {
	t.Helper()
	threes <- struct{}{}
	t.Cleanup(func() { <-threes })
	return esserver.Start(t, v, &esserver.Options{Nodes: 3, HeapMB: 448, Transport: transport})
}

func (c *three) green(t *testing.T, index string) {
	t.Helper()
	c.do(t, "GET", "/_cluster/health/"+index+"?wait_for_status=green&wait_for_no_relocating_shards=true&timeout=120s", "")
}

// primary is the number of the node that holds the primary of a shard of an index, -1 if none does.
func (c *three) primary(t *testing.T, index string, shard int) int {
	t.Helper()
	var shards []struct{ Shard, Prirep, State, Node string }
	require.NoError(t, json.Unmarshal(c.do(t, "GET", "/_cat/shards/"+index+"?format=json", ""), &shards))
	for _, s := range shards {
		for i, n := range c.Nodes {
			if s.Prirep == "p" && s.State == "STARTED" && s.Shard == fmt.Sprint(shard) && s.Node == n.Name {
				return i
			}
		}
	}
	return -1
}

// pair makes an index of one shard with its primary on the second node, and its replica on the third.
func (c *three) pair(t *testing.T, index string) {
	t.Helper()
	c.do(t, "PUT", "/"+index, `{"settings":{"number_of_shards":1,"number_of_replicas":0,"refresh_interval":"100ms",
		"unassigned.node_left.delayed_timeout":"0ms","routing.allocation.include._name":"n2"}}`)
	c.do(t, "PUT", "/"+index+"/_settings", `{"index.routing.allocation.include._name":"n2,n3","index.number_of_replicas":1}`)
	c.green(t, index)
	require.Equal(t, 1, c.primary(t, index, 0))
}

// TestFailovers loses nodes of three in ways that leave equal counts, less than was acknowledged, or half an index.
func TestFailovers(t *testing.T) {
	t.Parallel()
	for _, v := range versions() {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			failovers(t, v)
		})
	}
}

func failovers(t *testing.T, v esserver.Version) {
	var before *gate // the third node
	cluster := startThree(t, v, func(node int, addr string) string {
		if node != 2 {
			return addr
		}
		before = newGate(t, addr)
		return before.addr
	})
	c := &three{cluster, &es{url: cluster.Nodes[0].URL, version: v}}
	t.Run("unreplicated updates", func(t *testing.T) { c.unreplicated(t, before) })
	t.Run("refresh that fails on a copy", func(t *testing.T) { c.refreshFails(t, before) })
	t.Run("forced stale primary", c.forcedStale)
	t.Run("node lost while restoring", c.lostWhileRestoring)
	if all := versions(); v == all[len(all)-1] { // it waits for what does not come
		t.Run("node lost while replacing", c.lostWhileReplacing)
	}
}

// unreplicated is the case of TestRolledBackUpdates with two copies and durability "request": the primary shows updates that its
// copy has not got, and that nobody acknowledged. It dies, the copy goes on without them, and deletes make the counts equal.
func (c *three) unreplicated(t *testing.T, g *gate) {
	const index = "unreplicated"
	c.pair(t, index)
	c.put(t, index, 0, 4, "first")
	g.close()
	var wg sync.WaitGroup
	for _, n := range []int{0, 3} {
		wg.Go(func() {
			req, err := http.NewRequest("PUT", fmt.Sprintf("%s/%s/_doc/%d", c.Nodes[1].URL, index, n), strings.NewReader(`{"is":"updated"}`))
			if err != nil {
				return
			}
			req.Header.Set("Content-Type", "application/json")
			if res, err := http.DefaultClient.Do(req); err == nil { // it ends with the node
				_ = res.Body.Close()
			}
		})
	}
	require.Eventually(t, func() bool { return g.holding() >= 2 }, time.Minute, 20*time.Millisecond)

	// A search is answered by either copy. The case needs a backup that read from the primary.
	repo := newRepo(t, filepath.Join(t.TempDir(), "repo"))
	shown := 0
	for range 30 {
		first, err := backup.Run(t.Context(), c.transport(t), repo, &backup.Options{Indices: []string{index}, SealTimeout: time.Millisecond})
		require.NoError(t, err)
		require.EqualValues(t, 4, first.Documents)
		require.False(t, first.Manifest.Indices[0].Shards[0].Sealed, "the updates were final: the case does not arise")
		lines, err := fs.ReadFile(files(t, repo, first.Snapshot), layout.DocumentsPath(index, 0))
		require.NoError(t, err)
		shown = strings.Count(string(lines), "updated")
		if shown == 2 {
			break
		}
	}
	require.Equal(t, 2, shown, "no backup saw the updates: the case does not arise")

	c.Kill(1)
	g.open()
	wg.Wait()
	require.Eventually(t, func() bool { return c.primary(t, index, 0) == 2 }, time.Minute, 100*time.Millisecond)
	require.Contains(t, string(c.do(t, "GET", "/"+index+"/_doc/0", "")), "first", "the update survived: the case does not arise")
	c.drop(t, index, 1, 2)
	res, err := backup.Run(t.Context(), c.transport(t), repo, &backup.Options{Indices: []string{index}})
	require.NoError(t, err)
	require.EqualValues(t, 2, res.Documents)
	require.Zero(t, res.SegmentsReused)
	require.Contains(t, fmt.Sprint(res.NotReused), "the parent was not sealed")
	c.holds(t, repo, res, index)
	c.Restart(t, 1)
	c.green(t, index)
	res = runBackup(t, c.es, repo, index)
	require.EqualValues(t, 2, res.DocumentsReused)
	c.holds(t, repo, res, index)
	c.remove(t, index)
}

// refreshFails has a copy that is not refreshed when a backup asks for it, since the connection of its primary breaks, again and again. What is
// searched shows only what was refreshed, and a search goes to either copy: every snapshot holds all that was acknowledged all the same.
func (c *three) refreshFails(t *testing.T, g *gate) {
	const index = "unrefreshed-copy"
	c.pair(t, index)
	c.do(t, "PUT", "/"+index+"/_settings", `{"index.refresh_interval":"-1"}`)
	proxy := esproxy.Start(t, c.url, nil)
	failed := 0
	proxy.Add(&esproxy.Rule{Match: esproxy.PathEnds("/_refresh"), Mutate: func(_ *http.Request, status int, body []byte) (int, []byte) {
		if !strings.Contains(string(body), `"failed":0`) {
			failed++
		}
		return status, body
	}})
	repo := newRepo(t, filepath.Join(t.TempDir(), "repo"))
	for round := range 4 {
		c.put(t, index, 50*round, 50*round+100, fmt.Sprint("round ", round))
		if round > 0 {
			c.drop(t, index, 50*round-7)
		}
		g.cutRefreshes(1 + round%2)
		res := runBackup(t, &es{url: proxy.URL, version: c.version}, repo, index)
		require.Positive(t, g.cutSoFar(), "no refresh of the copy was cut: the case does not arise")
		g.cutRefreshes(0)
		c.holds(t, repo, res, index)
		c.green(t, index)
		require.Equal(t, 1, c.primary(t, index, 0))
	}
	t.Logf("%d answers told of a copy that was not refreshed", failed)
	c.remove(t, index)
}

// forcedStale makes a copy the primary that missed acknowledged writes, as the last resort when no other is left.
func (c *three) forcedStale(t *testing.T) {
	const index = "forced"
	c.pair(t, index)
	c.put(t, index, 0, 200, "first")
	c.Kill(2)
	require.Eventually(t, func() bool {
		var h struct {
			Nodes int `json:"number_of_nodes"`
		}
		return json.Unmarshal(c.do(t, "GET", "/_cluster/health", ""), &h) == nil && h.Nodes == 2
	}, time.Minute, 100*time.Millisecond)
	c.put(t, index, 100, 300, "second")
	c.drop(t, index, 1, 2, 3)
	repo := newRepo(t, filepath.Join(t.TempDir(), "repo"))
	require.EqualValues(t, 297, runBackup(t, c.es, repo, index).Documents)
	require.EqualValues(t, 297, runBackup(t, c.es, repo, index).DocumentsReused)

	c.Kill(1)
	require.NoError(t, c.Begin(2))
	accept := fmt.Sprintf(`{"commands":[{"allocate_stale_primary":{"index":%q,"shard":0,"node":"n3","accept_data_loss":true}}]}`, index)
	require.Eventually(t, func() bool {
		status, _ := c.request(t, "POST", "/_cluster/reroute?master_timeout=5s", accept)
		return status == 200
	}, 2*time.Minute, 500*time.Millisecond)
	require.Eventually(t, func() bool { return c.primary(t, index, 0) == 2 }, time.Minute, 100*time.Millisecond)
	require.EqualValues(t, 200, c.count(t, index), "the copy was not stale: the case does not arise")
	c.put(t, index, 100, 400, "third!")
	c.Restart(t, 1)
	c.green(t, index)
	res := runBackup(t, c.es, repo, index)
	require.NotNil(t, res.Parent)
	require.EqualValues(t, 400, res.DocumentsRead)
	require.Zero(t, res.SegmentsReused)
	require.Equal(t, []backup.NotReused{{Index: index, Why: "the shard's history is another one"}}, res.NotReused)
	c.holds(t, repo, res, index)
	c.remove(t, index)
}

// lostWhileRestoring kills a node into which a restore writes. The restore fails and says so, or everything is there; and what
// failed can be done again.
func (c *three) lostWhileRestoring(t *testing.T) {
	const index = "restoring"
	c.removeLater(t, index, "restored")
	logs(t, c.es, index, 3, 30_000)
	c.do(t, "PUT", "/"+index+"/_settings", `{"index.number_of_replicas":1}`)
	c.green(t, index)
	repo := newRepo(t, filepath.Join(t.TempDir(), "repo"))
	res := runBackup(t, c.es, repo, index)
	require.EqualValues(t, 30_000, res.Documents)
	want := contents{}
	c.read(t, want, false, index)
	src := files(t, repo, res.Snapshot)

	proxy := esproxy.Start(t, c.url, nil)
	gone := -1
	var once sync.Once
	back := make(chan error, 1)
	proxy.Add(&esproxy.Rule{Match: esproxy.PathEnds("/_bulk"), Skip: 1, Before: func(*http.Request) {
		once.Do(func() {
			for shard := range 3 {
				gone = max(gone, c.primary(t, "restored", shard))
			}
			if gone > 0 {
				c.Kill(gone)
				// While it is away the server holds each request for a minute, and then refuses it.
				time.AfterFunc(5*time.Second, func() { back <- c.Begin(gone) })
			}
		})
	}})
	o := &restore.Options{Rename: []restore.Rename{{From: index, To: "restored"}}}
	plan, err := restore.NewPlan(t.Context(), src, (&es{url: proxy.URL, version: c.version}).transport(t), o)
	require.NoError(t, err)
	_, err = plan.Run(t.Context())
	require.Positive(t, gone, "no node that is not asked held a primary")
	t.Logf("node %s was lost: the restore says %v", c.Nodes[gone].Name, err)
	require.NoError(t, <-back)
	require.NoError(t, c.Await(t.Context(), 3))
	if err != nil {
		require.ErrorContains(t, err, "restored")
		c.remove(t, "restored")
		runRestore(t, c.es, src, o)
	}
	c.green(t, "restored")
	got := contents{}
	c.read(t, got, false, "restored")
	same(t, want, got.renamed(func(string) string { return index }))
	require.True(t, verify(t, c.es, src, o).Identical())
}
