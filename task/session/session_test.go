package session_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/session"
)

var now = time.Date(2024, 3, 10, 2, 30, 0, 0, time.UTC)

func parse[T task.Object](t *testing.T, text string) T {
	t.Helper()
	o, err := task.Parse([]byte("apiVersion: stash.appscode.com/v1beta1\n" + text))
	require.NoError(t, err)
	return o.(T)
}

func configuration(t *testing.T) *task.BackupConfiguration {
	return parse[*task.BackupConfiguration](t, `
kind: BackupConfiguration
metadata: {name: nightly, namespace: demo, uid: "9", generation: 4}
spec:
  schedule: "0 3 * * *"
  timeZone: Europe/Berlin
  repository: {name: store, namespace: storage}
  timeOut: 30m
  retryConfig: {maxRetry: 2, delay: 5m}
  task: {name: elasticsearch-backup}
  target: {ref: {apiVersion: appcatalog.appscode.com/v1alpha1, kind: AppBinding, name: es}}
`)
}

func repo() *storage.Repository {
	r := &storage.Repository{}
	r.Name, r.Namespace = "store", "storage"
	r.Spec.Backend = storage.Backend{StorageSecretName: "s", S3: &storage.S3Spec{Bucket: "b"}}
	r.Spec.UsagePolicy = &storage.UsagePolicy{AllowedNamespaces: storage.AllowedNamespaces{From: ptr.To(storage.NamespacesFromAll)}}
	return r
}

func ready(t *testing.T) *task.BackupConfiguration {
	c := configuration(t)
	phase, err := session.ValidateBackup(c, session.Found{Repository: repo(), Secret: true, Targets: []bool{true}}, now)
	require.NoError(t, err)
	require.Equal(t, task.InvokerReady, phase)
	return c
}

func TestAnInvokerIsReadyWhenAllIsThere(t *testing.T) {
	c := ready(t)
	require.Equal(t, int64(4), c.Status.ObservedGeneration)
	closed := repo()
	closed.Spec.UsagePolicy = nil
	for name, x := range map[string]struct {
		found   session.Found
		change  func(*task.BackupConfiguration)
		phase   task.InvokerPhase
		missing string
	}{
		"no repository":  {session.Found{Targets: []bool{true}}, nil, task.InvokerNotReady, task.RepositoryFound},
		"no secret":      {session.Found{Repository: repo(), Targets: []bool{true}}, nil, task.InvokerNotReady, task.BackendSecretFound},
		"no target":      {session.Found{Repository: repo(), Secret: true, Targets: []bool{false}}, nil, task.InvokerNotReady, task.BackupTargetFound},
		"not allowed":    {session.Found{Repository: closed, Secret: true, Targets: []bool{true}}, nil, task.InvokerInvalid, task.ValidationPassed},
		"cannot be used": {session.Found{Repository: repo()}, func(c *task.BackupConfiguration) { c.Spec.Schedule = "never" }, task.InvokerInvalid, task.ValidationPassed},
	} {
		t.Run(name, func(t *testing.T) {
			c := ready(t)
			if x.change != nil {
				x.change(c)
			}
			phase, err := session.ValidateBackup(c, x.found, now.Add(time.Minute))
			require.NoError(t, err)
			require.Equal(t, x.phase, phase)
			require.True(t, task.IsFalse(c.Status.Conditions, x.missing), "%v", c.Status.Conditions)
			require.Equal(t, now.Add(time.Minute), task.FindCondition(c.Status.Conditions, x.missing).LastTransitionTime.Time)
		})
	}
	again := c.DeepCopy()
	_, err := session.ValidateBackup(again, session.Found{Repository: repo(), Secret: true, Targets: []bool{true}}, now.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, c.Status, again.Status, "what is so already keeps its time")
}

func TestDueHeedsTimeZoneAndDaylightSaving(t *testing.T) {
	c := configuration(t)
	at := func(from string) string {
		f, err := time.Parse(time.RFC3339, from)
		require.NoError(t, err)
		d, err := session.Due(c, f)
		require.NoError(t, err)
		return d.UTC().Format(time.RFC3339)
	}
	require.Equal(t, "2024-03-30T02:00:00Z", at("2024-03-29T12:00:00Z"))
	require.Equal(t, "2024-03-31T01:00:00Z", at("2024-03-30T12:00:00Z"), "clocks have gone forward: 3:00 is an hour earlier")
	require.Equal(t, "2024-04-01T01:00:00Z", at("2024-03-31T12:00:00Z"))
	c.Spec.Paused = true
	d, err := session.Due(c, now)
	require.NoError(t, err)
	require.Zero(t, d)
}

