package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/resticcli"
	"github.com/escrow-backup/escrow/internal/e2e/servers"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/s3"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// s3Implementations share nothing but the protocol.
var s3Implementations = map[string]func(t testing.TB) *servers.S3{
	"minio":     func(t testing.TB) *servers.S3 { return servers.MinIO(t, false) },
	"versitygw": servers.VersityGW,
}

func TestS3Conformance(t *testing.T) {
	for name, start := range s3Implementations {
		t.Run(name, func(t *testing.T) { s3Conformance(t, start(t), nil) })
	}
	t.Run("minio with TLS", func(t *testing.T) {
		s3Conformance(t, servers.MinIO(t, true), &backendtest.Options{ListEntries: 1100}) // more than a page
	})
}

func s3Conformance(t *testing.T, s *servers.S3, o *backendtest.Options) {
	n := 0
	backendtest.Run(t, func(t *testing.T) backend.Backend {
		n++
		return openS3(t, s, fmt.Sprintf("bucket/prefix/%d", n))
	}, o)
}

// openS3 opens a place below the server's URL, as a program would. The bucket need not exist.
func openS3(t testing.TB, s *servers.S3, place string) backend.Backend {
	t.Helper()
	var m backend.Mux
	m.Handle("s3", s3.Opener)
	b, err := m.Open(t.Context(), "s3:"+s.URL+"/"+place, s.Settings())
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() }) // the conformance suite has closed it
	return b
}

// configureS3 opens the bucket "bucket" with options that no URL has.
func configureS3(t testing.TB, s *servers.S3, c s3.Config) *s3.Backend {
	t.Helper()
	c.Endpoint, c.Bucket = s.URL, "bucket"
	if c.Settings == nil {
		c.Settings = s.Settings()
	}
	b, err := s3.Open(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func s3Put(t testing.TB, b backend.Backend, typ backend.FileType, content string) backend.Handle {
	t.Helper()
	h := backendtest.HandleOf(typ, []byte(content))
	require.NoError(t, b.Save(t.Context(), h, bytes.NewReader([]byte(content)), int64(len(content))))
	return h
}

func s3Get(t testing.TB, b backend.Backend, h backend.Handle) string {
	t.Helper()
	r, err := b.Load(t.Context(), h, 0, -1)
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, errors.Join(err, r.Close()))
	return string(data)
}

// s3EveryCall makes each call once and returns the errors by operation.
func s3EveryCall(t testing.TB, b backend.Backend) map[string]error {
	ctx := t.Context()
	h := backendtest.HandleOf(backend.Pack, []byte("x"))
	_, statErr := b.Stat(ctx, h)
	r, loadErr := b.Load(ctx, h, 0, -1)
	if loadErr == nil {
		require.NoError(t, r.Close())
	}
	var listErr error
	for _, err := range b.List(ctx, backend.Pack) {
		listErr = err
	}
	return map[string]error{
		"stat": statErr, "load": loadErr, "list": listErr,
		"save": b.Save(ctx, h, bytes.NewReader([]byte("x")), 1), "remove": b.Remove(ctx, h),
	}
}

func TestS3WrongCredentials(t *testing.T) {
	for name, start := range s3Implementations {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			s3Put(t, openS3(t, s, "bucket"), backend.Config, "config")
			for what, change := range map[string]func(*servers.S3){
				"key id": func(s *servers.S3) { s.KeyID = "nobody-knows-me" },
				"secret": func(s *servers.S3) { s.Secret = "not-the-secret" },
			} {
				wrong := *s
				change(&wrong)
				for op, err := range s3EveryCall(t, openS3(t, &wrong, "bucket")) {
					require.ErrorIs(t, err, fs.ErrPermission, "%s with a wrong %s", op, what)
					require.NotErrorIs(t, err, fs.ErrNotExist)
					require.NotContains(t, err.Error(), wrong.Secret)
					require.NotContains(t, err.Error(), wrong.KeyID)
				}
			}
		})
	}
}

func TestS3MissingBucket(t *testing.T) {
	for name, start := range s3Implementations {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			for op, err := range s3EveryCall(t, configureS3(t, s, s3.Config{})) {
				require.ErrorIs(t, err, fs.ErrNotExist, op)
				require.ErrorContains(t, err, `bucket "bucket" does not exist at 127.0.0.1:`, op)
			}
			// A location in a URL is like restic's: the first Save makes the bucket.
			b := openS3(t, s, "bucket")
			for _, err := range b.List(t.Context(), backend.Key) {
				require.NoError(t, err)
			}
			h := s3Put(t, b, backend.Key, "key")
			require.Equal(t, "key", s3Get(t, configureS3(t, s, s3.Config{}), h))
		})
	}
}

