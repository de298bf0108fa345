package session

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/escrow-backup/escrow/task"
)

// restoring is what a RestoreSession and a RestoreBatch have in common.
type restoring struct {
	object     task.Object
	generation *int64
	phase      *task.SessionPhase
	deadline   **metav1.Time
	duration   *string
	conditions *[]task.Condition
	timeOut    *metav1.Duration
}

func restoreSession(s *task.RestoreSession) *restoring {
	st := &s.Status
	return &restoring{s, &st.ObservedGeneration, &st.Phase, &st.SessionDeadline, &st.SessionDuration, &st.Conditions, s.Spec.TimeOut}
}

func restoreBatch(b *task.RestoreBatch) *restoring {
	st := &b.Status
	return &restoring{b, &st.ObservedGeneration, &st.Phase, &st.SessionDeadline, &st.SessionDuration, &st.Conditions, b.Spec.TimeOut}
}

// StartRestore decides about a restore that has not begun, and sets its status: Invalid if it cannot be used as it is, Pending while something is
// missing, else Running.
func StartRestore(s *task.RestoreSession, f Found, now time.Time) Decision {
	before := s.Status.Phase
	d := restoreSession(s).start(f, now)
	if d == Start && before != task.SessionRunning {
		s.Status.TotalHosts = ptr.To[int32](1)
	}
	return d
}

// StartRestoreBatch does the same for a batch, all of whose targets must be there.
func StartRestoreBatch(b *task.RestoreBatch, f Found, now time.Time) Decision {
	before := b.Status.Phase
	d := restoreBatch(b).start(f, now)
	if d == Start && before != task.SessionRunning {
		b.Status.Members = nil
		for _, ref := range TargetsOf(b) {
			b.Status.Members = append(b.Status.Members, task.RestoreMemberStatus{Ref: ref, Phase: task.SessionPending, TotalHosts: ptr.To[int32](1)})
		}
	}
	return d
}

