package restore

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/internal/elastic"
)

func TestNamesFollow(t *testing.T) {
	r := &references{in: map[string]bool{"t-a": true, "t-b": true, "t-left": true, "other": true, "logs": true},
		to: map[string]string{"t-a": "u-a", "t-b": "u-b", "other": "other", "al": "bl", "stays": "stays", "logs": "journal", ".ds-logs-1": ".ds-journal-1"},
		o:  &Options{Rename: []Rename{{"t-*", "u-*"}, {"logs", "journal"}}, RenameAliases: []Rename{{"al", "bl"}}}}
	for _, c := range []struct {
		from, to, why string
		made          bool
	}{
		{from: "t-a", to: "u-a"},
		{from: "other", to: "other"},
		{from: "al", to: "bl"},
		{from: "stays", to: "stays"},
		{from: "t-a,-t-b,other", to: "u-a,-u-b,other"},
		{from: "logs::failures", to: "journal::failures"},
		{from: ".ds-logs-1", to: ".ds-journal-1"},
		{from: "remote:t-a", to: "remote:t-a"},
		{from: "t-left", to: "t-left", why: "w keeps t-left: it is not restored"},
		{from: "t-new", to: "t-new", why: "w keeps t-new: it is not restored"},
		{from: "t-new", to: "u-new", made: true},
		{from: "t-left", to: "t-left", made: true, why: "w keeps t-left: it is not restored"},
		{from: "new", to: "new", made: true},
		{from: "t-*", to: "u-*"},
		{from: "t-*,-t-b", to: "u-*,-u-b"},
		{from: "t-a*", to: "u-a*"},
		{from: "t*", to: "t*", why: "w keeps t*: no pattern matches just what is called otherwise now"},
		{from: "*-a", to: "*-a"},
		{from: "*", to: "*"},
		{from: "oth*", to: "oth*"},
		{from: "none-*", to: "none-*"},
		{from: "t-none-*", to: "t-none-*", why: "w keeps t-none-*: nothing that it matches is restored"},
		{from: ".ds-logs-*", to: ".ds-logs-*", why: "w keeps .ds-logs-*: no pattern matches just what is called otherwise now"},
		{from: "<t-{now/d}>", to: "<t-{now/d}>", why: "w keeps <t-{now/d}>: it is made of the date"},
		{from: "<x-{now/d{yyyy,MM}}>", to: "<x-{now/d{yyyy,MM}}>"},
		{from: "t-{{ctx.payload.x}}", to: "t-{{ctx.payload.x}}", why: "w keeps t-{{ctx.payload.x}}: its names are made when it is used"},
	} {
		f := &following{r: r, made: c.made}
		require.Equal(t, c.to, f.expression(c.from, "w"), c.from)
		require.Equal(t, c.from != c.to, f.changed, c.from)
		if c.why == "" {
			require.Empty(t, f.left, c.from)
		} else {
			require.Equal(t, []string{c.why}, f.left)
		}
	}
}

