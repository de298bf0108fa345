package restore

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// unavailable answers bulk requests as a server does that has lost all copies of a shard: the items in it, for which gone says so,
// are unavailable after it has waited, and the others are written.
func unavailable(gone func(id string) bool) func(int, *http.Request, []byte, func() (*http.Response, error)) (*http.Response, error) {
	return bulkAnswers(func(r *http.Request, id string) string {
		if !gone(id) {
			return ""
		}
		return fmt.Sprintf(`"status":503,"error":{"type":"unavailable_shards_exception",
			"reason":"[t-load][1] primary shard is not active Timeout: [%s]"}`, r.URL.Query().Get("timeout"))
	})
}

// A shard that is gone ends the load: its documents are tried as often as said, the same ones, whatever others get through, and no
// number of refused documents that may be hides it.
func TestShardThatIsGone(t *testing.T) {
	for _, odd := range []bool{false, true} {
		via := &between{fn: unavailable(func(id string) bool { return !odd || strings.HasSuffix(id, "3") })}
		r, err := Load(t.Context(), via, seq(in("t-load", numbered(0, 1000))...), fast(Options{Concurrency: 1, Retries: 3, MaxRejects: -1,
			Rejected: func(r Rejection) { t.Error(r) }}))
		require.ErrorContains(t, err, "index t-load: document ")
		require.ErrorContains(t, err, "status 503 unavailable_shards_exception: [t-load][1] primary shard is not active Timeout: [10s] (after 4 attempts)")
		require.Zero(t, r.Rejected)
		require.Equal(t, 4, via.n, "requests of the first batch, and no other")
	}
}

// A mapping that the node waits for in vain is no fault of the document.
func TestMappingThatComesLate(t *testing.T) {
	via := &between{fn: func(n int, _ *http.Request, _ []byte, _ func() (*http.Response, error)) (*http.Response, error) {
		if n < 2 {
			return status(200, `{"items":[{"index":{"_id":"d0","status":500,"error":{"type":"mapper_exception","reason":"timed out while waiting for a dynamic mapping update"}}}]}`), nil
		}
		return status(200, `{"items":[{"index":{"_id":"d0","status":201,"result":"created"}}]}`), nil
	}}
	r, err := Load(t.Context(), via, seq(in("t-load", numbered(0, 1))...), fast(Options{}))
	require.NoError(t, err)
	require.EqualValues(t, 1, r.Documents)
	require.EqualValues(t, 2, r.Retried)
}

// Two shards that come back one after the other, as on nodes that are started again.
func TestShardsThatComeBack(t *testing.T) {
	var mu sync.Mutex
	tries := map[string]int{}
	via := &between{fn: unavailable(func(id string) bool {
		mu.Lock()
		defer mu.Unlock()
		tries[id]++
		return strings.HasSuffix(id, "3") && tries[id] <= 2 || strings.HasSuffix(id, "4") && tries[id] <= 3
	})}
	r, err := Load(t.Context(), via, seq(in("t-load", numbered(0, 200))...), fast(Options{Retries: 3}))
	require.NoError(t, err)
	require.EqualValues(t, 200, r.Documents)
	require.EqualValues(t, 20*2+20*3, r.Retried)
}

// routing is what the cluster state says of shard 1 of an index.
func routing(index, state, reason string) string {
	return fmt.Sprintf(`{"routing_table":{"indices":{%q:{"shards":{"0":[{"state":"STARTED","primary":true}],"1":[{"state":"UNASSIGNED","primary":false,
		"unassigned_info":{"reason":"NODE_LEFT"}},{"state":%q,"primary":true,"unassigned_info":{"reason":%q}}]}}}}}`, index, state, reason)
}

