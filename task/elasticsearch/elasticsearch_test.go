package elasticsearch_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
	"github.com/escrow-backup/escrow/secret"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/elasticsearch"
	"github.com/escrow-backup/escrow/task/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a cluster, a repository and the objects about them, in memory.
type world struct {
	*testing.T
	es      *estest.Server
	store   *task.MemoryStore
	mux     backend.Mux
	metrics metrics.Memory
	f       elasticsearch.Functions
	local   session.Local
	out     string
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, es: estest.New(t, nil), out: t.TempDir()}
	w.mux.Handle("s3", mem.NewOpener())
	w.mux.Handle("local", mem.NewOpener())
	w.store = task.NewMemoryStore(secret.Map{"demo/storage": {"RESTIC_PASSWORD": []byte(repositorytest.Password)}})
	repo, err := storage.Parse([]byte("apiVersion: stash.appscode.com/v1alpha1\nkind: Repository\nmetadata: {name: store, namespace: demo}\nspec: {backend: {storageSecretName: storage, s3: {bucket: b, prefix: p}}}"))
	require.NoError(t, err)
	w.store.Put(repo)
	for _, name := range []string{"es", "other"} {
		b, err := appbinding.Parse([]byte("apiVersion: appcatalog.appscode.com/v1alpha1\nkind: AppBinding\nmetadata: {name: " + name + ", namespace: demo}\nspec: {type: kubedb.com/elasticsearch, clientConfig: {service: {name: es}}}"))
		require.NoError(t, err)
		w.store.Put(b)
	}
	w.f = elasticsearch.Functions{Store: w.store, Mux: &w.mux, Metrics: &w.metrics, Repository: *repositorytest.Options(),
		Connect: func(context.Context, *appbinding.AppBinding) (elastictransport.Interface, error) {
			return w.es.Client(), nil
		}}
	w.local = session.Local{Store: w.store, Lookup: task.NewCatalog(elasticsearch.Objects("")...), Functions: w.f.Bind(), Metrics: &w.metrics}
	w.index("orders", "1")
	return w
}

func (w *world) index(index, id string) {
	w.Helper()
	res, err := w.es.Client().Index(index, strings.NewReader(`{"n":`+id+`}`), w.es.Client().Index.WithDocumentID(id), w.es.Client().Index.WithRefresh("true"))
	require.NoError(w, err)
	require.False(w, res.IsError(), res.String())
}

// args are Stash's for a backup.
func (w *world) args(more ...string) []string {
	return append([]string{"--provider=s3", "--bucket=b", "--endpoint=", "--insecure-tls=false", "--region=", "--path=p", "--storage-secret-name=storage",
		"--storage-secret-namespace=demo", "--scratch-dir=" + w.TempDir(), "--enable-cache=true", "--max-connections=0", "--wait-timeout=300", "--hostname=host-0",
		"--interim-data-dir=", "--namespace=demo", "--appbinding=es", "--appbinding-namespace=demo", "--output-dir=" + w.out, "--license-apiservice="}, more...)
}

func (w *world) output() *elasticsearch.Output {
	w.Helper()
	data, err := os.ReadFile(filepath.Join(w.out, elasticsearch.OutputFile))
	require.NoError(w, err)
	o := new(elasticsearch.Output)
	require.NoError(w, json.Unmarshal(data, o))
	return o
}

