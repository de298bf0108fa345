package e2e_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/restore"
)

// dumped backs up into a directory.
func (e *es) dumped(t *testing.T, o *backup.Options) (fs.FS, *layout.Manifest) {
	t.Helper()
	dir := t.TempDir()
	to, err := backup.Dir(dir)
	require.NoError(t, err)
	m, err := backup.Dump(t.Context(), e.transport(t), to, o)
	require.NoError(t, err)
	require.NoError(t, to.Close())
	return os.DirFS(dir), m
}

func (e *es) restored(t *testing.T, src fs.FS, o *restore.Options) *restore.Result {
	t.Helper()
	p, err := restore.NewPlan(t.Context(), src, e.transport(t), o)
	require.NoError(t, err)
	r, err := p.Run(t.Context())
	require.NoError(t, err)
	return r
}

// later removes what a test made, whether it is there or not.
func (e *es) later(t *testing.T, paths ...string) {
	t.Helper()
	for _, p := range paths {
		e.request(t, "DELETE", p, "")
	}
	t.Cleanup(func() {
		for _, p := range paths {
			e.afterwards(t, "DELETE", p, "")
		}
	})
}

// afterwards sends a request when the test has ended, and its context with it.
func (e *es) afterwards(t *testing.T, method, path, body string) {
	req, err := http.NewRequest(method, e.url+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err == nil {
		err = resp.Body.Close()
	}
	if err != nil {
		t.Logf("%s %s: %v", method, path, err)
	}
}

// without removes members of these names, at any depth.
func without(v any, names ...string) any {
	switch x := v.(type) {
	case map[string]any:
		for k, y := range x {
			if slices.Contains(names, k) {
				delete(x, k)
			} else {
				x[k] = without(y, names...)
			}
		}
	case []any:
		for i := range x {
			x[i] = without(x[i], names...)
		}
	}
	return v
}

// answer is what the server says, less what differs between any two that are the same.
func (e *es) answer(t *testing.T, path string) string {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal(e.do(t, "GET", path, ""), &v))
	// A clone, which replaces what was there, spells out the partition size that others have unsaid.
	b, err := json.MarshalIndent(without(v, "routing_partition_size", "index_uuid", "uuid", "creation_date", "provided_name", "history", "created_date", "created_date_millis",
		"modified_date", "modified_date_millis"), "", " ")
	require.NoError(t, err)
	return string(b)
}

type streamOf struct {
	Generation int64
	Indices    []struct {
		Name string `json:"index_name"`
	}
	Failure struct {
		Indices []struct {
			Name string `json:"index_name"`
		}
	} `json:"failure_store"`
}

func (e *es) stream(t *testing.T, name string) streamOf {
	t.Helper()
	var out struct {
		Streams []streamOf `json:"data_streams"`
	}
	require.NoError(t, json.Unmarshal(e.do(t, "GET", "/_data_stream/"+name, ""), &out))
	require.Len(t, out.Streams, 1)
	return out.Streams[0]
}

// whole is all that the server says of a data stream, and its documents.
func (e *es) whole(t *testing.T, name string) (string, contents) {
	t.Helper()
	s := e.answer(t, "/_data_stream/"+name) + e.answer(t, "/_data_stream/"+name+"/_lifecycle") + e.answer(t, "/_data_stream/"+name+"/_options") +
		e.answer(t, "/"+name+"/_alias")
	docs := contents{}
	d := e.stream(t, name)
	for _, x := range slices.Concat(d.Indices, d.Failure.Indices) {
		s += e.answer(t, "/"+x.Name)
		e.read(t, docs, false, x.Name)
	}
	return s, docs
}

func (e *es) bulkCreate(t *testing.T, stream string, from, n int) {
	t.Helper()
	var b strings.Builder
	for i := from; i < from+n; i++ {
		fmt.Fprintf(&b, "{\"create\":{\"_id\":\"%d\"}}\n{\"@timestamp\":\"2025-01-01T00:%02d:00.000Z\",\"n\":%d,\"f\":1.10,\"m\":\"é \\u00e9\"}\n", i, i%60, i)
	}
	require.Contains(t, string(e.do(t, "POST", "/"+stream+"/_bulk?refresh=true", b.String())), `"errors":false`)
}

