package estest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/escrow-backup/escrow/estest"
)

// twoShards is an index p of 20 documents, 10 of them or so in each shard.
func twoShards(t *testing.T) *estest.Handler {
	t.Helper()
	h := estest.NewHandler(&estest.Options{AutoRefresh: true})
	must(t, h, "PUT", "/p", `{"settings":{"number_of_shards":2,"number_of_replicas":0}}`)
	for i := range 20 {
		require.NoError(t, h.Index("p", estest.Doc{ID: fmt.Sprint(i), Source: fmt.Appendf(nil, `{"n":%d}`, i)}))
	}
	return h
}

// read sends a request and reads all of the answer; err is of either.
func read(t *testing.T, ctx context.Context, h *estest.Handler, method, path string) (int, string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "http://es"+path, nil)
	require.NoError(t, err)
	res, err := h.Transport().Perform(r)
	if err != nil {
		return 0, "", err
	}
	b, err := io.ReadAll(res.Body)
	require.NoError(t, res.Body.Close())
	return res.StatusCode, string(b), err
}

func TestFaultErrors(t *testing.T) {
	h := twoShards(t)
	for _, c := range []struct {
		inject func(*estest.Fault)
		status int
		kind   string
	}{
		{func(f *estest.Fault) { f.Status(401) }, 401, "security_exception"},
		{func(f *estest.Fault) { f.Status(403) }, 403, "security_exception"},
		{func(f *estest.Fault) { f.Status(429) }, 429, "es_rejected_execution_exception"},
		{func(f *estest.Fault) { f.Status(500) }, 500, "exception"},
		{func(f *estest.Fault) { f.Status(502) }, 502, "proxy_exception"},
		{func(f *estest.Fault) { f.Status(503) }, 503, "cluster_block_exception"},
		{func(f *estest.Fault) { f.Status(504) }, 504, "proxy_exception"},
		{func(f *estest.Fault) { f.CircuitBreaker() }, 429, "circuit_breaking_exception"},
		{func(f *estest.Fault) { f.Error(418, "teapot_exception", "short and stout") }, 418, "teapot_exception"},
	} {
		f := h.Inject().Method("PUT").Path("/p/_doc/")
		c.inject(f)
		code, body := call(t, h, "PUT", "/p/_doc/new", `{}`)
		require.Equal(t, c.status, code)
		require.Contains(t, body, `"type":"`+c.kind+`"`)
		must(t, h, "GET", "/p/_doc/1", "") // another method
		require.Equal(t, 1, f.Count())
		f.Remove()
		require.Equal(t, 20, h.Count("p"), "the request was executed")
	}
}

func TestFaultNarrowing(t *testing.T) {
	h := twoShards(t)
	f := h.Inject().PathMatch(`^/p/_doc/[13]$`).Nth(2).Times(2)
	must(t, h, "GET", "/p/_doc/1", "")
	require.Zero(t, f.Count(), "a fault without an effect fires")
	f.Status(429)
	want := []int{200, 429, 429, 200}
	for i, status := range want {
		code, _ := call(t, h, "GET", "/p/_doc/3", "")
		require.Equal(t, status, code, i)
		must(t, h, "GET", "/p/_doc/2", "")
	}
	require.Equal(t, 2, f.Count())
}

func TestFaultShardsAndTimeOut(t *testing.T) {
	h := twoShards(t)
	f := h.Inject().FailShards(0)
	require.Contains(t, must(t, h, "POST", "/p/_search", ""), `"failed":1`)
	require.Contains(t, must(t, h, "POST", "/p/_count", ""), `"failed":1`)
	require.Contains(t, must(t, h, "GET", "/p/_stats?level=shards", ""), `"failed":1`)
	require.Contains(t, must(t, h, "POST", "/p/_refresh", ""), `"failed":1`)
	code, body := call(t, h, "POST", "/p/_search?preference=_shards:0", "")
	require.Equal(t, 503, code, "no shard is left")
	require.Contains(t, body, "search_phase_execution_exception")
	code, _ = call(t, h, "POST", "/p/_pit?keep_alive=1m", "")
	require.Equal(t, 503, code)
	f.Forced()
	require.Contains(t, must(t, h, "POST", "/p/_search?allow_partial_search_results=false", ""), `"failed":1`)
	h.ClearFaults()

	all := must(t, h, "POST", "/p/_search?size=100", "")
	f = h.Inject().TimeOut()
	part := must(t, h, "POST", "/p/_search?size=100", "")
	require.Contains(t, part, `"timed_out":true`)
	require.Less(t, strings.Count(part, `"_id"`), strings.Count(all, `"_id"`))
	code, body = call(t, h, "POST", "/p/_search?allow_partial_search_results=false", "")
	require.Equal(t, 504, code)
	require.Contains(t, body, "search_phase_execution_exception")
	f.Forced()
	require.Contains(t, must(t, h, "POST", "/p/_search?allow_partial_search_results=false", ""), `"timed_out":true`)
}

