package storage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/servers"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/gcs"
)

// openGCS opens a place at the server, as a program would. The bucket need not exist.
func openGCS(t testing.TB, s *backend.Settings, place string) backend.Backend {
	t.Helper()
	var m backend.Mux
	m.Handle("gs", gcs.Opener)
	b, err := m.Open(t.Context(), "gs:"+place, s)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() }) // the conformance suite has closed it
	return b
}

func TestGCSConformance(t *testing.T) {
	t.Parallel()
	s := servers.FakeGCS(t)
	n := 0
	backendtest.Run(t, func(t *testing.T) backend.Backend {
		n++
		return openGCS(t, s.Settings(), fmt.Sprintf("bucket-%d:/prefix", n))
	}, &backendtest.Options{ListEntries: 1100}) // more than a page; the fake server's work grows with the square of it
}

func TestGCSRestic(t *testing.T) {
	t.Parallel()
	s := servers.FakeGCS(t)
	resticJudgesCopy(t, openGCS(t, s.Settings(), "bucket:/ours"), openGCS(t, s.Settings(), "bucket:/theirs"))
}

func TestGCS(t *testing.T) {
	t.Parallel()
	s := servers.FakeGCS(t)

	t.Run("missing bucket", func(t *testing.T) {
		missing, err := gcs.Open(t.Context(), gcs.Config{Bucket: "missing", Settings: s.Settings()})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, missing.Close()) })
		for op, err := range s3EveryCall(t, missing) {
			require.ErrorIs(t, err, fs.ErrNotExist, op)
			require.ErrorContains(t, err, `bucket "missing" does not exist at 127.0.0.1:`, op)
		}
		// A location in a URL is like restic's: the first Save makes the bucket.
		b := openGCS(t, s.Settings(), "missing:/")
		for _, err := range b.List(t.Context(), backend.Key) {
			require.NoError(t, err)
		}
		h := s3Put(t, b, backend.Key, "key")
		require.Equal(t, "key", s3Get(t, missing, h))
	})

	b := openGCS(t, s.Settings(), "bucket:/")
	s3Put(t, b, backend.Config, "config")

	// What is stored is what was hashed: the service refuses a body that has changed on its way.
	t.Run("changed body", func(t *testing.T) { requireChecked(t, b) })

	// An upload that is broken off leaves nothing behind.
	t.Run("broken upload", func(t *testing.T) {
		content := s3Noise(0, 30<<20)
		h := backendtest.HandleOf(backend.Pack, content)
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		cause := errors.New("the cause")
		body := &tripwire{r: bytes.NewReader(content), at: int64(len(content)) * 3 / 2, trip: func() { cancel(cause) }}
		require.ErrorIs(t, b.Save(ctx, h, body, int64(len(content))), cause)
		_, err := b.Stat(t.Context(), h)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.NoError(t, b.Save(t.Context(), h, bytes.NewReader(content), int64(len(content))))
	})

	t.Run("class of packs", func(t *testing.T) {
		settings := s.Settings()
		settings.StorageClass = "nearline"
		b := openGCS(t, settings, "bucket:/class")
		for typ, want := range map[backend.FileType]string{backend.Pack: "NEARLINE", backend.Index: "STANDARD"} {
			h := s3Put(t, b, typ, "content")
			resp, err := http.Get(s.URL + "/storage/v1/b/bucket/o/" + url.PathEscape("class/"+h.Path()))
			require.NoError(t, err)
			var o struct{ StorageClass, ContentType string }
			require.NoError(t, json.NewDecoder(resp.Body).Decode(&o))
			require.NoError(t, resp.Body.Close())
			require.Equal(t, want, o.StorageClass)
			require.Equal(t, "application/octet-stream", o.ContentType)
		}
	})

	// A server that dies while it is asked gives errors, and nothing false.
	t.Run("server gone", func(t *testing.T) {
		s.Kill()
		for op, err := range s3EveryCall(t, b) {
			require.Error(t, err, op)
			require.NotErrorIs(t, err, fs.ErrNotExist, op)
			require.NotErrorIs(t, err, fs.ErrPermission, op)
		}
	})
}
