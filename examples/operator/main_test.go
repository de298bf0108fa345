package main

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/examples/operator/controller"
	"github.com/escrow-backup/escrow/examples/operator/kube"
	"github.com/escrow-backup/escrow/examples/operator/rbactest"
	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/elasticsearch"
	"github.com/escrow-backup/escrow/task/session"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fakeAPI is an API in memory that gives objects an identity.
func fakeAPI(t *testing.T, objects ...client.Object) client.WithWatch {
	t.Helper()
	scheme, err := kube.Scheme()
	require.NoError(t, err)
	n := 0
	api := fake.NewClientBuilder().WithScheme(scheme).
		WithStatusSubresource(&task.BackupConfiguration{}, &task.BackupSession{}, &task.RestoreSession{}, &storage.Repository{}, &batchv1.Job{}, &corev1.Pod{}).
		WithInterceptorFuncs(interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			n++
			o.SetUID(types.UID(fmt.Sprintf("uid-%d", n)))
			o.SetCreationTimestamp(metav1.Now())
			return c.Create(ctx, o, opts...)
		}}).Build()
	for _, o := range objects {
		require.NoError(t, api.Create(t.Context(), o))
	}
	return api
}

// The whole flow: the operator makes Jobs of Stash's manifests, their containers run here with the arguments that they have, and read and write
// nothing but the API, the cluster and the storage.
func TestTheWholeFlow(t *testing.T) {
	source, restored := estest.New(t, nil), estest.New(t, nil)
	es := source.Client()
	res, err := es.Bulk(strings.NewReader("{\"index\":{}}\n{\"total\":9007199254740993}\n{\"index\":{}}\n{\"total\":1.50}\n"), es.Bulk.WithIndex("orders"))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.False(t, res.IsError())

	objects := []client.Object{&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "storage"},
		Data: map[string][]byte{"RESTIC_PASSWORD": []byte("a long password")}}}
	for _, text := range []string{`
apiVersion: stash.appscode.com/v1alpha1
kind: Repository
metadata: {name: store, namespace: demo}
spec: {backend: {storageSecretName: storage, s3: {bucket: backups, endpoint: "http://s3"}}}
`, `
apiVersion: stash.appscode.com/v1beta1
kind: BackupConfiguration
metadata: {name: nightly, namespace: demo}
spec:
  schedule: "*/5 * * * *"
  task: {name: elasticsearch-backup-8.2.0}
  repository: {name: store}
  target: {ref: {apiVersion: appcatalog.appscode.com/v1alpha1, kind: AppBinding, name: es}}
  interimVolumeTemplate: {metadata: {name: tmp}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}
  retentionPolicy: {name: keep-last-5, keepLast: 5, prune: true}
`, `
apiVersion: appcatalog.appscode.com/v1alpha1
kind: AppBinding
metadata: {name: es, namespace: demo}
spec: {type: kubedb.com/elasticsearch, clientConfig: {service: {name: es}}}
`, `
apiVersion: appcatalog.appscode.com/v1alpha1
kind: AppBinding
metadata: {name: restored, namespace: demo}
spec: {type: kubedb.com/elasticsearch, clientConfig: {service: {name: restored}}}
`} {
		objects = append(objects, object(t, text))
	}
	api := fakeAPI(t, objects...)
	var calls []string
	asRunner := rbactest.Watch(api, func(call string, do func() error) error {
		calls = append(calls, call)
		return do()
	})
	sink := new(metrics.Memory)
	op := &controller.Operator{Client: api, Config: controller.Config{Image: "escrow:1"}, Metrics: func() (metrics.Sink, error) { return sink, nil }}
	mux := new(backend.Mux)
	mux.Handle("s3", mem.NewOpener())
	dir := t.TempDir()
	r := &runner{hooks: &session.Hooks{}, functions: &elasticsearch.Functions{Store: &kube.Store{Client: asRunner}, Mux: mux, Metrics: sink,
		Repository: repository.Options{ScryptN: 2}, Path: func(p string) string { return filepath.Join(dir, p) },
		Connect: func(_ context.Context, b *appbinding.AppBinding) (elastictransport.Interface, error) {
			return map[string]*estest.Server{"es": source, "restored": restored}[b.Name].Client(), nil
		}}}
	key := func(name string) reconcile.Request {
		return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "demo", Name: name}}
	}

	// What Kubernetes does, until nothing is left to do.
	live := func(do func(context.Context, reconcile.Request) (reconcile.Result, error), name string, done func() bool) {
		t.Helper()
		for range 10 {
			_, err := do(t.Context(), key(name))
			require.NoError(t, err)
			runJobs(t, api, r)
			if done() {
				return
			}
		}
		t.Fatal("it does not come to its end")
	}
	_, err = op.BackupConfiguration(t.Context(), key("nightly"))
	require.NoError(t, err)
	var cron batchv1.CronJob
	require.NoError(t, api.Get(t.Context(), client.ObjectKey{Namespace: "demo", Name: "stash-trigger-nightly"}, &cron))
	s, err := createSession(t.Context(), api, "demo", "BackupConfiguration", "nightly", time.Now())
	require.NoError(t, err)
	live(op.BackupSession, s.Name, func() bool {
		require.NoError(t, api.Get(t.Context(), client.ObjectKeyFromObject(s), s))
		return s.Status.Phase.Final()
	})
	require.Equal(t, task.SessionSucceeded, s.Status.Phase, "%+v", s.Status)
	require.True(t, task.IsTrue(s.Status.Targets[0].Conditions, task.RetentionPolicyApplied))
	require.True(t, task.IsTrue(s.Status.Targets[0].Conditions, task.RepositoryIntegrityVerified))
	require.NotEmpty(t, s.Status.Targets[0].Stats[0].Snapshots[0].Name)
	repo := new(storage.Repository)
	require.NoError(t, api.Get(t.Context(), client.ObjectKey{Namespace: "demo", Name: "store"}, repo))
	require.EqualValues(t, 1, repo.Status.SnapshotCount)
	require.True(t, *repo.Status.Integrity)
	v, found := sink.Value(metrics.NewCatalogue(metrics.ShortNames).BackupSuccess)
	require.True(t, found)
	require.Equal(t, 1.0, v)

	back := object(t, `
apiVersion: stash.appscode.com/v1beta1
kind: RestoreSession
metadata: {name: back, namespace: demo}
spec:
  task: {name: elasticsearch-restore-8.2.0}
  repository: {name: store}
  target: {ref: {apiVersion: appcatalog.appscode.com/v1alpha1, kind: AppBinding, name: restored}, rules: [{snapshots: [latest]}]}
  interimVolumeTemplate: {metadata: {name: tmp}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}
`).(*task.RestoreSession)
	require.NoError(t, api.Create(t.Context(), back))
	live(op.RestoreSession, "back", func() bool {
		require.NoError(t, api.Get(t.Context(), client.ObjectKeyFromObject(back), back))
		return back.Status.Phase.Final()
	})
	require.Equal(t, task.SessionSucceeded, back.Status.Phase, "%+v", back.Status)
	to := restored.Client()
	count, err := to.Count(to.Count.WithIndex("orders"))
	require.NoError(t, err)
	require.Contains(t, count.String(), `"count":2`)
	require.NoError(t, count.Body.Close())

	// What their hooks and batches need is not asked for here, and neither are secrets of clusters that are not real.
	allowed, err := rbactest.Allowed("manifests/rbac.yaml", controller.RunnerRole)
	require.NoError(t, err)
	require.NoError(t, rbactest.Compare(allowed, calls, func(line string) bool {
		return strings.Contains(line, "get backupconfigurations") || strings.Contains(line, "batches")
	}))
}

