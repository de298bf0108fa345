package restore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/internal/elastic"
)

const smallMeta = `{"aliases":{"t-all":{}},"mappings":{"dynamic":"false","properties":{"n":{"type":"long"}}},"settings":{"index":{"number_of_shards":"1",
 "number_of_replicas":"1","routing":{"allocation":{"include":{"_tier_preference":"data_content"}}}}}}`

// smallIndices are t-s00 and so on, of five documents each.
func smallIndices(t testing.TB, n int) *backupOf {
	b := newBackup()
	for i := range n {
		b.add(t, fmt.Sprintf("t-s%02d", i), smallMeta, numbered(5*i, 5*i+5))
	}
	return b
}

// meeting lets requests wait until so many are there at a time, once. It counts how many there are.
type meeting struct {
	want int

	mu        sync.Mutex
	now, most int
	met       chan struct{}
}

func newMeeting(want int) *meeting { return &meeting{want: want, met: make(chan struct{})} }

func (m *meeting) enter(t *testing.T) {
	m.mu.Lock()
	if m.now++; m.now > m.most {
		if m.most = m.now; m.most == m.want {
			close(m.met)
		}
	}
	m.mu.Unlock()
	await(t, m.met)
}

func (m *meeting) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now--
}

// await waits for what has to come.
func await(t *testing.T, ch <-chan struct{}) {
	if t.Failed() {
		return
	}
	select {
	case <-ch:
	case <-time.After(20 * time.Second):
		t.Error("it did not come")
	}
}

// Small indices are restored several at a time, before the large ones, which are alone; bulk requests are no more than Concurrency says.
func TestSmallIndicesAreRestoredAtOnce(t *testing.T) {
	b := newBackup()
	for _, name := range []string{"t-a-large", "t-b-large"} {
		b.add(t, name, plainMeta, numbered(0, 60), numbered(60, 100))
	}
	for name, f := range smallIndices(t, 12).fs {
		b.fs[name] = f
	}
	b.m.Indices = append(b.m.Indices, smallIndices(t, 12).m.Indices...)
	b.seal(t)
	h := estest.NewHandler(nil)
	creates, bulks, all := newMeeting(4), newMeeting(2), newMeeting(1)
	large := []string{}
	via := &between{es: h.Transport(), fn: func(_ int, r *http.Request, body []byte, do func() (*http.Response, error)) (*http.Response, error) {
		all.enter(t)
		defer all.leave()
		of := func(m *meeting) (*http.Response, error) {
			m.enter(t)
			defer m.leave()
			return do()
		}
		switch {
		case strings.HasSuffix(r.URL.Path, "-large") && r.Method == "PUT":
			all.mu.Lock()
			defer all.mu.Unlock()
			whole := 0
			for _, ix := range b.m.Indices {
				if m, err := lookup(t.Context(), elastic.New(h.Transport(), nil), ix.Name); err == nil && m != nil && !m.unfinished() {
					whole++
				}
			}
			large = append(large, fmt.Sprintf("%s: %d at once, %d whole", r.URL.Path, all.now, whole))
		case r.Method == "PUT" && strings.HasPrefix(r.URL.Path, "/t-s") && !strings.HasSuffix(r.URL.Path, "_settings"):
			return of(creates)
		case strings.HasSuffix(r.URL.Path, "/_bulk") && len(body) < 500:
			return of(bulks)
		}
		return do()
	}}
	var last Progress
	o := fast(Options{IndicesAtOnce: 4, Progress: func(p Progress) {
		require.GreaterOrEqual(t, p.IndicesDone, last.IndicesDone)
		last = p
	}})
	r, err := runPlan(t.Context(), b, via, o)
	require.NoError(t, err)
	require.Equal(t, 4, all.most, "requests at a time")
	require.Equal(t, 4, creates.most)
	require.Equal(t, 2, bulks.most, "bulk requests at a time")
	require.Equal(t, []string{"/t-a-large: 1 at once, 12 whole", "/t-b-large: 1 at once, 13 whole"}, large)
	require.Equal(t, [2]int64{14, 260}, [2]int64{int64(r.Indices), r.Documents})
	require.Equal(t, [4]int64{14, 14, 260, 260}, [4]int64{int64(last.Indices), int64(last.IndicesDone), last.Docs, last.DocsDone})
	require.Equal(t, r.Bytes, last.BytesDone)
	identical(t, b, h.Transport(), Options{})
}

