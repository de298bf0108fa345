package restore

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"testing"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

// streams is a cluster with a data stream of three backing indices, the first of which is gone, and two failure indices; a data stream
// of one index; and a hidden one.
func streams(t *testing.T) (*estest.Handler, elastictransport.Interface) {
	t.Helper()
	h := estest.NewHandler(nil)
	es := h.Transport()
	must(t, es, "PUT", "/_component_template/c", `{"template":{"settings":{"index.number_of_shards":2},"mappings":{"properties":{"m":{"type":"keyword"}}}}}`)
	must(t, es, "PUT", "/_index_template/logs", `{"index_patterns":["logs*"],"composed_of":["c"],"data_stream":{},"priority":5,"_meta":{"by":"us"},
		"template":{"lifecycle":{"data_retention":"7d"},"aliases":{"from-template":{}}}}`)
	must(t, es, "PUT", "/_index_template/secret", `{"index_patterns":["secret*"],"data_stream":{"hidden":true,"allow_custom_routing":true},"priority":5}`)
	n := 0
	write := func(stream string, docs int) {
		for range docs {
			n++
			must(t, es, "PUT", fmt.Sprintf("/%s/_create/%d?refresh=true", stream, n), fmt.Sprintf(`{"@timestamp":"2025-01-01T00:00:%02dZ","m":"%d","f":1.0}`, n%60, n))
		}
	}
	write("logs-a", 10)
	for range 3 {
		must(t, es, "POST", "/logs-a/_rollover", "")
		write("logs-a", 10)
	}
	d := stream(t, es, "logs-a")
	must(t, es, "DELETE", "/"+d.Indices[0].Name, "")
	for _, name := range []string{".fs-logs-a-2025.01.01-000002", ".fs-logs-a-2025.01.02-000003"} {
		must(t, es, "PUT", "/"+name, `{"mappings":{"properties":{"@timestamp":{"type":"date"}}}}`)
		must(t, es, "PUT", "/"+name+"/_create/f?refresh=true", `{"@timestamp":"2025-01-01T00:00:00Z","error":{"message":"no"}}`)
	}
	for _, name := range []string{".fs-logs-a-2025.01.02-000003", ".fs-logs-a-2025.01.01-000002"} {
		must(t, es, "POST", "/_data_stream/_modify", `{"actions":[{"add_backing_index":{"data_stream":"logs-a","index":"`+name+`","failure_store":true}}]}`)
	}
	must(t, es, "PUT", "/_data_stream/logs-a/_options", `{"failure_store":{"enabled":true}}`)
	must(t, es, "PUT", "/_data_stream/logs-a/_lifecycle", `{"data_retention":"30d"}`)
	must(t, es, "PUT", "/_data_stream/logs-a/_settings", `{"index":{"refresh_interval":"9s"}}`)
	must(t, es, "POST", "/_aliases", `{"actions":[{"remove":{"index":"logs-a","alias":"from-template"}},
		{"add":{"index":"logs-a","alias":"all-logs","is_write_index":true,"filter":{"term":{"m":"7"}}}}]}`)
	write("logs-b", 3)
	must(t, es, "POST", "/_aliases", `{"actions":[{"add":{"index":"logs-b","alias":"all-logs"}}]}`)
	must(t, es, "POST", "/logs-b/_rollover", "")
	must(t, es, "DELETE", "/"+stream(t, es, "logs-b").Indices[0].Name, "")
	write("logs-b", 2)
	write("secret-1", 1)
	must(t, es, "PUT", "/plain/_doc/1?refresh=true", `{"a":1}`)
	return h, es
}

func stream(t *testing.T, es elastictransport.Interface, name string) *elastic.DataStream {
	t.Helper()
	d, err := elastic.New(es, nil).DataStream(t.Context(), name)
	require.NoError(t, err)
	require.NotNil(t, d)
	return d
}

