package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// terminal runs a command with a terminal as standard error, and gives the exit code and what was written to that.
func (s *shell) terminal(args ...string) (code int, shown string) {
	t := s.t
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	defer func() { require.NoError(t, master.Close()) }()
	require.NoError(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	var out strings.Builder
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(&out, master) }) // that the other end was closed is an error here
	code = run(s.ctx, args, func(name string) string { return s.env[name] }, nil, io.Discard, slave)
	require.NoError(t, slave.Close())
	reading.Wait()
	return code, out.String()
}

// On a terminal a bar shows how far a command has come, and is gone when the result or the error is printed.
func TestBarOnATerminal(t *testing.T) {
	s := newShell(t)
	server, _ := s.cluster()
	s.init()
	for _, args := range [][]string{{"backup"}, {"verify"}, {"restore", "--rename", "*=new-*"}} {
		code, shown := s.terminal(append(args, "--es", server.URL)...)
		require.Zero(t, code, shown)
		require.Contains(t, shown, "/2 indices, 350 of 350 documents")
		require.Contains(t, shown, "100% ████████████████████████")
		require.True(t, strings.HasSuffix(shown, "\x1b[2K\r"), "%q", shown)
	}
	server.Inject().Path("/_bulk").Nth(2).Status(403) // of one of the two indices
	code, shown := s.terminal("restore", "--rename", "*=more-*", "--es", server.URL)
	require.Equal(t, exitFailed, code)
	i := strings.LastIndex(shown, "\x1b[2K\r")
	require.Positive(t, i, "%q", shown)
	require.Regexp(t, `\Aescrow: restore: index more-(logs|orders): [^\n]+\n\z`, shown[i+len("\x1b[2K\r"):])

	code, shown = s.terminal("snapshots")
	require.Zero(t, code)
	require.Empty(t, shown)
}
