package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/elastic/go-elasticsearch/v8"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
)

func put(t *testing.T, es *elasticsearch.Client, method, path, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := es.Perform(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Less(t, res.StatusCode, 300, path)
}

func TestSectionsAndDataStreams(t *testing.T) {
	s := newShell(t)
	server, es := s.cluster()
	kibana := httptest.NewServer(estest.NewKibana())
	t.Cleanup(kibana.Close)
	put(t, es, "PUT", "/_ingest/pipeline/clean", `{"processors":[]}`)
	put(t, es, "PUT", "/_index_template/t", `{"index_patterns":["app-*"],"data_stream":{}}`)
	put(t, es, "PUT", "/app-1/_create/1?refresh=true", `{"@timestamp":"2025-01-01T00:00:00Z"}`)
	s.init()
	s.fails(exitFailed, []string{"section", "nonsense", "ingest_pipelines"}, "backup", "--es", server.URL, "--section", "nonsense")
	s.fails(exitUsage, []string{"--kibana"}, "backup", "--es", server.URL, "--kibana", "nowhere")
	got := s.objects(exitDone, "backup", "--es", server.URL, "--section", "default", "--section", "kibana_spaces", "--kibana", kibana.URL)
	sum := got[len(got)-1]
	require.EqualValues(t, 1, sum["data_streams"])
	require.Len(t, sum["sections"], 11)
	require.Contains(t, s.ok("backup", "--es", server.URL), "\n         1 data stream; 2 objects of 10 sections\n")

	put(t, es, "DELETE", "/_data_stream/app-1", "")
	put(t, es, "DELETE", "/_ingest/pipeline/clean", "")
	code, stdout, stderr := s.run("verify", "--es", server.URL)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stdout, "data stream app-1: not in the cluster\ningest_pipelines/clean: not in the cluster\n")
	require.Contains(t, stderr, "and 2 other things")
	plan := s.objects(exitDone, "restore", "--es", server.URL, "--index", "app-*", "--section", "ingest_pipelines", "--dry-run")
	require.Len(t, plan, 3)
	require.Equal(t, []any{"planned_object", "ingest_pipelines", "clean", "create"},
		[]any{plan[0]["message_type"], plan[0]["section"], plan[0]["name"], plan[0]["action"]})
	require.EqualValues(t, 1, plan[2]["data_streams"])
	require.EqualValues(t, 1, plan[2]["objects"])
	require.Contains(t, s.ok("restore", "--es", server.URL, "--exclude", "*", "--section", "default"), "wrote 1 object of sections; 1 were there")
	require.Contains(t, s.ok("restore", "--es", server.URL, "--index", "app-1"), "restored 1 document of 1 index")
	require.Contains(t, s.ok("verify", "--es", server.URL), "identical: 351 documents of 3 indices")
	done := s.objects(exitDone, "restore", "--es", server.URL, "--snapshot", "latest~1", "--exclude", "*", "--section", "kibana_*", "--kibana", kibana.URL)
	require.EqualValues(t, 1, done[len(done)-1]["objects_left"])
}

// A section that may not be read fails the backup, or is named in the snapshot and by the exit code.
func TestSectionThatMayNotBeRead(t *testing.T) {
	s := newShell(t)
	server, es := s.cluster()
	put(t, es, "PUT", "/_ingest/pipeline/clean", `{"processors":[]}`)
	s.init()
	server.Inject().Path("/_ilm/policy").Error(403, "security_exception", "action is unauthorized for user")
	s.fails(exitFailed, []string{"section ilm_policies", "unauthorized"}, "backup", "--es", server.URL)
	require.Empty(t, s.objects(exitDone, "snapshots"))
	got := s.objects(exitOmitted, "backup", "--es", server.URL, "--allow-omissions")
	omitted := got[len(got)-1]["omitted"].([]any)
	require.Len(t, omitted, 1)
	require.Equal(t, "section ilm_policies", omitted[0].(map[string]any)["what"])
	require.Contains(t, s.ok("dump", "latest", "manifest.json"), `"section ilm_policies"`)
}
