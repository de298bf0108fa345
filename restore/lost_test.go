package restore

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// lostShard answers bulk requests as a server does that has lost all copies of a shard: the items in it, for which gone says so,
// are unavailable after it has waited, and the others are written.
func lostShard(gone func(id string) bool) func(int, *http.Request, []byte, func() (*http.Response, error)) (*http.Response, error) {
	return func(_ int, r *http.Request, body []byte, _ func() (*http.Response, error)) (*http.Response, error) {
		var items []string
		for line := range strings.Lines(string(body)) {
			if !strings.HasPrefix(line, `{"index":{"_index"`) {
				continue
			}
			id := strings.Split(line, `"`)[9]
			if gone(id) {
				items = append(items, fmt.Sprintf(`{"index":{"_id":%q,"status":503,"error":{"type":"unavailable_shards_exception",
					"reason":"[t-load][1] primary shard is not active Timeout: [%s]"}}}`, id, r.URL.Query().Get("timeout")))
			} else {
				items = append(items, fmt.Sprintf(`{"index":{"_id":%q,"status":201,"result":"created"}}`, id))
			}
		}
		return status(200, `{"took":1,"errors":true,"items":[`+strings.Join(items, ",")+`]}`), nil
	}
}

// A shard that is gone ends the load: its documents are tried as often as said, the same ones, whatever others get through, and no
// number of refused documents that may be hides it.
func TestShardThatIsGone(t *testing.T) {
	for _, odd := range []bool{false, true} {
		via := &between{fn: lostShard(func(id string) bool { return !odd || strings.HasSuffix(id, "3") })}
		r, err := Load(t.Context(), via, seq(in("t-load", numbered(0, 1000))...), fast(Options{Concurrency: 1, Retries: 3, MaxRejects: -1,
			Rejected: func(r Rejection) { t.Error(r) }}))
		require.ErrorContains(t, err, "index t-load: document ")
		require.ErrorContains(t, err, "status 503 unavailable_shards_exception: [t-load][1] primary shard is not active Timeout: [10s] (after 4 attempts)")
		require.Zero(t, r.Rejected)
		require.Equal(t, 4, via.n, "requests of the first batch, and no other")
	}
}

// Two shards that come back one after the other, as on nodes that are started again.
func TestShardsThatComeBack(t *testing.T) {
	var mu sync.Mutex
	tries := map[string]int{}
	via := &between{fn: lostShard(func(id string) bool {
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
