package elastic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/layout"
)

// asks counts what a server is asked for.
type asks struct {
	next           elastictransport.Interface
	ranges, listed int
}

func (a *asks) Perform(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/_search" {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(b))
		var body struct {
			Aggs struct {
				B struct {
					Range struct{ Ranges []any }
				}
			}
			Size int
		}
		if err := json.Unmarshal(b, &body); err != nil {
			return nil, err
		}
		a.ranges += len(body.Aggs.B.Range.Ranges)
		if body.Size > 0 {
			res, err := a.next.Perform(r)
			if err != nil {
				return nil, err
			}
			b, err := io.ReadAll(res.Body)
			a.listed += bytes.Count(b, []byte(`"sort":`))
			res.Body = io.NopCloser(bytes.NewReader(b))
			return res, err
		}
	}
	return a.next.Perform(r)
}

func TestMissing(t *testing.T) {
	const docs, segment = 12_000, 4_000
	server := &asks{next: estest.NewHandler(nil).Transport()}
	send := func(method, path, body string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/json")
		res, err := server.Perform(r)
		require.NoError(t, err)
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Less(t, res.StatusCode, 300, string(text))
		require.NotContains(t, string(text), `"errors":true`)
	}
	bulk := func(action string, ids []int64) {
		t.Helper()
		var b strings.Builder
		for _, id := range ids {
			if fmt.Fprintf(&b, "{%q:{\"_id\":\"%d\"}}\n", action, id); action == "index" {
				b.WriteString("{}\n")
			}
		}
		send("POST", "/i/_bulk", b.String())
	}
	all := make([]int64, docs)
	for i := range all {
		all[i] = int64(i)
	}
	r := rand.New(rand.NewPCG(1, 2))
	row := func(from, to int64) []int64 { return slices.Clone(all[from:to]) }
	random := func(n int) []int64 {
		chosen := slices.Clone(all)
		r.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
		return chosen[:n]
	}
	for name, c := range map[string]struct {
		lost   []int64
		ranges int // that are counted at most
		listed int // documents that are listed at most
	}{
		"none":               {nil, 0, 0},
		"one":                {random(1), 0, 0},
		"one of each":        {[]int64{0, 4000, 11999}, 0, 0},
		"two":                {[]int64{17, 3000}, 8, 0},
		"neighbours":         {[]int64{17, 18}, 8, 500},
		"one of a thousand":  {random(docs / 1000), 4*docs/1000 + 12, docs / 20},
		"one of a hundred":   {random(docs / 100), 4*docs/100 + 12, docs / 20},
		"one of twenty":      {random(docs / 20), docs/16 + 12, docs / 4},
		"one of three":       {random(docs / 3), docs/16 + 12, docs},
		"a row":              {row(1000, 2000), docs / 16, 40},
		"rows over the edge": {append(row(3990, 4100), row(7000, 9000)...), docs / 16, 150},
		"nearly all":         {row(0, docs-5), 0, 5},
		"all of one":         {row(4000, 8000), 0, 0},
		"all but one":        {row(1, docs), 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			send("PUT", "/i", `{"settings":{"number_of_shards":1,"number_of_replicas":0,"max_terms_count":700,"max_result_window":300}}`)
			defer send("DELETE", "/i", "")
			bulk("index", all) // document n has sequence number n
			if len(c.lost) > 0 {
				bulk("delete", c.lost)
			}
			client := New(server, nil)
			ix, err := client.Index(t.Context(), layout.Cluster{}, "i")
			require.NoError(t, err)
			sh, err := client.OpenShard(t.Context(), ix, 0, ReadOptions{}, nil)
			require.NoError(t, err)
			defer sh.Close(t.Context())
			var ranges []Range
			for from := int64(0); from < docs; from += segment {
				ranges = append(ranges, Range{From: from, To: from + segment})
			}
			counted, _, err := sh.CountAgain(t.Context(), ranges)
			require.NoError(t, err)
			known := func() (k []Known) {
				for _, now := range counted {
					k = append(k, Known{now, all[now.From:now.To]})
				}
				return k
			}
			*server = asks{next: server.next}
			lost, err := sh.Missing(t.Context(), known())
			require.NoError(t, err)
			slices.Sort(c.lost)
			require.Equal(t, c.lost, lost)
			require.LessOrEqual(t, server.ranges, c.ranges)
			require.LessOrEqual(t, server.listed, c.listed)

			// Of a document that is there, and was not before, it is an error.
			for i, k := range known() {
				alive := func(n int64) bool { return !slices.Contains(c.lost, n) }
				at := slices.IndexFunc(k.SeqNos, alive)
				if at < 0 {
					continue
				}
				came := known()
				came[i].SeqNos = slices.Delete(slices.Clone(k.SeqNos), at, at+1)
				_, err := sh.Missing(t.Context(), came)
				var e *CameError
				require.ErrorAs(t, err, &e)
			}
		})
	}
}
