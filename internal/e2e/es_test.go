package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/esserver"
)

// es is a server as these tests see it: plain HTTP and nothing of escrow, so that it can be its judge.
type es struct {
	url     string
	version esserver.Version
}

// request sends a request and returns status and body.
func (e *es) request(t testing.TB, method, path, body string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, e.url+path, strings.NewReader(body))
	require.NoError(t, err)
	if strings.HasPrefix(path, "/_bulk") || strings.Contains(path, "/_bulk") {
		req.Header.Set("Content-Type", "application/x-ndjson")
	} else {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, b
}

// do sends a request that must succeed.
func (e *es) do(t testing.TB, method, path, body string) []byte {
	t.Helper()
	status, b := e.request(t, method, path, body)
	require.Less(t, status, 300, "%s %s: %s", method, path, b)
	return b
}

// transport is what escrow's packages take.
func (e *es) transport(t testing.TB) elastictransport.Interface {
	t.Helper()
	u, err := url.Parse(e.url)
	require.NoError(t, err)
	tp, err := elastictransport.NewClient(elastictransport.WithURLs(u), elastictransport.WithDisableRetry())
	require.NoError(t, err)
	return tp
}

// create makes an index that is removed when the test ends.
func (e *es) create(t testing.TB, index, body string) {
	t.Helper()
	e.remove(t, index)
	e.do(t, "PUT", "/"+index, body)
	e.removeLater(t, index)
}

// removeLater removes indices when the test ends.
func (e *es) removeLater(t testing.TB, indices ...string) {
	t.Cleanup(func() {
		for _, index := range indices {
			req, err := http.NewRequest(http.MethodDelete, e.url+"/"+index+"?ignore_unavailable=true", nil)
			require.NoError(t, err)
			resp, err := http.DefaultClient.Do(req)
			if err == nil {
				err = resp.Body.Close()
			}
			if err != nil {
				t.Logf("remove index %s: %v", index, err)
			}
		}
	})
}

// remove removes an index if it is there.
func (e *es) remove(t testing.TB, index string) {
	t.Helper()
	e.do(t, "DELETE", "/"+index+"?ignore_unavailable=true", "")
}

func (e *es) exists(t testing.TB, index string) bool {
	t.Helper()
	status, _ := e.request(t, "HEAD", "/"+index, "")
	return status == 200
}

func (e *es) count(t testing.TB, index string) int64 {
	t.Helper()
	e.do(t, "POST", "/"+index+"/_refresh", "")
	var c struct{ Count int64 }
	require.NoError(t, json.Unmarshal(e.do(t, "GET", "/"+index+"/_count", ""), &c))
	return c.Count
}

// openContexts is how many scrolls and points in time are open on the indices.
func (e *es) openContexts(t testing.TB, indices string) int64 {
	t.Helper()
	var s struct {
		All struct {
			Total struct {
				Search struct {
					Open int64 `json:"open_contexts"`
				} `json:"search"`
			} `json:"total"`
		} `json:"_all"`
	}
	require.NoError(t, json.Unmarshal(e.do(t, "GET", "/"+indices+"/_stats/search", ""), &s))
	return s.All.Total.Search.Open
}

// key is what a document is known by.
type key struct{ index, id, routing string }

// contents is a hash of the source of every document.
type contents map[key][32]byte

// normal is the source as a backup keeps it: compacted if it has a line break.
func normal(t testing.TB, source []byte) []byte {
	t.Helper()
	if bytes.IndexByte(source, '\n') < 0 {
		return source
	}
	var b bytes.Buffer
	require.NoError(t, json.Compact(&b, source))
	return b.Bytes()
}

