package storage_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/resticcli"
	"github.com/escrow-backup/escrow/internal/e2e/servers"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/b2"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/local"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// b2Service stands for Backblaze: MinIO with a bucket that keeps versions, as all of B2's do, behind a proxy that refuses what
// B2's S3-compatible API refuses, and beside it what answers b2_authorize_account.
type b2Service struct {
	*servers.S3
	authority string
}

func startB2(t testing.TB) *b2Service {
	t.Helper()
	s := &b2Service{S3: servers.MinIO(t, false)}
	c := s3Client(t, s.S3)
	require.NoError(t, c.MakeBucket(t.Context(), "bucket", minio.MakeBucketOptions{}))
	require.NoError(t, c.EnableVersioning(t.Context(), "bucket"))
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
		fmt.Fprintf(w, `{"accountId":"account","apiInfo":{"storageApi":{"s3ApiUrl":%q,"bucketName":"bucket","bucketId":"1","namePrefix":null}}}`, api.URL)
	}))
	t.Cleanup(authority.Close)
	s.authority = authority.URL
	return s
}

func (s *b2Service) open(t testing.TB, prefix string) backend.Backend {
	t.Helper()
	b, err := b2.Open(t.Context(), b2.Config{
		Bucket: "bucket", Prefix: prefix, Endpoint: s.authority,
		Settings: &backend.Settings{Lookup: func(key string) (string, bool) {
			v := map[string]string{"B2_ACCOUNT_ID": s.KeyID, "B2_ACCOUNT_KEY": s.Secret}[key]
			return v, v != ""
		}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() }) // the conformance suite has closed it
	return b
}

func TestB2Conformance(t *testing.T) {
	s := startB2(t)
	n := 0
	backendtest.Run(t, func(t *testing.T) backend.Backend {
		n++
		return s.open(t, fmt.Sprintf("prefix/%d", n))
	}, &backendtest.Options{ListEntries: 1100}) // more than a page
}

func TestB2RemoveFreesTheSpace(t *testing.T) {
	s := startB2(t)
	c := s3Client(t, s.S3)
	b := s.open(t, "p")
	h := s3Put(t, b, backend.Pack, "content")
	hidden := s3Put(t, b, backend.Pack, "hidden")
	require.NoError(t, c.RemoveObject(t.Context(), "bucket", "p/"+hidden.Path(), minio.RemoveObjectOptions{})) // as others may do
	require.ErrorIs(t, b.Remove(t.Context(), hidden), fs.ErrNotExist)
	s3Put(t, b, backend.Pack, "hidden")
	require.Len(t, s3Versions(t, c, "p/"+hidden.Path()), 3)
	require.NoError(t, b.Remove(t.Context(), h))
	require.NoError(t, b.Remove(t.Context(), hidden))
	require.Empty(t, s3Versions(t, c, ""))
}

func TestB2Restic(t *testing.T) {
	s := startB2(t)
	resticJudgesCopy(t, s.open(t, "ours"), s.open(t, "theirs"))
}

// resticJudgesCopy has restic check and read a copy of a repository that we make in ours, and has us read a copy in theirs of one
// that restic made. restic of this version has no setting for another endpoint of B2, Azure or Google.
func resticJudgesCopy(t *testing.T, ours, theirs backend.Backend) {
	t.Helper()
	want := ourFiles()
	snapshot := repositorytest.Write(t, repositorytest.Init(t, ours), want)
	dir := t.TempDir()
	copyFiles(t, openLocal(t, dir), ours)
	restic := resticcli.New(t, dir, string(repositorytest.Password))
	restic.Check(t)
	for name, content := range want {
		require.True(t, content == string(restic.Dump(t, snapshot.ID.String(), "/"+name)), name)
	}

	dir = t.TempDir()
	restic = resticcli.New(t, dir, string(repositorytest.Password))
	restic.Init(t)
	cmd := restic.Command(t, "backup", "--stdin", "--stdin-filename", "theirs")
	cmd.Stdin = bytes.NewReader([]byte(want["ours/large"]))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	copyFiles(t, theirs, openLocal(t, dir))
	r := repositorytest.Reopen(t, theirs)
	latest, err := r.Snapshot(t.Context(), "latest")
	require.NoError(t, err)
	fsys, err := r.FS(t.Context(), latest)
	require.NoError(t, err)
	got, err := fs.ReadFile(fsys, "theirs")
	require.NoError(t, err)
	require.True(t, want["ours/large"] == string(got))
	repositorytest.RequireClean(t, r)
}

func openLocal(t testing.TB, dir string) backend.Backend {
	t.Helper()
	b, err := local.New(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// copyFiles copies every file of a repository.
func copyFiles(t testing.TB, dst, src backend.Backend) {
	t.Helper()
	for _, typ := range backend.FileTypes {
		for fi, err := range src.List(t.Context(), typ) {
			require.NoError(t, err)
			r, err := src.Load(t.Context(), fi.Handle, 0, -1)
			require.NoError(t, err)
			data, err := io.ReadAll(r)
			require.NoError(t, err)
			require.NoError(t, r.Close())
			require.Len(t, data, int(fi.Size))
			require.NoError(t, dst.Save(t.Context(), fi.Handle, bytes.NewReader(data), fi.Size))
		}
	}
}
