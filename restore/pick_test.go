package restore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/restore/query"
)

func parsed(t testing.TB, q string) *query.Query {
	t.Helper()
	p, err := query.Parse([]byte(q))
	require.NoError(t, err)
	return p
}

func TestFilterChoosesLiveDocuments(t *testing.T) {
	docs := append(numbered(0, 20), Document{ID: "d3", Deleted: true}, Document{ID: "d15", Deleted: true},
		Document{ID: "d3", Source: []byte(`{"n":333}`)}, Document{ID: "d16", Deleted: true}, Document{ID: "d16", Source: []byte(`{"n":1}`)})
	b := newBackup().add(t, "t-one", plainMeta, docs, numbered(100, 110))
	for _, mode := range []Conflict{Fail, Replace} {
		es := cluster(t)
		if mode == Replace {
			call(t, es, "PUT", "/t-one/_doc/old?refresh=true", `{"old":1}`)
		}
		o := Options{Conflict: mode, Filter: parsed(t, `{"range":{"n":{"gte":10}}}`).Match}
		r, err := runPlan(t.Context(), b, es, fast(o))
		require.NoError(t, err)
		// Of the first shard: 10 to 19 without 15 and 16, and the new 3.
		got := contents(t, es, "t-one")
		require.Len(t, got, 8+1+10)
		require.Equal(t, `{"n":333}`, got["d3|"])
		require.NotContains(t, got, "d16|")
		require.EqualValues(t, 29-19, r.LeftOut)
		identical(t, b, es, o)
		d, err := Verify(t.Context(), b.fs, es, fast(Options{}))
		require.NoError(t, err)
		require.EqualValues(t, 10, d.Indices[0].DocsMissing, "without the filter they are missed")
	}
	_, err := runPlan(t.Context(), b, cluster(t), fast(Options{Filter: func(d *Document) (bool, error) {
		if d.ID == "d105" {
			return false, errors.New("cannot tell")
		}
		return true, nil
	}}))
	require.ErrorContains(t, err, "cannot tell")
}

func TestDamageIsFoundUnderAFilter(t *testing.T) {
	b := plainBackup(t)
	f := b.fs[layout.DocumentsPath("t-one", 1)]
	f.Data = bytes.Replace(f.Data, []byte(`"n":77`), []byte(`"n":78`), 1)
	_, err := runPlan(t.Context(), b, cluster(t), fast(Options{Filter: query.IDs("d1").Match}))
	require.ErrorIs(t, err, ErrDamaged)
}

func TestDocumentsOnly(t *testing.T) {
	b := plainBackup(t)
	o := Options{DocumentsOnly: true}
	es := cluster(t)
	_, err := NewPlan(t.Context(), b.fs, es, fast(o))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "index t-one: it does not exist")

	call(t, es, "PUT", "/t-one", `{"settings":{"number_of_shards":3,"number_of_replicas":0},"mappings":{"properties":{"mine":{"type":"keyword"}}}}`)
	p, err := NewPlan(t.Context(), b.fs, es, fast(o))
	require.NoError(t, err)
	require.Equal(t, "load     t-one: 100 documents\n1 indices, 100 documents to load\n", p.String())
	_, err = p.Run(t.Context())
	require.NoError(t, err)
	require.Len(t, contents(t, es, "t-one"), 100)
	identical(t, b, es, o)
	m, err := lookup(t.Context(), elastic.New(es, nil), "t-one")
	require.NoError(t, err)
	require.Equal(t, "3", m.text("number_of_shards"))
	require.Empty(t, m.aliases)
	require.Contains(t, string(m.mappings), "mine")

	_, err = NewPlan(t.Context(), b.fs, es, fast(o))
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorContains(t, err, "it holds documents")
	o.Conflict = Skip
	r, err := runPlan(t.Context(), b, es, fast(o))
	require.NoError(t, err)
	require.Equal(t, 1, r.Skipped)
	o.Conflict = Merge
	r, err = runPlan(t.Context(), b, es, fast(o))
	require.NoError(t, err)
	require.EqualValues(t, 100, r.Documents)
	for _, bad := range []Options{{DocumentsOnly: true, MetadataOnly: true}, {DocumentsOnly: true, Conflict: Replace},
		{DocumentsOnly: true, Sections: []string{"ilm_policies"}}, {MetadataOnly: true, Filter: query.IDs("1").Match},
		{From: time.Unix(2, 0), To: time.Unix(1, 0)}, {RenameAliases: []Rename{{"a**", "b"}}}} {
		_, err := NewPlan(t.Context(), b.fs, cluster(t), &bad)
		require.Error(t, err, bad)
	}
}

