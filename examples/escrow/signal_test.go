//go:build unix

package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// asProgram makes the test binary be the program.
const asProgram = "ESCROW_TEST_RUN_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// A signal ends a backup in order.
func TestSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		s := newShell(t)
		server, _ := s.cluster()
		s.init()
		asked := make(chan struct{}, 1)
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/_search") {
				select { // the first one counts
				case asked <- struct{}{}:
				default:
				}
				_, _ = io.Copy(io.Discard, r.Body) // only then the server sees the client go
				<-r.Context().Done()
				return
			}
			server.ServeHTTP(w, r)
		}))
		cmd := exec.CommandContext(t.Context(), os.Args[0], "backup", "--es", front.URL)
		cmd.Env = append(os.Environ(), asProgram+"=1")
		for name, value := range s.env {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		require.NoError(t, cmd.Start())
		<-asked
		require.NoError(t, cmd.Process.Signal(sig))
		require.Error(t, cmd.Wait())
		front.Close()
		require.Equal(t, exitFailed, cmd.ProcessState.ExitCode(), stderr.String())
		require.Regexp(t, `\Aescrow: backup: interrupted: [^\n]+\n\z`, stderr.String())
		require.Contains(t, s.ok("snapshots"), "0 snapshots")
		locks, err := filepath.Glob(filepath.Join(s.repo(), "locks", "*"))
		require.NoError(t, err)
		require.Empty(t, locks)
	}
}
