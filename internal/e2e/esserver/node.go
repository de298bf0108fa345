package esserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
)

// Node is one Elasticsearch process. Its methods may be called concurrently.
type Node struct {
	Name string
	URL  string

	java string
	args []string
	log  string
	data string // folder

	mu   sync.Mutex
	proc *process
}

// process is one run of a node.
type process struct {
	cmd    *exec.Cmd
	killed bool
	done   chan struct{} // closed when it has ended
	err    error         // set before done is closed
}

func (n *Node) start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	logFile, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd := exec.Command(n.java, n.args...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends the signal of Pdeathsig when the thread that started the child ends, so keep that thread.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
		p.err = errors.Join(p.err, logFile.Close())
		close(p.done)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start node %s: %w", n.Name, err)
	}
	n.proc = p
	return nil
}

// Running reports whether the node's process is there.
func (n *Node) Running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil {
		return false
	}
	select {
	case <-n.proc.done:
		return false
	default:
		return true
	}
}

// PID is the id of the node's process, 0 if it was never started.
func (n *Node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil {
		return 0
	}
	return n.proc.cmd.Process.Pid
}

// died returns an error if the node has ended and nobody killed it.
func (n *Node) died() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil || n.proc.killed {
		return nil
	}
	select {
	case <-n.proc.done:
		return fmt.Errorf("node %s ended: %w", n.Name, cmp.Or(n.proc.err, errors.New("exit status 0")))
	default:
		return nil
	}
}

// Kill ends the node with SIGKILL, as a crash would, and waits for its end.
func (n *Node) Kill() {
	n.mu.Lock()
	p := n.proc
	if p != nil && !p.killed {
		p.killed = true
		// The node leads its own process group; the children that it may have die too. ESRCH: it had ended already.
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
	n.mu.Unlock()
	if p != nil {
		<-p.done
	}
}

// Kill ends the i-th node with SIGKILL.
func (c *Cluster) Kill(i int) { c.Nodes[i].Kill() }

// Restart starts the i-th node again, with the data it had, and waits until the cluster has all running nodes.
func (c *Cluster) Restart(t testing.TB, i int) {
	t.Helper()
	if err := c.restart(t.Context(), i); err != nil {
		t.Fatalf("%v\n%s", err, c.LogTail())
	}
}

// Begin starts the i-th node again, and waits for nothing: for a cluster that will not be well by that alone.
func (c *Cluster) Begin(i int) error {
	c.Nodes[i].Kill()
	return c.Nodes[i].start()
}

// Replace starts an empty node in place of the i-th, which is lost with all that it held, and waits until the cluster has that many nodes.
func (c *Cluster) Replace(t testing.TB, i int) {
	t.Helper()
	n := c.Nodes[i]
	n.Kill()
	err := os.RemoveAll(n.data)
	if err == nil {
		err = os.Mkdir(n.data, 0o700)
	}
	if err == nil {
		err = c.restart(t.Context(), i)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, c.LogTail())
	}
}

func (c *Cluster) restart(ctx context.Context, i int) error {
	if err := c.Begin(i); err != nil {
		return err
	}
	running := 0
	for _, n := range c.Nodes {
		if n.Running() {
			running++
		}
	}
	return c.Await(ctx, running)
}