func TestFaultItems(t *testing.T) {
	h := twoShards(t)
	body := ""
	for i := range 9 {
		body += fmt.Sprintf("{\"index\":{\"_id\":\"new%d\"}}\n{}\n", i)
	}
	for _, c := range []struct {
		inject   func(*estest.Fault)
		rejected int
	}{
		{func(f *estest.Fault) { f.RejectItems(3) }, 3},
		{func(f *estest.Fault) { f.RejectItems(1) }, 9},
		{func(f *estest.Fault) { f.RejectFirstItems(4) }, 4},
	} {
		must(t, h, "PUT", "/q", "")
		c.inject(h.Inject().Path("_bulk").Once())
		got := must(t, h, "POST", "/q/_bulk", body)
		require.Equal(t, c.rejected, strings.Count(got, `"status":429,"error":{"type":"es_rejected_execution_exception"`))
		require.Contains(t, got, `"errors":true`)
		require.Equal(t, 9-c.rejected, h.Count("q"))
		require.Contains(t, must(t, h, "POST", "/q/_bulk", body), `"errors":false`)
		require.Equal(t, 9, h.Count("q"))
		must(t, h, "DELETE", "/q", "")
	}
}

func TestFaultConnections(t *testing.T) {
	h := twoShards(t)
	h.Inject().Once().Cut()
	_, _, err := read(t, t.Context(), h, "DELETE", "/p/_doc/1")
	require.Error(t, err)
	require.Equal(t, 20, h.Count("p"), "cut before it was executed")

	h.Inject().Once().CutAfter(7)
	_, body, err := read(t, t.Context(), h, "DELETE", "/p/_doc/1")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Len(t, body, 7)
	require.Equal(t, 19, h.Count("p"), "executed, but the answer did not arrive")

	h.Inject().Once().Truncate(7)
	code, body, err := read(t, t.Context(), h, "GET", "/p/_doc/2")
	require.NoError(t, err)
	require.Equal(t, 200, code)
	require.Len(t, body, 7)

	h.Inject().Once().Delay(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	h.OnRequest(func(*http.Request) { cancel() })
	_, _, err = read(t, ctx, h, "GET", "/p/_doc/2")
	require.ErrorIs(t, err, context.Canceled)
	h.ClearFaults()

	// A hook may use the server.
	h.Inject().Once().Do(func(*http.Request) {
		if e := h.Index("p", estest.Doc{ID: "hooked", Source: []byte(`{}`)}); e != nil {
			panic(e)
		}
	})
	require.Contains(t, must(t, h, "GET", "/p/_doc/hooked", ""), `"found":true`)
}

func TestFaultsOverASocket(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	es := estest.New(nil, nil)
	defer es.Close()
	c := es.Client()
	res, err := c.Info()
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	es.Inject().Once().Cut()
	_, err = c.Info()
	require.Error(t, err)
	es.Inject().Once().CutAfter(20)
	res, err = c.Info()
	require.NoError(t, err)
	_, err = io.ReadAll(res.Body)
	require.True(t, errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "reset"), "%v", err)
	require.NoError(t, res.Body.Close())
}

func TestRequestLog(t *testing.T) {
	h := twoShards(t)
	h.ResetRequests()
	must(t, h, "POST", "/p/_search?size=3", `{}`)
	must(t, h, "GET", "/p/_doc/1", "")
	require.Equal(t, []estest.Request{{Method: "POST", Path: "/p/_search", Query: "size=3", BodyBytes: 2}}, h.Requests("_search"))
	require.Len(t, h.Requests(""), 2)
}
