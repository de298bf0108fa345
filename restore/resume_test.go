package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/internal/elastic"
)

// state is everything that a cluster holds, less what no two have in common.
func state(t *testing.T, es elastictransport.Interface) string {
	t.Helper()
	b, err := json.MarshalIndent(parts(t, es), "", " ")
	require.NoError(t, err)
	return string(b)
}

// requireState compares what a cluster holds with what state returned. That is the same text in general, which is quick to see.
func requireState(t *testing.T, want string, es elastictransport.Interface, at string) {
	t.Helper()
	if got := state(t, es); got != want {
		require.JSONEq(t, want, got, at)
	}
}

// parts is state, an index, data stream or object each.
func parts(t *testing.T, es elastictransport.Interface) map[string]any {
	t.Helper()
	c := elastic.New(es, nil)
	var all map[string]*metadata
	require.NoError(t, c.JSON(t.Context(), elastic.Request{Method: "GET", Path: "/*", Query: map[string][]string{"expand_wildcards": {"all"}}}, &all))
	out := map[string]any{}
	for name, m := range all {
		x := map[string]any{"settings": comparedSettings(m.settings), "mappings": m.mappings, "aliases": m.aliases}
		if m.text("verified_before_close") != "true" {
			x["documents"] = contents(t, es, name)
		}
		out[name] = x
	}
	var streams struct {
		Streams []*elastic.DataStream `json:"data_streams"`
	}
	require.NoError(t, c.JSON(t.Context(), elastic.Request{Method: "GET", Path: "/_data_stream", Query: map[string][]string{"expand_wildcards": {"all"}}}, &streams))
	for _, d := range streams.Streams {
		out["data stream "+d.Name] = described(t, es, d.Name)
	}
	for _, sec := range elastic.Sections() {
		if sec.Kibana {
			continue
		}
		objects, err := c.Objects(t.Context(), sec)
		var absent *elastic.AbsentError
		if errors.As(err, &absent) {
			continue
		}
		require.NoError(t, err)
		for name, raw := range objects {
			content, err := sec.Content(raw)
			require.NoError(t, err)
			out["section "+sec.Name+"/"+name] = []any{content, sec.Active(raw)}
		}
	}
	return out
}

// killed lets a client live until its nth request, which still arrives or does not.
func killed(es elastictransport.Interface, n int, arrives bool) *between {
	return &between{es: es, fn: func(i int, _ *http.Request, _ []byte, do func() (*http.Response, error)) (*http.Response, error) {
		switch {
		case i < n:
			return do()
		case i == n && arrives:
			return afterwards(do)
		}
		return nil, syscall.ECONNRESET
	}}
}

func once(ctx context.Context, src fs.FS, es elastictransport.Interface, o Options) (*Result, error) {
	p, err := NewPlan(ctx, src, es, fast(o))
	if err != nil {
		return nil, err
	}
	return p.Run(ctx)
}

// interruptEverywhere restores, is killed at every request in turn, once before it arrives and once after, in every third case is killed
// again while it resumes, and must at last have made what an uninterrupted restore makes.
func interruptEverywhere(t *testing.T, src fs.FS, o Options, setup func(t *testing.T, es elastictransport.Interface)) {
	t.Helper()
	fresh := func() elastictransport.Interface {
		es := estest.NewHandler(nil).Transport()
		if setup != nil {
			setup(t, es)
		}
		return es
	}
	es := fresh()
	counting := killed(es, 1<<30, false)
	_, err := once(t.Context(), src, counting, o)
	require.NoError(t, err)
	want := state(t, es)
	require.NotContains(t, want, "escrow")
	o.Retries = -1
	resume := o
	resume.Resume = true
	kept := 0
	for n := range counting.n {
		for _, arrives := range []bool{false, true} {
			if counting.n > 60 && arrives == (n%2 == 0) {
				continue // many requests: one of the two each
			}
			at := fmt.Sprintf("request %d, arrives %v", n, arrives)
			es := fresh()
			_, err := once(t.Context(), src, killed(es, n, arrives), o)
			require.Error(t, err, at)
			if n%3 == 0 {
				if _, err := once(t.Context(), src, killed(es, n*5%counting.n, n%2 == 0), resume); err == nil {
					requireState(t, want, es, at)
					continue
				}
			}
			r, err := once(t.Context(), src, es, resume)
			require.NoError(t, err, at)
			kept = max(kept, r.Kept)
			requireState(t, want, es, at)
		}
	}
	require.Positive(t, kept)
}

const blockedMeta = `{"aliases":{"t-w":{"is_write_index":true,"filter":{"term":{"n":1}}}},"mappings":{"properties":{"n":{"type":"long"}}},"settings":{"index":{"number_of_shards":"1",
 "number_of_replicas":"1","default_pipeline":"t-absent","routing":{"allocation":{"include":{"_tier_preference":"data_hot"}}},"blocks":{"write":"true","read_only":"true"}}}}`

