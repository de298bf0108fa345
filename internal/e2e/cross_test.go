package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/restore"
)

// TestCrossVersions restores on each version what was backed up on the other: documents as bytes, mappings, aliases, templates, pipelines, a
// data stream. Settings that the other does not know are left out and named; a mapping that it does not take is refused before anything is
// written.
func TestCrossVersions(t *testing.T) {
	both := versions()
	if len(both) < 2 {
		t.Skip("one version was asked for: there is no other")
	}
	for i, v := range both {
		other := both[1-i]
		t.Run(fmt.Sprintf("%s to %s", v, other), func(t *testing.T) {
			crossVersions(t, server(t, v), server(t, other), fmt.Sprintf("cv%d", i))
		})
	}
}

// newer are settings that one of the versions does not know; each is asked of the server that is to have them.
var newer = []string{`"index.mapping.nested_parents.limit":60`, `"index.dense_vector.hnsw_enable_early_termination":true`,
	`"index.mapping.array_objects.limit":7000`}

func crossVersions(t *testing.T, from, to *es, pre string) {
	objects := []string{"/_data_stream/" + pre + "-logs", "/_index_template/" + pre + "-t", "/_component_template/" + pre + "-c"}
	names := []string{pre + "-plain", pre + "-nested", pre + "-set", pre + "-new"}
	for _, e := range []*es{from, to} {
		e.later(t, "/_ingest/pipeline/"+pre+"-p") // last: an index uses it
		e.later(t, objects...)
		e.removeLater(t, names...)
	}
	from.do(t, "PUT", "/_ingest/pipeline/"+pre+"-p", `{"description":"of `+pre+`","processors":[]}`)
	from.do(t, "PUT", "/_component_template/"+pre+"-c", `{"template":{"mappings":{"properties":{"level":{"type":"keyword"}}}}}`)
	from.do(t, "PUT", "/_index_template/"+pre+"-t", `{"index_patterns":["`+pre+`-logs*"],"composed_of":["`+pre+`-c"],"data_stream":{},"priority":700,
		"template":{"settings":{"number_of_replicas":0}}}`)
	from.do(t, "PUT", "/"+pre+"-plain", `{"settings":{"number_of_shards":3,"number_of_replicas":0,"refresh_interval":"7s","default_pipeline":"`+pre+`-p",
		"analysis":{"analyzer":{"mine":{"type":"custom","tokenizer":"standard","filter":["lowercase"]}}}},
		"mappings":{"properties":{"text":{"type":"text","analyzer":"mine"},"n":{"type":"long"},"day":{"type":"date","format":"yyyy-MM-dd||epoch_millis"},"o":{"type":"object","enabled":false}}},
		"aliases":{"`+pre+`-alias":{"filter":{"term":{"n":7}},"is_write_index":true}}}`)
	l := from.loader(t)
	for n := range 3_000 {
		l.index(pre+"-plain", fmt.Sprint(n), "", fmt.Appendf(nil, `{"n":%d, "text":"Zeile é <&> %d","x": 1.0,"big":9007199254740993,"o":{"z":[1.50,{}],"a":null},"day":"2026-11-%02d"}`, n, n, n%28+1))
	}
	from.do(t, "PUT", "/"+pre+"-nested", `{"settings":{"number_of_shards":2,"number_of_replicas":0},"mappings":{"dynamic":"strict","_routing":{"required":true},
		"properties":{"c":{"type":"nested","properties":{"k":{"type":"keyword"},"g":{"type":"geo_point"},"ip":{"type":"ip"}}}}}}`)
	for n := range 300 {
		l.index(pre+"-nested", fmt.Sprintf("id %d/ü", n), fmt.Sprint("r", n%7), fmt.Appendf(nil, `{"c":[{"k":"%d","g":"41.1,-71.3"},{"ip":"::1"}]}`, n))
	}
	for n := range 20 {
		from.do(t, "PUT", fmt.Sprintf("/%s-logs/_create/%d", pre, n), fmt.Sprintf(`{"@timestamp":"2026-11-%02dT00:00:00Z","level":"info","v":%d.0}`, n+1, n))
		if n == 9 {
			from.do(t, "POST", "/"+pre+"-logs/_rollover", "")
		}
	}
	l.flush()
	// What only the one has, and what only the other takes.
	var own string
	for _, s := range newer {
		if status, _ := from.request(t, "PUT", "/"+pre+"-set", `{"settings":{"number_of_replicas":0,`+s+`}}`); status == 200 {
			if status, _ := to.request(t, "PUT", "/"+pre+"-set", `{"settings":{`+s+`}}`); status == 400 {
				own, _, _ = strings.Cut(strings.Trim(s, `"`), `"`)
				from.do(t, "PUT", "/"+pre+"-set/_doc/1", `{"a":1.0}`)
				break
			}
			to.remove(t, pre+"-set")
			from.remove(t, pre+"-set")
		}
	}
	vectors := `{"settings":{"number_of_replicas":0},"mappings":{"properties":{"v":{"type":"dense_vector","dims":64,"index_options":{"type":"bbq_disk"}}}}}`
	status, _ := from.request(t, "PUT", "/"+pre+"-new", vectors)
	refuses := status == 200
	if refuses {
		from.do(t, "PUT", "/"+pre+"-new/_doc/1", `{"a":1}`)
	}
	newest := from.version > to.version
	require.Equal(t, newest, refuses)
	require.Equal(t, newest, own != "")

	src, m := from.dumped(t, &backup.Options{Indices: []string{pre + "-*"},
		Sections: []string{"ingest_pipelines/" + pre + "-p", "component_templates/" + pre + "-c", "index_templates/" + pre + "-t"}})
	require.Len(t, m.DataStreams, 1)
	o := &restore.Options{Sections: []string{"default"}}
	if refuses {
		_, err := restore.NewPlan(t.Context(), src, to.transport(t), o)
		require.ErrorContains(t, err, "index "+pre+"-new: ")
		require.ErrorContains(t, err, "bbq_disk")
		for _, name := range names {
			require.False(t, to.exists(t, name), name)
		}
		for _, path := range append(objects, "/_ingest/pipeline/"+pre+"-p") {
			status, _ := to.request(t, "GET", path, "")
			require.Equal(t, 404, status, path)
		}
		o.Exclude = []string{pre + "-new"}
	}
	plan, err := restore.NewPlan(t.Context(), src, to.transport(t), o)
	require.NoError(t, err)
	t.Logf("the plan:\n%s", plan)
	removed := map[string][]string{}
	for _, x := range plan.Indices {
		removed[x.From] = x.Removed
	}
	for _, s := range plan.DataStreams {
		for _, x := range s.Indices {
			removed[x.From] = x.Removed
		}
	}
	if own != "" {
		name := strings.TrimPrefix(own, "index.")
		require.Contains(t, removed[pre+"-set"], fmt.Sprintf("%s: version %s does not know it, %s did", name, to.version, from.version))
		require.Regexp(t, `create +`+pre+`-set: 1 documents; not restored: .*`+name, plan.String())
	}
	_, err = plan.Run(t.Context())
	require.NoError(t, err)

	indices := []string{pre + "-plain", pre + "-nested", pre + "-logs"}
	want, got := contents{}, contents{}
	from.read(t, want, false, indices...)
	to.read(t, got, false, indices...)
	require.Len(t, want, 3_000+300+20)
	same(t, want, got)
	for _, path := range []string{"/" + pre + "-plain/_mapping", "/" + pre + "-nested/_mapping", "/" + pre + "-plain/_alias", "/_ingest/pipeline/" + pre + "-p",
		"/_component_template/" + pre + "-c", "/_index_template/" + pre + "-t"} {
		require.JSONEq(t, from.answer(t, path), to.answer(t, path), path)
	}
	was, is := from.stream(t, pre+"-logs"), to.stream(t, pre+"-logs")
	require.Equal(t, was.Generation, is.Generation)
	require.Equal(t, was.Indices, is.Indices)
	require.Contains(t, string(to.do(t, "GET", "/"+pre+"-plain/_settings", "")), `"refresh_interval":"7s"`)

	// A comparison finds the settings that only one of the versions knows, and nothing else.
	diff := verify(t, to, src, o)
	t.Logf("the comparison:\n%s", diff)
	require.Empty(t, diff.Objects)
	for _, x := range diff.Indices {
		require.Zero(t, x.DocsMissing+x.DocsExtra+x.DocsChanged)
		for _, d := range x.Metadata {
			name, values, ok := strings.Cut(strings.TrimPrefix(d, "settings: "), ": ")
			require.True(t, ok && strings.HasPrefix(d, "settings: "), d)
			if value, added := strings.CutPrefix(values, "backup none, cluster "); added {
				// The newer version says of every index what the older one could not.
				status, _ := from.request(t, "PUT", "/"+pre+"-never", `{"settings":{"index.`+name+`":"`+value+`"}}`)
				require.Equal(t, 400, status, d)
				continue
			}
			require.Contains(t, strings.Join(removed[x.Index], "\n"), name+": version "+string(to.version)+" does not know it", d)
		}
	}
	noContexts(t, to, pre+"-*")
}
