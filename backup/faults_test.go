package backup

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/layout"
)

// wire is a transport that does something to one of the requests that pass through it.
type wire struct {
	next elastictransport.Interface

	mu    sync.Mutex
	calls []string
	at    int  // the call that is meddled with, from 0; -1: none
	stays bool // and every one after it
	do    func(next elastictransport.Interface, r *http.Request) (*http.Response, error)
	each  func(r *http.Request) // called before every request
}

func (w *wire) Perform(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	n := len(w.calls)
	w.calls = append(w.calls, r.Method+" "+r.URL.Path)
	w.mu.Unlock()
	if w.each != nil {
		w.each(r)
	}
	if w.do != nil && (n == w.at || w.stays && n > w.at) {
		return w.do(w.next, r)
	}
	return w.next.Perform(r)
}

func answer(status int, body string) (*http.Response, error) {
	return &http.Response{StatusCode: status, Header: http.Header{"X-Elastic-Product": {"Elasticsearch"}},
		Body: io.NopCloser(strings.NewReader(body))}, nil
}

// edited passes the request on and changes the text of the answer.
func edited(edit func(b []byte) []byte, end error) func(elastictransport.Interface, *http.Request) (*http.Response, error) {
	return func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
		res, err := next.Perform(r)
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(res.Body)
		if err != nil {
			return nil, err
		}
		_ = res.Body.Close()
		var body io.Reader = bytes.NewReader(edit(b))
		if end != nil {
			body = io.MultiReader(body, errReader{end})
		}
		res.Body, res.ContentLength = io.NopCloser(body), -1
		return res, nil
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

var (
	oneHit    = regexp.MustCompile(`\{"_index".*?"sort":\[[^]]*\]\},?`)
	oneSource = regexp.MustCompile(`"_source":\{[^{}]*\},`)
	oneTotal  = regexp.MustCompile(`"total":\{"value":[1-9]\d*`)
	oneCount  = regexp.MustCompile(`"doc_count":[1-9]\d*`)
)

// less lowers the number at the end of the first match by one.
func less(b []byte, at *regexp.Regexp) []byte {
	loc := at.FindIndex(b)
	if loc == nil {
		return b
	}
	i := loc[0] + bytes.LastIndexByte(b[loc[0]:loc[1]], ':') + 1
	n, _ := strconv.Atoi(string(b[i:loc[1]]))
	return slices.Concat(b[:i], []byte(strconv.Itoa(n-1)), b[loc[1]:])
}

// httpFaults are what can go wrong with one answer. Servers give all of these.
var httpFaults = map[string]func(elastictransport.Interface, *http.Request) (*http.Response, error){
	"connection reset": func(elastictransport.Interface, *http.Request) (*http.Response, error) {
		return nil, syscall.ECONNRESET
	},
	"done but reset": func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
		if res, err := next.Perform(r); err == nil {
			_ = res.Body.Close()
		}
		return nil, io.ErrUnexpectedEOF
	},
	"503": func(elastictransport.Interface, *http.Request) (*http.Response, error) { return answer(503, "") },
	"429": func(elastictransport.Interface, *http.Request) (*http.Response, error) {
		return answer(429, `{"error":{"type":"es_rejected_execution_exception","reason":"queue full"}}`)
	},
	"400": func(elastictransport.Interface, *http.Request) (*http.Response, error) {
		return answer(400, `{"error":{"type":"illegal_argument_exception","reason":"no"}}`)
	},
	"404 context": func(elastictransport.Interface, *http.Request) (*http.Response, error) {
		return answer(404, `{"error":{"type":"search_phase_execution_exception","root_cause":[{"type":"search_context_missing_exception"}]}}`)
	},
	"circuit breaker": func(elastictransport.Interface, *http.Request) (*http.Response, error) {
		return answer(429, `{"error":{"type":"circuit_breaking_exception","reason":"too large"}}`)
	},
	"cut in the middle":  edited(func(b []byte) []byte { return b[:len(b)/2] }, io.ErrUnexpectedEOF),
	"ends in the middle": edited(func(b []byte) []byte { return b[:len(b)/2] }, nil),
	"a shard failed": edited(func(b []byte) []byte {
		return bytes.Replace(b, []byte(`"failed":0`), []byte(`"failed":1,"failures":[{"index":"i","shard":0,"reason":{"type":"x","reason":"disk"}}]`), 1)
	}, nil),
	"timed out": edited(func(b []byte) []byte {
		return bytes.Replace(b, []byte(`"timed_out":false`), []byte(`"timed_out":true`), 1)
	}, nil),
	"a hit is missing": edited(func(b []byte) []byte {
		if loc := oneHit.FindIndex(b); loc != nil {
			return append(b[:loc[0]:loc[0]], b[loc[1]:]...)
		}
		return b
	}, nil),
	"a hit stands twice": edited(func(b []byte) []byte {
		if loc := oneHit.FindIndex(b); loc != nil && b[loc[1]-1] == ',' {
			return append(b[:loc[1]:loc[1]], b[loc[0]:]...)
		}
		return b
	}, nil),
	"a hit without its document": edited(func(b []byte) []byte {
		if loc := oneSource.FindIndex(b); loc != nil {
			return append(b[:loc[0]:loc[0]], b[loc[1]:]...)
		}
		return b
	}, nil),
	"a lower bound": edited(func(b []byte) []byte {
		return bytes.Replace(b, []byte(`"relation":"eq"`), []byte(`"relation":"gte"`), 1)
	}, nil),
	"a total is one less": edited(func(b []byte) []byte { return less(b, oneTotal) }, nil),
	"a count is one less": edited(func(b []byte) []byte { return less(b, oneCount) }, nil),
	"not JSON":            func(elastictransport.Interface, *http.Request) (*http.Response, error) { return answer(200, "<html>") },
	"empty":               func(elastictransport.Interface, *http.Request) (*http.Response, error) { return answer(200, "") },
	"{}":                  func(elastictransport.Interface, *http.Request) (*http.Response, error) { return answer(200, "{}") },
}

