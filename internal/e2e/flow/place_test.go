package flow_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend/s3"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
)

// gate stands before Elasticsearch. While it is shut, requests wait.
type gate struct {
	port int

	mu   sync.Mutex
	open chan struct{} // closed while the gate is open
	held chan struct{} // gets something for each request that waits
}

func newGate(t *testing.T, behind string) *gate {
	t.Helper()
	u, err := url.Parse(behind)
	require.NoError(t, err)
	g := &gate{open: make(chan struct{}), held: make(chan struct{}, 1)}
	close(g.open)
	proxy := httputil.NewSingleHostReverseProxy(u)
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		open := g.open
		g.mu.Unlock()
		select {
		case <-open:
		default:
			select {
			case g.held <- struct{}{}:
			default:
			}
			select {
			case <-open:
			case <-r.Context().Done():
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		g.lift()
		server.CloseClientConnections()
		server.Close()
	})
	g.port, err = strconv.Atoi(server.URL[strings.LastIndexByte(server.URL, ':')+1:])
	require.NoError(t, err)
	return g
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

// lift lets everything through, also what waits.
func (g *gate) lift() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.open:
	default:
		close(g.open)
	}
}

// place is a namespace with what one configuration of a backup needs.
type place struct {
	*world
	ns   string
	gate *gate

	secret     *corev1.Secret
	repository *storage.Repository
	binding    *appbinding.AppBinding
	conf       *task.BackupConfiguration

	mu   sync.Mutex
	jobs map[types.UID]string // the names of the Jobs of sessions that were ever made
}

const password = "correct horse battery staple"

// The manifests are as users of Stash write them. Those who use it may change them before they are made.
const (
	secretManifest = `
apiVersion: v1
kind: Secret
metadata: {name: s3-secret}
stringData: {RESTIC_PASSWORD: correct horse battery staple}
`
	repositoryManifest = `
apiVersion: stash.appscode.com/v1alpha1
kind: Repository
metadata: {name: s3-repo}
spec:
  backend:
    s3: {bucket: stash-testing, region: us-east-1}
    storageSecretName: s3-secret
`
	bindingManifest = `
apiVersion: appcatalog.appscode.com/v1alpha1
kind: AppBinding
metadata: {name: es}
spec:
  type: kubedb.com/elasticsearch
  version: 8.19.0
  clientConfig: {service: {name: es, scheme: http}}
`
	confManifest = `
apiVersion: stash.appscode.com/v1beta1
kind: BackupConfiguration
metadata: {name: es-backup}
spec:
  repository: {name: s3-repo}
  backupHistoryLimit: 9
  task:
    name: elasticsearch-backup
  target: {ref: {apiVersion: appcatalog.appscode.com/v1alpha1, kind: AppBinding, name: es}}
  interimVolumeTemplate:
    metadata: {name: tmp}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
  retentionPolicy: {name: keep-last-5, keepLast: 5, prune: true}
`
)

// place makes a namespace; create makes what is in it.
func (w *world) place(t *testing.T, ns string) *place {
	t.Helper()
	p := &place{world: w, ns: w.namespace(t, ns), gate: newGate(t, w.es.url), jobs: map[types.UID]string{},
		secret: object[corev1.Secret](t, secretManifest), repository: object[storage.Repository](t, repositoryManifest),
		binding: object[appbinding.AppBinding](t, bindingManifest), conf: object[task.BackupConfiguration](t, confManifest)}
	p.secret.StringData["AWS_ACCESS_KEY_ID"], p.secret.StringData["AWS_SECRET_ACCESS_KEY"] = w.store.KeyID, w.store.Secret
	p.repository.Spec.Backend.S3.Endpoint, p.repository.Spec.Backend.S3.Prefix = w.store.URL, "/"+ns
	p.binding.Spec.ClientConfig.Service.Port = int32(p.gate.port)
	for _, o := range []client.Object{p.secret, p.repository, p.binding, p.conf} {
		o.SetNamespace(ns)
	}
	require.NoError(t, w.Create(t.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "es"},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: int32(p.gate.port)}}}}))
	watch, err := w.Watch(t.Context(), new(batchv1.JobList), client.InNamespace(ns), client.HasLabels{task.LabelSession})
	require.NoError(t, err)
	t.Cleanup(watch.Stop)
	go func() {
		for e := range watch.ResultChan() {
			if j, ok := e.Object.(*batchv1.Job); ok {
				p.mu.Lock()
				p.jobs[j.UID] = j.Name
				p.mu.Unlock()
			}
		}
	}()
	return p
}

func (p *place) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		require.NoError(t, p.Create(t.Context(), o), "%T %s", o, o.GetName())
	}
}

// all are the objects of the place.
func (p *place) all() []client.Object {
	return []client.Object{p.secret, p.repository, p.binding, p.conf}
}

// ready waits until the configuration is in a phase.
func (p *place) becomes(t *testing.T, phase task.InvokerPhase) {
	t.Helper()
	p.eventually(t, "the configuration is "+string(phase), func(ctx context.Context) (bool, error) {
		err := p.Get(ctx, client.ObjectKeyFromObject(p.conf), p.conf)
		return p.conf.Status.Phase == phase, err
	})
}