func made(t *testing.T, c task.Object, at time.Time, instant bool) *task.BackupSession {
	s, err := session.New(c, at, instant)
	require.NoError(t, err)
	require.NoError(t, s.Validate())
	return s
}

func TestTwoSessionsAtOnce(t *testing.T) {
	c := ready(t)
	first, second := made(t, c, now, false), made(t, c, now.Add(time.Minute), false)
	d, err := session.StartBackup(first, c, nil, now)
	require.NoError(t, err)
	require.Equal(t, session.Start, d)
	require.Equal(t, task.SessionRunning, first.Status.Phase)
	require.Equal(t, now.Add(30*time.Minute), first.Status.SessionDeadline.Time)
	d, err = session.StartBackup(second, c, []task.BackupSession{*first, *second}, now.Add(time.Minute))
	require.NoError(t, err)
	require.Equal(t, session.Skip, d)
	require.Equal(t, task.SessionSkipped, second.Status.Phase)
	require.Contains(t, task.FindCondition(second.Status.Conditions, task.BackupSkipped).Message, first.Name)
	// A decision that is asked for again stays.
	d, _ = session.StartBackup(second, c, nil, now)
	require.Equal(t, session.Skip, d)
	d, _ = session.StartBackup(first, c, []task.BackupSession{*second}, now)
	require.Equal(t, session.Start, d)
}

func TestPausedAndInstant(t *testing.T) {
	c := ready(t)
	c.Spec.Paused = true
	s := made(t, c, now, false)
	d, err := session.StartBackup(s, c, nil, now)
	require.NoError(t, err)
	require.Equal(t, session.Skip, d)
	require.Equal(t, "InvokerPaused", task.FindCondition(s.Status.Conditions, task.BackupSkipped).Reason)
	s = made(t, c, now, true)
	d, err = session.StartBackup(s, c, nil, now)
	require.NoError(t, err)
	require.Equal(t, session.Start, d)
}

func TestASessionWaitsForItsInvokerUntilTheDeadline(t *testing.T) {
	c := configuration(t)
	s := made(t, c, now, false)
	d, err := session.StartBackup(s, c, nil, now)
	require.NoError(t, err)
	require.Equal(t, session.Wait, d)
	require.Equal(t, task.SessionPending, s.Status.Phase)
	require.False(t, session.FinishBackup(s, now.Add(29*time.Minute)))
	require.True(t, session.FinishBackup(s, now.Add(30*time.Minute)))
	require.Equal(t, task.SessionFailed, s.Status.Phase)
	require.True(t, task.IsTrue(s.Status.Conditions, task.DeadlineExceeded))
	require.Equal(t, "30m0s", s.Status.SessionDuration)
}

func running(t *testing.T, c *task.BackupConfiguration) *task.BackupSession {
	s := made(t, c, now, false)
	_, err := session.StartBackup(s, c, nil, now)
	require.NoError(t, err)
	return s
}

func TestHowSessionsEnd(t *testing.T) {
	for name, x := range map[string]struct {
		change func(s *task.BackupSession)
		over   bool
		want   task.SessionPhase
	}{
		"still running": {func(*task.BackupSession) {}, false, task.SessionRunning},
		"succeeded":     {func(s *task.BackupSession) { s.Status.Targets[0].Phase = task.SessionSucceeded }, true, task.SessionSucceeded},
		"failed":        {func(s *task.BackupSession) { session.FailTarget(&s.Status.Targets[0], "", "killed") }, true, task.SessionFailed},
		"retention failed": {func(s *task.BackupSession) {
			s.Status.Targets[0].Phase = task.SessionSucceeded
			task.SetCondition(&s.Status.Targets[0].Conditions, task.RetentionPolicyApplied, false, "No", "", now)
		}, true, task.SessionFailed},
		"repository damaged": {func(s *task.BackupSession) {
			s.Status.Targets[0].Phase = task.SessionSucceeded
			task.SetCondition(&s.Status.Conditions, task.RepositoryIntegrityVerified, false, "No", "", now)
		}, true, task.SessionFailed},
		"disrupted": {func(s *task.BackupSession) { session.Disrupt(s, "the Job is gone", now) }, true, task.SessionFailed},
	} {
		t.Run(name, func(t *testing.T) {
			s := running(t, ready(t))
			x.change(s)
			require.Equal(t, x.over, session.FinishBackup(s, now.Add(time.Minute)))
			require.Equal(t, x.want, s.Status.Phase)
			if x.want == task.SessionFailed && len(s.Status.Targets[0].Stats) > 0 {
				require.Equal(t, "host-0", s.Status.Targets[0].Stats[0].Hostname)
				require.NotEmpty(t, s.Status.Targets[0].Stats[0].Error)
			}
		})
	}
}

