package controller_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/session"
)

func TestAConfigurationGetsACronJob(t *testing.T) {
	c := configuration(t, "")
	w := newWorld(t, append(needs(t), c)...)
	w.live(2)
	read(w, c)
	require.Equal(t, task.InvokerReady, c.Status.Phase)
	for _, kind := range []string{task.ValidationPassed, task.RepositoryFound, task.BackendSecretFound, task.BackupTargetFound, task.CronJobCreated} {
		isTrue(t, c.Status.Conditions, kind)
	}
	require.Len(t, w.crons(), 1)
	j := w.crons()[0]
	require.Equal(t, "stash-trigger-nightly", j.Name)
	require.Equal(t, "*/5 * * * *", j.Spec.Schedule)
	require.Equal(t, "Europe/Berlin", *j.Spec.TimeZone)
	require.False(t, *j.Spec.Suspend)
	require.True(t, metav1.IsControlledBy(j, c))
	pod := j.Spec.JobTemplate.Spec.Template.Spec
	require.Equal(t, []string{"/bin/operator", "create-session"}, pod.Containers[0].Command)
	require.Equal(t, []string{"--namespace=demo", "--invoker-kind=BackupConfiguration", "--invoker-name=nightly"}, pod.Containers[0].Args)
	require.Equal(t, "escrow-session-creator", pod.ServiceAccountName)
	var b rbacv1.RoleBinding
	require.NoError(t, w.api.Get(t.Context(), client.ObjectKey{Namespace: "demo", Name: "escrow-session-creator-demo-escrow-session-creator"}, &b))
	require.Equal(t, "escrow-session-creator", b.RoleRef.Name)

	// Nothing is written any more where nothing changes.
	version := read(w, c).ResourceVersion
	w.live(3)
	require.Equal(t, version, read(w, c).ResourceVersion)

	c.Spec.Paused, c.Spec.Schedule = true, "0 3 * * *"
	require.NoError(t, w.api.Update(t.Context(), c))
	w.live(1)
	j = w.crons()[0]
	require.True(t, *j.Spec.Suspend)
	require.Equal(t, "0 3 * * *", j.Spec.Schedule)
	require.Nil(t, j.Spec.TimeZone)
	j.Spec.Suspend = new(bool)
	require.NoError(t, w.api.Update(t.Context(), j))
	w.live(1)
	require.True(t, *w.crons()[0].Spec.Suspend, "what somebody else changed is changed back")

	read(w, c).Spec.Schedule = ""
	require.NoError(t, w.api.Update(t.Context(), c))
	w.live(1)
	require.Empty(t, w.crons())
	require.Nil(t, task.FindCondition(read(w, c).Status.Conditions, task.CronJobCreated))

	require.NoError(t, w.api.Delete(t.Context(), c))
	w.live(3)
	require.True(t, gone(w, c))
	require.Equal(t, []string{"backupconfiguration-demo-nightly"}, w.sink.groups)
}

func TestAConfigurationWaitsForWhatIsMissing(t *testing.T) {
	for i, x := range []struct{ missing, reason string }{
		{task.BackendSecretFound, "BackendSecretNotAvailable"}, {task.RepositoryFound, "RepositoryNotAvailable"}, {task.BackupTargetFound, "TargetNotAvailable"},
	} {
		t.Run(x.missing, func(t *testing.T) {
			c := configuration(t, "")
			w := newWorld(t, c)
			for n, o := range needs(t) {
				if n != i {
					require.NoError(t, w.api.Create(t.Context(), o))
				}
			}
			w.live(2)
			read(w, c)
			require.Equal(t, task.InvokerNotReady, c.Status.Phase)
			isFalse(t, c.Status.Conditions, x.missing)
			require.Equal(t, x.reason, task.FindCondition(c.Status.Conditions, x.missing).Reason)
			require.Empty(t, w.crons())
			// A session waits, and the next one does not wait behind it.
			first := w.trigger(c)
			w.live(2)
			require.Equal(t, task.SessionPending, read(w, first).Status.Phase)
			w.now = w.now.Add(time.Minute)
			second := w.trigger(c)
			w.live(2)
			require.Equal(t, task.SessionSkipped, read(w, second).Status.Phase)
			require.Empty(t, w.jobs())

			require.NoError(t, w.api.Create(t.Context(), needs(t)[i]))
			w.live(5)
			require.Equal(t, task.InvokerReady, read(w, c).Status.Phase)
			require.Len(t, w.crons(), 1)
			require.Equal(t, task.SessionSucceeded, read(w, first).Status.Phase)
		})
	}
}

