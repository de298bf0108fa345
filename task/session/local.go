package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
)

// Local runs sessions in this process: the same objects, decisions and Functions as in a cluster, and no cluster. Store, Lookup and Functions are
// required.
type Local struct {
	Store     task.Store
	Lookup    task.Lookup
	Functions map[string]task.Func

	Hooks   Hooks
	Metrics metrics.Sink
	Names   metrics.Names
	Now     func() time.Time // default: time.Now
	// Step is told what is done next; default: nobody.
	Step func(what string)
}

func (l *Local) now() time.Time {
	if l.Now != nil {
		return l.Now()
	}
	return time.Now()
}

func (l *Local) step(format string, args ...any) {
	if l.Step != nil {
		l.Step(fmt.Sprintf(format, args...))
	}
}

func (l *Local) sink() metrics.Sink {
	if l.Metrics != nil {
		return l.Metrics
	}
	return metrics.Discard
}

// Backup makes a session for the invoker, a *task.BackupConfiguration or *task.BackupBatch, and runs it to its end. put stores the session
// before it begins. The session is returned whatever became of it; the error is that of a session that did not succeed.
func (l *Local) Backup(ctx context.Context, invoker task.Object, put func(task.Object)) (*task.BackupSession, error) {
	s, err := New(invoker, l.now(), true)
	if err != nil {
		return nil, err
	}
	found, bindings, err := Find(ctx, l.Store, invoker)
	if err != nil {
		return nil, err
	}
	phase, err := ValidateBackup(invoker, found, l.now())
	if err != nil {
		return nil, err
	}
	if phase != task.InvokerReady {
		return nil, fmt.Errorf("%v is %s: %s", invoker, phase, reason(invoker))
	}
	s.UID = "local"
	if _, err := StartBackup(s, invoker, nil, l.now()); err != nil {
		return nil, err
	}
	l.step("create %v", s)
	put(s)
	if d := s.Status.SessionDeadline; d != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, d.Time, errors.New("the session's deadline has passed"))
		defer cancel()
	}
	var failed []error
	order := task.Sequential // in one process the members of a batch run one after the other, and with Parallel all of them
	parallel := true
	if b, ok := invoker.(*task.BackupBatch); ok {
		parallel = b.Spec.ExecutionOrder != task.Sequential
	}
	phases := Phases(s)
	for {
		start, stop := Next(order, phases)
		if len(start) == 0 || stop {
			break
		}
		i := start[0]
		err := l.member(ctx, s, invoker, i, found.Repository, bindings[i])
		phases[i] = task.SessionSucceeded
		if err != nil {
			failed = append(failed, err)
			if !parallel {
				phases[i] = task.SessionFailed
			}
		}
	}
	err = l.Store.UpdateStatus(context.WithoutCancel(ctx), s.Namespace, s.Name, s, func() error {
		for i := range s.Status.Targets {
			if t := &s.Status.Targets[i]; !t.Phase.Final() {
				t.Phase = task.SessionSkipped
			}
		}
		FinishBackup(s, l.now())
		return nil
	})
	if err != nil {
		return s, errors.Join(append(failed, err)...)
	}
	l.step("set the phase of %v: %s", s, s.Status.Phase)
	failed = append(failed, RecordBackup(context.WithoutCancel(ctx), metrics.NewCatalogue(l.Names), l.sink(), s, invoker, l.now()))
	return s, errors.Join(failed...)
}

func reason(invoker task.Object) string {
	var c []task.Condition
	switch b := invoker.(type) {
	case *task.BackupConfiguration:
		c = b.Status.Conditions
	case *task.BackupBatch:
		c = b.Status.Conditions
	}
	for _, c := range c {
		if c.Status != "True" {
			return c.Message
		}
	}
	return "for no reason that is known"
}

func hooksOf(invoker task.Object, i int) *task.BackupHooks {
	switch b := invoker.(type) {
	case *task.BackupConfiguration:
		return b.Spec.Hooks
	case *task.BackupBatch:
		return b.Spec.Members[i].Hooks
	}
	return nil
}