func TestTheArgumentsOfStash(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	more := []string{"--backupsession=s", "--es-args=--match=^(?!\\.).+ --scrollTime=10m", "--retention-keep-last=2", "--retention-keep-hourly=0", "--retention-keep-tags=",
		"--retention-prune=true", "--retention-dry-run=", "--enable-dashboard-backup=false"}
	for i := range 3 {
		w.index("orders", fmt.Sprint(10+i))
		require.NoError(t, w.f.Backup(ctx, w.args(more...)))
	}
	o := w.output()
	require.Equal(t, task.SessionSucceeded, o.BackupTargetStatus.Phase)
	stats := o.BackupTargetStatus.Stats[0]
	require.Equal(t, "host-0", stats.Hostname)
	require.Len(t, stats.Snapshots, 1)
	require.Len(t, stats.Snapshots[0].Name, 8)
	require.Equal(t, int64(4), o.Backup.Documents)
	require.Equal(t, int64(2), o.Repository.SnapshotCount)
	require.Equal(t, int64(1), o.Repository.SnapshotsRemovedOnLastCleanup)
	require.True(t, *o.Repository.Integrity)
	require.Positive(t, o.Repository.Bytes)
	require.Positive(t, o.Repository.Dedup)
	require.Positive(t, *stats.Snapshots[0].FileStats.TotalFiles)
	require.Contains(t, o.Warnings, "--es-args: --scrollTime: is not needed")
	for _, c := range []string{task.BackendRepositoryInitialized, task.RetentionPolicyApplied, task.RepositoryIntegrityVerified} {
		require.True(t, task.IsTrue(o.BackupTargetStatus.Conditions, c), c)
	}

	w.es = estest.New(t, nil)
	restore := []string{"--source-hostname=host-0", "--snapshot=latest", "--enable-dashboard-restore=false", "--es-args=--ignoreType=template,settings"}
	require.NoError(t, w.f.Restore(ctx, w.args(restore...)))
	require.Equal(t, int64(4), w.output().Restore.Documents)
	err := w.f.Restore(ctx, w.args(restore...))
	require.ErrorIs(t, err, fs.ErrExist)
	require.Equal(t, task.SessionFailed, w.output().RestoreTargetStatus.Phase)
	require.NoError(t, w.f.Restore(ctx, w.args(append(restore, "--conflict=replace")...)))
	err = w.f.Restore(ctx, w.args("--source-hostname=nobody"))
	require.ErrorContains(t, err, "no snapshot of host nobody")
	require.Contains(t, w.output().RestoreTargetStatus.Stats[0].Error, "nobody")
}

func TestFailuresAreErrorsAndInTheOutput(t *testing.T) {
	for name, x := range map[string]struct {
		change func(w *world)
		want   string
	}{
		"cluster fails": {func(w *world) { w.es.Inject().PathMatch("_search|_stats|_cluster").Status(401) }, "401"},
		"no binding":    {func(w *world) { b := &appbinding.AppBinding{}; b.Name, b.Namespace = "es", "demo"; w.store.Delete(b) }, "appbinding demo/es: file does not exist"},
		"no secret":     {func(w *world) { w.store.Secrets = nil }, "secret demo/storage"},
		"no password":   {func(w *world) { w.store.Secrets["demo/storage"] = secret.Data{"x": nil} }, "RESTIC_PASSWORD"},
		"wrong password": {func(w *world) {
			w.store.Secrets["demo/storage"] = secret.Data{"RESTIC_PASSWORD": []byte("secretword")}
		}, "wrong password"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			require.NoError(t, w.f.Backup(t.Context(), w.args()))
			x.change(w)
			err := w.f.Backup(t.Context(), w.args("--es-args=--concurrency=1"))
			require.ErrorContains(t, err, x.want)
			require.NotContains(t, err.Error(), "secretword")
			o := w.output()
			require.Equal(t, task.SessionFailed, o.BackupTargetStatus.Phase)
			require.Equal(t, task.SessionFailed, o.BackupTargetStatus.Stats[0].Phase)
			require.Contains(t, o.BackupTargetStatus.Stats[0].Error, x.want)
			require.False(t, o.Backup.Success)

			// Nothing was made anew: what was there is there.
			w.store.Secrets = secret.Map{"demo/storage": {"RESTIC_PASSWORD": []byte(repositorytest.Password)}}
			b, err := w.mux.Open(t.Context(), "s3:s3.amazonaws.com/b/p", nil)
			require.NoError(t, err)
			repo := repositorytest.Reopen(t, b)
			n := 0
			for _, err := range repo.Snapshots(t.Context(), repository.Filter{}) {
				require.NoError(t, err)
				n++
			}
			require.Equal(t, 1, n)
		})
	}
}

// refusing is a backend that cannot tell whether there is a repository.
type refusing struct{ backend.Backend }

func (refusing) Load(context.Context, backend.Handle, int64, int64) (io.ReadCloser, error) {
	return nil, errors.New("the storage is away")
}

func (refusing) Close() error { return nil }

func (refusing) Stat(context.Context, backend.Handle) (backend.FileInfo, error) {
	return backend.FileInfo{}, errors.New("the storage is away")
}

