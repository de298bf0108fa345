package elasticdump

import (
	"bytes"
	"compress/gzip"
	"context"
	"io/fs"
	"os"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/restore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func text(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }

func zipped(t *testing.T, s string) *fstest.MapFile {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(s))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return &fstest.MapFile{Data: b.Bytes()}
}

// directory is one as multielasticdump writes it.
func directory(t *testing.T) fstest.MapFS {
	return fstest.MapFS{
		"logs.json": text(`{"_index":"logs","_id":"1","_score":null,"_source":{"n":1.0,"big":9007199254740993,"s":"}{\"]é"}}` + "\n" +
			`{"_index":"logs","_type":"_doc","_id":"2\"","_score":1,"_source":{"n":2,"in":[{"x":"\\"}]},"_routing":"a","sort":[1,"x"]}` + "\n\n" +
			`{ "_source" : { } , "fields":{"_routing":["b"]}, "_id":"3","_index":"logs" }`),
		"logs.mapping.json":   text(`{"logs":{"mappings":{"properties":{"n":{"type":"double"},"big":{"type":"long"},"s":{"type":"keyword"},"in":{"properties":{"x":{"type":"keyword"}}}}}}}`),
		"logs.settings.json":  text(`{"logs":{"settings":{"index":{"number_of_shards":"2","number_of_replicas":"0","routing":{"allocation":{"include":{"_tier_preference":"data_content"}}},"uuid":"u","provided_name":"logs","creation_date":"1","version":{"created":"8512000"}}}}}`),
		"logs.alias.json":     text(`"{\"logs\":{\"aliases\":{\"all\":{\"is_write_index\":true}}}}"` + "\n"),
		"logs.template.json":  text(`{"old":{"order":0,"index_patterns":["old-*"],"settings":{},"mappings":{},"aliases":{}}}`),
		"zip.json.gz":         zipped(t, `{"_index":"zip","_id":"1","_source":{"a":1}}`+"\n"),
		"zip.split-10.json":   text(`{"_index":"zip","_id":"3","_source":{"a":3}}` + "\n"),
		"zip.split-9.json":    text(`{"_index":"zip","_id":"2","_source":{"a":2}}` + "\n"),
		"zip.mapping.json.gz": zipped(t, `{"zip":{"mappings":{"properties":{"a":{"type":"long"}}}}}`),
		"zip.analyzer.json":   text(`{"zip":{"settings":{"index":{"analysis":{"analyzer":{"x":{"type":"simple"}}}}}}}`),
		"zip.alias.json":      text(`{}`),
		"notes.txt":           text("not ours"),
	}
}

func TestADirectoryIsABackup(t *testing.T) {
	files, err := Open(t.Context(), directory(t), nil)
	require.NoError(t, err)
	require.NoError(t, fstest.TestFS(files, layout.ManifestPath, layout.IndexPath("logs"), layout.DocumentsPath("logs", 0), layout.DocumentsPath("zip", 0),
		layout.SectionPath("legacy_templates")))
	b, err := fs.ReadFile(files, layout.DocumentsPath("logs", 0))
	require.NoError(t, err)
	require.Equal(t, `{"index":{"_id":"1"}}`+"\n"+`{"n":1.0,"big":9007199254740993,"s":"}{\"]é"}`+"\n"+
		`{"index":{"_id":"2\"","routing":"a"}}`+"\n"+`{"n":2,"in":[{"x":"\\"}]}`+"\n"+
		`{"index":{"_id":"3","routing":"b"}}`+"\n"+`{ }`+"\n", string(b))
	b, err = fs.ReadFile(files, layout.DocumentsPath("zip", 0))
	require.NoError(t, err)
	require.Equal(t, `{"index":{"_id":"1"}}`+"\n"+`{"a":1}`+"\n"+`{"index":{"_id":"2"}}`+"\n"+`{"a":2}`+"\n"+`{"index":{"_id":"3"}}`+"\n"+`{"a":3}`+"\n", string(b))

	es := estest.NewHandler(nil).Transport()
	plan, err := restore.NewPlan(t.Context(), files, es, nil)
	require.NoError(t, err)
	r, err := plan.Run(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 6, r.Documents)
	require.Equal(t, 1, r.Objects)
	d, err := restore.Verify(t.Context(), files, es, &restore.Options{Indices: []string{"logs"}})
	require.NoError(t, err)
	require.True(t, d.Identical(), d.String())
}