// described is what the cluster says of a data stream, less what no two have in common.
func described(t *testing.T, es elastictransport.Interface, name string) string {
	t.Helper()
	c := elastic.New(es, nil)
	d := stream(t, es, name)
	s, err := c.Stream(t.Context(), d)
	require.NoError(t, err)
	var m map[string]any
	require.NoError(t, json.Unmarshal(d.Raw, &m))
	for _, part := range [][]any{m["indices"].([]any), m["failure_store"].(map[string]any)["indices"].([]any)} {
		for _, x := range part {
			delete(x.(map[string]any), "index_uuid")
		}
	}
	s.DataStream, err = json.Marshal(m)
	require.NoError(t, err)
	out, err := json.MarshalIndent(s, "", " ")
	require.NoError(t, err)
	return string(out)
}

// allContents is the contents of every index of a data stream.
func allContents(t *testing.T, es elastictransport.Interface, name string) map[string]map[string]string {
	t.Helper()
	out := map[string]map[string]string{}
	d := stream(t, es, name)
	for _, x := range slices.Concat(d.Indices, d.Failure) {
		out[x.Name] = contents(t, es, x.Name)
	}
	return out
}

func TestDataStreamsComeBackAsTheyWere(t *testing.T) {
	_, es := streams(t)
	src, m := dump(t, es, nil)
	require.Len(t, m.DataStreams, 3)
	a := m.DataStreams[0]
	require.Equal(t, "logs-a", a.Name)
	require.Len(t, a.Indices, 3)
	require.Equal(t, []string{".fs-logs-a-2025.01.01-000002", ".fs-logs-a-2025.01.02-000003"}, a.Failure)
	require.EqualValues(t, 7, stream(t, es, "logs-a").Generation)
	require.EqualValues(t, 3, stream(t, es, "logs-b").Generation)

	to := estest.NewHandler(nil)
	p, r := restored(t, src, to.Transport(), Options{})
	require.Equal(t, 3, r.Streams)
	require.EqualValues(t, 30+2+2+1+1, r.Documents)
	require.Contains(t, p.String(), "create   data stream logs-a of 5 indices\n")
	for _, name := range []string{"logs-a", "logs-b", "secret-1"} {
		require.Equal(t, described(t, es, name), described(t, to.Transport(), name))
		require.Equal(t, allContents(t, es, name), allContents(t, to.Transport(), name))
	}
	require.Contains(t, described(t, to.Transport(), "secret-1"), `"hidden": true`)
	require.Empty(t, to.Requests("/escrow-filler-")[0].Query)
	left := string(must(t, to.Transport(), "GET", "/_resolve/index/*?expand_wildcards=all", ""))
	require.NotContains(t, left, "escrow")
	require.Contains(t, left, `{"name":"from-template","indices":[".ds-logs-b-`)
	d, err := Verify(t.Context(), src, to.Transport(), nil)
	require.NoError(t, err)
	require.True(t, d.Identical(), d.String())
	require.Equal(t, 5+1+1+1, d.Checked)

	// It goes on where it was.
	must(t, to.Transport(), "PUT", "/all-logs/_create/new?refresh=true", `{"@timestamp":"2025-01-01T00:00:00Z","m":"new"}`)
	must(t, to.Transport(), "POST", "/logs-a/_rollover", "")
	now := stream(t, to.Transport(), "logs-a")
	require.EqualValues(t, 8, now.Generation)
	require.Contains(t, now.Indices[3].Name, "-000008")
	d, err = Verify(t.Context(), src, to.Transport(), nil)
	require.NoError(t, err)
	require.Contains(t, d.String(), "data stream logs-a:\n  data stream: generation: backup 7, cluster 8\n  data stream: indices: backup ")
	require.EqualValues(t, 1, d.Indices[0].DocsExtra)
}

