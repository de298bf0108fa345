package kubelet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// nonRoot is the user of an image whose pod may not be root and names nobody, as in distroless images.
const nonRoot = 65532

const (
	exitStartError  = 128
	longestBackoff  = time.Minute
	longestMessage  = 4096
	tailForMessages = 2048
)

// container is one container of a pod, in all its restarts.
type container struct {
	pod     *pod
	spec    *corev1.Container
	volumes map[string]string // by name, the paths on this machine
	initial bool
	status  corev1.ContainerStatus
}

func newContainer(p *pod, spec *corev1.Container, volumes map[string]string, initial bool) *container {
	return &container{
		pod: p, spec: spec, volumes: volumes, initial: initial,
		status: corev1.ContainerStatus{Name: spec.Name, Image: spec.Image, ImageID: "local://" + spec.Image},
	}
}

// run starts the container as often as the restart policy says, and returns an error if its last end was a failure.
func (c *container) run(ctx, active context.Context) error {
	for {
		end := c.once(ctx, active)
		if end == nil { // it never ran
			return fmt.Errorf("container %s: %w", c.spec.Name, context.Cause(active))
		}
		c.status.Ready, c.status.Started = false, new(false)
		c.status.State = corev1.ContainerState{Terminated: end}
		c.pod.setContainer(ctx, &c.status, c.initial)
		if !c.restarts(active, end.ExitCode) {
			if end.ExitCode != 0 {
				return fmt.Errorf("container %s ended with exit code %d", c.spec.Name, end.ExitCode)
			}
			return nil
		}
		c.status.LastTerminationState = c.status.State
		c.wait(ctx, "CrashLoopBackOff", "back-off of a restarted container")
		backoff := min(time.Second<<min(c.status.RestartCount, 10), longestBackoff)
		c.status.RestartCount++
		if pause(active, backoff) != nil {
			c.status.State = corev1.ContainerState{Terminated: end}
			c.pod.setContainer(ctx, &c.status, c.initial)
			return fmt.Errorf("container %s ended with exit code %d", c.spec.Name, end.ExitCode)
		}
	}
}

func (c *container) restarts(active context.Context, code int32) bool {
	if active.Err() != nil {
		return false
	}
	switch c.pod.object.Spec.RestartPolicy {
	case corev1.RestartPolicyAlways:
		return !c.initial || code != 0
	case corev1.RestartPolicyOnFailure:
		return code != 0
	default:
		return false
	}
}

func (c *container) wait(ctx context.Context, reason, message string) {
	c.status.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	c.pod.setContainer(ctx, &c.status, c.initial)
}

// once runs the container once. It returns nil if the pod has to end before the container could start.
func (c *container) once(ctx, active context.Context) *corev1.ContainerStateTerminated {
	var s *start
	for {
		var err error
		if s, err = c.prepare(active); err == nil {
			break
		}
		if active.Err() != nil {
			return nil
		}
		// A Secret without that key, for instance. It may get it.
		c.wait(ctx, "CreateContainerConfigError", err.Error())
		if pause(active, again) != nil {
			return nil
		}
	}
	started := metav1.Now()
	end := &corev1.ContainerStateTerminated{StartedAt: started}
	code, err := c.execute(active, s, func(pid int) {
		c.status.ContainerID = "local://" + strconv.Itoa(pid)
		c.status.Ready, c.status.Started = true, new(true)
		c.status.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}}
		c.pod.setContainer(ctx, &c.status, c.initial)
	})
	end.ContainerID, end.FinishedAt, end.ExitCode = c.status.ContainerID, metav1.Now(), int32(code)
	switch {
	case err != nil:
		end.ExitCode, end.Reason, end.Message = exitStartError, "StartError", err.Error()
	case code != 0:
		end.Reason, end.Message = "Error", c.message(s, true)
	default:
		end.Reason, end.Message = "Completed", c.message(s, false)
	}
	return end
}

// start is all that the process needs to know to become the container. It goes through a pipe: it holds secrets.
type start struct {
	Mounts   []mount
	Hosts    string // of /etc/hosts
	Program  string // the image: bound into the root folder
	Dir      string
	Command  []string
	Env      []string
	User     int
	Group    int
	Groups   []int
	ReadOnly bool // the root file system
	NoRaise  bool // no new privileges

	logPath  string
	termPath string
}

type mount struct {
	Source   string // on this machine
	Target   string // in the container
	ReadOnly bool
}