func TestRetriesAndHistory(t *testing.T) {
	c := ready(t)
	s := running(t, c)
	session.Disrupt(s, "gone", now.Add(time.Minute))
	next, err := session.Retry(s, c, now.Add(time.Minute))
	require.NoError(t, err)
	require.Nil(t, next)
	require.Equal(t, now.Add(6*time.Minute), s.Status.NextRetry.Time)
	require.False(t, *s.Status.Retried)
	kept, err := session.History(c, []task.BackupSession{*s, *made(t, c, now, false)})
	require.NoError(t, err)
	require.Empty(t, kept, "one that will be tried again, and one that has not begun")

	next, err = session.Retry(s, c, now.Add(6*time.Minute))
	require.NoError(t, err)
	require.Equal(t, int32(1), next.Spec.RetryLeft)
	require.True(t, *s.Status.Retried)
	none, err := session.Retry(s, c, now.Add(time.Hour))
	require.NoError(t, err)
	require.Nil(t, none, "once")

	next.Spec.RetryLeft = 0
	next.Status.Phase = task.SessionFailed
	none, err = session.Retry(next, c, now.Add(time.Hour))
	require.NoError(t, err)
	require.Nil(t, none)

	var all []task.BackupSession
	for i := range 5 {
		o := made(t, c, now.Add(time.Duration(i)*time.Hour), false)
		o.Status.Phase = task.SessionSucceeded
		all = append(all, *o)
	}
	c.Spec.BackupHistoryLimit = ptr.To[int32](2)
	old, err := session.History(c, all)
	require.NoError(t, err)
	require.Len(t, old, 3)
	require.Equal(t, all[2].Name, old[0].Name)
	c.Spec.BackupHistoryLimit = ptr.To[int32](0)
	old, err = session.History(c, all)
	require.NoError(t, err)
	require.Len(t, old, 5)
}

func TestBatchOrder(t *testing.T) {
	const p, r, s, f = task.SessionPending, task.SessionRunning, task.SessionSucceeded, task.SessionFailed
	for _, x := range []struct {
		order task.ExecutionOrder
		in    []task.SessionPhase
		want  []int
		stop  bool
	}{
		{task.Parallel, []task.SessionPhase{p, f, p}, []int{0, 2}, false},
		{"", []task.SessionPhase{p, p}, []int{0, 1}, false},
		{task.Sequential, []task.SessionPhase{p, p}, []int{0}, false},
		{task.Sequential, []task.SessionPhase{r, p}, nil, false},
		{task.Sequential, []task.SessionPhase{s, p}, []int{1}, false},
		{task.Sequential, []task.SessionPhase{f, p}, nil, true},
		{task.Sequential, []task.SessionPhase{s, s}, nil, false},
	} {
		start, stop := session.Next(x.order, x.in)
		require.Equal(t, x.want, start, "%v %v", x.order, x.in)
		require.Equal(t, x.stop, stop, "%v %v", x.order, x.in)
	}
}

func TestRestorePhases(t *testing.T) {
	s := parse[*task.RestoreSession](t, `
kind: RestoreSession
metadata: {name: back, namespace: demo}
spec: {timeOut: 10m, repository: {name: store, namespace: storage}, target: {alias: es, ref: {kind: AppBinding, name: es}}}
`)
	s.CreationTimestamp = metav1.NewTime(now)
	all := session.Found{Repository: repo(), Secret: true, Targets: []bool{true}}
	require.Equal(t, session.Wait, session.StartRestore(s, session.Found{}, now))
	require.Equal(t, task.SessionPending, s.Status.Phase)
	require.True(t, task.IsFalse(s.Status.Conditions, task.RestoreTargetFound))
	late := s.DeepCopy()
	require.True(t, session.FinishRestore(late, now.Add(10*time.Minute)))
	require.Equal(t, task.SessionFailed, late.Status.Phase)
	require.Equal(t, "es", late.Status.Stats[0].Hostname)

	require.Equal(t, session.Start, session.StartRestore(s, all, now))
	require.False(t, session.FinishRestore(s, now))
	failed := s.DeepCopy()
	session.FailRestore(failed, "killed")
	require.True(t, session.FinishRestore(failed, now))
	require.Equal(t, task.SessionFailed, failed.Status.Phase)
	s.Status.Stats = []task.HostRestoreStats{{Hostname: "es", Phase: task.SessionSucceeded}}
	require.True(t, session.FinishRestore(s, now.Add(time.Minute)))
	require.Equal(t, task.SessionSucceeded, s.Status.Phase)
	require.True(t, task.IsTrue(s.Status.Conditions, task.RestoreCompleted))

	closed := repo()
	closed.Spec.UsagePolicy = nil
	other := parse[*task.RestoreSession](t, "kind: RestoreSession\nmetadata: {name: b, namespace: demo}\nspec: {repository: {name: store, namespace: storage}, target: {ref: {kind: AppBinding, name: es}}}")
	require.Equal(t, session.Skip, session.StartRestore(other, session.Found{Repository: closed, Secret: true, Targets: []bool{true}}, now))
	require.Equal(t, task.SessionInvalid, other.Status.Phase)
}