func TestEveryGenerationComesBack(t *testing.T) {
	for indices := 1; indices <= 3; indices++ {
		for removed := range 4 {
			es := estest.NewHandler(nil).Transport()
			must(t, es, "PUT", "/_index_template/logs", `{"index_patterns":["logs*"],"data_stream":{}}`)
			must(t, es, "PUT", "/_data_stream/logs", "")
			for range removed {
				must(t, es, "POST", "/logs/_rollover", "")
				must(t, es, "DELETE", "/"+stream(t, es, "logs").Indices[0].Name, "")
			}
			for range indices - 1 {
				must(t, es, "POST", "/logs/_rollover", "")
			}
			for fillers := range 2 { // odd and even
				if fillers == 1 {
					must(t, es, "PUT", "/extra", `{"mappings":{"properties":{"@timestamp":{"type":"date"}}}}`)
					must(t, es, "POST", "/_data_stream/_modify", `{"actions":[{"add_backing_index":{"data_stream":"logs","index":"extra"}}]}`)
				}
				src, _ := dump(t, es, nil)
				to := estest.NewHandler(nil).Transport()
				restored(t, src, to, Options{})
				require.Equal(t, described(t, es, "logs"), described(t, to, "logs"), "%d indices, %d removed", indices, removed)
			}
		}
	}
	// One that was made of many indices at once has a generation that nothing else gives: the next higher one is taken.
	es := estest.NewHandler(nil).Transport()
	must(t, es, "PUT", "/_index_template/logs", `{"index_patterns":["logs*"],"data_stream":{}}`)
	for i := range 3 {
		must(t, es, "PUT", fmt.Sprintf("/x%d", i), fmt.Sprintf(`{"mappings":{"properties":{"@timestamp":{"type":"date"}}},"aliases":{"logs":{"is_write_index":%v}}}`, i == 1))
	}
	must(t, es, "POST", "/_data_stream/_migrate/logs", "")
	require.EqualValues(t, 1, stream(t, es, "logs").Generation)
	src, _ := dump(t, es, nil)
	to := estest.NewHandler(nil).Transport()
	restored(t, src, to, Options{})
	require.EqualValues(t, 3, stream(t, to, "logs").Generation)
	require.Equal(t, elastic.Names(stream(t, es, "logs").Indices), elastic.Names(stream(t, to, "logs").Indices))
}

func TestDataStreamSelection(t *testing.T) {
	_, es := streams(t)
	member := stream(t, es, "logs-a").Indices[1].Name
	for _, c := range []struct {
		in, ex, want []string
		plain        bool
	}{
		{in: []string{"logs-a"}, want: []string{"logs-a"}},
		{in: []string{"all-logs"}, want: []string{"logs-a", "logs-b"}},
		{in: []string{"*-a"}, want: []string{"logs-a"}},
		{in: []string{member}, want: []string{"logs-a"}},
		{ex: []string{"logs*"}, want: []string{"secret-1"}, plain: true},
		{in: []string{"plain"}, plain: true},
	} {
		_, m := dump(t, es, &backup.Options{Indices: c.in, Exclude: c.ex, Sections: []string{"none"}})
		var got []string
		want := map[string]bool{"plain": c.plain}
		for _, d := range m.DataStreams {
			got = append(got, d.Name)
			for _, x := range slices.Concat(d.Indices, d.Failure) {
				want[x] = true
			}
		}
		require.Equal(t, c.want, got, "%v", c)
		maps.DeleteFunc(want, func(_ string, v bool) bool { return !v })
		require.Len(t, m.Indices, len(want), "%v", c)
	}
	// The same when restoring.
	src, _ := dump(t, es, nil)
	for _, c := range []struct{ in, ex, want []string }{
		{in: []string{"logs-a"}, want: []string{"logs-a"}},
		{in: []string{member}, want: []string{"logs-a"}},
		{in: []string{"logs-*"}, ex: []string{"logs-b"}, want: []string{"logs-a"}},
	} {
		to := estest.NewHandler(nil).Transport()
		must(t, to, "PUT", "/_index_template/logs", `{"index_patterns":["logs*"],"data_stream":{}}`)
		p, r := restored(t, src, to, Options{Indices: c.in, Exclude: c.ex})
		require.Equal(t, len(c.want), r.Streams)
		require.Equal(t, c.want[0], p.DataStreams[0].To)
		require.Empty(t, p.Indices)
	}
}

