package rest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"path"
	"strings"
	"sync"
	"testing"
	"time"
)

// server speaks the server's side of the protocol, over memory.
type server struct {
	v1         bool   // list names without sizes
	appendOnly bool   // remove nothing but locks
	exclusive  bool   // refuse to replace files, as rest-server does
	noRanges   bool   // answer 200 to every GET
	password   string // of "user"; none if empty

	mu    sync.Mutex
	made  map[string]bool // repositories that were created
	files map[string][]byte
	calls []string // methods and paths

	// before handles a request in place of the server if it returns true.
	before func(w http.ResponseWriter, r *http.Request) bool
}

func newServer() *server { return &server{made: map[string]bool{}, files: map[string][]byte{}} }

func (s *server) count(call string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if c == call {
			n++
		}
	}
	return n
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.calls = append(s.calls, r.Method+" "+r.URL.RequestURI())
	before := s.before
	s.mu.Unlock()
	if before != nil && before(w, r) {
		return
	}
	if user, password, _ := r.BasicAuth(); s.password != "" && (user != "user" || password != s.password) {
		http.Error(w, "no entry for "+user+" with "+password, http.StatusUnauthorized)
		return
	}
	dir, name := path.Split(r.URL.Path)
	switch {
	case r.Method == http.MethodPost && name == "" && r.URL.Query().Get("create") == "true":
		s.mu.Lock()
		s.made[dir] = true
		s.mu.Unlock()
	case r.Method == http.MethodGet && name == "":
		s.list(w, r, dir)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		s.mu.Lock()
		content, ok := s.files[r.URL.Path]
		s.mu.Unlock()
		switch {
		case !ok:
			http.NotFound(w, r)
		case s.noRanges && r.Method == http.MethodGet:
			_, _ = w.Write(content) // in chunks, unless it is short
		default:
			w.Header().Set("Content-Type", "application/octet-stream")
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		}
	case r.Method == http.MethodPost:
		s.post(w, r)
	case r.Method == http.MethodDelete:
		s.mu.Lock()
		defer s.mu.Unlock()
		_, ok := s.files[r.URL.Path]
		switch {
		case s.appendOnly && path.Base(dir) != "locks":
			http.Error(w, "Forbidden", http.StatusForbidden)
		case !ok:
			http.NotFound(w, r)
		default:
			delete(s.files, r.URL.Path)
		}
	default:
		http.Error(w, "what?", http.StatusMethodNotAllowed)
	}
}

func (s *server) list(w http.ResponseWriter, r *http.Request, dir string) {
	type item struct {
		Name string `json:"name"`
		Size int    `json:"size"`
	}
	names, items := []string{}, []item{}
	s.mu.Lock()
	for p, content := range s.files {
		if path.Dir(p)+"/" == dir {
			names = append(names, path.Base(p))
			items = append(items, item{path.Base(p), len(content)})
		}
	}
	s.mu.Unlock()
	const v2 = "application/vnd.x.restic.rest.v2"
	if s.v1 || r.Header.Get("Accept") != v2 {
		_ = json.NewEncoder(w).Encode(names)
		return
	}
	w.Header().Set("Content-Type", v2)
	_ = json.NewEncoder(w).Encode(items)
}

func (s *server) post(w http.ResponseWriter, r *http.Request) {
	repo, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	s.mu.Lock()
	_, exists := s.files[r.URL.Path]
	made := s.made["/"+repo+"/"]
	s.mu.Unlock()
	if exists && s.exclusive {
		http.Error(w, "Forbidden", http.StatusForbidden)
		return
	}
	if !made || r.ContentLength < 0 {
		http.Error(w, "not created, or no length", http.StatusInternalServerError)
		return
	}
	content, err := io.ReadAll(r.Body)
	if err != nil || int64(len(content)) != r.ContentLength {
		http.Error(w, "short body", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[r.URL.Path] = content
}

// intercept handles requests with fn, if it returns true, from now on; nil ends that.
func (s *server) intercept(t *testing.T, fn func(w http.ResponseWriter, r *http.Request) bool) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = fn
}