// Objects of sections name what they named, whatever it is called after a restore.
func TestObjectsFollowRenames(t *testing.T) {
	es := estest.NewHandler(nil).Transport()
	must(t, es, "PUT", "/t-people", `{"mappings":{"properties":{"id":{"type":"keyword"}}},"aliases":{"folk":{}}}`)
	must(t, es, "PUT", "/t-people/_doc/1?refresh=true", `{"id":"1","name":"Kim"}`)
	must(t, es, "PUT", "/plain", `{}`)
	must(t, es, "PUT", "/_enrich/policy/p", `{"match":{"indices":["t-people","plain"],"match_field":"id","enrich_fields":["name"]}}`)
	must(t, es, "PUT", "/_transform/f", `{"source":{"index":["t-*","folk"],"query":{"range":{"n":{"lt":12345678901234567890}}}},"dest":{"index":"t-sums","aliases":[{"alias":"folk"}]},
		"pivot":{"group_by":{"n":{"terms":{"field":"n"}}},"aggregations":{"c":{"value_count":{"field":"n"}}}}}`)
	must(t, es, "PUT", "/_watcher/watch/w?active=false", `{"trigger":{"schedule":{"interval":"10m"}},
		"input":{"chain":{"inputs":[{"a":{"search":{"request":{"indices":["t-people"],"body":{"query":{"match":{"index":"t-people"}}}}}}},{"b":{"search":{"request":{"indices":"folk"}}}}]}},
		"transform":{"search":{"request":{"indices":["<t-{now/d}>"]}}},
		"actions":{"i":{"transform":{"search":{"request":{"indices":["t-people"]}}},"index":{"index":"t-alerts"}},"l":{"logging":{"text":"t-people"}}}}`)
	src, _ := dump(t, es, &backup.Options{Sections: []string{"enrich_policies", "transforms", "watches"}})

	to := estest.NewHandler(nil).Transport()
	o := Options{Rename: []Rename{{"t-*", "u-*"}}, RenameAliases: []Rename{{"folk", "people"}}}
	p, _ := restored(t, src, to, o)
	objects := map[string]map[string]any{}
	for _, name := range []string{"enrich_policies", "transforms", "watches"} {
		for _, s := range elastic.Sections() {
			if s.Name == name {
				all, err := elastic.New(to, nil).Objects(t.Context(), s)
				require.NoError(t, err)
				require.Len(t, all, 1)
				for _, raw := range all {
					require.NotContains(t, string(raw), "12345678901234567000")
					var m map[string]any
					require.NoError(t, json.Unmarshal(raw, &m))
					objects[name] = m
				}
			}
		}
	}
	at := func(section string, path ...any) any {
		var v any = objects[section]
		for _, k := range path {
			if i, ok := k.(int); ok {
				v = v.([]any)[i]
			} else {
				v = v.(map[string]any)[k.(string)]
			}
		}
		return v
	}
	require.Equal(t, []any{"u-people", "plain"}, at("enrich_policies", "match", "indices"))
	require.Equal(t, []any{"u-*", "people"}, at("transforms", "source", "index"))
	require.Equal(t, "u-sums", at("transforms", "dest", "index"))
	require.Equal(t, "people", at("transforms", "dest", "aliases", 0, "alias"))
	inputs := at("watches", "watch", "input", "chain", "inputs")
	require.Equal(t, []any{"u-people"}, inputs.([]any)[0].(map[string]any)["a"].(map[string]any)["search"].(map[string]any)["request"].(map[string]any)["indices"])
	require.Equal(t, "t-people", inputs.([]any)[0].(map[string]any)["a"].(map[string]any)["search"].(map[string]any)["request"].(map[string]any)["body"].(map[string]any)["query"].(map[string]any)["match"].(map[string]any)["index"])
	require.Equal(t, "people", inputs.([]any)[1].(map[string]any)["b"].(map[string]any)["search"].(map[string]any)["request"].(map[string]any)["indices"])
	require.Equal(t, []any{"<t-{now/d}>"}, at("watches", "watch", "transform", "search", "request", "indices"))
	require.Equal(t, []any{"u-people"}, at("watches", "watch", "actions", "i", "transform", "search", "request", "indices"))
	require.Equal(t, "u-alerts", at("watches", "watch", "actions", "i", "index", "index"))
	require.Equal(t, "t-people", at("watches", "watch", "actions", "l", "logging", "text"))
	require.Contains(t, p.String(), "create   watches/w: search.request.indices keeps <t-{now/d}>: it is made of the date\n")
	require.Contains(t, p.String(), "create   transforms/f\n")

	d, err := Verify(t.Context(), src, to, fast(o))
	require.NoError(t, err)
	require.True(t, d.Identical(), d.String())
	o.Resume = true
	p, _ = restored(t, src, to, o)
	for _, x := range p.Objects {
		require.Equal(t, "equal", x.Action)
	}
	// Without new names nothing is touched.
	restored(t, src, estest.NewHandler(nil).Transport(), Options{})
}