func TestMetadataOnly(t *testing.T) {
	es, b := cluster(t), plainBackup(t)
	b.fs[layout.DocumentsPath("t-one", 0)].Data = nil // nobody reads it
	o := Options{MetadataOnly: true}
	r, err := runPlan(t.Context(), b, es, fast(o))
	require.NoError(t, err)
	require.Zero(t, r.Documents)
	require.Empty(t, contents(t, es, "t-one"))
	identical(t, b, es, o)
	for _, mode := range []Conflict{Replace, Merge} {
		_, err := NewPlan(t.Context(), b.fs, es, fast(Options{MetadataOnly: true, Conflict: mode}))
		require.ErrorContains(t, err, "documents")
	}
}

func TestAliasesAreChosenAndRenamed(t *testing.T) {
	es := cluster(t)
	meta := func(alias string) string {
		return strings.NewReplacer(`"t-alias":{"filter":{"term":{"kind":"a"}}}`, `"t-`+alias+`":{"is_write_index":true},"t-all":{}`,
			`"refresh_interval"`, `"lifecycle":{"rollover_alias":"t-`+alias+`"},"refresh_interval"`).Replace(plainMeta)
	}
	b := newBackup().add(t, "t-one", meta("first"), numbered(0, 5)).add(t, "t-two", meta("second"), numbered(0, 7))
	o := Options{Indices: []string{"t-sec*"}, RenameAliases: []Rename{{"t-*", "t-old-*"}}, ExcludeAliases: []string{"*-all"}}
	r, err := runPlan(t.Context(), b, es, fast(o))
	require.NoError(t, err)
	require.Equal(t, 1, r.Indices)
	require.False(t, exists(t, es, "t-one"))
	m, err := lookup(t.Context(), elastic.New(es, nil), "t-two")
	require.NoError(t, err)
	require.Equal(t, []string{"t-old-second"}, keysOf(m.aliases))
	require.Equal(t, "t-old-second", m.text("lifecycle.rollover_alias"))
	identical(t, b, es, o)
	_, err = NewPlan(t.Context(), b.fs, es, &Options{RenameAliases: []Rename{{"t-*", "same"}}})
	require.ErrorContains(t, err, `would both be called "same"`)
}