// member backs up one target.
func (l *Local) member(ctx context.Context, s *task.BackupSession, invoker task.Object, i int, r *storage.Repository, b *appbinding.AppBinding) error {
	h := hooksOf(invoker, i)
	data := HookData{Namespace: s.Namespace, Session: s.Name, Invoker: s.Spec.Invoker, Target: s.Status.Targets[i].Ref}
	err := l.run(ctx, task.Invocation{Session: s, Invoker: invoker, Member: i, Repository: r, AppBinding: b}, BeforeBackup(h), AfterBackup(h), data)
	if err == nil {
		return nil
	}
	now := context.WithoutCancel(ctx)
	return errors.Join(err, l.Store.UpdateStatus(now, s.Namespace, s.Name, s, func() error {
		FailTarget(&s.Status.Targets[i], "", err.Error())
		return nil
	}))
}

// run resolves and runs one Task, with the hooks around it.
func (l *Local) run(ctx context.Context, in task.Invocation, before, after []task.Hook, data HookData) error {
	in.Variables = task.Variables{"ADDON_IMAGE": "none"}
	plan, err := task.Resolve(ctx, l.Lookup, in)
	if err != nil {
		return err
	}
	l.step("resolve task %s: %d steps", plan.Task, len(plan.Steps))
	functions := maps.Clone(l.Functions)
	for name, f := range functions {
		functions[name] = func(ctx context.Context, c *task.Call) error {
			l.step("run %s", c.Step.Name)
			return f(ctx, c)
		}
	}
	functions[task.HookFunction] = func(ctx context.Context, c *task.Call) error {
		l.step("run hooks %s", c.Step.Hook)
		if c.Step.Hook == task.HookPreBackup || c.Step.Hook == task.HookPreRestore {
			data.Status.Phase = task.SessionRunning
			return l.Hooks.Before(ctx, before, data)
		}
		data.Status.Phase = task.SessionSucceeded
		if c.Failed != nil {
			data.Status.Phase, data.Status.Error = task.SessionFailed, c.Failed.Error()
		}
		return l.Hooks.After(ctx, after, data, c.Failed != nil)
	}
	return plan.Run(ctx, task.Runner{Functions: functions})
}

// Restore runs a restore that is in the Store to its end. The error is that of a restore that did not succeed.
func (l *Local) Restore(ctx context.Context, s *task.RestoreSession) error {
	if s.Spec.Target == nil {
		return fmt.Errorf("%v: spec.target: is required", s)
	}
	found, bindings, err := Find(ctx, l.Store, s)
	if err != nil {
		return err
	}
	var decision Decision
	err = l.Store.UpdateStatus(ctx, s.Namespace, s.Name, s, func() error {
		decision = StartRestore(s, found, l.now())
		return nil
	})
	if err != nil {
		return err
	}
	if decision != Start {
		for _, c := range s.Status.Conditions {
			if c.Status != "True" {
				return fmt.Errorf("%v is %s: %s", s, s.Status.Phase, c.Message)
			}
		}
		return fmt.Errorf("%v is %s", s, s.Status.Phase)
	}
	if d := s.Status.SessionDeadline; d != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, d.Time, errors.New("the session's deadline has passed"))
		defer cancel()
	}
	h := s.Spec.Hooks
	data := HookData{Namespace: s.Namespace, Session: s.Name, Invoker: task.BackupInvokerRef{APIGroup: task.GroupVersion.Group, Kind: task.KindRestoreSession, Name: s.Name},
		Target: s.Spec.Target.Ref}
	failed := l.run(ctx, task.Invocation{Session: s, Repository: found.Repository, AppBinding: bindings[0]}, BeforeRestore(h), AfterRestore(h), data)
	now := context.WithoutCancel(ctx)
	err = l.Store.UpdateStatus(now, s.Namespace, s.Name, s, func() error {
		if failed != nil && len(s.Status.Stats) == 0 {
			FailRestore(s, failed.Error())
		}
		if failed != nil {
			for i := range s.Status.Stats {
				s.Status.Stats[i].Phase = task.SessionFailed
			}
		}
		FinishRestore(s, l.now())
		return nil
	})
	if err != nil {
		return errors.Join(failed, err)
	}
	l.step("set the phase of %v: %s", s, s.Status.Phase)
	return errors.Join(failed, RecordRestore(now, metrics.NewCatalogue(l.Names), l.sink(), s, l.now()))
}
