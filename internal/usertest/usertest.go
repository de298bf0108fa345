//go:build unix

// Package usertest runs tests as a user to whom permissions apply, wherever they are run: root may read and write everything, so that a
// test of what is not permitted says nothing when root runs it.
package usertest

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// nobody is the user without rights of every system, and his group.
const nobody = 65534

// Unprivileged runs the body of a test, which does nothing else. Where root runs the test, the body runs in another process, as the user
// nobody, who has a folder of his own: it is the working directory, $HOME and what TempDir makes folders in. The test fails if it fails there
// or is skipped.
func Unprivileged(t *testing.T, body func(t *testing.T)) {
	t.Helper()
	if os.Geteuid() != 0 {
		body(t)
		return
	}
	home, err := os.MkdirTemp("", "usertest") // not t.TempDir, whose parents are root's alone
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(home)) })
	program := filepath.Join(home, "test")
	require.NoError(t, copyProgram(program))
	for _, name := range []string{home, program} {
		require.NoError(t, os.Chown(name, nobody, nobody))
	}
	name := "^" + strings.ReplaceAll(regexp.QuoteMeta(t.Name()), "/", "$/^") + "$"
	cmd := exec.CommandContext(t.Context(), program, "-test.run="+name, "-test.v", "-test.timeout=5m")
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "as nobody: %s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name()+" ", "as nobody")
}

// copyProgram copies this program to where others may run it.
func copyProgram(to string) error {
	from, err := os.Executable()
	if err != nil {
		return err
	}
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		_ = w.Close()
		return err
	}
	return w.Close()
}