func TestOverrides(t *testing.T) {
	es := cluster(t)
	meta := `{"mappings":{"dynamic":"false","properties":{"n":{"type":"long"},"s":{"type":"text"},"gone":{"type":"text"}}},"settings":{"index":{"number_of_shards":"2","number_of_routing_shards":"2",
	 "auto_expand_replicas":"0-1","number_of_replicas":"0","routing":{"allocation":{"include":{"_tier_preference":"data_content"}}},"refresh_interval":"7s","analysis":{"analyzer":{"a":{"type":"standard"},"b":{"type":"simple"}}}}}}`
	b := newBackup().add(t, "t-one", meta, numbered(0, 20)).add(t, "t-two", plainMeta, numbered(0, 5))
	o := Options{Overrides: []Override{
		{Indices: []string{"t-o*"}, Settings: json.RawMessage(`{"index":{"number_of_shards":3,"analysis.analyzer.a":null,"analysis":{"analyzer":{"c":{"type":"stop"}}}},"number_of_replicas":2,"refresh_interval":null}`),
			Mappings: json.RawMessage(`{"properties":{"s":{"type":"keyword"},"gone":null},"_meta":{"from":"backup"}}`)},
	}}
	_, err := runPlan(t.Context(), b, es, fast(o))
	require.NoError(t, err)
	identical(t, b, es, o)
	m, err := lookup(t.Context(), elastic.New(es, nil), "t-one")
	require.NoError(t, err)
	require.Equal(t, "3", m.text("number_of_shards"))
	require.Equal(t, "2", m.text("number_of_replicas"))
	require.NotContains(t, m.settings, "refresh_interval")
	require.NotContains(t, m.settings, "auto_expand_replicas")
	require.NotContains(t, m.settings, "analysis.analyzer.a.type")
	require.Equal(t, "simple", m.text("analysis.analyzer.b.type"))
	require.Equal(t, "stop", m.text("analysis.analyzer.c.type"))
	require.JSONEq(t, `{"_meta":{"from":"backup"},"dynamic":"false","properties":{"n":{"type":"long"},"s":{"type":"keyword"}}}`, string(m.mappings))
	for bad, want := range map[string]string{`{"uuid":"x"}`: "the server makes it itself", `[]`: "override: settings"} {
		_, err := NewPlan(t.Context(), b.fs, cluster(t), &Options{Overrides: []Override{{Settings: json.RawMessage(bad)}}})
		require.ErrorContains(t, err, want)
	}
	_, err = NewPlan(t.Context(), b.fs, cluster(t), &Options{Overrides: []Override{{Mappings: json.RawMessage(`{`)}}})
	require.ErrorContains(t, err, "override: mappings")
}

