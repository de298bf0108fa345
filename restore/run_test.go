package restore

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/elastic/go-elasticsearch/v8"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

func TestRunRestoresWhatWasThere(t *testing.T) {
	es, b := cluster(t), plainBackup(t)
	var last Progress
	calls := 0
	r, err := runPlan(t.Context(), b, es, fast(Options{Progress: func(p Progress) { last = p; calls++ }}))
	require.NoError(t, err)
	require.EqualValues(t, 100, r.Documents)
	require.Equal(t, 1, r.Indices)
	require.True(t, last.Done)
	require.EqualValues(t, 100, last.DocsDone)
	require.EqualValues(t, 100, last.Docs)
	require.Equal(t, 1, last.IndicesDone)
	require.Positive(t, calls)
	got := contents(t, es, "t-one")
	require.Equal(t, 100, len(got))
	require.Equal(t, `{"n":7,"kind":"a","f":1.0,"big":9007199254740993}`, got["d7|"])
	identical(t, b, es, Options{})
	m, err := lookup(t.Context(), elastic.New(es, nil), "t-one")
	require.NoError(t, err)
	require.Equal(t, "1", m.text("number_of_replicas"))
	require.Equal(t, "7s", m.text("refresh_interval"))
	require.Equal(t, "2", m.text("write.wait_for_active_shards"))
	require.False(t, m.unfinished())
	require.Len(t, m.aliases, 1)
	for _, s := range []string{"final_pipeline", "default_pipeline", "auto_expand_replicas"} {
		require.NotContains(t, m.settings, s)
	}
}

func TestConflicts(t *testing.T) {
	b := plainBackup(t)
	setup := func(t *testing.T) elastictransport.Interface {
		es := cluster(t)
		call(t, es, "PUT", "/t-one", `{"settings":{"number_of_shards":1,"number_of_replicas":0}}`)
		call(t, es, "PUT", "/t-one/_doc/d1?refresh=true", `{"old":1}`)
		call(t, es, "PUT", "/t-one/_doc/other?refresh=true", `{"old":2}`)
		return es
	}
	t.Run("fail", func(t *testing.T) {
		es := setup(t)
		_, err := NewPlan(t.Context(), b.fs, es, nil)
		require.ErrorIs(t, err, fs.ErrExist)
		require.ErrorContains(t, err, "t-one")
		require.Equal(t, 2, len(contents(t, es, "t-one")))
	})
	t.Run("skip", func(t *testing.T) {
		es := setup(t)
		r, err := runPlan(t.Context(), b, es, fast(Options{Conflict: Skip}))
		require.NoError(t, err)
		require.Equal(t, 1, r.Skipped)
		require.Zero(t, r.Documents)
		require.Equal(t, 2, len(contents(t, es, "t-one")))
	})
	t.Run("merge", func(t *testing.T) {
		es := setup(t)
		r, err := runPlan(t.Context(), b, es, fast(Options{Conflict: Merge}))
		require.NoError(t, err)
		require.EqualValues(t, 100, r.Documents)
		got := contents(t, es, "t-one")
		require.Len(t, got, 101)
		require.Equal(t, `{"old":2}`, got["other|"])
		require.Contains(t, got["d1|"], "9007199254740993")
	})
	t.Run("replace", func(t *testing.T) {
		es := setup(t)
		_, err := runPlan(t.Context(), b, es, fast(Options{Conflict: Replace}))
		require.NoError(t, err)
		require.Equal(t, 100, len(contents(t, es, "t-one")))
		identical(t, b, es, Options{})
		found, err := resolve(t.Context(), elastic.New(es, nil), "t-*")
		require.NoError(t, err)
		require.Equal(t, 1, len(found), "the temporary index is gone")
	})
	t.Run("failed replace", func(t *testing.T) {
		es := setup(t)
		bad := newBackup().add(t, "t-one", plainMeta, append(numbered(0, 50), Document{ID: "bad", Source: []byte(`{"n":"no number"}`)}))
		_, err := runPlan(t.Context(), bad, es, fast(Options{Conflict: Replace}))
		var le *LoadError
		require.ErrorAs(t, err, &le)
		require.Equal(t, 2, len(contents(t, es, "t-one")), "the old index is as it was")
		found, err := resolve(t.Context(), elastic.New(es, nil), "t-*")
		require.NoError(t, err)
		require.Equal(t, 1, len(found))
	})
	t.Run("alias of that name", func(t *testing.T) {
		es := cluster(t)
		call(t, es, "PUT", "/t-else", `{"aliases":{"t-one":{}}}`)
		_, err := NewPlan(t.Context(), b.fs, es, fast(Options{Conflict: Replace}))
		require.ErrorContains(t, err, "alias")
		require.ErrorIs(t, err, fs.ErrExist)
	})
	t.Run("alias is an index", func(t *testing.T) {
		es := cluster(t)
		call(t, es, "PUT", "/t-alias", `{}`)
		_, err := NewPlan(t.Context(), b.fs, es, nil)
		require.ErrorContains(t, err, `"t-alias" is the name of an index`)
	})
	t.Run("merge into a blocked index", func(t *testing.T) {
		es := setup(t)
		call(t, es, "PUT", "/t-one/_settings", `{"index.blocks.write":true}`)
		_, err := NewPlan(t.Context(), b.fs, es, fast(Options{Conflict: Merge}))
		require.ErrorContains(t, err, "blocks.write is set")
	})
}

