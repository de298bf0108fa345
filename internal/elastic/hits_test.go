package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
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
	var ends []int
	for i, s := range sources {
		if i > 0 {
			text += ","
		}
		text += hit(`"id \"`+fmt.Sprint(i)+`\u2603"`, s+" \n", i)
		ends = append(ends, len(text))
	}
	text += "]}}"
	p, err := parsePage([]byte(text), "i", true, false)
	require.NoError(t, err)
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

	// Every beginning of the answer gives the hits that are complete in it, and then an error.
	for n := range len(text) {
		_, err := parsePage([]byte(text[:n]), "i", true, false)
		require.ErrorIs(t, err, errShort, "%d bytes", n)
		hits, err := readHits(strings.NewReader(text[:n]), len(text), nil)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%d bytes", n)
		complete, _ := slices.BinarySearch(ends, n+1)
		require.Len(t, hits, complete)
		for i, h := range hits {
			require.Equal(t, sources[i], string(h.Document.Source))
		}
	}
}

func testReader(ctx context.Context, c *Client, r io.Reader, length int, mem *pageMemory) *hitReader {
	return &hitReader{ctx: ctx, c: c, body: r, length: int64(length), bySeqNo: true, mem: mem, first: true, s: scanner{index: "i"}}
}

// shrink makes large documents of many rounds cheap.
const shrink = 8

// readHits reads an answer as it arrives, of which the server says that it has so many bytes, or -1. Without mem, the hits are still good.
func readHits(r io.Reader, length int, mem *pageMemory) (all []Hit, err error) {
	h := testReader(context.Background(), New(nil, &Options{Shrink: shrink}), r, length, mem)
	defer h.release()
	if err := h.begin(); err != nil {
		return nil, err
	}
	for {
		hits, err := h.next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		for _, hit := range hits {
			if mem != nil {
				hit.Document.Source, hit.Sort = bytes.Clone(hit.Document.Source), bytes.Clone(hit.Sort)
			}
			all = append(all, hit)
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
		_, err := parsePage([]byte(text), "i", true, false)
		require.Error(t, err, name)
		require.NotErrorIs(t, err, errShort, name)
		_, err = readHits(strings.NewReader(text), len(text), nil)
		require.Error(t, err, name)
		require.NotErrorIs(t, err, io.ErrUnexpectedEOF, name)
	}
}

// Documents are found wherever the parts of an answer end in which it arrives, however large they are, in memory that is used again and in
// memory that is not.
func TestHitReader(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	mem := &pageMemory{}
	for round := range 30 {
		var texts, sources []string
		for i := range r.IntN(40) {
			size := r.IntN(100)
			switch r.IntN(12) {
			case 0:
				size = r.IntN(2 * window / shrink)
			case 1:
				if round%10 == 0 {
					size = (largeWindow + r.IntN(largeWindow)) / shrink
				}
			}
			sources = append(sources, fmt.Sprintf(`{"n":%d,"pad":%q}`, i, strings.Repeat("y", size)))
			text := sources[i]
			if r.IntN(3) == 0 { // the server gives back what stands around a document
				text = fmt.Sprintf("/* %s */%s // %s\n", strings.Repeat("c", r.IntN(window/shrink)), text, strings.Repeat("d", r.IntN(window/shrink)))
			}
			texts = append(texts, hit(fmt.Sprintf("%q", fmt.Sprint("id", i)), text, i))
		}
		text := head + strings.Join(texts, ",") + "]}}"
		if round%3 == 0 { // what other programs would send
			text = `{"hits":{"hits":[` + strings.Join(texts, ",") + `]},"pit_id":"p1","timed_out":false,"_shards":{"total":1,"failed":0}}`
		}
		length := []int{-1, len(text), len(text), r.IntN(len(text)), 2 * len(text)}[r.IntN(5)]
		for _, mem := range []*pageMemory{nil, mem} {
			hits, err := readHits(iotest.HalfReader(strings.NewReader(text)), length, mem)
			require.NoError(t, err)
			require.Len(t, hits, len(sources))
			for i, h := range hits {
				require.Equal(t, sources[i], string(h.Document.Source))
				require.Equal(t, fmt.Sprint("id", i), h.Document.ID)
				require.Equal(t, int64(i), h.Document.SeqNo)
				require.Equal(t, fmt.Sprintf("[%d,%d]", i, i+7), string(h.Sort))
			}
		}
		hits, err := readHits(iotest.ErrReader(syscall.ECONNRESET), -1, mem)
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.Empty(t, hits)
	}
}

// One reader at a time has a large document, and whoever waits for it ends with the context.
func TestHitReaderWaits(t *testing.T) {
	c := New(nil, nil)
	text := head + hit(`"x"`, `{"pad":"`+strings.Repeat("y", 2*largeWindow)+`"}`, 1) + "]}}"
	first := testReader(t.Context(), c, strings.NewReader(text), -1, nil)
	require.NoError(t, first.begin())
	hits, err := first.next()
	require.NoError(t, err)
	require.Len(t, hits, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	second := testReader(ctx, c, strings.NewReader(text), -1, nil)
	require.NoError(t, second.begin())
	_, err = second.next()
	require.ErrorIs(t, err, context.Canceled)
	first.release()
	second.release()
	require.True(t, c.large.TryAcquire(1))
}

// What the scanner finds must be what encoding/json finds, in every text that encoding/json takes.
func FuzzParsePage(f *testing.F) {
	f.Add([]byte(head + hit(`"1"`, `{"a":"\\"}`, 3) + "]}}"))
	f.Add([]byte(`{"timed_out":true,"_shards":{"failed":1,"failures":[{"reason":{"type":"x"}}]},"hits":{"hits":[]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePage(bytes.Clone(b), "i", false, false)
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
		arrived, err := readHits(iotest.OneByteReader(bytes.NewReader(b)), len(b), nil)
		if err == nil { // sort values need not be numbers above
			require.Len(t, arrived, len(p.hits))
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

func BenchmarkHits(b *testing.B) {
	c := New(nil, nil)
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
			mem := &pageMemory{}
			for b.Loop() {
				n := 0
				h := testReader(b.Context(), c, bytes.NewReader(buf.Bytes()), -1, mem)
				err := h.begin()
				for err == nil {
					var hits []Hit
					hits, err = h.next()
					n += len(hits)
				}
				if err != io.EOF || n != 5000 {
					b.Fatal(n, err)
				}
			}
		})
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