// losing is a cluster that loses the node of a shard at the second bulk request of each of the first losses indices that are made.
func losing(t *testing.T, losses int, reason string) *between {
	es := cluster(t)
	var mu sync.Mutex
	made, bulks, gone := 0, 0, false
	return &between{es: es, fn: func(n int, r *http.Request, body []byte, do func() (*http.Response, error)) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case r.Method == "PUT" && r.URL.Path == "/t-one":
			made++
			bulks, gone = 0, false
		case strings.HasSuffix(r.URL.Path, "/_bulk"):
			bulks++
			if gone = gone || bulks == 2 && made <= losses; gone {
				return unavailable(func(string) bool { return true })(n, r, body, do)
			}
		case strings.HasPrefix(r.URL.Path, "/_cluster/state/routing_table/") && gone:
			return status(200, routing("t-one", "UNASSIGNED", reason)), nil
		}
		return do()
	}}
}

// An index that loses a shard while it is loaded is made anew, and only so often.
func TestIndexIsMadeAnewWhenItsNodeIsLost(t *testing.T) {
	b := plainBackup(t)
	var last Progress
	o := fast(Options{Concurrency: 1, Retries: 2, Progress: func(p Progress) { last = p }})
	via := losing(t, 2, "NODE_LEFT")
	r, err := runPlan(t.Context(), b, via, o)
	require.NoError(t, err)
	require.EqualValues(t, 100, r.Documents)
	require.EqualValues(t, 100, last.DocsDone)
	require.Equal(t, r.Bytes, last.BytesDone)
	identical(t, b, via.es, Options{})

	for reason, tc := range map[string]struct {
		losses int
		want   string
	}{
		"NODE_LEFT":         {3, "restore: index t-one: index t-one: shard 1 was on a node that is gone, and no other has a copy: index t-one: document "},
		"ALLOCATION_FAILED": {1, "restore: index t-one: index t-one: shard 1 has no primary: index t-one: document "},
	} {
		via := losing(t, tc.losses, reason)
		_, err := runPlan(t.Context(), b, via, o)
		require.ErrorContains(t, err, tc.want)
		require.False(t, exists(t, via.es, "t-one"))
	}
}

// A shard that is lost after its index was loaded is found at the end, unless it comes back.
func TestShardIsLostBeforeTheEnd(t *testing.T) {
	b := newBackup().add(t, "t-one", plainMeta, numbered(0, 60), numbered(60, 100)).add(t, "t-two", strings.ReplaceAll(plainMeta, "t-alias", "t-other"), numbered(0, 9), nil)
	for _, tc := range []struct {
		index string
		red   int // looks at the cluster
		fails bool
	}{{"t-one", 100, true}, {"t-two", 100, true}, {"t-one", 2, false}, {"t-not-ours", 100, false}} {
		looks := 0
		via := &between{es: cluster(t), fn: func(_ int, r *http.Request, _ []byte, do func() (*http.Response, error)) (*http.Response, error) {
			switch {
			case r.URL.Path == "/_cluster/health":
				if looks++; looks <= tc.red {
					return status(200, `{"status":"red","timed_out":false}`), nil
				}
			case strings.HasPrefix(r.URL.Path, "/_cluster/state/routing_table/"):
				return status(200, routing(tc.index, "INITIALIZING", "NODE_LEFT")), nil
			}
			return do()
		}}
		r, err := runPlan(t.Context(), b, via, fast(Options{Retries: 4}))
		require.EqualValues(t, 109, r.Documents)
		if tc.fails {
			require.EqualError(t, err, "restore: index "+tc.index+": shard 1 was on a node that is gone, and no other has a copy (it was loaded whole before)")
			require.Equal(t, 5, looks)
		} else {
			require.NoError(t, err)
		}
	}
	for _, at := range []string{"/_cluster/health", "/_cluster/state/routing_table/*"} {
		for _, code := range []int{403, 500} {
			asked := 0
			via := &between{es: cluster(t), fn: func(_ int, r *http.Request, _ []byte, do func() (*http.Response, error)) (*http.Response, error) {
				switch r.URL.Path {
				case at:
					asked++
					return status(code, `{}`), nil
				case "/_cluster/health":
					return status(200, `{"status":"red"}`), nil
				}
				return do()
			}}
			_, err := runPlan(t.Context(), b, via, fast(Options{}))
			require.Equal(t, 1, asked)
			if code == 403 {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "restore: ask whether all shards are there: GET "+strings.TrimSuffix(at, "*"))
			}
		}
	}
}