// object reads any of the objects.
func object(t *testing.T, text string) client.Object {
	t.Helper()
	for _, parse := range []func([]byte) (client.Object, error){
		func(b []byte) (client.Object, error) { return storage.Parse(b) },
		func(b []byte) (client.Object, error) { return appbinding.Parse(b) },
		func(b []byte) (client.Object, error) { return task.Parse(b) },
	} {
		if o, err := parse([]byte(text)); err == nil {
			return o
		}
	}
	t.Fatalf("not an object: %s", text)
	return nil
}

// runJobs runs the containers of each Job that has not run, one after the other, as a kubelet does.
func runJobs(t *testing.T, api client.Client, r *runner) {
	t.Helper()
	var jobs batchv1.JobList
	require.NoError(t, api.List(t.Context(), &jobs))
	for i := range jobs.Items {
		j := &jobs.Items[i]
		if len(j.Status.Conditions) > 0 {
			continue
		}
		pod := j.Spec.Template.Spec
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: j.Namespace, Name: j.Name, Labels: map[string]string{batchv1.JobNameLabel: j.Name},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: j.Name, UID: j.UID, Controller: ptr.To(true)}}}, Spec: pod}
		require.NoError(t, api.Create(t.Context(), p))
		end := batchv1.JobComplete
		for _, c := range append(pod.InitContainers, pod.Containers...) {
			require.Equal(t, []string{"/operator", "run"}, c.Command)
			state := &corev1.ContainerStateTerminated{}
			if err := r.run(t.Context(), c.Args); err != nil {
				state.ExitCode, state.Message, end = 1, err.Error(), batchv1.JobFailed
			}
			p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, State: corev1.ContainerState{Terminated: state}})
			if end == batchv1.JobFailed {
				break
			}
		}
		require.NoError(t, api.Status().Update(t.Context(), p))
		j.Status.Conditions = []batchv1.JobCondition{{Type: end, Status: corev1.ConditionTrue}}
		require.NoError(t, api.Status().Update(t.Context(), j))
	}
}

