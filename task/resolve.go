package task

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +kubebuilder:object:generate=false

// Lookup finds what an Invocation names. Where there is none, the error wraps fs.ErrNotExist.
type Lookup interface {
	Task(ctx context.Context, name string) (*Task, error)
	Function(ctx context.Context, name string) (*Function, error)
}

// +kubebuilder:object:generate=false

// Catalog is a Lookup in memory: Tasks and Functions by name.
type Catalog struct {
	tasks     map[string]*Task
	functions map[string]*Function
}

// NewCatalog holds the Tasks and Functions among the objects.
func NewCatalog(objects ...Object) *Catalog {
	c := &Catalog{tasks: map[string]*Task{}, functions: map[string]*Function{}}
	for _, o := range objects {
		switch o := o.(type) {
		case *Task:
			c.tasks[o.Name] = o
		case *Function:
			c.functions[o.Name] = o
		}
	}
	return c
}

// Task implements [Lookup].
func (c *Catalog) Task(_ context.Context, name string) (*Task, error) {
	return named(c.tasks, KindTask, name)
}

// Function implements [Lookup].
func (c *Catalog) Function(_ context.Context, name string) (*Function, error) {
	return named(c.functions, KindFunction, name)
}

func named[T any](m map[string]*T, kind, name string) (*T, error) {
	if o := m[name]; o != nil {
		return o, nil
	}
	return nil, fmt.Errorf("%s: %w", describe(kind, "", name), fs.ErrNotExist)
}

// HookFunction runs the hooks of a session. Where a Lookup has none of this name, it is the ADDON_IMAGE with the arguments that
// the command of examples/escrow takes.
const HookFunction = "run-hook"

// StatusFunction is the Function that writes what came of the others into the session.
const StatusFunction = "update-status"

func hookFunction() *Function {
	return &Function{ObjectMeta: metav1.ObjectMeta{Name: HookFunction}, Spec: FunctionSpec{
		Image: "${ADDON_IMAGE}",
		Args: []string{"run-hook", "--hook-type=${HOOK_TYPE}", "--namespace=${NAMESPACE}", "--backupsession=${BACKUP_SESSION:=}",
			"--restoresession=${RESTORE_SESSION:=}", "--restorebatch=${RESTORE_BATCH:=}", "--hostname=${HOSTNAME}", "--output-dir=${outputDir:=" + OutputDir + "}"},
	}}
}

// +kubebuilder:object:generate=false

// Plan is a resolved Task: what runs, in order. Job gives it to Kubernetes, Run carries it out in this process.
type Plan struct {
	Invocation Invocation
	// Task is the name of the Task.
	Task  string
	Steps []Step
	// Variables are all but those that a step has for itself.
	Variables Variables

	target  *target
	volumes []corev1.Volume
}

// +kubebuilder:object:generate=false

// Step is one Function of a Plan, its variables replaced.
type Step struct {
	// Name of the container; unique in a Plan.
	Name     string
	Function string
	Spec     FunctionSpec
	// Always is set for what runs though an earlier step has failed: the status, and hooks that run afterwards.
	Always bool
	// Hook is HookPreBackup or another of these for a hook.
	Hook string
}

// The values of HOOK_TYPE.
const (
	HookPreBackup   = "preBackup"
	HookPostBackup  = "postBackup"
	HookPreRestore  = "preRestore"
	HookPostRestore = "postRestore"
)

// Resolve finds the Task of a session and its Functions, and replaces the variables in every string of them, after parsing: no
// value can change anything else than the string that it stands in. A variable has the first of: the param of the TaskRef, what follows
// from the session (Invocation.Variables and the objects), the param of the step. An error wraps an [*UndefinedError] if variables without
// a default have no value, and then names them all.
func Resolve(ctx context.Context, l Lookup, in Invocation) (*Plan, error) {
	if in.Session == nil {
		return nil, errors.New("resolve: no session")
	}
	p, err := resolve(ctx, l, in)
	if err != nil {
		return nil, fmt.Errorf("resolve the task of %v: %w", in.Session, err)
	}
	return p, nil
}

