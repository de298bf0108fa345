package swift_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/swift"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// values are settings that come from nowhere else.
func values(m map[string]string) *backend.Settings {
	return &backend.Settings{Lookup: func(key string) (string, bool) {
		v, ok := m[key]
		return v, ok
	}}
}

// login are the settings of version 1 of the protocol, with changes: keys and values in turn.
func (s *server) login(changes ...string) *backend.Settings {
	m := map[string]string{"ST_AUTH": s.url + "/auth/v1.0", "ST_USER": "test:tester", "ST_KEY": "s3cret"}
	for i := 0; i < len(changes); i += 2 {
		m[changes[i]] = changes[i+1]
	}
	return values(m)
}

// open opens a repository as a program would, by its URL. The end of the test closes it.
func open(t *testing.T, location string, s *backend.Settings) backend.Backend {
	t.Helper()
	var m backend.Mux
	m.Handle("swift", swift.Opener)
	b, err := m.Open(t.Context(), "swift:"+location, s)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() }) // the conformance suite has closed it
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

func list(t *testing.T, b backend.Backend, typ backend.FileType) (files []backend.FileInfo, err error) {
	t.Helper()
	for fi, err := range b.List(t.Context(), typ) {
		if err != nil {
			return files, err
		}
		files = append(files, fi)
	}
	return files, nil
}

// everyCall makes each call once and returns the errors by operation.
func everyCall(t *testing.T, b backend.Backend) map[string]error {
	h, saveErr := save(t.Context(), b, backend.Pack, "x")
	_, loadErr := load(t, b, h, 0, -1)
	_, statErr := b.Stat(t.Context(), h)
	_, listErr := list(t, b, backend.Pack)
	return map[string]error{"save": saveErr, "load": loadErr, "stat": statErr, "list": listErr, "remove": b.Remove(t.Context(), h)}
}

func TestConformance(t *testing.T) {
	s := start(t)
	place := func(t *testing.T) backend.Backend { return open(t, "container:/a prefix%/"+t.Name(), s.login()) }
	backendtest.Run(t, place, &backendtest.Options{
		ListEntries: 200,
		LargeFile:   4 << 20,
		Reopen:      func(t *testing.T, _ backend.Backend) backend.Backend { return place(t) },
		Forbidden:   func(t *testing.T) backend.Backend { return open(t, "forbidden:/", s.login()) },
	})
}

func TestLayout(t *testing.T) {
	s := start(t)
	for location, prefix := range map[string]string{"top:/": "", "below:/a/b/": "a/b/", "odd:/ä ?#%/b": "ä ?#%/b/"} {
		b := open(t, location, s.login("SWIFT_DEFAULT_CONTAINER_POLICY", "silver"))
		h, err := save(t.Context(), b, backend.Pack, "content")
		require.NoError(t, err)
		_, err = save(t.Context(), b, backend.Config, "config")
		require.NoError(t, err)
		container, _, _ := strings.Cut(location, ":")
		content, _ := s.object(container, prefix+"data/"+h.Name[:2]+"/"+h.Name)
		require.Equal(t, "content", string(content))
		content, _ = s.object(container, prefix+"config")
		require.Equal(t, "config", string(content))
		require.Equal(t, "silver", s.containers[container].policy)
		files, err := list(t, b, backend.Config)
		require.NoError(t, err)
		require.Equal(t, []backend.FileInfo{{Handle: backend.Handle{Type: backend.Config}, Size: 6}}, files)
	}
	require.Equal(t, 5, backend.Connections(open(t, "c:/", s.login())))
}