// One at a time is in the order of the backup.
func TestOneSmallIndexAtATime(t *testing.T) {
	b := smallIndices(t, 5)
	alone := newMeeting(1)
	var made []string
	via := &between{es: cluster(t), fn: func(_ int, r *http.Request, _ []byte, do func() (*http.Response, error)) (*http.Response, error) {
		alone.enter(t)
		defer alone.leave()
		if r.Method == "PUT" && !strings.HasSuffix(r.URL.Path, "_settings") {
			made = append(made, r.URL.Path)
		}
		return do()
	}}
	_, err := runPlan(t.Context(), b, via, fast(Options{IndicesAtOnce: 1}))
	require.NoError(t, err)
	require.Equal(t, 1, alone.most)
	require.Equal(t, []string{"/t-s00", "/t-s01", "/t-s02", "/t-s03", "/t-s04"}, made)
}

// failing restores 12 indices, of which t-s05 cannot be made while documents are being sent to t-s00. What is asked of t-s00 afterwards can be
// answered by the function.
func failing(t *testing.T, es elastictransport.Interface, b *backupOf, o Options, after func(r *http.Request) *http.Response) (*Result, error) {
	sending := make(chan struct{})
	var met calls
	via := &between{es: es, fn: func(_ int, r *http.Request, body []byte, do func() (*http.Response, error)) (*http.Response, error) {
		switch name := met.name(r, body); {
		case name == "POST /the index of /t-s00/_bulk (1)":
			close(sending)
			await(t, r.Context().Done())
			return nil, r.Context().Err()
		case r.Method == "PUT" && r.URL.Path == "/t-s05":
			await(t, sending)
			return status(400, `{"error":{"type":"illegal_argument_exception","reason":"no"}}`), nil
		}
		if res := after(r); res != nil {
			return res, nil
		}
		return do()
	}}
	return runPlan(t.Context(), b, via, fast(o))
}

func TestOneOfManyFails(t *testing.T) {
	b := smallIndices(t, 12)
	es := estest.NewHandler(nil).Transport()
	restored(t, b.fs, es, Options{})
	want := state(t, es)
	es = estest.NewHandler(nil).Transport()
	r, err := failing(t, es, b, Options{}, func(*http.Request) *http.Response { return nil })
	require.EqualError(t, err, "restore: index t-s05: create: PUT /t-s05: status 400 illegal_argument_exception: no")
	left := parts(t, es)
	maps.DeleteFunc(left, func(name string, _ any) bool { return !strings.HasPrefix(name, "t-") })
	require.Len(t, left, r.Indices)
	require.GreaterOrEqual(t, r.Documents, int64(5*r.Indices))
	require.NotContains(t, state(t, es), "escrow")
	for _, name := range []string{"t-s00", "t-s05"} { // how many of the others were made by then depends on who was quicker
		require.False(t, exists(t, es, name), name)
	}
	_, again := restored(t, b.fs, es, Options{Resume: true})
	require.Equal(t, [2]int{r.Indices, 12 - r.Indices}, [2]int{again.Kept, again.Indices})
	require.EqualValues(t, 5*again.Indices, again.Documents)
	require.JSONEq(t, want, state(t, es))
}

