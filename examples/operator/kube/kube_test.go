package kube_test

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/examples/operator/kube"
	"github.com/escrow-backup/escrow/examples/operator/rbactest"
	"github.com/escrow-backup/escrow/task"
)

func api(t *testing.T, objects ...client.Object) client.WithWatch {
	t.Helper()
	scheme, err := kube.Scheme()
	require.NoError(t, err)
	return fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&task.BackupSession{}).WithObjects(objects...).Build()
}

func running() *task.BackupSession {
	s := &task.BackupSession{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "s"}}
	s.Status.Phase = task.SessionRunning
	return s
}

var quick = wait.Backoff{Steps: 4, Duration: time.Millisecond}

func TestAnUpdateIsTriedAgain(t *testing.T) {
	resource := schema.GroupResource{Resource: "backupsessions"}
	for name, x := range map[string]struct {
		err   error
		times int
		want  int // calls of change; 0: it fails
	}{
		"conflict":      {apierrors.NewConflict(resource, "s", errors.New("changed")), 2, 3},
		"busy":          {apierrors.NewTooManyRequests("later", 1), 1, 2},
		"starting":      {apierrors.NewServiceUnavailable("not yet"), 1, 2},
		"never":         {apierrors.NewConflict(resource, "s", errors.New("changed")), 9, 0},
		"not permitted": {apierrors.NewForbidden(resource, "s", errors.New("no")), 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			left := x.times
			c := rbactest.Watch(api(t, running()), func(call string, do func() error) error {
				if call == "update backupsessions/status stash.appscode.com" && left > 0 {
					left--
					return x.err
				}
				return do()
			})
			n := 0
			s := new(task.BackupSession)
			err := (&kube.Store{Client: c, Backoff: &quick}).UpdateStatus(t.Context(), "demo", "s", s, func() error {
				n++
				require.Equal(t, task.SessionRunning, s.Status.Phase, "it is read anew each time")
				s.Status.Phase = task.SessionSucceeded
				return nil
			})
			if x.want == 0 {
				require.ErrorIs(t, err, x.err)
				require.ErrorContains(t, err, "backupsession demo/s")
				return
			}
			require.NoError(t, err)
			require.Equal(t, x.want, n)
			require.NoError(t, c.Get(t.Context(), client.ObjectKeyFromObject(s), s))
			require.Equal(t, task.SessionSucceeded, s.Status.Phase)
		})
	}
}

func TestAnUpdateEnds(t *testing.T) {
	store := &kube.Store{Client: api(t, running()), Backoff: &quick}
	no := errors.New("no such target")
	n := 0
	require.ErrorIs(t, store.UpdateStatus(t.Context(), "demo", "s", new(task.BackupSession), func() error { n++; return no }), no)
	require.Equal(t, 1, n)
	require.ErrorIs(t, store.UpdateStatus(t.Context(), "demo", "other", new(task.BackupSession), func() error { return nil }), fs.ErrNotExist)
	ctx, cancel := context.WithCancel(t.Context())
	blocked := &kube.Store{Backoff: &quick, Client: rbactest.Watch(api(t, running()), func(string, func() error) error {
		cancel()
		return ctx.Err()
	})}
	require.ErrorIs(t, blocked.UpdateStatus(ctx, "demo", "s", new(task.BackupSession), func() error { return nil }), context.Canceled)
}

func TestReading(t *testing.T) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "k"}, Data: map[string][]byte{"password": []byte("hidden")}}
	store := &kube.Store{Client: api(t, running(), secret)}
	d, err := store.Secret(t.Context(), "demo", "k")
	require.NoError(t, err)
	require.Equal(t, "hidden", string(d["password"]))
	_, err = store.Secret(t.Context(), "demo", "other")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.False(t, kube.Unanswered(err))
	s := new(task.BackupSession)
	s.Spec.RetryLeft = 7
	require.NoError(t, store.Get(t.Context(), "demo", "s", s))
	require.Zero(t, s.Spec.RetryLeft, "nothing of what was in it stays")
	broken := &kube.Store{Client: rbactest.Watch(api(t), func(string, func() error) error { return errors.New("no route") })}
	err = broken.Get(t.Context(), "demo", "s", s)
	require.True(t, kube.Unanswered(err))
	require.NotErrorIs(t, err, fs.ErrNotExist)
	_, err = (&kube.Lookup{Client: broken.Client}).Task(t.Context(), "elasticsearch-backup")
	require.True(t, kube.Unanswered(err), "what is built in is not meant where the cluster was not asked")
}

func TestLookup(t *testing.T) {
	own := &task.Function{ObjectMeta: metav1.ObjectMeta{Name: "elasticsearch-backup"}, Spec: task.FunctionSpec{Image: "own"}}
	exact := &task.Function{ObjectMeta: metav1.ObjectMeta{Name: "elasticsearch-backup-7.14.0"}, Spec: task.FunctionSpec{Image: "exact"}}
	l := &kube.Lookup{Client: api(t, own, exact)}
	for name, image := range map[string]string{"elasticsearch-backup-7.14.0": "exact", "elasticsearch-backup-8.2.0": "own", "elasticsearch-backup": "own",
		"elasticsearch-restore-8.2.0": "${ADDON_IMAGE:=}"} {
		f, err := l.Function(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, image, f.Spec.Image, name)
	}
	built, err := l.Task(t.Context(), "elasticsearch-restore-8.2.0")
	require.NoError(t, err)
	require.Equal(t, "elasticsearch-restore", built.Spec.Steps[0].Name)
	_, err = l.Task(t.Context(), "mongodb-backup-4.0")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "mongodb-backup-4.0")
}

func TestWhereCommandsRun(t *testing.T) {
	bind := func(name, config string) client.Object {
		b, err := appbinding.Parse([]byte("apiVersion: appcatalog.appscode.com/v1alpha1\nkind: AppBinding\nmetadata: {name: " + name + ", namespace: demo}\nspec: {clientConfig: " + config + "}"))
		require.NoError(t, err)
		return b
	}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "es"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "es"}}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "es-0", Labels: map[string]string{"app": "es"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "elasticsearch"}}}}
	c := api(t, bind("es", "{service: {name: es, port: 9200}}"), bind("away", `{url: "https://es.example.com:9200"}`), bind("lost", "{service: {name: lost}}"), service, pod)
	e := &kube.Exec{Client: c, Config: &rest.Config{Host: "http://127.0.0.1:1"}}
	ref := func(name string) task.TargetRef {
		return task.TargetRef{Kind: "AppBinding", Namespace: "demo", Name: name}
	}
	host, err := e.Host(t.Context(), ref("es"))
	require.NoError(t, err)
	require.Equal(t, "es.demo.svc", host)
	host, err = e.Host(t.Context(), ref("away"))
	require.NoError(t, err)
	require.Equal(t, "es.example.com", host)

	run := func(name string) error { return e.Run(t.Context(), ref(name), "", []string{"sync"}) }
	require.ErrorContains(t, run("es"), "none of 1 pods is ready")
	require.ErrorContains(t, run("away"), "spec.clientConfig.service: is required")
	require.ErrorContains(t, run("lost"), "service demo/lost: file does not exist")
	require.ErrorIs(t, run("nobody"), fs.ErrNotExist)
	require.ErrorContains(t, e.Run(t.Context(), task.TargetRef{Kind: "Deployment", Name: "x"}, "", nil), "is no AppBinding")
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	require.NoError(t, c.Status().Update(t.Context(), pod))
	require.ErrorContains(t, run("es"), "exec in container elasticsearch of pod demo/es-0")
}
