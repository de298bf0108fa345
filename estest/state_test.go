package estest_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
)

// shardStats is what an incremental backup looks at.
type shardStats struct {
	Commit struct {
		UserData struct {
			History string `json:"history_uuid"`
		} `json:"user_data"`
	}
	SeqNo struct {
		Max    int64 `json:"max_seq_no"`
		Local  int64 `json:"local_checkpoint"`
		Global int64 `json:"global_checkpoint"`
	} `json:"seq_no"`
}

func stats(t *testing.T, h *estest.Handler, index string) []shardStats {
	t.Helper()
	var s struct {
		Indices map[string]struct{ Shards map[string][]shardStats }
	}
	require.NoError(t, json.Unmarshal([]byte(must(t, h, "GET", "/"+index+"/_stats?level=shards", "")), &s))
	var out []shardStats
	for n := range len(s.Indices[index].Shards) {
		out = append(out, s.Indices[index].Shards[fmt.Sprint(n)][0])
	}
	return out
}

func TestFailover(t *testing.T) {
	h := estest.NewHandler(&estest.Options{AutoRefresh: true})
	must(t, h, "PUT", "/p", "")
	for _, id := range []string{"kept", "changed", "deleted"} {
		require.NoError(t, h.Index("p", estest.Doc{ID: id, Source: []byte(`{"v":1}`)}))
	}
	before := stats(t, h, "p")[0]
	require.EqualValues(t, 2, before.SeqNo.Global)
	require.NoError(t, h.SetGlobalCheckpoint("p", 0, 2))
	require.NoError(t, h.Index("p", estest.Doc{ID: "changed", Source: []byte(`{"v":2}`)}, estest.Doc{ID: "new", Source: []byte(`{"v":2}`)}))
	must(t, h, "DELETE", "/p/_doc/deleted", "")
	held := stats(t, h, "p")[0]
	require.EqualValues(t, 5, held.SeqNo.Max)
	require.EqualValues(t, 2, held.SeqNo.Global)
	var pit struct{ ID string }
	require.NoError(t, json.Unmarshal([]byte(must(t, h, "POST", "/p/_pit?keep_alive=1m", "")), &pit))

	lost, err := h.Failover("p", 0)
	require.NoError(t, err)
	require.Equal(t, 3, lost)
	after := stats(t, h, "p")[0]
	require.Equal(t, before.Commit, after.Commit, "the history stays")
	require.Equal(t, before.SeqNo, after.SeqNo)
	require.Equal(t, 3, h.Count("p"))
	require.Contains(t, must(t, h, "GET", "/p/_doc/changed", ""), `"_seq_no":1,"_primary_term":1,"found":true,"_source":{"v":1}`)
	// Lost numbers are given again, in the next term.
	require.Contains(t, must(t, h, "PUT", "/p/_doc/other", `{"v":3}`), `"_seq_no":3,"_primary_term":2`)
	// A point in time shows what it showed.
	require.Contains(t, must(t, h, "POST", "/_search", `{"pit":{"id":"`+pit.ID+`"},"query":{"ids":{"values":["new"]}}}`), `"v":2`)

	require.NoError(t, h.NewHistory("p", 0))
	renewed := stats(t, h, "p")[0]
	require.NotEqual(t, before.Commit, renewed.Commit)
	require.EqualValues(t, 3, renewed.SeqNo.Max)

	require.NoError(t, h.SetGlobalCheckpoint("p", 0, -1))
	require.NoError(t, h.ReleaseGlobalCheckpoint("p", 0))
	require.EqualValues(t, 3, stats(t, h, "p")[0].SeqNo.Global)
	require.NoError(t, h.SetGlobalCheckpoint("p", 0, -1))
	lost, err = h.Failover("p", 0)
	require.NoError(t, err)
	require.Equal(t, 4, lost)
	require.Zero(t, h.Count("p"))

	_, err = h.Failover("nope", 0)
	require.ErrorContains(t, err, "no such index [nope]")
	require.ErrorContains(t, h.NewHistory("p", 7), "no shard 7")
}

