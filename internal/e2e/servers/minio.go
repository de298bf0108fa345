package servers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
)

// S3 is a server that speaks the protocol of Amazon S3.
type S3 struct {
	*Process

	URL    string // such as http://127.0.0.1:9000
	KeyID  string
	Secret string
	Region string
	CA     []byte // the certificate of the server's authority in PEM form; nil without TLS
}

// Env is what the environment of restic needs to reach the server.
func (s *S3) Env() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + s.KeyID, "AWS_SECRET_ACCESS_KEY=" + s.Secret, "AWS_DEFAULT_REGION=" + s.Region}
}

// Settings are what our drivers need to reach the server. Nothing is taken from the environment.
func (s *S3) Settings() *backend.Settings {
	values := map[string]string{
		"AWS_ACCESS_KEY_ID": s.KeyID, "AWS_SECRET_ACCESS_KEY": s.Secret, "AWS_DEFAULT_REGION": s.Region, "CA_CERT_DATA": string(s.CA),
	}
	return &backend.Settings{Lookup: func(key string) (string, bool) {
		v, found := values[key]
		return v, found
	}}
}

// MinIO starts a MinIO server, with TLS if asked for. Its buckets are the directories in a temporary one.
func MinIO(t testing.TB, secure bool) *S3 {
	t.Helper()
	program := minioProgram.need(t)
	s := &S3{KeyID: "minio-key-id", Secret: "minio-secret-key", Region: "us-east-1"}
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	dir := t.TempDir()
	certs := filepath.Join(dir, "certs")
	require.NoError(t, os.Mkdir(certs, 0o700))
	client := http.DefaultClient
	s.URL = "http://" + addr
	if secure {
		s.URL = "https://" + addr
		client, s.CA = certificate(t, certs)
	}
	s.Process = start(t, []string{
		"MINIO_ROOT_USER=" + s.KeyID, "MINIO_ROOT_PASSWORD=" + s.Secret, "MINIO_UPDATE=off", "MINIO_BROWSER=off",
	}, program, "server", "--quiet", "--certs-dir", certs, "--address", addr, filepath.Join(dir, "data"))
	s.await(t, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/minio/health/cluster", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("health: %s", resp.Status)
		}
		_ = resp.Body.Close() // nothing of it was wanted
		return err
	})
	return s
}

// certificate writes a certificate for 127.0.0.1 and its key to dir, under the names that MinIO looks for, and returns a client
// that trusts it. It is the one that net/http/httptest has for such ends.
func certificate(t testing.TB, dir string) (*http.Client, []byte) {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	require.NoError(t, err)
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "public.crt"), cert, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "private.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}, cert
}
