package estest

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options change what the server says and does; nil and the zero value work.
type Options struct {
	// Version is what GET / reports; default 8.19.0. From 9.2 on, dense vectors are left out of search hits unless the request
	// says "_source":{"exclude_vectors":false}.
	Version string
	// ClusterName and NodeName; defaults "elasticsearch" and "estest-0".
	ClusterName, NodeName string

	// Username and Password, or APIKey (the encoded form sent after "ApiKey "), are asked for if set; default: no security.
	Username, Password, APIKey string

	// AutoRefresh makes every write visible to searches at once. Default: only _refresh, ?refresh and Refresh do.
	AutoRefresh bool

	// Writers is how many clients the documents of a shard seem to come from, by turns of some documents each; default 1. Those of one
	// lie side by side, as _shard_doc tells, and those of another elsewhere. From 2 on, "took" says that a page of documents that do not all lie
	// side by side takes much longer, as on an index with best_compression.
	Writers int

	// Now is the clock of keep_alive and creation dates; default time.Now.
	Now func() time.Time
}

// Handler is an in-memory Elasticsearch. It is safe for concurrent use.
type Handler struct {
	o       Options
	uuid    string
	node    string
	exclude bool // dense vectors are left out of answers

	plainRouting bool // new indices are routed by the hash alone

	mu         sync.Mutex // everything below
	indices    map[string]*index
	streams    map[string]*stream
	contexts   map[string]*searchContext
	nextID     int64
	stored     map[string]map[string]map[string]any // templates and pipelines, by kind and name
	persistent map[string]any
	transient  map[string]any

	fmu    sync.Mutex
	faults []*Fault
	hooks  []func(*http.Request)
	log    []Request
}

// NewHandler returns an empty cluster of one node.
func NewHandler(o *Options) *Handler {
	h := &Handler{indices: map[string]*index{}, streams: map[string]*stream{}, contexts: map[string]*searchContext{}, uuid: newUUID(), node: newUUID(),
		persistent: map[string]any{}, transient: map[string]any{}, stored: map[string]map[string]map[string]any{}}
	if o != nil {
		h.o = *o
	}
	set := func(p *string, d string) {
		if *p == "" {
			*p = d
		}
	}
	set(&h.o.Version, "8.19.0")
	set(&h.o.ClusterName, "elasticsearch")
	set(&h.o.NodeName, "estest-0")
	if h.o.Now == nil {
		h.o.Now = time.Now
	}
	major, minor := versionOf(h.o.Version)
	h.exclude = major > 9 || major == 9 && minor >= 2
	h.plainRouting = major > 9 || major == 9 && minor >= 3
	return h
}

func versionOf(v string) (major, minor int) {
	p := strings.Split(v, ".")
	major, _ = strconv.Atoi(p[0])
	if len(p) > 1 {
		minor, _ = strconv.Atoi(p[1])
	}
	return major, minor
}

// newUUID is 22 characters, as Elasticsearch's.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// request is one parsed HTTP request.
type request struct {
	method string
	uri    string   // path and query, as sent
	path   []string // unescaped parts
	q      url.Values
	body   []byte
	fx     *effects // of the faults that matched
}

func (r *request) flag(name string) bool {
	v, ok := r.q[name]
	return ok && (len(v) == 0 || v[0] == "" || v[0] == "true")
}

// reply is what goes back: a value to encode, or text.
type reply struct {
	status int
	v      any
	text   string
}

func ok(kv ...any) *reply { return &reply{status: 200, v: obj(kv)} }

// answer is a finished response; cut is after how many bytes the connection breaks, -1 never.
type answer struct {
	status int
	ctype  string
	gzip   bool
	body   []byte
	cut    int
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, err := h.serve(r)
	if err != nil {
		panic(http.ErrAbortHandler) // the connection breaks without an answer
	}
	setHeaders(w.Header(), a)
	body := a.body
	if a.cut >= 0 && a.cut < len(body) {
		body = body[:a.cut]
	}
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client is gone: nobody to tell
	}
	if a.cut >= 0 {
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		panic(http.ErrAbortHandler)
	}
}

