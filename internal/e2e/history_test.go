package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/internal/e2e/esproxy"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/restore"
)

// put sends documents from..to-1, which hold the given word.
func (e *es) put(t *testing.T, index string, from, to int, word string) {
	t.Helper()
	l := e.loader(t)
	for n := from; n < to; n++ {
		l.index(index, fmt.Sprint(n), "", fmt.Appendf(nil, `{"n":%d.0,"is":%q}`, n, word))
	}
	l.flush()
}

func (e *es) drop(t *testing.T, index string, ids ...int) {
	t.Helper()
	l := e.loader(t)
	for _, n := range ids {
		l.delete(index, fmt.Sprint(n), "")
	}
	l.flush()
}

// reindex copies up to 1000 documents, as _reindex does, which this server's jars do not have.
func (e *es) reindex(t *testing.T, from, to string) {
	t.Helper()
	var found struct {
		Hits struct {
			Hits []struct {
				ID     string          `json:"_id"`
				Source json.RawMessage `json:"_source"`
			}
		}
	}
	e.do(t, "POST", "/"+from+"/_refresh", "")
	require.NoError(t, json.Unmarshal(e.do(t, "GET", "/"+from+"/_search?size=1000", ""), &found))
	l := e.loader(t)
	for _, h := range found.Hits.Hits {
		l.index(to, h.ID, "", h.Source)
	}
	l.flush()
}

// holds requires that a snapshot of one index, restored under another name, is what a scroll shows of the index now.
func (e *es) holds(t *testing.T, repo *repository.Repo, res *backup.Result, index string) {
	t.Helper()
	want, got := contents{}, contents{}
	e.read(t, want, false, index)
	require.EqualValues(t, len(want), res.Documents)
	back := "back-" + index
	runRestore(t, e, files(t, repo, res.Snapshot), &restore.Options{Rename: []restore.Rename{{From: index, To: back}}})
	e.read(t, got, false, back)
	e.remove(t, back)
	same(t, want, got.renamed(func(string) string { return index }))
}

// TestHistoryChanges replaces what is in an index behind the back of its increments. Each time everything is read, and the
// result says why.
func TestHistoryChanges(t *testing.T) {
	const another, history = "the index is another one than the parent's of its name", "the shard's history is another one"
	onEach(t, func(t *testing.T, e *es) {
		e.do(t, "PUT", "/_snapshot/native", `{"type":"fs","settings":{"location":"history"}}`)
		for name, c := range map[string]struct {
			change func(t *testing.T, index string)
			why    string
		}{
			"made-anew": {func(t *testing.T, index string) {
				e.create(t, index, `{"settings":{"number_of_shards":1,"number_of_replicas":0}}`)
				e.put(t, index, 0, 500, "again")
			}, another},
			"native-restore": {func(t *testing.T, index string) {
				e.remove(t, index)
				e.do(t, "POST", "/_snapshot/native/"+index+"/_restore?wait_for_completion=true", "{}")
				e.put(t, index, 400, 500, "differs")
			}, another},
			"native-restore-in-place": {func(t *testing.T, index string) {
				e.do(t, "POST", "/"+index+"/_close", "")
				e.do(t, "POST", "/_snapshot/native/"+index+"/_restore?wait_for_completion=true", "{}")
				e.put(t, index, 400, 500, "differs")
			}, history},
			"reindexed": {func(t *testing.T, index string) {
				aside := index + "-aside"
				body := `{"settings":{"number_of_shards":1,"number_of_replicas":0}}`
				e.create(t, aside, body)
				e.reindex(t, index, aside)
				e.create(t, index, body)
				e.reindex(t, aside, index)
			}, another},
		} {
			t.Run(name, func(t *testing.T) {
				index := "history-" + name
				e.removeLater(t, "back-"+index)
				e.create(t, index, `{"settings":{"number_of_shards":1,"number_of_replicas":0}}`)
				e.put(t, index, 0, 400, "first")
				e.do(t, "PUT", "/_snapshot/native/"+index+"?wait_for_completion=true", fmt.Sprintf(`{"indices":%q,"include_global_state":false}`, index))
				defer e.do(t, "DELETE", "/_snapshot/native/"+index, "")
				e.put(t, index, 400, 500, "then")
				repo := newRepo(t, filepath.Join(t.TempDir(), "repo"))
				runBackup(t, e, repo, index)
				require.EqualValues(t, 500, runBackup(t, e, repo, index).DocumentsReused)

				c.change(t, index)
				res := runBackup(t, e, repo, index)
				require.NotNil(t, res.Parent)
				require.EqualValues(t, 500, res.DocumentsRead)
				require.Zero(t, res.SegmentsReused)
				require.Equal(t, []backup.NotReused{{Index: index, Why: c.why}}, res.NotReused)
				e.holds(t, repo, res, index)
			})
		}
	})
}

