package servers

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
)

// Backblaze stands for Backblaze B2, with one bucket.
type Backblaze struct {
	*S3
	Bucket    string
	Authority string // where b2_authorize_account is answered
}

// B2 starts MinIO with a bucket that keeps versions, as all of B2's do, behind a proxy that refuses what B2's S3-compatible API
// refuses, and beside it what answers b2_authorize_account.
func B2(t testing.TB) *Backblaze {
	t.Helper()
	s := &Backblaze{S3: MinIO(t, false), Bucket: "bucket"}
	c := s.Client(t)
	require.NoError(t, c.MakeBucket(t.Context(), s.Bucket, minio.MakeBucketOptions{}))
	require.NoError(t, c.EnableVersioning(t.Context(), s.Bucket))
	target, err := url.Parse(s.URL)
	require.NoError(t, err)
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is signed
	}}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && (r.Header.Get("If-None-Match") != "" || r.Header.Get("X-Amz-Checksum-Crc32c") != "") {
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusNotImplemented)
			fmt.Fprint(w, `<?xml version="1.0"?><Error><Code>NotImplemented</Code><Message>A header is not implemented</Message></Error>`)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(api.Close)
	authority := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id, key, _ := r.BasicAuth(); id != s.KeyID || key != s.Secret {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"status":401,"code":"unauthorized","message":"invalid key"}`)
			return
		}
		fmt.Fprintf(w, `{"accountId":"account","apiInfo":{"storageApi":{"s3ApiUrl":%q,"bucketName":%q,"bucketId":"1","namePrefix":null}}}`, api.URL, s.Bucket)
	}))
	t.Cleanup(authority.Close)
	s.Authority = authority.URL
	return s
}

// Settings are what our driver needs to get in. Nothing is taken from the environment.
func (s *Backblaze) Settings() *backend.Settings {
	return settings(map[string]string{"B2_ACCOUNT_ID": s.KeyID, "B2_ACCOUNT_KEY": s.Secret})
}

// Client is what looks behind the driver's back.
func (s *S3) Client(t testing.TB) *minio.Client {
	t.Helper()
	u, err := url.Parse(s.URL)
	require.NoError(t, err)
	c, err := minio.New(u.Host, &minio.Options{Creds: credentials.NewStaticV4(s.KeyID, s.Secret, ""), Region: s.Region})
	require.NoError(t, err)
	return c
}
