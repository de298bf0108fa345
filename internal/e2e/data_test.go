package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/esserver"
)

// The fidelity data set: index names begin with "fid-".
const (
	fidLogs    = "fid-logs"    // 210,000 log lines, 2 shards, numbers of every kind
	fidShop    = "fid-shop"    // 60,000 orders, nested items, routing required, filtered aliases
	fidEvents  = "fid-events"  // 40,000 events, index sorting, 3 shards
	fidOdd     = "fid-odd"     // ids, sources and sizes that break tools
	fidVectors = "fid-vectors" // dense vectors
)

var fidPlain = []string{fidLogs, fidShop, fidEvents, fidOdd}

func fidIndices() []string { return append(append([]string{}, fidPlain...), fidVectors) }

var fidBodies = map[string]string{
	fidLogs: `{"settings":{"number_of_shards":2,"number_of_replicas":0,"refresh_interval":"17s"},
		"mappings":{"dynamic":"strict","_meta":{"owner":"ops"},"properties":{"@timestamp":{"type":"date"},"level":{"type":"keyword"},
		"message":{"type":"text","fields":{"raw":{"type":"keyword","ignore_above":256}}},"status":{"type":"short"},"took":{"type":"double"},"trace":{"type":"long"},
		"client":{"type":"ip"},"place":{"type":"geo_point"},"any":{"type":"object","enabled":false}}},
		"aliases":{"fid-errors":{"filter":{"term":{"level":"ERROR"}}},"fid-all":{"is_write_index":true}}}`,
	fidShop: `{"settings":{"number_of_shards":3,"number_of_replicas":0},
		"mappings":{"_routing":{"required":true},"properties":{"customer":{"type":"keyword"},"note":{"type":"text"},"total":{"type":"double"},
		"items":{"type":"nested","properties":{"sku":{"type":"keyword"},"n":{"type":"integer"},"tags":{"type":"nested","properties":{"k":{"type":"keyword"}}}}}}},
		"aliases":{"fid-kim":{"filter":{"term":{"customer":"c7"}},"routing":"c7"},"fid-two":{"search_routing":"a,b","index_routing":"a"}}}`,
	fidEvents: `{"settings":{"number_of_shards":3,"number_of_replicas":0,"sort.field":["day","n"],"sort.order":["desc","asc"]},
		"mappings":{"properties":{"day":{"type":"date"},"n":{"type":"long"},"kind":{"type":"keyword"}}}}`,
	fidOdd: `{"settings":{"number_of_shards":2,"number_of_replicas":0,"mapping.total_fields.limit":5000},
		"mappings":{"dynamic":false,"properties":{"k":{"type":"keyword","ignore_above":100}}}}`,
	fidVectors: `{"settings":{"number_of_shards":1,"number_of_replicas":0},
		"mappings":{"properties":{"v":{"type":"dense_vector","dims":8,"index":false},"name":{"type":"keyword"},"price":{"type":"float"}}}}`,
}

// values that a program which decodes and encodes would change.
var values = []string{
	`1`, `1.0`, `1e2`, `1E400`, `-0`, `-0.0`, `0.1`, `3.14159265358979323846264338327950288`, `9007199254740993`, `-9223372036854775808`,
	`18446744073709551617`, `"1"`, `"0x1f"`, `"\u00e9"`, `"é"`, `"\ud83d\ude00"`, `"😀"`, `"\ud800"`, `"\udc00 alone"`, `"a\/b"`, `"</script>"`, `"\u2028"`,
	`"\u0000"`, `"tab\there"`, `{"__proto__":{"a":1}}`, `{"b":1,"a":2}`, `{"constructor":null}`, `[]`, `[[],{}]`, `null`, `true`, `""`,
}

func vector(r *rand.Rand) string {
	var b strings.Builder
	for i := range 8 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%.4f", r.Float64()*2-1)
	}
	return "[" + b.String() + "]"
}

