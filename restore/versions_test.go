package restore

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/layout"
)

func versioned(id string, version int64) Document {
	return Document{ID: id, Source: []byte(`{"n":1}`), Versioned: true, Version: version}
}

func TestVersionsAreKept(t *testing.T) {
	es := cluster(t)
	b := newBackup().add(t, "t-one", plainMeta, []Document{versioned("a", 5), versioned("zero", 0),
		{ID: "a", Versioned: true, Version: 5, Deleted: true}, versioned("a", 6)})
	_, err := runPlan(t.Context(), b, es, fast(Options{}))
	require.NoError(t, err)
	version := func(id string) any { return call(t, es, "GET", "/t-one/_doc/"+id, "")["_version"] }
	require.EqualValues(t, 6, version("a"))
	require.EqualValues(t, 0, version("zero"))
	identical(t, b, es, Options{})

	// Merged, what is newer in the cluster is not overwritten, and is named.
	call(t, es, "PUT", "/t-one/_doc/a?refresh=true", `{"n":2}`)
	var refused []Rejection
	o := fast(Options{Conflict: Merge})
	o.Rejected = func(r Rejection) { refused = append(refused, r) }
	_, err = runPlan(t.Context(), b, es, o)
	var load *LoadError
	require.ErrorAs(t, err, &load)
	require.Contains(t, load.ByType, "version_conflict_engine_exception")
	require.NotEmpty(t, refused)
	require.Equal(t, "a", refused[0].Document.ID)
	require.True(t, refused[0].Document.Versioned)
	require.EqualValues(t, 7, version("a"))
}

// Documents that the mapping took once and would refuse now are in the backup. A restore that brings the mapping along fails, names them, and
// leaves no index; into an index with another mapping they go.
func TestMappingRefusesOldDocuments(t *testing.T) {
	es := cluster(t)
	meta := `{"mappings":{"dynamic":"strict","properties":{"n":{"type":"long"}}},"settings":{"index":{"number_of_shards":"1","number_of_replicas":"0"}}}`
	b := newBackup().add(t, "t-one", meta, []Document{{ID: "new", Source: []byte(`{"n":1}`)}, {ID: "old", Source: []byte(`{"n":2,"gone":true}`)}})
	_, err := runPlan(t.Context(), b, es, fast(Options{}))
	var load *LoadError
	require.ErrorAs(t, err, &load)
	require.EqualValues(t, 1, load.Count)
	require.Equal(t, "old", load.Rejections[0].Document.ID)
	require.Equal(t, "strict_dynamic_mapping_exception", load.Rejections[0].Type)
	require.False(t, exists(t, es, "t-one"))

	call(t, es, "PUT", "/t-one", `{"mappings":{"dynamic":false,"properties":{"n":{"type":"long"}}}}`)
	_, err = runPlan(t.Context(), b, es, fast(Options{Conflict: Merge}))
	require.NoError(t, err)
	require.Len(t, contents(t, es, "t-one"), 2)
}

