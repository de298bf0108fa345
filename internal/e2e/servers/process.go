// Package servers starts the storage servers that the tests talk to: each a real program on 127.0.0.1, on a free port, with
// its data in a temporary directory, that dies with the test.
package servers

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// startLimit is how long a server may take until it answers.
const startLimit = 60 * time.Second

// stopLimit is how long a program that is asked to end may take.
const stopLimit = 20 * time.Second

// Process is a program that runs until its test ends.
type Process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
	err  error         // set before done is closed
}

// start runs a program with nothing of this process's environment but PATH, and with a HOME and TMPDIR of its own; env adds
// to that. It ends when the test does.
func start(t testing.TB, env []string, program string, args ...string) *Process {
	t.Helper()
	home := t.TempDir()
	p := &Process{cmd: exec.Command(program, args...), log: filepath.Join(home, "log"), done: make(chan struct{})}
	logFile, err := os.Create(p.log)
	require.NoError(t, err)
	p.cmd.Stdout, p.cmd.Stderr = logFile, logFile
	p.cmd.Dir = home
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + home}, env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The kernel sends the signal of Pdeathsig when the thread that started the child ends, so keep that thread.
		runtime.LockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
		p.err = errors.Join(p.err, logFile.Close())
		close(p.done)
	}()
	require.NoError(t, <-started, program)
	t.Cleanup(p.Kill)
	return p
}

// Kill ends the process and its children, and waits for its end.
func (p *Process) Kill() {
	// The process leads its own group. ESRCH: it had ended already.
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// Stop asks the process to end, kills it after a while, and waits for its end.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // unless it has ended
	select {
	case <-p.done:
	case <-time.After(stopLimit):
	}
	p.Kill()
}

// await asks again and again until ready returns nil, and fails the test with the program's last words if that takes too
// long or the program ends.
func (p *Process) await(t testing.TB, ready func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return
		}
		select {
		case <-p.done:
			t.Fatalf("%s ended: %v\n%s", p.cmd.Path, p.err, p.logTail())
		case <-ctx.Done():
			t.Fatalf("%s is not ready: %v\n%s", p.cmd.Path, err, p.logTail())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// awaitPort waits until something listens on the address.
func (p *Process) awaitPort(t testing.TB, addr string) {
	t.Helper()
	p.await(t, func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return c.Close()
	})
}

func (p *Process) logTail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4000):])
}

// freePort returns a port that nobody listens on at the moment.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	return l.Addr().(*net.TCPAddr).Port
}
