package restore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"))
}

// realServer sends requests to the cluster that an environment variable names, where a person wants the tests to run on one.
type realServer struct{ url string }

func (r realServer) Perform(req *http.Request) (*http.Response, error) {
	u, err := req.URL.Parse(r.url + req.URL.RequestURI())
	if err != nil {
		return nil, err
	}
	req.URL = u
	return http.DefaultTransport.RoundTrip(req)
}

// cluster is an empty cluster.
func cluster(t testing.TB) elastictransport.Interface {
	if u := os.Getenv("ESCROW_ELASTICSEARCH_URL"); u != "" {
		es := realServer{u}
		for name := range call(t, es, "GET", "/t-*?expand_wildcards=all", "") {
			call(t, es, "PUT", "/"+name+"/_settings", `{"index.blocks.metadata":null,"index.blocks.write":null}`)
			call(t, es, "DELETE", "/"+name, "")
		}
		return es
	}
	return estest.NewHandler(nil).Transport()
}

// call sends a request and decodes the answer.
func call(t testing.TB, es elastictransport.Interface, method, path, body string) map[string]any {
	t.Helper()
	out := map[string]any{}
	req, err := http.NewRequest(method, path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	res, err := es.Perform(req)
	require.NoError(t, err)
	defer res.Body.Close()
	require.NoError(t, json.NewDecoder(res.Body).Decode(&out))
	return out
}

func exists(t testing.TB, es elastictransport.Interface, name string) bool {
	t.Helper()
	m, err := lookup(t.Context(), elastic.New(es, nil), name)
	require.NoError(t, err)
	return m != nil
}

// contents reads an index, a line of id, routing and source for each document.
func contents(t testing.TB, es elastictransport.Interface, index string) map[string]string {
	t.Helper()
	c := elastic.New(es, nil)
	require.NoError(t, c.Refresh(t.Context(), index))
	var out struct {
		Hits struct {
			Total struct{ Value int }
			Hits  []struct {
				ID      string          `json:"_id"`
				Routing string          `json:"_routing"`
				Source  json.RawMessage `json:"_source"`
			}
		}
	}
	require.NoError(t, c.Sharded(t.Context(), elastic.Request{Method: "POST", Path: "/" + elastic.PathEscape(index) + "/_search",
		Body: []byte(`{"size":10000,"track_total_hits":true}`)}, &out))
	got := map[string]string{}
	for _, h := range out.Hits.Hits {
		got[h.ID+"|"+h.Routing] = string(h.Source)
	}
	require.Len(t, got, out.Hits.Total.Value)
	return got
}

// backupOf builds backups in memory.
type backupOf struct {
	fs fstest.MapFS
	m  layout.Manifest
}

func newBackup() *backupOf {
	return &backupOf{fs: fstest.MapFS{}, m: layout.Manifest{Format: layout.Format}}
}

// add puts an index into the backup. meta is its index.json; each element of shards the documents of one.
func (b *backupOf) add(t testing.TB, name, meta string, shards ...[]Document) *backupOf {
	t.Helper()
	ix := layout.Index{Name: name}
	for n, docs := range shards {
		sh := layout.Shard{Number: n}
		live := map[string][]byte{}
		var file []byte
		for _, d := range docs {
			lines, err := d.AppendLines(nil)
			require.NoError(t, err)
			file = append(file, lines...)
			if d.Deleted {
				delete(live, d.ID+"|"+d.Routing)
			} else {
				live[d.ID+"|"+d.Routing], err = d.AppendDigested(nil)
				require.NoError(t, err)
			}
		}
		for _, lines := range live {
			sh.Digest.Add(lines)
			sh.Docs++
		}
		sh.Bytes = int64(len(file))
		b.fs[layout.DocumentsPath(name, n)] = &fstest.MapFile{Data: file}
		ix.Docs += sh.Docs
		ix.Bytes += sh.Bytes
		ix.Shards = append(ix.Shards, sh)
	}
	b.fs[layout.IndexPath(name)] = &fstest.MapFile{Data: []byte(meta)}
	b.m.Indices = append(b.m.Indices, ix)
	return b.seal(t)
}

func (b *backupOf) seal(t testing.TB) *backupOf {
	data, err := json.Marshal(b.m)
	require.NoError(t, err)
	b.fs[layout.ManifestPath] = &fstest.MapFile{Data: data}
	return b
}

const plainMeta = `{"aliases":{"t-alias":{"filter":{"term":{"kind":"a"}}}},"mappings":{"properties":{"n":{"type":"long"},"kind":{"type":"keyword"},"f":{"type":"float"},"big":{"type":"long"},"old":{"type":"long"}}},
 "settings":{"index":{"number_of_shards":"2","number_of_replicas":"1","uuid":"x","creation_date":"1","provided_name":"t-one","version":{"created":"8000"},
 "refresh_interval":"7s","write":{"wait_for_active_shards":"2"},"routing":{"allocation":{"include":{"_tier_preference":"data_content"}}}}}}`

func numbered(from, to int) []Document {
	var docs []Document
	for i := from; i < to; i++ {
		docs = append(docs, Document{ID: fmt.Sprintf("d%d", i), Source: fmt.Appendf(nil, `{"n":%d,"kind":"a","f":1.0,"big":9007199254740993}`, i)})
	}
	return docs
}

func plainBackup(t testing.TB) *backupOf {
	return newBackup().add(t, "t-one", plainMeta, numbered(0, 60), numbered(60, 100))
}

func seq(docs ...Document) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		for _, d := range docs {
			if !yield(d, nil) {
				return
			}
		}
	}
}

