package elastic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

const head = `{"pit_id":"p1","took":3,"timed_out":false,"_shards":{"total":1,"successful":1,"skipped":0,"failed":0},"hits":{"max_score":null,"hits":[`

func hit(id, source string, seq int) string {
	return fmt.Sprintf(`{"_index":"i","_id":%s,"_score":null,"_routing":"r\u00e9","_ignored":["a","}"],"_source":%s,"sort":[%d,%d]}`, id, source, seq, seq+7)
}

func TestParsePage(t *testing.T) {
	sources := []string{
		`{"a":1.0,"b":9007199254740993,"c":1e400}`,
		`{}`,
		`{"q":"\"}]{[\\","e":"\ud800","n":{"x":[[],{}]}}`,
		"{ \"a\": 1,\n \"b\":2 }",
		`{"hits":[{"_source":{}}],"sort":[1]}`,
		`{"backslashes":"\\\\\\\"","end":"\\"}`,
	}
	text := head
	for i, s := range sources {
		if i > 0 {
			text += ","
		}
		text += hit(`"id \"`+fmt.Sprint(i)+`\u2603"`, s+" \n", i)
	}
	text += "]}}"
	p, err := parsePage([]byte(text), "i", true, false, 0)
	require.NoError(t, err)
	require.True(t, p.whole)
	require.Equal(t, "p1", p.head.pitID)
	require.Len(t, p.hits, len(sources))
	for i, h := range p.hits {
		require.Equal(t, sources[i], string(h.Document.Source))
		require.Equal(t, fmt.Sprintf("id \"%d☃", i), h.Document.ID)
		require.Equal(t, "ré", h.Document.Routing)
		require.Equal(t, "i", h.Document.Index)
		require.EqualValues(t, i, h.Document.SeqNo)
		require.Equal(t, fmt.Sprintf("[%d,%d]", i, i+7), string(h.Sort))
	}

	// Every beginning of the answer gives the complete hits in it as a partial page, and is an error as a whole one.
	for n := range len(text) {
		_, err := parsePage([]byte(text[:n]), "i", true, false, 0)
		require.ErrorIs(t, err, errShort, "%d bytes", n)
		p, err := parsePage([]byte(text[:n]), "i", true, true, 0)
		require.NoError(t, err, "%d bytes", n)
		require.False(t, p.whole)
		for i, h := range p.hits {
			require.Equal(t, sources[i], string(h.Document.Source))
		}
	}
}

func TestParsePageRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no hits":           `{"timed_out":false,"_shards":{"failed":0}}`,
		"no shards":         `{"timed_out":false,"hits":{"hits":[]}}`,
		"no timed_out":      `{"_shards":{"failed":0},"hits":{"hits":[]}}`,
		"no failed":         `{"timed_out":false,"_shards":{},"hits":{"hits":[]}}`,
		"an array":          `[]`,
		"no id":             head + `{"_source":{},"sort":[1]}]}}`,
		"no sort":           head + `{"_id":"1","_source":{}}]}}`,
		"source no object":  head + `{"_id":"1","_source":"x","sort":[1]}]}}`,
		"sequence no float": head + `{"_id":"1","_source":{},"sort":[1.5]}]}}`,
		"garbage":           head + `x]}}`,
	} {
		_, err := parsePage([]byte(text), "i", true, false, 0)
		require.Error(t, err, name)
		require.NotErrorIs(t, err, errShort, name)
	}
}

func TestReadPageCutsOff(t *testing.T) {
	text := head
	for i := range 100 {
		if i > 0 {
			text += ","
		}
		text += hit(`"x"`, `{"big":"`+strings.Repeat("y", 1000)+`"}`, i)
	}
	text += "]}}"
	for _, limit := range []int{10, 500, 1500, 20_000, len(text) - 1, len(text) + 10} {
		p, n, err := readPage(iotest.HalfReader(strings.NewReader(text)), "i", true, true, limit, 0)
		require.NoError(t, err)
		require.NotEmpty(t, p.hits)
		require.LessOrEqual(t, n, len(text))
		for i, h := range p.hits {
			require.EqualValues(t, i, h.Document.SeqNo)
		}
		if limit > len(text) {
			require.True(t, p.whole)
			require.Len(t, p.hits, 100)
		}
	}
	_, _, err := readPage(strings.NewReader(text[:5000]), "i", true, false, 1<<20, 0)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// What the scanner finds must be what encoding/json finds, in every text that encoding/json takes.
func FuzzParsePage(f *testing.F) {
	f.Add([]byte(head + hit(`"1"`, `{"a":"\\"}`, 3) + "]}}"))
	f.Add([]byte(`{"timed_out":true,"_shards":{"failed":1,"failures":[{"reason":{"type":"x"}}]},"hits":{"hits":[]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePage(bytes.Clone(b), "i", false, false, 0)
		if err != nil || !json.Valid(b) {
			return
		}
		var want struct {
			Hits struct {
				Hits []struct {
					ID     string          `json:"_id"`
					Source json.RawMessage `json:"_source"`
				} `json:"hits"`
			} `json:"hits"`
		}
		if json.Unmarshal(b, &want) != nil || bytes.Count(b, []byte(`hits"`)) > 2 || bytes.Count(b, []byte(`_id"`)) != len(p.hits) ||
			bytes.Count(b, []byte(`_source"`)) > len(p.hits) || bytes.ContainsRune(b, '\\') {
			return // keys that stand twice, or in other case, are taken differently
		}
		if len(want.Hits.Hits) != len(p.hits) {
			return
		}
		for i, h := range p.hits {
			require.Equal(t, string(want.Hits.Hits[i].Source), string(h.Document.Source))
			require.Equal(t, want.Hits.Hits[i].ID, h.Document.ID)
		}
	})
}

func BenchmarkParsePage(b *testing.B) {
	var buf bytes.Buffer
	buf.WriteString(head)
	for i := range 5000 {
		if i > 0 {
			buf.WriteByte(',')
		}
		buf.WriteString(hit(`"AbCdEfGhIjKlMnOp"`, `{"@timestamp":"2026-11-22T00:00:00.000Z","level":"info","n":12345,"user":{"id":7,"name":"kim"},"message":"`+strings.Repeat("lorem ipsum ", 50)+`"}`, i))
	}
	buf.WriteString("]}}")
	b.SetBytes(int64(buf.Len()))
	for b.Loop() {
		p, err := parsePage(buf.Bytes(), "i", true, false, 5000)
		if err != nil || len(p.hits) != 5000 {
			b.Fatal(err)
		}
	}
}
