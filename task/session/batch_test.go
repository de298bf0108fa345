package session_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/session"
)

func restores(t *testing.T) *task.RestoreBatch {
	b := parse[*task.RestoreBatch](t, `
kind: RestoreBatch
metadata: {name: all, namespace: demo}
spec:
  repository: {name: store}
  timeOut: 10m
  hooks: {postRestore: {exec: {command: ["all {{ .Status.Phase }} {{ .Status.Error }}"]}}}
  members:
  - {target: {alias: a, ref: {kind: AppBinding, name: a}}, hooks: {postRestore: {exec: {command: ["{{ .Target.Name }} {{ .Status.Phase }} {{ .Status.Error }}"]}}}}
  - {target: {alias: b, ref: {kind: AppBinding, name: b, namespace: other}}}
`)
	b.CreationTimestamp = metav1.NewTime(now)
	return b
}

func TestPhasesOfABatchOfRestores(t *testing.T) {
	b := restores(t)
	r := repo()
	r.Namespace = "demo"
	require.Equal(t, session.Wait, session.StartRestoreBatch(b, session.Found{Repository: r, Secret: true, Targets: []bool{true, false}}, now))
	require.Contains(t, task.FindCondition(b.Status.Conditions, task.RestoreTargetFound).Message, "AppBinding other/b")
	require.Equal(t, now.Add(10*time.Minute), b.Status.SessionDeadline.Time)
	require.Equal(t, session.Start, session.StartRestoreBatch(b, session.Found{Repository: r, Secret: true, Targets: []bool{true, true}}, now))
	require.Len(t, b.Status.Members, 2)
	require.Equal(t, "demo", b.Status.Members[0].Ref.Namespace)
	b.Status.Members[0].Phase = task.SessionSucceeded
	require.Equal(t, session.Start, session.StartRestoreBatch(b, session.Found{}, now), "it has begun")
	require.Equal(t, task.SessionSucceeded, b.Status.Members[0].Phase)
	require.False(t, session.FinishRestoreBatch(b, now.Add(time.Minute)))

	for name, x := range map[string]struct {
		change func(b *task.RestoreBatch)
		after  time.Duration
		want   task.SessionPhase
	}{
		"succeeded": {func(b *task.RestoreBatch) { b.Status.Members[1].Phase = task.SessionSucceeded }, time.Minute, task.SessionSucceeded},
		"failed":    {func(b *task.RestoreBatch) { session.FailRestoreMember(&b.Status.Members[1], "b", "killed") }, time.Minute, task.SessionFailed},
		"a hook failed": {func(b *task.RestoreBatch) {
			b.Status.Members[1].Phase = task.SessionSucceeded
			task.SetCondition(&b.Status.Members[1].Conditions, task.PostRestoreHookExecutionSucceeded, false, "No", "", now)
		}, time.Minute, task.SessionFailed},
		"a hook of all failed": {func(b *task.RestoreBatch) {
			b.Status.Members[1].Phase = task.SessionSucceeded
			task.SetCondition(&b.Status.Conditions, task.GlobalPostRestoreHookSucceeded, false, "No", "", now)
		}, time.Minute, task.SessionFailed},
		"too late": {func(*task.RestoreBatch) {}, 10 * time.Minute, task.SessionFailed},
	} {
		t.Run(name, func(t *testing.T) {
			b := b.DeepCopy()
			x.change(b)
			require.True(t, session.FinishRestoreBatch(b, now.Add(x.after)))
			require.Equal(t, x.want, b.Status.Phase)
			require.Equal(t, x.after.String(), b.Status.SessionDuration)
			if name == "too late" {
				require.True(t, task.IsTrue(b.Status.Conditions, task.DeadlineExceeded))
				require.Equal(t, "b", b.Status.Members[1].Stats[0].Hostname)
			}
			var sink metrics.Memory
			cat := metrics.NewCatalogue(metrics.ShortNames)
			require.NoError(t, session.RecordRestoreBatch(t.Context(), cat, &sink, b, now))
			v, found := sink.Value(cat.RestoreSuccess, "RestoreBatch", "all", "demo", "Restic", "store")
			require.True(t, found)
			require.Equal(t, x.want == task.SessionSucceeded, v == 1)
		})
	}
	invalid := restores(t)
	invalid.Spec.Members = nil
	require.Equal(t, session.Skip, session.StartRestoreBatch(invalid, session.Found{}, now))
	require.Equal(t, task.SessionInvalid, invalid.Status.Phase)
}