func TestRename(t *testing.T) {
	es, b := cluster(t), plainBackup(t)
	o := Options{Rename: []Rename{{"t-*", "t-copy-*"}}}
	p, err := NewPlan(t.Context(), b.fs, es, fast(o))
	require.NoError(t, err)
	require.Equal(t, "create   t-copy-one (from t-one): 100 documents; not restored: creation_date, provided_name, uuid, version.created\n1 indices, 100 documents to load\n", p.String())
	_, err = p.Run(t.Context())
	require.NoError(t, err)
	require.False(t, exists(t, es, "t-one"))
	identical(t, b, es, o)
}

func TestPutAsidePutBack(t *testing.T) {
	es := cluster(t)
	meta := `{"aliases":{"t-w":{"is_write_index":true}},"mappings":{},"settings":{"index":{"number_of_shards":"1","auto_expand_replicas":"0-1","number_of_replicas":"0",
	 "default_pipeline":"t-absent","final_pipeline":"t-absent","blocks":{"write":"true","metadata":"true"},"routing":{"allocation":{"require":{"box":"none"}}}}}}`
	b := newBackup().add(t, "t-one", meta, numbered(0, 30))
	_, err := runPlan(t.Context(), b, es, fast(Options{}))
	require.NoError(t, err)
	defer call(t, es, "PUT", "/t-one/_settings", `{"index.blocks.metadata":null}`)
	m, err := lookup(t.Context(), elastic.New(es, nil), "t-one")
	if err != nil { // a real server refuses GET of an index with a metadata block
		require.ErrorIs(t, err, fs.ErrPermission)
		call(t, es, "PUT", "/t-one/_settings", `{"index.blocks.metadata":null}`)
		m, err = lookup(t.Context(), elastic.New(es, nil), "t-one")
	}
	require.NoError(t, err)
	require.Equal(t, "t-absent", m.text("default_pipeline"))
	require.Equal(t, "t-absent", m.text("final_pipeline"))
	require.Equal(t, "true", m.text("blocks.write"))
	require.Equal(t, "0-1", m.text("auto_expand_replicas"))
	require.Equal(t, "none", m.text("routing.allocation.require.box"))
	require.Contains(t, m.aliases, "t-w")
	require.Len(t, m.aliases, 1)
}

func TestDeletePairs(t *testing.T) {
	es := cluster(t)
	docs := numbered(0, 20)
	docs = append(docs, Document{ID: "d3", Deleted: true}, Document{ID: "d4", Deleted: true}, Document{ID: "d3", Source: []byte(`{"n":333}`)})
	b := newBackup().add(t, "t-one", plainMeta, docs)
	require.EqualValues(t, 19, b.m.Indices[0].Docs)
	_, err := runPlan(t.Context(), b, es, fast(Options{}))
	require.NoError(t, err)
	got := contents(t, es, "t-one")
	require.Len(t, got, 19)
	require.Equal(t, `{"n":333}`, got["d3|"])
	identical(t, b, es, Options{})
}

