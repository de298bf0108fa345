package backup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// onRequests applies do to every request whose path contains part.
func onRequests(es elastictransport.Interface, part string, do func(next elastictransport.Interface, r *http.Request) (*http.Response, error)) *wire {
	return &wire{next: es, stays: true, do: func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
		if strings.Contains(r.URL.Path, part) {
			return do(next, r)
		}
		return next.Perform(r)
	}}
}

// one is a cluster with one index of one shard and ten documents.
func one(t *testing.T) (*estest.Handler, elastictransport.Interface) {
	t.Helper()
	h := estest.NewHandler(nil)
	es := h.Transport()
	create(t, es, "i", 1)
	index(t, es, "i", 0, 10, "v")
	return h, es
}

func TestIndexMadeAnewInTheMiddle(t *testing.T) {
	for _, c := range []struct {
		path   string
		nth    int
		shards int
	}{{"/_stats", 1, 4}, {"/_pit", 2, 2}, {"/_pit", 3, 2}, {"/_stats", 3, 1}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			es := estest.NewHandler(nil).Transport()
			create(t, es, "i", 2)
			index(t, es, "i", 0, 100, "old")
			n := 0
			w := &wire{next: es, at: -1, each: func(r *http.Request) {
				if !strings.Contains(r.URL.Path, c.path) {
					return
				}
				if n++; n == c.nth {
					send(t, es, "DELETE", "/i", "")
					create(t, es, "i", c.shards)
					index(t, es, "i", 0, 1000, "new")
				}
			}}
			_, err := Dump(t.Context(), w, &memTarget{}, &Options{Concurrency: 1, sleep: impatient})
			var replaced *elastic.ReplacedError
			require.ErrorAs(t, err, &replaced)
			require.ErrorContains(t, err, "back up index i")
		})
	}
}

func TestDataStreamsAreChosenByAnyOfTheirNames(t *testing.T) {
	es := estest.NewHandler(nil).Transport()
	w := onRequests(es, "/_resolve", func(elastictransport.Interface, *http.Request) (*http.Response, error) {
		return answer(200, `{"indices":[{"name":".ds-logs-000001","attributes":["hidden","open"],"data_stream":"logs"}],
			"aliases":[{"name":"by-member","indices":[".ds-logs-000001"]},{"name":"by-stream","indices":["logs"]}],
			"data_streams":[{"name":"logs","backing_indices":[".ds-logs-000001"],"timestamp_field":"@timestamp"}]}`)
	})
	for _, name := range []string{"logs", "lo*", "by-member", "by-stream", ".ds-logs-000001", ".ds-*", "*"} {
		_, err := Dump(t.Context(), w, &memTarget{}, &Options{Indices: []string{name}})
		require.EqualError(t, err, "data stream logs: it was listed, and then was not there any more", name)
	}
	m, err := Dump(t.Context(), w, &memTarget{}, &Options{Exclude: []string{"logs"}})
	require.NoError(t, err)
	require.Empty(t, m.Omitted)
}

func TestAliasOfNothingKnown(t *testing.T) {
	w := onRequests(estest.NewHandler(nil).Transport(), "/_resolve", func(elastictransport.Interface, *http.Request) (*http.Response, error) {
		return answer(200, `{"indices":[],"aliases":[{"name":"a","indices":["gone"]}],"data_streams":[]}`)
	})
	_, err := Dump(t.Context(), w, &memTarget{}, nil)
	require.ErrorContains(t, err, "an alias names gone")
}

func TestAllOmissionsAndEmptyPatternsAreNamed(t *testing.T) {
	_, es := one(t)
	for _, name := range []string{"c1", "c2"} {
		create(t, es, name, 1)
		send(t, es, "POST", "/"+name+"/_close", "")
	}
	_, err := Dump(t.Context(), es, &memTarget{}, nil)
	require.EqualError(t, err, "cannot be backed up: index c1: it is closed; index c2: it is closed")
	m, err := Dump(t.Context(), es, &memTarget{}, &Options{Indices: []string{"i", "none*"}})
	require.NoError(t, err)
	require.Equal(t, []string{"pattern none*: it matches nothing"}, m.Warnings)
}

