package flow_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/s3"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
)

func testCases(t *testing.T, w *world) {
	// Each of these would disturb others.
	t.Run("KilledAfterCronJob", func(t *testing.T) { testKilledAfterCronJob(t, w) })
	t.Run("Killed", func(t *testing.T) { testKilled(t, w) })
	t.Run("Conflicts", func(t *testing.T) { testConflicts(t, w) })
	t.Run("Others", func(t *testing.T) {
		for _, c := range []struct {
			name string
			test func(*testing.T, *world)
		}{
			{"Retries", testRetries}, {"TimeOut", testTimeOut}, {"Secret", testSecret}, {"NoAppBinding", testNoAppBinding},
			{"RepositoryDeleted", testRepositoryDeleted}, {"WipeOut", testWipeOut}, {"TwoAtOnce", testTwoAtOnce}, {"Paused", testPaused},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.test(t, w)
			})
		}
	})
	w.allowed(t)
}

// merge changes an object.
func (p *place) merge(t *testing.T, o client.Object, format string, args ...any) {
	t.Helper()
	require.NoError(t, p.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, format, args...))))
}

// failed waits for the end of a session, which is a bad one, and returns why.
func (p *place) failed(t *testing.T, name string) (*task.BackupSession, string) {
	t.Helper()
	s := p.ends(t, name)
	require.Equal(t, task.SessionFailed, s.Status.Phase, show(s.Status))
	require.Len(t, s.Status.Targets, 1)
	require.Equal(t, task.SessionFailed, s.Status.Targets[0].Phase)
	require.Len(t, s.Status.Targets[0].Stats, 1)
	require.Equal(t, task.SessionFailed, s.Status.Targets[0].Stats[0].Phase)
	return s, s.Status.Targets[0].Stats[0].Error
}

// A backup that fails is tried again as often as is said, and tells why it failed.
func testRetries(t *testing.T, w *world) {
	p := w.place(t, "retries")
	p.binding.Spec.ClientConfig.Service.Port = 1 // nobody listens there
	p.conf.Spec.Task.Params = []task.Param{{Name: "waitTimeout", Value: "1"}}
	p.conf.Spec.RetryConfig = &task.RetryConfig{MaxRetry: 1, Delay: metav1.Duration{Duration: time.Second}}
	p.create(t, p.all()...)
	p.becomes(t, task.InvokerReady)
	p.instant(t, "fails")
	first, why := p.failed(t, "fails")
	require.Contains(t, why, "container elasticsearch-backup: exit code 1: ")
	require.Contains(t, why, "connection refused")
	require.Equal(t, map[string]string{task.BackupExecutorEnsured: "True SuccessfullyEnsuredBackupExecutor"}, conditions(first.Status.Targets[0].Conditions))
	require.Equal(t, map[string]string{
		task.RepositoryMetricsPushed: "True SuccessfullyPushedMetrics",
		task.BackupHistoryCleaned:    "True SuccessfullyCleanedBackupHistory",
	}, conditions(first.Status.Conditions))

	var all task.BackupSessionList
	p.eventually(t, "it is tried again", func(ctx context.Context) (bool, error) {
		err := p.List(ctx, &all, client.InNamespace(p.ns))
		return len(all.Items) == 2, err
	})
	for _, s := range all.Items {
		if s.Name == "fails" {
			continue
		}
		require.Zero(t, s.Spec.RetryLeft)
		second, _ := p.failed(t, s.Name)
		require.Nil(t, second.Status.NextRetry)
	}
	require.NoError(t, p.Get(t.Context(), client.ObjectKeyFromObject(first), first))
	require.NotNil(t, first.Status.Retried)
	require.True(t, *first.Status.Retried)
	require.Len(t, p.made(), 2)
	require.Regexp(t, `(?m)^stash_backup_session_success\{[^}]*namespace="retries"[^}]*\} 0$`, get(t, p.pushed+"/metrics"))

	p.merge(t, p.binding.DeepCopy(), `{"spec": {"clientConfig": {"service": {"port": %d}}}}`, p.gate.port)
	p.instant(t, "works")
	p.succeeded(t, "works")
	require.Regexp(t, `(?m)^stash_backup_session_success\{[^}]*namespace="retries"[^}]*\} 1$`, get(t, p.pushed+"/metrics"))
	p.holds(t, 1)
	p.end(t)
}

