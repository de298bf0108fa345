package controller

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/session"
)

// BackupSession reconciles one.
func (o *Operator) BackupSession(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	return settle(o.backupSession(ctx, req))
}

func (o *Operator) backupSession(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	s := new(task.BackupSession)
	if found, err := o.get(ctx, req.Namespace, req.Name, s); err != nil || !found || !s.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, err
	}
	before := s.Status.DeepCopy()
	if err := s.Validate(); err != nil {
		if !s.Status.Phase.Final() {
			task.SetCondition(&s.Status.Conditions, task.ValidationPassed, false, "ResourceValidationFailed", oneLine(err.Error()), o.now())
			s.Status.Phase = task.SessionFailed
		}
		return reconcile.Result{}, o.save(ctx, s, before, &s.Status)
	}
	invoker, _, err := newInvoker(s.Spec.Invoker.Kind)
	if err != nil {
		return reconcile.Result{}, err
	}
	found, err := o.get(ctx, s.Namespace, s.Spec.Invoker.Name, invoker)
	if err != nil {
		return reconcile.Result{}, err
	}
	switch {
	case found && !invoker.GetDeletionTimestamp().IsZero():
		return reconcile.Result{}, nil // it takes its sessions with it
	case !found && s.Status.Phase.Final():
		return reconcile.Result{}, o.cleanup(ctx, s)
	case !found:
		session.Disrupt(s, fmt.Sprintf("There is no %s %s/%s.", s.Spec.Invoker.Kind, s.Namespace, s.Spec.Invoker.Name), o.now())
		if err := o.save(ctx, s, before, &s.Status); err != nil {
			return reconcile.Result{}, err
		}
		return reconcile.Result{}, o.cleanup(ctx, s)
	}
	if err := o.adopt(ctx, s, invoker); err != nil {
		return reconcile.Result{}, err
	}
	if s.Status.Phase.Final() {
		return o.afterBackup(ctx, s, invoker)
	}
	return o.runBackup(ctx, s, invoker, before)
}

// adopt makes a session that somebody made by hand one of the invoker's. Those of its CronJob are so already.
func (o *Operator) adopt(ctx context.Context, s *task.BackupSession, invoker task.Object) error {
	if metav1.IsControlledBy(s, invoker) {
		return nil
	}
	if err := controllerutil.SetControllerReference(invoker, s, o.Client.Scheme()); err != nil {
		return fmt.Errorf("adopt %v: %w", s, err)
	}
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	s.Annotations[session.AnnotationInstant] = "true"
	status := s.Status
	err := o.Client.Update(ctx, s)
	s.Status = status
	return err
}