func resolve(ctx context.Context, l Lookup, in Invocation) (*Plan, error) {
	t, err := in.target()
	if err != nil {
		return nil, err
	}
	if t.policy != nil && t.policy.Driver == DriverVolumeSnapshotter {
		return nil, fmt.Errorf("driver %s: %w", DriverVolumeSnapshotter, errors.ErrUnsupported)
	}
	addon, err := addonTask(in.AppBinding, t.restore)
	if err != nil {
		return nil, err
	}
	ref := t.task
	switch {
	case ref.Name == "" && addon.Name == "":
		return nil, errors.New("spec.task.name: is required: neither it nor the AppBinding names a Task")
	case ref.Name == "" || ref.Name == addon.Name:
		ref = TaskRef{Name: addon.Name, Params: merge(ref.Params, addon.Params)}
	}
	task, err := l.Task(ctx, ref.Name)
	if err != nil {
		return nil, fmt.Errorf("spec.task: %w", err)
	}
	if err := task.Validate(); err != nil {
		return nil, err
	}
	p := &Plan{Invocation: in, Task: ref.Name, target: t, Variables: in.variables(t)}
	for _, param := range ref.Params {
		p.Variables[param.Name] = param.Value
	}
	e := &expander{}
	hook := func(name string, post bool) error {
		kind := map[[2]bool]string{{false, false}: HookPreBackup, {false, true}: HookPostBackup,
			{true, false}: HookPreRestore, {true, true}: HookPostRestore}[[2]bool{t.restore, post}]
		err := p.add(ctx, l, e, name, FunctionRef{Name: HookFunction, Params: []Param{{Name: "HOOK_TYPE", Value: kind}}})
		if err == nil {
			p.Steps[len(p.Steps)-1].Hook, p.Steps[len(p.Steps)-1].Always = kind, post
		}
		return err
	}
	if t.hooked[0] {
		if err := hook("pre-hook", false); err != nil {
			return nil, err
		}
	}
	for _, step := range task.Spec.Steps {
		if err := p.add(ctx, l, e, step.Name, step); err != nil {
			return nil, err
		}
	}
	if t.hooked[1] {
		if err := hook("post-hook", true); err != nil {
			return nil, err
		}
	}
	e.vars = p.Variables
	spec, err := expandIn(e, "task "+task.Name, &TaskSpec{Volumes: task.Spec.Volumes})
	if err != nil {
		return nil, err
	}
	p.volumes = spec.Volumes
	if err := e.err(); err != nil {
		return nil, err
	}
	return p, nil
}

// add puts a step behind the others.
func (p *Plan) add(ctx context.Context, l Lookup, e *expander, name string, ref FunctionRef) error {
	f, err := l.Function(ctx, ref.Name)
	if ref.Name == HookFunction && errors.Is(err, fs.ErrNotExist) {
		f, err = hookFunction(), nil
	}
	if err != nil {
		return fmt.Errorf("step %s: %w", name, err)
	}
	if err := f.Validate(); err != nil {
		return fmt.Errorf("step %s: %w", name, err)
	}
	vars := Variables{}
	e.vars = p.Variables
	for i, param := range ref.Params {
		vars[param.Name] = e.expand(fmt.Sprintf("step %s: params[%d]", name, i), param.Value)
	}
	for name, value := range p.Variables {
		vars[name] = value
	}
	e.vars = vars
	spec, err := expandIn(e, "function "+f.Name, &f.Spec)
	if err != nil {
		return err
	}
	p.Steps = append(p.Steps, Step{Name: p.unique(name), Function: f.Name, Spec: *spec, Always: f.Name == StatusFunction})
	return nil
}

// unique makes a name of a container out of that of a Function, which may have dots and come twice.
func (p *Plan) unique(name string) string {
	base := strings.ToLower(strings.ReplaceAll(name, ".", "-"))
	base = strings.TrimRight(base[:min(len(base), 58)], "-")
	name = base
	for n := 2; ; n++ {
		taken := false
		for _, s := range p.Steps {
			taken = taken || s.Name == name
		}
		if !taken {
			return name
		}
		name = fmt.Sprintf("%s-%d", base, n)
	}
}

// Namespace is where the Job runs.
func (p *Plan) Namespace() string { return p.Invocation.Session.GetNamespace() }

// Target is what is backed up or restored, with its namespace.
func (p *Plan) Target() TargetRef {
	ref := p.target.ref
	ref.Namespace = cmp.Or(ref.Namespace, p.Namespace())
	return ref
}

// Host is the host name of the target's snapshots.
func (p *Plan) Host() string { return Host(p.target.alias) }