func TestAnInvalidConfigurationSaysWhatIsWrong(t *testing.T) {
	c := configuration(t, "")
	c.Spec.Schedule = "whenever"
	other := configuration(t, "")
	other.Name, other.Spec.Repository.Namespace = "other", "closed"
	closed := store(t)
	closed.Namespace = "closed"
	w := newWorld(t, append(needs(t), c, other, closed, secret("closed"))...)
	w.live(2)
	for _, x := range []*task.BackupConfiguration{c, other} {
		require.Equal(t, task.InvokerInvalid, read(w, x).Status.Phase)
		isFalse(t, x.Status.Conditions, task.ValidationPassed)
	}
	require.Contains(t, task.FindCondition(c.Status.Conditions, task.ValidationPassed).Message, "spec.schedule")
	require.Contains(t, task.FindCondition(other.Status.Conditions, task.ValidationPassed).Message, "usage policy")
	require.Empty(t, w.crons())
}

func TestACronJobOfSomebodyElseIsLeftAlone(t *testing.T) {
	c := configuration(t, "")
	theirs := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "stash-trigger-nightly",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Other", Name: "o", UID: "uid-1", Controller: new(bool)}}}}
	*theirs.OwnerReferences[0].Controller = true
	w := newWorld(t, append(needs(t), c, theirs)...)
	_, errs := w.round()
	require.Empty(t, errs)
	isFalse(t, read(w, c).Status.Conditions, task.CronJobCreated)
	require.Empty(t, read(w, theirs).Spec.Schedule)
}

func TestASessionBacksUp(t *testing.T) {
	c := configuration(t, "")
	w := newWorld(t, append(needs(t), c)...)
	w.live(1)
	s := w.trigger(read(w, c))
	w.pod = func(*batchv1.Job) outcome { return outcome{running: true} }
	w.live(3)
	require.Equal(t, task.SessionRunning, read(w, s).Status.Phase)
	require.Len(t, w.jobs(), 1)
	require.Len(t, w.claims(), 1)
	j := w.jobs()[0]
	require.True(t, metav1.IsControlledBy(j, s))
	pod := j.Spec.Template.Spec
	require.Equal(t, "escrow-runner", pod.ServiceAccountName)
	require.Equal(t, "elasticsearch-backup", pod.InitContainers[0].Name)
	for _, container := range append(pod.InitContainers, pod.Containers...) {
		require.Equal(t, "escrow:1", container.Image)
		require.Equal(t, []string{"/bin/operator", "run"}, container.Command)
	}
	require.Contains(t, pod.Containers[0].Args, "--metrics-pushgateway-url=http://gateway:9091")
	isTrue(t, s.Status.Targets[0].Conditions, task.BackupExecutorEnsured)
	require.Equal(t, task.SessionRunning, s.Status.Targets[0].Phase)

	w.pod = nil
	w.live(3)
	require.Equal(t, task.SessionSucceeded, read(w, s).Status.Phase)
	isTrue(t, s.Status.Conditions, task.BackupHistoryCleaned)
	isTrue(t, s.Status.Conditions, task.RepositoryMetricsPushed)
	require.NotEmpty(t, s.Status.SessionDuration)
	require.Len(t, w.jobs(), 1, "kept as long as the session")
	require.Empty(t, w.claims(), "the interim volume is not needed any more")
	cat := metrics.NewCatalogue(metrics.ShortNames)
	v, found := w.sink.Value(cat.BackupSuccess, "BackupConfiguration", "nightly", "demo", "Restic", "store")
	require.True(t, found)
	require.Equal(t, 1.0, v)

	// The next one takes its place in the history, and takes its Job along.
	w.now = w.now.Add(5 * time.Minute)
	next := w.trigger(c)
	w.live(6)
	require.Equal(t, task.SessionSucceeded, read(w, next).Status.Phase)
	require.Len(t, w.sessions(), 1)
	require.Len(t, w.jobs(), 1)
}

