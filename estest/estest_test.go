package estest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
)

var (
	_ elastictransport.Interface = (*estest.Transport)(nil)
	_ http.RoundTripper          = (*estest.Transport)(nil)
)

func call(t *testing.T, h *estest.Handler, method, path, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://es"+path, strings.NewReader(body))
	require.NoError(t, err)
	res, err := h.Transport().Perform(r)
	require.NoError(t, err)
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, "Elasticsearch", res.Header.Get("X-Elastic-Product"))
	return res.StatusCode, string(b)
}

func must(t *testing.T, h *estest.Handler, method, path, body string) string {
	t.Helper()
	code, b := call(t, h, method, path, body)
	require.Less(t, code, 300, b)
	return b
}

func TestOfficialClient(t *testing.T) {
	es := estest.New(t, nil)
	c := es.Client()
	res, err := c.Info()
	require.NoError(t, err)
	require.False(t, res.IsError())
	require.NoError(t, res.Body.Close())
	res, err = c.Indices.Create("a", c.Indices.Create.WithBody(strings.NewReader(`{"settings":{"number_of_shards":2}}`)))
	require.NoError(t, err)
	require.Equal(t, 200, res.StatusCode)
	require.NoError(t, res.Body.Close())
	res, err = c.Bulk(strings.NewReader("{\"index\":{\"_id\":\"1\"}}\n{\"a\":1.0}\n"), c.Bulk.WithIndex("a"), c.Bulk.WithRefresh("true"))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	res, err = c.Search(c.Search.WithIndex("a"))
	require.NoError(t, err)
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Contains(t, string(b), `"hits":[{"_index":"a","_id":"1","_score":1.0,"_source":{"a":1.0}}]`)
}

