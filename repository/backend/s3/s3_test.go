package s3_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/s3"
)

const (
	keyID  = "AKIDEXAMPLE"
	secret = "wJalrXUtnFEMI-secret"
	token  = "session-token-value"
)

// settings have no more than what is given: nothing of the environment.
func settings(values map[string]string) *backend.Settings {
	return &backend.Settings{Lookup: func(key string) (string, bool) {
		v, found := values[key]
		return v, found
	}}
}

func credentials() *backend.Settings {
	return settings(map[string]string{
		"AWS_ACCESS_KEY_ID": keyID, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token, "AWS_REGION": "eu-west-1",
	})
}

// serve opens the bucket "bucket" at a server that answers as h does. Fields of c that are not set get defaults.
func serve(t *testing.T, c s3.Config, h http.HandlerFunc) *s3.Backend {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c.Endpoint, c.Bucket = server.URL, "bucket"
	if c.Settings == nil {
		c.Settings = credentials()
	}
	b, err := s3.Open(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func handle(typ backend.FileType, content string) backend.Handle {
	if typ == backend.Config {
		return backend.Handle{Type: typ}
	}
	sum := sha256.Sum256([]byte(content))
	return backend.Handle{Type: typ, Name: hex.EncodeToString(sum[:])}
}

func save(ctx context.Context, b backend.Backend, h backend.Handle, content string) error {
	return b.Save(ctx, h, strings.NewReader(content), int64(len(content)))
}

func load(b backend.Backend, h backend.Handle, off, n int64) (string, error) {
	r, err := b.Load(context.Background(), h, off, n)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(r)
	return string(data), errors.Join(err, r.Close())
}

func list(b backend.Backend, typ backend.FileType) (infos []backend.FileInfo, err error) {
	for fi, e := range b.List(context.Background(), typ) {
		if e != nil {
			return infos, e
		}
		infos = append(infos, fi)
	}
	return infos, nil
}

// object writes the headers of an object of this size.
func object(w http.ResponseWriter, size int) {
	w.Header().Set("ETag", `"0123"`)
	w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
	w.Header().Set("Content-Length", fmt.Sprint(size))
}

// refuse answers as S3 does.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>%s</Message><RequestId>REQ1</RequestId></Error>", code, message)
}

// everyCall makes each call once and returns the errors by operation.
func everyCall(b backend.Backend) map[string]error {
	h := handle(backend.Pack, "content")
	ctx := context.Background()
	_, statErr := b.Stat(ctx, h)
	_, loadErr := load(b, h, 0, -1)
	_, rangeErr := load(b, h, 2, 3)
	_, listErr := list(b, backend.Pack)
	return map[string]error{
		"save": save(ctx, b, h, "content"), "stat": statErr, "load": loadErr, "load range": rangeErr, "list": listErr, "remove": b.Remove(ctx, h),
	}
}

func requireNoSecret(t *testing.T, err error) {
	t.Helper()
	for _, s := range []string{keyID, secret, token, "X-Amz-"} {
		require.NotContains(t, err.Error(), s)
	}
}

func TestErrorResponses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status   int
		code     string
		sentinel error
	}{
		{404, "NoSuchKey", fs.ErrNotExist},
		{403, "AccessDenied", fs.ErrPermission},
		{403, "InvalidAccessKeyId", fs.ErrPermission},
		{403, "SignatureDoesNotMatch", fs.ErrPermission},
		{403, "SomethingNew", fs.ErrPermission},
		{401, "SomethingNew", fs.ErrPermission},
		{400, "ExpiredToken", fs.ErrPermission},
		{400, "InvalidToken", fs.ErrPermission},
		{403, "RequestTimeTooSkewed", fs.ErrPermission},
		{503, "SlowDown", nil},
		{500, "InternalError", nil},
		{400, "InvalidDigest", nil},
	} {
		t.Run(c.code, func(t *testing.T) {
			t.Parallel() // minio-go takes a breath after what could be retried
			b := serve(t, s3.Config{}, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodHead && c.status != 404 && c.status != 403 {
					object(w, 7) // a HEAD has no room for a code
					return
				}
				// It repeats what it was sent, as careless servers do.
				refuse(w, c.status, c.code, "No. You are "+keyID+" with "+token)
			})
			for op, err := range everyCall(b) {
				if op == "save" || op == "stat" {
					continue // what they see is a HEAD
				}
				if op == "remove" && c.sentinel == fs.ErrNotExist || op == "list" && c.sentinel == fs.ErrNotExist {
					continue
				}
				require.Error(t, err, op)
				requireNoSecret(t, err)
				for _, s := range []error{fs.ErrNotExist, fs.ErrPermission, fs.ErrExist} {
					require.Equal(t, s == c.sentinel, errors.Is(err, s), "%s: %v", op, err)
				}
				var be *backend.Error
				require.ErrorAs(t, err, &be)
				if op != "remove" || c.status != 403 {
					require.ErrorContains(t, err, c.code)
				}
			}
		})
	}
}