// Whoever opens a repository that is not there creates nothing.
func TestContainerIsCreatedBySave(t *testing.T) {
	s := start(t)
	b := open(t, "container:/", s.login())
	_, err := b.Stat(t.Context(), backend.Handle{Type: backend.Config})
	require.ErrorIs(t, err, fs.ErrNotExist)
	files, err := list(t, b, backend.Pack)
	require.NoError(t, err)
	require.Empty(t, files)
	require.Empty(t, s.containers)
	_, err = save(t.Context(), b, backend.Key, "k")
	require.NoError(t, err)
	require.Empty(t, s.containers["container"].policy)

	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/other") {
			refuse(w, http.StatusForbidden)
			return true
		}
		return false
	})
	_, err = save(t.Context(), open(t, "other:/", s.login()), backend.Key, "k")
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, `create container "other": `)
}

func TestPermission(t *testing.T) {
	s := start(t)
	for name, b := range map[string]backend.Backend{
		"not ours":      open(t, "forbidden:/", s.login()),
		"wrong key":     open(t, "container:/", s.login("ST_KEY", "wr0ng")),
		"refused token": open(t, "container:/", values(map[string]string{"OS_STORAGE_URL": s.url + "/v1/AUTH_test", "OS_AUTH_TOKEN": "wr0ng"})),
	} {
		for op, err := range everyCall(t, b) {
			require.ErrorIs(t, err, fs.ErrPermission, "%s: %s", name, op)
			require.NotErrorIs(t, err, fs.ErrNotExist)
			require.NotContains(t, err.Error(), "wr0ng")
			require.NotContains(t, err.Error(), "s3cret")
		}
	}
}

func TestStatuses(t *testing.T) {
	s := start(t)
	b := open(t, "container:/", s.login())
	h, err := save(t.Context(), b, backend.Pack, "content")
	require.NoError(t, err)
	for status, target := range map[int]error{
		401: fs.ErrPermission, 403: fs.ErrPermission, 405: fs.ErrPermission, 404: fs.ErrNotExist, 410: fs.ErrNotExist,
		413: nil, 429: nil, 498: nil, 500: nil, 503: nil,
	} {
		s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/auth/") {
				return false
			}
			w.Header().Set("Retry-After", "7")
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("X-Trans-Id", "tx4711")
			w.WriteHeader(status)
			fmt.Fprintf(w, "%s had too many\n%s", r.Header.Get("X-Auth-Token"), strings.Repeat("words ", 20<<10))
			return true
		})
		_, loadErr := load(t, b, h, 0, -1)
		_, rangeErr := load(t, b, h, 2, 3)
		_, statErr := b.Stat(t.Context(), h)
		for _, err := range []error{loadErr, rangeErr, statErr, b.Remove(t.Context(), h)} {
			var said interface {
				StatusCode() int
				RetryAfter() time.Duration
			}
			require.ErrorAs(t, err, &said)
			require.Equal(t, status, said.StatusCode())
			require.Equal(t, 7*time.Second, said.RetryAfter())
			for _, sentinel := range []error{fs.ErrPermission, fs.ErrNotExist, fs.ErrExist} {
				require.Equal(t, sentinel == target, errors.Is(err, sentinel), "%d: %v", status, err)
			}
			require.Less(t, len(err.Error()), 500)
			require.NotContains(t, err.Error(), "token-")
			require.Contains(t, err.Error(), `transaction "tx4711"`)
		}
		_, err := save(t.Context(), b, backend.Pack, "other")
		require.Error(t, err)
		if _, err := list(t, b, backend.Pack); status != 404 && status != 410 {
			require.Error(t, err)
		}
	}
}