func TestIngest(t *testing.T) {
	h := estest.NewHandler(&estest.Options{AutoRefresh: true})
	must(t, h, "PUT", "/_ingest/pipeline/first", `{"processors":[{"set":{"field":"a","value":1}},{"rename":{"field":"b","target_field":"c"}},{"remove":{"field":["d","e"]}}]}`)
	must(t, h, "PUT", "/_ingest/pipeline/last", `{"processors":[{"set":{"field":"z","value":"end"}}]}`)
	must(t, h, "PUT", "/_ingest/pipeline/no", `{"processors":[{"fail":{"message":"not here"}}]}`)
	must(t, h, "PUT", "/p", `{"settings":{"default_pipeline":"first","final_pipeline":"last"}}`)
	put := func(query string) string {
		must(t, h, "PUT", "/p/_doc/1"+query, `{"b":2,"d":3,"f": 4.0}`)
		return must(t, h, "GET", "/p/_source/1", "")
	}
	require.JSONEq(t, `{"a":1,"c":2,"f":4.0,"z":"end"}`, put(""))
	require.JSONEq(t, `{"b":2,"d":3,"f":4.0,"z":"end"}`, put("?pipeline=_none"), "a final pipeline runs all the same")
	code, body := call(t, h, "PUT", "/p/_doc/2?pipeline=no", `{}`)
	require.Equal(t, 500, code)
	require.Contains(t, body, "fail_processor_exception")
	must(t, h, "PUT", "/p/_settings", `{"default_pipeline":null,"final_pipeline":null}`)
	require.Equal(t, `{"b":2,"d":3,"f": 4.0}`, put(""), "without a pipeline not a byte changes")
}

func TestVectorsAreLeftOutFrom92On(t *testing.T) {
	for version, hidden := range map[string]bool{"8.19.0": false, "9.1.0": false, "9.2.0": true, "9.10.1": true} {
		h := estest.NewHandler(&estest.Options{Version: version, AutoRefresh: true})
		must(t, h, "PUT", "/p", `{"mappings":{"properties":{"o":{"properties":{"v":{"type":"dense_vector","dims":2}}}}}}`)
		must(t, h, "PUT", "/p/_doc/1", `{"o":{"v":[1,2.50]},"big":9007199254740993}`)
		got := must(t, h, "POST", "/p/_search", "")
		if hidden {
			require.Contains(t, got, `"_source":{"big":9007199254740993,"o":{}}`, version)
		} else {
			require.Contains(t, got, `"_source":{"o":{"v":[1,2.50]},"big":9007199254740993}`, version)
		}
		if version[0] == '9' {
			require.Contains(t, must(t, h, "POST", "/p/_search", `{"_source":{"exclude_vectors":false}}`), `"_source":{"o":{"v":[1,2.50]},"big":9007199254740993}`)
		}
	}
}

func TestGzip(t *testing.T) {
	h := estest.NewHandler(&estest.Options{AutoRefresh: true})
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := io.WriteString(z, "{\"index\":{\"_id\":\"1\"}}\n{\"a\":1}\n")
	require.NoError(t, err)
	require.NoError(t, z.Close())
	r, err := http.NewRequestWithContext(t.Context(), "POST", "http://es/p/_bulk", &b)
	require.NoError(t, err)
	r.Header.Set("Content-Encoding", "gzip")
	r.Header.Set("Accept-Encoding", "gzip")
	res, err := h.Transport().Perform(r)
	require.NoError(t, err)
	require.Equal(t, 200, res.StatusCode)
	require.Equal(t, "gzip", res.Header.Get("Content-Encoding"))
	u, err := gzip.NewReader(res.Body)
	require.NoError(t, err)
	plain, err := io.ReadAll(u)
	require.NoError(t, err)
	require.Contains(t, string(plain), `"errors":false`)
	require.Equal(t, 1, h.Count("p"))

	r, err = http.NewRequestWithContext(t.Context(), "POST", "http://es/p/_bulk", bytes.NewReader([]byte("not gzip")))
	require.NoError(t, err)
	r.Header.Set("Content-Encoding", "gzip")
	res, err = h.Transport().Perform(r)
	require.NoError(t, err)
	require.Equal(t, 400, res.StatusCode)
	require.NoError(t, res.Body.Close())
}

