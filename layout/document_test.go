package layout

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func lines(t *testing.T, d Document) string {
	t.Helper()
	b, err := d.AppendLines([]byte("x"))
	require.NoError(t, err)
	return string(b[1:])
}

func TestAppendLines(t *testing.T) {
	for _, c := range []struct {
		doc  Document
		want string
	}{
		{Document{ID: "7", Source: []byte(`{"n":1.0, "m":9007199254740993}`)}, `{"index":{"_id":"7"}}` + "\n" + `{"n":1.0, "m":9007199254740993}` + "\n"},
		{Document{ID: `a"\b`, Routing: "é<>&\u2028", Source: []byte(`{}`)}, `{"index":{"_id":"a\"\\b","routing":"é<>&` + "\u2028" + `"}}` + "\n{}\n"},
		{Document{ID: "\x00\n\t\r\x1f", Source: []byte(`{}`)}, `{"index":{"_id":"\u0000\n\t\r\u001f"}}` + "\n{}\n"},
		{Document{ID: "p", Source: []byte("{ \"a\":\n 1e2 ,\"s\":\" x\\u00e9 \" }")}, `{"index":{"_id":"p"}}` + "\n" + `{"a":1e2,"s":" x\u00e9 "}` + "\n"},
		{Document{ID: "v", Versioned: true, Version: 7, Source: []byte(`{}`)}, `{"index":{"_id":"v","version":7,"version_type":"external_gte"}}` + "\n{}\n"},
		{Document{ID: "v", Routing: "r", Versioned: true, Deleted: true},
			strings.Repeat(`{"delete":{"_id":"v","routing":"r","version":0,"version_type":"external_gte"}}`+"\n", 2)},
		{Document{ID: "d", Routing: "r", Deleted: true}, strings.Repeat(`{"delete":{"_id":"d","routing":"r"}}`+"\n", 2)},
	} {
		require.Equal(t, c.want, lines(t, c.doc))
	}
	for _, bad := range []string{"", "{", "[]", "{\n", "{} ", "{\n\"a}", "{/\n}", "{/*\n}"} {
		d := Document{ID: "bad", Index: "i", Source: []byte(bad)}
		b, err := d.AppendLines([]byte("x"))
		require.ErrorContains(t, err, `document "bad" of index i`, bad)
		require.Equal(t, "x", string(b))
	}
}

func TestAppendCompact(t *testing.T) {
	for src, want := range map[string]string{
		"{ \"a\" : [ 1.0 ,\t2 ]\r\n}":                         `{"a":[1.0,2]}`,
		`{"s":" a\" \\","t":"// no comment /* */"}`:           `{"s":" a\" \\","t":"// no comment /* */"}`,
		"{ // it's \"one\n\"a\":/* } */1}":                    `{"a":1}`,
		"{\"a\":1/**/,\"b\":2//\n}":                           `{"a":1,"b":2}`,
		"{\"\\u002f\":1e400,\n\"n\":12345678901234567890.10}": `{"\u002f":1e400,"n":12345678901234567890.10}`,
	} {
		got, err := AppendCompact([]byte("x"), []byte(src))
		require.NoError(t, err, src)
		require.Equal(t, "x"+want, string(got))
	}
}

// Where encoding/json can compact, the result is the same.
func FuzzAppendCompact(f *testing.F) {
	f.Add([]byte(`{ "a" : [1, "x\"", null ] }`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var want bytes.Buffer
		if json.Compact(&want, b) != nil {
			_, _ = AppendCompact(nil, b) // must not panic
			return
		}
		got, err := AppendCompact(nil, b)
		require.NoError(t, err)
		require.Equal(t, want.String(), string(got))
	})
}

