package restore

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
)

// edited passes the request on, and changes the text of the answer.
func edited(do func() (*http.Response, error), edit func(b []byte) []byte) (*http.Response, error) {
	res, err := do()
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(edit(b))), -1
	return res, nil
}

var oneHit = regexp.MustCompile(`\{"_index".*?"sort":\[[^]]*\]\},?`)

// faults are what can go wrong with one request and its answer.
var faults = map[string]func(do func() (*http.Response, error)) (*http.Response, error){
	"cut before": func(func() (*http.Response, error)) (*http.Response, error) { return nil, syscall.ECONNRESET },
	"cut after":  afterwards,
	"429":        func(func() (*http.Response, error)) (*http.Response, error) { return status(429, `{}`), nil },
	"500":        func(func() (*http.Response, error)) (*http.Response, error) { return status(500, `{}`), nil },
	"400": func(func() (*http.Response, error)) (*http.Response, error) {
		return status(400, `{"error":{"type":"illegal_argument_exception","reason":"no"}}`), nil
	},
	"done but 503": func(do func() (*http.Response, error)) (*http.Response, error) {
		res, err := do()
		if err != nil {
			return nil, err
		}
		_ = res.Body.Close()
		return status(503, `{}`), nil
	},
	"empty": func(func() (*http.Response, error)) (*http.Response, error) { return status(200, ``), nil },
	"ends in the middle": func(do func() (*http.Response, error)) (*http.Response, error) {
		return edited(do, func(b []byte) []byte { return b[:len(b)/2] })
	},
	"a shard failed": func(do func() (*http.Response, error)) (*http.Response, error) {
		return edited(do, func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"failed":0`), []byte(`"failed":1,"failures":[{"index":"i","shard":0,"reason":{"type":"x","reason":"disk"}}]`), 1)
		})
	},
	"a hit is missing": func(do func() (*http.Response, error)) (*http.Response, error) {
		return edited(do, func(b []byte) []byte {
			if loc := oneHit.FindIndex(b); loc != nil {
				return append(b[:loc[0]:loc[0]], b[loc[1]:]...)
			}
			return b
		})
	},
}

// mayStayOpen says whether a fault of one request can leave a point in time open until its keep-alive has passed: where the answer that
// names it was lost, or the server was not asked to close it and the answer does not look like it.
func mayStayOpen(fault string, r *http.Request) bool {
	return strings.HasSuffix(r.URL.Path, "/_pit") && (r.Method == "POST" || fault == "400" || fault == "500" || fault == "empty")
}

// faultEverywhere restores with each fault at each request in turn. The outcome is what a restore without a fault makes, or an error after
// which nothing looks whole that is not: a restore that resumes it, which keeps what is whole, makes the same of it.
func faultEverywhere(t *testing.T, src fs.FS, o Options, setup func(t *testing.T, es elastictransport.Interface)) {
	t.Helper()
	t.Parallel()
	h, requests, fresh := undisturbed(t, src, o, setup)
	want := state(t, h.Transport())
	require.NotContains(t, want, "escrow")
	o.Retries = 2
	resume := o
	resume.Resume = true
	every := 3 // of the faults each request has; of many requests fewer
	if len(requests) > 50 {
		every = 6
	}
	good, failed, tried, hits := 0, 0, 0, 0
	for k, kind := range slices.Sorted(maps.Keys(faults)) {
		for n, name := range requests {
			if (n+k)%every > 0 {
				continue
			}
			tried++
			h := fresh()
			var hit *http.Request
			var met calls
			via := &between{es: h.Transport(), fn: func(_ int, r *http.Request, body []byte, do func() (*http.Response, error)) (*http.Response, error) {
				if met.name(r, body) == name {
					hit = r
					return faults[kind](do)
				}
				return do()
			}}
			_, err := once(t.Context(), src, via, o)
			if hit == nil {
				continue // bulk requests run beside each other: there may be fewer
			}
			hits++
			at := fmt.Sprintf("%s at request %s: %v", kind, name, err)
			if !mayStayOpen(kind, hit) {
				require.Zero(t, h.OpenContexts(), at)
			}
			if err == nil {
				good++
			} else {
				failed++
				_, err = once(t.Context(), src, h.Transport(), resume)
				require.NoError(t, err, at)
			}
			requireState(t, want, h.Transport(), at)
		}
	}
	require.Positive(t, good)
	require.Positive(t, failed)
	require.Greater(t, hits, tried*9/10)
}

func TestEveryFaultAtEveryCall(t *testing.T) {
	src := twoIndices(t).fs
	old := func(t *testing.T, es elastictransport.Interface) {
		must(t, es, "PUT", "/t-one", `{"settings":{"number_of_shards":2},"aliases":{"mine":{}}}`)
		must(t, es, "PUT", "/t-one/_doc/old?refresh=true", `{"n":1}`)
	}
	// halfway is what a restore leaves that was killed at its nth request.
	halfway := func(src fs.FS, o Options, n int, before func(t *testing.T, es elastictransport.Interface)) func(t *testing.T, es elastictransport.Interface) {
		o.Resume, o.Retries = false, -1
		return func(t *testing.T, es elastictransport.Interface) {
			if before != nil {
				before(t, es)
			}
			_, err := once(t.Context(), src, killed(es, n, true), o)
			require.Error(t, err)
		}
	}
	t.Run("replace", func(t *testing.T) { faultEverywhere(t, src, Options{Conflict: Replace, BulkBytes: 700}, old) })
	o := Options{Resume: true, BulkBytes: 700}
	t.Run("resume", func(t *testing.T) { faultEverywhere(t, src, o, halfway(src, o, 22, nil)) })
	replace := o
	replace.Conflict = Replace
	t.Run("resume replace", func(t *testing.T) { faultEverywhere(t, src, replace, halfway(src, replace, 12, old)) })
	_, es := streams(t)
	streamed, _ := dump(t, es, nil)
	made := Options{Indices: []string{"logs-b"}, Sections: []string{"default"}}
	t.Run("data stream", func(t *testing.T) { faultEverywhere(t, streamed, made, nil) })
	again := made
	again.Resume = true
	t.Run("resume data stream", func(t *testing.T) { faultEverywhere(t, streamed, again, halfway(streamed, again, 30, nil)) })
	t.Run("replace data stream", func(t *testing.T) {
		faultEverywhere(t, streamed, Options{Conflict: Replace, Indices: []string{"logs-b"}}, func(t *testing.T, to elastictransport.Interface) {
			must(t, to, "PUT", "/_index_template/logs", `{"index_patterns":["logs*"],"data_stream":{},"priority":5}`)
			must(t, to, "PUT", "/logs-b/_create/old?refresh=true", `{"@timestamp":"2025-01-01T00:00:00Z"}`)
		})
	})
	_, es = full(t)
	sections, _ := dump(t, es, &backup.Options{Sections: []string{"*"}})
	t.Run("sections", func(t *testing.T) { faultEverywhere(t, sections, Options{Sections: []string{"*"}}, nil) })
	t.Run("replace sections", func(t *testing.T) {
		faultEverywhere(t, sections, Options{Sections: []string{"*"}, Conflict: Replace}, func(t *testing.T, to elastictransport.Interface) {
			must(t, to, "PUT", "/people", `{"mappings":{"properties":{"id":{"type":"keyword"}}}}`)
			for _, x := range everything {
				if x.section == "enrich_policies" || x.section == "transforms" || x.section == "watches" || x.section == "ingest_pipelines" {
					must(t, to, "PUT", x.path, strings.NewReplacer(`"n"`, `"m"`, `"10m"`, `"20m"`, `"name"]`, `"other"]`, "é", "e").Replace(x.body))
				}
			}
		})
	})
}