func TestBulkSequenceNumbers(t *testing.T) {
	h := estest.NewHandler(nil)
	must(t, h, "PUT", "/p", `{"settings":{"number_of_shards":2,"number_of_replicas":0},"mappings":{"properties":{"l":{"type":"long"}}}}`)
	got := must(t, h, "POST", "/p/_bulk?refresh=true", `{"index":{"_id":"1"}}
{"l":1,"k":"a"}
{"create":{"_id":"1"}}
{"l":1}
{"delete":{"_id":"1"}}
{"delete":{"_id":"1"}}
{"index":{"_id":"2","routing":"q"}}
{"l":2}
{"index":{"_id":"3"}}
{"l":"x"}
{"index":{"_id":"e"}}
{}
`)
	// What the real 8.19.0 says to the same operations, in this order.
	var r struct {
		Errors bool
		Items  []map[string]struct {
			Status int
			Result string
			SeqNo  int64 `json:"_seq_no"`
			Error  struct{ Type, Reason string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(got), &r))
	require.True(t, r.Errors)
	var lines []string
	for _, m := range r.Items {
		for k, v := range m {
			lines = append(lines, fmt.Sprint(k, " ", v.Status, " ", v.Result, " ", v.SeqNo, " ", v.Error.Type))
		}
	}
	require.Equal(t, []string{"index 201 created 0 ", "create 409  0 version_conflict_engine_exception", "delete 200 deleted 1 ",
		"delete 404 not_found 2 ", "index 201 created 3 ", "index 400  0 document_parsing_exception", "index 201 created 0 "}, lines)
	require.Equal(t, "[1:6] failed to parse field [l] of type [long] in document with id '3'. Preview of field's value: 'x'", r.Items[5]["index"].Error.Reason)
}

func TestPointInTimeOfOneShard(t *testing.T) {
	h := estest.NewHandler(nil)
	must(t, h, "PUT", "/p", `{"settings":{"number_of_shards":1}}`)
	for i := range 10 {
		require.NoError(t, h.Index("p", estest.Doc{ID: fmt.Sprint(i), Source: fmt.Appendf(nil, `{"n": %d.0}`, i)}))
	}
	must(t, h, "POST", "/p/_refresh", "")
	var pit struct{ ID string }
	require.NoError(t, json.Unmarshal([]byte(must(t, h, "POST", "/p/_pit?keep_alive=1m&preference=_shards:0", "")), &pit))
	must(t, h, "DELETE", "/p/_doc/4?refresh=true", "") // not seen by the point in time
	got := must(t, h, "POST", "/_search", `{"pit":{"id":"`+pit.ID+`"},"query":{"range":{"_seq_no":{"gte":3,"lt":6}}},"sort":["_seq_no"],"size":100,"track_total_hits":false}`)
	require.Contains(t, got, `"hits":{"max_score":null,"hits":[{"_index":"p","_id":"3","_score":null,"_source":{"n": 3.0},"sort":[3,3]},{"_index":"p","_id":"4"`)
	got = must(t, h, "POST", "/p/_search", `{"size":0,"aggs":{"h":{"histogram":{"field":"_seq_no","interval":4,"min_doc_count":1},"aggs":{"s":{"sum":{"field":"_seq_no"}}}}}}`)
	require.Contains(t, got, `"aggregations":{"h":{"buckets":[{"key":0.0,"doc_count":4,"s":{"value":6.0}},{"key":4.0,"doc_count":3,"s":{"value":18.0}},{"key":8.0,"doc_count":2,"s":{"value":17.0}}]}}`)
	require.Equal(t, 1, h.OpenContexts())
	must(t, h, "DELETE", "/_pit", `{"id":"`+pit.ID+`"}`)
	code, got := call(t, h, "POST", "/_search", `{"pit":{"id":"`+pit.ID+`"}}`)
	require.Equal(t, 404, code)
	require.Contains(t, got, "search_context_missing_exception")
}

func TestFilterPath(t *testing.T) {
	h := estest.NewHandler(nil)
	must(t, h, "PUT", "/p/_doc/d?refresh=true", `{ "z": 1.0, "a":{"b":[ ]} }`)
	for paths, want := range map[string]string{
		"hits.hits._source,hits.hits._id":           `{"hits":{"hits":[{"_id":"d","_source":{"a":{"b":[]},"z":1.0}}]}}`,
		"hits.hits._source.a":                       `{"hits":{"hits":[{"_source":{"a":{"b":[]}}}]}}`,
		"hits.hits":                                 `{"hits":{"hits":[{"_index":"p","_id":"d","_score":1.0,"_source":{ "z": 1.0, "a":{"b":[ ]} }}]}}`,
		"**.value":                                  `{"hits":{"total":{"value":1}}}`,
		"-took,-_shards,-hits.max*,-hits.hits":      `{"timed_out":false,"hits":{"total":{"value":1,"relation":"eq"}}}`,
		"hits,-hits.hits._*,-hits.total,-hits.max*": `{"hits":{"hits":[{}]}}`,
		"none": `{}`,
	} {
		require.Equal(t, want, must(t, h, "GET", "/p/_search?filter_path="+paths, ""), paths)
		require.Contains(t, must(t, h, "GET", "/p/_search", ""), `"_source":{ "z": 1.0, "a":{"b":[ ]} }`)
	}
}

func TestFailoverBringsOldVersionsBack(t *testing.T) {
	h := estest.NewHandler(&estest.Options{AutoRefresh: true})
	must(t, h, "PUT", "/p", "")
	for i := range 4 {
		require.NoError(t, h.Index("p", estest.Doc{ID: fmt.Sprint(i), Source: []byte(`{"v":1}`)}))
	}
	require.NoError(t, h.SetGlobalCheckpoint("p", 0, 3))
	require.NoError(t, h.Index("p", estest.Doc{ID: "0", Source: []byte(`{"v":2}`)}, estest.Doc{ID: "3", Source: []byte(`{"v":2}`)}))
	require.Contains(t, must(t, h, "GET", "/p/_stats?level=shards", ""), `"seq_no":{"max_seq_no":5,"local_checkpoint":5,"global_checkpoint":3}`)
	lost, err := h.Failover("p", 0)
	require.NoError(t, err)
	require.Equal(t, 2, lost)
	require.Contains(t, must(t, h, "GET", "/p/_doc/0", ""), `"_seq_no":0,"_primary_term":1,"found":true,"_source":{"v":1}`)
	require.Contains(t, must(t, h, "GET", "/_cluster/state/metadata/p?filter_path=metadata.indices.*.primary_terms", ""), `{"metadata":{"indices":{"p":{"primary_terms":{"0":2}}}}}`)
}

func TestFaults(t *testing.T) {
	h := estest.NewHandler(&estest.Options{AutoRefresh: true})
	must(t, h, "PUT", "/p", `{"settings":{"number_of_shards":2}}`)
	for i := range 20 {
		require.NoError(t, h.Index("p", estest.Doc{ID: fmt.Sprint(i), Source: []byte(`{}`)}))
	}
	f := h.Inject().Path("_search").Nth(2).Once().Status(429)
	must(t, h, "POST", "/p/_search", "")
	code, _ := call(t, h, "POST", "/p/_search", "")
	require.Equal(t, 429, code)
	must(t, h, "POST", "/p/_search", "")
	require.Equal(t, 1, f.Count())
	h.Inject().Path("_search").FailShards(1)
	require.Contains(t, must(t, h, "POST", "/p/_search", ""), `"_shards":{"total":2,"successful":1,"skipped":0,"failed":1,"failures":[{"shard":1`)
	code, _ = call(t, h, "POST", "/p/_search?allow_partial_search_results=false", "")
	require.Equal(t, 503, code)
	h.ClearFaults()
	h.Inject().Path("_bulk").RejectItems(2)
	got := must(t, h, "POST", "/p/_bulk", strings.Repeat("{\"index\":{}}\n{}\n", 4))
	require.Equal(t, 2, strings.Count(got, `"status":429`))
	require.Equal(t, 22, h.Count("p"))
	h.ClearFaults()

	es := estest.New(t, nil)
	es.Inject().Once().CutAfter(5)
	res, err := http.Get(es.URL)
	require.NoError(t, err)
	_, err = io.ReadAll(res.Body)
	require.Error(t, err)
	require.NoError(t, res.Body.Close())
	h.Inject().Cut()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://es/", nil)
	require.NoError(t, err)
	_, err = h.Transport().Perform(r)
	require.Error(t, err)
}

func TestKeepAlive(t *testing.T) {
	now := time.Unix(1e9, 0)
	h := estest.NewHandler(&estest.Options{Now: func() time.Time { return now }})
	must(t, h, "PUT", "/p", "")
	must(t, h, "POST", "/p/_pit?keep_alive=1m", "")
	require.Equal(t, 1, h.OpenContexts())
	now = now.Add(2 * time.Minute)
	require.Equal(t, 0, h.OpenContexts())
}

func TestErrorShapes(t *testing.T) {
	h := estest.NewHandler(nil)
	must(t, h, "PUT", "/p", "")
	for _, c := range []struct {
		method, path, body string
		status             int
		has                string
	}{
		{"PUT", "/p", "", 400, `"type":"resource_already_exists_exception"`},
		{"PUT", "/q", `{"settings":{"foo":1}}`, 400, `unknown setting [index.foo] please check`},
		{"PUT", "/q", `{"settings":{"index.uuid":"x"}}`, 400, `unknown setting [index.uuid] please check`},
		{"GET", "/q", "", 404, `{"error":{"root_cause":[{"type":"index_not_found_exception","reason":"no such index [q]","resource.type":"index_or_alias","resource.id":"q","index_uuid":"_na_","index":"q"}],"type":"index_not_found_exception"`},
		{"GET", "/p/_doc/1", "", 404, `{"_index":"p","_id":"1","found":false}`},
		{"PUT", "/p/_settings", `{"number_of_shards":3}`, 400, `Can't update non dynamic settings [[index.number_of_shards]]`},
		{"POST", "/p/_search", `{"size":10001}`, 400, `Result window is too large`},
		{"POST", "/p/_bulk", `{"index":{}}`, 400, `must be terminated by a newline`},
		{"GET", "/_ingest/pipeline/x", "", 404, `{}`},
		{"GET", "/_alias/x", "", 404, `{"error":"alias [x] missing","status":404}`},
	} {
		code, got := call(t, h, c.method, c.path, c.body)
		require.Equal(t, c.status, code, c.path)
		require.Contains(t, got, c.has, c.path)
	}
}

func TestPipelinesAndBlocks(t *testing.T) {
	h := estest.NewHandler(nil)
	must(t, h, "PUT", "/_ingest/pipeline/mark", `{"processors":[{"set":{"field":"seen","value":true}}]}`)
	must(t, h, "PUT", "/p", `{"settings":{"index.default_pipeline":"mark"}}`)
	must(t, h, "POST", "/p/_bulk", "{\"index\":{\"_id\":\"1\"}}\n{\"a\": 1}\n")
	require.Contains(t, must(t, h, "GET", "/p/_doc/1", ""), `"seen":true`)
	must(t, h, "POST", "/p/_bulk?pipeline=_none", "{\"index\":{\"_id\":\"2\"}}\n{\"a\": 1}\r\n")
	require.Contains(t, must(t, h, "GET", "/p/_doc/2", ""), `"_source":{"a": 1}}`)
	must(t, h, "PUT", "/p/_settings", `{"index.blocks.write":true}`)
	require.Contains(t, must(t, h, "POST", "/p/_bulk", "{\"delete\":{\"_id\":\"2\"}}\n"), `"status":403,"error":{"type":"cluster_block_exception"`)
	must(t, h, "POST", "/p/_clone/c", "")
	require.Equal(t, 2, h.Count("c"))
}

func TestLargeIndex(t *testing.T) {
	h := estest.NewHandler(nil)
	const n = 100_000
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "{\"index\":{\"_id\":\"%d\"}}\n{\"name\":\"n%d\",\"value\":%d}\n", i, i, i)
	}
	must(t, h, "POST", "/big/_bulk?refresh=true", b.String())
	got := must(t, h, "POST", "/big/_search", `{"size":0,"track_total_hits":true,"aggs":{"h":{"histogram":{"field":"_seq_no","interval":4096,"min_doc_count":1},"aggs":{"s":{"sum":{"field":"_seq_no"}}}}}}`)
	require.Contains(t, got, fmt.Sprintf(`"total":{"value":%d,"relation":"eq"}`, n))
}

func TestSecurity(t *testing.T) {
	es := estest.New(t, &estest.Options{Username: "u", Password: "p"})
	res, err := es.Client().Info()
	require.NoError(t, err)
	require.Equal(t, 200, res.StatusCode)
	require.NoError(t, res.Body.Close())
	code, got := call(t, es.Handler, "GET", "/", "")
	require.Equal(t, 401, code)
	require.Contains(t, got, "security_exception")
}
