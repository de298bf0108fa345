package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/internal/e2e/esserver"
	"github.com/escrow-backup/escrow/layout"
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

// TestFromVersion8To9 restores what version 8.19 took, and holds, and 9.5 does not take: mappings of templates, and one as version 7 made them and
// 8 still serves. Each is refused before anything is written. The mode of _source, which 9 overlooks in a mapping, comes back as a setting.
func TestFromVersion8To9(t *testing.T) {
	both := versions()
	if len(both) < 2 {
		t.Skip("one version was asked for: there is no other")
	}
	from, to := server(t, esserver.V8), server(t, esserver.V9)
	templates := []string{"/_component_template/om-good", "/_component_template/om-c", "/_index_template/om-t", "/_template/om-l"}
	for _, e := range []*es{from, to} {
		e.later(t, templates...)
		e.removeLater(t, "om-plain", "om-mode")
	}
	const refused = `{"mappings":{"_source":{"boost":1}}}`
	from.do(t, "PUT", templates[0], `{"template":{"mappings":{"_source":{"mode":"synthetic"},"properties":{"n":{"type":"long"}}}}}`)
	from.do(t, "PUT", templates[1], `{"template":`+refused+`}`)
	from.do(t, "PUT", templates[2], `{"index_patterns":["om-never-*"],"template":`+refused+`}`)
	from.do(t, "PUT", templates[3], `{"index_patterns":["om-old-*"],`+refused[1:])
	from.create(t, "om-plain", `{"settings":{"number_of_replicas":0},"mappings":{"properties":{"n":{"type":"long"}}}}`)
	from.put(t, "om-plain", 0, 20, "plain")
	from.create(t, "om-mode", `{"settings":{"number_of_replicas":0},"mappings":{"_source":{"mode":"synthetic"},"properties":{"n":{"type":"long"},"k":{"type":"keyword"}}}}`)
	from.do(t, "PUT", "/om-mode/_doc/1", `{"n":7,"k":["b","a","b"]}`)

	dir := t.TempDir()
	target, err := backup.Dir(dir)
	require.NoError(t, err)
	_, err = backup.Dump(t.Context(), from.transport(t), target, &backup.Options{Indices: []string{"om-*"},
		Sections: []string{"component_templates/om-*", "index_templates/om-*", "legacy_templates/om-*"}})
	require.NoError(t, err)
	require.NoError(t, target.Close())
	src := os.DirFS(dir)
	refuses := func(o *restore.Options, words ...string) {
		t.Helper()
		_, err := restore.NewPlan(t.Context(), src, to.transport(t), o)
		for _, w := range append(words, "version 9.5.2 does not take what 8.19.0 did") {
			require.ErrorContains(t, err, w)
		}
		for _, path := range append([]string{"/om-plain", "/om-mode"}, templates...) {
			status, _ := to.request(t, "GET", path, "")
			require.Equal(t, 404, status, path)
		}
	}
	const why = "unknown parameter [boost] on metadata field [_source]"
	refuses(nil, "component_templates/om-c: ", "index_templates/om-t: ", "legacy_templates/om-l: ", why)
	refuses(&restore.Options{Sections: []string{"legacy_templates"}}, "legacy_templates/om-l: ", why)

	// Left out, the rest is restored.
	o := &restore.Options{Sections: []string{"component_templates/om-good"}}
	to.restored(t, src, o)
	to.do(t, "PUT", "/_index_template/om-t", `{"index_patterns":["om-made"],"composed_of":["om-good"]}`)
	to.create(t, "om-made", `{}`)
	require.Equal(t, "synthetic", metadata(t, to, "om-made")["settings"].(map[string]any)["mapping"].(map[string]any)["source"].(map[string]any)["mode"])
	to.remove(t, "om-made")
	to.do(t, "DELETE", "/_index_template/om-t", "")
	want, got := contents{}, contents{}
	from.read(t, want, false, "om-plain", "om-mode")
	to.read(t, got, false, "om-plain", "om-mode")
	same(t, want, got)
	require.Contains(t, string(to.do(t, "GET", "/om-mode/_settings", "")), `"source":{"mode":"synthetic"}`)
	diff := verify(t, to, src, o)
	require.Empty(t, diff.Objects)
	for _, x := range diff.Indices {
		require.NotContains(t, strings.Join(x.Metadata, "\n"), "source")
	}
	to.remove(t, "om-plain,om-mode")
	to.do(t, "DELETE", templates[0], "")

	// As version 7 made an index, which 8 reads.
	name := filepath.Join(dir, layout.IndexPath("om-plain"))
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	old := strings.Replace(string(b), `"properties":{`, `"properties":{"old":{"type":"keyword","boost":2.0},`, 1)
	require.NotEqual(t, string(b), old)
	require.NoError(t, os.WriteFile(name, []byte(old), 0o600))
	o = &restore.Options{Indices: []string{"om-*"}}
	refuses(o, "index om-plain: ", "[boost]")
	o.Exclude = []string{"om-plain"}
	to.restored(t, src, o)
	require.False(t, to.exists(t, "om-plain"))
	require.EqualValues(t, 1, to.count(t, "om-mode"))
}
