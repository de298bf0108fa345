package servers

import (
	"context"
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/need"
	"github.com/escrow-backup/escrow/repository/backend"
)

// swiftLauncher configures and runs Swift's servers.
//
//go:embed swift_server.py
var swiftLauncher string

// Swift is an OpenStack Swift with the account "test", whose one storage device is a temporary directory. Besides the default
// storage policy, "gold", it has "silver".
type Swift struct {
	*Process

	AuthURL  string // of version 1, such as http://127.0.0.1:8080/auth/v1.0
	URL      string // of the account
	User     string // of the account, and may do everything there
	Password string
	Stranger string // is let in with the same password, and may do nothing in the account
}

// StartSwift starts the servers that Debian's python3-swift has, with tempauth, in one process.
func StartSwift(t testing.TB) *Swift {
	t.Helper()
	const python = "/usr/bin/python3" // Debian's own, whatever comes first in PATH
	find := `import importlib.util, sys; sys.exit(importlib.util.find_spec("swift.proxy.server") is None)`
	if err := exec.CommandContext(t.Context(), python, "-I", "-c", find).Run(); err != nil {
		need.Missing(t, "Swift is not installed: apt-get install --no-install-recommends python3-swift")
	}
	s := &Swift{User: "test:tester", Password: "testing", Stranger: "other:stranger"}
	dir := t.TempDir()
	s.Process = start(t, nil, python, "-I", "-c", swiftLauncher, dir,
		s.User+"="+s.Password+":.admin", s.Stranger+"="+s.Password+":.admin")
	s.await(t, func(context.Context) error {
		port, err := os.ReadFile(filepath.Join(dir, "port"))
		if err == nil {
			s.AuthURL = "http://127.0.0.1:" + string(port) + "/auth/v1.0"
			s.URL = "http://127.0.0.1:" + string(port) + "/v1/AUTH_test"
		}
		return err
	})
	require.NotEmpty(t, s.AuthURL)
	return s
}

// Env is what the environment of restic needs to reach the server.
func (s *Swift) Env() []string {
	return []string{"ST_AUTH=" + s.AuthURL, "ST_USER=" + s.User, "ST_KEY=" + s.Password}
}

// Settings are what our driver needs to reach the server as a user. Nothing is taken from the environment.
func (s *Swift) Settings(user, password string) *backend.Settings {
	return settings(map[string]string{"ST_AUTH": s.AuthURL, "ST_USER": user, "ST_KEY": password})
}