// A page of a portal, or an answer that no Swift gives, must not be taken for success.
func TestWrongAnswers(t *testing.T) {
	s := start(t)
	b := open(t, "container:/", s.login())
	h, err := save(t.Context(), b, backend.Pack, "0123456789")
	require.NoError(t, err)
	answer := func(status int, body string, header ...string) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
			return true
		}
	}
	s.intercept(answer(200, "<html>please log in</html>", "Content-Type", "text/html"))
	for op, err := range everyCall(t, b) {
		require.Error(t, err, op)
	}
	for name, c := range map[string]struct {
		off, n int64
		fn     func(w http.ResponseWriter, r *http.Request) bool
	}{
		"whole for a range":    {2, 3, answer(200, "0123456789")},
		"truncated":            {0, -1, answer(200, "0123", "Content-Length", "10")},
		"truncated range":      {2, 3, answer(206, "23", "Content-Length", "3", "Content-Range", "bytes 2-4/10")},
		"another range":        {2, 3, answer(206, "012", "Content-Range", "bytes 0-2/10")},
		"shorter range":        {2, 3, answer(206, "23", "Content-Range", "bytes 2-3/10")},
		"no range named":       {2, 3, answer(206, "234")},
		"range for whole":      {0, -1, answer(200, "012", "Content-Range", "bytes 0-2/10")},
		"other success":        {0, -1, answer(204, "")},
		"compressed by others": {0, -1, answer(200, "0123456789", "Content-Encoding", "gzip")},
		"without a length":     {0, -1, answer(200, strings.Repeat("x", 100<<10))},
		"unsatisfiable": {2, 3, func(w http.ResponseWriter, r *http.Request) bool {
			return r.Method == http.MethodGet && answer(416, "")(w, r)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s.intercept(c.fn)
			_, err := load(t, b, h, c.off, c.n)
			require.Error(t, err)
		})
	}
	for name, fn := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"another content": answer(201, "", "ETag", `"d41d8cd98f00b204e9800998ecf8427e"`),
		"no content":      answer(201, ""),
		"accepted":        answer(202, ""),
	} {
		s.intercept(func(w http.ResponseWriter, r *http.Request) bool { return r.Method == http.MethodPut && fn(w, r) })
		_, err := save(t.Context(), b, backend.Pack, name)
		require.Error(t, err, name)
	}
}

func TestWrongLists(t *testing.T) {
	s := start(t)
	b := open(t, "container:/", s.login())
	name := func(i int) string { return backendtest.HandleOf(backend.Pack, []byte{byte(i)}).Path() }
	for body, want := range map[string]string{
		``:                             "unexpected end of JSON",
		`{}`:                           "cannot unmarshal",
		`[{"name":"data/x","bytes":3}`: "unexpected end of JSON",
		`[{"name":"` + name(0) + `"}]`: "does not say its size",
		`[{"name":"` + name(0) + `","bytes":-1}]`:                         "does not say its size",
		`[{"subdir":"data/"}]`:                                            "not in order",
		`[{"name":"data/b","bytes":1},{"name":"data/a","bytes":1}]`:       "not in order",
		`[{"name":"data/x","bytes":3},{"name":"data/x","bytes":3}]`:       "not in order",
		`[{"name":"data/x","bytes":3},{"name":"data/y","bytes":"three"}]`: "cannot unmarshal",
	} {
		s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Get("marker") != "" {
				t.Error("another page is asked for")
			}
			if r.Method == http.MethodGet && !strings.HasPrefix(r.URL.Path, "/auth/") {
				_, _ = io.WriteString(w, body)
				return true
			}
			return false
		})
		_, err := list(t, b, backend.Pack)
		require.ErrorContains(t, err, want, body)
	}
	// A connection that is cut inside the list, and a container that goes away between two pages.
	s.intercept(nil)
	for i := range 2 * page {
		_, err := save(t.Context(), b, backend.Pack, fmt.Sprint(i))
		require.NoError(t, err)
	}
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("marker") != "" {
			_, _ = io.WriteString(w, `[{"name":`)
			require.NoError(t, http.NewResponseController(w).Flush())
			panic(http.ErrAbortHandler)
		}
		return false
	})
	files, err := list(t, b, backend.Pack)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Len(t, files, page)
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("marker") != "" {
			refuse(w, http.StatusNotFound)
			return true
		}
		return false
	})
	files, err = list(t, b, backend.Pack)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Len(t, files, page)
}