func TestMissingBucket(t *testing.T) {
	missing := func(w http.ResponseWriter, r *http.Request) {
		refuse(w, 404, "NoSuchBucket", "The specified bucket does not exist")
	}
	for op, err := range everyCall(serve(t, s3.Config{}, missing)) {
		require.ErrorIs(t, err, fs.ErrNotExist, op)
		require.ErrorContains(t, err, `bucket "bucket" does not exist at 127.0.0.1:`)
	}
	// Where it may be created, it is an empty repository.
	b := serve(t, s3.Config{CreateBucket: true}, missing)
	for _, typ := range backend.FileTypes {
		infos, err := list(b, typ)
		require.NoError(t, err)
		require.Empty(t, infos)
	}
}

func TestBucketThatMayNotBeCreated(t *testing.T) {
	b := serve(t, s3.Config{CreateBucket: true}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.Trim(r.URL.Path, "/") == "bucket" {
			refuse(w, 403, "AccessDenied", "Access Denied.")
			return
		}
		refuse(w, 404, "NoSuchBucket", "The specified bucket does not exist")
	})
	err := save(t.Context(), b, handle(backend.Key, "k"), "k")
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, `create bucket "bucket"`)
}

// A proxy, a portal or a load balancer says things that S3 never said.
func TestPagesOfOthers(t *testing.T) {
	t.Parallel()
	for _, status := range []int{200, 404, 403, 409, 412, 502} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			b := serve(t, s3.Config{}, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				w.Header().Set("ETag", `"page"`)
				w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
				w.WriteHeader(status)
				fmt.Fprint(w, "<html><body>please log in</body></html>")
			})
			for op, err := range everyCall(b) {
				require.ErrorContains(t, err, "an HTML page instead of an answer of S3", op)
				require.NotErrorIs(t, err, fs.ErrNotExist, op)
				require.NotErrorIs(t, err, fs.ErrExist, op)
			}
		})
	}
	t.Run("plain text", func(t *testing.T) {
		t.Parallel()
		b := serve(t, s3.Config{}, func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "upstream gone, "+secret, http.StatusBadGateway)
		})
		for op, err := range everyCall(b) {
			require.ErrorContains(t, err, "502 Bad Gateway", op)
			requireNoSecret(t, err)
		}
	})
	t.Run("empty success", func(t *testing.T) {
		t.Parallel()
		b := serve(t, s3.Config{}, func(w http.ResponseWriter, r *http.Request) {})
		for op, err := range everyCall(b) {
			require.Error(t, err, op)
		}
	})
}

// Those that were under way when the first answer came have asked as well.
func TestRetryAfterIsPassedOn(t *testing.T) {
	t.Parallel()
	for _, page := range []bool{false, true} {
		b := serve(t, s3.Config{}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "7")
			if page {
				w.Header().Set("Content-Type", "text/html")
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			refuse(w, http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
		})
		for op, err := range everyCall(b) {
			var busy interface{ RetryAfter() time.Duration }
			require.ErrorAs(t, err, &busy, op)
			require.Equal(t, 7*time.Second, busy.RetryAfter(), op)
		}
	}
}

func TestWrongRegionIsNamed(t *testing.T) {
	t.Parallel()
	b := serve(t, s3.Config{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("x-amz-bucket-region", "ap-south-1")
		w.WriteHeader(http.StatusMovedPermanently)
	})
	for op, err := range everyCall(b) {
		require.ErrorContains(t, err, "301 Moved Permanently; the bucket is in region ap-south-1", op)
	}
}