// A pod that has ended would keep its interim volume: Kubernetes removes no claim that a pod names.
func TestAPodStaysForItsLogUnlessItKeepsAVolume(t *testing.T) {
	for name, x := range map[string]struct {
		interim, ephemeral bool
		left               int
	}{"none": {false, false, 1}, "claim": {true, false, 0}, "ephemeral": {true, true, 0}} {
		t.Run(name, func(t *testing.T) {
			c := configuration(t, "")
			if !x.interim {
				c.Spec.InterimVolumeTemplate = nil
			}
			w := newWorld(t, append(needs(t), c)...)
			w.op.Config.EphemeralVolumes = x.ephemeral
			w.live(1)
			s := w.trigger(read(w, c))
			w.live(6)
			require.Equal(t, task.SessionSucceeded, read(w, s).Status.Phase)
			require.Len(t, w.jobs(), 1)
			require.Empty(t, w.claims())
			var pods corev1.PodList
			require.NoError(t, w.api.List(t.Context(), &pods))
			require.Len(t, pods.Items, x.left)
		})
	}
}

func TestAConfigurationTakesEverythingWithIt(t *testing.T) {
	c := configuration(t, "")
	w := newWorld(t, append(needs(t), c)...)
	w.live(1)
	w.trigger(read(w, c))
	w.pod = func(*batchv1.Job) outcome { return outcome{running: true} }
	w.live(3)
	require.Len(t, w.jobs(), 1)
	require.NoError(t, w.api.Delete(t.Context(), read(w, c)))
	w.live(4)
	require.True(t, gone(w, c))
	require.Empty(t, w.sessions())
	require.Empty(t, w.jobs())
	require.Empty(t, w.claims())
	require.Empty(t, w.crons())
}

func TestAPushgatewayThatIsGoneDoesNotHoldADeletionForEver(t *testing.T) {
	c := configuration(t, "")
	w := newWorld(t, append(needs(t), c)...)
	w.live(1)
	w.sink.err = errors.New("no route to the gateway")
	require.NoError(t, w.api.Delete(t.Context(), read(w, c)))
	w.fault = func(string, bool) error { return nil } // errors are expected
	w.now = time.Now()
	w.live(2)
	require.False(t, gone(w, c))
	w.now = time.Now().Add(6 * time.Minute)
	w.live(1)
	require.True(t, gone(w, c))
	require.Contains(t, w.told(), "MetricsNotDeleted")
}

func TestASecondSessionIsSkipped(t *testing.T) {
	c := configuration(t, "")
	c.Spec.BackupHistoryLimit = new(int32)
	*c.Spec.BackupHistoryLimit = 5
	w := newWorld(t, append(needs(t), c)...)
	w.live(1)
	first := w.trigger(read(w, c))
	w.pod = func(*batchv1.Job) outcome { return outcome{running: true} }
	w.now = w.now.Add(time.Second)
	second := w.trigger(c)
	w.live(3)
	require.Equal(t, task.SessionRunning, read(w, first).Status.Phase)
	require.Equal(t, task.SessionSkipped, read(w, second).Status.Phase)
	isTrue(t, second.Status.Conditions, task.BackupSkipped)
	require.Len(t, w.jobs(), 1)
	require.Equal(t, 0, len(w.sink.Samples()), "a session that was skipped tells nothing")
}

func TestPausedAndInstant(t *testing.T) {
	c := configuration(t, "  paused: true\n  backupHistoryLimit: 5\n")
	w := newWorld(t, append(needs(t), c)...)
	w.live(1)
	require.True(t, *w.crons()[0].Spec.Suspend)
	scheduled := w.trigger(read(w, c))
	byHand := parse[*task.BackupSession](t, `
kind: BackupSession
metadata: {name: now, namespace: demo}
spec: {invoker: {apiGroup: stash.appscode.com, kind: BackupConfiguration, name: nightly}}
`)
	require.NoError(t, w.api.Create(t.Context(), byHand))
	w.live(5)
	require.Equal(t, task.SessionSkipped, read(w, scheduled).Status.Phase)
	require.Equal(t, "InvokerPaused", task.FindCondition(scheduled.Status.Conditions, task.BackupSkipped).Reason)
	require.Equal(t, task.SessionSucceeded, read(w, byHand).Status.Phase)
	require.True(t, metav1.IsControlledBy(byHand, c))
	require.Equal(t, "true", byHand.Annotations[session.AnnotationInstant])
}