// What was stopped and could not be taken away is told beside the first error, and is what Resume goes on with.
func TestWhatCouldNotBeTakenAwayIsTold(t *testing.T) {
	b := smallIndices(t, 12)
	es := estest.NewHandler(nil).Transport()
	_, err := failing(t, es, b, Options{Retries: -1}, func(r *http.Request) *http.Response {
		if r.Method == "DELETE" && r.URL.Path == "/t-s00" {
			return status(403, `{"error":{"type":"security_exception","reason":"may not"}}`)
		}
		return nil
	})
	require.EqualError(t, err, "restore: index t-s05: create: PUT /t-s05: status 400 illegal_argument_exception: no\n"+
		"restore: index t-s00: stopped, since something else failed (the unfinished index t-s00 could not be deleted: DELETE /t-s00: status 403 "+
		"security_exception: may not)")
	_, r := restored(t, b.fs, es, Options{Resume: true})
	require.Equal(t, 12, r.Indices+r.Kept)
	identical(t, b, es, Options{})
}

// Of errors that come at the same time all are told that are more than that it was stopped: the first one, then the others by name.
func TestSeveralFail(t *testing.T) {
	var begun sync.WaitGroup
	begun.Add(6)
	named := func(name string, do func(ctx context.Context) error) unit {
		return unit{what: "index " + name, do: func(ctx context.Context, r *Result) error {
			r.Documents = 1
			begun.Done()
			return do(ctx)
		}}
	}
	after := func(err error) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			<-ctx.Done()
			if err == nil {
				err = context.Cause(ctx)
			}
			return fmt.Errorf("%w (the unfinished index was deleted again)", err)
		}
	}
	units := []unit{
		named("d", after(errors.New("fourth"))),
		named("c", func(context.Context) error { begun.Wait(); return errors.New("third") }),
		named("b", after(nil)),
		named("a", after(errors.New("second"))),
		named("e", after(context.Canceled)),
		named("f", after(nil)),
		named("g", func(context.Context) error { t.Error("it was begun"); return nil }),
	}
	r := &Result{}
	err := together(t.Context(), units, 6, r)
	require.Error(t, err)
	require.Equal(t, "index c: third\nindex a: second (the unfinished index was deleted again)\n"+
		"index d: fourth (the unfinished index was deleted again)", err.Error())
	require.EqualValues(t, 6, r.Documents)
}

func TestRejectionsInSeveralAtOnce(t *testing.T) {
	b := newBackup()
	const indices, bad = 10, 3
	for i := range indices {
		docs := numbered(0, 4)
		for j := range bad {
			docs = append(docs, Document{ID: fmt.Sprint("bad", j), Source: []byte(`{"n":"no number"}`)})
		}
		b.add(t, fmt.Sprintf("t-s%02d", i), smallMeta, docs)
	}
	for _, max := range []int64{-1, indices * bad, indices*bad - 1} {
		var out bytes.Buffer
		log := NewRejectionLog(&out)
		calls := 0 // of a function that is called serially
		met := newMeeting(2)
		via := &between{es: cluster(t), fn: func(_ int, r *http.Request, _ []byte, do func() (*http.Response, error)) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/_bulk") {
				met.enter(t)
				defer met.leave()
			}
			return do()
		}}
		r, err := runPlan(t.Context(), b, via, fast(Options{MaxRejects: max, Rejected: func(j Rejection) {
			calls++
			log.Add(j)
		}}))
		require.NoError(t, log.Err())
		require.EqualValues(t, indices*bad, r.Rejected)
		require.EqualValues(t, r.Rejected, calls)
		per := map[string]int{}
		for line := range strings.Lines(out.String()) {
			var j struct{ Index string }
			require.NoError(t, json.Unmarshal([]byte(line), &j))
			per[j.Index]++
		}
		require.Len(t, per, indices)
		for name, n := range per {
			require.Equal(t, bad, n, name)
		}
		if max == indices*bad-1 {
			var le *LoadError
			require.ErrorAs(t, err, &le)
			require.Less(t, r.Indices, indices)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, indices, r.Indices)
	}
}

