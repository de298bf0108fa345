package rest_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// values are settings that come from nowhere else.
func values(m map[string]string) *backend.Settings {
	return &backend.Settings{Lookup: func(key string) (string, bool) {
		v, ok := m[key]
		return v, ok
	}}
}

func start(t *testing.T, s *server) *httptest.Server {
	t.Helper()
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return h
}

func open(t *testing.T, url string) *rest.Backend {
	t.Helper()
	b, err := rest.Open(t.Context(), rest.Config{URL: url, Settings: values(nil)})
	require.NoError(t, err)
	return b
}

// opened starts s and opens a repository there, which the end of the test closes.
func opened(t *testing.T, s *server) *rest.Backend {
	t.Helper()
	b := open(t, start(t, s).URL+"/repo")
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func save(ctx context.Context, b backend.Backend, typ backend.FileType, content string) (backend.Handle, error) {
	h := backendtest.HandleOf(typ, []byte(content))
	return h, b.Save(ctx, h, strings.NewReader(content), int64(len(content)))
}

func load(t *testing.T, b backend.Backend, h backend.Handle, off, n int64) (string, error) {
	t.Helper()
	r, err := b.Load(t.Context(), h, off, n)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(r)
	return string(data), errors.Join(err, r.Close())
}

func list(t *testing.T, b backend.Backend, typ backend.FileType) (names []string, err error) {
	t.Helper()
	for fi, err := range b.List(t.Context(), typ) {
		if err != nil {
			return nil, err
		}
		names = append(names, fi.Handle.Name)
	}
	return names, nil
}

func TestConformance(t *testing.T) {
	for name, s := range map[string]*server{
		"plain":  {},
		"simple": {v1: true, noRanges: true},
		"strict": {exclusive: true, password: "p@ss/word"},
	} {
		t.Run(name, func(t *testing.T) {
			backendtest.Run(t, func(t *testing.T) backend.Backend {
				srv := newServer()
				srv.v1, srv.exclusive, srv.noRanges, srv.password = s.v1, s.exclusive, s.noRanges, s.password
				return open(t, strings.Replace(start(t, srv).URL, "http://", "http://user:"+url.PathEscape(s.password)+"@", 1)+"/repo/")
			}, &backendtest.Options{ListEntries: 200, LargeFile: 4 << 20})
		})
	}
}

func TestProtocol(t *testing.T) {
	s := newServer()
	b := opened(t, s)
	_, err := save(t.Context(), b, backend.Key, "k")
	require.NoError(t, err)
	p, err := save(t.Context(), b, backend.Pack, "p")
	require.NoError(t, err)
	_, err = save(t.Context(), b, backend.Config, "c")
	require.NoError(t, err)
	require.Contains(t, s.files, "/repo/data/"+p.Name)
	require.Contains(t, s.files, "/repo/config")
	require.Equal(t, 1, s.count("POST /repo/?create=true"))
	require.Equal(t, 5, b.Connections())

	// What exists is not created again.
	other := opened(t, s)
	_, err = save(t.Context(), other, backend.Key, "l")
	require.NoError(t, err)
}

func TestCreateRefused(t *testing.T) {
	s := newServer()
	b := opened(t, s)
	s.intercept(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.RawQuery != "" {
			http.Error(w, "no more room", http.StatusInsufficientStorage)
		}
		return r.URL.RawQuery != ""
	})
	_, err := save(t.Context(), b, backend.Key, "k")
	require.ErrorContains(t, err, "create repository: ")
	require.ErrorContains(t, err, "507 Insufficient Storage: no more room")
	s.intercept(t, nil)
	_, err = save(t.Context(), b, backend.Key, "k")
	require.NoError(t, err)
}

func TestAppendOnly(t *testing.T) {
	s := newServer()
	s.appendOnly, s.exclusive = true, true
	b := opened(t, s)
	p, err := save(t.Context(), b, backend.Pack, "p")
	require.NoError(t, err)
	require.ErrorIs(t, b.Remove(t.Context(), p), fs.ErrPermission)
	got, err := load(t, b, p, 0, -1)
	require.NoError(t, err)
	require.Equal(t, "p", got)
	l, err := save(t.Context(), b, backend.Lock, "l")
	require.NoError(t, err)
	require.NoError(t, b.Remove(t.Context(), l))

	// Somebody else is faster: the file was not there at the first look.
	s.intercept(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodHead {
			return false
		}
		s.intercept(t, nil)
		http.NotFound(w, r)
		return true
	})
	_, err = save(t.Context(), b, backend.Pack, "p")
	require.ErrorIs(t, err, fs.ErrExist)
	require.NotErrorIs(t, err, fs.ErrPermission)
}