// A cluster of another version is asked whether it takes the mappings before anything is written.
func TestMappingsThatTheVersionRefuses(t *testing.T) {
	good := `{"mappings":{"properties":{"n":{"type":"long"}}},"settings":{"index":{"number_of_shards":"1","routing_partition_size":"1"}}}`
	bad := `{"mappings":{"properties":{"n":{"type":"from_the_future"}}},"settings":{"index":{"number_of_shards":"1"}}}`
	b := newBackup().add(t, "t-good", good, numbered(0, 3)).add(t, "t-bad", bad, numbered(0, 3)).add(t, "t-worse", bad, numbered(0, 3)).add(t, "t-other", good)
	b.m.Cluster.Version = "99.0.0"
	b.seal(t)
	h := estest.NewHandler(nil)
	es := h.Transport()
	_, err := NewPlan(t.Context(), b.fs, es, fast(Options{}))
	require.ErrorContains(t, err, "version 8.19.0 does not take what 99.0.0 did (override it, or leave it out): index t-bad: ")
	require.ErrorContains(t, err, "The mapper type [from_the_future] declared on field [n] does not exist.")
	require.ErrorContains(t, err, "; index t-worse: ")
	require.NotContains(t, err.Error(), "t-good")
	require.Empty(t, call(t, es, "GET", "/*?expand_wildcards=all", ""))
	asked := 0
	for _, r := range h.Requests("_simulate") {
		require.Equal(t, "POST", r.Method)
		asked++
	}
	require.Equal(t, 1+2, asked, "the settings, and each mapping once")

	// Overridden or left out, the others are restored; so they are where the server may not be asked.
	restored(t, b.fs, es, Options{Exclude: []string{"t-bad"}, Overrides: []Override{{Indices: []string{"t-worse"}, Mappings: []byte(`{"properties":{"n":{"type":"long"}}}`)}}})
	require.Len(t, contents(t, es, "t-worse"), 3)
	for _, code := range []int{400, 403, 404, 405} {
		es := estest.NewHandler(nil).Transport()
		via := &between{es: es, fn: func(_ int, r *http.Request, _ []byte, do func() (*http.Response, error)) (*http.Response, error) {
			if strings.Contains(r.URL.Path, "_simulate") {
				return status(code, `{"error":{"type":"x","reason":"no","caused_by":{"type":"y","reason":"no"}}}`), nil
			}
			return do()
		}}
		restored(t, b.fs, via, Options{Indices: []string{"t-good"}})
		_, err := once(t.Context(), b.fs, via, Options{Indices: []string{"t-bad"}})
		require.ErrorContains(t, err, "index t-bad: create: ")
		require.False(t, exists(t, es, "t-bad"))
	}
}

// So it is about templates: one that it does not take would be found when others had been written.
func TestTemplatesThatTheVersionRefuses(t *testing.T) {
	from := estest.NewHandler(nil).Transport()
	good := `{"template":{"settings":{"index.number_of_replicas":0},"mappings":{"properties":{"n":{"type":"long"}}}}}`
	must(t, from, "PUT", "/_component_template/fine", good)
	must(t, from, "PUT", "/_index_template/fine", `{"index_patterns":["x-*"],"composed_of":["fine"]}`)
	must(t, from, "PUT", "/_template/fine", `{"index_patterns":["y-*"],"mappings":{"properties":{"n":{"type":"long"}}}}`)
	src, m := dump(t, from, nil)
	m.Cluster.Version = "99.0.0"
	section := func(name, object string, raw string) fs.FS {
		b := &backupOf{fs: fstest.MapFS{}, m: *m}
		require.NoError(t, fs.WalkDir(src, ".", func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := fs.ReadFile(src, file)
			b.fs[file] = mapFile(data)
			return err
		}))
		var all map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(b.fs[layout.SectionPath(name)].Data, &all))
		all[object] = []byte(raw)
		data, err := json.Marshal(all)
		require.NoError(t, err)
		b.fs[layout.SectionPath(name)] = mapFile(data)
		for i := range b.m.Sections {
			if b.m.Sections[i].Name == name {
				b.m.Sections = slices.Clone(b.m.Sections)
				b.m.Sections[i].Objects = len(all)
			}
		}
		return b.seal(t).fs
	}
	future := `{"settings":{},"mappings":{"properties":{"n":{"type":"from_the_future"}}}}`
	for _, c := range []struct{ section, object, raw, want string }{
		{"component_templates", "fine", good, ""},
		{"component_templates", "new", `{"template":` + future + `}`, "component_templates/new: The mapper type [from_the_future]"},
		{"component_templates", "new", `{"template":{"settings":{"index":{"no_such_thing":"1"}}}}`, "component_templates/new: setting no_such_thing: version 8.19.0 does not know it"},
		{"index_templates", "new", `{"index_patterns":["z"],"template":` + future + `}`, "index_templates/new: The mapper type [from_the_future]"},
		{"legacy_templates", "new", `{"index_patterns":["z"],` + future[1:], "legacy_templates/new: The mapper type [from_the_future]"},
	} {
		to := estest.NewHandler(nil)
		_, err := once(t.Context(), section(c.section, c.object, c.raw), to.Transport(), Options{})
		if c.want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, c.want)
		for _, r := range to.Requests("") {
			require.True(t, r.Method == "GET" || strings.HasSuffix(r.Path, "_simulate") || strings.HasPrefix(r.Path, "/_watcher/_query"), "%s %s", r.Method, r.Path)
		}
	}
}
