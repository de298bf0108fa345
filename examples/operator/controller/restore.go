package controller

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/session"
)

// restoring is what a RestoreSession and a RestoreBatch have in common.
type restoring struct {
	object task.Object
	kind   string
	order  task.ExecutionOrder
	hooks  *batchHooks
	// before and status are the status as it was and as it is, and phase and conditions parts of it.
	before, status any
	phase          *task.SessionPhase
	conditions     *[]task.Condition
	deadline       func() *metav1.Time

	start   func(session.Found, time.Time) session.Decision
	finish  func(time.Time) bool
	members func(*storage.Repository, []*appbinding.AppBinding) []*member
	skip    func(i int)
	record  func(context.Context, metrics.Sink) error
}

// RestoreSession reconciles one.
func (o *Operator) RestoreSession(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	s := new(task.RestoreSession)
	if found, err := o.get(ctx, req.Namespace, req.Name, s); err != nil || !found {
		return reconcile.Result{}, err
	}
	st := &s.Status
	return settle(o.restore(ctx, &restoring{
		object: s, kind: task.KindRestoreSession, before: st.DeepCopy(), status: st, phase: &st.Phase, conditions: &st.Conditions,
		deadline: func() *metav1.Time { return st.SessionDeadline },
		start:    func(f session.Found, now time.Time) session.Decision { return session.StartRestore(s, f, now) },
		finish:   func(now time.Time) bool { return session.FinishRestore(s, now) },
		members: func(r *storage.Repository, bindings []*appbinding.AppBinding) []*member {
			return []*member{o.restoreMember(s, r, bindings)}
		},
		skip: func(int) {}, // one target has nothing to wait for
		record: func(ctx context.Context, sink metrics.Sink) error {
			return session.RecordRestore(ctx, o.catalogue(), sink, s, o.now())
		},
	}))
}

func (o *Operator) restoreMember(s *task.RestoreSession, r *storage.Repository, bindings []*appbinding.AppBinding) *member {
	st := &s.Status
	m := &member{in: task.Invocation{Session: s, Repository: r}, conditions: &st.Conditions, whole: &st.Conditions,
		phase: func() task.SessionPhase {
			switch {
			case len(st.Stats) > 0:
				return st.Stats[0].Phase
			case task.IsTrue(st.Conditions, task.RestoreJobCreated):
				return task.SessionRunning
			}
			return task.SessionPending
		},
		begin: func() {}, // the conditions tell
		succeed: func() {
			st.Stats = []task.HostRestoreStats{{Hostname: task.Host(s.Spec.Target.Alias), Phase: task.SessionSucceeded}}
		},
		fail:    func(message string) { session.FailRestore(s, message) },
		ensured: []string{task.RestoreJobCreated, task.RestoreExecutorEnsured},
		hooked:  [2]string{task.PreRestoreHookExecutionSucceeded, task.PostRestoreHookExecutionSucceeded},
		execs:   execs(session.BeforeRestore(s.Spec.Hooks), session.AfterRestore(s.Spec.Hooks)),
	}
	if len(bindings) > 0 {
		m.in.AppBinding = bindings[0]
	}
	return m
}

// RestoreBatch reconciles one.
func (o *Operator) RestoreBatch(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	b := new(task.RestoreBatch)
	if found, err := o.get(ctx, req.Namespace, req.Name, b); err != nil || !found {
		return reconcile.Result{}, err
	}
	st := &b.Status
	return settle(o.restore(ctx, &restoring{
		object: b, kind: task.KindRestoreBatch, order: b.Spec.ExecutionOrder, hooks: hooksOfRestores(b), before: st.DeepCopy(), status: st, phase: &st.Phase, conditions: &st.Conditions,
		deadline: func() *metav1.Time { return st.SessionDeadline },
		start:    func(f session.Found, now time.Time) session.Decision { return session.StartRestoreBatch(b, f, now) },
		finish:   func(now time.Time) bool { return session.FinishRestoreBatch(b, now) },
		members: func(r *storage.Repository, bindings []*appbinding.AppBinding) []*member {
			return batchMembers(b, r, bindings)
		},
		skip: func(i int) { st.Members[i].Phase = task.SessionSkipped },
		record: func(ctx context.Context, sink metrics.Sink) error {
			return session.RecordRestoreBatch(ctx, o.catalogue(), sink, b, o.now())
		},
	}))
}