func TestExportedComesBack(t *testing.T) {
	dir := t.TempDir()
	files, err := Open(t.Context(), directory(t), nil)
	require.NoError(t, err)
	res, err := Export(t.Context(), files, dir)
	require.NoError(t, err)
	require.Equal(t, 2, res.Indices)
	require.EqualValues(t, 6, res.Documents)
	require.Empty(t, res.LeftOut)
	p, err := os.ReadFile(dir + "/logs.settings.json")
	require.NoError(t, err)
	require.Equal(t, `"{\"logs\":{\"settings\":{\"index\":{\"number_of_replicas\":\"0\",\"number_of_shards\":\"2\",`+
		`\"routing\":{\"allocation\":{\"include\":{\"_tier_preference\":\"data_content\"}}}}}}}"`+"\n", string(p))
	again, err := Open(t.Context(), os.DirFS(dir), nil)
	require.NoError(t, err)
	a, err := layout.ReadManifest(files)
	require.NoError(t, err)
	b, err := layout.ReadManifest(again)
	require.NoError(t, err)
	for i := range a.Indices {
		require.Equal(t, a.Indices[i].Shards[0].Digest, b.Indices[i].Shards[0].Digest)
		require.Equal(t, a.Indices[i].Docs, b.Indices[i].Docs)
	}
	require.Equal(t, a.Sections, b.Sections)
	_, err = Export(t.Context(), files, dir)
	require.ErrorIs(t, err, fs.ErrExist)
}

// A backup's delete lines are carried out, and what is damaged is found.
func TestExportOfALog(t *testing.T) {
	doc := func(id, source string) string {
		b, err := (&layout.Document{ID: id, Source: []byte(source)}).AppendLines(nil)
		require.NoError(t, err)
		return string(b)
	}
	gone, err := (&layout.Document{ID: "a", Deleted: true}).AppendLines(nil)
	require.NoError(t, err)
	var sum layout.Digest
	sum.Add([]byte(doc("b", `{"n":2}`)))
	sum.Add([]byte(doc("a", `{"n":3}`)))
	src := fstest.MapFS{
		layout.IndexPath("i"):        text(`{"mappings":{},"settings":{"index":{}},"aliases":{}}`),
		layout.DocumentsPath("i", 0): text(doc("a", `{"n":1}`) + doc("b", `{"n":2}`) + string(gone) + doc("a", `{"n":3}`)),
		layout.ManifestPath:          text(`{"format":1,"indices":[{"name":"i","docs":2,"shards":[{"number":0,"docs":2,"digest":"` + sum.String() + `"}]}],"data_streams":[{"name":"d","indices":["i"]}]}`),
	}
	dir := t.TempDir()
	res, err := Export(t.Context(), src, dir)
	require.NoError(t, err)
	require.Len(t, res.LeftOut, 1)
	b, err := os.ReadFile(dir + "/i.json")
	require.NoError(t, err)
	require.Equal(t, `{"_index":"i","_id":"b","_score":null,"_source":{"n":2}}`+"\n"+`{"_index":"i","_id":"a","_score":null,"_source":{"n":3}}`+"\n", string(b))

	src[layout.DocumentsPath("i", 0)] = text(doc("a", `{"n":1}`) + doc("b", `{"n":2}`))
	dir = t.TempDir()
	_, err = Export(t.Context(), src, dir)
	require.ErrorIs(t, err, errDamaged)
	require.NoFileExists(t, dir+"/i.json")
	require.NoFileExists(t, dir+"/i.json.partial")
}