func TestDataStreams(t *testing.T) {
	onEach(t, func(t *testing.T, e *es) {
		const name = "e2e-ds-one"
		e.later(t, "/_data_stream/"+name, "/_data_stream/e2e-ds-copy", "/_index_template/e2e-ds", "/_component_template/e2e-ds")
		e.do(t, "PUT", "/_component_template/e2e-ds", `{"template":{"settings":{"index.number_of_shards":2,"index.number_of_replicas":0},
			"mappings":{"properties":{"n":{"type":"long"},"m":{"type":"keyword"}}}}}`)
		e.do(t, "PUT", "/_index_template/e2e-ds", `{"index_patterns":["e2e-ds-*"],"composed_of":["e2e-ds"],"data_stream":{},"priority":5,"_meta":{"by":"us"},
			"template":{"lifecycle":{"data_retention":"7d"},"aliases":{"e2e-from-template":{}},"data_stream_options":{"failure_store":{"enabled":true}}}}`)
		e.bulkCreate(t, name, 0, 50) // makes the data stream
		for i := range 3 {
			e.do(t, "POST", "/"+name+"/_rollover", "")
			e.bulkCreate(t, name, 100*(i+1), 20)
		}
		e.do(t, "DELETE", "/"+e.stream(t, name).Indices[0].Name, "")
		// The published jars send nothing to a failure store by themselves, but they keep one.
		for _, store := range []string{".fs-e2e-ds-one-2025.01.02-000003", ".fs-e2e-ds-one-2025.01.01-000002"} {
			e.later(t, "/"+store)
			e.do(t, "PUT", "/"+store, `{"settings":{"index.number_of_replicas":0},"mappings":{"properties":{"@timestamp":{"type":"date"}}}}`)
			e.do(t, "PUT", "/"+store+"/_doc/1?refresh=true", `{"@timestamp":"2025-01-01T00:00:00Z","error":{"message":"`+store+`"}}`)
			e.do(t, "POST", "/_data_stream/_modify", `{"actions":[{"add_backing_index":{"data_stream":"`+name+`","index":"`+store+`","failure_store":true}}]}`)
		}
		require.Len(t, e.stream(t, name).Failure.Indices, 2)
		e.do(t, "PUT", "/_data_stream/"+name+"/_lifecycle", `{"data_retention":"30d"}`)
		e.do(t, "POST", "/_aliases", `{"actions":[{"remove":{"index":"`+name+`","alias":"e2e-from-template"}},
			{"add":{"index":"`+name+`","alias":"e2e-ds-all","is_write_index":true,"filter":{"term":{"n":107}}}}]}`)
		want, docs := e.whole(t, name)
		require.Len(t, docs, 62)
		before := e.stream(t, name).Generation

		src, m := e.dumped(t, &backup.Options{Indices: []string{"e2e-ds-all"}})
		require.Len(t, m.DataStreams, 1)
		require.Len(t, m.Indices, 5)
		only := &restore.Options{Indices: []string{name}, Sections: []string{"component_templates/e2e-ds", "index_templates/e2e-ds"}}
		_, err := restore.NewPlan(t.Context(), src, e.transport(t), only)
		require.ErrorIs(t, err, fs.ErrExist)
		check := func() {
			t.Helper()
			got, gotDocs := e.whole(t, name)
			require.Equal(t, want, got)
			same(t, docs, gotDocs)
			d, err := restore.Verify(t.Context(), src, e.transport(t), only)
			require.NoError(t, err)
			require.True(t, d.Identical(), d.String())
			require.NotContains(t, string(e.do(t, "GET", "/_resolve/index/*?expand_wildcards=all", "")), "escrow-filler")
		}
		e.do(t, "DELETE", "/_data_stream/"+name, "")
		e.do(t, "DELETE", "/_index_template/e2e-ds", "")
		e.do(t, "DELETE", "/_component_template/e2e-ds", "")
		r := e.restored(t, src, only)
		require.Equal(t, 1, r.Streams)
		require.Equal(t, 2, r.Objects)
		check()

		// It goes on as before, and can be put back.
		e.do(t, "POST", "/"+name+"/_rollover", "")
		require.Equal(t, before+1, e.stream(t, name).Generation)
		e.bulkCreate(t, "e2e-ds-all", 1000, 5)
		e.do(t, "DELETE", "/"+e.stream(t, name).Indices[0].Name, "")
		only.Conflict = restore.Replace
		e.restored(t, src, only)
		check()

		copied := &restore.Options{Indices: []string{name}, Rename: []restore.Rename{{From: name, To: "e2e-ds-copy"}}}
		e.restored(t, src, copied)
		d, err := restore.Verify(t.Context(), src, e.transport(t), copied)
		require.NoError(t, err)
		require.True(t, d.Identical(), d.String())
	})
}

