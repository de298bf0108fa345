package e2e_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/esproxy"
	"github.com/escrow-backup/escrow/restore"
)

// lostWhileReplacing loses a node between the deletion of the old index and the end of the clone that takes its name. Where it does not come
// back the restore says which shard is lost, and one that resumes it makes the index of the backup; where it does, nothing is to be seen.
func (c *three) lostWhileReplacing(t *testing.T) {
	const index = "swapped"
	c.removeLater(t, index)
	c.spread(t, index, 0)
	l, r := c.loader(t), seeded(3)
	for n := range 6_000 {
		l.index(index, fmt.Sprint(n), "", logLine(r, n))
	}
	l.flush()
	repo := newRepo(t, filepath.Join(t.TempDir(), "repo"))
	src := files(t, repo, runBackup(t, c.es, repo, index).Snapshot)
	want := contents{}
	c.read(t, want, false, index)
	whole := func() {
		t.Helper()
		c.green(t, index)
		got := contents{}
		c.read(t, got, false, index)
		same(t, want, got)
		require.Equal(t, "{}", string(c.do(t, "GET", "/"+index+"-escrow-*?expand_wildcards=all", "")))
		require.NotContains(t, string(c.do(t, "GET", "/"+index+"/_alias", "")), restore.UnfinishedPrefix)
	}
	for _, tc := range []struct {
		name string
		at   func(*http.Request) bool // the request that waits until the node is lost
		of   string                   // the index that has a shard on it
		back bool
	}{
		{"before the clone", method("PUT", "/_clone/"+index), index + "-escrow-*", false},
		{"with the clone", method("GET", "/_cluster/health/"+index), index, false},
		{"and comes back", method("GET", "/_cluster/health/"+index), index, true},
	} {
		ok := t.Run(tc.name, func(t *testing.T) {
			c.put(t, index, 10, 20, "newer")
			c.drop(t, index, 1, 2, 3)
			proxy := esproxy.Start(t, c.url, nil)
			gone := -1
			var once sync.Once
			proxy.Add(&esproxy.Rule{Match: tc.at, Before: func(*http.Request) {
				once.Do(func() {
					c.do(t, "GET", "/_cluster/health/"+tc.of+"?wait_for_no_initializing_shards=true&wait_for_active_shards=3&timeout=60s", "")
					for shard := range 3 {
						gone = max(gone, c.primary(t, tc.of, shard))
					}
					if gone > 0 {
						c.Kill(gone)
						if tc.back {
							c.Restart(t, gone)
						}
					}
				})
			}})
			o := &restore.Options{Conflict: restore.Replace, Retries: 1}
			plan, err := restore.NewPlan(t.Context(), src, (&es{url: proxy.URL, version: c.version}).transport(t), o)
			require.NoError(t, err)
			_, err = plan.Run(t.Context())
			require.Positive(t, gone, "no node that is not asked held a shard: %v", err)
			if tc.back {
				require.NoError(t, err)
				whole()
				return
			}
			require.Error(t, err)
			t.Log(err)
			require.Regexp(t, `^restore: index swapped: .*shard \d was on a node that is gone`, err.Error())
			require.ErrorContains(t, err, "Resume makes the index of the backup")

			// Neither is taken for the index, and the way on is named.
			_, err = restore.NewPlan(t.Context(), src, c.transport(t), &restore.Options{Conflict: restore.Replace})
			require.ErrorContains(t, err, "Resume takes it away")
			o.Resume = true
			runRestore(t, c.es, src, o)
			whole()
			c.Restart(t, gone)
			whole()
			var names []string
			for line := range strings.Lines(string(c.do(t, "GET", "/_cat/indices?h=index", ""))) {
				names = append(names, strings.TrimSpace(line))
			}
			require.NotContains(t, strings.Join(names, " "), "-escrow-", "the node brought something back")
		})
		if !ok {
			return // the cluster is not whole
		}
	}
}
