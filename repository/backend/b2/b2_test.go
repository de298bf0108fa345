package b2_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/b2"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	keyID = "0014aa9865d6f0000000000010"
	key   = "K001-secret-application-key"
)

func settings(values map[string]string) *backend.Settings {
	return &backend.Settings{Lookup: func(name string) (string, bool) {
		v, found := values[name]
		return v, found
	}}
}

// credentials also have Amazon's, which are none of B2's business.
func credentials() *backend.Settings {
	return settings(map[string]string{
		"B2_ACCOUNT_ID": keyID, "B2_ACCOUNT_KEY": key, "AWS_ACCESS_KEY_ID": "amazon", "AWS_SECRET_ACCESS_KEY": "amazon",
		"AWS_SESSION_TOKEN": "amazon", "AWS_DEFAULT_REGION": "amazon",
	})
}

// authority answers b2_authorize_account with what the key may do.
func authority(t *testing.T, storageAPI string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		if r.Method != http.MethodGet || r.URL.Path != "/b2api/v3/b2_authorize_account" {
			http.NotFound(w, r)
			return
		}
		if id != keyID || secret != key {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"code":"bad_auth_token","message":"no key %s with %s","status":401}`, id, secret)
			return
		}
		fmt.Fprintf(w, `{"accountId":"4aa9865d6f00","authorizationToken":"unused","apiInfo":{"storageApi":{%s},"groupsApi":{}}}`, storageAPI)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestOpen(t *testing.T) {
	for name, c := range map[string]struct {
		api    string
		config b2.Config
		want   string // "" is success
	}{
		"any bucket":            {`"bucketName":null,"bucketId":null,"namePrefix":null`, b2.Config{Bucket: "bucket"}, ""},
		"this bucket":           {`"bucketName":"bucket","bucketId":"1"`, b2.Config{Bucket: "bucket"}, ""},
		"another bucket":        {`"bucketName":"other","bucketId":"1"`, b2.Config{Bucket: "bucket"}, `for the bucket "other" only`},
		"a bucket that is gone": {`"bucketName":null,"bucketId":"1"`, b2.Config{Bucket: "bucket"}, "does not exist any more"},
		"this prefix":           {`"namePrefix":"a/"`, b2.Config{Bucket: "bucket", Prefix: "/a/b/"}, ""},
		"exactly this prefix":   {`"namePrefix":"a/"`, b2.Config{Bucket: "bucket", Prefix: "a"}, ""},
		"another prefix":        {`"namePrefix":"a/"`, b2.Config{Bucket: "bucket", Prefix: "ab"}, `names that begin with "a/" only`},
		"a prefix, and all":     {`"namePrefix":"a/"`, b2.Config{Bucket: "bucket"}, `names that begin with "a/" only`},
		"no bucket":             {``, b2.Config{}, "no bucket is named"},
		"no credentials":        {``, b2.Config{Bucket: "bucket", Settings: settings(nil)}, "not both set"},
		"half of them":          {``, b2.Config{Bucket: "bucket", Settings: settings(map[string]string{"B2_ACCOUNT_ID": keyID})}, "not both set"},
		"wrong": {``, b2.Config{Bucket: "bucket", Settings: settings(map[string]string{
			"B2_ACCOUNT_ID": keyID, "B2_ACCOUNT_KEY": "K-wrong"})}, "no key [key id] with [key] (bad_auth_token)"},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.Endpoint = authority(t, strings.TrimPrefix(c.api+`,"s3ApiUrl":"https://s3.us-west-004.backblazeb2.com"`, ","))
			if c.config.Settings == nil {
				c.config.Settings = credentials()
			}
			b, err := b2.Open(t.Context(), c.config)
			if c.want == "" {
				require.NoError(t, err)
				require.NoError(t, b.Close())
				return
			}
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), key)
			require.NotContains(t, err.Error(), "K-wrong")
			if name != "no bucket" {
				require.ErrorIs(t, err, fs.ErrPermission)
			}
		})
	}
}

func TestMasterKey(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"accountId":%q,"apiInfo":{"storageApi":{"s3ApiUrl":"https://s3.us-west-004.backblazeb2.com"}}}`, keyID)
	}))
	t.Cleanup(server.Close)
	_, err := b2.Open(t.Context(), b2.Config{Bucket: "bucket", Endpoint: server.URL, Settings: credentials()})
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "create an application key")
}

func TestAnswersThatAreNone(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"503 Service Unavailable": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "7")
			http.Error(w, "busy, "+key, http.StatusServiceUnavailable)
		},
		"not one of B2": func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>log in</html>") },
		"302 Found": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusFound)
		},
		"no address of the S3": func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"accountId":"a"}`) },
		`but "ftp://host"`: func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `{"accountId":"a","apiInfo":{"storageApi":{"s3ApiUrl":"ftp://host"}}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(h)
			t.Cleanup(server.Close)
			_, err := b2.Open(t.Context(), b2.Config{Bucket: "bucket", Endpoint: server.URL, Settings: credentials()})
			require.ErrorContains(t, err, name)
			require.NotErrorIs(t, err, fs.ErrPermission)
			require.NotContains(t, err.Error(), key)
			var asks interface{ RetryAfter() time.Duration }
			if busy := errors.As(err, &asks); busy {
				require.Equal(t, 7*time.Second, asks.RetryAfter())
			} else {
				require.NotContains(t, name, "503")
			}
		})
	}
}

// What is asked of the S3-compatible API: where, signed by which key, for which region, and nothing that B2 does not know.
func TestRequests(t *testing.T) {
	var requests []*http.Request
	transport := roundTripper(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		switch {
		case strings.HasSuffix(r.URL.Path, "b2_authorize_account"):
			require.Equal(t, "api.backblazeb2.com", r.URL.Host)
			require.Equal(t, "https", r.URL.Scheme)
			fmt.Fprint(w, `{"accountId":"a","apiInfo":{"storageApi":{"s3ApiUrl":"https://s3.us-west-004.backblazeb2.com"}}}`)
		case r.Method != http.MethodPut:
			w.WriteHeader(http.StatusNotFound)
		default:
			requests = append(requests, r)
			w.Header().Set("ETag", `"e"`)
		}
		return w.Result(), nil
	})
	b, err := b2.Open(t.Context(), b2.Config{Bucket: "bucket", Prefix: "p", Settings: credentials(), Transport: transport})
	require.NoError(t, err)
	require.NoError(t, b.Save(t.Context(), backend.Handle{Type: backend.Config}, strings.NewReader("c"), 1))
	require.Len(t, requests, 1)
	r := requests[0]
	require.Equal(t, "https://s3.us-west-004.backblazeb2.com/bucket/p/config", r.URL.String())
	require.Contains(t, r.Header.Get("Authorization"), "Credential="+keyID+"/")
	require.Contains(t, r.Header.Get("Authorization"), "/us-west-004/s3/")
	require.Empty(t, r.Header.Get("X-Amz-Security-Token"))
	require.Empty(t, r.Header.Get("If-None-Match"))
	require.NotEmpty(t, r.Header.Get("Content-Md5"))
}

type roundTripper func(r *http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestOpener(t *testing.T) {
	_, err := b2.Opener(t.Context(), "bucket/path", credentials())
	require.ErrorContains(t, err, "want bucket or bucket:path")
	_, err = b2.Opener(t.Context(), "", credentials())
	require.ErrorContains(t, err, "no bucket is named")
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	_, err = b2.Opener(ctx, "bucket:path/to/repo", credentials())
	require.ErrorIs(t, err, cause)
}
