package controller_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"

	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/task"
)

func TestARestore(t *testing.T) {
	s := restoring(t, "  interimVolumeTemplate: {metadata: {name: tmp}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}\n")
	w := newWorld(t, append(needs(t), s)...)
	w.pod = func(*batchv1.Job) outcome { return outcome{running: true} }
	w.live(3)
	require.Equal(t, task.SessionRunning, read(w, s).Status.Phase)
	for _, kind := range []string{task.RepositoryFound, task.BackendSecretFound, task.RestoreTargetFound, task.RestoreJobCreated, task.RestoreExecutorEnsured} {
		isTrue(t, s.Status.Conditions, kind)
	}
	require.Len(t, w.jobs(), 1)
	require.Len(t, w.claims(), 1)
	w.pod = nil
	w.live(3)
	require.Equal(t, task.SessionSucceeded, read(w, s).Status.Phase)
	isTrue(t, s.Status.Conditions, task.RestoreCompleted)
	isTrue(t, s.Status.Conditions, task.MetricsPushed)
	require.Empty(t, w.claims())
	v, found := w.sink.Value(metrics.NewCatalogue(metrics.ShortNames).RestoreSuccess, "RestoreSession", "back", "demo")
	require.True(t, found)
	require.Equal(t, 1.0, v)

	require.NoError(t, w.api.Delete(t.Context(), s))
	w.live(2)
	require.True(t, gone(w, s))
	require.Empty(t, w.jobs())
	require.Equal(t, []string{"restoresession-demo-back"}, w.sink.groups)
}

func TestHowRestoresFail(t *testing.T) {
	for name, x := range map[string]struct {
		more string
		do   func(w *world, s *task.RestoreSession)
		want string
		also string // a condition
	}{
		"the Job fails": {"", func(w *world, _ *task.RestoreSession) {
			w.pod = func(*batchv1.Job) outcome {
				return outcome{failed: "elasticsearch-restore", message: "operator: index logs exists"}
			}
			w.live(5)
		}, "operator: index logs exists", task.RestoreCompleted},
		"the Job goes away": {"", func(w *world, _ *task.RestoreSession) {
			w.pod = func(*batchv1.Job) outcome { return outcome{running: true} }
			w.live(3)
			require.NoError(w.t, w.api.Delete(w.t.Context(), w.jobs()[0]))
			w.live(2)
		}, "gone before its end", task.BackupDisrupted},
		"its time is up": {"  timeOut: 5m\n", func(w *world, s *task.RestoreSession) {
			w.pod = func(*batchv1.Job) outcome { return outcome{running: true} }
			w.live(3)
			w.now = read(w, s).Status.SessionDeadline.Time
			w.live(2)
			require.Empty(w.t, w.jobs())
		}, "within 5m0s", task.DeadlineExceeded},
		"there is no such Task": {"", func(w *world, s *task.RestoreSession) {
			s = read(w, s)
			s.Spec.Task.Name = "none"
			require.NoError(w.t, w.api.Update(w.t.Context(), s))
			w.live(3)
			isFalse(w.t, read(w, s).Status.Conditions, task.RestoreJobCreated)
		}, "none: file does not exist", task.RestoreCompleted},
	} {
		t.Run(name, func(t *testing.T) {
			s := restoring(t, x.more)
			w := newWorld(t, append(needs(t), s)...)
			x.do(w, s)
			require.Equal(t, task.SessionFailed, read(w, s).Status.Phase)
			require.Contains(t, s.Status.Stats[0].Error, x.want)
			isTrue(t, s.Status.Conditions, x.also)
			v, found := w.sink.Value(metrics.NewCatalogue(metrics.ShortNames).RestoreSuccess)
			require.True(t, found)
			require.Zero(t, v)
		})
	}
}

func TestARestoreWaitsUntilItsTimeIsUp(t *testing.T) {
	s := restoring(t, "  timeOut: 5m\n")
	w := newWorld(t, s)
	w.live(2)
	require.Equal(t, task.SessionPending, read(w, s).Status.Phase)
	isFalse(t, s.Status.Conditions, task.RestoreTargetFound)
	isFalse(t, s.Status.Conditions, task.RepositoryFound)
	w.now = began.Add(5 * time.Minute)
	w.live(1)
	require.Equal(t, task.SessionFailed, read(w, s).Status.Phase)
	require.Empty(t, w.jobs())
}

func TestAnInvalidRestore(t *testing.T) {
	s := restoring(t, "")
	s.Spec.Target = nil
	w := newWorld(t, append(needs(t), s)...)
	w.live(2)
	require.Equal(t, task.SessionInvalid, read(w, s).Status.Phase)
	isFalse(t, s.Status.Conditions, task.ValidationPassed)
}

func TestABatchOfRestores(t *testing.T) {
	batch := func(t *testing.T) *task.RestoreBatch {
		return parse[*task.RestoreBatch](t, strings.ReplaceAll(`
kind: RestoreBatch
metadata: {name: all, namespace: demo}
spec:
  repository: {name: store}
  executionOrder: Sequential
  timeOut: 10m
  members:
  - {task: {name: elasticsearch-restore}, target: {alias: one, ref: {apiVersion: APP, kind: AppBinding, name: es}}}
  - task: {name: elasticsearch-restore}
    target: {alias: two, ref: {apiVersion: APP, kind: AppBinding, name: es2}}
    hooks: {postRestore: {tcpSocket: {port: 9200}}}
`, "APP", "appcatalog.appscode.com/v1alpha1"))
	}
	t.Run("succeeds", func(t *testing.T) {
		b := batch(t)
		w := newWorld(t, append(needs(t), b)...)
		w.live(2)
		require.Equal(t, task.SessionPending, read(w, b).Status.Phase)
		require.Contains(t, task.FindCondition(b.Status.Conditions, task.RestoreTargetFound).Message, "demo/es2")
		require.NoError(t, w.api.Create(t.Context(), binding(t, "es2")))
		w.live(8)
		require.Equal(t, task.SessionSucceeded, read(w, b).Status.Phase)
		require.Len(t, w.jobs(), 2)
		require.Equal(t, "two", b.Status.Members[1].Stats[0].Hostname)
		isTrue(t, b.Status.Members[1].Conditions, task.PostRestoreHookExecutionSucceeded)
		v, found := w.sink.Value(metrics.NewCatalogue(metrics.ShortNames).RestoreSuccess, "RestoreBatch", "all", "demo")
		require.True(t, found)
		require.Equal(t, 1.0, v)
	})
	t.Run("the first fails", func(t *testing.T) {
		b := batch(t)
		w := newWorld(t, append(needs(t), binding(t, "es2"), b)...)
		w.pod = func(*batchv1.Job) outcome { return outcome{failed: "elasticsearch-restore", message: "no"} }
		w.live(6)
		require.Equal(t, task.SessionFailed, read(w, b).Status.Phase)
		require.Equal(t, task.SessionSkipped, b.Status.Members[1].Phase)
		require.Len(t, w.jobs(), 1)
	})
	t.Run("its time is up", func(t *testing.T) {
		b := batch(t)
		w := newWorld(t, append(needs(t), binding(t, "es2"), b)...)
		w.pod = func(*batchv1.Job) outcome { return outcome{running: true} }
		w.live(3)
		w.now = began.Add(10 * time.Minute)
		w.live(2)
		require.Equal(t, task.SessionFailed, read(w, b).Status.Phase)
		isTrue(t, b.Status.Conditions, task.DeadlineExceeded)
		require.Equal(t, task.SessionFailed, b.Status.Members[1].Phase)
		require.Empty(t, w.jobs())
	})
}