func TestDocumentsReadsWhatAppendLinesWrote(t *testing.T) {
	docs := []Document{
		{ID: "1", Source: []byte(`{"a":1}`)},
		{ID: `q"\`, Routing: "emoji 🦊", Source: []byte(`{"s":"\ud800"}`)},
		{ID: "1", Deleted: true},
		{ID: "x", Routing: "r", Deleted: true},
		{ID: "v", Versioned: true, Source: []byte(`{}`)},
		{ID: `v"`, Routing: "é", Versioned: true, Version: 1<<63 - 1, Source: []byte(`{}`)},
		{ID: "v", Versioned: true, Version: 12, Deleted: true},
		{ID: "big", Source: []byte(`{"b":"` + strings.Repeat("y", 3<<20) + `"}`)},
	}
	var buf []byte
	for _, d := range docs {
		buf = append(buf, lines(t, d)...)
	}
	var got []Document
	for d, err := range Documents(bytes.NewReader(buf), "i") {
		require.NoError(t, err)
		require.Equal(t, "i", d.Index)
		require.EqualValues(t, -1, d.SeqNo)
		d.Index, d.SeqNo = "", 0
		got = append(got, d)
	}
	require.Equal(t, docs, got)

	// A file that ends anywhere but after a pair is an error.
	ends := map[int]bool{0: true}
	for i, n := 0, 0; i < len(docs); i++ {
		n += len(lines(t, docs[i]))
		ends[n] = true
	}
	small := buf[:len(buf)-3<<20]
	for n := range len(small) {
		var last error
		for _, err := range Documents(bytes.NewReader(small[:n]), "i") {
			last = err
		}
		require.Equal(t, !ends[n], last != nil, "%d bytes", n)
	}
}

func TestHugeSource(t *testing.T) {
	huge := []byte(`{"pad":"` + strings.Repeat("x", largeSource+1<<20) + `"}`)
	var file []byte
	for _, source := range [][]byte{[]byte(`{"n":1}`), huge, []byte(`{"n":2}`)} {
		var err error
		file, err = (&Document{ID: "x", Source: source}).AppendLines(file)
		require.NoError(t, err)
	}
	var sizes []int
	for d, err := range EachDocument(bytes.NewReader(file), "i") {
		require.NoError(t, err)
		sizes = append(sizes, len(d.Source))
		if len(d.Source) == len(huge) {
			require.True(t, bytes.Equal(huge, d.Source))
		}
	}
	require.Equal(t, []int{7, len(huge), 7}, sizes)
}

// A file's buffer serves the next file, but not while a document in it may still be looked at.
func TestEachDocumentAfterABreak(t *testing.T) {
	file := func(n int) string { return fmt.Sprintf("{\"index\":{\"_id\":\"%d\"}}\n{\"n\":%d}\n", n, n) }
	for range 20 {
		for _, err := range EachDocument(strings.NewReader(file(0)), "i") {
			require.NoError(t, err)
		}
		var kept []Document
		for n := 1; n <= 3; n++ {
			for d, err := range EachDocument(strings.NewReader(file(n)+file(n+3)), "i") {
				require.NoError(t, err)
				kept = append(kept, d)
				break
			}
		}
		for i, d := range kept {
			require.Equal(t, fmt.Sprintf(`{"n":%d}`, i+1), string(d.Source))
		}
		for d, err := range EachDocument(strings.NewReader(file(1)+"x\n"), "i") {
			if err == nil {
				require.Equal(t, `{"n":1}`, string(d.Source))
			}
		}
	}
}

func TestDocumentsRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":          "x\n{}\n",
		"no id":             `{"index":{}}` + "\n{}\n",
		"other action":      `{"update":{"_id":"1"}}` + "\n{}\n",
		"source no object":  `{"index":{"_id":"1"}}` + "\n[]\n",
		"empty source":      `{"index":{"_id":"1"}}` + "\n\n",
		"internal version":  `{"index":{"_id":"1","version":3}}` + "\n{}\n",
		"negative version":  `{"index":{"_id":"1","version":-3,"version_type":"external_gte"}}` + "\n{}\n",
		"single delete":     `{"delete":{"_id":"1"}}` + "\n" + `{"index":{"_id":"1"}}` + "\n",
		"delete of another": `{"delete":{"_id":"1"}}` + "\n" + `{"delete":{"_id":"2"}}` + "\n",
	} {
		n := 0
		for _, err := range Documents(strings.NewReader(`{"index":{"_id":"0"}}`+"\n{}\n"+text), "i") {
			if n++; n == 2 {
				require.ErrorContains(t, err, "index i: line 3", name)
			}
		}
		require.Equal(t, 2, n, name)
	}
}

