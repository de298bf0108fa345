package flow_test

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
)

// documents is how many each of the indices orders and logs has.
const documents = 400

// The operator as its manifests install it, what users of Stash write, and what becomes of it.
func TestFlow(t *testing.T) {
	w := startWorld(t)
	w.es.fill(t, "orders", documents)
	w.es.fill(t, "logs", documents)
	w.deployed(t)
	for _, path := range []string{"/healthz", "/readyz"} {
		require.Equal(t, "ok", get(t, w.health+path))
	}

	// The only test that waits for the clock: what is scheduled for every minute happens within one.
	ok := t.Run("Schedule", func(t *testing.T) { testSchedule(t, w) })
	ok = ok && t.Run("Restore", func(t *testing.T) { testRestore(t, w) })
	ok = ok && t.Run("Metrics", func(t *testing.T) { testMetrics(t, w) })
	ok = ok && t.Run("Delete", func(t *testing.T) { testDelete(t, w) })
	require.True(t, ok)
	w.allowed(t)
	require.Contains(t, get(t, w.metrics), `controller_runtime_reconcile_total{controller="backupsession",result="success"}`)
	t.Run("Cases", func(t *testing.T) { testCases(t, w) })
}

const flow = `
apiVersion: v1
kind: Namespace
metadata: {name: demo}
---
apiVersion: v1
kind: Secret
metadata: {name: s3-secret, namespace: demo}
type: Opaque
stringData:
  RESTIC_PASSWORD: correct horse battery staple
  AWS_ACCESS_KEY_ID: MINIO_USER
  AWS_SECRET_ACCESS_KEY: MINIO_PASSWORD
---
apiVersion: stash.appscode.com/v1alpha1
kind: Repository
metadata: {name: s3-repo, namespace: demo}
spec:
  backend:
    s3: {endpoint: "S3_URL", bucket: stash-testing, region: us-east-1, prefix: /demo/elasticsearch/sample-elasticsearch}
    storageSecretName: s3-secret
---
apiVersion: v1
kind: Service
metadata: {name: sample-elasticsearch, namespace: demo}
spec:
  ports: [{port: ES_PORT}]
---
apiVersion: v1
kind: Secret
metadata: {name: sample-elasticsearch-elastic-cred, namespace: demo}
type: kubernetes.io/basic-auth
stringData: {username: elastic, password: secret}
---
apiVersion: appcatalog.appscode.com/v1alpha1
kind: AppBinding
metadata:
  name: sample-elasticsearch
  namespace: demo
  labels: {app.kubernetes.io/name: elasticsearches.kubedb.com}
spec:
  type: kubedb.com/elasticsearch
  version: 8.19.0
  clientConfig: {service: {name: sample-elasticsearch, port: ES_PORT, scheme: http}}
  secret: {name: sample-elasticsearch-elastic-cred}
---
apiVersion: stash.appscode.com/v1beta1
kind: BackupConfiguration
metadata: {name: sample-elasticsearch-backup, namespace: demo}
spec:
  schedule: "*/1 * * * *"
  task: {name: elasticsearch-backup-8.2.0}
  repository: {name: s3-repo}
  target:
    ref: {apiVersion: appcatalog.appscode.com/v1alpha1, kind: AppBinding, name: sample-elasticsearch}
  interimVolumeTemplate:
    metadata: {name: sample-elasticsearch-backup-tmp-storage}
    spec:
      accessModes: [ReadWriteOnce]
      resources: {requests: {storage: 1Gi}}
  retentionPolicy: {name: keep-last-5, keepLast: 5, prune: true}
`

// flowPlace is the place of the manifests above, for its helpers.
func flowPlace(w *world) *place {
	p := &place{world: w, ns: "demo", conf: new(task.BackupConfiguration), repository: new(storage.Repository)}
	p.conf.Namespace, p.conf.Name = p.ns, "sample-elasticsearch-backup"
	p.repository.Namespace, p.repository.Name = p.ns, "s3-repo"
	return p
}

