package session

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/escrow-backup/escrow/task"
)

// Decision is what is done with a session.
type Decision int

// The decisions.
const (
	Wait  Decision = iota // not now
	Skip                  // never: the session has ended, as Skipped
	Start                 // it is Running
)

// StartBackup decides about a session that has not begun, and sets its status. others are all sessions of the same invoker. It is skipped if the invoker
// is paused and the session was not made by hand, or if another one runs, or has waited for longer: two backups of one target at once would
// only be in each other's way. It waits while the invoker is not Ready; if that takes until the deadline, FinishBackup ends it.
func StartBackup(s *task.BackupSession, invoker task.Object, others []task.BackupSession, now time.Time) (Decision, error) {
	p, err := Policy(invoker)
	if err != nil {
		return Wait, err
	}
	st := &s.Status
	if st.Phase == task.SessionRunning {
		return Start, nil
	}
	if st.Phase.Final() {
		return Skip, nil
	}
	st.ObservedGeneration = s.Generation
	if st.SessionDeadline == nil && p.TimeOut != nil {
		st.SessionDeadline = ptr.To(metav1.NewTime(s.CreationTimestamp.Add(p.TimeOut.Duration)))
	}
	skip := func(reason, message string) (Decision, error) {
		task.SetCondition(&st.Conditions, task.BackupSkipped, true, reason, message, now)
		st.Phase = task.SessionSkipped
		return Skip, nil
	}
	if p.Paused && s.Annotations[AnnotationInstant] == "" {
		return skip("InvokerPaused", fmt.Sprintf("%v is paused.", invoker))
	}
	for i := range others {
		o := &others[i]
		if o.Name != s.Name && o.Spec.Invoker == s.Spec.Invoker && o.Status.Phase == task.SessionRunning {
			return skip("SkippedTakingNewBackup", fmt.Sprintf("%v is still running.", o))
		}
		// Otherwise those of a schedule would pile up, and follow each other once the invoker is Ready.
		if o.Name != s.Name && o.Spec.Invoker == s.Spec.Invoker && o.Status.Phase == task.SessionPending && o.CreationTimestamp.Before(&s.CreationTimestamp) {
			return skip("SkippedTakingNewBackup", fmt.Sprintf("%v is still waiting.", o))
		}
	}
	var phase task.InvokerPhase
	switch b := invoker.(type) {
	case *task.BackupConfiguration:
		phase = b.Status.Phase
	case *task.BackupBatch:
		phase = b.Status.Phase
	}
	if phase != task.InvokerReady {
		st.Phase = task.SessionPending
		return Wait, nil
	}
	st.Phase = task.SessionRunning
	st.Targets = nil
	for _, ref := range targets(invoker) {
		st.Targets = append(st.Targets, task.BackupTargetStatus{Ref: ref, Phase: task.SessionPending, TotalHosts: ptr.To[int32](1)})
	}
	return Start, nil
}

// FinishBackup ends a session that has run, if it can be: all its targets have ended, or its deadline has passed. It sets the phase, and
// reports whether the session is over. Steps of it that failed without a target failing, such as the retention policy, fail it too.
func FinishBackup(s *task.BackupSession, now time.Time) bool {
	st := &s.Status
	if st.Phase.Final() {
		return true
	}
	if d := st.SessionDeadline; d != nil && !now.Before(d.Time) {
		message := fmt.Sprintf("The session did not end within %v.", d.Sub(s.CreationTimestamp.Time))
		task.SetCondition(&st.Conditions, task.DeadlineExceeded, true, "FailedToCompleteWithinDeadline", message, now)
		for i := range st.Targets {
			t := &st.Targets[i]
			if !t.Phase.Final() {
				FailTarget(t, "", message)
			}
		}
		end(st, s, task.SessionFailed, now)
		return true
	}
	if st.Phase != task.SessionRunning {
		return false
	}
	phase := task.SessionSucceeded
	for i := range st.Targets {
		switch st.Targets[i].Phase {
		case task.SessionSucceeded:
		case task.SessionFailed, task.SessionUnknown:
			phase = task.SessionFailed
		case task.SessionSkipped:
		default:
			return false
		}
		if anyFalse(st.Targets[i].Conditions) {
			phase = task.SessionFailed
		}
	}
	if slices.ContainsFunc([]string{task.RetentionPolicyApplied, task.RepositoryIntegrityVerified, task.GlobalPreBackupHookSucceeded, task.GlobalPostBackupHookSucceeded},
		func(c string) bool { return task.IsFalse(st.Conditions, c) }) {
		phase = task.SessionFailed
	}
	end(st, s, phase, now)
	return true
}