func TestStatuses(t *testing.T) {
	s := newServer()
	b := opened(t, s)
	h, err := save(t.Context(), b, backend.Pack, "content")
	require.NoError(t, err)
	for status, target := range map[int]error{
		401: fs.ErrPermission, 403: fs.ErrPermission, 404: fs.ErrNotExist, 410: fs.ErrNotExist, 429: nil, 500: nil, 503: nil, 302: nil,
	} {
		s.intercept(t, func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "7")
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<html>"+strings.Repeat("words ", 20<<10))
			return true
		})
		_, loadErr := load(t, b, h, 0, -1)
		_, rangeErr := load(t, b, h, 2, 3)
		_, statErr := b.Stat(t.Context(), h)
		for _, err := range []error{loadErr, rangeErr, statErr, b.Remove(t.Context(), h)} {
			var se *rest.StatusError
			require.ErrorAs(t, err, &se)
			require.Equal(t, status, se.StatusCode())
			require.Equal(t, 7*time.Second, se.RetryAfter())
			for _, sentinel := range []error{fs.ErrPermission, fs.ErrNotExist, fs.ErrExist} {
				require.Equal(t, sentinel == target, errors.Is(err, sentinel), "%d: %v", status, err)
			}
			require.Less(t, len(err.Error()), 500)
			require.NotContains(t, err.Error(), "words")
		}
		if _, err := list(t, b, backend.Pack); status != 404 && status != 410 {
			require.Error(t, err)
		}
		if _, err := save(t.Context(), b, backend.Pack, "other"); status != 404 && status != 410 {
			require.Error(t, err)
		}
	}
	s.intercept(t, nil)
	got, err := load(t, b, h, 0, -1)
	require.NoError(t, err)
	require.Equal(t, "content", got)
}

// A portal that answers everything with a page must not be taken for a server that stores files.
func TestPageOfAPortal(t *testing.T) {
	s := newServer()
	b := opened(t, s)
	h, err := save(t.Context(), b, backend.Pack, "content")
	require.NoError(t, err)
	page := func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<html>please log in</html>")
		return true
	}
	s.intercept(t, page)
	_, err = load(t, b, h, 0, -1)
	require.ErrorContains(t, err, "HTML page")
	_, err = b.Stat(t.Context(), h)
	require.ErrorContains(t, err, "HTML page")
	_, err = list(t, b, backend.Pack)
	require.ErrorContains(t, err, "HTML page")
	require.ErrorContains(t, b.Remove(t.Context(), h), "HTML page")
	s.intercept(t, func(w http.ResponseWriter, r *http.Request) bool { return r.Method == http.MethodPost && page(w, r) })
	_, err = save(t.Context(), b, backend.Pack, "other")
	require.ErrorContains(t, err, "HTML page")
}