func TestClosedAndExcludedBackingIndices(t *testing.T) {
	_, es := streams(t)
	first := stream(t, es, "logs-a").Indices[0].Name
	must(t, es, "POST", "/"+first+"/_close", "")
	_, err := backup.Dump(t.Context(), es, nopTarget{}, nil)
	require.EqualError(t, err, "cannot be backed up: index "+first+": it is closed")
	src, m := dump(t, es, &backup.Options{AllowOmissions: true})
	require.Equal(t, []layout.Omission{{What: "index " + first, Why: "it is closed"}}, m.Omitted)
	to := estest.NewHandler(nil).Transport()
	restored(t, src, to, Options{})
	require.Equal(t, elastic.Names(stream(t, es, "logs-a").Indices)[1:], elastic.Names(stream(t, to, "logs-a").Indices))
	must(t, es, "POST", "/"+first+"/_open", "")
	_, m = dump(t, es, &backup.Options{Exclude: []string{first}})
	require.Empty(t, m.Omitted)
	require.NotContains(t, fmt.Sprint(m.Indices), first)
}

func TestDataStreamRenamed(t *testing.T) {
	_, es := streams(t)
	src, _ := dump(t, es, nil)
	o := Options{Indices: []string{"logs-a"}, Rename: []Rename{{"logs-*", "logs-copy-*"}}}
	_, r := restored(t, src, es, o)
	require.Equal(t, 1, r.Streams)
	d := stream(t, es, "logs-copy-a")
	for i, x := range stream(t, es, "logs-a").Indices {
		require.Equal(t, ".ds-logs-copy-a-"+x.Name[len(".ds-logs-a-"):], d.Indices[i].Name)
		require.Equal(t, contents(t, es, x.Name), contents(t, es, d.Indices[i].Name))
	}
	require.Equal(t, ".fs-logs-copy-a-2025.01.02-000003", d.Failure[1].Name)
	require.Contains(t, string(must(t, es, "GET", "/logs-copy-a/_alias", "")), "all-logs")
	diff, err := Verify(t.Context(), src, es, &o)
	require.NoError(t, err)
	require.True(t, diff.Identical(), diff.String())

	_, err = NewPlan(t.Context(), src, es, fast(Options{Indices: []string{"logs-a"}, Rename: []Rename{{"logs-a", "nothing"}}}))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "data stream nothing: the cluster has no index template for this name")
	must(t, es, "PUT", "/_index_template/over", `{"index_patterns":["logs-z"],"priority":9}`)
	_, err = NewPlan(t.Context(), src, es, fast(Options{Indices: []string{"logs-a"}, Rename: []Rename{{"logs-a", "logs-z"}}}))
	require.ErrorContains(t, err, "index template over, which is the one for this name, makes no data streams")
	_, err = NewPlan(t.Context(), src, es, fast(Options{Indices: []string{"logs-a"}, Rename: []Rename{{"logs-a", "plain"}}}))
	require.ErrorIs(t, err, fs.ErrExist)
}

