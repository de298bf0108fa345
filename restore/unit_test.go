package restore

import (
	"encoding/json"
	"io/fs"
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