// What a caller gives to Save is his again when it returns, even if the server did not want all of it.
// listing answers the requests of a list with these pages, and tells the tokens it was asked with.
// Without a region set, the answer says where the bucket is, and one more request goes there.
func TestBucketElsewhere(t *testing.T) {
	var regions []string
	b := serve(t, s3.Config{Settings: settings(map[string]string{"AWS_ACCESS_KEY_ID": keyID, "AWS_SECRET_ACCESS_KEY": secret})},
		func(w http.ResponseWriter, r *http.Request) {
			scope := strings.Split(r.Header.Get("Authorization"), "/")
			regions = append(regions, scope[2])
			switch {
			case r.URL.Query().Has("location"):
				refuse(w, 403, "AccessDenied", "no right to ask")
			case scope[2] != "eu-central-1":
				w.Header().Set("x-amz-bucket-region", "eu-central-1")
				refuse(w, 400, "AuthorizationHeaderMalformed", "the region is wrong")
			default:
				object(w, 4)
				fmt.Fprint(w, "data")
			}
		})
	got, err := load(b, handle(backend.Pack, "p"), 0, -1)
	require.NoError(t, err)
	require.Equal(t, "data", got)
	require.Equal(t, []string{"us-east-1", "us-east-1", "eu-central-1"}, regions)
}

func TestBrokenConnection(t *testing.T) {
	t.Parallel()
	b := serve(t, s3.Config{}, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		require.NoError(t, err)
		_ = c.Close()
	})
	for op, err := range everyCall(b) {
		require.ErrorIs(t, err, io.EOF, op)
		requireNoSecret(t, err)
		require.NotContains(t, err.Error(), "http://", op)
		require.NotErrorIs(t, err, fs.ErrNotExist)
	}
}

func TestOpen(t *testing.T) {
	for name, c := range map[string]s3.Config{
		"credentials go into the settings":           {Endpoint: "https://id:" + secret + "@host", Bucket: "bucket"},
		"is not like":                                {Endpoint: "ftp://host", Bucket: "bucket"},
		"Bucket name cannot be empty":                {Endpoint: "host"},
		"Bucket name cannot contain path separators": {Endpoint: "host", Bucket: "a/b"},
		"none of auto, dns, path":                    {Endpoint: "host", Bucket: "bucket", BucketLookup: "dsn"},
		"AWS_SECRET_ACCESS_KEY is not":               {Endpoint: "host", Bucket: "bucket", Settings: settings(map[string]string{"AWS_ACCESS_KEY_ID": keyID})},
		"AWS_ACCESS_KEY_ID is not":                   {Endpoint: "host", Bucket: "bucket", Settings: settings(map[string]string{"AWS_SECRET_ACCESS_KEY": secret})},
	} {
		if c.Settings == nil {
			c.Settings = credentials()
		}
		_, err := s3.Open(t.Context(), c)
		require.ErrorContains(t, err, name)
		requireNoSecret(t, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	_, err := s3.Opener(ctx, "host/bucket", credentials())
	require.ErrorIs(t, err, cause)
	_, err = s3.Opener(t.Context(), "host", credentials())
	require.ErrorContains(t, err, "names no bucket")

	b, err := s3.Opener(t.Context(), "host/bucket", credentials())
	require.NoError(t, err)
	require.Equal(t, 8, backend.Connections(b))
	require.NoError(t, b.Close())
	require.ErrorIs(t, b.Close(), fs.ErrClosed)
	for op, err := range everyCall(b) {
		require.ErrorIs(t, err, fs.ErrClosed, op)
	}
}

func TestBucketLookup(t *testing.T) {
	for lookup, want := range map[string]string{"": "/bucket/config", "auto": "/bucket/config", "path": "/bucket/config", "dns": "/config"} {
		var mu sync.Mutex
		var host, path string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			host, path = r.Host, r.URL.Path
			object(w, 1)
		}))
		// Every name leads to the server, as a proxy does.
		s := credentials()
		lookupEnv := s.Lookup
		s.Lookup = func(key string) (string, bool) {
			if key == "HTTP_PROXY" {
				return server.URL, true
			}
			return lookupEnv(key)
		}
		b, err := s3.Open(t.Context(), s3.Config{Endpoint: "http://s3.example.org", Bucket: "bucket", BucketLookup: lookup, Settings: s})
		require.NoError(t, err)
		_, err = b.Stat(t.Context(), backend.Handle{Type: backend.Config})
		require.NoError(t, err)
		mu.Lock()
		require.Equal(t, want, path)
		require.Equal(t, lookup == "dns", strings.HasPrefix(host, "bucket."), host)
		mu.Unlock()
		require.NoError(t, b.Close())
		server.Close()
	}
}