// fast are options that do not wait between attempts and send small requests.
func fast(o Options) *Options {
	o.sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	if o.BulkBytes == 0 {
		o.BulkBytes = 1000
	}
	return &o
}

// between stands between the code under test and a cluster. fn may answer a request itself; it gets the number of the request,
// counted from 0, and its body.
type between struct {
	es elastictransport.Interface
	fn func(n int, r *http.Request, body []byte, do func() (*http.Response, error)) (*http.Response, error)

	mu sync.Mutex
	n  int
}

func (b *between) Perform(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	b.mu.Lock()
	n := b.n
	b.n++
	b.mu.Unlock()
	return b.fn(n, r, body, func() (*http.Response, error) { return b.es.Perform(r) })
}

func status(code int, body string) *http.Response {
	return &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

// afterwards lets the server do what it was asked, and cuts the connection before the answer.
func afterwards(do func() (*http.Response, error)) (*http.Response, error) {
	res, err := do()
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return nil, err
	}
	res.Body.Close()
	return nil, syscall.ECONNRESET
}

// bulkAnswers answers bulk requests. failure gives the fields of JSON with which an item of that id fails, or "": the item is written.
func bulkAnswers(failure func(r *http.Request, id string) string) func(int, *http.Request, []byte, func() (*http.Response, error)) (*http.Response, error) {
	return func(_ int, r *http.Request, body []byte, _ func() (*http.Response, error)) (*http.Response, error) {
		var items []string
		for line := range strings.Lines(string(body)) {
			if !strings.HasPrefix(line, `{"index":{"_id"`) {
				continue
			}
			id := strings.Split(line, `"`)[5]
			items = append(items, fmt.Sprintf(`{"index":{"_id":%q,%s}}`, id, cmp.Or(failure(r, id), `"status":201,"result":"created"`)))
		}
		return status(200, `{"took":1,"errors":true,"items":[`+strings.Join(items, ",")+`]}`), nil
	}
}

// undisturbed restores into a cluster that setup has filled. It gives that cluster, the names of the requests that there were,
// as calls makes them, and more clusters as this one was before.
func undisturbed(t *testing.T, src fs.FS, o Options, setup func(t *testing.T, es elastictransport.Interface)) (h *estest.Handler, requests []string, fresh func() *estest.Handler) {
	t.Helper()
	fresh = func() *estest.Handler {
		h := estest.NewHandler(nil)
		if setup != nil {
			setup(t, h.Transport())
		}
		return h
	}
	h = fresh()
	var met calls
	_, err := once(t.Context(), src, &between{es: h.Transport(), fn: func(_ int, r *http.Request, body []byte, do func() (*http.Response, error)) (*http.Response, error) {
		met.name(r, body)
		return do()
	}}, o)
	require.NoError(t, err)
	return h, slices.Sorted(slices.Values(met.all)), fresh
}

func runPlan(ctx context.Context, b *backupOf, es elastictransport.Interface, o *Options) (*Result, error) {
	p, err := NewPlan(ctx, b.fs, es, o)
	if err != nil {
		return nil, err
	}
	return p.Run(ctx)
}

func identical(t testing.TB, b *backupOf, es elastictransport.Interface, o Options) {
	t.Helper()
	d, err := Verify(t.Context(), b.fs, es, fast(o))
	require.NoError(t, err)
	require.True(t, d.Identical(), d.String())
}

type ctxOf = context.Context

// wireFunc changes answers.
type wireFunc struct {
	next   elastictransport.Interface
	change func(r *http.Request, body string) string
}

func (w *wireFunc) Perform(r *http.Request) (*http.Response, error) {
	res, err := w.next.Perform(r)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(strings.NewReader(w.change(r, string(b))))
	return res, nil
}

func mapFile(data []byte) *fstest.MapFile { return &fstest.MapFile{Data: data} }
