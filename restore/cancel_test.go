package restore

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"testing"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
)

// cancelEverywhere restores and is told to stop at every request in turn, as by Ctrl-C. What there is afterwards is as it was before, or
// what the restore makes of it; nothing unfinished is left, and no point in time.
func cancelEverywhere(t *testing.T, src fs.FS, o Options, setup func(t *testing.T, es elastictransport.Interface)) {
	t.Helper()
	t.Parallel()
	texts := func(es elastictransport.Interface) map[string]string {
		out := map[string]string{}
		for name, part := range parts(t, es) {
			b, err := json.Marshal(part)
			require.NoError(t, err)
			out[name] = string(b)
		}
		return out
	}
	h, requests, fresh := undisturbed(t, src, o, setup)
	before, want := texts(fresh().Transport()), texts(h.Transport())
	stop := errors.New("stop")
	stopped, hits := 0, 0
	for n, name := range requests {
		h := fresh()
		ctx, cancel := context.WithCancelCause(t.Context())
		at := "request " + name
		var met calls
		via := &between{es: h.Transport(), fn: func(_ int, r *http.Request, body []byte, do func() (*http.Response, error)) (*http.Response, error) {
			if met.name(r, body) == name {
				hits++        // at most once a restore
				if n%2 == 1 { // it is not sent any more
					if cancel(stop); r.Context().Err() != nil {
						return nil, r.Context().Err()
					}
					return do()
				}
				res, err := do()
				if cancel(stop); r.Context().Err() != nil && err == nil { // it is done, and nobody waits for the answer
					_ = res.Body.Close()
					return nil, r.Context().Err()
				}
				return res, err
			}
			return do()
		}}
		_, err := once(ctx, src, via, o)
		cancel(nil)
		if err != nil {
			stopped++
			require.ErrorIs(t, err, stop, at)
		}
		require.Zero(t, h.OpenContexts(), at)
		after := texts(h.Transport())
		for name, now := range after {
			require.NotContains(t, now, "escrow-", at)
			if now != before[name] {
				require.Equal(t, want[name], now, "%s: %s, %v", at, name, err)
			}
		}
		for name := range before {
			if want[name] != "" { // not what is replaced by others
				require.Contains(t, after, name, at)
			}
		}
	}
	require.Positive(t, stopped)
	require.Greater(t, hits, len(requests)*9/10)
}

func TestCancelAtEveryCall(t *testing.T) {
	src := twoIndices(t).fs
	old := func(t *testing.T, es elastictransport.Interface) {
		must(t, es, "PUT", "/t-one", `{"settings":{"number_of_shards":2,"number_of_replicas":2,"refresh_interval":"11s","default_pipeline":"mine"},"aliases":{"mine":{}}}`)
		must(t, es, "PUT", "/t-one/_doc/old?refresh=true&pipeline=_none", `{"n":1}`)
	}
	t.Run("create", func(t *testing.T) { cancelEverywhere(t, src, Options{BulkBytes: 700}, nil) })
	t.Run("replace", func(t *testing.T) { cancelEverywhere(t, src, Options{BulkBytes: 700, Conflict: Replace}, old) })
	t.Run("resume", func(t *testing.T) {
		cancelEverywhere(t, src, Options{BulkBytes: 700, Resume: true}, func(t *testing.T, es elastictransport.Interface) {
			restored(t, src, es, Options{Indices: []string{"t-two"}})
		})
	})
	_, es := streams(t)
	streamed, _ := dump(t, es, nil)
	t.Run("data stream", func(t *testing.T) {
		cancelEverywhere(t, streamed, Options{Indices: []string{"logs-b"}, Sections: []string{"default"}}, nil)
	})
	t.Run("replace data stream", func(t *testing.T) {
		cancelEverywhere(t, streamed, Options{Conflict: Replace, Indices: []string{"logs-b"}}, func(t *testing.T, to elastictransport.Interface) {
			must(t, to, "PUT", "/_index_template/logs", `{"index_patterns":["logs*"],"data_stream":{},"priority":5}`)
			must(t, to, "PUT", "/logs-b/_create/old?refresh=true", `{"@timestamp":"2025-01-01T00:00:00Z"}`)
		})
	})
}

// A merge that is stopped changes nothing of the index but its documents.
func TestCancelledMergeKeepsSettings(t *testing.T) {
	src := plainBackup(t).fs
	for n := range 12 {
		es := estest.NewHandler(nil).Transport()
		must(t, es, "PUT", "/t-one", `{"settings":{"number_of_shards":2,"number_of_replicas":2,"refresh_interval":"11s","default_pipeline":"mine"},"aliases":{"mine":{}}}`)
		shown := func() string {
			return string(must(t, es, "GET", "/t-one/_settings", "")) + string(must(t, es, "GET", "/t-one/_alias", ""))
		}
		before := shown()
		ctx, cancel := context.WithCancel(t.Context())
		via := &between{es: es, fn: func(i int, _ *http.Request, _ []byte, do func() (*http.Response, error)) (*http.Response, error) {
			if i == n {
				cancel()
			}
			return do()
		}}
		_, err := once(ctx, src, via, Options{Conflict: Merge})
		cancel()
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, before, shown())
	}
}