func TestMappingThatLeavesFieldsOut(t *testing.T) {
	es := estest.NewHandler(nil).Transport()
	send(t, es, "PUT", "/x", `{"mappings":{"_source":{"excludes":["big"]},"properties":{"big":{"type":"keyword"}}}}`)
	send(t, es, "PUT", "/off", `{"mappings":{"_source":{"enabled":false}}}`)
	_, err := Dump(t.Context(), es, &memTarget{}, &Options{Indices: []string{"x"}})
	require.ErrorContains(t, err, "index x: its mapping leaves fields out of _source")
	_, err = Dump(t.Context(), es, &memTarget{}, &Options{Indices: []string{"off"}})
	require.ErrorContains(t, err, "back up index off: its documents have no _source")
	m, err := Dump(t.Context(), es, &memTarget{}, &Options{AllowOmissions: true})
	require.NoError(t, err)
	require.Len(t, m.Omitted, 2)
	require.Len(t, m.Indices, 1)
}

// A node whose disk was put back to an earlier image: all uuids are as before, and it goes on counting from there.
func TestShardPutBackToAnEarlierState(t *testing.T) {
	h, es := one(t)
	require.NoError(t, h.SetGlobalCheckpoint("i", 0, 9))
	index(t, es, "i", 10, 50, "before")
	require.NoError(t, h.ReleaseGlobalCheckpoint("i", 0))
	repo := repositorytest.New(t)
	first, err := Run(t.Context(), es, repo, nil)
	require.NoError(t, err)
	require.True(t, first.Manifest.Indices[0].Shards[0].Sealed)

	require.NoError(t, h.SetGlobalCheckpoint("i", 0, 9))
	lost, err := h.Failover("i", 0)
	require.NoError(t, err)
	require.Equal(t, 40, lost)
	index(t, es, "i", 10, 80, "after")
	second, err := Run(t.Context(), es, repo, nil)
	require.NoError(t, err)
	require.NotNil(t, second.Parent)
	require.Zero(t, second.SegmentsReused)
	requireSame(t, es, repo, second, "i")
}

func TestDocumentsThatTheUserCannotSee(t *testing.T) {
	_, es := one(t)
	w := onRequests(es, "/_stats", edited(func(b []byte) []byte {
		return bytes.ReplaceAll(b, []byte(`"count":10,`), []byte(`"count":12,`))
	}, nil))
	_, err := Dump(t.Context(), w, &memTarget{}, nil)
	require.ErrorContains(t, err, "back up index i: shard 0: the shard holds 12 documents, but this user sees 10")
}

func TestMappingIsAtLeastAsNewAsTheDocuments(t *testing.T) {
	es := estest.NewHandler(nil).Transport()
	send(t, es, "PUT", "/i", `{"mappings":{"dynamic":"strict","properties":{"a":{"type":"long"}}}}`)
	send(t, es, "PUT", "/i/_doc/1", `{"a":1}`)
	var once sync.Once
	w := &wire{next: es, at: -1, each: func(r *http.Request) {
		if strings.Contains(r.URL.Path, "/_stats") {
			once.Do(func() {
				send(t, es, "PUT", "/i/_mapping", `{"properties":{"b":{"type":"keyword"}}}`)
				send(t, es, "PUT", "/i/_doc/2", `{"a":1,"b":"x"}`)
			})
		}
	}}
	target := &memTarget{}
	m, err := Dump(t.Context(), w, target, nil)
	require.NoError(t, err)
	require.EqualValues(t, 2, m.Indices[0].Docs)
	require.Contains(t, string(target.files["indices/i/index.json"]), `"b"`)
}

func TestWhatATransformMayNotDo(t *testing.T) {
	_, es := one(t)
	dump := func(change func(*Document)) (map[string]string, error) {
		target := &memTarget{}
		m, err := Dump(t.Context(), es, target, &Options{AllowOmissions: true, Transform: func(d *Document) (bool, error) { change(d); return true, nil }})
		if err != nil {
			return nil, err
		}
		return contents(t, target.files, m)["i"], nil
	}
	for _, end := range []string{" ", "\r", "\n"} {
		got, err := dump(func(d *Document) { d.Source = append(d.Source, end...) })
		require.NoError(t, err)
		require.Len(t, got, 10)
	}
	got, err := dump(func(d *Document) { d.Index, d.SeqNo = "other", 99 })
	require.NoError(t, err)
	require.Equal(t, live(t, es, "i"), got)
	for _, change := range []func(*Document){
		func(d *Document) { d.Deleted = true },
		func(d *Document) { d.ID = "" },
		func(d *Document) { d.Source = nil },
	} {
		_, err := dump(change)
		require.ErrorContains(t, err, "transform document")
	}
}