func TestAFailureIsTriedAgain(t *testing.T) {
	c := configuration(t, "  retryConfig: {maxRetry: 1, delay: 5m}\n  backupHistoryLimit: 2\n")
	w := newWorld(t, append(needs(t), c)...)
	w.live(1)
	w.pod = func(*batchv1.Job) outcome {
		return outcome{failed: "elasticsearch-backup", message: "operator: cluster es: 401 Unauthorized"}
	}
	first := w.trigger(read(w, c))
	w.live(4)
	require.Equal(t, task.SessionFailed, read(w, first).Status.Phase)
	require.Equal(t, task.SessionFailed, first.Status.Targets[0].Phase)
	require.Equal(t, "container elasticsearch-backup: exit code 1: operator: cluster es: 401 Unauthorized", first.Status.Targets[0].Stats[0].Error)
	require.False(t, *first.Status.Retried)
	require.Len(t, w.sessions(), 1)
	require.Empty(t, w.claims())
	cat := metrics.NewCatalogue(metrics.ShortNames)
	for _, m := range []*metrics.Metric{cat.BackupSuccess, cat.TargetSuccess, cat.HostSuccess} {
		v, found := w.sink.Value(m)
		require.True(t, found, m.Name)
		require.Zero(t, v, m.Name)
	}

	w.now = first.Status.NextRetry.Time
	w.live(4)
	require.True(t, *read(w, first).Status.Retried)
	require.Len(t, w.sessions(), 2)
	second := w.sessions()[1]
	require.Equal(t, task.SessionFailed, second.Status.Phase)
	require.Zero(t, second.Spec.RetryLeft)
	w.now = w.now.Add(time.Hour)
	w.live(4)
	require.Len(t, w.sessions(), 2, "once")
	require.Len(t, w.jobs(), 2)
}

func TestATimeoutEndsTheSessionAndItsJob(t *testing.T) {
	c := configuration(t, "  timeOut: 10m\n")
	w := newWorld(t, append(needs(t), c)...)
	w.live(1)
	w.pod = func(*batchv1.Job) outcome { return outcome{running: true} }
	s := w.trigger(read(w, c))
	w.live(3)
	require.Equal(t, int64(600), *w.jobs()[0].Spec.ActiveDeadlineSeconds)
	wait, _ := w.round()
	require.Equal(t, polling, wait)
	w.now = read(w, s).Status.SessionDeadline.Add(-time.Second)
	wait, _ = w.round()
	require.Equal(t, time.Second, wait, "it is looked at when its time is up")
	w.now = s.Status.SessionDeadline.Time
	w.live(2)
	require.Equal(t, task.SessionFailed, read(w, s).Status.Phase)
	isTrue(t, s.Status.Conditions, task.DeadlineExceeded)
	require.Equal(t, "10m0s", s.Status.SessionDuration)
	require.Empty(t, w.jobs(), "what runs is ended")
	require.Empty(t, w.claims())
}

const polling = 30 * time.Second

func TestAJobThatGoesAwayFailsTheSession(t *testing.T) {
	c := configuration(t, "")
	w := newWorld(t, append(needs(t), c)...)
	w.live(1)
	w.pod = func(*batchv1.Job) outcome { return outcome{running: true} }
	s := w.trigger(read(w, c))
	w.live(3)
	require.NoError(t, w.api.Delete(t.Context(), w.jobs()[0]))
	w.live(2)
	require.Equal(t, task.SessionFailed, read(w, s).Status.Phase)
	isTrue(t, s.Status.Conditions, task.BackupDisrupted)
	require.Contains(t, s.Status.Targets[0].Stats[0].Error, "is gone before its end")
	require.Empty(t, w.claims())
}

func TestAPodThatWasKilledFailsTheSession(t *testing.T) {
	c := configuration(t, "")
	w := newWorld(t, append(needs(t), c)...)
	w.live(1)
	w.pod = func(*batchv1.Job) outcome {
		return outcome{reason: "DeadlineExceeded", message: "Job was active longer than specified deadline"}
	}
	s := w.trigger(read(w, c))
	w.live(4)
	require.Equal(t, "the Job failed: DeadlineExceeded: Job was active longer than specified deadline", read(w, s).Status.Targets[0].Stats[0].Error)
}

