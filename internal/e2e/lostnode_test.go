package e2e_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/internal/e2e/esproxy"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/restore"
)

// lostDocs is how many documents each index of TestLostNode has: several pages of each of its three shards.
const lostDocs = 60_000

// lossAt loses the second node of three when several operations have come so far that each has sent some requests: what they
// send then waits until the node is gone.
type lossAt struct {
	c    *three
	gone chan struct{}

	mu      sync.Mutex
	waiting map[string]bool
	rules   map[string]*esproxy.Rule
	proxies map[string]*esproxy.Proxy
}

func newLoss(c *three) *lossAt {
	return &lossAt{c: c, gone: make(chan struct{}), waiting: map[string]bool{}, rules: map[string]*esproxy.Rule{}, proxies: map[string]*esproxy.Proxy{}}
}

// through is the cluster for one of the operations, which holds its requests to path after the first skip ones.
func (l *lossAt) through(t *testing.T, name, path string, skip int) *es {
	p := esproxy.Start(t, l.c.url, nil)
	rule := &esproxy.Rule{Match: esproxy.PathEnds(path), Skip: skip, Before: func(*http.Request) {
		l.mu.Lock()
		l.waiting[name] = true
		all := len(l.waiting) == len(l.rules)
		if all {
			select {
			case <-l.gone:
			default:
				l.c.Kill(1)
				close(l.gone)
			}
		}
		l.mu.Unlock()
		<-l.gone
	}}
	p.Add(rule)
	l.rules[name], l.proxies[name] = rule, p
	return &es{url: p.URL, version: l.c.version}
}

// during does all at once, and loses the node in the middle of them.
func (l *lossAt) during(t *testing.T, all map[string]func()) {
	t.Helper()
	var wg sync.WaitGroup
	for _, do := range all {
		wg.Go(do)
	}
	wg.Wait()
	for name, rule := range l.rules {
		require.Positive(t, l.proxies[name].Applied(rule), "%s was over before the node was lost", name)
	}
}

// spread makes an index with a shard on each of the three nodes, and copies of them on others.
func (c *three) spread(t *testing.T, index string, copies int) {
	t.Helper()
	c.create(t, index, fmt.Sprintf(`{"settings":{"number_of_shards":3,"number_of_replicas":%d,"refresh_interval":"-1","unassigned.node_left.delayed_timeout":"0ms",
		"routing.allocation.total_shards_per_node":%d},"mappings":{"dynamic":false,"properties":{"level":{"type":"keyword"}}}}`, copies, 1+copies))
	c.green(t, index)
	c.do(t, "PUT", "/"+index+"/_settings", `{"index.routing.allocation.total_shards_per_node":null}`)
}

// TestLostNode loses a node of three for good, in the middle of backups and in the middle of restores. Where another copy of its
// shards is left, nothing is; where none is, the failure names the index and the shard, and nothing looks whole that is not.
func TestLostNode(t *testing.T) {
	t.Parallel()
	v := versions()[len(versions())-1]
	cluster := startThree(t, v, nil)
	c := &three{cluster, &es{url: cluster.Nodes[0].URL, version: v}}
	want := contents{}
	for index, copies := range map[string]int{"copied": 1, "single": 0} {
		c.spread(t, index, copies)
		r, l := seeded(lostDocs), c.loader(t)
		for i := range lostDocs {
			l.index(index, fmt.Sprint(i), "", logLine(r, i))
		}
		l.flush()
		c.read(t, want, false, index)
	}
	repo := newRepo(t, filepath.Join(t.TempDir(), "repo"))
	before := runBackup(t, c.es, repo, "copied", "single")
	shard := -1
	for n := range 3 {
		if c.primary(t, "single", n) == 1 {
			shard = n
		}
	}
	require.GreaterOrEqual(t, shard, 0)

	t.Run("backup", func(t *testing.T) { c.lostInBackup(t, shard) })
	c.remove(t, "single")
	c.Replace(t, 1)
	c.green(t, "copied")
	t.Run("restore", func(t *testing.T) { c.lostInRestore(t, repo, before.Snapshot, want) })
}

func (c *three) lostInBackup(t *testing.T, shard int) {
	l := newLoss(c)
	errs, results := map[string]error{}, map[string]*backup.Result{}
	repos := map[string]*repository.Repo{}
	all := map[string]func(){}
	for _, index := range []string{"copied", "single"} {
		repo, through := newRepo(t, filepath.Join(t.TempDir(), "repo")), l.through(t, index, "/_search", 2).transport(t)
		repos[index] = repo
		all[index] = func() {
			res, err := backup.Run(t.Context(), through, repo, &backup.Options{Indices: []string{index}, Host: "e2e"})
			l.mu.Lock()
			results[index], errs[index] = res, err
			l.mu.Unlock()
		}
	}
	l.during(t, all)
	t.Logf("copied: %v\nsingle: %v", errs["copied"], errs["single"])
	require.NoError(t, errs["copied"])
	require.Error(t, errs["single"]) // by the shard itself, or by one that was opened later
	require.Regexp(t, fmt.Sprintf(`index single: shard (%d: |\d: .*shard %[1]d of the index has no started primary)`, shard), errs["single"].Error())
	for s, err := range repos["single"].Snapshots(t.Context(), repository.Filter{}) {
		require.NoError(t, err)
		require.Fail(t, "a snapshot was written", "%v", s)
	}
	c.holds(t, repos["copied"], results["copied"], "copied")
}

func (c *three) lostInRestore(t *testing.T, repo *repository.Repo, s *repository.Snapshot, want contents) {
	src := files(t, repo, s)
	c.spread(t, "into-copied", 1)
	c.spread(t, "into-single", 0)
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	l := newLoss(c)
	errs := map[string]error{}
	options := map[string]*restore.Options{}
	all := map[string]func(){}
	for to, held := range map[string]string{"new-copied": "/_bulk", "new-single": "/_bulk", "into-copied": "/_bulk", "into-single": "/_bulk",
		"late-single": "/_aliases"} {
		c.removeLater(t, to)
		into, from, _ := strings.Cut(to, "-")
		o := &restore.Options{
			Indices: []string{from}, Rename: []restore.Rename{{From: from, To: to}}, DocumentsOnly: into == "into", BulkBytes: 1 << 20, Retries: 1,
		}
		if into == "new" {
			o.Logger = logger
		}
		skip := 2
		if into == "late" {
			skip = 0 // it is loaded, and has to be put in order
		}
		through := l.through(t, to, held, skip).transport(t)
		options[to] = o
		all[to] = func() {
			plan, err := restore.NewPlan(t.Context(), src, through, o)
			if err == nil {
				_, err = plan.Run(t.Context())
			}
			l.mu.Lock()
			errs[to] = err
			l.mu.Unlock()
		}
	}
	l.during(t, all)
	for to, err := range errs {
		t.Logf("%s: %v", to, err)
	}
	require.Contains(t, log.String(), "make index anew", "no shard of them was on the node")
	for to, o := range options {
		switch to {
		case "into-single":
			require.ErrorContains(t, errs[to], "[into-single][")
			require.ErrorContains(t, errs[to], "primary shard is not active")
			continue
		case "late-single":
			require.Regexp(t, `^restore: index late-single: shard \d was on a node that is gone`, errs[to])
			continue
		}
		require.NoError(t, errs[to])
		c.green(t, to)
		from := o.Indices[0]
		only, got := contents{}, contents{}
		for k, h := range want {
			if k.index == from {
				only[k] = h
			}
		}
		c.read(t, got, false, to)
		same(t, only, got.renamed(func(string) string { return from }))
	}
}
