package backup

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
)

// In a bubble only waiting takes time, so what a backup takes is what it was held back.
func TestPace(t *testing.T) {
	for name, c := range map[string]struct {
		o       Options
		seconds float64
	}{
		"as fast as it goes": {Options{}, 0},
		"documents":          {Options{DocsPerSecond: 100}, 20},
		"bytes":              {Options{BytesPerSecond: 10_000}, 2000 * 160 / 10_000.},
		"slow":               {Options{DocsPerSecond: 1}, 2000},
		"both":               {Options{DocsPerSecond: 1000, BytesPerSecond: 1 << 40}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := estest.NewHandler(nil)
				es := h.Transport()
				create(t, es, "i", 2)
				index(t, es, "i", 0, 2000, "v")
				began := time.Now()
				m, err := Dump(t.Context(), es, &memTarget{}, &c.o)
				require.NoError(t, err)
				require.EqualValues(t, 2000, m.Indices[0].Docs)
				require.InDelta(t, c.seconds, time.Since(began).Seconds(), c.seconds/4)
			})
		})
	}
}

// However slow it is, no point in time runs out between two searches.
func TestPaceKeepsPointsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		es := estest.NewHandler(nil).Transport()
		create(t, es, "i", 2)
		index(t, es, "i", 0, 300, "v")
		last := map[string]time.Time{}
		w := &wire{next: es, at: -1, each: func(r *http.Request) {
			if r.URL.Path != "/_search" {
				return
			}
			b, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			r.Body = io.NopCloser(strings.NewReader(string(b)))
			var q struct {
				Pit struct{ ID string }
			}
			require.NoError(t, json.Unmarshal(b, &q))
			if at, ok := last[q.Pit.ID]; ok {
				require.Less(t, time.Since(at), time.Minute)
			}
			last[q.Pit.ID] = time.Now()
		}}
		_, err := Dump(t.Context(), w, &memTarget{}, &Options{DocsPerSecond: 1, KeepAlive: time.Minute, Concurrency: 1})
		require.NoError(t, err)
		require.NotEmpty(t, last)
	})
}

func TestPaceEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := estest.NewHandler(nil)
		es := h.Transport()
		create(t, es, "i", 1)
		index(t, es, "i", 0, 300, "v")
		stop := errors.New("stop")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, stop)
		defer cancel()
		_, err := Dump(ctx, es, &memTarget{}, &Options{DocsPerSecond: 1})
		require.Error(t, err)
		require.Zero(t, h.OpenContexts())
	})
}

func TestTimeLeft(t *testing.T) {
	var last Progress
	now := time.Unix(0, 0)
	r := newReporter(func(p Progress) { last = p }, now, 2)
	r.clock = func() time.Time { return now }
	r.expect([]string{"a", "b"}, map[string]int64{"a": 1000, "b": 9000, "another": 5})
	s := r.shard("a", 1000)
	require.Zero(t, last.Left, "nothing can be said yet")
	step := func(s *shardProgress, docs int64, d time.Duration) {
		now = now.Add(d)
		s.add(docs, docs, false)
	}
	for range 10 {
		step(s, 100, time.Second)
	}
	require.InDelta(t, 90, last.Left.Seconds(), 1, "100 documents a second, and 9,000 in an index that was not opened")
	r.indexDone("a")
	// Half of its documents, and then 45 times slower, as an index with deletes and best_compression is.
	s = r.shard("b", 9000)
	for range 45 {
		step(s, 100, time.Second)
	}
	require.InDelta(t, 45, last.Left.Seconds(), 1)
	for range 60 {
		step(s, 2, time.Second)
	}
	require.InDelta(t, (9000-4500-120)/2., last.Left.Seconds(), 60, "the speed of the last half minute counts")
	r.indexDone("b")
	r.done()
	require.Zero(t, last.Left)

	r = newReporter(func(p Progress) { last = p }, now, 1)
	r.clock = func() time.Time { return now }
	r.expect([]string{"a"}, nil)
	s = r.shard("a", 1000)
	step(s, 10, time.Minute)
	require.Zero(t, last.Left, "the server did not say what there is")
}

func TestTimeLeftOfARun(t *testing.T) {
	_, es := cluster(t)
	asked := false
	w := onRequests(es, "/_stats/docs", func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
		if r.URL.Path == "/_stats/docs" {
			asked = true
			return answer(403, "{}")
		}
		return next.Perform(r)
	})
	_, err := Dump(t.Context(), w, &memTarget{}, &Options{Progress: func(Progress) {}})
	require.NoError(t, err, "the time left is no reason to fail")
	require.True(t, asked)
	asked = false
	_, err = Dump(t.Context(), w, &memTarget{}, nil)
	require.NoError(t, err)
	require.False(t, asked)
}