func TestOmissionsDoNotHideALostCluster(t *testing.T) {
	_, es := cluster(t)
	for name, fault := range map[string]func(elastictransport.Interface, *http.Request) (*http.Response, error){
		"gone": func(elastictransport.Interface, *http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: os.ErrClosed}
		},
		"password changed": func(elastictransport.Interface, *http.Request) (*http.Response, error) {
			return answer(401, `{"error":{"type":"security_exception","reason":"no"}}`)
		},
		"every index forbidden": func(elastictransport.Interface, *http.Request) (*http.Response, error) {
			return answer(403, `{"error":{"type":"security_exception","reason":"no"}}`)
		},
	} {
		repo := repositorytest.New(t)
		_, err := Run(t.Context(), &wire{next: es, at: 2, stays: true, do: fault}, repo, &Options{AllowOmissions: true, sleep: impatient})
		require.Error(t, err, name)
		requireNoSnapshot(t, repo)
	}
}

func TestSmallResultWindow(t *testing.T) {
	es := estest.NewHandler(nil).Transport()
	send(t, es, "PUT", "/i", `{"settings":{"max_result_window":7}}`)
	index(t, es, "i", 0, 100, "v")
	target := &memTarget{}
	m, err := Dump(t.Context(), es, target, nil)
	require.NoError(t, err)
	send(t, es, "PUT", "/i/_settings", `{"max_result_window":10000}`)
	require.Equal(t, live(t, es, "i"), contents(t, target.files, m)["i"])
}

func TestPrimaryMissingForAMoment(t *testing.T) {
	_, es := one(t)
	var once atomic.Bool
	w := onRequests(es, "/_stats", func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
		if once.CompareAndSwap(false, true) {
			return edited(func(b []byte) []byte { return bytes.Replace(b, []byte(`"STARTED"`), []byte(`"INITIALIZING"`), 1) }, nil)(next, r)
		}
		return next.Perform(r)
	})
	m, err := Dump(t.Context(), w, &memTarget{}, &Options{sleep: impatient})
	require.NoError(t, err)
	require.EqualValues(t, 10, m.Indices[0].Docs)
}

// Statistics leave an index out that has no started shard at all: it is there all the same, and red. One that is gone is not.
func TestRedIndexIsNotTakenForADeletedOne(t *testing.T) {
	for _, c := range []struct {
		gone bool
		why  string
	}{
		{false, "shard 0: read shard statistics: incomplete answer: the shard has no started primary"},
		{true, "is not there any more"},
	} {
		_, es := one(t)
		create(t, es, "whole", 1)
		index(t, es, "whole", 0, 3, "v")
		asked := false
		w := onRequests(es, "/i/_", func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
			if strings.Contains(r.URL.Path, "_refresh") {
				asked = true
			}
			if !strings.Contains(r.URL.Path, "/_stats") {
				return next.Perform(r)
			}
			if c.gone {
				send(t, es, "DELETE", "/i?ignore_unavailable=true", "")
			}
			return answer(200, `{"_shards":{"total":1,"successful":0,"failed":0},"_all":{"primaries":{},"total":{}},"indices":{}}`)
		})
		m, err := Dump(t.Context(), w, &memTarget{}, &Options{AllowOmissions: true, Indices: []string{"*"}, sleep: impatient})
		require.NoError(t, err)
		require.Len(t, m.Omitted, 1)
		require.Equal(t, "index i", m.Omitted[0].What)
		require.Contains(t, m.Omitted[0].Why, c.why)
		require.False(t, asked, "a refresh of a shard without a primary waits for a minute")
		require.Len(t, m.Indices, 1)
	}
}

// An index of which one shard has no primary is not refreshed either, whichever shard is looked at.
func TestPartOfAnIndexIsRed(t *testing.T) {
	for shard := range 3 {
		es := estest.NewHandler(nil).Transport()
		create(t, es, "i", 3)
		index(t, es, "i", 0, 30, "v")
		refreshed := false
		w := onRequests(es, "/i/_", func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
			refreshed = refreshed || strings.Contains(r.URL.Path, "_refresh")
			if !strings.Contains(r.URL.Path, "/_stats") {
				return next.Perform(r)
			}
			return edited(func(b []byte) []byte {
				var m map[string]any
				require.NoError(t, json.Unmarshal(b, &m))
				delete(m["indices"].(map[string]any)["i"].(map[string]any)["shards"].(map[string]any), fmt.Sprint(shard))
				b, err := json.Marshal(m)
				require.NoError(t, err)
				return b
			}, nil)(next, r)
		})
		_, err := Dump(t.Context(), w, &memTarget{}, &Options{sleep: impatient, Concurrency: 1})
		require.ErrorContains(t, err, "back up index i: shard ")
		require.ErrorContains(t, err, "no started primary")
		require.False(t, refreshed)
	}
}