func TestWrongAnswersToLoad(t *testing.T) {
	s := newServer()
	b := opened(t, s)
	h, err := save(t.Context(), b, backend.Pack, "0123456789")
	require.NoError(t, err)
	for name, c := range map[string]struct {
		status int
		header map[string]string
		body   string
		off, n int64
		want   string // "": an error
	}{
		"whole for a range":    {200, nil, "0123456789", 2, 3, "234"},
		"whole, too short":     {200, nil, "0123", 2, 3, ""},
		"truncated":            {200, map[string]string{"Content-Length": "10"}, "0123", 0, -1, ""},
		"truncated range":      {206, map[string]string{"Content-Range": "bytes 2-4/10", "Content-Length": "3"}, "23", 2, 3, ""},
		"another range":        {206, map[string]string{"Content-Range": "bytes 0-2/10"}, "012", 2, 3, ""},
		"shorter range":        {206, map[string]string{"Content-Range": "bytes 2-3/10"}, "23", 2, 3, ""},
		"longer range":         {206, map[string]string{"Content-Range": "bytes 2-5/10"}, "2345", 2, 3, ""},
		"past the end":         {206, map[string]string{"Content-Range": "bytes 2-3/4"}, "23", 2, 3, ""},
		"range without size":   {206, map[string]string{"Content-Range": "bytes 2-4/*"}, "234", 2, 3, ""},
		"no range named":       {206, nil, "234", 2, 3, ""},
		"length and range":     {206, map[string]string{"Content-Range": "bytes 2-4/10"}, "2345", 2, 3, ""},
		"range for whole":      {206, map[string]string{"Content-Range": "bytes 0-2/10"}, "012", 0, -1, ""},
		"whole with a range":   {200, map[string]string{"Content-Range": "bytes 2-4/10"}, "234", 2, 3, ""},
		"other success":        {204, nil, "", 0, -1, ""},
		"compressed by others": {200, map[string]string{"Content-Encoding": "gzip"}, "0123456789", 0, -1, ""},
		"unsatisfiable":        {416, nil, "", 2, 3, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s.intercept(t, func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodGet {
					return false
				}
				for k, v := range c.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
				return true
			})
			got, err := load(t, b, h, c.off, c.n)
			if c.want == "" {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestWrongLists(t *testing.T) {
	s := newServer()
	b := opened(t, s)
	name := backendtest.HandleOf(backend.Pack, nil).Name
	for body, want := range map[string]int{
		`null`: 0, `[]`: 0, `[{"name":"` + name + `","size":3},{"name":"` + name + `","size":3},{"name":"x","size":1}]`: 1,
		``: -1, `{}`: -1, `[{"name":"` + name + `","size":3}`: -1, `[{"name":"` + name + `","size":-3}]`: -1, `["a",3]`: -1, `Not a list`: -1,
	} {
		s.intercept(t, func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.WriteString(w, body)
			return true
		})
		names, err := list(t, b, backend.Pack)
		if want < 0 {
			require.Error(t, err, body)
			continue
		}
		require.NoError(t, err, body)
		require.Len(t, names, want, body)
	}
	// A connection that is cut inside the list.
	s.intercept(t, func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.WriteString(w, `[{"name":"`+name+`","size":3},`)
		require.NoError(t, http.NewResponseController(w).Flush())
		panic(http.ErrAbortHandler)
	})
	_, err := list(t, b, backend.Pack)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// A server that writes in place keeps what has arrived when the connection breaks; nobody must ever take that for the file.
func TestPartOfAnUploadIsRemoved(t *testing.T) {
	s := newServer()
	b := opened(t, s)
	content := bytes.Repeat([]byte("x"), 1<<20)
	h := backendtest.HandleOf(backend.Pack, content)
	s.intercept(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || r.URL.RawQuery != "" {
			return false
		}
		s.mu.Lock()
		s.files[r.URL.Path] = []byte("xx")
		s.mu.Unlock()
		panic(http.ErrAbortHandler)
	})
	require.Error(t, b.Save(t.Context(), h, bytes.NewReader(content), int64(len(content))))
	_, err := b.Stat(t.Context(), h)
	require.ErrorIs(t, err, fs.ErrNotExist)

	// An acknowledgement that got lost: the file is complete, and stays.
	s.intercept(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || r.URL.RawQuery != "" {
			return false
		}
		s.post(w, r)
		panic(http.ErrAbortHandler)
	})
	require.Error(t, b.Save(t.Context(), h, bytes.NewReader(content), int64(len(content))))
	fi, err := b.Stat(t.Context(), h)
	require.NoError(t, err)
	require.Equal(t, int64(len(content)), fi.Size)
}

func TestRedirects(t *testing.T) {
	elsewhere := newServer()
	var leaked []string
	elsewhere.intercept(t, func(w http.ResponseWriter, r *http.Request) bool {
		leaked = append(leaked, r.Header.Get("Authorization"))
		return false
	})
	other := start(t, elsewhere)
	s := newServer()
	s.password = "secret"
	srv := start(t, s)
	b, err := rest.Open(t.Context(), rest.Config{URL: srv.URL + "/repo", Username: "user", Password: "secret"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	h, err := save(t.Context(), b, backend.Pack, "p")
	require.NoError(t, err)

	s.intercept(t, func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
		return true
	})
	_, err = load(t, b, h, 0, -1)
	require.ErrorContains(t, err, "it redirects to "+other.URL)
	_, err = save(t.Context(), b, backend.Pack, "q")
	require.Error(t, err)
	require.Empty(t, leaked)

	// On the same server, what reads may move; a POST must not turn into a GET.
	s.intercept(t, func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/moved") {
			r.URL.Path = strings.TrimPrefix(r.URL.Path, "/moved")
			return false
		}
		if r.Method == http.MethodPost || r.Method == http.MethodGet {
			http.Redirect(w, r, "/moved"+r.URL.Path, http.StatusFound)
			return true
		}
		return false
	})
	got, err := load(t, b, h, 0, -1)
	require.NoError(t, err)
	require.Equal(t, "p", got)
	_, err = save(t.Context(), b, backend.Pack, "q")
	require.ErrorContains(t, err, "302 Found")
}