func TestHooksAfterFailures(t *testing.T) {
	b := restores(t)
	b.Status.Members = []task.RestoreMemberStatus{{Stats: []task.HostRestoreStats{{Error: "killed"}}}}
	var ran []string
	h := &session.Hooks{Exec: func(_ context.Context, _ task.TargetRef, _ string, command []string) error {
		ran = append(ran, strings.Join(command, " "))
		return nil
	}}
	for _, args := range []string{"--hostname=a", "--hostname=a --failed", "--batch --failed"} {
		all := append([]string{"--namespace=demo", "--restorebatch=all", "--hook-type=postRestore"}, strings.Fields(args)...)
		require.NoError(t, h.RunHook(t.Context(), task.NewMemoryStore(nil, b), all))
	}
	require.Equal(t, []string{"a Succeeded killed", "a Failed killed", "all Failed killed"}, ran)
	require.ErrorContains(t, h.RunHook(t.Context(), task.NewMemoryStore(nil, b), []string{"--namespace=demo", "--restorebatch=all", "--hook-type=postRestore", "--hostname=c"}),
		`no member with the alias "c"`)
}

func TestASessionDoesNotWaitBehindAnother(t *testing.T) {
	c := configuration(t)
	first, second := made(t, c, now, false), made(t, c, now.Add(time.Minute), false)
	_, err := session.StartBackup(first, c, nil, now)
	require.NoError(t, err)
	require.Equal(t, task.SessionPending, first.Status.Phase)
	d, err := session.StartBackup(second, c, []task.BackupSession{*first}, now)
	require.NoError(t, err)
	require.Equal(t, session.Skip, d)
	d, err = session.StartBackup(first, c, []task.BackupSession{*made(t, c, now.Add(time.Minute), false)}, now)
	require.NoError(t, err)
	require.Equal(t, session.Wait, d)
}

func TestARetryIsOneSession(t *testing.T) {
	c := ready(t)
	c.Spec.RetryConfig.Delay.Duration = 0
	s := running(t, c)
	session.Disrupt(s, "gone", now)
	again := s.DeepCopy()
	none, err := session.Retry(s, c, now)
	require.NoError(t, err)
	require.Nil(t, none, "names have the second in them")
	again.Status = *s.Status.DeepCopy()
	first, err := session.Retry(s, c, now.Add(time.Minute))
	require.NoError(t, err)
	second, err := session.Retry(again, c, now.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, first.Name, second.Name, "whoever forgot that it had made one makes the same one")
	require.NotEqual(t, s.Name, first.Name)
}

func TestSkippedSessionsDoNotPushOthersOut(t *testing.T) {
	c := ready(t)
	c.Spec.BackupHistoryLimit = ptr.To[int32](1)
	var all []task.BackupSession
	for i, phase := range []task.SessionPhase{task.SessionSucceeded, task.SessionFailed, task.SessionSkipped, task.SessionSkipped} {
		s := made(t, c, now.Add(time.Duration(i)*time.Hour), false)
		s.Status.Phase = phase
		all = append(all, *s)
	}
	old, err := session.History(c, all)
	require.NoError(t, err)
	require.Len(t, old, 2)
	require.Equal(t, []string{all[0].Name, all[2].Name}, []string{old[0].Name, old[1].Name})
}

func TestWhereRequestsWithoutAHostGo(t *testing.T) {
	var asked task.TargetRef
	h := &session.Hooks{HostOf: func(_ context.Context, target task.TargetRef) (string, error) {
		asked = target
		return "", context.Canceled
	}}
	get := task.Hook{Handler: task.Handler{TCPSocket: &corev1.TCPSocketAction{Port: port(1)}}}
	require.ErrorIs(t, h.Before(t.Context(), []task.Hook{get}, session.HookData{Target: task.TargetRef{Name: "es"}}), context.Canceled)
	require.Equal(t, "es", asked.Name)
}