func TestReplaceSeveralAtOnce(t *testing.T) {
	b := smallIndices(t, 12)
	es := estest.NewHandler(nil).Transport()
	restored(t, b.fs, es, Options{})
	want := state(t, es)
	es = estest.NewHandler(nil).Transport()
	for i := range 9 {
		must(t, es, "PUT", fmt.Sprintf("/t-s%02d/_doc/old?refresh=true", i), `{"n":1}`)
	}
	met := newMeeting(4)
	via := &between{es: es, fn: func(_ int, r *http.Request, _ []byte, do func() (*http.Response, error)) (*http.Response, error) {
		if strings.Contains(r.URL.Path, "/_clone/") {
			met.enter(t)
			defer met.leave()
		}
		return do()
	}}
	r, err := runPlan(t.Context(), b, via, fast(Options{Conflict: Replace, IndicesAtOnce: 4}))
	require.NoError(t, err)
	require.Equal(t, 12, r.Indices)
	require.JSONEq(t, want, state(t, es))
}

// An alias that is written to by an index which is replaced is put where the backup has it once that one has given it up, whichever of
// the two comes first in the backup.
func TestWriteAliasMoves(t *testing.T) {
	meta := func(write bool) string {
		return strings.Replace(smallMeta, `"t-all":{}`, fmt.Sprintf(`"t-w":{"is_write_index":%v}`, write), 1)
	}
	for _, writer := range []int{0, 1} {
		b := newBackup().add(t, "t-s00", meta(writer == 0), numbered(0, 5)).add(t, "t-s01", meta(writer == 1), numbered(5, 10))
		other := []string{"t-s01", "t-s00"}[writer]
		es := cluster(t)
		must(t, es, "PUT", "/"+other, `{"aliases":{"t-w":{"is_write_index":true}}}`)
		// Where it stays as it is, the restore cannot be done, and does not begin.
		before := state(t, es)
		for _, mode := range []Conflict{Skip, Merge} {
			_, err := runPlan(t.Context(), b, es, fast(Options{Conflict: mode}))
			require.ErrorContains(t, err, `alias "t-w" has a write index in the cluster already: `+other)
			require.JSONEq(t, before, state(t, es))
		}
		_, err := runPlan(t.Context(), b, es, fast(Options{Conflict: Replace}))
		require.NoError(t, err)
		identical(t, b, es, Options{})
	}
}

// Small data streams are restored several at a time.
func TestSmallDataStreamsAtOnce(t *testing.T) {
	_, from := streams(t)
	src, _ := dump(t, from, nil)
	o := Options{Indices: []string{"logs-*", "secret-*"}, Sections: []string{"default"}, BulkBytes: 1 << 20}
	plain := estest.NewHandler(nil).Transport()
	o.IndicesAtOnce = 1
	restored(t, src, plain, o)
	es := estest.NewHandler(nil).Transport()
	met := newMeeting(3)
	via := &between{es: es, fn: func(_ int, r *http.Request, _ []byte, do func() (*http.Response, error)) (*http.Response, error) {
		if strings.HasPrefix(r.URL.Path, "/_data_stream/_migrate/") {
			met.enter(t)
			defer met.leave()
		}
		return do()
	}}
	o.IndicesAtOnce = 3
	_, r := restored(t, src, via, o)
	require.Equal(t, 3, r.Streams)
	require.JSONEq(t, state(t, plain), state(t, es))
}