func twoIndices(t *testing.T) *backupOf {
	return newBackup().add(t, "t-one", plainMeta, numbered(0, 20), numbered(20, 30)).add(t, "t-two", blockedMeta, numbered(0, 10))
}

func TestResumeAtEveryCall(t *testing.T) {
	old := func(t *testing.T, es elastictransport.Interface) {
		must(t, es, "PUT", "/t-one", `{"settings":{"number_of_shards":2},"aliases":{"mine":{}}}`)
		must(t, es, "PUT", "/t-one/_doc/old?refresh=true", `{"n":1}`)
		must(t, es, "PUT", "/t-two", `{}`)
		must(t, es, "POST", "/t-two/_close", "")
	}
	t.Run("create", func(t *testing.T) { interruptEverywhere(t, twoIndices(t).fs, Options{BulkBytes: 700}, nil) })
	t.Run("merge", func(t *testing.T) {
		interruptEverywhere(t, twoIndices(t).fs, Options{BulkBytes: 700, Conflict: Merge}, nil)
	})
	t.Run("skip", func(t *testing.T) {
		interruptEverywhere(t, twoIndices(t).fs, Options{BulkBytes: 700, Conflict: Skip}, nil)
	})
	t.Run("rename", func(t *testing.T) {
		interruptEverywhere(t, twoIndices(t).fs, Options{BulkBytes: 700, Rename: []Rename{{"t-*", "u-*"}}, RenameAliases: []Rename{{"*", "a-*"}}}, nil)
	})
	t.Run("filter", func(t *testing.T) {
		interruptEverywhere(t, twoIndices(t).fs, Options{Filter: func(d *Document) (bool, error) { return strings.HasSuffix(d.ID, "1"), nil }}, nil)
	})
	t.Run("metadata", func(t *testing.T) { interruptEverywhere(t, twoIndices(t).fs, Options{MetadataOnly: true}, nil) })
	t.Run("replace", func(t *testing.T) {
		interruptEverywhere(t, twoIndices(t).fs, Options{Conflict: Replace}, old)
	})
}

func TestResumeDataStreamsAtEveryCall(t *testing.T) {
	_, es := streams(t)
	src, _ := dump(t, es, nil)
	t.Run("create", func(t *testing.T) {
		interruptEverywhere(t, src, Options{Indices: []string{"logs-b"}, Sections: []string{"default"}}, nil)
	})
	t.Run("rename", func(t *testing.T) {
		interruptEverywhere(t, src, Options{Indices: []string{"logs-a"}, Sections: []string{"default"}, Rename: []Rename{{"logs-a", "logs-c"}}}, nil)
	})
	t.Run("replace", func(t *testing.T) {
		interruptEverywhere(t, src, Options{Conflict: Replace, Indices: []string{"logs-a"}}, func(t *testing.T, to elastictransport.Interface) {
			must(t, to, "PUT", "/_index_template/logs", `{"index_patterns":["logs*"],"data_stream":{},"priority":5}`)
			must(t, to, "PUT", "/logs-a/_create/old?refresh=true", `{"@timestamp":"2025-01-01T00:00:00Z"}`)
			must(t, to, "POST", "/logs-a/_rollover", "")
			must(t, to, "PUT", "/logs-a/_create/new?refresh=true", `{"@timestamp":"2025-01-01T00:00:00Z"}`)
		})
	})
}