func batchMembers(b *task.RestoreBatch, r *storage.Repository, bindings []*appbinding.AppBinding) []*member {
	var out []*member
	for i := range b.Status.Members {
		t := &b.Status.Members[i]
		var spec task.RestoreTargetSpec
		if i < len(b.Spec.Members) {
			spec = b.Spec.Members[i]
		}
		alias := ""
		if spec.Target != nil {
			alias = spec.Target.Alias
		}
		m := &member{in: task.Invocation{Session: b, Member: i, Repository: r},
			phase: func() task.SessionPhase { return t.Phase }, conditions: &t.Conditions, whole: &b.Status.Conditions,
			begin:   func() { t.Phase = task.SessionRunning },
			succeed: func() { t.Phase = task.SessionSucceeded },
			fail:    func(message string) { session.FailRestoreMember(t, alias, message) },
			ensured: []string{task.RestoreJobCreated, task.RestoreExecutorEnsured},
			hooked:  [2]string{task.PreRestoreHookExecutionSucceeded, task.PostRestoreHookExecutionSucceeded},
			execs:   execs(session.BeforeRestore(spec.Hooks), session.AfterRestore(spec.Hooks)),
		}
		if i < len(bindings) {
			m.in.AppBinding = bindings[i]
		}
		out = append(out, m)
	}
	return out
}

func (o *Operator) restore(ctx context.Context, r *restoring) (reconcile.Result, error) {
	if !r.object.GetDeletionTimestamp().IsZero() {
		return reconcile.Result{}, o.forget(ctx, r.object, metrics.Group(r.kind, r.object.GetNamespace(), r.object.GetName()))
	}
	if r.phase.Final() {
		return reconcile.Result{}, o.cleanup(ctx, r.object)
	}
	if err := o.finalize(ctx, r.object, o.Config.Pushgateway != ""); err != nil {
		return reconcile.Result{}, err
	}
	found, bindings, err := o.find(ctx, r.object)
	if err != nil {
		return reconcile.Result{}, err
	}
	if *r.phase != task.SessionRunning {
		switch r.start(found, o.now()) {
		case session.Skip:
			return reconcile.Result{}, o.save(ctx, r.object, r.before, r.status)
		case session.Wait:
			if r.finish(o.now()) {
				return o.endRestore(ctx, r)
			}
			return reconcile.Result{RequeueAfter: sooner(waiting, until(o.now(), r.deadline()))}, o.save(ctx, r.object, r.before, r.status)
		}
		return reconcile.Result{RequeueAfter: time.Second}, o.save(ctx, r.object, r.before, r.status)
	}
	members := r.members(found.Repository, bindings)
	// With its time up, what is not over never will be.
	over := passed(o.now(), r.deadline())
	if over {
		err = o.late(ctx, members, r.hooks)
	} else {
		over, err = o.runAll(ctx, r.order, members, r.skip, r.hooks)
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	if !over || !r.finish(o.now()) {
		return reconcile.Result{RequeueAfter: sooner(polling, until(o.now(), r.deadline()))}, o.save(ctx, r.object, r.before, r.status)
	}
	return o.endRestore(ctx, r)
}

func (o *Operator) endRestore(ctx context.Context, r *restoring) (reconcile.Result, error) {
	sink, err := o.sink()
	if err == nil {
		err = r.record(ctx, sink)
	}
	o.pushed(r.conditions, task.MetricsPushed, err)
	if err := o.save(ctx, r.object, r.before, r.status); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{}, o.cleanup(ctx, r.object)
}