func TestCredentials(t *testing.T) {
	s := newServer()
	s.password = "s3cret"
	srv := start(t, s)
	try := func(c rest.Config) error {
		b, err := rest.Open(t.Context(), c)
		require.NoError(t, err)
		defer func() { require.NoError(t, b.Close()) }()
		_, err = b.Stat(t.Context(), backend.Handle{Type: backend.Config})
		return err
	}
	with := func(user, password string) string {
		return strings.Replace(srv.URL, "http://", "http://"+user+":"+password+"@", 1)
	}
	for _, c := range []rest.Config{
		{URL: with("user", "s3cret")},
		{URL: srv.URL, Username: "user", Password: "s3cret"},
		{URL: srv.URL, Settings: values(map[string]string{"RESTIC_REST_USERNAME": "user", "RESTIC_REST_PASSWORD": "s3cret"})},
		{URL: srv.URL, Settings: values(map[string]string{"REST_SERVER_USERNAME": "user", "REST_SERVER_PASSWORD": "s3cret"})},
	} {
		require.ErrorIs(t, try(c), fs.ErrNotExist)
	}
	b, err := rest.Open(t.Context(), rest.Config{URL: with("user", "wr0ng")})
	require.NoError(t, err)
	_, err = load(t, b, backend.Handle{Type: backend.Config}, 0, -1)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "401 Unauthorized: no entry for user with xxxxx")
	require.NotContains(t, err.Error(), "wr0ng")
	srv.Close()
	_, err = b.Stat(t.Context(), backend.Handle{Type: backend.Config})
	require.ErrorContains(t, err, "connection refused")
	require.NotContains(t, err.Error(), "wr0ng")
	require.NoError(t, b.Close())
	require.ErrorIs(t, b.Close(), fs.ErrClosed)
	_, err = b.Stat(t.Context(), backend.Handle{Type: backend.Config})
	require.ErrorIs(t, err, fs.ErrClosed)
}

func TestOpener(t *testing.T) {
	var m backend.Mux
	m.Handle("rest", rest.Opener)
	for _, url := range []string{
		"rest:", "rest:/path", "rest:ftp://user:secret@host/", "rest:http://user:secret@ho st/", "rest:https://user:secret@host/?query",
		"rest:http+unix://user:secret", "rest:http+unix:///no-path",
	} {
		_, err := m.Open(t.Context(), url, nil)
		require.ErrorContains(t, err, "open rest: ", url)
		require.NotContains(t, err.Error(), "secret")
	}
	b, err := m.Open(t.Context(), "rest:http://localhost", &backend.Settings{Connections: 3})
	require.NoError(t, err)
	require.Equal(t, 3, backend.Connections(b))
	require.NoError(t, b.Close())
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	_, err = m.Open(ctx, "rest:http://localhost", nil)
	require.ErrorIs(t, err, cause)
}

func TestUnixSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	s := newServer()
	h := httptest.NewUnstartedServer(s)
	require.NoError(t, h.Listener.Close())
	h.Listener = l
	h.Start()
	t.Cleanup(h.Close)
	b, err := rest.Opener(t.Context(), "http+unix://"+socket+":/repo", values(map[string]string{"HTTP_PROXY": "http://127.0.0.1:1"}))
	require.NoError(t, err)
	_, err = save(t.Context(), b, backend.Config, "c")
	require.NoError(t, err)
	require.Contains(t, s.files, "/repo/config")
	require.NoError(t, b.Close())
}

func TestOwnAuthority(t *testing.T) {
	s := newServer()
	h := httptest.NewUnstartedServer(s)
	h.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
	h.StartTLS()
	t.Cleanup(h.Close)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw}))
	b, err := rest.Opener(t.Context(), h.URL+"/repo", values(map[string]string{"CA_CERT_DATA": ca}))
	require.NoError(t, err)
	_, err = save(t.Context(), b, backend.Config, "c")
	require.NoError(t, err)
	require.NoError(t, b.Close())
	b, err = rest.Opener(t.Context(), h.URL+"/repo", values(nil))
	require.NoError(t, err)
	_, err = save(t.Context(), b, backend.Config, "c")
	require.ErrorContains(t, err, "certificate")
	require.NoError(t, b.Close())
}

// A server that goes silent must not hold a caller who no longer waits.
func TestSilentServer(t *testing.T) {
	s := newServer()
	b := opened(t, s)
	h, err := save(t.Context(), b, backend.Pack, "content")
	require.NoError(t, err)
	cause := errors.New("enough")
	for name, call := range map[string]func(ctx context.Context) error{
		"save": func(ctx context.Context) error { _, err := save(ctx, b, backend.Pack, "other"); return err },
		"stat": func(ctx context.Context) error { _, err := b.Stat(ctx, h); return err },
		"list": func(ctx context.Context) error {
			for _, err := range b.List(ctx, backend.Pack) {
				return err
			}
			return nil
		},
		"load": func(ctx context.Context) error {
			r, err := b.Load(ctx, h, 0, -1)
			if err != nil {
				return err
			}
			_, err = io.ReadAll(r)
			return errors.Join(err, r.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			s.intercept(t, func(w http.ResponseWriter, r *http.Request) bool {
				cancel(cause)
				if r.Method == http.MethodGet {
					w.Header().Set("Content-Length", fmt.Sprint(len("content")))
					_, _ = io.WriteString(w, "c")
					_ = http.NewResponseController(w).Flush() // fails if the client is gone
				}
				<-r.Context().Done()
				return true
			})
			require.ErrorIs(t, call(ctx), cause)
		})
	}
}