func TestTimeSeriesDataStream(t *testing.T) {
	onEach(t, func(t *testing.T, e *es) {
		const name = "e2e-ts-one"
		e.later(t, "/_data_stream/"+name, "/_index_template/e2e-ts")
		e.do(t, "PUT", "/_index_template/e2e-ts", `{"index_patterns":["e2e-ts-*"],"data_stream":{},"template":{"settings":{"index.mode":"time_series","index.routing_path":["host"],
			"index.number_of_replicas":0,"index.time_series.start_time":"2025-01-01T00:00:00Z","index.time_series.end_time":"2025-01-02T00:00:00Z"},
			"mappings":{"properties":{"@timestamp":{"type":"date"},"host":{"type":"keyword","time_series_dimension":true},"v":{"type":"double","time_series_metric":"gauge"}}}}}`)
		var b strings.Builder
		for i := range 100 {
			fmt.Fprintf(&b, "{\"create\":{}}\n{\"@timestamp\":\"2025-01-01T%02d:%02d:00.000Z\",\"host\":\"h%d\",\"v\":%d.5}\n", i%24, i%60, i%7, i)
		}
		e.do(t, "PUT", "/_data_stream/"+name, "")
		require.Contains(t, string(e.do(t, "POST", "/"+name+"/_bulk?refresh=true", b.String())), `"errors":false`)
		want, docs := e.whole(t, name)
		require.Len(t, docs, 100)
		src, _ := e.dumped(t, &backup.Options{Indices: []string{name}, Sections: []string{"index_templates/e2e-ts"}})
		e.do(t, "DELETE", "/_data_stream/"+name, "")
		e.restored(t, src, &restore.Options{Indices: []string{name}})
		got, gotDocs := e.whole(t, name)
		require.Equal(t, want, got)
		same(t, docs, gotDocs)
		e.restored(t, src, &restore.Options{Indices: []string{name}, Conflict: restore.Replace})
		got, gotDocs = e.whole(t, name)
		require.Equal(t, want, got)
		same(t, docs, gotDocs)
	})
}

