package storage_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/servers"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/s3"
)

// s3Servers are the implementations that every test of the driver runs on.
var s3Servers = map[string]func(t testing.TB) *servers.S3{
	"minio":     func(t testing.TB) *servers.S3 { return servers.MinIO(t, false) },
	"minio-tls": func(t testing.TB) *servers.S3 { return servers.MinIO(t, true) },
	"versitygw": servers.VersityGW,
}

func TestS3Conformance(t *testing.T) {
	for name, start := range s3Servers {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			n := 0
			backendtest.Run(t, func(t *testing.T) backend.Backend {
				n++
				return openS3(t, s, "bucket", "prefix", n)
			}, nil)
		})
	}
}

// openS3 opens a place of its own for each number n, as a program would by its URL. The bucket need not exist.
func openS3(t testing.TB, s *servers.S3, bucket, prefix string, n int) backend.Backend {
	t.Helper()
	var m backend.Mux
	m.Handle("s3", s3.Opener)
	b, err := m.Open(t.Context(), fmt.Sprintf("s3:%s/%s/%s/%d", s.URL, bucket, prefix, n), s.Settings())
	require.NoError(t, err)
	return b
}
