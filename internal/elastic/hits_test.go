package elastic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/layout"
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
	p, err := parsePage([]byte(text), "i", true, false, nil)
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
		_, err := parsePage([]byte(text[:n]), "i", true, false, nil)
		require.ErrorIs(t, err, errShort, "%d bytes", n)
		p, err := parsePage([]byte(text[:n]), "i", true, true, nil)
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
		_, err := parsePage([]byte(text), "i", true, false, nil)
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
		p, n, err := readPage(iotest.HalfReader(strings.NewReader(text)), "i", true, true, limit, 0, &pageMemory{})
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
	_, _, err := readPage(strings.NewReader(text[:5000]), "i", true, false, 1<<20, 0, &pageMemory{})
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// What the scanner finds must be what encoding/json finds, in every text that encoding/json takes.
func FuzzParsePage(f *testing.F) {
	f.Add([]byte(head + hit(`"1"`, `{"a":"\\"}`, 3) + "]}}"))
	f.Add([]byte(`{"timed_out":true,"_shards":{"failed":1,"failures":[{"reason":{"type":"x"}}]},"hits":{"hits":[]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePage(bytes.Clone(b), "i", false, false, nil)
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
	for name, source := range map[string]string{
		"short texts": `{"@timestamp":"2026-11-22T00:00:00.000Z","agent":{"type":"filebeat","version":"8.19.0","id":"0fe1d2c3"},"host":{"name":"node-07.example.com"},` +
			`"log":{"offset":81234567,"file":{"path":"/var/log/containers/checkout-x4k_shop.log"}},"kubernetes":{"namespace":"shop","pod":{"name":"checkout-x4k"},` +
			`"container":{"name":"checkout"},"labels":{"app":"checkout","tier":"backend"}},"level":"info","http":{"method":"GET","path":"/api/v1/carts/77","status":200,` +
			`"bytes":4711,"took_ms":12.345},"client":{"ip":"10.1.2.3"},"trace":{"id":"00112233445566778899aabbccddeeff"},"message":"checkout: GET answered 200 in 12.345 ms"}`,
		"a long text": `{"level":"info","n":12345,"message":"` + strings.Repeat("lorem ipsum ", 50) + `"}`,
	} {
		var buf bytes.Buffer
		buf.WriteString(head)
		for i := range 5000 {
			if i > 0 {
				buf.WriteByte(',')
			}
			fmt.Fprintf(&buf, `{"_index":"i","_id":"AbCdEfGhIjKlMnOpQrSt","_score":null,"_source":%s,"sort":[%d,%d]}`, source, i, i)
		}
		buf.WriteString("]}}")
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(buf.Len()))
			hits := make([]Hit, 0, 5000)
			for b.Loop() {
				p, err := parsePage(buf.Bytes(), "i", true, false, hits)
				if err != nil || len(p.hits) != 5000 {
					b.Fatal(err)
				}
			}
		})
	}
}

// A page lies where the page before lay, and is not mixed with it.
func TestReadPageAgain(t *testing.T) {
	page := func(ids ...string) string {
		var hits []string
		for i, id := range ids {
			hits = append(hits, fmt.Sprintf(`{"_id":%q,"_source":{"id":%q},"sort":[%d]}`, id, id, i))
		}
		return `{"timed_out":false,"_shards":{"total":1,"failed":0},"hits":{"hits":[` + strings.Join(hits, ",") + `]}}`
	}
	mem := &pageMemory{}
	for _, ids := range [][]string{{"a", "b", "c"}, {"longer", "ids"}, {}, {strings.Repeat("x", 100_000), "b"}, {"c"}} {
		p, n, err := readPage(iotest.HalfReader(strings.NewReader(page(ids...))), "i", true, false, pageLimit, 0, mem)
		require.NoError(t, err)
		require.Equal(t, len(page(ids...)), n)
		require.True(t, p.whole)
		require.Len(t, p.hits, len(ids))
		for i, h := range p.hits {
			require.Equal(t, ids[i], h.Document.ID)
			require.Equal(t, fmt.Sprintf(`{"id":%q}`, ids[i]), string(h.Document.Source))
			require.Equal(t, int64(i), h.Document.SeqNo)
		}
	}
}

func TestQuote(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 20_000 {
		b := make([]byte, r.IntN(100))
		for i := range b {
			b[i] = []byte{'!', '#', 0xa2, 0x80, 0xff, 0}[r.IntN(6)] // near a quote in some way
			if r.IntN(1+n%60) == 0 {
				b[i] = '"'
			}
		}
		from := r.IntN(len(b) + 1)
		want := bytes.IndexByte(b[from:], '"')
		if want >= 0 {
			want += from
		}
		require.Equal(t, want, quote(b, from), "%q from %d", b, from)
	}
}

// nestedSlowly is what nested gives, byte by byte: the length of the object that b begins with, 0 if it does not end, -1 if it cannot be one.
func nestedSlowly(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if i >= len(b) {
				return 0
			}
		case '/':
			end := layout.CommentEnd(b[i:])
			if end <= 0 {
				return end
			}
			i += end - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

func TestNested(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	pieces := []string{`{`, `}`, `[`, `]`, `{}`, `"a"`, `"`, `"{"`, `"}]"`, `"\\"`, `"\""`, `"\\\""`, `\`, `,`, `:`, `1`, `true`, ` `, "\n", `é`, `日`, "\xff", "\xdb\xdd\xfb\xfd", `/**/`,
		`/*"}*/`, "//}\n", `/`, `"long text without anything"`, `"/"`, `"key":`, `[[]]`, `12345678`}
	ended := 0
	for range 100_000 {
		b := []byte("{")
		for range r.IntN(30) {
			n := len(pieces)
			if r.IntN(3) > 0 {
				n = 10 // most texts end
			}
			b = append(b, pieces[r.IntN(n)]...)
		}
		want := nestedSlowly(b)
		s := scanner{b: append([]byte("x"), b...), i: 1}
		got, err := s.nested()
		switch {
		case want > 0:
			ended++
			require.NoError(t, err, "%q", b)
			require.Equal(t, string(b[:want]), string(got))
			require.Equal(t, 1+want, s.i)
		case want == 0:
			require.ErrorIs(t, err, errShort, "%q", b)
		default:
			require.Error(t, err, "%q", b)
			require.NotErrorIs(t, err, errShort, "%q", b)
		}
	}
	require.Greater(t, ended, 20_000)
}