func testSchedule(t *testing.T, w *world) {
	port := w.es.url[strings.LastIndexByte(w.es.url, ':')+1:]
	w.apply(t, []byte(strings.NewReplacer("MINIO_USER", w.store.KeyID, "MINIO_PASSWORD", w.store.Secret, "S3_URL", w.store.URL, "ES_PORT", port).Replace(flow)), nil)
	p := flowPlace(w)
	p.becomes(t, task.InvokerReady)
	p.eventually(t, "the CronJob is there", func(ctx context.Context) (bool, error) {
		err := p.Get(ctx, client.ObjectKeyFromObject(p.conf), p.conf)
		return task.IsTrue(p.conf.Status.Conditions, task.CronJobCreated), err
	})
	require.Equal(t, map[string]string{
		task.ValidationPassed:   "True ResourceValidationPassed",
		task.RepositoryFound:    "True RepositoryAvailable",
		task.BackendSecretFound: "True BackendSecretAvailable",
		task.BackupTargetFound:  "True TargetAvailable",
		task.CronJobCreated:     "True CronJobCreationSucceeded",
	}, conditions(p.conf.Status.Conditions))
	var crons batchv1.CronJobList
	require.NoError(t, p.List(t.Context(), &crons, client.InNamespace(p.ns)))
	require.Len(t, crons.Items, 1)
	require.Equal(t, "*/1 * * * *", crons.Items[0].Spec.Schedule)

	var sessions task.BackupSessionList
	p.eventually(t, "the schedule made a session", func(ctx context.Context) (bool, error) {
		err := p.List(ctx, &sessions, client.InNamespace(p.ns))
		return len(sessions.Items) > 0, err
	})
	// One is enough. Before it has begun, it would not begin any more.
	name := sessions.Items[0].Name
	p.eventually(t, "the session has begun", func(ctx context.Context) (bool, error) {
		s := new(task.BackupSession)
		err := p.Get(ctx, client.ObjectKey{Namespace: p.ns, Name: name}, s)
		return s.Status.Phase == task.SessionRunning || s.Status.Phase.Final(), err
	})
	require.NoError(t, p.Patch(t.Context(), p.conf.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"spec": {"paused": true}}`))))

	s := p.ends(t, name)
	require.Equal(t, task.SessionSucceeded, s.Status.Phase, show(s.Status))
	require.Equal(t, map[string]string{
		task.RepositoryMetricsPushed: "True SuccessfullyPushedMetrics",
		task.BackupHistoryCleaned:    "True SuccessfullyCleanedBackupHistory",
	}, conditions(s.Status.Conditions))
	require.Len(t, s.Status.Targets, 1)
	target := s.Status.Targets[0]
	require.Equal(t, task.SessionSucceeded, target.Phase)
	require.Equal(t, map[string]string{
		task.BackupExecutorEnsured:        "True SuccessfullyEnsuredBackupExecutor",
		task.BackendRepositoryInitialized: "True BackendRepositoryInitialized",
		task.RetentionPolicyApplied:       "True SuccessfullyAppliedRetentionPolicy",
		task.RepositoryIntegrityVerified:  "True RepositoryIntegrityVerified",
	}, conditions(target.Conditions))
	require.Len(t, target.Stats, 1)
	require.Equal(t, "host-0", target.Stats[0].Hostname)
	require.Len(t, target.Stats[0].Snapshots, 1)
	require.NotEmpty(t, target.Stats[0].Snapshots[0].Name)
	require.NotEmpty(t, s.Status.SessionDuration)

	r := new(storage.Repository)
	require.NoError(t, p.Get(t.Context(), client.ObjectKeyFromObject(p.repository), r))
	p.repository = r
	require.NotNil(t, r.Status.FirstBackupTime)
	require.NotNil(t, r.Status.LastBackupTime)
	require.NotNil(t, r.Status.Integrity)
	require.True(t, *r.Status.Integrity)
	require.EqualValues(t, 1, r.Status.SnapshotCount)
	require.NotEmpty(t, r.Status.TotalSize)
	require.Equal(t, []storage.ObjectReference{{APIGroup: "stash.appscode.com", Kind: "BackupConfiguration", Namespace: p.ns, Name: p.conf.Name}}, r.Status.References)
	p.holds(t, 1)

	// The interim volume has gone with the session's end.
	var claims corev1.PersistentVolumeClaimList
	p.gone(t, p.ns, &claims, func() int { return len(claims.Items) })
}

const flowRestore = `
apiVersion: stash.appscode.com/v1beta1
kind: RestoreSession
metadata: {name: sample-elasticsearch-restore, namespace: demo}
spec:
  task: {name: elasticsearch-restore-8.2.0}
  repository: {name: s3-repo}
  target:
    ref: {apiVersion: appcatalog.appscode.com/v1alpha1, kind: AppBinding, name: sample-elasticsearch}
    rules:
    - snapshots: [latest]
  interimVolumeTemplate:
    metadata: {name: sample-elasticsearch-restore-tmp-storage}
    spec:
      accessModes: [ReadWriteOnce]
      resources: {requests: {storage: 1Gi}}
`

func testRestore(t *testing.T, w *world) {
	want, definition := w.es.documents(t, "orders,logs"), w.es.definition(t, "orders")
	require.Len(t, want, 2*documents)
	w.es.do(t, http.MethodDelete, "/orders,logs", "")
	w.apply(t, []byte(flowRestore), nil)
	s := new(task.RestoreSession)
	w.eventually(t, "the end of the restore", func(ctx context.Context) (bool, error) {
		err := w.Get(ctx, client.ObjectKey{Namespace: "demo", Name: "sample-elasticsearch-restore"}, s)
		return s.Status.Phase.Final(), err
	})
	require.Equal(t, task.SessionSucceeded, s.Status.Phase, show(s.Status))
	require.Equal(t, map[string]string{
		task.RepositoryFound:        "True Available",
		task.BackendSecretFound:     "True Available",
		task.RestoreTargetFound:     "True Available",
		task.RestoreJobCreated:      "True SuccessfullyEnsuredRestoreJobCreated",
		task.RestoreExecutorEnsured: "True SuccessfullyEnsuredRestoreExecutor",
		task.RestoreCompleted:       "True PostRestoreTasksExecuted",
		task.MetricsPushed:          "True SuccessfullyPushedMetrics",
	}, conditions(s.Status.Conditions))
	require.Len(t, s.Status.Stats, 1)
	require.Equal(t, task.SessionSucceeded, s.Status.Stats[0].Phase)
	require.Equal(t, want, w.es.documents(t, "orders,logs"))
	require.Equal(t, definition, w.es.definition(t, "orders"))
}

// testMetrics shows that the Pushgateway has every metric of the catalogue, with values that tell of success.
func testMetrics(t *testing.T, w *world) {
	text := get(t, w.pushed+"/metrics")
	values := map[string][]string{}
	for line := range strings.Lines(text) {
		name, rest, found := strings.Cut(line, "{")
		if at := strings.LastIndexByte(rest, '}'); found && strings.Contains(rest, `namespace="demo"`) {
			values[name] = append(values[name], strings.TrimSpace(rest[at+1:]))
		}
	}
	c := metrics.NewCatalogue(metrics.ShortNames)
	for m := range c.All() {
		require.NotEmpty(t, values[m.Name], "%s is not there, but %q", m.Name, slices.Sorted(maps.Keys(values)))
		require.Contains(t, text, "# HELP "+m.Name+" "+m.Help+"\n")
	}
	for _, m := range []*metrics.Metric{c.BackupSuccess, c.TargetSuccess, c.HostSuccess, c.RestoreSuccess, c.RestoreTargetSuccess, c.RestoreHostSuccess,
		c.RepositoryIntegrity, c.RepositorySnapshots, c.BackupTargets, c.TargetHosts} {
		require.Equal(t, []string{"1"}, values[m.Name], m.Name)
	}
	for _, m := range []*metrics.Metric{c.OwnDocuments, c.OwnRestoreDocuments} {
		require.Len(t, values[m.Name], 1, m.Name)
		n, err := strconv.ParseFloat(values[m.Name][0], 64)
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, float64(2*documents), m.Name)
	}
}

// testDelete shows that nothing stays of what was made for objects that are deleted, but for what was backed up.
func testDelete(t *testing.T, w *world) {
	p := flowPlace(w)
	require.NoError(t, p.Get(t.Context(), client.ObjectKeyFromObject(p.repository), p.repository))
	restore := new(task.RestoreSession)
	restore.Namespace, restore.Name = p.ns, "sample-elasticsearch-restore"
	require.NoError(t, p.Delete(t.Context(), restore))
	var restores task.RestoreSessionList
	p.gone(t, p.ns, &restores, func() int { return len(restores.Items) })
	p.end(t)
	require.NoError(t, p.Delete(t.Context(), p.repository.DeepCopy()))
	var repositories storage.RepositoryList
	p.gone(t, p.ns, &repositories, func() int { return len(repositories.Items) })
	require.NotContains(t, get(t, w.pushed+"/metrics"), `namespace="demo"`)
	p.holds(t, 1)
}
