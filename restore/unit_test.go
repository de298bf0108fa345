package restore

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/layout"
)

func TestChoose(t *testing.T) {
	src := fstest.MapFS{}
	for _, name := range []string{"logs-1", "logs-2", "users"} {
		src[layout.IndexPath(name)] = &fstest.MapFile{Data: []byte(`{"aliases":{"of-` + name + `":{}}}`)}
	}
	m := &layout.Manifest{Indices: []layout.Index{{Name: "logs-1"}, {Name: "logs-2"}, {Name: "users"}}}
	pick := func(o *Options) ([]string, error) {
		chosen, _, err := choose(src, m, o)
		var to []string
		for _, c := range chosen {
			to = append(to, c.index.Name+">"+c.to)
		}
		return to, err
	}
	for _, tc := range []struct {
		o    Options
		want []string
		err  string
	}{
		{o: Options{}, want: []string{"logs-1>logs-1", "logs-2>logs-2", "users>users"}},
		{o: Options{Indices: []string{"logs-*"}, Exclude: []string{"*-2"}}, want: []string{"logs-1>logs-1"}},
		{o: Options{Rename: []Rename{{"logs-1", "first"}, {"logs-*", "old-*-x"}, {"*", "all-*"}}}, want: []string{"logs-1>first", "logs-2>old-2-x", "users>all-users"}},
		{o: Options{Indices: []string{"nope"}}, err: `index or alias "nope" is not in the backup, which holds logs-1, logs-2, users`},
		{o: Options{Indices: []string{"of-users", "of-*-1"}, Exclude: []string{"users"}}, want: []string{"logs-1>logs-1"}},
		{o: Options{Rename: []Rename{{"logs-*", "one"}}}, err: `indices "logs-1" and "logs-2" would both be restored as "one"`},
		{o: Options{Rename: []Rename{{"a", "b*"}}}, err: "only the new name has a *"},
		{o: Options{Rename: []Rename{{"a**", "b"}}}, err: "more than one *"},
		{o: Options{Rename: []Rename{{"a", ""}}}, err: "a name is empty"},
		{o: Options{Indices: []string{"users"}, Exclude: []string{"*"}}, err: "excluded"},
	} {
		got, err := pick(&tc.o)
		if tc.err != "" {
			require.ErrorContains(t, err, tc.err)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, tc.want, got)
	}
	_, err := pick(&Options{Indices: []string{"nope"}})
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestNewCreation(t *testing.T) {
	var m metadata
	require.NoError(t, json.Unmarshal([]byte(`{"aliases":{"a":{}},"mappings":{"properties":{}},"settings":{"index":{
	 "uuid":"u","creation_date":"1","provided_name":"x","version":{"created":"8"},"resize":{"source":{"name":"y"}},
	 "number_of_shards":"3","number_of_replicas":"2","refresh_interval":"-1","sort":{"field":["a","b"]},"number_of_routing_shards":"12",
	 "soft_deletes":{"enabled":"false"},"blocks":{"write":"true"},"default_pipeline":"p","write":{"wait_for_active_shards":"3"},
	 "routing":{"allocation":{"include":{"_tier_preference":"data_hot"},"initial_recovery":{"_id":"n"}}}}}}`), &m))
	c := newCreation(&m)
	flat := func(m map[string]json.RawMessage) map[string]string {
		out := map[string]string{}
		for k, v := range m {
			out[k] = string(v)
		}
		return out
	}
	require.Equal(t, map[string]string{
		"index.number_of_shards": `"3"`, "index.refresh_interval": `"-1"`, "index.sort.field": `["a","b"]`,
		"index.number_of_routing_shards": `"12"`, "index.number_of_replicas": `"0"`, "index.auto_expand_replicas": `"false"`,
		"index.write.wait_for_active_shards": `"1"`,
		"index.default_pipeline":             `"_none"`, "index.final_pipeline": `"_none"`,
	}, flat(c.settings))
	require.Equal(t, map[string]string{
		"index.number_of_replicas": `"2"`, "index.default_pipeline": `"p"`, "index.final_pipeline": "null",
		"index.auto_expand_replicas": "null", "index.write.wait_for_active_shards": `"3"`, "index.routing.allocation.include._tier_preference": `"data_hot"`,
	}, flat(c.later))
	require.Equal(t, map[string]string{"index.blocks.write": `"true"`}, flat(c.blocks))
	require.Len(t, c.removed, 7)
}

// An index that was mounted from a snapshot comes back as an ordinary one.
func TestNewCreationOfAMountedSnapshot(t *testing.T) {
	var m metadata
	require.NoError(t, json.Unmarshal([]byte(`{"settings":{"index":{"number_of_shards":"1","search":{"throttled":"true"},"priority":"0",
	 "store":{"type":"snapshot","snapshot":{"repository_name":"r","snapshot_name":"s","index_name":"i","partial":"true"}},
	 "routing":{"allocation":{"include":{"_tier_preference":"data_frozen"}}},"blocks":{"write":"true"}}}}`), &m))
	c := newCreation(&m)
	for name := range c.settings {
		require.NotContains(t, name, "snapshot")
		require.NotContains(t, name, "store")
	}
	require.NotContains(t, c.later, "index.routing.allocation.include._tier_preference")
	require.Contains(t, c.settings, "index.priority")
	require.Contains(t, c.blocks, "index.blocks.write")
	require.Len(t, c.removed, 7)
}

func TestCompareMetadata(t *testing.T) {
	parse := func(s string) *metadata {
		m := &metadata{}
		require.NoError(t, json.Unmarshal([]byte(s), m))
		return m
	}
	a := parse(`{"aliases":{"x":{"filter":{"term":{"n":1.0}}}},"mappings":{"properties":{"a":{"type":"long"}}},"settings":{"index":{"uuid":"1","number_of_replicas":"1"}}}`)
	b := parse(`{"settings":{"index":{"uuid":"2","number_of_replicas":1}},"mappings":{ "properties" : {"a":{"type":"long"}}},"aliases":{"x":{"filter":{"term":{"n":1}}}}}`)
	diffs, err := compareMetadata(a, b)
	require.NoError(t, err)
	require.Empty(t, diffs)
	c := parse(`{"settings":{"index":{"number_of_replicas":"0","codec":"best_compression"}},"mappings":{"properties":{"a":{"type":"keyword"}}},"aliases":{}}`)
	diffs, err = compareMetadata(a, c)
	require.NoError(t, err)
	require.Equal(t, []string{
		"settings: codec: backup none, cluster best_compression",
		"settings: number_of_replicas: backup 1, cluster 0",
		`mappings: properties.a.type: backup "long", cluster "keyword"`,
		"aliases: x.filter.term.n: backup 1, cluster none",
	}, diffs)
}

// Version 9 overlooks the mode of _source in a mapping.
func TestModeOfSourceBecomesASetting(t *testing.T) {
	for _, tc := range []struct{ in, mappings, mode string }{
		{`{"mappings":{"_source":{"mode":"synthetic"},"properties":{"n":{"type":"long"}}}}`, `{"properties":{"n":{"type":"long"}}}`, "synthetic"},
		{`{"mappings":{"_source":{"mode":"stored","excludes":["a"]}},"settings":{"index":{"x":"1"}}}`, `{"_source":{"excludes":["a"]}}`, "stored"},
		{`{"mappings":{"_source":{"mode":"disabled"}},"settings":{"index":{"mapping":{"source":{"mode":"synthetic"}}}}}`, `{}`, "synthetic"},
		{`{"mappings":{"_source":{"enabled":false},"properties":{"mode":{"type":"long"}}}}`, `{"_source":{"enabled":false},"properties":{"mode":{"type":"long"}}}`, ""},
	} {
		var m, other metadata
		require.NoError(t, json.Unmarshal([]byte(tc.in), &m))
		require.NoError(t, json.Unmarshal([]byte(tc.in), &other))
		require.NoError(t, m.moveSourceMode())
		require.JSONEq(t, tc.mappings, string(m.mappings))
		require.Equal(t, tc.mode, m.text(sourceMode))
		diffs, err := compareMetadata(&other, &m)
		require.NoError(t, err)
		require.Empty(t, diffs)
	}
	require.True(t, ignoresSourceMode("9.5.2"))
	require.True(t, ignoresSourceMode("10.0.0"))
	require.False(t, ignoresSourceMode("8.19.0"))
	require.False(t, ignoresSourceMode(""))
}

// So it is in templates.
func TestModeOfSourceInTemplates(t *testing.T) {
	const mappings = `"mappings":{"_source":{"mode":"synthetic"},"properties":{"n":{"type":"long"}}}`
	for section, tc := range map[string][2]string{
		"component_templates": {`{"version":3,"template":{"settings":{"index":{"priority":"7"}},` + mappings + `}}`,
			`{"version":3,"template":{"settings":{"index":{"priority":"7"},"index.mapping.source.mode":"synthetic"},"mappings":{"properties":{"n":{"type":"long"}}}}}`},
		"index_templates": {`{"index_patterns":["a"],"template":{` + mappings + `}}`,
			`{"index_patterns":["a"],"template":{"settings":{"index.mapping.source.mode":"synthetic"},"mappings":{"properties":{"n":{"type":"long"}}}}}`},
		"legacy_templates": {`{"index_patterns":["a"],"settings":{"index":{"mapping":{"source":{"mode":"stored"}}}},` + mappings + `}`,
			`{"index_patterns":["a"],"settings":{"index":{"mapping":{"source":{"mode":"stored"}}}},"mappings":{"properties":{"n":{"type":"long"}}}}`},
		"ingest_pipelines": {`{"_source":{"mode":"x"}}`, `{"_source":{"mode":"x"}}`},
	} {
		got, err := objectFor("9.5.2", section, json.RawMessage(tc[0]))
		require.NoError(t, err)
		require.JSONEq(t, tc[1], string(got))
		got, err = objectFor("8.19.0", section, json.RawMessage(tc[0]))
		require.NoError(t, err)
		require.Equal(t, tc[0], string(got))
	}
}

// A server makes a system index as it sees fit.
func TestIndexThatTheServerMakesOtherwise(t *testing.T) {
	es := cluster(t)
	via := &between{es: es, fn: func(_ int, r *http.Request, _ []byte, do func() (*http.Response, error)) (*http.Response, error) {
		if r.Method == "PUT" && r.URL.Path == "/t-one" {
			r.Body, r.ContentLength = http.NoBody, 0
		}
		return do()
	}}
	b := plainBackup(t)
	_, err := runPlan(t.Context(), b, via, fast(Options{}))
	require.EqualError(t, err, "restore: index t-one: create: there is an index of its name now that was not made as it was asked for; "+
		"the server makes system indices so, as it sees fit: restore the documents alone, into that")
	_, err = runPlan(t.Context(), b, via, fast(Options{DocumentsOnly: true}))
	require.NoError(t, err)
	require.Len(t, contents(t, es, "t-one"), 100)
}