func TestRejectsMayBeAllowed(t *testing.T) {
	docs := numbered(0, 50)
	for i := range 7 {
		docs = append(docs, Document{ID: fmt.Sprint("bad", i), Routing: "r", Source: []byte(`{"n":"no number"}`)})
	}
	b := newBackup().add(t, "t-one", plainMeta, docs).add(t, "t-two", strings.ReplaceAll(plainMeta, "t-alias", "t-other"), docs)
	for _, tc := range []struct {
		max  int64
		made int
	}{{-1, 2}, {14, 2}, {13, 1}, {6, 0}} {
		es := cluster(t)
		var out bytes.Buffer
		log := NewRejectionLog(&out)
		r, err := runPlan(t.Context(), b, es, fast(Options{MaxRejects: tc.max, Rejected: log.Add}))
		require.NoError(t, log.Err())
		require.Equal(t, tc.made, r.Indices)
		require.Equal(t, r.Rejected, log.Count())
		if tc.made < 2 {
			var le *LoadError
			require.ErrorAs(t, err, &le)
		} else {
			require.NoError(t, err)
			require.EqualValues(t, 14, r.Rejected)
			require.Len(t, contents(t, es, "t-two"), 50)
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		require.Len(t, lines, int(r.Rejected))
		var j struct {
			Index, ID, Routing, Type, Reason string
			Status                           int
			Source                           json.RawMessage
		}
		require.NoError(t, json.Unmarshal([]byte(lines[0]), &j))
		require.Equal(t, "t-one", j.Index)
		require.Equal(t, "r", j.Routing)
		require.Equal(t, 400, j.Status)
		require.NotEmpty(t, j.Reason)
		require.Equal(t, `{"n":"no number"}`, string(j.Source))
	}
	log := NewRejectionLog(brokenWriter{})
	log.Add(Rejection{Document: Document{ID: "x", Deleted: true}})
	log.Add(Rejection{})
	require.ErrorContains(t, log.Err(), "write down what was refused: disk full")
	require.EqualValues(t, 2, log.Count())
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestSettingsThatAnotherVersionLacks(t *testing.T) {
	meta := `{"settings":{"index":{"number_of_shards":"1","refresh_interval":"5s","no_such":"1","nor":{"that":"2"}}}}`
	b := newBackup()
	b.m.Cluster.Version = "7.0.0"
	b.add(t, "t-one", meta, numbered(0, 3))
	es := cluster(t)
	p, err := NewPlan(t.Context(), b.fs, es, fast(Options{}))
	require.NoError(t, err)
	version := p.version
	require.Equal(t, []string{"no_such: version " + version + " does not know it, 7.0.0 did", "nor.that: version " + version + " does not know it, 7.0.0 did"}, p.Indices[0].Removed)
	require.Contains(t, p.String(), "; not restored: no_such, nor.that")
	_, err = p.Run(t.Context())
	require.NoError(t, err)
	m, err := lookup(t.Context(), elastic.New(es, nil), "t-one")
	require.NoError(t, err)
	require.Equal(t, "5s", m.text("refresh_interval"))
	require.Len(t, contents(t, es, "t-one"), 3)

	// On the version that it comes from something else is wrong, such as a plugin that is missing: nothing is left out.
	b.m.Cluster.Version = version
	b.seal(t)
	call(t, es, "DELETE", "/t-one", "")
	_, err = runPlan(t.Context(), b, es, fast(Options{}))
	require.ErrorContains(t, err, "index.no_such")
}

func TestRangeOfTime(t *testing.T) {
	h := estest.NewHandler(nil)
	es := h.Transport()
	must(t, es, "PUT", "/_index_template/t-logs", `{"index_patterns":["t-logs*"],"data_stream":{}}`)
	at := func(id, when string) Document {
		return Document{ID: id, Source: fmt.Appendf(nil, `{"@timestamp":%q}`, when)}
	}
	bounds := func(start, end string) string {
		return `{"settings":{"index":{"number_of_shards":"1","hidden":"true","time_series":{"start_time":"` + start + `","end_time":"` + end + `"}}},"mappings":{"properties":{"@timestamp":{"type":"date"}}},"data_stream":"t-logs"}`
	}
	names := []string{".ds-t-logs-2026.01.01-000001", ".ds-t-logs-2026.01.02-000002", ".ds-t-logs-2026.01.03-000003", ".ds-t-logs-2026.01.04-000004"}
	b := newBackup()
	for i, name := range names {
		b.add(t, name, bounds(fmt.Sprintf("2026-01-0%dT00:00:00Z", i+1), fmt.Sprintf("2026-01-0%dT00:00:00Z", i+2)),
			[]Document{at(fmt.Sprint("a", i), fmt.Sprintf("2026-01-0%dT06:00:00Z", i+1)), at(fmt.Sprint("b", i), fmt.Sprintf("2026-01-0%dT18:00:00Z", i+1))})
	}
	b.m.DataStreams = []layout.DataStream{{Name: "t-logs", Indices: names}}
	var in []string
	for _, name := range names {
		in = append(in, `{"index_name":"`+name+`","index_uuid":"u"}`)
	}
	section := layout.AppendStream(nil, &layout.Stream{DataStream: fmt.Appendf(nil,
		`{"name":"t-logs","timestamp_field":{"name":"@timestamp"},"indices":[%s],"generation":4,"template":"t-logs"}`, strings.Join(in, ","))})
	b.fs[layout.SectionPath(layout.DataStreams)] = mapFile(layout.AppendSection(nil, map[string]json.RawMessage{"t-logs": section}))
	b.seal(t)
	day := func(s string) time.Time {
		v, err := query.ParseTime(s)
		require.NoError(t, err)
		return v
	}
	o := Options{From: day("2026-01-02T12:00:00Z"), To: day("2026-01-03T12:00:00Z"), Sections: []string{"none"}}
	p, err := NewPlan(t.Context(), b.fs, es, fast(o))
	require.NoError(t, err)
	require.Len(t, p.DataStreams[0].Indices, 3, "the first holds nothing that early; the last is written to")
	r, err := p.Run(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2, r.Documents)
	require.EqualValues(t, 4, r.LeftOut)
	d := stream(t, es, "t-logs")
	require.Equal(t, names[1:], elastic.Names(d.Indices))
	require.Contains(t, contents(t, es, names[1]), "b1|")
	require.Contains(t, contents(t, es, names[2]), "a2|")

	// What cannot be judged is an error.
	bad2 := newBackup().add(t, "t-one", plainMeta, []Document{at("x", "soon")})
	_, err = runPlan(t.Context(), bad2, cluster(t), fast(o))
	require.ErrorContains(t, err, `document "x": field @timestamp: "soon" is no time`)
}