func (r *restoring) start(f Found, now time.Time) Decision {
	if *r.phase == task.SessionRunning {
		return Start
	}
	if r.phase.Final() {
		return Skip
	}
	*r.generation = r.object.GetGeneration()
	set := func(kind string, ok bool, reason, message string) {
		task.SetCondition(r.conditions, kind, ok, reason, message, now)
	}
	err := r.object.Validate()
	if err == nil && f.Repository != nil {
		err = allowed(r.object.GetNamespace(), f)
	}
	if err != nil {
		set(task.ValidationPassed, false, "ResourceValidationFailed", err.Error())
		*r.phase = task.SessionInvalid
		return Skip
	}
	if r.timeOut != nil && *r.deadline == nil {
		*r.deadline = ptr.To(metav1.NewTime(r.object.GetCreationTimestamp().Add(r.timeOut.Duration)))
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
	repo := RepositoryOf(r.object)
	need(task.RepositoryFound, f.Repository != nil, fmt.Sprintf("Repository %s/%s", repo.Namespace, repo.Name))
	if f.Repository != nil {
		name := f.Repository.Spec.Backend.StorageSecretName
		need(task.BackendSecretFound, f.Secret || name == "", "storage secret "+f.Repository.Namespace+"/"+name)
	}
	// The first that is missing, or else the last.
	all := TargetsOf(r.object)
	for i, ref := range all {
		ok := i < len(f.Targets) && f.Targets[i]
		if !ok || i == len(all)-1 {
			need(task.RestoreTargetFound, ok, fmt.Sprintf("%s %s/%s", ref.Kind, ref.Namespace, ref.Name))
			break
		}
	}
	if !ready {
		*r.phase = task.SessionPending
		return Wait
	}
	*r.phase = task.SessionRunning
	return Start
}

// FinishRestore ends a restore, if it can be: its Functions told how all hosts fared, or its deadline has passed. It reports whether the
// restore is over.
func FinishRestore(s *task.RestoreSession, now time.Time) bool {
	st := &s.Status
	total := 1
	if st.TotalHosts != nil {
		total = int(*st.TotalHosts)
	}
	var phases []task.SessionPhase
	for _, h := range st.Stats {
		phases = append(phases, h.Phase)
	}
	for len(phases) < total {
		phases = append(phases, task.SessionRunning)
	}
	return restoreSession(s).finish(now, phases, func(message string) {
		if len(st.Stats) == 0 {
			FailRestore(s, message)
		}
	})
}

// FinishRestoreBatch does the same for a batch: its members have ended, or will never begin.
func FinishRestoreBatch(b *task.RestoreBatch, now time.Time) bool {
	var phases []task.SessionPhase
	for i := range b.Status.Members {
		m := &b.Status.Members[i]
		phase := m.Phase
		if phase == task.SessionSucceeded && anyFalse(m.Conditions) {
			phase = task.SessionFailed
		}
		phases = append(phases, phase)
	}
	return restoreBatch(b).finish(now, phases, func(message string) {
		for i := range b.Status.Members {
			if m := &b.Status.Members[i]; !m.Phase.Final() {
				FailRestoreMember(m, memberAlias(b, i), message)
			}
		}
	})
}

func memberAlias(b *task.RestoreBatch, i int) string {
	if i < len(b.Spec.Members) && b.Spec.Members[i].Target != nil {
		return b.Spec.Members[i].Target.Alias
	}
	return ""
}

func anyFalse(conditions []task.Condition) bool {
	return slices.ContainsFunc(conditions, func(c task.Condition) bool { return c.Status == metav1.ConditionFalse })
}

// finish ends a restore whose parts are in these phases; late fails those that have not ended.
func (r *restoring) finish(now time.Time, phases []task.SessionPhase, late func(message string)) bool {
	if r.phase.Final() {
		return true
	}
	end := func(phase task.SessionPhase) bool {
		*r.phase = phase
		*r.duration = now.Sub(r.object.GetCreationTimestamp().Time).Round(time.Millisecond).String()
		message := "The restore has succeeded."
		if phase != task.SessionSucceeded {
			message = "The restore has failed."
		}
		task.SetCondition(r.conditions, task.RestoreCompleted, true, "PostRestoreTasksExecuted", message, now)
		return true
	}
	if d := *r.deadline; d != nil && !now.Before(d.Time) {
		message := fmt.Sprintf("The session did not end within %v.", d.Sub(r.object.GetCreationTimestamp().Time))
		task.SetCondition(r.conditions, task.DeadlineExceeded, true, "FailedToCompleteWithinDeadline", message, now)
		late(message)
		return end(task.SessionFailed)
	}
	if *r.phase != task.SessionRunning {
		return false
	}
	phase := task.SessionSucceeded
	for _, p := range phases {
		switch p {
		case task.SessionSucceeded, task.SessionSkipped:
		case task.SessionFailed, task.SessionUnknown:
			phase = task.SessionFailed
		default:
			return false
		}
	}
	for _, c := range []string{task.PreRestoreHookExecutionSucceeded, task.PostRestoreHookExecutionSucceeded, task.GlobalPreRestoreHookSucceeded,
		task.GlobalPostRestoreHookSucceeded, task.RestoreExecutorEnsured} {
		if task.IsFalse(*r.conditions, c) {
			phase = task.SessionFailed
		}
	}
	return end(phase)
}

// FailRestoreMember marks a member of a batch as failed by something that its Functions could not tell of. What they told stays.
func FailRestoreMember(m *task.RestoreMemberStatus, host, message string) {
	m.Phase = task.SessionFailed
	if len(m.Stats) == 0 {
		m.Stats = []task.HostRestoreStats{{Hostname: task.Host(host), Phase: task.SessionFailed, Error: message}}
	}
}

// FailRestore marks the restore's host as failed by something that its Functions could not tell of.
func FailRestore(s *task.RestoreSession, message string) {
	alias := ""
	if s.Spec.Target != nil {
		alias = s.Spec.Target.Alias
	}
	s.Status.Stats = []task.HostRestoreStats{{Hostname: task.Host(alias), Phase: task.SessionFailed, Error: message}}
}
