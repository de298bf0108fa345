package esserver_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/esserver"
)

func call(t *testing.T, method, url, body string) map[string]any {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Less(t, resp.StatusCode, 300, "%s %s: %s", method, url, b)
	require.Equal(t, "Elasticsearch", resp.Header.Get("X-Elastic-Product"))
	var m map[string]any
	require.NoError(t, json.Unmarshal(b, &m))
	return m
}

func TestNodeSurvivesKill(t *testing.T) {
	for _, v := range []esserver.Version{esserver.V8, esserver.V9} {
		t.Run(string(v), func(t *testing.T) {
			c := esserver.Start(t, v, &esserver.Options{HeapMB: 512})
			info := call(t, "GET", c.URL()+"/", "")
			require.Equal(t, string(v), info["version"].(map[string]any)["number"])
			require.NotEqual(t, "_na_", info["cluster_uuid"])
			call(t, "PUT", c.URL()+"/kept/_doc/1", `{"a":1}`)
			c.Kill(0)
			require.False(t, c.Nodes[0].Running())
			c.Restart(t, 0)
			require.Equal(t, map[string]any{"a": 1.0}, call(t, "GET", c.URL()+"/kept/_doc/1", "")["_source"])
			require.Equal(t, info["cluster_uuid"], call(t, "GET", c.URL()+"/", "")["cluster_uuid"])
		})
	}
}

func TestThreeNodesFailOver(t *testing.T) {
	c := esserver.Start(t, esserver.V8, &esserver.Options{Nodes: 3, HeapMB: 512})
	call(t, "PUT", c.URL()+"/replicated", `{"settings":{"number_of_shards":1,"number_of_replicas":2}}`)
	call(t, "PUT", c.URL()+"/replicated/_doc/1", `{"a":1}`)
	require.Equal(t, "green", call(t, "GET", c.URL()+"/_cluster/health?wait_for_status=green&timeout=60s", "")["status"])
	c.Kill(0)
	require.NoError(t, c.Await(t.Context(), 2))
	require.Equal(t, map[string]any{"a": 1.0}, call(t, "GET", c.URL()+"/replicated/_doc/1", "")["_source"])
	c.Restart(t, 0)
	require.Equal(t, "green", call(t, "GET", c.URL()+"/_cluster/health?wait_for_status=green&wait_for_nodes=3&timeout=60s", "")["status"])
}
