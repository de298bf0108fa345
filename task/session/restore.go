package session

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/escrow-backup/escrow/task"
)

// StartRestore decides about a restore that has not begun, and sets its status: Invalid if it cannot be used as it is, Pending while something is
// missing, else Running.
func StartRestore(s *task.RestoreSession, f Found, now time.Time) Decision {
	st := &s.Status
	if st.Phase == task.SessionRunning {
		return Start
	}
	if st.Phase.Final() {
		return Skip
	}
	st.ObservedGeneration = s.Generation
	set := func(kind string, ok bool, reason, message string) {
		task.SetCondition(&st.Conditions, kind, ok, reason, message, now)
	}
	err := s.Validate()
	if err == nil && f.Repository != nil {
		err = allowed(s.Namespace, f)
	}
	if err != nil {
		set(task.ValidationPassed, false, "ResourceValidationFailed", err.Error())
		st.Phase = task.SessionInvalid
		return Skip
	}
	if s.Spec.TimeOut != nil && st.SessionDeadline == nil {
		st.SessionDeadline = ptr.To(metav1.NewTime(s.CreationTimestamp.Add(s.Spec.TimeOut.Duration)))
	}
	ready := true
	need := func(kind string, ok bool, what string) {
		reason, message := "Available", what+" is there."
		if !ok {
			reason, message = "NotAvailable", "There is no "+what+"."
			ready = false
		}
		set(kind, ok, reason, message)
	}
	need(task.RepositoryFound, f.Repository != nil, fmt.Sprintf("Repository %s/%s", namespace(s.Spec.Repository.Namespace, s), s.Spec.Repository.Name))
	if f.Repository != nil {
		name := f.Repository.Spec.Backend.StorageSecretName
		need(task.BackendSecretFound, f.Secret || name == "", "storage secret "+f.Repository.Namespace+"/"+name)
	}
	ref := s.Spec.Target.Ref
	need(task.RestoreTargetFound, len(f.Targets) > 0 && f.Targets[0], fmt.Sprintf("%s %s/%s", ref.Kind, namespace(ref.Namespace, s), ref.Name))
	if !ready {
		st.Phase = task.SessionPending
		return Wait
	}
	st.Phase, st.TotalHosts = task.SessionRunning, ptr.To[int32](1)
	return Start
}

// FinishRestore ends a restore, if it can be: its Functions told how all hosts fared, or its deadline has passed. It reports whether the
// restore is over.
func FinishRestore(s *task.RestoreSession, now time.Time) bool {
	st := &s.Status
	if st.Phase.Final() {
		return true
	}
	finish := func(phase task.SessionPhase) bool {
		st.Phase = phase
		st.SessionDuration = now.Sub(s.CreationTimestamp.Time).Round(time.Millisecond).String()
		message := "The restore has succeeded."
		if phase != task.SessionSucceeded {
			message = "The restore has failed."
		}
		task.SetCondition(&st.Conditions, task.RestoreCompleted, true, "PostRestoreTasksExecuted", message, now)
		return true
	}
	if d := st.SessionDeadline; d != nil && !now.Before(d.Time) {
		message := fmt.Sprintf("The session did not end within %v.", d.Sub(s.CreationTimestamp.Time))
		task.SetCondition(&st.Conditions, task.DeadlineExceeded, true, "FailedToCompleteWithinDeadline", message, now)
		if len(st.Stats) == 0 {
			FailRestore(s, message)
		}
		return finish(task.SessionFailed)
	}
	if st.Phase != task.SessionRunning {
		return false
	}
	total := 1
	if st.TotalHosts != nil {
		total = int(*st.TotalHosts)
	}
	if len(st.Stats) < total {
		return false
	}
	phase := task.SessionSucceeded
	for _, h := range st.Stats {
		switch h.Phase {
		case task.SessionSucceeded:
		case task.SessionFailed:
			phase = task.SessionFailed
		default:
			return false
		}
	}
	for _, c := range []string{task.PreRestoreHookExecutionSucceeded, task.PostRestoreHookExecutionSucceeded} {
		if task.IsFalse(st.Conditions, c) {
			phase = task.SessionFailed
		}
	}
	return finish(phase)
}

// FailRestore marks the restore's host as failed by something that its Functions could not tell of.
func FailRestore(s *task.RestoreSession, message string) {
	alias := ""
	if s.Spec.Target != nil {
		alias = s.Spec.Target.Alias
	}
	s.Status.Stats = []task.HostRestoreStats{{Hostname: task.Host(alias), Phase: task.SessionFailed, Error: message}}
}
