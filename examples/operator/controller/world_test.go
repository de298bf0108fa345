package controller_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/examples/operator/controller"
	"github.com/escrow-backup/escrow/examples/operator/kube"
	"github.com/escrow-backup/escrow/examples/operator/rbactest"
	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
)

// used are the verbs and resources that operators asked for in all tests, such as "create jobs.batch".
var used = struct {
	sync.Mutex
	calls map[string]bool
}{calls: map[string]bool{}}

// A world is a cluster without a network: an API, an operator, and what Kubernetes does with Jobs and with what lost its owner.
type world struct {
	t   *testing.T
	api client.WithWatch // as everybody but the operator sees it
	op  *controller.Operator
	now time.Time

	sink   *deleting
	events *events.FakeRecorder
	mem    backend.Opener

	// pod says how the pod of a Job fares; default: it succeeds.
	pod func(j *batchv1.Job) outcome
	// fault is asked before each call of the operator, and with after set once it is done.
	fault func(call string, after bool) error
	calls []string
	uids  int
}

// outcome is how a pod ends.
type outcome struct {
	running bool   // it does not end
	failed  string // container that fails; empty: none
	message string // what it prints last
	reason  string // of a Job that fails without a container
}

// deleting is a sink that keeps what it was told, and what it was told to forget.
type deleting struct {
	metrics.Memory
	groups []string
	err    error
}

func (d *deleting) Delete(_ context.Context, group string) error {
	if d.err == nil {
		d.groups = append(d.groups, group)
	}
	return d.err
}

func (d *deleting) Flush(context.Context) error { return d.err }

var scheme = sync.OnceValues(kube.Scheme)

var began = time.Date(2024, 3, 10, 2, 30, 0, 0, time.UTC)

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	scheme, err := scheme()
	require.NoError(t, err)
	w := &world{t: t, now: began, sink: &deleting{}, events: events.NewFakeRecorder(1000), mem: mem.NewOpener()}
	status := []client.Object{&task.BackupConfiguration{}, &task.BackupBatch{}, &task.BackupSession{}, &task.RestoreSession{}, &task.RestoreBatch{},
		&storage.Repository{}, &batchv1.Job{}, &batchv1.CronJob{}, &corev1.Pod{}}
	// Who manages which field is asked of nobody, and to keep account of it takes long.
	tracker := clienttesting.NewObjectTracker(scheme, serializer.NewCodecFactory(scheme).UniversalDecoder())
	w.api = fake.NewClientBuilder().WithScheme(scheme).WithObjectTracker(tracker).WithStatusSubresource(status...).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			w.uids++
			o.SetUID(types.UID(fmt.Sprintf("uid-%d", w.uids)))
			o.SetCreationTimestamp(metav1.NewTime(w.now))
			if _, ok := o.(*corev1.PersistentVolumeClaim); ok {
				controllerutil.AddFinalizer(o, claimProtection)
			}
			return c.Create(ctx, o, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			options := new(client.DeleteOptions)
			options.ApplyOptions(opts)
			if p := options.Preconditions; p != nil && p.UID != nil && *p.UID != o.GetUID() {
				return apierrors.NewConflict(schema.GroupResource{}, o.GetName(), errors.New("another UID"))
			}
			return c.Delete(ctx, o)
		},
	}).Build()
	for _, o := range objects {
		require.NoError(t, w.api.Create(t.Context(), o))
	}
	w.restart()
	return w
}

// restart is a new operator, which knows nothing.
func (w *world) restart() {
	mux := new(backend.Mux)
	mux.Handle("s3", w.mem)
	w.op = &controller.Operator{Client: w.guarded(), Mux: mux, Events: w.events, Now: func() time.Time { return w.now },
		Config:  controller.Config{Image: "escrow:1", Program: "/bin/operator", Pushgateway: "http://gateway:9091"},
		Metrics: func() (metrics.Sink, error) { return w.sink, nil }}
}

// guarded is the API as the operator sees it: each call is counted and noted, and may fail.
func (w *world) guarded() client.Client { return rbactest.Watch(w.api, w.call) }