func TestWhatIsNotWholeIsNamed(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(d fstest.MapFS)
		want  string
	}{
		"cut":            {func(d fstest.MapFS) { d["logs.json"].Data = d["logs.json"].Data[:len(d["logs.json"].Data)-3] }, "logs.json: line 4: it is no whole JSON object"},
		"cut in text":    {func(d fstest.MapFS) { d["logs.json"] = text(`{"_index":"logs","_id":"1","_source":{"a":"b`) }, "logs.json: line 1: it is no whole"},
		"wrong brackets": {func(d fstest.MapFS) { d["logs.json"] = text(`{"_index":"logs","_id":"1","_source":{"a":[}}`) }, "logs.json: line 1: "},
		"two in a line":  {func(d fstest.MapFS) { d["logs.json"] = text(`{"_index":"logs","_id":"1","_source":{}}{}`) }, "logs.json: line 1: "},
		"no source":      {func(d fstest.MapFS) { d["logs.json"] = text(`{"_index":"logs","_id":"1"}`) }, `line 1: document "1" has no _source`},
		"null source":    {func(d fstest.MapFS) { d["logs.json"] = text(`{"_index":"logs","_id":"1","_source":null}`) }, "has no _source"},
		"two sources":    {func(d fstest.MapFS) { d["logs.json"] = text(`{"_index":"logs","_id":"1","_source":{},"_source":{}}`) }, "_source stands twice"},
		"number as id":   {func(d fstest.MapFS) { d["logs.json"] = text(`{"_index":"logs","_id":1,"_source":{}}`) }, "_id: json"},
		"two routings": {func(d fstest.MapFS) {
			d["logs.json"] = text(`{"_index":"logs","_id":"1","_source":{},"fields":{"_routing":["a","b"]}}`)
		}, "routing"},
		"other index":  {func(d fstest.MapFS) { d["logs.json"] = text(`{"_index":"other","_id":"1","_source":{}}`) }, `line 1: a document of index "other" in the file of "logs"`},
		"no mapping":   {func(d fstest.MapFS) { delete(d, "logs.mapping.json") }, "index logs: logs.mapping.json is missing"},
		"no settings":  {func(d fstest.MapFS) { delete(d, "logs.settings.json") }, "logs.settings.json is missing"},
		"no documents": {func(d fstest.MapFS) { delete(d, "logs.json") }, "logs.json with its documents is missing"},
		"settings of another": {func(d fstest.MapFS) { d["logs.settings.json"] = text(`{"else":{"settings":{"index":{}}}}`) },
			"logs.settings.json: it is about else, want logs alone"},
		"mapping without":  {func(d fstest.MapFS) { d["logs.mapping.json"] = text(`{"logs":{"settings":{}}}`) }, "logs.mapping.json: it has no mappings"},
		"text cut":         {func(d fstest.MapFS) { d["logs.alias.json"] = text(`"{\"logs\":"`) }, "logs.alias.json: unexpected end of JSON"},
		"mapping cut":      {func(d fstest.MapFS) { d["logs.mapping.json"] = text(`{"logs":`) }, "logs.mapping.json: unexpected end of JSON"},
		"no gzip":          {func(d fstest.MapFS) { d["zip.json.gz"] = text("x") }, "zip.json.gz: "},
		"gzip cut":         {func(d fstest.MapFS) { d["zip.json.gz"].Data = d["zip.json.gz"].Data[:30] }, "zip.json.gz: line 1: unexpected EOF"},
		"twice":            {func(d fstest.MapFS) { d["logs.mapping.json.gz"] = zipped(t, "{}") }, "the same thing twice"},
		"template differs": {func(d fstest.MapFS) { d["zip.template.json"] = text(`{"old":{"order":1}}`) }, "template old is another one"},
		"empty":            {func(d fstest.MapFS) { clear(d) }, "it holds no index"},
	} {
		t.Run(name, func(t *testing.T) {
			d := directory(t)
			tc.spoil(d)
			_, err := Open(t.Context(), d, nil)
			require.ErrorContains(t, err, tc.want)
			require.ErrorContains(t, err, "read elasticdump directory: ")
		})
	}
}

func TestAllowMissing(t *testing.T) {
	d := directory(t)
	for _, name := range []string{"logs.mapping.json", "logs.settings.json", "zip.json.gz", "zip.split-9.json", "zip.split-10.json"} {
		delete(d, name)
	}
	files, err := Open(t.Context(), d, &Options{AllowMissing: true, Name: "old"})
	require.NoError(t, err)
	m, err := layout.ReadManifest(files)
	require.NoError(t, err)
	require.Equal(t, "old", m.Cluster.Name)
	require.EqualValues(t, 3, m.Indices[0].Docs)
	require.Zero(t, m.Indices[1].Docs)
	plan, err := restore.NewPlan(t.Context(), files, estest.NewHandler(nil).Transport(), nil)
	require.NoError(t, err)
	_, err = plan.Run(t.Context())
	require.NoError(t, err)
}

func TestOpenEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	files, err := Open(ctx, directory(t), nil)
	require.NoError(t, err)
	cancel()
	_, err = fs.ReadFile(files, layout.DocumentsPath("logs", 0))
	require.ErrorIs(t, err, context.Canceled)
	_, err = Open(ctx, directory(t), nil)
	require.ErrorIs(t, err, context.Canceled)
}

func FuzzParseHit(f *testing.F) {
	f.Add([]byte(`{"_index":"i","_id":"1","_source":{"a":[1,{"b":"\\\""}]},"fields":{"_routing":["x"]}}`))
	f.Add([]byte(`{"_source":{},"_id":"1" , "_index":"i"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		d, err := parseHit(line)
		if err != nil {
			return
		}
		require.Contains(t, string(line), string(d.Source))
		if again, err := parseHit(appendHit(nil, &d)); err == nil {
			require.Equal(t, string(d.Source)+d.Routing, string(again.Source)+again.Routing)
		} else {
			t.Fatal(err)
		}
	})
}