func port(n int) intstr.IntOrString { return intstr.FromInt32(int32(n)) }

func TestHooks(t *testing.T) {
	var got []string
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.Method+" "+r.URL.String()+" "+r.Header.Get("X-Phase")+" "+string(body))
		w.WriteHeader(status)
	}))
	defer server.Close()
	n := server.Listener.Addr().(*net.TCPAddr).Port
	get := task.Hook{Name: "get", Handler: task.Handler{HTTPGet: &corev1.HTTPGetAction{Host: "127.0.0.1", Port: port(n), Path: "/secretpath?x={{ .Session }}",
		HTTPHeaders: []corev1.HTTPHeader{{Name: "X-Phase", Value: "{{ .Status.Phase }}"}}}}}
	post := task.PostHook{ExecutionPolicy: task.ExecuteOnFailure, Handler: task.Handler{HTTPPost: &task.HTTPPostAction{Host: "127.0.0.1", Port: intstr.FromString(
		strings.TrimPrefix(server.URL, "http://127.0.0.1:")), Form: []task.FormEntry{{Key: "error", Values: []string{"{{ .Status.Error }}", "b c"}}}}}}
	h := &session.Hooks{Host: "127.0.0.1"}
	data := session.HookData{Session: "s1", Status: session.HookStatus{Phase: task.SessionFailed, Error: "no & no"}}
	hooks := session.AfterBackup(&task.BackupHooks{PostBackup: &post, After: []task.Hook{get, {Handler: task.Handler{TCPSocket: &corev1.TCPSocketAction{Port: port(n)}}}}})
	require.NoError(t, h.After(t.Context(), hooks, data, true))
	require.Equal(t, []string{"GET /secretpath?x=s1 Failed ", "POST / " + " " + "error=no+%26+no&error=b+c"}, got)
	got = nil
	require.NoError(t, h.After(t.Context(), hooks, data, false))
	require.Len(t, got, 1, "OnFailure: not after a success")
	require.Equal(t, "{{ .Session }}", get.HTTPGet.Path[len("/secretpath?x="):], "the object is not changed")

	status = http.StatusInternalServerError
	got = nil
	before := session.BeforeBackup(&task.BackupHooks{PreBackup: &get.Handler, Before: []task.Hook{get}})
	err := h.Before(t.Context(), before, data)
	require.ErrorContains(t, err, "hook preBackup: GET http://127.0.0.1")
	require.ErrorContains(t, err, "500")
	require.NotContains(t, err.Error(), "secretpath")
	require.Len(t, got, 1, "the first failure ends it")
	got = nil
	require.Error(t, h.After(t.Context(), []task.Hook{get, get}, data, false))
	require.Len(t, got, 2, "afterwards all run")

	for want, hook := range map[string]task.Hook{
		"unsupported operation":  {Handler: task.Handler{Exec: &corev1.ExecAction{Command: []string{"x"}}}},
		"the template asks for":  {Handler: task.Handler{HTTPGet: &corev1.HTTPGetAction{Path: "{{ .Nothing }}"}}},
		`port "http" is no numb`: {Handler: task.Handler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString("http")}}},
		"has no action":          {},
		"refused":                {Handler: task.Handler{TCPSocket: &corev1.TCPSocketAction{Port: port(1)}}},
	} {
		require.ErrorContains(t, h.Before(t.Context(), []task.Hook{hook}, data), want)
	}
	var ran []string
	h.Exec = func(ctx context.Context, _ task.TargetRef, container string, command []string) error {
		ran = append(command, container)
		<-ctx.Done()
		return ctx.Err()
	}
	slow := task.Hook{TimeoutSeconds: 1, Handler: task.Handler{ContainerName: "c", Exec: &corev1.ExecAction{Command: []string{"sync", "{{ .Session }}"}}}}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("stopped by hand"))
	require.ErrorContains(t, h.Before(ctx, []task.Hook{slow}, data), "stopped by hand")
	require.Equal(t, []string{"sync", "s1", "c"}, ran)
}

