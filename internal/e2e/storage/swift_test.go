package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/resticcli"
	"github.com/escrow-backup/escrow/internal/e2e/servers"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/swift"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// openSwift opens a place in the account, as a program would. The container need not exist.
func openSwift(t testing.TB, s *servers.Swift, place string, set *backend.Settings) backend.Backend {
	t.Helper()
	var m backend.Mux
	m.Handle("swift", swift.Opener)
	b, err := m.Open(t.Context(), "swift:"+place, set)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() }) // the conformance suite has closed it
	return b
}

// One server is enough for all tests: it takes some seconds to start.
func TestSwift(t *testing.T) {
	s := servers.StartSwift(t)
	for _, c := range []struct {
		name string
		fn   func(t *testing.T, s *servers.Swift)
	}{
		{"Conformance", swiftConformance},
		{"Container", swiftContainer},
		{"Permission", swiftPermission},
		{"Pages", swiftPages},
		{"BrokenUpload", swiftBrokenUpload},
		{"Restic", swiftRestic},
		{"ServerGone", swiftServerGone}, // for good
	} {
		t.Run(c.name, func(t *testing.T) { c.fn(t, s) })
	}
}

func swiftConformance(t *testing.T, s *servers.Swift) {
	place := func(t *testing.T) backend.Backend {
		return openSwift(t, s, "conformance:/prefix/"+t.Name(), s.Settings(s.User, s.Password))
	}
	backendtest.Run(t, place, &backendtest.Options{
		ListEntries: 300, // each takes the server some 20 ms of CPU; pages have a test of their own
		Reopen:      func(t *testing.T, _ backend.Backend) backend.Backend { return place(t) },
		Forbidden: func(t *testing.T) backend.Backend {
			strange := s.Settings(s.Stranger, s.Password)
			strange.Lookup = withToken(t, s, strange.Lookup)
			return openSwift(t, s, "conformance:/", strange)
		},
	})
}

// swiftRequest asks the server behind the driver's back and returns the header of a success.
func swiftRequest(t testing.TB, s *servers.Swift, method, path string, header ...string) http.Header {
	t.Helper()
	send := func(method, url string, header ...string) http.Header {
		req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
		require.NoError(t, err)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Less(t, resp.StatusCode, 300, "%s %s: %s", method, url, resp.Status)
		return resp.Header
	}
	token := send(http.MethodGet, s.AuthURL, "X-Auth-User", s.User, "X-Auth-Key", s.Password).Get("X-Auth-Token")
	return send(method, s.URL+path, append(header, "X-Auth-Token", token)...)
}

func swiftContainer(t *testing.T, s *servers.Swift) {
	set := s.Settings(s.User, s.Password)
	lookup := set.Lookup
	set.Lookup = func(key string) (string, bool) {
		if key == "SWIFT_DEFAULT_CONTAINER_POLICY" {
			return "silver", true
		}
		return lookup(key)
	}
	b := openSwift(t, s, "container with a ?:/pre fix", set)
	for op, err := range s3EveryCall(t, openSwift(t, s, "nowhere:/", set)) {
		if op == "stat" || op == "load" {
			require.ErrorIs(t, err, fs.ErrNotExist, op)
			continue
		}
		require.NoError(t, err, op) // a list of nothing; Save makes the container, Remove removes what is in it
	}
	h := s3Put(t, b, backend.Pack, "content")
	require.Equal(t, "content", s3Get(t, b, h))
	header := swiftRequest(t, s, http.MethodHead, "/container%20with%20a%20%3F")
	require.Equal(t, "silver", header.Get("X-Storage-Policy"))
	require.Equal(t, "1", header.Get("X-Container-Object-Count"))
	header = swiftRequest(t, s, http.MethodHead, "/container%20with%20a%20%3F/pre%20fix/"+h.Path())
	require.Equal(t, "9a0364b9e99bb480dd25e1f0284c8555", header.Get("ETag"))
}

// The server's answer to somebody who may not is never taken for an absence.
func swiftPermission(t *testing.T, s *servers.Swift) {
	owner := openSwift(t, s, "private:/", s.Settings(s.User, s.Password))
	h := s3Put(t, owner, backend.Pack, "content")
	for op, err := range s3EveryCall(t, openSwift(t, s, "private:/", s.Settings(s.User, "wr0ng"))) {
		require.ErrorIs(t, err, fs.ErrPermission, op)
		require.NotContains(t, err.Error(), "wr0ng")
	}
	// Another's account is reached with a storage URL that is not the one's own.
	strange := s.Settings(s.Stranger, s.Password)
	strange.Lookup = withToken(t, s, strange.Lookup)
	stranger := openSwift(t, s, "private:/", strange)
	for op, err := range s3EveryCall(t, stranger) {
		require.ErrorIs(t, err, fs.ErrPermission, op)
		require.NotErrorIs(t, err, fs.ErrNotExist, op)
	}
	// Who may read only, reads.
	swiftRequest(t, s, http.MethodPost, "/private", "X-Container-Read", "other:stranger")
	require.Equal(t, "content", s3Get(t, stranger, h))
	for op, err := range s3EveryCall(t, stranger) {
		if op == "save" || op == "remove" {
			require.ErrorIs(t, err, fs.ErrPermission, op)
		}
	}
	require.Equal(t, "content", s3Get(t, owner, h))
}