// read reads every document of the indices with a scroll. A document that the server names twice is an error.
func (e *es) read(t testing.TB, into contents, vectors bool, indices ...string) {
	t.Helper()
	type page struct {
		Scroll   string `json:"_scroll_id"`
		TimedOut bool   `json:"timed_out"`
		Shards   struct{ Failed int }
		Hits     struct {
			Total struct{ Value int64 }
			Hits  []struct {
				Index   string          `json:"_index"`
				ID      string          `json:"_id"`
				Routing string          `json:"_routing"`
				Source  json.RawMessage `json:"_source"`
			}
		}
	}
	for _, index := range indices {
		e.do(t, "POST", "/"+index+"/_refresh", "")
		body := `{"size":2000,"sort":["_doc"],"track_total_hits":true}`
		if vectors {
			body = `{"size":2000,"sort":["_doc"],"track_total_hits":true,"_source":{"exclude_vectors":false}}`
		}
		var p page
		require.NoError(t, json.Unmarshal(e.do(t, "POST", "/"+index+"/_search?scroll=1m", body), &p))
		total, n := p.Hits.Total.Value, int64(0)
		for len(p.Hits.Hits) > 0 {
			require.False(t, p.TimedOut)
			require.Zero(t, p.Shards.Failed)
			for _, h := range p.Hits.Hits {
				k := key{h.Index, h.ID, h.Routing}
				_, twice := into[k]
				require.False(t, twice, "%v stands twice", k)
				into[k] = sha256.Sum256(normal(t, h.Source))
				n++
			}
			next := fmt.Sprintf(`{"scroll":"1m","scroll_id":%q}`, p.Scroll)
			p = page{}
			require.NoError(t, json.Unmarshal(e.do(t, "POST", "/_search/scroll", next), &p))
		}
		e.do(t, "DELETE", "/_search/scroll", fmt.Sprintf(`{"scroll_id":[%q]}`, p.Scroll))
		require.Equal(t, total, n, "index %s", index)
	}
}

// same compares two contents and names the first documents that differ.
func same(t testing.TB, want, got contents) {
	t.Helper()
	var bad []string
	for k, h := range want {
		if g, ok := got[k]; !ok {
			bad = append(bad, fmt.Sprintf("missing: %q", k))
		} else if g != h {
			bad = append(bad, fmt.Sprintf("changed: %q", k))
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			bad = append(bad, fmt.Sprintf("extra: %q", k))
		}
	}
	if len(bad) > 0 {
		require.Failf(t, "contents differ", "%d documents, of them: %s", len(bad), strings.Join(bad[:min(len(bad), 10)], "\n"))
	}
}

// renamed is the contents under other index names.
func (c contents) renamed(name func(string) string) contents {
	out := make(contents, len(c))
	for k, h := range c {
		k.index = name(k.index)
		out[k] = h
	}
	return out
}

// loader sends documents to _bulk in large bodies.
type loader struct {
	e    *es
	t    testing.TB
	body bytes.Buffer
	n    int
}

func (e *es) loader(t testing.TB) *loader { return &loader{e: e, t: t} }

func (l *loader) line(action, index, id, routing string) {
	meta := map[string]string{"_index": index, "_id": id}
	if routing != "" {
		meta["routing"] = routing
	}
	b, err := json.Marshal(map[string]any{action: meta})
	require.NoError(l.t, err)
	l.body.Write(b)
	l.body.WriteByte('\n')
}

func (l *loader) index(index, id, routing string, source []byte) {
	l.line("index", index, id, routing)
	l.body.Write(source)
	l.body.WriteByte('\n')
	if l.n++; l.body.Len() > 8<<20 {
		l.flush()
	}
}

func (l *loader) delete(index, id, routing string) {
	l.line("delete", index, id, routing)
	l.n++
}

func (l *loader) flush() {
	l.t.Helper()
	if l.body.Len() == 0 {
		return
	}
	answer := l.e.do(l.t, "POST", "/_bulk?filter_path=errors,items.*.error", l.body.String())
	require.Contains(l.t, string(answer), `"errors":false`, "%.2000s", answer)
	l.body.Reset()
}