// contents reads all documents of a dump, by index.
func contents(t *testing.T, files map[string][]byte, m *layout.Manifest) map[string]map[string]string {
	t.Helper()
	all := map[string]map[string]string{}
	fsys := fsOf(files)
	for _, ix := range m.Indices {
		all[ix.Name] = map[string]string{}
		for _, sh := range ix.Shards {
			name := layout.DocumentsPath(ix.Name, sh.Number)
			require.Contains(t, files, name)
			// Once in order, as a person with curl loads it, and once by the sidecar.
			lines := linesOf(t, files[name], ix.Name)
			replayed := replay(t, lines)
			side, err := layout.ReadSidecar(fsys, ix.Name, sh.Number)
			require.NoError(t, err)
			require.NoError(t, side.Valid())
			var digest layout.Digest
			var n, dead, deletes int64
			for _, g := range side.Segments {
				ordinals := g.Ordinals()
				of := g.Whole().Docs + g.Deletes
				require.GreaterOrEqual(t, int64(len(lines)), of)
				for k, d := range lines[:of] {
					if d.Deleted != (g.Deletes > 0) {
						require.Fail(t, "a delete line is among documents, or the other way round", d.ID)
					}
					if _, isDead := slices.BinarySearch(ordinals, int64(k)); isDead {
						dead++
						continue
					}
					if d.Deleted {
						deletes++
						continue
					}
					key := d.ID + "\x00" + d.Routing
					if _, twice := all[ix.Name][key]; twice {
						require.Fail(t, "document stands twice", key)
					}
					all[ix.Name][key] = d.text
					if replayed[key] != d.text {
						require.Equal(t, d.text, replayed[key])
					}
					delete(replayed, key)
					b, err := d.AppendDigested(nil)
					if err != nil {
						require.NoError(t, err)
					}
					digest.Add(b)
					n++
				}
				lines = lines[of:]
			}
			require.Empty(t, lines)
			require.Empty(t, replayed)
			require.Equal(t, sh.Docs, n)
			require.Equal(t, sh.Dead, dead)
			require.Equal(t, sh.Deletes, deletes)
			require.True(t, sh.Digest.Equal(digest))
			require.EqualValues(t, sh.Bytes, len(files[name]))
		}
	}
	return all
}

// line is a document of a shard's file, or a delete of one. What looks at thousands of them calls require only where something is wrong.
type line struct {
	layout.Document
	text string // its Source
}

func linesOf(t *testing.T, file []byte, index string) (all []line) {
	t.Helper()
	for d, err := range layout.Documents(bytes.NewReader(file), index) {
		if err != nil {
			require.NoError(t, err)
		}
		all = append(all, line{d, string(d.Source)})
	}
	return all
}

// replay does what the lines of a shard's file say, in order.
func replay(t *testing.T, lines []line) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, d := range lines {
		key := d.ID + "\x00" + d.Routing
		if d.Deleted {
			delete(all, key)
			continue
		}
		if _, twice := all[key]; twice {
			require.Fail(t, "document stands twice, with no delete between", key)
		}
		all[key] = d.text
	}
	return all
}

func fsOf(files map[string][]byte) fs.FS {
	m := fstest.MapFS{}
	for name, b := range files {
		m[name] = &fstest.MapFile{Data: b}
	}
	return m
}

// memTarget is a Target in memory.
type memTarget struct {
	mu      sync.Mutex
	files   map[string][]byte
	open    int
	failOn  string
	failing error
}

type memFile struct {
	t    *memTarget
	name string
	buf  bytes.Buffer
}

func (t *memTarget) Create(_ context.Context, name string) (File, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open++
	return &memFile{t: t, name: name}, nil
}

func (f *memFile) Write(p []byte) (int, error) {
	if f.t.failOn == f.name {
		return 0, f.t.failing
	}
	return f.buf.Write(p)
}

func (f *memFile) Close() error {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	f.t.open--
	if f.t.files == nil {
		f.t.files = map[string][]byte{}
	}
	if _, ok := f.t.files[f.name]; ok {
		return fmt.Errorf("%s stands twice", f.name)
	}
	f.t.files[f.name] = f.buf.Bytes()
	return nil
}

func (f *memFile) Abort() error {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	f.t.open--
	return nil
}

// impatient waits no time between attempts.
func impatient(ctx context.Context, _ time.Duration) error { return ctx.Err() }