func TestS3UntrustedCertificate(t *testing.T) {
	s := servers.MinIO(t, true)
	stranger := *s
	stranger.CA = nil
	for op, err := range s3EveryCall(t, openS3(t, &stranger, "bucket")) {
		require.ErrorContains(t, err, "certificate", op)
		require.NotErrorIs(t, err, fs.ErrNotExist)
	}
	careless := stranger.Settings()
	careless.InsecureTLS = true
	b := configureS3(t, &stranger, s3.Config{Settings: careless, CreateBucket: true})
	require.Equal(t, "key", s3Get(t, b, s3Put(t, b, backend.Key, "key")))
}

// An upload that is broken off leaves nothing behind, not even parts that somebody would have to pay for.
func TestS3BrokenUpload(t *testing.T) {
	for name, start := range s3Implementations {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			b := openS3(t, s, "bucket")
			s3Put(t, b, backend.Config, "config")
			content := s3Noise(0, 30<<20)
			h := backendtest.HandleOf(backend.Pack, content)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			cause := errors.New("the cause")
			err := b.Save(ctx, h, &tripwire{r: bytes.NewReader(content), at: int64(len(content)) * 3 / 2, trip: func() { cancel(cause) }}, int64(len(content)))
			require.ErrorIs(t, err, cause)
			_, err = b.Stat(t.Context(), h)
			require.ErrorIs(t, err, fs.ErrNotExist)
			for fi, err := range b.List(t.Context(), backend.Pack) {
				require.NoError(t, err)
				t.Fatal(fi)
			}
			for u := range s.Client(t).ListIncompleteUploads(t.Context(), "bucket", "", true) {
				t.Fatal(u)
			}
			require.NoError(t, b.Save(t.Context(), h, bytes.NewReader(content), int64(len(content))))
		})
	}
}

// tripwire calls trip once that many bytes have been read, counting those read twice.
type tripwire struct {
	r    io.ReaderAt
	at   int64
	read atomic.Int64
	trip func()
}

func (r *tripwire) ReadAt(p []byte, off int64) (int, error) {
	if r.read.Add(int64(len(p))) >= r.at {
		r.trip()
	}
	return r.r.ReadAt(p, off)
}

// A server that dies while it is asked gives errors, and nothing false; once it is back, all is as it was.
func TestS3ServerGone(t *testing.T) {
	s := servers.MinIO(t, false)
	b := openS3(t, s, "bucket")
	s3Put(t, b, backend.Pack, "content")
	s.Kill()
	for op, err := range s3EveryCall(t, b) {
		require.Error(t, err, op)
		require.NotErrorIs(t, err, fs.ErrNotExist, op)
		require.NotErrorIs(t, err, fs.ErrPermission, op)
	}
}

func s3Versions(t testing.TB, c *minio.Client, key string) (all []minio.ObjectInfo) {
	t.Helper()
	for o := range c.ListObjects(t.Context(), "bucket", minio.ListObjectsOptions{Prefix: key, Recursive: true, WithVersions: true}) {
		require.NoError(t, o.Err)
		all = append(all, o)
	}
	return all
}

func TestS3ObjectLock(t *testing.T) {
	for _, mode := range []minio.RetentionMode{minio.Governance, minio.Compliance} {
		t.Run(string(mode), func(t *testing.T) {
			s := servers.MinIO(t, false)
			c := s.Client(t)
			require.NoError(t, c.MakeBucket(t.Context(), "bucket", minio.MakeBucketOptions{ObjectLocking: true}))
			days, unit := uint(1), minio.Days
			require.NoError(t, c.SetObjectLockConfig(t.Context(), "bucket", &mode, &days, &unit))

			b := openS3(t, s, "bucket")
			for _, typ := range backend.FileTypes {
				content := "content of a " + typ.String()
				h := s3Put(t, b, typ, content)
				require.ErrorIs(t, b.Save(t.Context(), h, bytes.NewReader([]byte("other")), 5), fs.ErrExist)
				require.Len(t, s3Versions(t, c, h.Path()), 1, "no second version")

				// For good: refused, and everything stays.
				err := configureS3(t, s, s3.Config{DeleteVersions: true}).Remove(t.Context(), h)
				require.ErrorIs(t, err, fs.ErrPermission)
				require.Equal(t, content, s3Get(t, b, h))

				// The usual way: hidden.
				require.NoError(t, b.Remove(t.Context(), h))
				require.ErrorIs(t, b.Remove(t.Context(), h), fs.ErrNotExist)
				for _, err := range b.List(t.Context(), typ) {
					t.Fatal("still listed", err)
				}
				left := s3Versions(t, c, h.Path())
				require.Len(t, left, 2)
				require.True(t, left[0].IsDeleteMarker)

				// And back again, without the delete marker.
				require.NoError(t, c.RemoveObject(t.Context(), "bucket", h.Path(), minio.RemoveObjectOptions{VersionID: left[0].VersionID}))
				require.Equal(t, content, s3Get(t, b, h))
			}
		})
	}
}