func (c *container) prepare(ctx context.Context) (*start, error) {
	env, values, err := c.pod.environment(ctx, c.spec)
	if err != nil {
		return nil, err
	}
	s := &start{Dir: c.spec.WorkingDir, Env: env}
	s.Program = c.pod.kubelet.options.Images[c.spec.Image]
	for _, arg := range c.spec.Command {
		s.Command = append(s.Command, expand(arg, values))
	}
	if len(s.Command) == 0 {
		if s.Program == "" {
			return nil, fmt.Errorf("image %q has no entry point here, and the container no command", c.spec.Image)
		}
		s.Command = []string{"/" + filepath.Base(s.Program)}
	}
	for _, arg := range c.spec.Args {
		s.Command = append(s.Command, expand(arg, values))
	}
	if err := c.identity(s); err != nil {
		return nil, err
	}
	if s.Hosts, err = c.pod.hosts(ctx); err != nil {
		return nil, err
	}

	name := fmt.Sprintf("%s.%d", c.spec.Name, c.status.RestartCount)
	logs := filepath.Join(c.pod.kubelet.options.Root, "logs", c.pod.object.Namespace, c.pod.object.Name)
	messages := filepath.Join(c.pod.dir, "messages")
	if err := errors.Join(os.MkdirAll(logs, 0o755), os.MkdirAll(messages, 0o755)); err != nil {
		return nil, err
	}
	s.logPath, s.termPath = filepath.Join(logs, name+".log"), filepath.Join(messages, name)
	if err := errors.Join(os.WriteFile(s.termPath, nil, 0o600), os.Chmod(s.termPath, 0o666)); err != nil {
		return nil, err
	}
	for _, m := range c.spec.VolumeMounts {
		source := c.volumes[m.Name]
		sub := m.SubPath
		if m.SubPathExpr != "" {
			sub = expand(m.SubPathExpr, values)
		}
		if sub != "" {
			source = filepath.Join(source, filepath.Clean("/"+sub))
			if err := makeFolder(source); err != nil {
				return nil, err
			}
		}
		s.Mounts = append(s.Mounts, mount{source, path.Clean(m.MountPath), m.ReadOnly})
	}
	if c.spec.TerminationMessagePath != "" {
		s.Mounts = append(s.Mounts, mount{Source: s.termPath, Target: c.spec.TerminationMessagePath})
	}
	return s, nil
}

// makeFolder makes the folder of a subPath, for everybody, unless something is there.
func makeFolder(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	return errors.Join(os.MkdirAll(path, 0o777), os.Chmod(path, 0o777))
}

// identity says as whom the container runs, and with which rights.
func (c *container) identity(s *start) error {
	pod, own := c.pod.object.Spec.SecurityContext, c.spec.SecurityContext
	if pod == nil {
		pod = &corev1.PodSecurityContext{}
	}
	if own == nil {
		own = &corev1.SecurityContext{}
	}
	first := func(ids ...*int64) (int, bool) {
		for _, id := range ids {
			if id != nil {
				return int(*id), true
			}
		}
		return 0, false
	}
	user, named := first(own.RunAsUser, pod.RunAsUser)
	notRoot := own.RunAsNonRoot
	if notRoot == nil {
		notRoot = pod.RunAsNonRoot
	}
	if notRoot != nil && *notRoot {
		if !named {
			user = nonRoot
		}
		if user == 0 {
			return errors.New("the container has runAsNonRoot and would run as root")
		}
	}
	s.User = user
	s.Group, _ = first(own.RunAsGroup, pod.RunAsGroup)
	if pod.FSGroup != nil {
		s.Groups = append(s.Groups, int(*pod.FSGroup))
	}
	for _, g := range pod.SupplementalGroups {
		s.Groups = append(s.Groups, int(g))
	}
	s.ReadOnly = own.ReadOnlyRootFilesystem != nil && *own.ReadOnlyRootFilesystem
	s.NoRaise = own.AllowPrivilegeEscalation != nil && !*own.AllowPrivilegeEscalation
	return nil
}

// execute starts the process and waits for its end. The exit code of a process that was killed is 128 and the signal.
func (c *container) execute(active context.Context, s *start, running func(pid int)) (int, error) {
	out, err := os.Create(s.logPath)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	defer w.Close()
	cmd := exec.Command("/proc/self/exe", ContainerCommand)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles, cmd.Env = out, out, []*os.File{r}, []string{}
	// In its own space of process ids, all that it starts ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Setpgid: true, Pdeathsig: syscall.SIGKILL,
	}
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		// The kernel sends the signal of Pdeathsig when the thread that started the child ends, so keep that thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // ProcessState says it all
		}
	}()
	if err := <-started; err != nil {
		return 0, err
	}
	if err := errors.Join(json.NewEncoder(w).Encode(s), w.Close()); err != nil {
		_ = cmd.Process.Kill() // unless it has ended
		<-done
		return 0, err
	}
	running(cmd.Process.Pid)
	select {
	case <-done:
	case <-active.Done():
		c.end(cmd, done)
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return status.ExitStatus(), nil
}

// end asks a process to end, and kills it when its grace is over.
func (c *container) end(cmd *exec.Cmd, done chan struct{}) {
	_ = cmd.Process.Signal(syscall.SIGTERM) // unless it has ended
	grace := time.NewTimer(c.deadline())
	defer grace.Stop()
	select {
	case <-done:
	case <-grace.C:
		_ = cmd.Process.Kill()
		<-done
	}
}

// deadline is the grace of a deletion or, if the pod is not deleted, that of the pod.
func (c *container) deadline() time.Duration {
	select {
	case <-c.pod.stopped:
		return c.pod.gracePeriod()
	default:
	}
	if s := c.pod.object.Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return corev1.DefaultTerminationGracePeriodSeconds * time.Second
}

// message is what the container left as its last words, or the end of its log where the policy says so.
func (c *container) message(s *start, failed bool) string {
	b, err := os.ReadFile(s.termPath)
	if err != nil {
		return err.Error()
	}
	if len(b) > longestMessage {
		b = b[:longestMessage]
	}
	if len(b) == 0 && failed && c.spec.TerminationMessagePolicy == corev1.TerminationMessageFallbackToLogsOnError {
		if b, err = os.ReadFile(s.logPath); err != nil {
			return err.Error()
		}
		b = b[max(0, len(b)-tailForMessages):]
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}