func end(st *task.BackupSessionStatus, s *task.BackupSession, phase task.SessionPhase, now time.Time) {
	st.Phase = phase
	st.SessionDuration = now.Sub(s.CreationTimestamp.Time).Round(time.Millisecond).String()
}

// FailTarget marks a target as failed by something that its Functions could not tell of, such as a pod that was killed. What they told stays.
func FailTarget(t *task.BackupTargetStatus, host, message string) {
	t.Phase = task.SessionFailed
	if len(t.Stats) == 0 {
		t.Stats = []task.HostBackupStats{{Hostname: task.Host(host), Phase: task.SessionFailed, Error: message}}
	}
}

// Disrupt ends a running session whose Job is gone: it was deleted, or its node died.
func Disrupt(s *task.BackupSession, message string, now time.Time) {
	task.SetCondition(&s.Status.Conditions, task.BackupDisrupted, true, "BackupDisrupted", message, now)
	for i := range s.Status.Targets {
		if t := &s.Status.Targets[i]; !t.Phase.Final() {
			FailTarget(t, "", message)
		}
	}
	end(&s.Status, s, task.SessionFailed, now)
}

// Retry says what is done about a session that has failed: the session that tries it again, once it is time. next is nil if it is not time yet, or if nothing is
// left to try; then Status.NextRetry says which. It sets Retried and NextRetry.
func Retry(s *task.BackupSession, invoker task.Object, now time.Time) (next *task.BackupSession, err error) {
	p, err := Policy(invoker)
	if err != nil {
		return nil, err
	}
	st := &s.Status
	if st.Phase != task.SessionFailed || p.RetryConfig == nil || s.Spec.RetryLeft <= 0 || st.Retried != nil && *st.Retried {
		return nil, nil
	}
	if p.Paused && s.Annotations[AnnotationInstant] == "" {
		return nil, nil
	}
	if st.NextRetry == nil {
		next := now.Add(p.RetryConfig.Delay.Duration).Truncate(time.Second)
		if first := s.CreationTimestamp.Add(time.Second); next.Before(first) {
			next = first // names have the second in them
		}
		st.NextRetry = ptr.To(metav1.NewTime(next))
		st.Retried = ptr.To(false)
	}
	if now.Before(st.NextRetry.Time) {
		return nil, nil
	}
	// Named by the time that was decided on, so that it is one session, however often it is asked for.
	next, err = New(invoker, st.NextRetry.Time, s.Annotations[AnnotationInstant] != "")
	if err != nil {
		return nil, err
	}
	next.Spec.RetryLeft = s.Spec.RetryLeft - 1
	st.Retried = ptr.To(true)
	return next, nil
}

// History are the sessions to delete: those that have ended, but for the newest of them, so many as the invoker says. A failed session that will
// be tried again counts as not ended; those that were skipped are counted apart, so that none pushes out what the last backup came to. all are the sessions of one invoker.
func History(invoker task.Object, all []task.BackupSession) ([]task.BackupSession, error) {
	p, err := Policy(invoker)
	if err != nil {
		return nil, err
	}
	limit := 1
	if p.BackupHistoryLimit != nil {
		limit = int(*p.BackupHistoryLimit)
	}
	var ran, skipped []task.BackupSession
	for _, s := range all {
		waiting := s.Status.NextRetry != nil && (s.Status.Retried == nil || !*s.Status.Retried)
		switch {
		case s.Status.Phase == task.SessionSkipped:
			skipped = append(skipped, s)
		case s.Status.Phase.Final() && !waiting:
			ran = append(ran, s)
		}
	}
	var old []task.BackupSession
	for _, sessions := range [][]task.BackupSession{ran, skipped} {
		slices.SortStableFunc(sessions, func(a, b task.BackupSession) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
		old = append(old, sessions[min(limit, len(sessions)):]...)
	}
	return old, nil
}