func logLine(r *rand.Rand, n int) []byte {
	levels := []string{"DEBUG", "INFO", "INFO", "INFO", "WARN", "ERROR"}
	return fmt.Appendf(nil, `{"@timestamp":"2026-03-%02dT%02d:%02d:%02d.%03dZ","level":%q,"message":"GET /api/v1/items/%d?user=%x took longer than expected: café № %d 日本",`+
		`"status":%d,"took":%d.%d0,"trace":%d,"client":"10.%d.%d.%d","place":{"lat":%d.50,"lon":-%d.0},"any":%s}`,
		n%28+1, n%24, n%60, n%59, n%1000, levels[r.IntN(len(levels))], r.IntN(1e6), r.Uint64(), n, 200+r.IntN(300), r.IntN(1000), r.IntN(10),
		int64(1)<<53+r.Int64N(1<<60), n%256, r.IntN(256), r.IntN(256), r.IntN(90), r.IntN(180), values[n%len(values)])
}

func order(r *rand.Rand, n int) (customer string, source []byte) {
	customer = fmt.Sprintf("c%d", r.IntN(500))
	var items []string
	for range 1 + r.IntN(4) {
		items = append(items, fmt.Sprintf(`{"sku":"s-%d","n":%d,"tags":[{"k":"t%d"},{"k":"ü"}]}`, r.IntN(9999), r.IntN(9)+1, r.IntN(9)))
	}
	return customer, fmt.Appendf(nil, `{"customer":%q,"total":%d.10,"items":[%s],"note":"order %d, \"gift\" \ud83c\udf81"}`, customer, r.IntN(999), strings.Join(items, ","), n)
}

// oddIDs are ids that need escapes in JSON, in URLs, or in both.
func oddIDs() []string {
	ids := []string{
		" ", "a b", " lead", `quo"te`, `back\slash`, "a/b/c", "../up", "per%20cent", "que?ry&x=y#z", "ümlaut", "日本語", "😀", "👩‍👩‍👧", "tab\tid", "new\nline", "nul\x00id",
		"_underscore", ".", "..", "'single'", "{\"index\":{}}", "null", "-0", "1e3", "<b>", "a+b", "\u2028", "é", "e\u0301", strings.Repeat("x", 511), strings.Repeat("é", 255),
	}
	for i := range 200 {
		ids = append(ids, fmt.Sprintf("id %d/\"%c\"", i, rune(0x1F300+i)))
	}
	return ids
}