func TestDigest(t *testing.T) {
	var all, back Digest
	var parts [3]Digest
	for i := range 1000 {
		l := []byte(lines(t, Document{ID: fmt.Sprint(i), Source: []byte(`{"v":1}`)}))
		all.Add(l)
		parts[i%3].Add(l)
	}
	for i := 999; i >= 0; i-- {
		back.Add([]byte(lines(t, Document{ID: fmt.Sprint(i), Source: []byte(`{"v":1}`)})))
	}
	require.Equal(t, all, back)
	var sum Digest
	for _, p := range parts {
		sum.AddDigest(p)
	}
	require.Equal(t, all, sum)

	b, err := json.Marshal(all)
	require.NoError(t, err)
	var read Digest
	require.NoError(t, json.Unmarshal(b, &read))
	require.Equal(t, all, read)
	require.Error(t, json.Unmarshal([]byte(`"12"`), &read))
	require.Error(t, json.Unmarshal([]byte(`"`+strings.Repeat("z", 32)+`"`), &read))

	other := all
	other.Add([]byte(lines(t, Document{ID: "0", Source: []byte(`{"v":1}`)})))
	require.NotEqual(t, all, other, "a document that stands twice shows")
}

func TestReadManifest(t *testing.T) {
	_, err := ReadManifest(fstest.MapFS{})
	require.ErrorContains(t, err, "read manifest.json")
	read := func(text string) error {
		_, err := ReadManifest(fstest.MapFS{ManifestPath: {Data: []byte(text)}})
		return err
	}
	require.NoError(t, read(`{"format":1,"indices":[{"name":"a"},{"name":"b"}]}`))
	require.ErrorContains(t, read(`{"format":2}`), "format 2")
	require.ErrorContains(t, read(`{"format":1`), "manifest.json")
	for _, name := range []string{"../x", "a/../../b", ""} {
		require.ErrorContains(t, read(fmt.Sprintf(`{"format":1,"indices":[{"name":%q}]}`, name)), "not valid")
	}
	require.ErrorContains(t, read(`{"format":1,"indices":[{"name":"a"},{"name":"a"}]}`), "stands twice")
}

func TestSidecarValid(t *testing.T) {
	require.NoError(t, (&Sidecar{Segments: []Segment{{From: 0, To: 5}, {From: 5, To: 9}, {From: 12, To: 13}}}).Valid())
	require.NoError(t, (&Sidecar{Segments: []Segment{{From: -1, To: -1, Docs: 4}}}).Valid())
	require.Error(t, (&Sidecar{Segments: []Segment{{From: 0, To: 5}, {From: 4, To: 9}}}).Valid())
	require.Error(t, (&Sidecar{Segments: []Segment{{From: 6, To: 5}}}).Valid())
	require.Error(t, (&Sidecar{Segments: []Segment{{From: 0, To: 5, Docs: -1}}}).Valid())
}

func FuzzDocuments(f *testing.F) {
	f.Add([]byte(`{"index":{"_id":"7","routing":"a"}}` + "\n{}\n"))
	f.Add([]byte(`{"delete":{"_id":"\u00e9"}}` + "\n" + `{"delete":{"_id":"é"}}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for d, err := range Documents(bytes.NewReader(b), "i") {
			if err != nil {
				return
			}
			// What was read can be written, and reads as the same.
			out, err := d.AppendLines(nil)
			require.NoError(t, err)
			for again, err := range Documents(bytes.NewReader(out), "i") {
				require.NoError(t, err)
				require.Equal(t, strings.ToValidUTF8(d.ID, "\ufffd"), again.ID)
				require.Equal(t, d.Source, again.Source)
				require.Equal(t, d.Deleted, again.Deleted)
			}
		}
	})
}

func TestDigestIsWithoutVersions(t *testing.T) {
	d := Document{ID: "a", Routing: "r", Source: []byte(`{"n":1}`)}
	want, err := d.AppendLines(nil)
	require.NoError(t, err)
	d.Versioned, d.Version = true, 5
	got, err := d.AppendDigested(nil)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
	require.True(t, d.Versioned)
}
