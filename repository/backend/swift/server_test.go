package swift_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const page = 7 // objects in a page of a list

// server speaks Swift's side of the protocol, over memory: one account, its users, and what answers on their behalf. The real one is in
// the end-to-end tests.
type server struct {
	mu         sync.Mutex
	url        string
	containers map[string]*container
	tokens     map[string]bool // those that are good
	issued     int
	logins     []string // bodies of requests for tokens, or user and key of version 1
	catalogURL string   // what Keystone gives for the region "one" and for all others; default: this server
	expires    time.Time
	requests   []*http.Request

	// before handles a request in place of the server if it returns true.
	before func(w http.ResponseWriter, r *http.Request) bool
}

type container struct {
	policy  string
	objects map[string][]byte
}

func start(t *testing.T) *server {
	t.Helper()
	s := &server{containers: map[string]*container{}, tokens: map[string]bool{}, expires: time.Now().Add(time.Hour)}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	s.url = h.URL
	return s
}

// intercept handles requests with fn, if it returns true, from now on; nil ends that.
func (s *server) intercept(fn func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = fn
}

// revoke makes every token bad.
func (s *server) revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

func (s *server) object(container, name string) (content []byte, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.containers[container]; c != nil {
		content, found = c.objects[name]
	}
	return content, found
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r)
	before := s.before
	s.mu.Unlock()
	if before != nil && before(w, r) {
		return
	}
	w.Header().Set("X-Trans-Id", "tx0123")
	if strings.HasPrefix(r.URL.Path, "/auth/") {
		s.authenticate(w, r)
		return
	}
	s.mu.Lock()
	good := s.tokens[r.Header.Get("X-Auth-Token")]
	s.mu.Unlock()
	rest, ours := strings.CutPrefix(r.URL.Path, "/v1/AUTH_test/")
	name, object, isObject := strings.Cut(rest, "/")
	switch {
	case !good:
		refuse(w, http.StatusUnauthorized)
	case !ours || strings.HasPrefix(name, "forbidden"):
		refuse(w, http.StatusForbidden)
	case isObject:
		s.serveObject(w, r, name, object)
	case r.Method == http.MethodPut:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.containers[name] == nil {
			s.containers[name] = &container{policy: r.Header.Get("X-Storage-Policy"), objects: map[string][]byte{}}
		}
		w.WriteHeader(http.StatusCreated)
	case r.Method == http.MethodGet:
		s.list(w, r, name)
	default:
		refuse(w, http.StatusMethodNotAllowed)
	}
}

// refuse answers as Swift does: with a page.
func refuse(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<html><h1>%s</h1></html>", http.StatusText(status))
}

func (s *server) serveObject(w http.ResponseWriter, r *http.Request, name, object string) {
	var content []byte
	if r.Method == http.MethodPut {
		content, _ = io.ReadAll(r.Body) // what is missing is found out below
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.containers[name]
	if c == nil {
		refuse(w, http.StatusNotFound)
		return
	}
	old, exists := c.objects[object]
	if !exists && r.Method != http.MethodPut {
		refuse(w, http.StatusNotFound)
		return
	}
	sum := func(p []byte) string { m := md5.Sum(p); return hex.EncodeToString(m[:]) }
	switch r.Method {
	case http.MethodPut:
		switch {
		case exists && r.Header.Get("If-None-Match") == "*":
			refuse(w, http.StatusPreconditionFailed)
		case int64(len(content)) != r.ContentLength:
			refuse(w, 499)
		case r.Header.Get("ETag") != sum(content):
			refuse(w, http.StatusUnprocessableEntity)
		default:
			c.objects[object] = content
			w.Header().Set("ETag", sum(content))
			w.Header().Set("Content-Type", "text/html; charset=UTF-8")
			w.WriteHeader(http.StatusCreated)
		}
	case http.MethodDelete:
		delete(c.objects, object)
		w.Header().Set("Content-Type", "text/html; charset=UTF-8")
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("ETag", sum(old))
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(old))
	}
}

func (s *server) list(w http.ResponseWriter, r *http.Request, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.containers[name]
	if c == nil {
		refuse(w, http.StatusNotFound)
		return
	}
	type entry struct {
		Name  string `json:"name"`
		Bytes int    `json:"bytes"`
	}
	entries := []entry{}
	q := r.URL.Query()
	for object, content := range c.objects {
		if strings.HasPrefix(object, q.Get("prefix")) && object > q.Get("marker") {
			entries = append(entries, entry{object, len(content)})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.Name, b.Name) })
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(entries[:min(len(entries), page)])
}

// authenticate gives out tokens, in each version's way, for the password "s3cret".
func (s *server) authenticate(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // none for version 1
	login := string(body)
	if login == "" {
		login = r.Header.Get("X-Auth-User") + " " + r.Header.Get("X-Auth-Key")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logins = append(s.logins, r.URL.Path+" "+login)
	if !strings.Contains(login, "s3cret") {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, "nobody is called %s", login)
		return
	}
	s.issued++
	token := fmt.Sprintf("token-%d", s.issued)
	s.tokens[token] = true
	at := s.catalogURL
	if at == "" {
		at = s.url + "/v1/AUTH_test"
	}
	expires := s.expires.UTC().Format(time.RFC3339)
	switch r.URL.Path {
	case "/auth/v1.0":
		w.Header().Set("X-Storage-Url", at)
		w.Header().Set("X-Auth-Token", token)
	case "/auth/v2.0/tokens":
		fmt.Fprintf(w, `{"access":{"token":{"id":%q,"expires":%q},"serviceCatalog":[{"type":"object-store","endpoints":[
			{"region":"one","publicURL":%q}]}]}}`, token, expires, at)
	case "/auth/v3/auth/tokens":
		w.Header().Set("X-Subject-Token", token)
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"token":{"expires_at":%q,"catalog":[{"type":"object-store","endpoints":[
			{"interface":"public","region":"zero","url":"http://127.0.0.1:1/v1/AUTH_test"},
			{"interface":"public","region":"one","url":%q}]}]}}`, expires, at)
	default:
		http.NotFound(w, r)
	}
}
