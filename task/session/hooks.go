package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/escrow-backup/escrow/task"
)

const defaultHookTimeout = 300 * time.Second

// Hooks execute hooks. The zero value executes those over HTTP and TCP.
type Hooks struct {
	// Exec runs a command in a container of the target: in Kubernetes, or wherever else it is. Without it, exec is an error.
	Exec func(ctx context.Context, target task.TargetRef, container string, command []string) error
	// Client sends requests; default: http.DefaultClient.
	Client *http.Client
	// Host is where requests and connections go that name no host; default: localhost. HostOf, where it is set, says so for a target.
	Host   string
	HostOf func(ctx context.Context, target task.TargetRef) (string, error)
}

// HookData is what the templates of hooks see, such as {{ .Status.Phase }}.
type HookData struct {
	Namespace string
	Session   string
	Invoker   task.BackupInvokerRef
	Target    task.TargetRef
	Status    HookStatus
}

// HookStatus is how far the session is. Before, the phase is Running.
type HookStatus struct {
	Phase    task.SessionPhase
	Duration string
	Error    string
}

// BeforeBackup are the hooks to run before a backup, in order.
func BeforeBackup(h *task.BackupHooks) []task.Hook {
	if h == nil {
		return nil
	}
	return before("preBackup", h.PreBackup, h.Before)
}

// AfterBackup are the hooks to run after a backup, in order.
func AfterBackup(h *task.BackupHooks) []task.Hook {
	if h == nil {
		return nil
	}
	return after("postBackup", h.PostBackup, h.After)
}

// BeforeRestore are the hooks to run before a restore, in order.
func BeforeRestore(h *task.RestoreHooks) []task.Hook {
	if h == nil {
		return nil
	}
	return before("preRestore", h.PreRestore, h.Before)
}

// AfterRestore are the hooks to run after a restore, in order.
func AfterRestore(h *task.RestoreHooks) []task.Hook {
	if h == nil {
		return nil
	}
	return after("postRestore", h.PostRestore, h.After)
}

func before(name string, one *task.Handler, list []task.Hook) []task.Hook {
	var out []task.Hook
	if one != nil {
		out = append(out, task.Hook{Handler: *one, Name: name})
	}
	return append(out, list...)
}

func after(name string, one *task.PostHook, list []task.Hook) []task.Hook {
	out := append([]task.Hook{}, list...)
	if one != nil {
		out = append(out, task.Hook{Handler: one.Handler, Name: name, ExecutionPolicy: one.ExecutionPolicy})
	}
	return out
}

// Before runs the hooks in order and ends at the first that fails.
func (h *Hooks) Before(ctx context.Context, hooks []task.Hook, data HookData) error {
	for i := range hooks {
		if err := h.run(ctx, &hooks[i], i, data); err != nil {
			return err
		}
	}
	return nil
}

// After runs those of the hooks whose policy fits, in order: all of them, though one fails.
func (h *Hooks) After(ctx context.Context, hooks []task.Hook, data HookData, failed bool) error {
	var errs []error
	for i := range hooks {
		switch p := hooks[i].ExecutionPolicy; {
		case p == task.ExecuteOnSuccess && failed, p == task.ExecuteOnFailure && !failed:
		default:
			errs = append(errs, h.run(ctx, &hooks[i], i, data))
		}
	}
	return errors.Join(errs...)
}

func (h *Hooks) run(ctx context.Context, hook *task.Hook, i int, data HookData) error {
	name := hook.Name
	if name == "" {
		name = strconv.Itoa(i)
	}
	timeout := defaultHookTimeout
	if hook.TimeoutSeconds > 0 {
		timeout = time.Duration(hook.TimeoutSeconds) * time.Second
	}
	limited, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not done within %v", timeout))
	defer cancel()
	filled, err := hook.Fill(data)
	if err == nil {
		err = h.handle(limited, filled, data.Target)
	}
	if err == nil {
		return nil
	}
	if limited.Err() != nil {
		err = context.Cause(limited)
	}
	return fmt.Errorf("hook %s: %w", name, err)
}

func (h *Hooks) handle(ctx context.Context, a *task.Handler, target task.TargetRef) error {
	switch {
	case a.Exec != nil:
		if h.Exec == nil {
			return fmt.Errorf("exec: %w here", errors.ErrUnsupported)
		}
		return h.Exec(ctx, target, a.ContainerName, a.Exec.Command)
	case a.HTTPGet != nil:
		g := a.HTTPGet
		return h.request(ctx, target, http.MethodGet, g.Scheme, g.Host, g.Port, g.Path, g.HTTPHeaders, "", "")
	case a.HTTPPost != nil:
		p := a.HTTPPost
		body, kind := p.Body, ""
		if len(p.Form) > 0 {
			form := url.Values{}
			for _, e := range p.Form {
				form[e.Key] = append(form[e.Key], e.Values...)
			}
			body, kind = form.Encode(), "application/x-www-form-urlencoded"
		}
		return h.request(ctx, target, http.MethodPost, p.Scheme, p.Host, p.Port, p.Path, p.HTTPHeaders, body, kind)
	case a.TCPSocket != nil:
		address, err := h.address(ctx, target, a.TCPSocket.Host, a.TCPSocket.Port)
		if err != nil {
			return err
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
	return errors.New("has no action")
}

func (h *Hooks) address(ctx context.Context, target task.TargetRef, host string, port intstr.IntOrString) (string, error) {
	if host == "" && h.HostOf != nil {
		var err error
		if host, err = h.HostOf(ctx, target); err != nil {
			return "", err
		}
	}
	if host == "" {
		host = h.Host
	}
	if host == "" {
		host = "localhost"
	}
	n, err := strconv.Atoi(port.String())
	if err != nil || n < 1 || n > 65535 {
		return "", fmt.Errorf("port %q is no number: names of ports are not known here", port.String())
	}
	return net.JoinHostPort(host, strconv.Itoa(n)), nil
}

// request sends one. Errors do not quote the path or the body: there may be a token in them.
func (h *Hooks) request(ctx context.Context, target task.TargetRef, method string, scheme corev1.URIScheme, host string, port intstr.IntOrString, path string,
	headers []corev1.HTTPHeader, body, kind string) error {
	address, err := h.address(ctx, target, host, port)
	if err != nil {
		return err
	}
	s := strings.ToLower(string(scheme))
	if s == "" {
		s = "http"
	}
	where := s + "://" + address
	req, err := http.NewRequestWithContext(ctx, method, where+"/"+strings.TrimPrefix(path, "/"), strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s %s: the path is none of a URL", method, where)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	for _, header := range headers {
		if strings.EqualFold(header.Name, "Host") {
			req.Host = header.Value
		} else {
			req.Header.Add(header.Name, header.Value)
		}
	}
	client := h.Client
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("%s %s: %w", method, where, err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20)) // only so that the connection can be used again
	_ = res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode >= 400 {
		return fmt.Errorf("%s %s: the answer is %d %s", method, where, res.StatusCode, http.StatusText(res.StatusCode))
	}
	return nil
}