// A session whose time is up fails, and what runs for it ends.
func testTimeOut(t *testing.T, w *world) {
	p := w.place(t, "timeout")
	p.conf.Spec.TimeOut = &metav1.Duration{Duration: 15 * time.Second}
	p.create(t, p.all()...)
	p.becomes(t, task.InvokerReady)
	p.gate.shut()
	p.instant(t, "slow")
	s, why := p.failed(t, "slow")
	require.Equal(t, "The session did not end within 15s.", why)
	require.Equal(t, map[string]string{
		task.DeadlineExceeded:        "True FailedToCompleteWithinDeadline",
		task.RepositoryMetricsPushed: "True SuccessfullyPushedMetrics",
		task.BackupHistoryCleaned:    "True SuccessfullyCleanedBackupHistory",
	}, conditions(s.Status.Conditions))
	require.NotNil(t, s.Status.SessionDeadline)
	p.empty(t)
	p.end(t)
}

// Without its storage secret nothing is backed up, and with a wrong one the session says what is wrong.
func testSecret(t *testing.T, w *world) {
	p := w.place(t, "secret")
	p.create(t, p.repository, p.binding, p.conf)
	p.becomes(t, task.InvokerNotReady)
	require.Equal(t, "False BackendSecretNotAvailable", conditions(p.conf.Status.Conditions)[task.BackendSecretFound])
	p.instant(t, "waits")
	p.phase(t, "waits", task.SessionPending)

	p.secret.StringData["AWS_SECRET_ACCESS_KEY"] = "not the key"
	p.create(t, p.secret)
	p.becomes(t, task.InvokerReady)
	require.Equal(t, "True BackendSecretAvailable", conditions(p.conf.Status.Conditions)[task.BackendSecretFound])
	_, why := p.failed(t, "waits")
	require.Contains(t, why, "container elasticsearch-backup: exit code 1: ")
	require.NotContains(t, why, "not the key")

	p.merge(t, p.secret.DeepCopy(), `{"stringData": {"AWS_SECRET_ACCESS_KEY": %q}}`, p.store.Secret)
	p.instant(t, "right")
	p.succeeded(t, "right")

	p.merge(t, p.secret.DeepCopy(), `{"stringData": {"RESTIC_PASSWORD": "another one"}}`)
	p.instant(t, "locked-out")
	_, why = p.failed(t, "locked-out")
	require.Contains(t, why, "wrong password")
	p.holds(t, 1)
	p.end(t)
}

// What the target's AppBinding says is needed before anything runs.
func testNoAppBinding(t *testing.T, w *world) {
	p := w.place(t, "no-appbinding")
	p.create(t, p.secret, p.repository, p.conf)
	p.becomes(t, task.InvokerNotReady)
	require.Equal(t, "False TargetNotAvailable", conditions(p.conf.Status.Conditions)[task.BackupTargetFound])
	p.instant(t, "waits")
	p.phase(t, "waits", task.SessionPending)
	require.Empty(t, p.made())
	p.create(t, p.binding)
	p.becomes(t, task.InvokerReady)
	require.Equal(t, "True TargetAvailable", conditions(p.conf.Status.Conditions)[task.BackupTargetFound])
	p.succeeded(t, "waits")
	require.Len(t, p.made(), 1)
	p.holds(t, 1)
	p.end(t)
}

// A Repository that is deleted leaves what is in it, and can come back.
func testRepositoryDeleted(t *testing.T, w *world) {
	p := w.place(t, "deleted")
	again := p.repository.DeepCopy()
	p.create(t, p.all()...)
	p.becomes(t, task.InvokerReady)
	p.instant(t, "first")
	p.succeeded(t, "first")
	require.NoError(t, p.Delete(t.Context(), p.repository.DeepCopy()))
	var all storage.RepositoryList
	p.gone(t, p.ns, &all, func() int { return len(all.Items) })
	p.becomes(t, task.InvokerNotReady)
	require.Equal(t, "False RepositoryNotAvailable", conditions(p.conf.Status.Conditions)[task.RepositoryFound])
	p.instant(t, "second")
	p.phase(t, "second", task.SessionPending)
	p.holds(t, 1)

	p.repository = again
	p.create(t, p.repository)
	p.succeeded(t, "second")
	p.holds(t, 2)
	p.end(t)
}