// What an interrupted restore left is an error that names the way on; with Resume only what is left of it is.
func TestLeftoversAreNamed(t *testing.T) {
	src := twoIndices(t).fs
	refused := func(t *testing.T, es elastictransport.Interface, src fs.FS, o Options, want string) {
		t.Helper()
		_, err := NewPlan(t.Context(), src, es, fast(o))
		require.ErrorContains(t, err, want)
	}
	t.Run("index", func(t *testing.T) {
		es := estest.NewHandler(nil).Transport()
		must(t, es, "PUT", "/t-one", `{"aliases":{"escrow-unfinished-x":{"is_hidden":true}}}`)
		for _, mode := range []Conflict{Fail, Skip, Merge} {
			refused(t, es, src, Options{Conflict: mode}, "Resume goes on with it")
		}
		p, err := NewPlan(t.Context(), src, es, fast(Options{Resume: true}))
		require.NoError(t, err)
		require.Contains(t, p.String(), "delete   t-one, which an interrupted restore left\ncreate   t-one: 30 documents")
		must(t, es, "DELETE", "/t-one", "")
		must(t, es, "PUT", "/t-one", `{}`)
		_, err = p.Run(t.Context())
		require.ErrorContains(t, err, "another index has its name now")
	})
	t.Run("copy", func(t *testing.T) {
		es := estest.NewHandler(nil).Transport()
		must(t, es, "PUT", "/t-one-escrow-abcdefghij", `{"aliases":{"escrow-unfinished-x":{"is_hidden":true}}}`)
		must(t, es, "PUT", "/t-one-escrow-abcdefghik", `{}`)
		must(t, es, "PUT", "/t-three-escrow-abcdefghik", `{"aliases":{"escrow-unfinished-x":{"is_hidden":true}}}`)
		refused(t, es, src, Options{Conflict: Replace}, "index t-one: the copy t-one-escrow-abcdefghij was left by a restore that was interrupted; Resume ")
		restored(t, src, es, Options{Resume: true})
		require.False(t, exists(t, es, "t-one-escrow-abcdefghij"))
		require.True(t, exists(t, es, "t-one-escrow-abcdefghik"), "it carries no mark")
		require.True(t, exists(t, es, "t-three-escrow-abcdefghik"), "it belongs to a restore of something else")
	})
	t.Run("data stream", func(t *testing.T) {
		_, from := streams(t)
		src, _ := dump(t, from, nil)
		o := Options{Indices: []string{"logs-a"}, Sections: []string{"default"}}
		for _, when := range []struct{ path, want string }{
			{"/escrow-filler-", "Resume goes on with it"},
			{"/_data_stream/_migrate/", "Resume goes on with it"},
			{"/_data_stream/_modify", "Resume goes on with it"},
		} {
			es := estest.NewHandler(nil).Transport()
			var dead atomic.Bool
			via := &between{es: es, fn: func(_ int, r *http.Request, _ []byte, do func() (*http.Response, error)) (*http.Response, error) {
				if dead.Load() || strings.HasPrefix(r.URL.Path, when.path) {
					dead.Store(true)
					return nil, syscall.ECONNRESET
				}
				return do()
			}}
			dying := o
			dying.Retries = -1
			_, err := once(t.Context(), src, via, dying)
			require.Error(t, err)
			refused(t, es, src, o, when.want)
		}
	})
	t.Run("documents only", func(t *testing.T) {
		refused(t, estest.NewHandler(nil).Transport(), src, Options{DocumentsOnly: true, Resume: true}, "merge instead")
	})
}

// An index that somebody else made, or changed, is never taken for one that was restored.
func TestResumeKeepsToItsOwn(t *testing.T) {
	src := plainBackup(t).fs
	for want, change := range map[string][3]string{
		"its documents are others":                       {"PUT", "/t-one/_doc/d7?refresh=true", `{"n":8}`},
		"it holds 101 documents, and the backup 100":     {"PUT", "/t-one/_doc/new?refresh=true", `{}`},
		"it is closed":                                   {"POST", "/t-one/_close", ""},
		`setting index.refresh_interval is "8s", and wo`: {"PUT", "/t-one/_settings", `{"index.refresh_interval":"8s"}`},
		"aliases: other":                                 {"POST", "/_aliases", `{"actions":[{"add":{"index":"t-one","alias":"other"}}]}`},
		"aliases: t-alias":                               {"POST", "/_aliases", `{"actions":[{"remove":{"index":"t-one","alias":"t-alias"}}]}`},
	} {
		es := estest.NewHandler(nil).Transport()
		restored(t, src, es, Options{})
		p, r := restored(t, src, es, Options{Resume: true})
		require.Equal(t, "complete", p.Indices[0].Action)
		require.Equal(t, [3]int64{0, 1, 0}, [3]int64{int64(r.Indices), int64(r.Kept), r.Documents})
		must(t, es, change[0], change[1], change[2])
		before := state(t, es)
		_, err := NewPlan(t.Context(), src, es, fast(Options{Resume: true}))
		require.ErrorIs(t, err, fs.ErrExist)
		require.ErrorContains(t, err, "t-one (not one that an interrupted restore left: "+want)
		require.JSONEq(t, before, state(t, es))
		restored(t, src, es, Options{Resume: true, Conflict: Skip})
		require.JSONEq(t, before, state(t, es))
		restored(t, src, es, Options{Resume: true, Conflict: Replace})
		identical(t, plainBackup(t), es, Options{})
	}
	_, from := streams(t)
	streamed, _ := dump(t, from, nil)
	to := estest.NewHandler(nil).Transport()
	o := Options{Indices: []string{"logs-a"}, Sections: []string{"default"}}
	restored(t, streamed, to, o)
	o.Resume = true
	p, r := restored(t, streamed, to, o)
	require.Equal(t, "resume", p.DataStreams[0].Action)
	require.Equal(t, 5, r.Kept)
	must(t, to, "POST", "/logs-a/_rollover", "")
	_, err := NewPlan(t.Context(), streamed, to, fast(o))
	require.ErrorContains(t, err, "data stream logs-a (not one that an interrupted restore left: it holds ")
}