func (w *world) call(call string, fn func() error) error {
	used.Lock()
	used.calls[call] = true
	used.Unlock()
	w.calls = append(w.calls, call)
	if w.fault != nil {
		if err := w.fault(call, false); err != nil {
			return err
		}
	}
	if err := fn(); err != nil {
		return err
	}
	if w.fault != nil {
		return w.fault(call, true)
	}
	return nil
}

// list gives all objects of a kind.
func list[T client.Object](w *world, l client.ObjectList, items func() []T) []T {
	w.t.Helper()
	require.NoError(w.t, w.api.List(w.t.Context(), l))
	return items()
}

func pointers[T any](items []T) []*T {
	var out []*T
	for i := range items {
		out = append(out, &items[i])
	}
	return out
}

func (w *world) jobs() []*batchv1.Job {
	l := new(batchv1.JobList)
	return list(w, l, func() []*batchv1.Job { return pointers(l.Items) })
}

func (w *world) claims() []*corev1.PersistentVolumeClaim {
	l := new(corev1.PersistentVolumeClaimList)
	return list(w, l, func() []*corev1.PersistentVolumeClaim { return pointers(l.Items) })
}

func (w *world) crons() []*batchv1.CronJob {
	l := new(batchv1.CronJobList)
	return list(w, l, func() []*batchv1.CronJob { return pointers(l.Items) })
}

func (w *world) confs() []*task.BackupConfiguration {
	l := new(task.BackupConfigurationList)
	return list(w, l, func() []*task.BackupConfiguration { return pointers(l.Items) })
}

func (w *world) sessions() []*task.BackupSession {
	l := new(task.BackupSessionList)
	out := list(w, l, func() []*task.BackupSession { return pointers(l.Items) })
	slices.SortFunc(out, func(a, b *task.BackupSession) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// round has each object reconciled once; wait is the shortest that any of them asked for.
func (w *world) round() (wait time.Duration, errs []error) {
	w.t.Helper()
	ctx := w.t.Context()
	each := func(l client.ObjectList, fn func(context.Context, reconcile.Request) (reconcile.Result, error), names func() []client.Object) {
		require.NoError(w.t, w.api.List(ctx, l))
		for _, o := range names() {
			r, err := fn(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)})
			if err != nil {
				errs = append(errs, err)
			}
			if r.RequeueAfter > 0 && (wait == 0 || r.RequeueAfter < wait) {
				wait = r.RequeueAfter
			}
		}
	}
	functions, tasks := new(task.FunctionList), new(task.TaskList)
	each(functions, w.op.Function, func() []client.Object { return objects(functions.Items) })
	each(tasks, w.op.Task, func() []client.Object { return objects(tasks.Items) })
	bindings := new(appbinding.AppBindingList)
	each(bindings, w.op.AppBinding, func() []client.Object { return objects(bindings.Items) })
	repos := new(storage.RepositoryList)
	each(repos, w.op.Repository, func() []client.Object { return objects(repos.Items) })
	confs, batches := new(task.BackupConfigurationList), new(task.BackupBatchList)
	each(confs, w.op.BackupConfiguration, func() []client.Object { return objects(confs.Items) })
	each(batches, w.op.BackupBatch, func() []client.Object { return objects(batches.Items) })
	sessions := new(task.BackupSessionList)
	each(sessions, w.op.BackupSession, func() []client.Object { return objects(sessions.Items) })
	restores, restoreBatches := new(task.RestoreSessionList), new(task.RestoreBatchList)
	each(restores, w.op.RestoreSession, func() []client.Object { return objects(restores.Items) })
	each(restoreBatches, w.op.RestoreBatch, func() []client.Object { return objects(restoreBatches.Items) })
	return wait, errs
}

func objects[T any, P interface {
	*T
	client.Object
}](items []T) []client.Object {
	var out []client.Object
	for i := range items {
		out = append(out, P(&items[i]))
	}
	return out
}

// live has the operator, the Jobs and the collector of garbage do their work for so many rounds of a second each.
func (w *world) live(rounds int) {
	w.t.Helper()
	for range rounds {
		_, errs := w.round()
		if w.fault == nil {
			require.Empty(w.t, errs)
		}
		w.kubelet()
		w.collect()
		w.now = w.now.Add(time.Second)
	}
}