func TestFailedLoadLeavesNothing(t *testing.T) {
	flip := func(b *backupOf) { f := b.fs[layout.DocumentsPath("t-one", 1)]; f.Data[len(f.Data)-5] ^= 1 }
	for name, tc := range map[string]struct {
		spoil func(b *backupOf)
		want  string
	}{
		"flipped":   {flip, "indices/t-one/shard-1.ndjson: the backup is damaged: its digest is"},
		"truncated": {func(b *backupOf) { f := b.fs[layout.DocumentsPath("t-one", 0)]; f.Data = f.Data[:len(f.Data)/2] }, "indices/t-one/shard-0.ndjson"},
		"short": {func(b *backupOf) {
			f := b.fs[layout.DocumentsPath("t-one", 0)]
			lines := strings.SplitAfter(string(f.Data), "\n")
			f.Data = []byte(strings.Join(lines[:20], ""))
		}, "holds 10 documents, the manifest says 60"},
		"gone":     {func(b *backupOf) { delete(b.fs, layout.DocumentsPath("t-one", 1)) }, "shard-1.ndjson"},
		"manifest": {func(b *backupOf) { b.m.Indices[0].Docs++; b.seal(t) }, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			es, b := cluster(t), plainBackup(t)
			tc.spoil(b)
			_, err := runPlan(t.Context(), b, es, fast(Options{}))
			require.ErrorContains(t, err, "restore: index t-one: ")
			require.ErrorContains(t, err, tc.want)
			require.False(t, exists(t, es, "t-one"))
		})
	}
}

func TestRefusedDocuments(t *testing.T) {
	es := cluster(t)
	docs := numbered(0, 50)
	for i := range 7 {
		docs = append(docs, Document{ID: fmt.Sprint("bad", i), Source: []byte(`{"n":"no number"}`)})
	}
	var seen []Rejection
	_, err := runPlan(t.Context(), newBackup().add(t, "t-one", plainMeta, docs), es, fast(Options{Rejected: func(r Rejection) { seen = append(seen, r) }}))
	var le *LoadError
	require.ErrorAs(t, err, &le)
	require.EqualValues(t, 7, le.Count)
	require.Len(t, le.Rejections, 7)
	require.Len(t, seen, 7)
	require.Equal(t, `{"n":"no number"}`, string(seen[0].Document.Source))
	require.Nil(t, le.Rejections[0].Document.Source)
	require.Equal(t, 400, seen[0].Status)
	require.ErrorContains(t, err, "index t-one: document \"bad")
	require.ErrorContains(t, err, "7 documents were refused")
	require.ErrorContains(t, err, "was deleted again")
	require.NotContains(t, err.Error(), "\n")
	require.False(t, exists(t, es, "t-one"))
}

func TestSameIDTwiceInOneShardIsFound(t *testing.T) {
	es := cluster(t)
	meta := strings.Replace(plainMeta, `"number_of_shards":"2"`, `"number_of_shards":"1"`, 1)
	b := newBackup().add(t, "t-one", meta,
		[]Document{{ID: "x", Routing: "a", Source: []byte(`{"n":1}`)}}, []Document{{ID: "x", Routing: "b", Source: []byte(`{"n":2}`)}})
	_, err := runPlan(t.Context(), b, es, fast(Options{}))
	require.ErrorContains(t, err, "the id already exists")
	require.False(t, exists(t, es, "t-one"))
}

func TestUnknownSettingIsNamed(t *testing.T) {
	es := cluster(t)
	b := newBackup().add(t, "t-one", `{"settings":{"index":{"number_of_shards":"1","no_such_thing":"1"}}}`, numbered(0, 3))
	_, err := runPlan(t.Context(), b, es, fast(Options{}))
	require.ErrorContains(t, err, "index t-one: create: ")
	require.ErrorContains(t, err, "index.no_such_thing")
}

func TestCancelRemovesTheIndex(t *testing.T) {
	es, b := cluster(t), plainBackup(t)
	ctx, cancel := context.WithCancel(t.Context())
	bulks := atomic.Int32{}
	via := &between{es: es, fn: func(_ int, r *http.Request, _ []byte, do func() (*http.Response, error)) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/_bulk") && bulks.Add(1) == 3 {
			cancel()
			return nil, ctx.Err()
		}
		return do()
	}}
	_, err := runPlan(ctx, b, via, fast(Options{}))
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, exists(t, es, "t-one"))
}