func TestOnlyAnEmptyPlaceBecomesARepository(t *testing.T) {
	w := newWorld(t)
	inner := mem.New()
	w.mux.Handle("s3", func(context.Context, string, *backend.Settings) (backend.Backend, error) { return refusing{inner}, nil })
	require.ErrorContains(t, w.f.Backup(t.Context(), w.args()), "the storage is away")
	for _, kind := range backend.FileTypes {
		for fi, err := range inner.List(t.Context(), kind) {
			require.NoError(t, err)
			t.Errorf("made %v", fi)
		}
	}
}

func TestUsage(t *testing.T) {
	w := newWorld(t)
	var usage *elasticsearch.UsageError
	for _, x := range []struct {
		run  func(context.Context, []string) error
		args []string
		want string
	}{
		{w.f.Backup, []string{"--provider=s3"}, "--appbinding is required"},
		{w.f.Backup, []string{"--appbinding=es"}, "--provider or --repository is required"},
		{w.f.Backup, w.args("--nonsense"), "-nonsense"},
		{w.f.Backup, w.args("more"), `unexpected argument "more"`},
		{w.f.Backup, w.args("--integrity-check-read-data=much"), "--integrity-check-read-data"},
		{w.f.Backup, w.args("--es-args=--match='x"), "a quote is not closed"},
		{w.f.Backup, w.args("--es-args=x"), `unexpected "x"`},
		{w.f.Backup, w.args("--es-args=--searchBody='{\"a\": 1}'"), "--searchBody: would back up a part"},
		{w.f.Backup, w.args("--es-args=--ignoreType=data"), "--ignoreType=data"},
		{w.f.Backup, w.args("--es-args=--concurrency=many"), "--concurrency"},
		{w.f.Backup, w.args("--es-args=--match=(?=x)"), "--match"},
		{w.f.Backup, append(w.args(), "--provider=tape"), `"tape" is not known`},
		{w.f.Restore, w.args("--conflict=maybe"), `--conflict "maybe"`},
		{w.f.Restore, w.args("--backupsession=s"), "-backupsession"},
		{w.f.UpdateStatus, []string{"--output-dir=x"}, "one of --backupsession"},
		{w.f.UpdateStatus, []string{"--backup-session=s"}, "--output-dir is required"},
	} {
		err := x.run(t.Context(), x.args)
		require.ErrorContains(t, err, x.want, "%v", x.args)
		require.ErrorAs(t, err, &usage, "%v", x.args)
	}
	require.ErrorIs(t, w.f.UpdateStatus(t.Context(), []string{"--backupsession=s", "--output-dir=" + t.TempDir()}), fs.ErrNotExist)
}

func TestMatchChooses(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"logs-1", "logs-2", "metrics", ".hidden"} {
		w.index(name, "1")
	}
	for match, want := range map[string]int64{`^(?!\.).+`: 4, `"^logs-"`: 2, `'^(?!(logs|orders)).*'`: 2, `^\.`: 1, `logs-1|metrics`: 2} {
		require.NoError(t, w.f.Backup(t.Context(), w.args("--es-args=--match "+match)), match)
		require.Equal(t, want, w.output().Backup.Documents, match)
	}
	require.ErrorContains(t, w.f.Backup(t.Context(), w.args("--es-args=--match=nothing")), "matches none of 5 indices")
}

func (w *world) configuration(text string) task.Object {
	w.Helper()
	o, err := task.Parse([]byte("apiVersion: stash.appscode.com/v1beta1\n" + text))
	require.NoError(w, err)
	return o
}

const nightly = `
kind: BackupConfiguration
metadata: {name: nightly, namespace: demo}
spec:
  repository: {name: store}
  task: {name: elasticsearch-backup}
  target: {ref: {apiVersion: appcatalog.appscode.com/v1alpha1, kind: AppBinding, name: es}}
`

