package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
)

func in(index string, docs []Document) []Document {
	for i := range docs {
		docs[i].Index = index
	}
	return docs
}

func loadInto(t *testing.T, es elastictransport.Interface, via *between, o Options, docs ...Document) (*Result, error) {
	t.Helper()
	call(t, es, "PUT", "/t-load", `{"settings":{"number_of_shards":2,"number_of_replicas":0},"mappings":{"properties":{"n":{"type":"long"}}}}`)
	if via == nil {
		return Load(t.Context(), es, seq(docs...), fast(o))
	}
	via.es = es
	return Load(t.Context(), via, seq(docs...), fast(o))
}

func TestLoadUnderPressure(t *testing.T) {
	var attempts atomic.Int32
	unavailable := func(code int) func(int, *http.Request, []byte, func() (*http.Response, error)) (*http.Response, error) {
		return func(n int, _ *http.Request, _ []byte, do func() (*http.Response, error)) (*http.Response, error) {
			if n%3 != 0 {
				return status(code, `{"error":{"type":"es_rejected_execution_exception","reason":"busy"}}`), nil
			}
			return do()
		}
	}
	for name, fn := range map[string]func(int, *http.Request, []byte, func() (*http.Response, error)) (*http.Response, error){
		"429": unavailable(429), "502": unavailable(502), "503": unavailable(503), "504": unavailable(504),
		"cut before": func(n int, _ *http.Request, _ []byte, do func() (*http.Response, error)) (*http.Response, error) {
			if n%2 == 0 {
				return nil, syscall.ECONNRESET
			}
			return do()
		},
		"cut after": func(n int, _ *http.Request, _ []byte, do func() (*http.Response, error)) (*http.Response, error) {
			if n%2 == 0 {
				return afterwards(do)
			}
			return do()
		},
		"cut in the answer": func(n int, _ *http.Request, _ []byte, do func() (*http.Response, error)) (*http.Response, error) {
			res, err := do()
			if err == nil && n%2 == 0 {
				res.Body = io.NopCloser(io.MultiReader(io.LimitReader(res.Body, 100), errReader{}))
			}
			return res, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			es := cluster(t)
			r, err := loadInto(t, es, &between{fn: fn}, Options{Retries: 50}, in("t-load", numbered(0, 200))...)
			require.NoError(t, err)
			require.EqualValues(t, 200, r.Documents)
			require.Positive(t, r.Retried)
			require.Equal(t, 200, len(contents(t, es, "t-load")))
			attempts.Add(1)
		})
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// rejectItems answers bulk requests as a server does that has no room for some of the items.
func rejectItems(reject func(id string) bool) func(int, *http.Request, []byte, func() (*http.Response, error)) (*http.Response, error) {
	return bulkAnswers(func(_ *http.Request, id string) string {
		if !reject(id) {
			return ""
		}
		return `"status":429,"error":{"type":"es_rejected_execution_exception","reason":"queue full"}`
	})
}

func TestItemsRejectedForNowAreSentAgainAlone(t *testing.T) {
	var mu sync.Mutex
	done, tries := map[string]int{}, map[string]int{}
	via := &between{fn: rejectItems(func(id string) bool {
		mu.Lock()
		defer mu.Unlock()
		tries[id]++
		if tries[id] < 4 && strings.HasSuffix(id, "3") {
			return true
		}
		done[id]++
		return false
	})}
	r, err := Load(t.Context(), via, seq(in("t-load", numbered(0, 100))...), fast(Options{}))
	require.NoError(t, err)
	require.EqualValues(t, 100, r.Documents)
	require.EqualValues(t, 30, r.Retried)
	require.Len(t, done, 100)
	for id, n := range done {
		require.Equal(t, 1, n, id)
	}
}

func TestItemsRejectedForeverAreNamed(t *testing.T) {
	via := &between{fn: rejectItems(func(id string) bool { return id == "d3" || id == "d4" })}
	r, err := Load(t.Context(), via, seq(in("t-load", numbered(0, 20))...), fast(Options{Retries: 2, Concurrency: 1}))
	var le *LoadError
	require.ErrorAs(t, err, &le)
	require.EqualValues(t, 2, le.Count)
	require.EqualValues(t, 18, r.Documents)
	require.EqualValues(t, 2, r.Rejected)
	require.EqualError(t, err, `load: index t-load: document "d3" was refused: es_rejected_execution_exception: queue full (after 3 attempts) (2 documents were refused: 2 es_rejected_execution_exception)`)
}

func TestAnswersThatDoNotAddUp(t *testing.T) {
	for name, tc := range map[string]struct{ answer, want string }{
		"missing": {`{"items":[{"index":{"_id":"d0","status":201,"result":"created"}}]}`, "1 items, sent were 2"},
		"extra":   {`{"items":[{"index":{"_id":"d0","status":201,"result":"created"}},{"index":{"_id":"d1","status":201,"result":"created"}},{"index":{"_id":"d2","status":201,"result":"created"}}]}`, "more items than the 2"},
		"swapped": {`{"items":[{"index":{"_id":"d1","status":201,"result":"created"}},{"index":{"_id":"d0","status":201,"result":"created"}}]}`, `item 0 answers id "d1", sent was "d0"`},
		"no-op":   {`{"items":[{"index":{"_id":"d0","status":200,"result":"noop"}},{"index":{"_id":"d1","status":201,"result":"created"}}]}`, `answered "noop"`},
		"half":    {`{"items":[{"index":{"_id":"d0","status":201,"result":"created"}}`, "unexpected end"},
		"empty":   {`{}`, "no items"},
	} {
		t.Run(name, func(t *testing.T) {
			via := &between{fn: func(int, *http.Request, []byte, func() (*http.Response, error)) (*http.Response, error) {
				return status(200, tc.answer), nil
			}}
			_, err := Load(t.Context(), via, seq(in("t-load", numbered(0, 2))...), fast(Options{Concurrency: 1}))
			require.ErrorContains(t, err, "load: index t-load: ")
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestTooLargeIsSplit(t *testing.T) {
	es := cluster(t)
	via := &between{fn: func(_ int, _ *http.Request, body []byte, do func() (*http.Response, error)) (*http.Response, error) {
		if len(body) > 400 {
			return status(413, ``), nil
		}
		return do()
	}}
	docs := in("t-load", numbered(0, 50))
	docs = append(docs, Document{Index: "t-load", ID: "large", Source: []byte(`{"x":"` + strings.Repeat("y", 3000) + `"}`)})
	r, err := loadInto(t, es, via, Options{}, docs...)
	var le *LoadError
	require.ErrorAs(t, err, &le)
	require.EqualValues(t, 1, le.Count)
	require.Equal(t, "large", le.Rejections[0].Document.ID)
	require.Equal(t, 413, le.Rejections[0].Status)
	require.EqualValues(t, 50, r.Documents)
	require.Equal(t, 50, len(contents(t, es, "t-load")))
}

func TestWhatIsDoneToOneIDKeepsItsOrder(t *testing.T) {
	es := cluster(t)
	var docs []Document
	for i := range 40 {
		id := fmt.Sprint("k", i%3)
		docs = append(docs, Document{Index: "t-load", ID: id, Source: fmt.Appendf(nil, "{\n \"n\": %d }", i)})
		if i%7 == 0 {
			docs = append(docs, Document{Index: "t-load", ID: id, Deleted: true})
		}
	}
	docs = append(docs, Document{Index: "t-load", ID: "k0", Deleted: true})
	via := &between{fn: func(n int, _ *http.Request, _ []byte, do func() (*http.Response, error)) (*http.Response, error) {
		if n%4 == 1 {
			return afterwards(do)
		}
		return do()
	}}
	_, err := loadInto(t, es, via, Options{BulkBytes: 1 << 20, Concurrency: 4, Retries: 50}, docs...)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"k1|": `{"n":37}`, "k2|": `{"n":38}`}, contents(t, es, "t-load"))
}

func TestOddIDs(t *testing.T) {
	es := cluster(t)
	want := map[string]string{}
	var docs []Document
	for i, id := range []string{"a b", `q"uote`, "sla/sh", `back\slash`, "emoji😀", "é", "tab\t", "\u2028", "<&>", "_id"} {
		docs = append(docs, Document{Index: "t-load", ID: id, Routing: id, Source: fmt.Appendf(nil, `{"n":%d}`, i)})
		want[id+"|"+id] = fmt.Sprintf(`{"n":%d}`, i)
	}
	_, err := loadInto(t, es, nil, Options{}, docs...)
	require.NoError(t, err)
	require.Equal(t, want, contents(t, es, "t-load"))
}

func TestLoadRefusesWhatCannotBeSent(t *testing.T) {
	never := &between{fn: func(int, *http.Request, []byte, func() (*http.Response, error)) (*http.Response, error) {
		return nil, errors.New("sent")
	}}
	for _, tc := range []struct {
		d    Document
		want string
	}{
		{Document{ID: "1", Source: []byte(`{}`)}, "names no index"},
		{Document{Index: "i", Source: []byte(`{}`)}, "has no id"},
		{Document{Index: "i", ID: "1"}, "no JSON object"},
		{Document{Index: "i", ID: "1", Source: []byte(`[]`)}, "no JSON object"},
		{Document{Index: "i", ID: "\xff", Source: []byte(`{}`)}, "UTF-8"},
		{Document{Index: "i", ID: "1", Source: []byte("{\n\"a}")}, "compact"},
	} {
		_, err := Load(t.Context(), never, seq(tc.d), fast(Options{}))
		require.ErrorContains(t, err, tc.want)
	}
	boom := errors.New("boom")
	_, err := Load(t.Context(), never, func(yield func(Document, error) bool) { yield(Document{}, boom) }, nil)
	require.ErrorIs(t, err, boom)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Load(ctx, never, seq(in("i", numbered(0, 9))...), nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestUnauthorizedStopsAtOnce(t *testing.T) {
	via := &between{fn: func(int, *http.Request, []byte, func() (*http.Response, error)) (*http.Response, error) {
		return status(401, `{"error":{"type":"security_exception","reason":"who are you"}}`), nil
	}}
	_, err := Load(t.Context(), via, seq(in("i", numbered(0, 900))...), fast(Options{}))
	require.ErrorContains(t, err, "who are you")
	require.LessOrEqual(t, via.n, 2)
}

type perform func(r *http.Request) (*http.Response, error)

func (p perform) Perform(r *http.Request) (*http.Response, error) { return p(r) }

// A batch that is answered after the reader has given up must not wait for room to be put back.
func TestLoadEndsWithTheContext(t *testing.T) {
	id := regexp.MustCompile(`"_id":"\d+"`)
	es := perform(func(r *http.Request) (*http.Response, error) { // answers whatever becomes of the context
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		answer := fmt.Sprintf(`{"errors":false,"items":[{"index":{"_index":"i",%s,"status":201,"result":"created"}}]}`, id.Find(b))
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(answer))}, nil
	})
	stop := errors.New("stop")
	for range 100 {
		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := Load(ctx, es, func(yield func(Document, error) bool) {
			for i := range 6 {
				if i == 4 {
					time.Sleep(time.Millisecond) // so that the lane waits for more
					cancel(stop)
				}
				if !yield(Document{Index: "i", ID: fmt.Sprint(i), Source: []byte(`{}`)}, nil) {
					return
				}
			}
		}, fast(Options{Concurrency: 1, BulkBytes: 1}))
		cancel(nil)
		if err != nil {
			require.ErrorIs(t, err, stop)
		}
	}
}

// A request goes to the first document's index, and only documents of others name theirs.
func TestLoadSeveralIndices(t *testing.T) {
	h := estest.NewHandler(nil)
	var docs []Document
	for i := range 300 {
		docs = append(docs, in([]string{"t-a", "t-b", "t-c"}[i%3], numbered(i, i+1))...)
	}
	var bodies atomic.Int64
	via := &between{es: h.Transport(), fn: func(_ int, r *http.Request, body []byte, do func() (*http.Response, error)) (*http.Response, error) {
		to, ok := strings.CutSuffix(r.URL.Path, "/_bulk")
		if ok && bytes.Contains(body, []byte(`"_index"`)) && !bytes.Contains(body, []byte(`"_index":"`+strings.Trim(to, "/")+`"`)) {
			bodies.Add(1)
		}
		return do()
	}}
	r, err := Load(t.Context(), via, seq(docs...), fast(Options{BulkBytes: 2000}))
	require.NoError(t, err)
	require.EqualValues(t, 300, r.Documents)
	require.Greater(t, bodies.Load(), int64(2))
	for _, name := range []string{"t-a", "t-b", "t-c"} {
		require.NoError(t, h.Refresh(name))
		require.Equal(t, 100, h.Count(name))
	}
}