// Another process may save the same file after the look, and an acknowledgement may get lost.
func TestOthersSaveTheSame(t *testing.T) {
	s := start(t)
	b := open(t, "container:/", s.login())
	h, err := save(t.Context(), b, backend.Pack, "p")
	require.NoError(t, err)
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodHead {
			refuse(w, http.StatusNotFound)
			return true
		}
		return false
	})
	_, err = save(t.Context(), b, backend.Pack, "p")
	require.ErrorIs(t, err, fs.ErrExist)
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			s.serveObject(httptest.NewRecorder(), r, "container", strings.TrimPrefix(r.URL.Path, "/v1/AUTH_test/container/"))
			panic(http.ErrAbortHandler)
		}
		return false
	})
	content := bytes.Repeat([]byte("x"), 1<<20)
	other := backendtest.HandleOf(backend.Pack, content)
	require.Error(t, b.Save(t.Context(), other, bytes.NewReader(content), int64(len(content))))
	s.intercept(nil)
	for want := range maps.Keys(map[backend.Handle]bool{h: true, other: true}) {
		_, err := b.Stat(t.Context(), want)
		require.NoError(t, err)
	}
	require.ErrorIs(t, b.Save(t.Context(), other, bytes.NewReader(content), int64(len(content))), fs.ErrExist)
}

// A server that goes silent must not hold a caller who no longer waits.
func TestSilentServer(t *testing.T) {
	s := start(t)
	b := open(t, "container:/", s.login())
	h, err := save(t.Context(), b, backend.Pack, "content")
	require.NoError(t, err)
	cause := errors.New("enough")
	for name, call := range map[string]func(ctx context.Context, b backend.Backend) error{
		"save": func(ctx context.Context, b backend.Backend) error {
			_, err := save(ctx, b, backend.Pack, "other")
			return err
		},
		"stat":   func(ctx context.Context, b backend.Backend) error { _, err := b.Stat(ctx, h); return err },
		"load":   func(ctx context.Context, b backend.Backend) error { _, err := b.Load(ctx, h, 0, -1); return err },
		"remove": func(ctx context.Context, b backend.Backend) error { return b.Remove(ctx, h) },
		"list": func(ctx context.Context, b backend.Backend) error {
			for _, err := range b.List(ctx, backend.Pack) {
				return err
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, b := range []backend.Backend{b, open(t, "container:/", s.login())} { // the second has to authenticate first
				ctx, cancel := context.WithCancelCause(t.Context())
				s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
					cancel(cause)
					<-r.Context().Done()
					return true
				})
				require.ErrorIs(t, call(ctx, b), cause)
			}
		})
	}
}

// Swift's tempauth refuses a HEAD in chunks, of which the last comes though there must be none.
func TestRefusalInChunks(t *testing.T) {
	log.SetOutput(io.Discard) // net/http says what it found
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	s := start(t)
	b := open(t, "container:/", s.login())
	h, err := save(t.Context(), b, backend.Pack, "content")
	require.NoError(t, err)
	for range 20 {
		s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodHead {
				return false
			}
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return true
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n")
			_, _ = io.WriteString(conn, "0\r\n\r\n") // whoever is gone by now has heard enough
			go func() {
				_, _ = io.Copy(io.Discard, conn) // until the client closes it
				_ = conn.Close()
			}()
			return true
		})
		_, err := b.Stat(t.Context(), h)
		require.ErrorIs(t, err, fs.ErrPermission)
		s.intercept(nil)
		require.NoError(t, b.Remove(t.Context(), h))
		_, err = save(t.Context(), b, backend.Pack, "content")
		require.NoError(t, err)
	}
}

func ExampleOpener() {
	var m backend.Mux
	m.Handle("swift", swift.Opener)
	b, err := m.Open(context.Background(), "swift:backups:/elasticsearch", &backend.Settings{
		Lookup: func(key string) (string, bool) { // default: the environment
			v, found := map[string]string{
				"OS_AUTH_URL": "https://keystone.example.org/v3", "OS_USERNAME": "backup", "OS_PASSWORD": "secret",
				"OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_NAME": "search",
			}[key]
			return v, found
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(backend.Connections(b), b.Close())
	// Output: 5 <nil>
}