func TestBlueprint(t *testing.T) {
	bp := parse[*task.BackupBlueprint](t, `
kind: BackupBlueprint
metadata: {name: es}
spec:
  backend: {storageSecretName: s, s3: {bucket: b, prefix: "${TARGET_NAMESPACE}/${TARGET_APP_RESOURCE}/${TARGET_NAME}"}}
  schedule: "*/5 * * * *"
  task: {name: "elasticsearch-backup-${TARGET_APP_VERSION}", params: [{name: args, value: old}]}
  interimVolumeTemplate: {metadata: {name: "${TARGET_APP_RESOURCE}-${TARGET_NAME}"}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}
  retentionPolicy: {keepLast: 5}
`)
	b, err := appbinding.Parse([]byte(`
apiVersion: appcatalog.appscode.com/v1alpha1
kind: AppBinding
metadata:
  name: sample
  namespace: demo
  annotations:
    stash.appscode.com/backup-blueprint: es
    stash.appscode.com/schedule: "0 1 * * *"
    params.stash.appscode.com/args: --match=x
    params.stash.appscode.com/more: y1
spec: {type: kubedb.com/elasticsearch, version: 8.2.0, clientConfig: {service: {name: sample}}}
`))
	require.NoError(t, err)
	require.Equal(t, []string{"es"}, session.Blueprints(b))
	r, c, err := session.FromBlueprint(bp, b)
	require.NoError(t, err)
	require.Equal(t, "repository demo/app-sample", r.String())
	require.Equal(t, "demo/elasticsearch/sample", r.Spec.Backend.S3.Prefix)
	require.Equal(t, "backupconfiguration demo/app-sample", c.String())
	require.Equal(t, "0 1 * * *", c.Spec.Schedule)
	require.Equal(t, task.TaskRef{Name: "elasticsearch-backup-8.2.0", Params: []task.Param{{Name: "args", Value: "--match=x"}, {Name: "more", Value: "y1"}}}, c.Spec.Task)
	require.Equal(t, "elasticsearch-sample", c.Spec.InterimVolumeTemplate.Name)
	require.Equal(t, "sample", c.Spec.Target.Ref.Name)
	require.Equal(t, "${TARGET_NAMESPACE}/${TARGET_APP_RESOURCE}/${TARGET_NAME}", bp.Spec.Backend.S3.Prefix)

	bp.Spec.RepoNamespace, bp.Spec.Backend.S3.Bucket = "${ONE}", "${TWO}"
	_, _, err = session.FromBlueprint(bp, b)
	var undefined *task.UndefinedError
	require.ErrorAs(t, err, &undefined)
	require.Len(t, undefined.Variables, 2)
	bp.Spec.RepoNamespace, bp.Spec.Backend.S3.Bucket = "repos", "a:b"
	_, _, err = session.FromBlueprint(bp, b)
	require.ErrorContains(t, err, "spec.backend.s3.bucket")
	b.Annotations[task.AnnotationBlueprint] = "es, other,es"
	bp.Spec.Backend.S3.Bucket = "b"
	r, c, err = session.FromBlueprint(bp, b)
	require.NoError(t, err)
	require.Equal(t, "repository repos/app-sample-es", r.String())
	require.Equal(t, task.ObjectReference{Namespace: "repos", Name: "app-sample-es"}, c.Spec.Repository)
}

func TestMetricsOfFailures(t *testing.T) {
	c := ready(t)
	s := running(t, c)
	session.Disrupt(s, "gone", now.Add(time.Minute))
	var sink metrics.Memory
	cat := metrics.NewCatalogue(metrics.ShortNames)
	require.NoError(t, session.RecordBackup(t.Context(), cat, &sink, s, c, now))
	for _, m := range []*metrics.Metric{cat.BackupSuccess, cat.TargetSuccess, cat.HostSuccess} {
		v, found := sink.Value(m, "BackupConfiguration", "nightly", "demo", "Restic", "store")
		require.True(t, found)
		require.Zero(t, v)
	}
	v, found := sink.Value(cat.BackupDuration)
	require.True(t, found)
	require.Equal(t, 60.0, v)
	skipped := &task.BackupSession{}
	skipped.Status.Phase = task.SessionSkipped
	var none metrics.Memory
	require.NoError(t, session.RecordBackup(t.Context(), cat, &none, skipped, c, now))
	require.Empty(t, none.Samples())
}