// collect removes what has lost its owner, as Kubernetes does, and says what should not be there.
func (w *world) collect() {
	w.t.Helper()
	there := map[types.UID]bool{}
	var owned []client.Object
	add := func(l ...client.Object) {
		for _, o := range l {
			there[o.GetUID()] = true
			owned = append(owned, o)
		}
	}
	for _, j := range w.jobs() {
		require.NotNil(w.t, metav1.GetControllerOf(j), "job %s is nobody's", j.Name)
		add(j)
	}
	for _, c := range w.claims() {
		require.NotNil(w.t, metav1.GetControllerOf(c), "volume %s is nobody's", c.Name)
		add(c)
	}
	pods := new(corev1.PodList)
	require.NoError(w.t, w.api.List(w.t.Context(), pods))
	add(objects(pods.Items)...)
	for _, c := range w.crons() {
		require.NotNil(w.t, metav1.GetControllerOf(c), "cron job %s is nobody's", c.Name)
		add(c)
	}
	for _, s := range w.sessions() {
		add(s)
	}
	for _, c := range w.confs() {
		add(c)
	}
	for _, l := range []client.ObjectList{new(task.BackupBatchList), new(task.RestoreSessionList), new(task.RestoreBatchList), new(appbinding.AppBindingList)} {
		require.NoError(w.t, w.api.List(w.t.Context(), l))
		switch l := l.(type) {
		case *task.BackupBatchList:
			add(objects(l.Items)...)
		case *task.RestoreSessionList:
			add(objects(l.Items)...)
		case *task.RestoreBatchList:
			add(objects(l.Items)...)
		case *appbinding.AppBindingList:
			add(objects(l.Items)...)
		}
	}
	for _, o := range owned {
		if c := metav1.GetControllerOf(o); c != nil && !there[c.UID] {
			require.NoError(w.t, client.IgnoreNotFound(w.api.Delete(w.t.Context(), o)))
		}
	}
	w.protectClaims()
}

// claimProtection keeps a claim while a pod names it, also one that has ended.
const claimProtection = "kubernetes.io/pvc-protection"

func (w *world) protectClaims() {
	w.t.Helper()
	pods := new(corev1.PodList)
	require.NoError(w.t, w.api.List(w.t.Context(), pods))
	used := map[string]bool{}
	for _, p := range pods.Items {
		for _, v := range p.Spec.Volumes {
			if v.PersistentVolumeClaim != nil {
				used[v.PersistentVolumeClaim.ClaimName] = true
			}
		}
	}
	for _, c := range w.claims() {
		if !c.DeletionTimestamp.IsZero() && !used[c.Name] && controllerutil.RemoveFinalizer(c, claimProtection) {
			require.NoError(w.t, w.api.Update(w.t.Context(), c))
		}
	}
}

// kubelet runs the pods of Jobs: to their end, at once.
func (w *world) kubelet() {
	w.t.Helper()
	for _, j := range w.jobs() {
		if len(j.Status.Conditions) > 0 || !j.DeletionTimestamp.IsZero() {
			continue
		}
		var o outcome
		if w.pod != nil {
			o = w.pod(j)
		}
		if !o.running {
			w.runPod(j, o)
		}
	}
}

func (w *world) runPod(j *batchv1.Job, o outcome) {
	w.t.Helper()
	ctx := w.t.Context()
	labels := map[string]string{batchv1.JobNameLabel: j.Name}
	maps.Copy(labels, j.Spec.Template.Labels)
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: j.Namespace, Name: j.Name + "-x", Labels: labels,
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: j.Name, UID: j.UID, Controller: ptr.To(true)}}},
		Spec: *j.Spec.Template.Spec.DeepCopy()}
	require.NoError(w.t, w.api.Create(ctx, p))
	failed := o.reason != ""
	state := func(c corev1.Container) corev1.ContainerStatus {
		s := corev1.ContainerStatus{Name: c.Name}
		if failed {
			s.State.Waiting = &corev1.ContainerStateWaiting{Reason: "PodInitializing"}
			return s
		}
		s.State.Terminated = &corev1.ContainerStateTerminated{}
		if c.Name == o.failed {
			failed = true
			s.State.Terminated = &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: "began\n" + o.message + "\n"}
		} else if slices.Contains(c.Args, "update-status") {
			w.updateStatus(c.Args)
		}
		return s
	}
	for _, c := range p.Spec.InitContainers {
		p.Status.InitContainerStatuses = append(p.Status.InitContainerStatuses, state(c))
	}
	for _, c := range p.Spec.Containers {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, state(c))
	}
	p.Status.Phase = corev1.PodSucceeded
	end := batchv1.JobCondition{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}
	if failed {
		p.Status.Phase = corev1.PodFailed
		end = batchv1.JobCondition{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Reason: "BackoffLimitExceeded", Message: "Job has reached the specified backoff limit"}
		if o.reason != "" {
			end.Reason, end.Message = o.reason, o.message
		}
	}
	require.NoError(w.t, w.api.Status().Update(ctx, p))
	j.Status.Conditions = append(j.Status.Conditions, end)
	require.NoError(w.t, w.api.Status().Update(ctx, j))
}