// What the published jars have of sections comes back as the server shows it; what they lack is absent.
func TestSections(t *testing.T) {
	onEach(t, func(t *testing.T, e *es) {
		all := []struct{ section, name, path, body string }{
			{"ingest_pipelines", "e2e-p", "/_ingest/pipeline/e2e-p", `{"description":"é <&>","version":3,"_meta":{"n":1.0},"processors":[]}`},
			{"component_templates", "e2e-c", "/_component_template/e2e-c", `{"version":2,"template":{"settings":{"index.number_of_replicas":0},"mappings":{"properties":{"a":{"type":"keyword"}}},"aliases":{"e2e-a":{"filter":{"term":{"a":"b"}}}}}}`},
			{"index_templates", "e2e-t", "/_index_template/e2e-t", `{"index_patterns":["e2e-t-*"],"composed_of":["e2e-c","e2e-none"],"ignore_missing_component_templates":["e2e-none"],"priority":7,"template":{"settings":{"index.default_pipeline":"e2e-p"}}}`},
			{"legacy_templates", "e2e-l", "/_template/e2e-l", `{"index_patterns":["e2e-l-*"],"order":3,"version":9,"settings":{"index.number_of_replicas":"0"},"mappings":{"properties":{"a":{"type":"long"}}},"aliases":{"e2e-la":{}}}`},
		}
		var entries []string
		want := map[string]string{}
		for i := len(all) - 1; i >= 0; i-- {
			e.later(t, all[i].path)
		}
		for _, x := range all {
			e.do(t, "PUT", x.path, x.body)
			entries = append(entries, x.section+"/"+x.name)
			want[x.path] = e.answer(t, x.path)
		}
		e.do(t, "PUT", "/_cluster/settings", `{"persistent":{"indices.recovery.max_bytes_per_sec":"55mb"}}`)
		t.Cleanup(func() {
			e.afterwards(t, "PUT", "/_cluster/settings", `{"persistent":{"indices.recovery.max_bytes_per_sec":null}}`)
		})
		entries = append(entries, "cluster_settings/indices.recovery.*")
		src, m := e.dumped(t, &backup.Options{Exclude: []string{"*"}, Sections: []string{"*"}})
		absent := map[string]bool{}
		for _, s := range m.Sections {
			absent[s.Name] = s.Absent != ""
		}
		require.Empty(t, m.Omitted)
		for _, s := range []string{"ilm_policies", "slm_policies", "enrich_policies", "transforms", "watches", "security_roles", "security_users"} {
			require.True(t, absent[s], s)
		}
		for _, s := range []string{"cluster_settings", "stored_scripts", "ingest_pipelines", "component_templates", "index_templates", "legacy_templates"} {
			require.False(t, absent[s], s)
		}
		for i := len(all) - 1; i >= 0; i-- {
			e.do(t, "DELETE", all[i].path, "")
		}
		e.do(t, "PUT", "/_cluster/settings", `{"persistent":{"indices.*":null}}`)
		for i, x := range all { // each alone, after what it needs
			status, _ := e.request(t, "GET", x.path, "")
			require.Equal(t, http.StatusNotFound, status, x.path)
			one, m := e.dumped(t, &backup.Options{Exclude: []string{"*"}, Sections: []string{x.section}})
			require.Len(t, m.Sections, 1)
			_, err := restore.NewPlan(t.Context(), one, e.transport(t), &restore.Options{Sections: entries[i : i+1]})
			require.ErrorContains(t, err, x.name) // it is gone
			require.Equal(t, 1, e.restored(t, src, &restore.Options{Exclude: []string{"*"}, Sections: entries[i : i+1]}).Objects)
			require.JSONEq(t, want[x.path], e.answer(t, x.path))
			one, _ = e.dumped(t, &backup.Options{Exclude: []string{"*"}, Sections: []string{x.section}})
			d, err := restore.Verify(t.Context(), one, e.transport(t), &restore.Options{Sections: entries[i : i+1]})
			require.NoError(t, err)
			require.True(t, d.Identical(), d.String())
		}
		for i := len(all) - 1; i >= 0; i-- {
			e.do(t, "DELETE", all[i].path, "")
		}
		o := &restore.Options{Exclude: []string{"*"}, Sections: entries}
		r := e.restored(t, src, o)
		require.Equal(t, len(all)+1, r.Objects)
		for _, x := range all {
			require.JSONEq(t, want[x.path], e.answer(t, x.path))
		}
		require.Contains(t, string(e.do(t, "GET", "/_cluster/settings?flat_settings=true", "")), `"indices.recovery.max_bytes_per_sec":"55mb"`)
		d, err := restore.Verify(t.Context(), src, e.transport(t), o)
		require.NoError(t, err)
		require.True(t, d.Identical(), d.String())
		r = e.restored(t, src, o)
		require.Zero(t, r.Objects)
		require.Equal(t, len(all)+1, r.ObjectsLeft)
		e.do(t, "PUT", "/_template/e2e-l", `{"index_patterns":["e2e-other-*"]}`)
		_, err = restore.NewPlan(t.Context(), src, e.transport(t), o)
		require.ErrorContains(t, err, "these exist already, with other contents: legacy_templates/e2e-l")
		o.Conflict = restore.Replace
		require.Equal(t, 1, e.restored(t, src, o).Objects)
		require.JSONEq(t, want["/_template/e2e-l"], e.answer(t, "/_template/e2e-l"))
	})
}