// instant asks for a backup, as somebody does by hand.
func (p *place) instant(t *testing.T, name string) *task.BackupSession {
	t.Helper()
	s := &task.BackupSession{ObjectMeta: metav1.ObjectMeta{Namespace: p.ns, Name: name},
		Spec: task.BackupSessionSpec{Invoker: task.BackupInvokerRef{APIGroup: task.GroupVersion.Group, Kind: task.KindBackupConfiguration, Name: p.conf.Name}}}
	if r := p.conf.Spec.RetryConfig; r != nil {
		s.Spec.RetryLeft = r.MaxRetry
	}
	p.create(t, s)
	return s
}

// ends waits for the end of a session, and for all that the operator does with it then.
func (p *place) ends(t *testing.T, name string) *task.BackupSession {
	t.Helper()
	s := new(task.BackupSession)
	p.eventually(t, "the end of session "+name, func(ctx context.Context) (bool, error) {
		err := p.Get(ctx, client.ObjectKey{Namespace: p.ns, Name: name}, s)
		return s.Status.Phase.Final() && task.FindCondition(s.Status.Conditions, task.BackupHistoryCleaned) != nil, err
	})
	return s
}

// phase waits until a session is in a phase.
func (p *place) phase(t *testing.T, name string, phase task.SessionPhase) {
	t.Helper()
	s := new(task.BackupSession)
	p.eventually(t, "session "+name+" is "+string(phase), func(ctx context.Context) (bool, error) {
		err := p.Get(ctx, client.ObjectKey{Namespace: p.ns, Name: name}, s)
		if s.Status.Phase.Final() && s.Status.Phase != phase {
			require.FailNow(t, "the session has ended", show(s.Status))
		}
		return s.Status.Phase == phase, err
	})
}

// works waits until the Job of a backup waits at the gate.
func (p *place) works(t *testing.T) {
	t.Helper()
	p.eventually(t, "a Job asks Elasticsearch", func(context.Context) (bool, error) {
		select {
		case <-p.gate.held:
			return true, nil
		default:
			return false, nil
		}
	})
}

// made are the names of the Jobs of sessions that were ever made.
func (p *place) made() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, name := range p.jobs {
		out = append(out, name)
	}
	return out
}

// opened is the repository, for the library.
func (p *place) opened(t *testing.T) *repository.Repo {
	t.Helper()
	spec := p.repository.Spec.Backend.S3
	b, err := s3.Opener(t.Context(), spec.Endpoint+"/"+spec.Bucket+"/"+strings.Trim(spec.Prefix, "/"), p.store.Settings())
	require.NoError(t, err)
	repo, err := repository.Open(t.Context(), b, repository.Password(password), nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, repo.Close())
		require.NoError(t, b.Close())
	})
	return repo
}

// holds shows that the repository is whole, and holds so many snapshots, each with all documents of Elasticsearch.
func (p *place) holds(t *testing.T, snapshots int) {
	t.Helper()
	repo := p.opened(t)
	for problem, err := range repo.Check(t.Context(), &repository.CheckOptions{ReadData: true}) {
		require.NoError(t, err)
		require.Fail(t, "the repository is damaged", problem)
	}
	n := 0
	for s, err := range repo.Snapshots(t.Context(), repository.Filter{}) {
		require.NoError(t, err)
		files, err := repo.FS(t.Context(), s)
		require.NoError(t, err)
		manifest, err := layout.ReadManifest(files)
		require.NoError(t, err)
		require.Empty(t, manifest.Omitted)
		found := map[string]int{}
		for _, ix := range manifest.Indices {
			for _, shard := range ix.Shards {
				file, err := files.Open(layout.DocumentsPath(ix.Name, shard.Number))
				require.NoError(t, err)
				for d, err := range layout.Documents(file, ix.Name) {
					require.NoError(t, err)
					require.NotEmpty(t, d.ID)
					found[ix.Name]++
				}
				require.NoError(t, file.Close())
			}
		}
		for _, index := range []string{"orders", "logs"} {
			require.Equal(t, documents, found[index], index)
		}
		n++
	}
	require.Equal(t, snapshots, n)
}

// end deletes the configuration: nothing of it may stay.
func (p *place) end(t *testing.T) {
	t.Helper()
	require.NoError(t, client.IgnoreNotFound(p.Delete(t.Context(), p.conf)))
	var confs task.BackupConfigurationList
	p.gone(t, p.ns, &confs, func() int { return len(confs.Items) })
	var sessions task.BackupSessionList
	p.gone(t, p.ns, &sessions, func() int { return len(sessions.Items) })
	p.empty(t)
	require.NotContains(t, get(t, p.pushed+"/metrics"), `job="backupconfiguration-`+p.ns+"-")
}

// empty waits until nothing is left that runs, or that took part in it.
func (p *place) empty(t *testing.T) {
	t.Helper()
	var crons batchv1.CronJobList
	p.gone(t, p.ns, &crons, func() int { return len(crons.Items) })
	var jobs batchv1.JobList
	p.gone(t, p.ns, &jobs, func() int { return len(jobs.Items) })
	var pods corev1.PodList
	p.gone(t, p.ns, &pods, func() int { return len(pods.Items) })
	var claims corev1.PersistentVolumeClaimList
	p.gone(t, p.ns, &claims, func() int { return len(claims.Items) })
}

// conditions are "Status Reason" by type.
func conditions(all []task.Condition) map[string]string {
	out := map[string]string{}
	for _, c := range all {
		out[c.Type] = string(c.Status) + " " + c.Reason
	}
	return out
}

// show is an object for the message of a test that fails.
func show(o any) string {
	text, err := yaml.Marshal(o)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