func TestDamagedParentCostsOnlyTime(t *testing.T) {
	_, es := cluster(t)
	b := mem.New()
	repo := repositorytest.Init(t, b)
	_, err := Run(t.Context(), es, repo, nil)
	require.NoError(t, err)
	for f, err := range b.List(t.Context(), backend.Pack) {
		require.NoError(t, err)
		require.NoError(t, b.Remove(t.Context(), f.Handle))
	}
	for f, err := range b.List(t.Context(), backend.Index) {
		require.NoError(t, err)
		require.NoError(t, b.Remove(t.Context(), f.Handle))
	}
	repo = repositorytest.Reopen(t, b)
	res, err := Run(t.Context(), es, repo, nil)
	require.NoError(t, err)
	require.Equal(t, res.Documents, res.DocumentsRead)
	requireSame(t, es, repo, res, "a", "b", "empty")
}

func TestRetriesDoNotMultiply(t *testing.T) {
	_, es := one(t)
	n := 0
	w := onRequests(es, "/_stats", func(elastictransport.Interface, *http.Request) (*http.Response, error) {
		n++
		return answer(503, "")
	})
	_, err := Dump(t.Context(), w, &memTarget{}, &Options{Retries: 4, sleep: impatient})
	require.Error(t, err)
	require.Equal(t, shardAttempts*(4+1), n)
}

func TestPagesGrowAgainAfterTheBreaker(t *testing.T) {
	es := estest.NewHandler(nil).Transport()
	create(t, es, "i", 1)
	index(t, es, "i", 0, 5000, "v")
	trips, searches := 0, 0
	w := onRequests(es, "/_search", func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
		if searches++; searches > 3 && trips < 14 {
			trips++
			return answer(429, `{"error":{"type":"circuit_breaking_exception","reason":"too large"}}`)
		}
		return next.Perform(r)
	})
	m, err := Dump(t.Context(), w, &memTarget{}, &Options{Concurrency: 1, sleep: impatient})
	require.NoError(t, err)
	require.EqualValues(t, 5000, m.Indices[0].Docs)
	require.Less(t, searches, 100)
}

func TestOpenPointsInTimeAreBounded(t *testing.T) {
	h := estest.NewHandler(nil)
	es := h.Transport()
	for n := range 6 {
		create(t, es, fmt.Sprint("i", n), 6)
		index(t, es, fmt.Sprint("i", n), 0, 500, "v")
	}
	var most atomic.Int64
	w := &wire{next: es, at: -1, each: func(*http.Request) {
		if n := int64(h.OpenContexts()); n > most.Load() {
			most.Store(n)
		}
	}}
	_, err := Run(t.Context(), w, repositorytest.New(t), &Options{Concurrency: 3})
	require.NoError(t, err)
	require.LessOrEqual(t, most.Load(), int64(3))
}

// Elasticsearch takes documents with comments and gives them back as they came.
func TestComments(t *testing.T) {
	_, es := one(t)
	for _, source := range []string{
		`{ /* }, "x": { */ "a":1 }`, `{"a":1 /* 5" pipe */}`, "{\"a\":1 // it's\n}", `{"a":"//","b":"/*"}`, "{/**/}",
	} {
		w := onRequests(es, "/_search", edited(func(b []byte) []byte {
			if loc := oneHit.FindIndex(b); loc != nil {
				hit := string(b[loc[0]:loc[1]])
				from, to := strings.Index(hit, `"_source":`)+len(`"_source":`), strings.Index(hit, `,"sort"`)
				return []byte(string(b[:loc[0]]) + hit[:from] + source + " /* end */" + hit[to:] + string(b[loc[1]:]))
			}
			return b
		}, nil))
		target := &memTarget{}
		m, err := Dump(t.Context(), w, target, nil)
		require.NoError(t, err, source)
		want, err := (&Document{ID: "id-0", Source: []byte(source)}).AppendLines(nil)
		require.NoError(t, err)
		require.Equal(t, strings.Split(string(want), "\n")[1], contents(t, target.files, m)["i"]["id-0\x00"])
	}
}
