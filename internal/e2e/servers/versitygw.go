package servers

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// VersityGW starts a Versity S3 gateway over a temporary directory: an implementation of the protocol that shares nothing with
// MinIO. Attributes of objects are kept in files beside them, as not every file system can keep them in its own.
func VersityGW(t testing.TB) *S3 {
	t.Helper()
	program := versitygwProgram.need(t)
	s := &S3{KeyID: "versity-key-id", Secret: "versity-secret-key", Region: "us-east-1"}
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	dir := t.TempDir()
	data, sidecar := filepath.Join(dir, "data"), filepath.Join(dir, "attributes")
	require.NoError(t, os.Mkdir(data, 0o700))
	require.NoError(t, os.Mkdir(sidecar, 0o700))
	s.URL = "http://" + addr
	s.Process = start(t, []string{"ROOT_ACCESS_KEY_ID=" + s.KeyID, "ROOT_SECRET_ACCESS_KEY=" + s.Secret},
		program, "--port", addr, "--region", s.Region, "--quiet", "--keep-alive", "posix", "--sidecar", sidecar, data)
	s.awaitPort(t, addr)
	return s
}