func TestSlicesShareOutTheDocuments(t *testing.T) {
	h := twoShards(t)
	var pit struct{ ID string }
	require.NoError(t, json.Unmarshal([]byte(must(t, h, "POST", "/p/_pit?keep_alive=1m", "")), &pit))
	seen := map[string]int{}
	for i := range 3 {
		for _, hit := range hits(t, must(t, h, "POST", "/_search", fmt.Sprintf(`{"pit":{"id":%q},"slice":{"id":%d,"max":3},"size":100,"sort":["_shard_doc"]}`, pit.ID, i))) {
			seen[hit.ID]++
		}
	}
	require.Len(t, seen, 20)
	for id, n := range seen {
		require.Equal(t, 1, n, id)
	}
	code, _ := call(t, h, "POST", "/_search", `{"pit":{"id":"`+pit.ID+`"},"slice":{"id":3,"max":3}}`)
	require.Equal(t, 400, code)
}

func TestPlainRouting(t *testing.T) {
	// Of a real 9.5.2: how n0 to n9 were shared out over two shards.
	for i, want := range []int{1, 0, 0, 1, 0, 1, 1, 1, 0, 1} {
		require.Equal(t, want, estest.PlainShardOf(fmt.Sprintf("n%d", i), "", 2))
		require.Equal(t, want, estest.PlainShardOf("x", fmt.Sprintf("n%d", i), 2))
	}
	h := estest.NewHandler(&estest.Options{Version: "9.5.2", AutoRefresh: true})
	must(t, h, "PUT", "/p", `{"settings":{"number_of_shards":2}}`)
	must(t, h, "PUT", "/p/_doc/n3", `{}`)
	require.EqualValues(t, -1, stats(t, h, "p")[0].SeqNo.Max)
	require.EqualValues(t, 0, stats(t, h, "p")[1].SeqNo.Max)
}

type found struct {
	ID     string `json:"_id"`
	Source json.RawMessage
	Sort   []json.RawMessage
}

func hits(t *testing.T, body string) []found {
	t.Helper()
	var r struct{ Hits struct{ Hits []found } }
	require.NoError(t, json.Unmarshal([]byte(body), &r))
	return r.Hits.Hits
}

// TestScale loads and reads as many documents as the largest of the unit tests: work that grows with the square of them
// would not end in time.
func TestScale(t *testing.T) {
	h := estest.NewHandler(nil)
	const n, batch = scale, 10_000
	must(t, h, "PUT", "/big", `{"settings":{"number_of_shards":2,"number_of_replicas":0},"mappings":{"properties":{"n":{"type":"long"}}}}`)
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "{\"index\":{\"_id\":\"%d\"}}\n{\"n\":%d}\n", i, i)
		if (i+1)%batch == 0 {
			must(t, h, "POST", "/big/_bulk", b.String())
			b.Reset()
		}
	}
	must(t, h, "POST", "/big/_refresh", "")
	read := 0
	for shard := range 2 {
		var pit struct{ ID string }
		require.NoError(t, json.Unmarshal([]byte(must(t, h, "POST", fmt.Sprintf("/big/_pit?keep_alive=1m&preference=_shards:%d", shard), "")), &pit))
		after := ""
		for {
			page := hits(t, must(t, h, "POST", "/_search", `{"pit":{"id":"`+pit.ID+`"},"sort":["_seq_no"],"size":10000,"track_total_hits":false`+after+`}`))
			if len(page) == 0 {
				break
			}
			read += len(page)
			last := page[len(page)-1].Sort
			require.Len(t, last, 2)
			after = fmt.Sprintf(`,"search_after":[%s,%s]`, last[0], last[1])
		}
	}
	require.Equal(t, n, read)
}