// TestTransportThatRetriesByItself: the official client sends again after a broken connection, without a word. The documents that
// the first attempt wrote are then there already, and no rejections.
func TestTransportThatRetriesByItself(t *testing.T) {
	h := estest.NewHandler(nil)
	var cuts atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/_bulk") && cuts.Add(1)%2 == 1 {
			h.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		h.ServeHTTP(w, r)
	}))
	defer srv.Close()
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	es, err := elasticsearch.NewClient(elasticsearch.Config{Addresses: []string{srv.URL}, Transport: tr})
	require.NoError(t, err)
	b := plainBackup(t)
	_, err = runPlan(t.Context(), b, es, fast(Options{BulkBytes: 2000}))
	require.NoError(t, err)
	require.Greater(t, cuts.Load(), int32(4))
	identical(t, b, es, Options{})
}

// TestTemplatesDoNotGetInTheWay: what an index template adds is taken away again.
func TestTemplatesDoNotGetInTheWay(t *testing.T) {
	es, b := cluster(t), plainBackup(t)
	call(t, es, "PUT", "/_index_template/t-template", `{"index_patterns":["t-one"],"template":{"aliases":{"t-stray":{}},
	 "settings":{"index":{"final_pipeline":"t-absent","default_pipeline":"t-absent","blocks.write":true,"number_of_replicas":3}}}}`)
	defer call(t, es, "DELETE", "/_index_template/t-template", "")
	_, err := runPlan(t.Context(), b, es, fast(Options{}))
	require.NoError(t, err)
	identical(t, b, es, Options{})
}

// TestFaultAtEveryCall breaks every request of a restore in turn, in several ways: the outcome is an error or the right content,
// and never an index that looks restored and is not.
func TestFaultAtEveryCall(t *testing.T) {
	kinds := map[string]func(do func() (*http.Response, error)) (*http.Response, error){
		"cut before": func(func() (*http.Response, error)) (*http.Response, error) { return nil, syscall.ECONNRESET },
		"cut after":  afterwards,
		"429":        func(func() (*http.Response, error)) (*http.Response, error) { return status(429, `{}`), nil },
		"500":        func(func() (*http.Response, error)) (*http.Response, error) { return status(500, `{}`), nil },
		"503": func(do func() (*http.Response, error)) (*http.Response, error) {
			if _, err := do(); err != nil {
				return nil, err
			}
			return status(503, `{}`), nil
		},
		"empty": func(func() (*http.Response, error)) (*http.Response, error) { return status(200, `{}`), nil },
	}
	for _, mode := range []Conflict{Fail, Replace} {
		for kind, fault := range kinds {
			for _, lasting := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/lasting=%v", mode, kind, lasting), func(t *testing.T) {
					for n := 0; ; n++ {
						es, b := cluster(t), plainBackup(t)
						if mode == Replace {
							call(t, es, "PUT", "/t-one/_doc/old?refresh=true", `{"old":1}`)
						}
						via := &between{es: es, fn: func(i int, r *http.Request, _ []byte, do func() (*http.Response, error)) (*http.Response, error) {
							if i == n || lasting && i > n && i < n+9 {
								return fault(do)
							}
							return do()
						}}
						_, err := runPlan(t.Context(), b, via, fast(Options{Conflict: mode, BulkBytes: 3000}))
						if err == nil {
							identical(t, b, es, Options{})
							found, rerr := resolve(t.Context(), elastic.New(es, nil), "t-*")
							require.NoError(t, rerr)
							require.Equal(t, 1, len(found), "request %d", n)
						} else {
							requireNothingHalf(t, es, n, err)
						}
						if via.n <= n {
							require.NoError(t, err)
							return
						}
					}
				})
			}
		}
	}
}

// requireNothingHalf: after an error the index is absent, the old one, complete, or marked as unfinished.
func requireNothingHalf(t *testing.T, es elastictransport.Interface, n int, cause error) {
	t.Helper()
	m, err := lookup(t.Context(), elastic.New(es, nil), "t-one")
	require.NoError(t, err)
	if m == nil || m.unfinished() {
		return
	}
	got := contents(t, es, "t-one")
	if len(got) == 1 && got["old|"] != "" {
		return
	}
	require.Equal(t, 100, len(got), "request %d: %v", n, cause)
}