func TestWhatCannotBeResolvedFailsTheSession(t *testing.T) {
	for name, x := range map[string]struct {
		change  func(c *task.BackupConfiguration)
		objects []client.Object
		want    string
	}{
		"no task": {func(c *task.BackupConfiguration) { c.Spec.Task.Name = "mongodb-backup-4.0" }, nil, "task mongodb-backup-4.0: file does not exist"},
		"undefined variable": {func(c *task.BackupConfiguration) { c.Spec.Task.Name = "own" }, []client.Object{
			parse[*task.Task](t, "kind: Task\nmetadata: {name: own}\nspec: {steps: [{name: own}]}"),
			parse[*task.Function](t, "kind: Function\nmetadata: {name: own}\nspec: {image: x, args: ['${NOWHERE}']}"),
		}, "NOWHERE"},
	} {
		t.Run(name, func(t *testing.T) {
			c := configuration(t, "")
			x.change(c)
			w := newWorld(t, append(append(needs(t), c), x.objects...)...)
			w.live(1)
			s := w.trigger(read(w, c))
			w.live(3)
			require.Equal(t, task.SessionFailed, read(w, s).Status.Phase)
			isFalse(t, s.Status.Targets[0].Conditions, task.BackupExecutorEnsured)
			require.Contains(t, strings.ToLower(s.Status.Targets[0].Stats[0].Error), strings.ToLower(x.want))
			require.Empty(t, w.jobs())
			require.Empty(t, w.claims())
		})
	}
}

func TestWhatGoesAwayInTheMiddle(t *testing.T) {
	t.Run("the invoker", func(t *testing.T) {
		s := parse[*task.BackupSession](t, "kind: BackupSession\nmetadata: {name: now, namespace: demo}\nspec: {invoker: {kind: BackupConfiguration, name: nightly}}")
		w := newWorld(t, append(needs(t), s)...)
		w.live(2)
		require.Equal(t, task.SessionFailed, read(w, s).Status.Phase)
		isTrue(t, s.Status.Conditions, task.BackupDisrupted)
		require.Contains(t, task.FindCondition(s.Status.Conditions, task.BackupDisrupted).Message, "There is no BackupConfiguration demo/nightly.")
	})
	t.Run("the repository, before the Job", func(t *testing.T) {
		c := configuration(t, "")
		w := newWorld(t, append(needs(t), c)...)
		w.live(1)
		s := w.trigger(read(w, c))
		_, errs := w.round() // it runs, and has no Job yet
		require.Empty(t, errs)
		require.Equal(t, task.SessionRunning, read(w, s).Status.Phase)
		require.Empty(t, w.jobs())
		r := read(w, store(t))
		r.Finalizers = nil
		require.NoError(t, w.api.Update(t.Context(), r))
		require.NoError(t, w.api.Delete(t.Context(), r))
		w.live(3)
		require.Equal(t, task.SessionFailed, read(w, s).Status.Phase)
		isFalse(t, s.Status.Targets[0].Conditions, task.BackupExecutorEnsured)
		require.Equal(t, task.InvokerNotReady, read(w, c).Status.Phase)
	})
	t.Run("the AppBinding, while it runs", func(t *testing.T) {
		c := configuration(t, "")
		w := newWorld(t, append(needs(t), c)...)
		w.live(1)
		w.pod = func(*batchv1.Job) outcome { return outcome{running: true} }
		s := w.trigger(read(w, c))
		w.live(3)
		require.NoError(t, w.api.Delete(t.Context(), binding(t, "es")))
		w.pod = func(*batchv1.Job) outcome {
			return outcome{failed: "elasticsearch-backup", message: "operator: AppBinding demo/es: file does not exist"}
		}
		w.live(4)
		require.Equal(t, task.SessionFailed, read(w, s).Status.Phase)
		isFalse(t, read(w, c).Status.Conditions, task.BackupTargetFound)
		require.Contains(t, s.Status.Targets[0].Stats[0].Error, "AppBinding demo/es")
	})
}

func TestMetricsThatCannotBePushedDoNotFailABackup(t *testing.T) {
	c := configuration(t, "")
	w := newWorld(t, append(needs(t), c)...)
	w.live(1)
	w.sink.err = errors.New("no route to the gateway")
	s := w.trigger(read(w, c))
	w.live(4)
	require.Equal(t, task.SessionSucceeded, read(w, s).Status.Phase)
	isFalse(t, s.Status.Conditions, task.RepositoryMetricsPushed)
}