func TestDataStreamConflicts(t *testing.T) {
	_, es := streams(t)
	src, _ := dump(t, es, nil)
	change := func() {
		must(t, es, "PUT", "/logs-a/_create/later?refresh=true", `{"@timestamp":"2025-01-01T00:00:00Z"}`)
		must(t, es, "POST", "/logs-a/_rollover", "")
		must(t, es, "DELETE", "/"+stream(t, es, "logs-a").Indices[0].Name, "")
	}
	before := described(t, es, "logs-a")
	docs := allContents(t, es, "logs-a")
	change()
	changed := described(t, es, "logs-a")
	only := Options{Indices: []string{"logs-a"}}
	_, err := NewPlan(t.Context(), src, es, fast(only))
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorContains(t, err, "data stream logs-a")
	only.Conflict = Merge
	_, err = NewPlan(t.Context(), src, es, fast(only))
	require.ErrorContains(t, err, "data stream logs-a exists, and cannot be merged with")
	only.Conflict = Skip
	_, r := restored(t, src, es, only)
	require.Equal(t, 5, r.Skipped)
	require.Equal(t, changed, described(t, es, "logs-a"))
	only.Conflict = Replace
	_, r = restored(t, src, es, only)
	require.Equal(t, 1, r.Streams)
	require.Equal(t, before, described(t, es, "logs-a"))
	require.Equal(t, docs, allContents(t, es, "logs-a"))
	require.NotContains(t, string(must(t, es, "GET", "/_resolve/index/*?expand_wildcards=all", "")), "escrow")

	// An index that is left of a restore which was killed stands in the way, and Replace clears it.
	to := estest.NewHandler(nil).Transport()
	must(t, to, "PUT", "/_index_template/logs", `{"index_patterns":["logs*"],"data_stream":{}}`)
	must(t, to, "PUT", "/"+stream(t, es, "logs-a").Indices[0].Name, "")
	for _, mode := range []Conflict{Fail, Skip, Merge} {
		only.Conflict = mode
		_, err = NewPlan(t.Context(), src, to, fast(only))
		require.ErrorIs(t, err, fs.ErrExist)
	}
}

// Whatever fails, either the data stream is there as it was, or an error says so and no document is in a half-made one.
func TestFaultsWhileADataStreamIsRestored(t *testing.T) {
	_, es := streams(t)
	src, _ := dump(t, es, nil)
	want := described(t, es, "logs-a")
	o := Options{Indices: []string{"logs-a"}, Sections: []string{"component_templates", "index_templates"}}
	probe := estest.NewHandler(nil)
	restored(t, src, probe.Transport(), o)
	n := len(probe.Requests(""))
	require.Greater(t, n, 50)
	for _, kind := range []string{"cut", "429", "500"} {
		for i := 1; i <= n; i++ {
			h := estest.NewHandler(nil)
			to := h.Transport()
			f := h.Inject().Nth(i).Once()
			switch kind {
			case "cut":
				f.CutAfter(0)
			case "429":
				f.Error(429, "es_rejected_execution_exception", "busy")
			case "500":
				f.Error(500, "internal", "broken")
			}
			p, err := NewPlan(t.Context(), src, to, fast(o))
			if err == nil {
				_, err = p.Run(t.Context())
			}
			if err == nil {
				require.Equal(t, want, described(t, to, "logs-a"), "%s at %d", kind, i)
				d, verr := Verify(t.Context(), src, to, &o)
				require.NoError(t, verr)
				require.True(t, d.Identical(), "%s at %d: %s", kind, i, d)
			} else {
				require.NotEqual(t, "429", kind, "%d: %v", i, err)
			}
		}
	}
}

func TestServersWithoutDataStreams(t *testing.T) {
	h, es := streams(t)
	for status, kind := range map[int]string{400: "invalid_index_name_exception", 405: "x", 403: "security_exception"} {
		h.ClearFaults()
		h.Inject().Path("/_data_stream").Error(status, kind, "no")
		_, err := backup.Dump(t.Context(), es, nopTarget{}, nil)
		require.ErrorContains(t, err, "cannot be backed up: data stream logs-a: ")
		_, m := dump(t, es, &backup.Options{AllowOmissions: true})
		require.Len(t, m.Omitted, 3)
		require.Len(t, m.Indices, 1)
	}
	h.ClearFaults()
	src, _ := dump(t, es, nil)
	to := estest.NewHandler(nil)
	to.Inject().Path("/_data_stream").Error(400, "invalid_index_name_exception", "no")
	_, err := NewPlan(t.Context(), src, to.Transport(), fast(Options{}))
	require.ErrorContains(t, err, "data stream logs-a")
}
