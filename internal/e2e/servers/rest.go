package servers

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/need"
	"github.com/escrow-backup/escrow/repository/backend"
)

// REST is a server that speaks restic's REST protocol. Every path below its URL is a repository.
type REST struct {
	*Process

	URL      string // such as http://127.0.0.1:8000
	Username string
	Password string
	CA       []byte // the certificate of the server's authority in PEM form; nil without TLS
	Dir      string // where the repositories lie
}

// RcloneOptions of Rclone. The zero value is a server in plain HTTP that lets everybody do everything.
type RcloneOptions struct {
	AppendOnly bool
	Login      bool // with Username and Password
	TLS        bool
}

// Rclone starts "rclone serve restic" over a temporary directory.
func Rclone(t testing.TB, o RcloneOptions) *REST {
	t.Helper()
	program := need.Program(t, "rclone", "apt-get install rclone")
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	s := &REST{URL: "http://" + addr, Dir: t.TempDir()}
	// With its cache, a file that is listed while it is being written keeps the size that it had then.
	args := []string{"serve", "restic", "--cache-objects=false", "--addr", addr, "--config", filepath.Join(t.TempDir(), "none")}
	if o.AppendOnly {
		args = append(args, "--append-only")
	}
	if o.Login {
		s.Username, s.Password = "somebody", "p@ss/w0rd"
		args = append(args, "--user", s.Username, "--pass", s.Password)
	}
	if o.TLS {
		dir := t.TempDir()
		_, s.CA = certificate(t, dir)
		s.URL = "https://" + addr
		args = append(args, "--cert", filepath.Join(dir, "public.crt"), "--key", filepath.Join(dir, "private.key"))
	}
	s.Process = start(t, nil, program, append(args, s.Dir)...)
	s.awaitPort(t, addr)
	return s
}

// Settings are what our driver needs to reach the server. Nothing is taken from the environment.
func (s *REST) Settings() *backend.Settings {
	return settings(map[string]string{
		"RESTIC_REST_USERNAME": s.Username, "RESTIC_REST_PASSWORD": s.Password, "CA_CERT_DATA": string(s.CA),
	})
}

func settings(values map[string]string) *backend.Settings {
	return &backend.Settings{Lookup: func(key string) (string, bool) {
		v, found := values[key]
		return v, found
	}}
}

// Args are what restic needs to reach the server, besides credentials in its URL.
func (s *REST) Args(t testing.TB) []string {
	t.Helper()
	if s.CA == nil {
		return nil
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, s.CA, 0o600))
	return []string{"--cacert", file}
}