// One that is deleted with wipeOut goes when nobody works on it any more, with all that was in it.
func testWipeOut(t *testing.T, w *world) {
	p := w.place(t, "wipeout")
	p.repository.Spec.WipeOut = true
	p.create(t, p.all()...)
	p.becomes(t, task.InvokerReady)
	p.gate.shut()
	p.instant(t, "by-hand")
	p.works(t)
	require.NoError(t, p.Delete(t.Context(), p.repository.DeepCopy()))
	p.eventually(t, "the Repository waits", func(ctx context.Context) (bool, error) {
		var events eventsv1.EventList
		err := p.List(ctx, &events, client.InNamespace(p.ns))
		for _, e := range events.Items {
			if e.Reason == "StillInUse" && e.Regarding.Kind == storage.Kind && e.Regarding.Name == p.repository.Name {
				return true, nil
			}
		}
		return false, err
	})
	there := new(storage.Repository)
	require.NoError(t, p.Get(t.Context(), client.ObjectKeyFromObject(p.repository), there))
	require.NotNil(t, there.DeletionTimestamp)
	p.gate.lift()
	p.succeeded(t, "by-hand")
	var all storage.RepositoryList
	p.gone(t, p.ns, &all, func() int { return len(all.Items) })

	spec := p.repository.Spec.Backend.S3
	files, err := s3.Opener(t.Context(), spec.Endpoint+"/"+spec.Bucket+spec.Prefix, p.store.Settings())
	require.NoError(t, err)
	for _, kind := range backend.FileTypes {
		for f, err := range files.List(t.Context(), kind) {
			require.NoError(t, err)
			require.Fail(t, "something is left", f)
		}
	}
	require.NoError(t, files.Close())
	p.end(t)
}

// While one backup runs, another one of the same is skipped.
func testTwoAtOnce(t *testing.T, w *world) {
	p := w.place(t, "two")
	p.create(t, p.all()...)
	p.becomes(t, task.InvokerReady)
	p.gate.shut()
	p.instant(t, "first")
	p.works(t)
	p.instant(t, "second")
	s := p.ends(t, "second")
	require.Equal(t, task.SessionSkipped, s.Status.Phase, show(s.Status))
	require.Equal(t, "True SkippedTakingNewBackup", conditions(s.Status.Conditions)[task.BackupSkipped])
	require.Empty(t, s.Status.Targets)
	p.gate.lift()
	p.succeeded(t, "first")
	require.Len(t, p.made(), 1)
	p.holds(t, 1)
	p.end(t)
}

// While a configuration is paused its CronJob is, and what comes of it all the same is skipped. What is asked for by hand is done.
func testPaused(t *testing.T, w *world) {
	p := w.place(t, "paused")
	p.conf.Spec.Schedule, p.conf.Spec.Paused = never, true
	p.create(t, p.all()...)
	p.becomes(t, task.InvokerReady)
	p.scheduled(t)
	var crons batchv1.CronJobList
	require.NoError(t, p.List(t.Context(), &crons, client.InNamespace(p.ns)))
	require.Len(t, crons.Items, 1)
	cron := &crons.Items[0]
	require.NotNil(t, cron.Spec.Suspend)
	require.True(t, *cron.Spec.Suspend)

	// What kubectl create job --from does.
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: p.ns, Name: "now", Labels: cron.Spec.JobTemplate.Labels, OwnerReferences: []metav1.OwnerReference{
		*metav1.NewControllerRef(cron, batchv1.SchemeGroupVersion.WithKind("CronJob")),
	}}, Spec: cron.Spec.JobTemplate.Spec}
	p.create(t, job)
	ended, log := p.finished(t, client.ObjectKeyFromObject(job))
	require.True(t, condition(ended, batchv1.JobComplete), log)
	var sessions task.BackupSessionList
	require.NoError(t, p.List(t.Context(), &sessions, client.InNamespace(p.ns)))
	require.Len(t, sessions.Items, 1)
	s := p.ends(t, sessions.Items[0].Name)
	require.Equal(t, task.SessionSkipped, s.Status.Phase, show(s.Status))
	require.Equal(t, "True InvokerPaused", conditions(s.Status.Conditions)[task.BackupSkipped])

	p.instant(t, "by-hand")
	p.succeeded(t, "by-hand")
	require.Len(t, p.made(), 1)
	p.holds(t, 1)
	require.NoError(t, p.List(t.Context(), &crons, client.InNamespace(p.ns)))
	require.True(t, *crons.Items[0].Spec.Suspend)
	p.end(t)
}