func TestMembersOfABatchKeepTheirMetricsAndStatusesApart(t *testing.T) {
	w := newWorld(t)
	batch := w.configuration(`
kind: BackupBatch
metadata: {name: all, namespace: demo}
spec:
  repository: {name: store}
  members:
  - {task: {name: elasticsearch-backup}, target: {alias: one, ref: {apiVersion: appcatalog.appscode.com/v1alpha1, kind: AppBinding, name: es}}}
  - {task: {name: elasticsearch-backup, params: [{name: args, value: --match=none}]}, target: {alias: two, ref: {apiVersion: appcatalog.appscode.com/v1alpha1, kind: AppBinding, name: other}}}
`)
	s, err := w.local.Backup(t.Context(), batch, w.store.Put)
	require.ErrorContains(t, err, "matches none")
	require.Equal(t, task.SessionFailed, s.Status.Phase)
	require.Equal(t, task.SessionSucceeded, s.Status.Targets[0].Phase)
	require.Equal(t, task.SessionFailed, s.Status.Targets[1].Phase)
	require.Equal(t, "two", s.Status.Targets[1].Stats[0].Hostname)
	c := metrics.NewCatalogue(metrics.ShortNames)
	for name, want := range map[string]float64{"es": 1, "other": 0} {
		v, found := w.metrics.Value(c.TargetSuccess, "BackupBatch", "all", "demo", "Restic", "store", "AppBinding", "appcatalog.appscode.com", name)
		require.True(t, found)
		require.Equal(t, want, v, name)
		v, found = w.metrics.Value(c.HostSuccess, "BackupBatch", "all", "demo", "Restic", "store", "AppBinding", "appcatalog.appscode.com", name)
		require.True(t, found)
		require.Equal(t, want, v, name)
	}
	v, _ := w.metrics.Value(c.BackupSuccess)
	require.Zero(t, v)
}

func TestWhatFailsBeforeTheFunctionIsInTheStatus(t *testing.T) {
	w := newWorld(t)
	conf := w.configuration(nightly + "  hooks: {preBackup: {exec: {command: [sync]}}, postBackup: {executionPolicy: OnFailure, exec: {command: [tell, '{{ .Status.Phase }}']}}}\n")
	var told []string
	w.local.Hooks.Exec = func(_ context.Context, _ task.TargetRef, _ string, command []string) error {
		told = append(told, strings.Join(command, " "))
		if command[0] == "sync" {
			return errors.New("not in sync")
		}
		return nil
	}
	s, err := w.local.Backup(t.Context(), conf, w.store.Put)
	require.ErrorContains(t, err, "step pre-hook: hook preBackup: not in sync")
	require.Equal(t, []string{"sync", "tell Failed"}, told)
	require.Equal(t, task.SessionFailed, s.Status.Phase)
	require.Contains(t, s.Status.Targets[0].Stats[0].Error, "not in sync")
	v, found := w.metrics.Value(metrics.NewCatalogue(metrics.ShortNames).HostSuccess)
	require.True(t, found)
	require.Zero(t, v)

	repo := new(storage.Repository)
	require.NoError(t, w.store.Get(t.Context(), "demo", "store", repo))
	require.Zero(t, repo.Status.SnapshotCount)
	w.store.Delete(repo)
	_, err = w.local.Backup(t.Context(), conf, w.store.Put)
	require.ErrorContains(t, err, "backupconfiguration demo/nightly is NotReady: There is no Repository demo/store.")
}

func TestDirStore(t *testing.T) {
	dir, secrets := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "s.yaml"), []byte("apiVersion: stash.appscode.com/v1beta1\nkind: BackupSession\nmetadata: {name: s, namespace: demo}\nspec: {invoker: {kind: BackupConfiguration, name: nightly}}\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "s.txt"), []byte("{"), 0o600))
	require.NoError(t, os.MkdirAll(filepath.Join(secrets, "demo", "storage"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(secrets, "demo", "storage", "k"), []byte("v"), 0o600))
	store := task.NewDirStore(dir, secret.Dir(secrets))
	d, err := store.Secret(t.Context(), "demo", "storage")
	require.NoError(t, err)
	require.Equal(t, "v", string(d["k"]))
	s := new(task.BackupSession)
	require.NoError(t, store.UpdateStatus(t.Context(), "demo", "s", s, func() error { s.Status.Phase = task.SessionFailed; return nil }))
	again := new(task.BackupSession)
	require.NoError(t, store.Get(t.Context(), "demo", "s", again))
	require.Equal(t, task.SessionFailed, again.Status.Phase)
	stop := errors.New("stop")
	require.ErrorIs(t, store.UpdateStatus(t.Context(), "demo", "s", s, func() error { return stop }), stop)
	require.ErrorIs(t, store.Get(t.Context(), "other", "s", again), fs.ErrNotExist)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.json"), []byte("{"), 0o600))
	require.ErrorContains(t, store.Get(t.Context(), "demo", "s", again), "a.json: not an object")
}
