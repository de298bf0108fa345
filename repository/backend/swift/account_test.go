package swift_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/swift"
)

func TestTokensAreRenewed(t *testing.T) {
	s := start(t)
	b := open(t, "container:/", s.login())
	h, err := save(t.Context(), b, backend.Pack, "content")
	require.NoError(t, err)
	require.Len(t, s.logins, 1)
	s.revoke()
	for range 3 {
		got, err := load(t, b, h, 0, -1)
		require.NoError(t, err)
		require.Equal(t, "content", got)
	}
	require.Len(t, s.logins, 2)
	s.revoke()
	_, err = save(t.Context(), b, backend.Pack, "other") // whose body is read again
	require.NoError(t, err)

	// One that is about to expire is not used any more.
	s.mu.Lock()
	s.expires = time.Now().Add(10 * time.Second)
	s.mu.Unlock()
	b = open(t, "container:/", values(map[string]string{
		"OS_AUTH_URL": s.url + "/auth/v3", "OS_USERNAME": "u", "OS_PASSWORD": "s3cret", "OS_REGION_NAME": "one",
	}))
	_, err = b.Stat(t.Context(), h)
	require.ErrorContains(t, err, "authenticate at 127.0.0.1:")
}

// What each of restic's variables becomes in the request for a token.
func TestCredentials(t *testing.T) {
	s := start(t)
	v2, v3 := s.url+"/auth/v2.0", s.url+"/auth/v3"
	region := map[string]string{"OS_REGION_NAME": "one"}
	for name, c := range map[string]struct {
		env  map[string]string
		want string // method and body
	}{
		"v1": {map[string]string{"ST_AUTH": s.url + "/auth/v1.0", "ST_USER": "test:tester", "ST_KEY": "s3cret"}, "/auth/v1.0 test:tester s3cret"},
		"v2, tenant by name": {map[string]string{"OS_AUTH_URL": v2, "OS_USERNAME": "u", "OS_PASSWORD": "s3cret", "OS_TENANT_NAME": "t"},
			`/auth/v2.0/tokens {"auth":{"passwordCredentials":{"username":"u","password":"s3cret"},"tenantName":"t"}}`},
		"v2, tenant by id": {map[string]string{"OS_AUTH_URL": v2, "OS_USERNAME": "u", "OS_PASSWORD": "s3cret", "OS_TENANT_ID": "7"},
			`/auth/v2.0/tokens {"auth":{"passwordCredentials":{"username":"u","password":"s3cret"},"tenantId":"7"}}`},
		"v3, names": {map[string]string{"OS_AUTH_URL": v3, "OS_USERNAME": "u", "OS_PASSWORD": "s3cret", "OS_USER_DOMAIN_NAME": "d",
			"OS_PROJECT_NAME": "p", "OS_PROJECT_DOMAIN_NAME": "e"},
			`/auth/v3/auth/tokens {"auth":{"identity":{"methods":["password"],"password":{"user":{"domain":{"name":"d"},"name":"u","password":"s3cret"}}},` +
				`"scope":{"project":{"name":"p","domain":{"name":"e"}}}}}`},
		"v3, ids": {map[string]string{"OS_AUTH_URL": v3, "OS_USER_ID": "1", "OS_PASSWORD": "s3cret", "OS_USER_DOMAIN_ID": "2",
			"OS_PROJECT_NAME": "p", "OS_PROJECT_DOMAIN_ID": "3"},
			`/auth/v3/auth/tokens {"auth":{"identity":{"methods":["password"],"password":{"user":{"domain":{"id":"2"},"id":"1","password":"s3cret"}}},` +
				`"scope":{"project":{"name":"p","domain":{"id":"3"}}}}}`},
		"v3, trust": {map[string]string{"OS_AUTH_URL": v3, "OS_USERNAME": "u", "OS_PASSWORD": "s3cret", "OS_TRUST_ID": "9"},
			`/auth/v3/auth/tokens {"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"u","password":"s3cret"}}},` +
				`"scope":{"OS-TRUST:trust":{"id":"9"}}}}`},
		"v3, application credential by id": {map[string]string{"OS_AUTH_URL": v3, "OS_APPLICATION_CREDENTIAL_ID": "4",
			"OS_APPLICATION_CREDENTIAL_SECRET": "s3cret"},
			`/auth/v3/auth/tokens {"auth":{"identity":{"methods":["application_credential"],` +
				`"application_credential":{"id":"4","secret":"s3cret","user":{}}}}}`},
		"v3, application credential by name": {map[string]string{"OS_AUTH_URL": v3, "OS_APPLICATION_CREDENTIAL_NAME": "n", "OS_USER_ID": "1",
			"OS_APPLICATION_CREDENTIAL_SECRET": "s3cret"},
			`/auth/v3/auth/tokens {"auth":{"identity":{"methods":["application_credential"],` +
				`"application_credential":{"name":"n","secret":"s3cret","user":{"id":"1"}}}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			env := maps.Clone(region)
			maps.Copy(env, c.env)
			b := open(t, "credentials:/"+name, values(env))
			_, err := save(t.Context(), b, backend.Key, name)
			require.NoError(t, err)
			require.Equal(t, c.want, s.logins[len(s.logins)-1])
		})
	}

	// A token from elsewhere, with nobody to ask for another.
	n := len(s.logins)
	b := open(t, "credentials:/", values(map[string]string{"OS_STORAGE_URL": s.url + "/v1/AUTH_test/", "OS_AUTH_TOKEN": "token-1"}))
	_, err := save(t.Context(), b, backend.Key, "manual")
	require.NoError(t, err)
	require.Len(t, s.logins, n)

	// A region that is not there.
	b = open(t, "credentials:/", values(map[string]string{"OS_AUTH_URL": v3, "OS_USERNAME": "u", "OS_PASSWORD": "s3cret", "OS_REGION_NAME": "two"}))
	_, err = save(t.Context(), b, backend.Key, "k")
	require.ErrorContains(t, err, "is OS_REGION_NAME one of its regions")
	set := values(map[string]string{"OS_AUTH_URL": v3, "OS_USERNAME": "u", "OS_PASSWORD": "s3cret", "OS_REGION_NAME": "two"})
	set.Region = "one"
	_, err = save(t.Context(), open(t, "credentials:/", set), backend.Key, "k")
	require.NoError(t, err)
}

func TestOpener(t *testing.T) {
	var m backend.Mux
	m.Handle("swift", swift.Opener)
	good := map[string]string{"ST_AUTH": "http://127.0.0.1:1/auth/v1.0", "ST_USER": "u", "ST_KEY": "s3cret"}
	for _, location := range []string{"", "container", "container:prefix", ":/prefix", "con/tainer:/prefix"} {
		_, err := m.Open(t.Context(), "swift:"+location, values(good))
		require.ErrorContains(t, err, "open swift", location)
	}
	for text, env := range map[string]map[string]string{
		"neither OS_AUTH_URL nor ST_AUTH is set":         {},
		"nor both of OS_STORAGE_URL and OS_AUTH_TOKEN":   {"OS_STORAGE_URL": "http://127.0.0.1:1/v1"},
		"OS_STORAGE_URL: not a URL":                      {"OS_STORAGE_URL": "http://u:s3cret@127.0.0.1:1/v1", "OS_AUTH_TOKEN": "s3cret"},
		"OS_AUTH_URL or ST_AUTH: not a URL":              {"OS_AUTH_URL": "ftp://u:s3cret@host/"},
		"OS_AUTH_URL or ST_AUTH: its path names no":      {"ST_AUTH": "http://127.0.0.1:5000/"},
		"CA_CERT_DATA: no certificate in PEM form in it": {"ST_AUTH": "https://127.0.0.1:5000/v3", "CA_CERT_DATA": "x"},
	} {
		_, err := m.Open(t.Context(), "swift:container:/", values(env))
		require.ErrorContains(t, err, text)
		require.NotContains(t, err.Error(), "s3cret")
	}
	set := values(good)
	set.Connections = 3
	b, err := m.Open(t.Context(), "swift:container:/", set)
	require.NoError(t, err)
	require.Equal(t, 3, backend.Connections(b))
	require.NoError(t, b.Close())
	require.ErrorIs(t, b.Close(), fs.ErrClosed)
	for op, err := range everyCall(t, b) {
		require.ErrorIs(t, err, fs.ErrClosed, op)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	_, err = m.Open(ctx, "swift:container:/", values(good))
	require.ErrorIs(t, err, cause)
}

// Passwords and tokens go nowhere but where they belong.
func TestRedirects(t *testing.T) {
	var leaked []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leaked = append(leaked, r.Header.Get("X-Auth-Token")+r.Header.Get("X-Auth-Key"))
	}))
	t.Cleanup(elsewhere.Close)
	s := start(t)
	b := open(t, "container:/", s.login())
	_, err := save(t.Context(), b, backend.Key, "k")
	require.NoError(t, err)
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
		return true
	})
	for op, err := range everyCall(t, b) {
		require.ErrorContains(t, err, "it redirects", op)
	}
	_, err = save(t.Context(), open(t, "container:/", s.login()), backend.Key, "k")
	require.ErrorContains(t, err, "it redirects elsewhere, where credentials do not go")
	require.Empty(t, leaked)
}

// Who authenticates through TLS does not want the token to be sent without.
func TestStorageURLWithoutTLS(t *testing.T) {
	s := start(t)
	keystone := httptest.NewTLSServer(s)
	t.Cleanup(keystone.Close)
	set := s.login("ST_AUTH", keystone.URL+"/auth/v1.0")
	c := swift.Config{Container: "container", Settings: set, Transport: keystone.Client().Transport}
	b, err := swift.Open(t.Context(), c)
	require.NoError(t, err)
	_, err = save(t.Context(), b, backend.Key, "k")
	require.ErrorContains(t, err, "is not an https one")
	require.NoError(t, b.Close())
	set.InsecureTLS = true
	b, err = swift.Open(t.Context(), c)
	require.NoError(t, err)
	_, err = save(t.Context(), b, backend.Key, "k")
	require.NoError(t, err)
	require.NoError(t, b.Close())
}