func TestWhenASessionIsDue(t *testing.T) {
	now := time.Date(2024, 3, 10, 2, 30, 17, 0, time.UTC)
	minute := now.Truncate(time.Minute)
	for job, want := range map[string]time.Time{
		fmt.Sprintf("stash-trigger-nightly-%d", minute.Unix()/60): minute,
		"":                       now,
		"stash-trigger-by-hand":  now,
		"by-hand-1":              now,
		"stash-trigger-99999999": now,
	} {
		require.Equal(t, want.Unix(), due(job, now).Unix(), job)
	}
}

func TestASessionIsMadeOnce(t *testing.T) {
	api := fakeAPI(t, object(t, `
apiVersion: stash.appscode.com/v1beta1
kind: BackupConfiguration
metadata: {name: nightly, namespace: demo}
spec: {schedule: "@daily", repository: {name: store}}
`))
	now := time.Now()
	var calls []string
	asCreator := rbactest.Watch(api, func(call string, do func() error) error {
		calls = append(calls, call)
		return do()
	})
	for range 2 {
		_, err := createSession(t.Context(), asCreator, "demo", "BackupConfiguration", "nightly", now)
		require.NoError(t, err)
	}
	var all task.BackupSessionList
	require.NoError(t, api.List(t.Context(), &all))
	require.Len(t, all.Items, 1)
	allowed, err := rbactest.Allowed("manifests/rbac.yaml", controller.CreatorRole)
	require.NoError(t, err)
	require.NoError(t, rbactest.Compare(allowed, calls, func(line string) bool {
		return strings.Contains(line, "/finalizers ") || strings.Contains(line, "get backupbatches")
	}))
	_, err = createSession(t.Context(), api, "demo", "BackupConfiguration", "hourly", now)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = createSession(t.Context(), api, "demo", "Secret", "nightly", now)
	require.ErrorContains(t, err, `--invoker-kind "Secret"`)
}

func TestArguments(t *testing.T) {
	require.Equal(t, "http://g", pushgateway([]string{"update-status", "--metrics-pushgateway-url=http://g", "--namespace=x"}))
	require.Equal(t, "http://g", pushgateway([]string{"--metrics-pushgateway-url", "http://g"}))
	require.Empty(t, pushgateway([]string{"--metrics-pushgateway-url="}))
	r := &runner{functions: &elasticsearch.Functions{}, hooks: &session.Hooks{}}
	require.ErrorContains(t, r.run(t.Context(), []string{"restore-pg"}), `"restore-pg" is none of`)
	err := r.run(t.Context(), []string{"update-status", "--metrics-pushgateway-url=user:secret@host"})
	require.ErrorContains(t, err, "--metrics-pushgateway-url")
	require.NotContains(t, err.Error(), "secret")
	cmd := root()
	cmd.SetArgs([]string{"manager"})
	require.ErrorContains(t, cmd.Execute(), "--image is required")
}

// The catalogue that is installed is the one that the program knows by itself.
func TestCatalog(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Functions and Tasks. Written by go test -run Catalog -update; what is said in them can be changed in the cluster.\n")
	for _, o := range elasticsearch.Objects("") {
		data, err := sigsyaml.Marshal(o)
		require.NoError(t, err)
		b.WriteString("---\n")
		for line := range strings.Lines(string(data)) {
			if !strings.Contains(line, "creationTimestamp: null") {
				b.WriteString(line)
			}
		}
	}
	if *update {
		require.NoError(t, os.WriteFile("manifests/catalog.yaml", []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile("manifests/catalog.yaml")
	require.NoError(t, err)
	require.Equal(t, string(want), b.String())
}

// All CustomResourceDefinitions are installed, and all manifests are there.
func TestManifests(t *testing.T) {
	var k struct {
		Resources []string `json:"resources"`
	}
	data, err := os.ReadFile("manifests/kustomization.yaml")
	require.NoError(t, err)
	require.NoError(t, sigsyaml.Unmarshal(data, &k))
	for _, file := range k.Resources {
		_, err := os.Stat(filepath.Join("manifests", file))
		require.NoError(t, err)
	}
	crds, err := filepath.Glob("../../task/crds/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, crds)
	for _, file := range crds {
		require.Contains(t, k.Resources, "../../../task/crds/"+filepath.Base(file))
	}
	data, err = os.ReadFile("manifests/operator.yaml")
	require.NoError(t, err)
	require.Contains(t, string(data), "command: [/operator, manager]")
}