// fidelity loads the data set and returns what is in it. The server is asked, and its answer compared with what was sent,
// byte for byte, except for vectors, whose sources version 9 rewrites.
func fidelity(t *testing.T, e *es) contents {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	want := contents{}
	l := e.loader(t)
	put := func(index, id, routing string, source []byte) {
		l.index(index, id, routing, source)
		want[key{index, id, routing}] = sha256.Sum256(source)
	}
	for _, index := range fidIndices() {
		body := fidBodies[index]
		if index == fidOdd && e.version == esserver.V8 {
			// Version 9 compresses so with a native library that does not come with the jars.
			body = strings.Replace(body, `"settings":{`, `"settings":{"codec":"best_compression",`, 1)
		}
		e.create(t, index, body)
	}
	for n := range 210_000 {
		put(fidLogs, strconv.Itoa(n), "", logLine(r, n))
	}
	for n := range 60_000 {
		routing, source := order(r, n)
		put(fidShop, fmt.Sprintf("o-%d", n), routing, source)
	}
	// One id under several routings is several documents where the routings lead to several shards.
	for _, routing := range []string{"", "a", "b", "c", "d"} {
		l.index(fidEvents, "everywhere", routing, fmt.Appendf(nil, `{"day":"2026-01-01","n":1,"kind":%q}`, routing))
	}
	for n := range 40_000 {
		routing := ""
		if n%3 == 0 {
			routing = fmt.Sprintf("r/%d", n%7)
		}
		put(fidEvents, fmt.Sprintf("e%d", n), routing, fmt.Appendf(nil, `{"day":"2026-%02d-%02d","n":%d,"kind":"k%d"}`, n%12+1, n%28+1, int64(1)<<54+int64(n), n%5))
	}
	for i, id := range oddIDs() {
		put(fidOdd, id, "", fmt.Appendf(nil, `{"k":%q,"v":%s}`, fmt.Sprint(i), values[i%len(values)]))
		put(fidOdd, id+"?", "r \"ü/😀", fmt.Appendf(nil, `{ "v" : %s , "pad":"  " }`, values[i%len(values)]))
	}
	for n := range 3 { // documents of 5 MB
		var b bytes.Buffer
		fmt.Fprintf(&b, `{"k":"big","n":%d,"text":"`, n)
		for b.Len() < 5<<20 {
			fmt.Fprintf(&b, `%x \"é\" `, r.Uint64())
		}
		b.WriteString(`"}`)
		put(fidOdd, fmt.Sprintf("big %d", n), "", b.Bytes())
	}
	l.flush()
	for n := range 150 { // pretty-printed: these cannot go through _bulk
		id := fmt.Sprintf("pretty %d", n)
		source := fmt.Sprintf("{\n  \"k\" : \"p%d\",\r\n\t\"text\" : \"a  b\\n\",\n  \"v\" : [ %s,\n 1.0 ]\n}\n", n, values[n%len(values)])
		e.do(t, "PUT", "/"+fidOdd+"/_doc/"+url.PathEscape(id), source)
		want[key{fidOdd, id, ""}] = sha256.Sum256(normal(t, []byte(strings.TrimSpace(source))))
	}
	for n := range 2_000 {
		l.index(fidVectors, fmt.Sprint(n), "", fmt.Appendf(nil, `{"name":"v%d","v":%s,"price":1.10,"big":9007199254740993}`, n, vector(r)))
	}
	l.flush()
	// Updates and deletes, so that sequence numbers have holes.
	for n := 0; n < 210_000; n += 97 {
		put(fidLogs, strconv.Itoa(n), "", logLine(r, n+1))
	}
	for n := 50; n < 210_000; n += 211 {
		l.delete(fidLogs, strconv.Itoa(n), "")
		delete(want, key{fidLogs, strconv.Itoa(n), ""})
	}
	l.flush()
	require.GreaterOrEqual(t, len(want), 300_000)

	before := contents{}
	e.read(t, before, false, fidPlain...)
	several := 0
	for k := range before {
		if k.id == "everywhere" { // which of them overwrote another is the server's routing to decide
			want[k] = before[k]
			several++
		}
	}
	require.Greater(t, several, 1)
	same(t, want, before)
	e.read(t, before, true, fidVectors)
	require.Len(t, before, len(want)+2_000)
	return before
}

// pathEscape writes a name as one element of a path.
func pathEscape(name string) string { return strings.ReplaceAll(url.PathEscape(name), "+", "%2B") }

// index.json of GET /<index>, without what is of one index alone.
func metadata(t testing.TB, e *es, index string) map[string]any {
	t.Helper()
	var all map[string]struct {
		Aliases  map[string]any
		Mappings map[string]any
		Settings struct{ Index map[string]any }
	}
	require.NoError(t, json.Unmarshal(e.do(t, "GET", "/"+pathEscape(index), ""), &all))
	require.Contains(t, all, index)
	s := all[index].Settings.Index
	for _, own := range []string{"uuid", "creation_date", "provided_name", "version"} {
		delete(s, own)
	}
	return map[string]any{"aliases": all[index].Aliases, "mappings": all[index].Mappings, "settings": s}
}

func seeded(n uint64) *rand.Rand { return rand.New(rand.NewPCG(n, n)) }

// logs makes an index of n log lines of about 380 bytes.
func logs(t *testing.T, e *es, index string, shards, n int) {
	t.Helper()
	body := fmt.Sprintf(`{"settings":{"number_of_shards":%d,"number_of_replicas":0,"refresh_interval":"-1"},
		"mappings":{"dynamic":false,"properties":{"level":{"type":"keyword"}}}}`, shards)
	e.create(t, index, body)
	r, l := seeded(uint64(n)), e.loader(t)
	for i := range n {
		l.index(index, strconv.Itoa(i), "", logLine(r, i))
	}
	l.flush()
	e.do(t, "POST", "/"+index+"/_refresh", "")
}
