package e2e_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/restore"
	"github.com/escrow-backup/escrow/restore/query"
)

// TestRestoreOptions restores parts of a backup in all the ways that there are, and looks at what the server then has.
func TestRestoreOptions(t *testing.T) {
	onEach(t, func(t *testing.T, e *es) {
		e.later(t, "/_data_stream/ro-ds", "/_data_stream/rx-ds", "/_index_template/ro-t")
		e.removeLater(t, "rx-a", "rx-b", "rx-none")
		body := `{"settings":{"number_of_shards":2,"number_of_replicas":0,"refresh_interval":"9s",
			"analysis":{"analyzer":{"mine":{"type":"custom","tokenizer":"standard"}}}},
			"mappings":{"properties":{"n":{"type":"long"},"text":{"type":"text","analyzer":"mine"}}},
			"aliases":{"ro-%s-own":{"filter":{"term":{"n":7}}},"ro-all":{}}}`
		for _, index := range []string{"a", "b"} {
			e.create(t, "ro-"+index, fmt.Sprintf(body, index))
			l := e.loader(t)
			for n := range 100 {
				l.index("ro-"+index, fmt.Sprint(n), "", fmt.Appendf(nil, `{"n":%d,"text":"The Text","f":1.10}`, n))
			}
			l.flush()
		}
		e.do(t, "PUT", "/_index_template/ro-t", `{"index_patterns":["ro-ds","rx-ds"],"data_stream":{},"template":{"settings":{"number_of_replicas":0}}}`)
		for day := 1; day <= 4; day++ {
			if day == 3 {
				e.do(t, "POST", "/ro-ds/_rollover", "")
			}
			for hour := range 3 {
				e.do(t, "PUT", fmt.Sprintf("/ro-ds/_create/%d-%d", day, hour), fmt.Sprintf(`{"@timestamp":"2026-03-0%dT0%d:00:00Z"}`, day, hour))
			}
		}
		all := contents{}
		e.read(t, all, false, "ro-a", "ro-b")
		src, _ := e.dumped(t, &backup.Options{Indices: []string{"ro-*"}, Sections: []string{"none"}})
		x := []restore.Rename{{From: "ro-*", To: "rx-*"}}
		ids := func(index string) (list []string) {
			t.Helper()
			docs := contents{}
			e.read(t, docs, false, index)
			for k := range docs {
				list = append(list, k.id)
			}
			slices.Sort(list)
			return list
		}
		aliases := func(index string) (list []string) {
			t.Helper()
			for name := range metadata(t, e, index)["aliases"].(map[string]any) {
				list = append(list, name)
			}
			slices.Sort(list)
			return list
		}
		whole := func(from, to string) {
			t.Helper()
			want, got := contents{}, contents{}
			for k, h := range all {
				if k.index == from {
					want[k] = h
				}
			}
			e.read(t, got, false, to)
			same(t, want, got.renamed(func(string) string { return from }))
		}
		clean := func(o *restore.Options) {
			t.Helper()
			diff := verify(t, e, src, o)
			require.True(t, diff.Identical(), diff.String())
			e.remove(t, "rx-a,rx-b")
		}

		// A plan writes nothing.
		o := &restore.Options{Indices: []string{"ro-*"}, Exclude: []string{"*-b", "ro-ds"}, Rename: x, RenameAliases: []restore.Rename{{From: "ro-a-*", To: "rx-a-*"}},
			ExcludeAliases: []string{"ro-all"}}
		plan, err := restore.NewPlan(t.Context(), src, e.transport(t), o)
		require.NoError(t, err)
		require.Contains(t, plan.String(), "create   rx-a (from ro-a): 100 documents")
		require.NotContains(t, plan.String(), "rx-b")
		require.False(t, e.exists(t, "rx-a"))

		// Chosen, excluded and renamed, aliases too.
		_, err = plan.Run(t.Context())
		require.NoError(t, err)
		whole("ro-a", "rx-a")
		require.False(t, e.exists(t, "rx-b"))
		require.Equal(t, []string{"rx-a-own"}, aliases("rx-a"))
		clean(o)
		o = &restore.Options{Indices: []string{"ro-b-own"}, Rename: x} // by an alias; aliases stay
		e.restored(t, src, o)
		require.Equal(t, []string{"ro-all", "ro-b-own"}, aliases("rx-b"))
		require.Contains(t, string(e.do(t, "GET", "/_alias/ro-b-own", "")), `"rx-b"`)
		whole("ro-b", "rx-b")
		clean(o)

		// Metadata alone, and then the documents.
		o = &restore.Options{Indices: []string{"ro-a"}, Rename: x, MetadataOnly: true}
		e.restored(t, src, o)
		require.Zero(t, e.count(t, "rx-a"))
		require.Equal(t, metadata(t, e, "ro-a"), metadata(t, e, "rx-a"))
		o.MetadataOnly, o.DocumentsOnly = false, true
		e.do(t, "PUT", "/rx-a/_settings", `{"index.refresh_interval":"3s"}`)
		e.restored(t, src, o)
		whole("ro-a", "rx-a")
		require.Equal(t, "3s", metadata(t, e, "rx-a")["settings"].(map[string]any)["refresh_interval"])
		clean(o)

		// By a query, and by a function.
		q, err := query.Parse([]byte(`{"bool":{"must":[{"range":{"n":{"gte":10,"lt":30}}}],"must_not":[{"term":{"n":12}}]}}`))
		require.NoError(t, err)
		o = &restore.Options{Indices: []string{"ro-a"}, Rename: x, Filter: q.Match}
		require.EqualValues(t, 81, e.restored(t, src, o).LeftOut)
		var found struct {
			Hits struct{ Total struct{ Value int } }
		}
		require.NoError(t, json.Unmarshal(e.do(t, "GET", "/ro-a/_search?size=0", `{"query":{"bool":{"must":[{"range":{"n":{"gte":10,"lt":30}}}],"must_not":[{"term":{"n":12}}]}}}`), &found))
		require.Len(t, ids("rx-a"), found.Hits.Total.Value)
		require.NotContains(t, ids("rx-a"), "12")
		clean(o)
		o.Filter = func(d *restore.Document) (bool, error) { return strings.HasPrefix(d.ID, "4"), nil }
		e.restored(t, src, o)
		require.Equal(t, []string{"4", "40", "41", "42", "43", "44", "45", "46", "47", "48", "49"}, ids("rx-a"))
		clean(o)

		// Other settings and mappings.
		o = &restore.Options{Indices: []string{"ro-a"}, Rename: x, Overrides: []restore.Override{{Indices: []string{"ro-*"},
			Settings: json.RawMessage(`{"number_of_shards":3,"number_of_replicas":1,"refresh_interval":null,"analysis":{"analyzer":{"mine":{"filter":["lowercase"]}}}}`),
			Mappings: json.RawMessage(`{"properties":{"n":{"type":"keyword"},"f":{"type":"float"}}}`)}}}
		e.restored(t, src, o)
		whole("ro-a", "rx-a")
		m := metadata(t, e, "rx-a")
		settings := m["settings"].(map[string]any)
		require.Equal(t, []any{"3", "1", nil}, []any{settings["number_of_shards"], settings["number_of_replicas"], settings["refresh_interval"]})
		require.Equal(t, map[string]any{"type": "keyword"}, m["mappings"].(map[string]any)["properties"].(map[string]any)["n"])
		require.Contains(t, string(e.do(t, "GET", "/rx-a/_analyze", `{"analyzer":"mine","text":"The Text"}`)), `"token":"the"`)
		clean(o)

		// A range of time of a data stream, from the middle of one index to the middle of the next.
		at := func(s string) time.Time {
			v, err := time.Parse(time.RFC3339, s)
			require.NoError(t, err)
			return v
		}
		o = &restore.Options{Indices: []string{"ro-ds"}, Rename: []restore.Rename{{From: "ro-ds", To: "rx-ds"}}, From: at("2026-03-02T01:00:00Z"), To: at("2026-03-03T02:00:00Z")}
		r := e.restored(t, src, o)
		require.EqualValues(t, 4, r.Documents)
		require.EqualValues(t, 8, r.LeftOut)
		_, docs := e.whole(t, "rx-ds")
		var times []string
		for k := range docs {
			times = append(times, k.id)
		}
		slices.Sort(times)
		require.Equal(t, []string{"2-1", "2-2", "3-0", "3-1"}, times)
		require.Len(t, e.stream(t, "rx-ds").Indices, 2)
		diff := verify(t, e, src, o)
		require.True(t, diff.Identical(), diff.String())
	})
}