// updateStatus stores a success, as the Function does.
func (w *world) updateStatus(args []string) {
	w.t.Helper()
	value := func(name string) string {
		for _, a := range args {
			if v, found := strings.CutPrefix(a, "--"+name+"="); found {
				return v
			}
		}
		return ""
	}
	store, ctx, ns := &kube.Store{Client: w.api}, w.t.Context(), value("namespace")
	switch {
	case value("backupsession") != "":
		s := new(task.BackupSession)
		require.NoError(w.t, store.UpdateStatus(ctx, ns, value("backupsession"), s, func() error {
			for i := range s.Status.Targets {
				if t := &s.Status.Targets[i]; t.Ref.Name == value("target-name") {
					t.Phase = task.SessionSucceeded
					t.Stats = []task.HostBackupStats{{Hostname: value("hostname"), Phase: task.SessionSucceeded}}
				}
			}
			return nil
		}))
	case value("restoresession") != "":
		s := new(task.RestoreSession)
		require.NoError(w.t, store.UpdateStatus(ctx, ns, value("restoresession"), s, func() error {
			s.Status.Stats = []task.HostRestoreStats{{Hostname: value("hostname"), Phase: task.SessionSucceeded}}
			return nil
		}))
	default:
		b := new(task.RestoreBatch)
		require.NoError(w.t, store.UpdateStatus(ctx, ns, value("restorebatch"), b, func() error {
			for i := range b.Status.Members {
				if m := &b.Status.Members[i]; m.Ref.Name == value("target-name") {
					m.Phase = task.SessionSucceeded
					m.Stats = []task.HostRestoreStats{{Hostname: value("hostname"), Phase: task.SessionSucceeded}}
				}
			}
			return nil
		}))
	}
}

// trigger makes a session, as a CronJob does when it is due.
func (w *world) trigger(c task.Object) *task.BackupSession {
	w.t.Helper()
	s, err := newSession(w, c)
	require.NoError(w.t, err)
	require.NoError(w.t, client.IgnoreAlreadyExists(w.api.Create(w.t.Context(), s)))
	return s
}

// read reads an object anew.
func read[T client.Object](w *world, o T) T {
	w.t.Helper()
	require.NoError(w.t, w.api.Get(w.t.Context(), client.ObjectKeyFromObject(o), o))
	return o
}

func gone(w *world, o client.Object) bool {
	w.t.Helper()
	err := w.api.Get(w.t.Context(), client.ObjectKeyFromObject(o), o)
	require.NoError(w.t, client.IgnoreNotFound(err))
	return err != nil
}

func isTrue(t *testing.T, conditions []task.Condition, kind string) {
	t.Helper()
	require.True(t, task.IsTrue(conditions, kind), "%s: %+v", kind, conditions)
}

func isFalse(t *testing.T, conditions []task.Condition, kind string) {
	t.Helper()
	require.True(t, task.IsFalse(conditions, kind), "%s: %+v", kind, conditions)
}

func (w *world) told() string {
	var out []string
	for {
		select {
		case e := <-w.events.Events:
			out = append(out, e)
		default:
			return strings.Join(out, "\n")
		}
	}
}

// TestMain compares what was asked for with the manifests, when all tests have run.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && wholeRun() {
		if err := excess(slices.Sorted(maps.Keys(used.calls))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}