// TestShrunkIndex makes one shard of two, so that a sequence number stands for two documents. What is deleted, updated and added
// then is in the next snapshot, by logs and by segments.
func TestShrunkIndex(t *testing.T) {
	onEach(t, func(t *testing.T, e *es) {
		const wide, index = "shrunk-wide", "shrunk"
		e.removeLater(t, index, "back-"+index)
		e.create(t, wide, `{"settings":{"number_of_shards":2,"number_of_replicas":0}}`)
		e.put(t, wide, 0, 20_000, "first "+strings.Repeat("x", 200))
		e.do(t, "PUT", "/"+wide+"/_settings", `{"index.blocks.write":true}`)
		e.remove(t, index)
		e.do(t, "POST", "/"+wide+"/_shrink/"+index, `{"settings":{"index.number_of_shards":1,"index.number_of_replicas":0,"index.blocks.write":null}}`)
		e.do(t, "GET", "/_cluster/health/"+index+"?wait_for_status=green&timeout=60s", "")
		repo := newRepo(t, filepath.Join(t.TempDir(), "repo"))
		runBackup(t, e, repo, index)
		for n, increment := range []backup.Increment{backup.IncrementLog, backup.IncrementSegments, backup.IncrementLog} {
			e.drop(t, index, 10+n, 5_000+n, 19_990+n)
			e.put(t, index, 100+n, 101+n, "updated")
			e.put(t, index, 30_000+100*n, 30_050+100*n, "added")
			res, err := backup.Run(t.Context(), e.transport(t), repo, &backup.Options{Indices: []string{index}, Increment: increment})
			require.NoError(t, err)
			require.Positive(t, res.SegmentsReused)
			why := "documents of them were updated or deleted, and the increment is by segments"
			if increment == backup.IncrementLog {
				why = "their sequence numbers stand for several documents"
			}
			require.Contains(t, fmt.Sprint(res.NotReused), why)
			e.holds(t, repo, res, index)
		}
	})
}

// TestRefreshThatFails has a copy whose refresh fails, which a proxy says in place of the server: searches may show an old view. The
// backup asks again, and fails if it stays so.
func TestRefreshThatFails(t *testing.T) {
	e := server(t, versions()[0])
	const index = "unrefreshed"
	e.removeLater(t, "back-"+index)
	e.create(t, index, `{"settings":{"number_of_shards":1,"number_of_replicas":0,"refresh_interval":"-1"}}`)
	e.put(t, index, 0, 100, "first")
	proxy := esproxy.Start(t, e.url, nil)
	through := &es{url: proxy.URL, version: e.version}
	repo := newRepo(t, filepath.Join(t.TempDir(), "repo"))
	runBackup(t, through, repo, index)

	// A refresh that did not reach the shard: what was written since is not to be seen.
	e.put(t, index, 50, 150, "second")
	failed := &esproxy.Rule{Match: esproxy.PathEnds("/_refresh"), Mutate: func(_ *http.Request, _ int, _ []byte) (int, []byte) {
		return http.StatusOK, []byte(`{"_shards":{"total":2,"successful":1,"failed":1,"failures":[{"shard":0,"index":"unrefreshed",` +
			`"reason":{"type":"i_o_exception","reason":"fault made by a test"}}]}}`)
	}}
	proxy.Add(failed)
	_, err := backup.Run(t.Context(), through.transport(t), repo, &backup.Options{Indices: []string{index}, Retries: 1})
	require.ErrorContains(t, err, "back up index unrefreshed")
	require.ErrorContains(t, err, "refresh")
	require.ErrorContains(t, err, "1 shards failed: index unrefreshed shard 0: i_o_exception: fault made by a test")
	noContexts(t, e, index)

	failed.Times = proxy.Applied(failed) + 2
	res := runBackup(t, through, repo, index)
	require.EqualValues(t, 150, res.Documents)
	require.Equal(t, failed.Times, proxy.Applied(failed))
	e.holds(t, repo, res, index)
}
