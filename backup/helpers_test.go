package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/repository"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// send makes a request that must succeed.
func send(t testing.TB, es elastictransport.Interface, method, path, body string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	if strings.Contains(path, "_bulk") {
		r.Header.Set("Content-Type", "application/x-ndjson")
	}
	res, err := es.Perform(r)
	require.NoError(t, err)
	defer func() { require.NoError(t, res.Body.Close()) }()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Less(t, res.StatusCode, 300, "%s %s: %s", method, path, b)
	require.NotContains(t, string(b), `"errors":true`)
	return string(b)
}

// index writes documents id-from to id-(to-1) with the given value.
func index(t testing.TB, es elastictransport.Interface, name string, from, to int, value string) {
	t.Helper()
	var b strings.Builder
	rest := fmt.Sprintf("%q,\"one\": 1.0,\"pad\":%q}\n", value, strings.Repeat("x", 50))
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "{\"index\":{\"_id\":\"id-%d\"}}\n{\"n\":%d,\"v\":%s", i, i, rest)
	}
	send(t, es, "POST", "/"+name+"/_bulk", b.String())
}

func create(t testing.TB, es elastictransport.Interface, name string, shards int) {
	t.Helper()
	send(t, es, "PUT", "/"+name, fmt.Sprintf(`{"settings":{"number_of_shards":%d,"number_of_replicas":0}}`, shards))
}

// cluster is a small cluster: two indices and an alias.
func cluster(t testing.TB) (*estest.Handler, elastictransport.Interface) {
	t.Helper()
	h := estest.NewHandler(nil)
	es := h.Transport()
	create(t, es, "a", 2)
	create(t, es, "b", 1)
	create(t, es, "empty", 1)
	send(t, es, "POST", "/_aliases", `{"actions":[{"add":{"index":"b","alias":"bee"}}]}`)
	index(t, es, "a", 0, 300, "first")
	index(t, es, "b", 0, 40, "first")
	send(t, es, "PUT", "/b/_doc/odd%20%22id%22?routing=r%C3%A9", "{ \"pretty\":\n 9007199254740993 }")
	send(t, es, "DELETE", "/a/_doc/id-7", "")
	return h, es
}

// live is what the cluster holds, asked with a plain search.
func live(t testing.TB, es elastictransport.Interface, name string) map[string]string {
	t.Helper()
	send(t, es, "POST", "/"+name+"/_refresh", "")
	var out struct {
		Hits struct {
			Hits []struct {
				ID      string          `json:"_id"`
				Routing string          `json:"_routing"`
				Source  json.RawMessage `json:"_source"`
			} `json:"hits"`
		} `json:"hits"`
	}
	require.NoError(t, json.Unmarshal([]byte(send(t, es, "POST", "/"+name+"/_search?size=10000", `{"query":{"match_all":{}}}`)), &out))
	all := map[string]string{}
	for _, h := range out.Hits.Hits {
		d := Document{ID: h.ID, Routing: h.Routing, Source: h.Source}
		b, err := d.AppendLines(nil)
		if err != nil {
			require.NoError(t, err)
		}
		_, source, _ := bytes.Cut(bytes.TrimSuffix(b, []byte{'\n'}), []byte{'\n'})
		all[h.ID+"\x00"+h.Routing] = string(source)
	}
	return all
}

func repoFiles(t testing.TB, repo *repository.Repo, s *repository.Snapshot) map[string][]byte {
	t.Helper()
	fsys, err := repo.FS(context.WithoutCancel(t.Context()), s)
	require.NoError(t, err)
	return readAll(t, fsys)
}

func readAll(t testing.TB, fsys fs.FS) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	require.NoError(t, fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[name], err = fs.ReadFile(fsys, name)
		return err
	}))
	return files
}

// requireSame backs up es and compares the snapshot with the cluster.
func requireSame(t *testing.T, es elastictransport.Interface, repo *repository.Repo, res *Result, indices ...string) {
	t.Helper()
	got := contents(t, repoFiles(t, repo, res.Snapshot), res.Manifest)
	require.Len(t, got, len(indices))
	for _, name := range indices {
		require.True(t, maps.Equal(live(t, es, name), got[name]), "index %s", name)
	}
}

func mustFS(t testing.TB, repo *repository.Repo, s *repository.Snapshot) fs.FS {
	t.Helper()
	fsys, err := repo.FS(t.Context(), s)
	require.NoError(t, err)
	return fsys
}

func requireNoSnapshot(t *testing.T, repo *repository.Repo) {
	t.Helper()
	for s, err := range repo.Snapshots(context.WithoutCancel(t.Context()), repository.Filter{}) {
		require.NoError(t, err)
		t.Fatalf("there is a snapshot: %v", s.ID)
	}
}

// memoryDir is a directory that is on no disk, where there is such a place: thousands of dumps would wait for one at every file.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "escrow-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

func mapKeys(m map[string][]byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