func (o *Operator) runBackup(ctx context.Context, s *task.BackupSession, invoker task.Object, before *task.BackupSessionStatus) (reconcile.Result, error) {
	found, bindings, err := o.find(ctx, invoker)
	if err != nil {
		return reconcile.Result{}, err
	}
	if s.Status.Phase != task.SessionRunning {
		return o.beginBackup(ctx, s, invoker, found, before)
	}
	members := backupMembers(s, invoker, found.Repository, bindings)
	hooks, over := hooksOfBackups(s, invoker), passed(o.now(), s.Status.SessionDeadline)
	if over {
		err = o.late(ctx, members, hooks)
	} else {
		order := task.Parallel
		if b, ok := invoker.(*task.BackupBatch); ok {
			order = b.Spec.ExecutionOrder
		}
		over, err = o.runAll(ctx, order, members, func(i int) { s.Status.Targets[i].Phase = task.SessionSkipped }, hooks)
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	if !over || !session.FinishBackup(s, o.now()) {
		next := sooner(polling, until(o.now(), s.Status.SessionDeadline))
		return reconcile.Result{RequeueAfter: next}, o.save(ctx, s, before, &s.Status)
	}
	return o.endBackup(ctx, s, invoker, before)
}

// beginBackup lets the session begin, wait, or be skipped. That it runs is stored before anything is made for it: others must see it.
func (o *Operator) beginBackup(ctx context.Context, s *task.BackupSession, invoker task.Object, found session.Found, before *task.BackupSessionStatus) (reconcile.Result, error) {
	others, err := o.sessions(ctx, s.Namespace, s.Spec.Invoker.Kind, s.Spec.Invoker.Name)
	if err != nil {
		return reconcile.Result{}, err
	}
	others = slices.DeleteFunc(others, func(other task.BackupSession) bool { return !other.DeletionTimestamp.IsZero() })
	// As it is now: the status of the invoker may be older.
	if _, err := session.ValidateBackup(invoker, found, o.now()); err != nil {
		return reconcile.Result{}, err
	}
	decision, err := session.StartBackup(s, invoker, others, o.now())
	if err != nil {
		return reconcile.Result{}, err
	}
	if decision == session.Wait && session.FinishBackup(s, o.now()) {
		return o.endBackup(ctx, s, invoker, before)
	}
	next := time.Second // the change of the status leads here as well
	if decision == session.Wait {
		next = sooner(waiting, until(o.now(), s.Status.SessionDeadline))
	}
	return reconcile.Result{RequeueAfter: next}, o.save(ctx, s, before, &s.Status)
}

func backupMembers(s *task.BackupSession, invoker task.Object, r *storage.Repository, bindings []*appbinding.AppBinding) []*member {
	var out []*member
	for i := range s.Status.Targets {
		t := &s.Status.Targets[i]
		m := &member{in: task.Invocation{Session: s, Invoker: invoker, Member: i, Repository: r},
			phase: func() task.SessionPhase { return t.Phase }, conditions: &t.Conditions, whole: &s.Status.Conditions,
			begin:   func() { t.Phase = task.SessionRunning },
			succeed: func() { t.Phase = task.SessionSucceeded },
			ensured: []string{task.BackupExecutorEnsured},
			hooked:  [2]string{task.PreBackupHookExecutionSucceeded, task.PostBackupHookExecutionSucceeded}}
		if i < len(bindings) {
			m.in.AppBinding = bindings[i]
		}
		spec := backupSpec(invoker, i)
		alias := ""
		if spec.Target != nil {
			alias = spec.Target.Alias
		}
		m.fail = func(message string) { session.FailTarget(t, alias, message) }
		m.execs = execs(session.BeforeBackup(spec.Hooks), session.AfterBackup(spec.Hooks))
		out = append(out, m)
	}
	return out
}

// backupSpec is what a member says; empty if the invoker has lost it meanwhile.
func backupSpec(invoker task.Object, i int) *task.BackupTargetSpec {
	switch b := invoker.(type) {
	case *task.BackupConfiguration:
		return &b.Spec.BackupTargetSpec
	case *task.BackupBatch:
		if i < len(b.Spec.Members) {
			return &b.Spec.Members[i]
		}
	}
	return &task.BackupTargetSpec{}
}

// endBackup stores a session that is over, its metrics pushed. Pushing them twice does no harm.
func (o *Operator) endBackup(ctx context.Context, s *task.BackupSession, invoker task.Object, before *task.BackupSessionStatus) (reconcile.Result, error) {
	sink, err := o.sink()
	if err == nil {
		err = session.RecordBackup(ctx, o.catalogue(), sink, s, invoker, o.now())
	}
	o.pushed(&s.Status.Conditions, task.RepositoryMetricsPushed, err)
	if err := o.save(ctx, s, before, &s.Status); err != nil {
		return reconcile.Result{}, err
	}
	return o.afterBackup(ctx, s, invoker)
}

// pushed tells whether metrics were pushed; it does not change what became of the session.
func (o *Operator) pushed(conditions *[]task.Condition, kind string, err error) {
	if o.Metrics == nil || err == nil && task.IsFalse(*conditions, kind) {
		return
	}
	reason, message := "SuccessfullyPushedMetrics", "The metrics have been pushed."
	if err != nil {
		reason, message = "FailedToPushMetrics", oneLine(err.Error())
	}
	task.SetCondition(conditions, kind, err == nil, reason, message, o.now())
}

// afterBackup does what is left when a session is over: it removes what still runs, tries again, and removes the sessions that are too many.
func (o *Operator) afterBackup(ctx context.Context, s *task.BackupSession, invoker task.Object) (reconcile.Result, error) {
	if err := o.cleanup(ctx, s); err != nil {
		return reconcile.Result{}, err
	}
	before := s.Status.DeepCopy()
	next, err := session.Retry(s, invoker, o.now())
	if err != nil {
		return reconcile.Result{}, err
	}
	if next != nil {
		if err := client.IgnoreAlreadyExists(o.Client.Create(ctx, next)); err != nil {
			return reconcile.Result{}, fmt.Errorf("try %v again: %w", s, err)
		}
	}
	// Stored before the history is looked at: a session that will be tried again stays.
	if err := o.save(ctx, s, before, &s.Status); err != nil {
		return reconcile.Result{}, err
	}
	gone, err := o.cleanHistory(ctx, s, invoker)
	if err != nil || gone {
		return reconcile.Result{}, err
	}
	if s.Status.NextRetry != nil && (s.Status.Retried == nil || !*s.Status.Retried) {
		return reconcile.Result{RequeueAfter: until(o.now(), s.Status.NextRetry)}, nil
	}
	return reconcile.Result{}, nil
}

// cleanHistory reports whether s itself was one too many.
func (o *Operator) cleanHistory(ctx context.Context, s *task.BackupSession, invoker task.Object) (gone bool, err error) {
	all, err := o.sessions(ctx, s.Namespace, s.Spec.Invoker.Kind, s.Spec.Invoker.Name)
	if err != nil {
		return false, err
	}
	old, err := session.History(invoker, all)
	if err != nil {
		return false, err
	}
	for i := range old {
		if err := o.remove(ctx, &old[i]); err != nil {
			return false, fmt.Errorf("history of %v: %w", invoker, err)
		}
		gone = gone || old[i].UID == s.UID
	}
	if gone {
		return true, nil
	}
	before := s.Status.DeepCopy()
	task.SetCondition(&s.Status.Conditions, task.BackupHistoryCleaned, true, "SuccessfullyCleanedBackupHistory", "The backup history is as long as it may be.", o.now())
	return false, o.save(ctx, s, before, &s.Status)
}