func TestVerifyNamesDifferences(t *testing.T) {
	es, b := cluster(t), plainBackup(t)
	_, err := runPlan(t.Context(), b, es, fast(Options{}))
	require.NoError(t, err)
	call(t, es, "DELETE", "/t-one/_doc/d5", "")
	call(t, es, "PUT", "/t-one/_doc/d6", `{"n":6}`)
	call(t, es, "PUT", "/t-one/_doc/new?routing=r", `{"n":6}`)
	call(t, es, "PUT", "/t-one/_settings", `{"index.number_of_replicas":0}`)
	for _, pass := range []int64{0, 7} {
		o := fast(Options{})
		o.passDocs = pass
		d, err := Verify(t.Context(), b.fs, es, o)
		require.NoError(t, err)
		require.Len(t, d.Indices, 1)
		x := d.Indices[0]
		require.Equal(t, []int64{1, 1, 1}, []int64{x.DocsMissing, x.DocsExtra, x.DocsChanged})
		require.ElementsMatch(t, []DocDiff{{ID: "d5", Kind: "missing"}, {ID: "d6", Kind: "changed"}, {ID: "new", Routing: "r", Kind: "extra"}}, x.Examples)
		require.Equal(t, []string{"settings: number_of_replicas: backup 1, cluster 0"}, x.Metadata)
		require.Contains(t, d.String(), "index t-one: documents missing 1, extra 1, changed 1\n")
		require.Contains(t, d.String(), `  extra: "new" routing "r"`)
	}
	call(t, es, "DELETE", "/t-one", "")
	d, err := Verify(t.Context(), b.fs, es, fast(Options{}))
	require.NoError(t, err)
	require.True(t, d.Indices[0].Missing)
	require.EqualValues(t, 100, d.Indices[0].DocsMissing)
}

// A cluster that says of itself what does not fit together is not compared: the backup would seem to hold too much, or nothing amiss.
func TestVerifyOfAnswersThatDoNotFit(t *testing.T) {
	es, b := cluster(t), plainBackup(t)
	_, err := runPlan(t.Context(), b, es, fast(Options{}))
	require.NoError(t, err)
	total, source := regexp.MustCompile(`"total":\{"value":[1-9]\d*`), regexp.MustCompile(`"_source":\{[^{}]*\},`)
	for want, edit := range map[string]func(b string) string{
		"the server counted 1000": func(b string) string { return total.ReplaceAllString(b, `"total":{"value":1000`) },
		"total is not exact":      func(b string) string { return strings.ReplaceAll(b, `"relation":"eq"`, `"relation":"gte"`) },
		"has no _source":          func(b string) string { return source.ReplaceAllString(b, "") },
		"1 shards failed": func(b string) string {
			return strings.ReplaceAll(b, `"failed":0`, `"failed":1,"failures":[{"index":"t-one","shard":0,"reason":{"type":"x","reason":"disk"}}]`)
		},
	} {
		via := &wireFunc{es, func(r *http.Request, b string) string {
			if strings.HasSuffix(r.URL.Path, "/_search") {
				return edit(b)
			}
			return b
		}}
		d, err := Verify(t.Context(), b.fs, via, fast(Options{}))
		require.ErrorContains(t, err, want)
		require.Nil(t, d)
	}
}

func TestPlanReadsOnlyBackups(t *testing.T) {
	_, err := NewPlan(t.Context(), fstest.MapFS{}, cluster(t), nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "manifest.json")
	_, err = NewPlan(t.Context(), plainBackup(t).fs, cluster(t), &Options{Conflict: "maybe"})
	require.ErrorContains(t, err, `conflict mode "maybe"`)
}

// A bulk request that the server still works on when the unfinished index is deleted must not make an index anew.
func TestLateRequestLeavesNoIndex(t *testing.T) {
	es := cluster(t)
	var late [][]byte
	var query string
	var mu sync.Mutex
	via := &between{es: es, fn: func(_ int, r *http.Request, body []byte, do func() (*http.Response, error)) (*http.Response, error) {
		if !strings.HasSuffix(r.URL.Path, "/_bulk") {
			return do()
		}
		mu.Lock()
		defer mu.Unlock()
		late, query = append(late, body), r.URL.RawQuery
		return status(400, `{"error":{"type":"boom","reason":"boom"}}`), nil
	}}
	_, err := runPlan(t.Context(), plainBackup(t), via, fast(Options{}))
	require.ErrorContains(t, err, "was deleted again")
	require.NotEmpty(t, late)
	for _, body := range late {
		r, err := http.NewRequestWithContext(t.Context(), "POST", "/_bulk?"+query, bytes.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/x-ndjson")
		res, err := es.Perform(r)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
	}
	require.False(t, exists(t, es, "t-one"))
	require.Empty(t, call(t, es, "GET", "/*?expand_wildcards=all", ""))
}