// So are the indices of one, unless they are large.
func TestIndicesOfADataStreamAtOnce(t *testing.T) {
	_, from := streams(t)
	src, _ := dump(t, from, nil)
	for name, c := range map[string]struct {
		conflict Conflict
		bytes    int // of a bulk request
		want     int // at a time
	}{
		"small":         {Fail, 1 << 20, 3},
		"small replace": {Replace, 1 << 20, 3},
		"large":         {Fail, 50, 1},
		"large replace": {Replace, 50, 1},
	} {
		t.Run(name, func(t *testing.T) {
			h := estest.NewHandler(nil)
			es := h.Transport()
			o := Options{Indices: []string{"logs-a"}, Sections: []string{"default"}, BulkBytes: c.bytes, IndicesAtOnce: 1, Conflict: c.conflict}
			restored(t, src, es, o)
			want := state(t, es)
			if c.conflict == Fail {
				es = estest.NewHandler(nil).Transport()
			}
			met := newMeeting(c.want)
			via := &between{es: es, fn: func(_ int, r *http.Request, _ []byte, do func() (*http.Response, error)) (*http.Response, error) {
				if r.Method == "PUT" && regexp.MustCompile(`^/\.[df]s-logs-a-[^/]*$`).MatchString(r.URL.Path) {
					met.enter(t)
					defer met.leave()
				}
				return do()
			}}
			o.IndicesAtOnce = 3
			_, r := restored(t, src, via, o)
			require.Equal(t, [2]int{1, 5}, [2]int{r.Streams, r.Indices})
			require.Equal(t, c.want, met.most)
			require.JSONEq(t, want, state(t, es))
		})
	}
}

// Whatever request of them meets with a fault, is the last one, or is the one at which it is told to stop: small indices that are restored
// at once come out as single ones do.
func TestFaultsAmongSmallIndices(t *testing.T) {
	src := smallIndices(t, 3).add(t, "t-two", blockedMeta, numbered(0, 10)).fs
	old := func(t *testing.T, es elastictransport.Interface) {
		for _, name := range []string{"t-s00", "t-s02", "t-two"} {
			must(t, es, "PUT", "/"+name, `{"settings":{"number_of_shards":2},"aliases":{"mine":{}}}`)
			must(t, es, "PUT", "/"+name+"/_doc/old?refresh=true", `{"n":1}`)
		}
	}
	half := func(t *testing.T, es elastictransport.Interface) {
		restored(t, src, es, Options{Indices: []string{"t-s01", "t-two"}})
	}
	create, replace, resume := Options{}, Options{Conflict: Replace}, Options{Resume: true}
	_, es := streams(t)
	streamed, _ := dump(t, es, nil)
	some := Options{Indices: []string{"logs-b", "secret-1"}, Sections: []string{"default"}, BulkBytes: 1 << 20}
	t.Run("fault", func(t *testing.T) {
		t.Run("create", func(t *testing.T) { faultEverywhere(t, src, create, nil) })
		t.Run("replace", func(t *testing.T) { faultEverywhere(t, src, replace, old) })
		t.Run("resume", func(t *testing.T) { faultEverywhere(t, src, resume, half) })
		t.Run("data streams", func(t *testing.T) { faultEverywhere(t, streamed, some, nil) })
	})
	t.Run("stop", func(t *testing.T) {
		t.Run("create", func(t *testing.T) { cancelEverywhere(t, src, create, nil) })
		t.Run("replace", func(t *testing.T) { cancelEverywhere(t, src, replace, old) })
		t.Run("resume", func(t *testing.T) { cancelEverywhere(t, src, resume, half) })
		t.Run("data streams", func(t *testing.T) { cancelEverywhere(t, streamed, some, nil) })
	})
	t.Run("kill", func(t *testing.T) {
		t.Run("create", func(t *testing.T) { interruptEverywhere(t, src, create, nil) })
		t.Run("replace", func(t *testing.T) { interruptEverywhere(t, src, replace, old) })
	})
}

// Who stops a restore gets the reason back, and nothing that is half made stays.
func TestStopWhileManyAreSent(t *testing.T) {
	b := smallIndices(t, 12)
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	met := newMeeting(2)
	es := estest.NewHandler(nil).Transport()
	via := &between{es: es, fn: func(_ int, r *http.Request, _ []byte, do func() (*http.Response, error)) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/_bulk") {
			met.enter(t)
			cancel(stop)
			return nil, r.Context().Err()
		}
		return do()
	}}
	r, err := runPlan(ctx, b, via, fast(Options{}))
	require.ErrorIs(t, err, stop)
	require.NotContains(t, err.Error(), "\n")
	require.Zero(t, r.Indices)
	require.NotContains(t, state(t, es), "t-s")
}
