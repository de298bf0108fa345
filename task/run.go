package task

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
)

// +kubebuilder:object:generate=false

// Func is a Function that runs in this process. What it returns nil for has succeeded.
type Func func(ctx context.Context, c *Call) error

// +kubebuilder:object:generate=false

// Call is one step of a running Plan.
type Call struct {
	Plan *Plan
	Step *Step
	// Args are those of the Function, without its Command.
	Args []string
	// Failed is what an earlier step failed with; only steps with Always set see it.
	Failed error

	dir string
}

// Path is the place in this machine's file system of a path in the pod, such as one below TempDir.
func (c *Call) Path(p string) string {
	return filepath.Join(c.dir, filepath.FromSlash(path.Clean("/"+p)))
}

// +kubebuilder:object:generate=false

// Runner runs a Plan in this process.
type Runner struct {
	// Functions by the name of the Function; one whose name ends in a version, such as "elasticsearch-backup-8.2.0", is also found
	// without it. A step without one is an error before anything runs.
	Functions map[string]Func
	// Dir is where the volumes of the pod lie, in directories named by the paths at which they are mounted. Default: a new one, which
	// is removed in the end.
	Dir string
}

var version = regexp.MustCompile(`-v?[0-9]+(\.[0-9]+)*$`)

// WithoutVersion is the name of a Task or Function without the version at its end: "elasticsearch-backup" for "elasticsearch-backup-8.2.0".
func WithoutVersion(name string) string { return version.ReplaceAllString(name, "") }

func (r *Runner) function(name string) Func {
	if f := r.Functions[name]; f != nil {
		return f
	}
	return r.Functions[WithoutVersion(name)]
}

// Run carries the plan out in this process, step after step: no cluster, no containers. It ends at the first step that fails; those with
// Always set run nevertheless. Errors name the step.
func (p *Plan) Run(ctx context.Context, r Runner) (err error) {
	fail := func(err error) error { return fmt.Errorf("run task %s: %w", p.Task, err) }
	funcs := make([]Func, len(p.Steps))
	for i, s := range p.Steps {
		if funcs[i] = r.function(s.Function); funcs[i] == nil {
			return fail(fmt.Errorf("step %s: no function %s is bound: %w", s.Name, s.Function, fs.ErrNotExist))
		}
	}
	dir := r.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "escrow-task-"); err != nil {
			return fail(err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	for _, mount := range []string{TempDir, InterimDir} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(mount)), 0o700); err != nil {
			return fail(err)
		}
	}
	var failed error
	for i := range p.Steps {
		s := &p.Steps[i]
		if failed != nil && !s.Always {
			continue
		}
		stepCtx := ctx
		if failed != nil {
			// What tells of a failure must be able to, also where the failure is that the context has ended.
			stepCtx = context.WithoutCancel(ctx)
		} else if ctx.Err() != nil {
			failed = fmt.Errorf("step %s: %w", s.Name, context.Cause(ctx))
			stepCtx = context.WithoutCancel(ctx)
			if !s.Always {
				continue
			}
		}
		c := &Call{Plan: p, Step: s, Args: s.Spec.Args, Failed: failed, dir: dir}
		if err := funcs[i](stepCtx, c); err != nil {
			failed = errors.Join(failed, fmt.Errorf("step %s: %w", s.Name, err))
		}
	}
	if failed != nil {
		return fail(failed)
	}
	return nil
}