func TestS3VersionedBucket(t *testing.T) {
	s := servers.MinIO(t, false)
	c := s.Client(t)
	require.NoError(t, c.MakeBucket(t.Context(), "bucket", minio.MakeBucketOptions{}))
	require.NoError(t, c.EnableVersioning(t.Context(), "bucket"))
	hides, deletes := openS3(t, s, "bucket"), configureS3(t, s, s3.Config{DeleteVersions: true})

	h := s3Put(t, hides, backend.Pack, "content")
	require.NoError(t, hides.Remove(t.Context(), h))
	require.Len(t, s3Versions(t, c, h.Path()), 2)
	s3Put(t, hides, backend.Pack, "content") // may come again
	require.Len(t, s3Versions(t, c, h.Path()), 3)

	require.NoError(t, deletes.Remove(t.Context(), h))
	require.Empty(t, s3Versions(t, c, h.Path()))
	require.ErrorIs(t, deletes.Remove(t.Context(), h), fs.ErrNotExist)
}

func TestS3Restic(t *testing.T) {
	for name, start := range s3Implementations {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			for place, init := range map[string]func(t testing.TB, b backend.Backend, restic *resticcli.CLI){
				"bucket/ours":      initOurs,
				"theirs":           initTheirs,
				"bucket/a/b/c/d/e": initTheirs,
			} {
				restic := resticcli.New(t, "s3:"+s.URL+"/"+place, string(repositorytest.Password))
				restic.Env = s.Env()
				b := openS3(t, s, place)
				init(t, b, restic)
				resticAgrees(t, b, restic)
			}
		})
	}
}

func initOurs(t testing.TB, b backend.Backend, _ *resticcli.CLI) {
	repositorytest.Init(t, b)
}

func initTheirs(t testing.TB, _ backend.Backend, restic *resticcli.CLI) { restic.Init(t) }

// resticAgrees has us and restic back up into the repository in b, in turns, and each read what the other wrote.
func resticAgrees(t testing.TB, b backend.Backend, restic *resticcli.CLI) {
	t.Helper()
	r := repositorytest.Reopen(t, b)
	want := ourFiles()
	ours := repositorytest.Write(t, r, want)
	restic.Check(t)
	for name, content := range want {
		require.True(t, content == string(restic.Dump(t, ours.ID.String(), "/"+name)), name)
	}

	theirs := s3Noise(1, 9<<20)
	cmd := restic.Command(t, "backup", "--stdin", "--stdin-filename", "theirs")
	cmd.Stdin = bytes.NewReader(theirs)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	r = repositorytest.Reopen(t, b)
	s, err := r.Snapshot(t.Context(), "latest")
	require.NoError(t, err)
	require.NotEqual(t, ours.ID, s.ID)
	fsys, err := r.FS(t.Context(), s)
	require.NoError(t, err)
	got, err := fs.ReadFile(fsys, "theirs")
	require.NoError(t, err)
	require.True(t, bytes.Equal(theirs, got))
	repositorytest.RequireClean(t, r)

	// What one removes is gone for the other.
	restic.Run(t, "forget", "--prune", ours.ID.String())
	repositorytest.RequireClean(t, r)
	restic.Check(t)
}

// ourFiles are a few files that make several packs.
func ourFiles() map[string]string {
	return map[string]string{"ours/large": string(s3Noise(2, 40<<20)), "ours/small": "small", "ours/empty": ""}
}

func s3Noise(seed byte, n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(p) // never fails
	return p
}