func setHeaders(hd http.Header, a *answer) {
	hd.Set("X-Elastic-Product", "Elasticsearch")
	hd.Set("Content-Type", a.ctype)
	hd.Set("Content-Length", strconv.Itoa(len(a.body)))
	if a.gzip {
		hd.Set("Content-Encoding", "gzip")
	}
	if a.status == 401 {
		hd.Add("WWW-Authenticate", `Basic realm="security", charset="UTF-8"`)
		hd.Add("WWW-Authenticate", "ApiKey")
	}
}

var errCut = errors.New("estest: connection cut by a fault")

// serve answers a request, or returns an error where the connection is to break without an answer.
func (h *Handler) serve(hr *http.Request) (*answer, error) {
	var body []byte
	if hr.Body != nil {
		b, err := io.ReadAll(hr.Body)
		_ = hr.Body.Close()
		if err != nil {
			return nil, err
		}
		body = b
	}
	h.record(hr, len(body))
	fx, err := h.inject(hr)
	if err != nil {
		return nil, err
	}
	a := &answer{cut: -1, ctype: "application/json"}
	if ct := hr.Header.Get("Accept"); strings.Contains(ct, "compatible-with") {
		a.ctype = strings.TrimSpace(strings.Split(ct, ",")[0])
	}
	r := &request{method: hr.Method, uri: hr.URL.RequestURI(), q: hr.URL.Query(), fx: fx}
	for p := range strings.SplitSeq(strings.Trim(hr.URL.EscapedPath(), "/"), "/") {
		if u, e := url.PathUnescape(p); e == nil && u != "" {
			r.path = append(r.path, u)
		}
	}
	rep, e := h.answer(hr, r, body)
	if e != nil {
		rep = &reply{status: e.status, v: e.body()}
	}
	a.status = rep.status
	if rep.v != nil {
		if fp := strings.Join(r.q["filter_path"], ","); fp != "" {
			if len(r.path) == 0 { // clients need these
				fp += ",name,cluster_name,cluster_uuid,version.number,version.build_flavor,tagline"
			}
			rep.v = filterPath(rep.v, fp)
		}
		a.body = encode(rep.v)
	} else {
		a.body, a.ctype = []byte(rep.text), "text/plain; charset=UTF-8"
	}
	if fx.truncate >= 0 {
		a.body = a.body[:min(fx.truncate, len(a.body))]
	}
	if strings.Contains(hr.Header.Get("Accept-Encoding"), "gzip") && len(a.body) > 0 && hr.Method != http.MethodHead {
		var z bytes.Buffer
		w, _ := gzip.NewWriterLevel(&z, gzip.BestSpeed)
		_, _ = w.Write(a.body) // into memory
		_ = w.Close()
		a.body, a.gzip = z.Bytes(), true
	}
	a.cut = fx.cut
	return a, nil
}

func (h *Handler) answer(hr *http.Request, r *request, body []byte) (*reply, *esError) {
	if e := h.authenticate(hr); e != nil {
		return nil, e
	}
	if r.fx.err != nil {
		return nil, r.fx.err
	}
	if hr.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err == nil {
			body, err = io.ReadAll(z)
		}
		if err != nil {
			return nil, &esError{status: 400, kind: "parse_exception", reason: "failed to decompress the body"}
		}
	}
	r.body = body
	return h.route(r)
}

func (h *Handler) authenticate(r *http.Request) *esError {
	o := &h.o
	if o.Username == "" && o.APIKey == "" {
		return nil
	}
	auth := r.Header.Get("Authorization")
	u, p, basic := r.BasicAuth()
	reason := "missing authentication credentials for REST request [" + r.URL.RequestURI() + "]"
	switch {
	case o.Username != "" && basic && u == o.Username && p == o.Password:
		return nil
	case o.APIKey != "" && strings.EqualFold(auth, "ApiKey "+o.APIKey):
		if auth[len("ApiKey "):] == o.APIKey {
			return nil
		}
		fallthrough
	case auth != "" && basic:
		reason = "unable to authenticate user [" + u + "] for REST request [" + r.URL.RequestURI() + "]"
	case auth != "":
		reason = "unable to authenticate with provided credentials and anonymous access is not allowed for this request"
	}
	return &esError{status: 401, kind: "security_exception", reason: reason,
		extra: obj{"header", obj{"WWW-Authenticate", []any{`Basic realm="security", charset="UTF-8"`, "ApiKey"}}}}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