// withToken gives the account of s, and a token of the user that lookup knows, as OS_STORAGE_URL and OS_AUTH_TOKEN.
func withToken(t testing.TB, s *servers.Swift, lookup func(string) (string, bool)) func(string) (string, bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.AuthURL, nil)
	require.NoError(t, err)
	user, _ := lookup("ST_USER")
	password, _ := lookup("ST_KEY")
	req.Header.Set("X-Auth-User", user)
	req.Header.Set("X-Auth-Key", password)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return func(key string) (string, bool) {
		v, found := map[string]string{"OS_STORAGE_URL": s.URL, "OS_AUTH_TOKEN": resp.Header.Get("X-Auth-Token")}[key]
		return v, found
	}
}

// The list of a container that has more than a page of the server's is whole.
func swiftPages(t *testing.T, s *servers.Swift) {
	b := openSwift(t, s, "pages:/p", s.Settings(s.User, s.Password))
	want := map[backend.Handle]bool{}
	for i := range 7 {
		want[s3Put(t, b, backend.Pack, fmt.Sprint(i))] = true
	}
	pages := &shortPages{limit: "3"}
	c := swift.Config{Container: "pages", Prefix: "p", Settings: s.Settings(s.User, s.Password), Transport: pages}
	short, err := swift.Open(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, short.Close()) })
	for fi, err := range short.List(t.Context(), backend.Pack) {
		require.NoError(t, err)
		require.True(t, want[fi.Handle])
		delete(want, fi.Handle)
	}
	require.Empty(t, want)
	require.Equal(t, 4, pages.n) // the last is empty
}

// shortPages asks the server for lists of a few objects.
type shortPages struct {
	limit string
	n     int
}

func (p *shortPages) RoundTrip(r *http.Request) (*http.Response, error) {
	if q := r.URL.Query(); q.Get("format") == "json" {
		p.n++
		q.Set("limit", p.limit)
		r = r.Clone(r.Context())
		r.URL.RawQuery = q.Encode()
	}
	return http.DefaultTransport.RoundTrip(r)
}

// An upload that is broken off, or whose bytes change on their way, leaves nothing behind.
func swiftBrokenUpload(t *testing.T, s *servers.Swift) {
	b := openSwift(t, s, "broken:/", s.Settings(s.User, s.Password))
	s3Put(t, b, backend.Config, "config")
	content := s3Noise(0, 30<<20)
	h := backendtest.HandleOf(backend.Pack, content)
	gone := func() {
		_, err := b.Stat(t.Context(), h)
		require.ErrorIs(t, err, fs.ErrNotExist)
		for fi, err := range b.List(t.Context(), backend.Pack) {
			require.NoError(t, err)
			t.Fatal(fi)
		}
		require.Equal(t, "1", swiftRequest(t, s, http.MethodHead, "/broken").Get("X-Container-Object-Count"))
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	cause := errors.New("the cause")
	err := b.Save(ctx, h, &tripwire{r: bytes.NewReader(content), at: int64(len(content)) * 3 / 2, trip: func() { cancel(cause) }}, int64(len(content)))
	require.ErrorIs(t, err, cause)
	gone()

	// The second pass over the body reads something else than the first: as if it were damaged on its way.
	damaged := &tripwire{r: bytes.NewReader(content), at: int64(len(content)) * 3 / 2}
	other := bytes.Clone(content)
	damaged.trip = func() { damaged.r = bytes.NewReader(other) }
	other[len(other)-1] ^= 1
	err = b.Save(t.Context(), h, damaged, int64(len(content)))
	require.ErrorContains(t, err, "422")
	gone()
	require.NoError(t, b.Save(t.Context(), h, bytes.NewReader(content), int64(len(content))))
}

func swiftServerGone(t *testing.T, s *servers.Swift) {
	b := openSwift(t, s, "gone:/", s.Settings(s.User, s.Password))
	s3Put(t, b, backend.Pack, "content")
	s.Kill()
	for op, err := range s3EveryCall(t, b) {
		require.ErrorContains(t, err, "connection refused", op)
		require.NotErrorIs(t, err, fs.ErrNotExist, op)
	}
}

func swiftRestic(t *testing.T, s *servers.Swift) {
	for place, initialise := range map[string]func(t testing.TB, b backend.Backend, restic *resticcli.CLI){
		"ours:/a/b": initOurs, "theirs:/": initTheirs,
	} {
		t.Run(strings.Trim(place, ":/"), func(t *testing.T) {
			restic := resticcli.New(t, "swift:"+place, string(repositorytest.Password))
			restic.Env = s.Env()
			b := openSwift(t, s, place, s.Settings(s.User, s.Password))
			initialise(t, b, restic)
			resticAgrees(t, b, restic)
		})
	}
}
