package session_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/secret"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/elasticsearch"
	"github.com/escrow-backup/escrow/task/session"
)

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// The whole flow of the KubeDB overview without a cluster: twelve steps of a backup and seven of a restore, with an Elasticsearch and a
// repository in memory.
func Example() {
	ctx := context.Background()
	source, restored := estest.New(nil, nil), estest.New(nil, nil)
	defer source.Close()
	defer restored.Close()
	es := source.Client()
	res := must(es.Bulk(strings.NewReader("{\"index\":{}}\n{\"total\":9007199254740993}\n{\"index\":{}}\n{\"total\":1.50}\n"), es.Bulk.WithIndex("orders")))
	_ = res.Body.Close() // the answer is of no interest here
	if res.IsError() {
		log.Fatal(res.Status())
	}

	fmt.Println("backup 1: a Secret with the storage credentials")
	secrets := secret.Map{"demo/storage": {"RESTIC_PASSWORD": []byte("a long password")}}

	fmt.Println("backup 2: a Repository that names the backend and the Secret")
	repo := must(storage.Parse([]byte(`
apiVersion: stash.appscode.com/v1alpha1
kind: Repository
metadata: {name: store, namespace: demo}
spec: {backend: {storageSecretName: storage, s3: {bucket: backups, prefix: demo}}}`)))

	fmt.Println("backup 3: a BackupConfiguration with target, Task, schedule and interim volume")
	conf := must(task.Parse([]byte(`
apiVersion: stash.appscode.com/v1beta1
kind: BackupConfiguration
metadata: {name: nightly, namespace: demo}
spec:
  schedule: "CRON_TZ=Europe/Berlin 0 3 * * *"
  task: {name: elasticsearch-backup-8.2.0}
  repository: {name: store}
  target: {ref: {apiVersion: appcatalog.appscode.com/v1alpha1, kind: AppBinding, name: es}}
  interimVolumeTemplate:
    metadata: {name: tmp}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
  retentionPolicy: {name: keep-last-5, keepLast: 5, prune: true}`))).(*task.BackupConfiguration)
	binding := func(name string) *appbinding.AppBinding {
		return must(appbinding.Parse([]byte(`
apiVersion: appcatalog.appscode.com/v1alpha1
kind: AppBinding
metadata: {name: ` + name + `, namespace: demo}
spec: {type: kubedb.com/elasticsearch, clientConfig: {service: {name: ` + name + `}}}`)))
	}
	store := task.NewMemoryStore(secrets, repo, conf, binding("es"), binding("restored"))

	// What takes the place of a cluster: the storage, the clients, and where metrics go.
	var mux backend.Mux
	mux.Handle("s3", mem.NewOpener())
	var collected metrics.Memory
	functions := elasticsearch.Functions{Store: store, Mux: &mux, Metrics: &collected, Repository: repository.Options{ScryptN: 2},
		Connect: func(_ context.Context, b *appbinding.AppBinding) (elastictransport.Interface, error) {
			return map[string]*estest.Server{"es": source, "restored": restored}[b.Name].Client(), nil
		}}
	verb := "backup 11, 12"
	local := &session.Local{Store: store, Lookup: task.NewCatalog(elasticsearch.Objects("8.2.0")...), Functions: functions.Bind(), Metrics: &collected,
		Step: func(what string) {
			begins := func(s string) bool { return strings.HasPrefix(what, s) }
			switch {
			case begins("create"):
				fmt.Println("backup 6: a BackupSession, as the CronJob would create it")
			case begins("resolve task elasticsearch-backup"):
				fmt.Println("backup 7: the Task and its Functions, resolved")
			case begins("run elasticsearch-backup"):
				fmt.Println("backup 8, 9, 10: connect by the AppBinding, dump to the interim volume, upload by Repository and Secret")
			case begins("resolve task elasticsearch-restore"):
				fmt.Println("restore 3: the Task and its Functions, resolved")
			case begins("run elasticsearch-restore"):
				fmt.Println("restore 4, 5: download to the interim volume, and insert")
			case begins("run update-status"):
				fmt.Println(verb + ": metrics, and the status")
			}
		}}

	fmt.Println("backup 4: it is watched, and found to be usable")
	phase := must(session.ValidateBackup(conf, session.Found{Repository: repo, Secret: true, Targets: []bool{true}}, repo.CreationTimestamp.Time))
	schedule := must(task.ParseSchedule(conf.Spec.Schedule, conf.Spec.TimeZone))
	fmt.Println("backup 5: a CronJob would be made of", schedule.Expression, "in", schedule.TimeZone, "since it is", phase)
	s := must(local.Backup(ctx, conf, store.Put))
	cat := metrics.NewCatalogue(metrics.ShortNames)
	success, _ := collected.Value(cat.BackupSuccess)
	fmt.Println("  session", s.Status.Phase, "metric", success)
	if err := store.Get(ctx, "demo", "store", repo); err != nil {
		log.Fatal(err)
	}
	fmt.Println("  repository:", repo.Status.SnapshotCount, "snapshot, whole:", *repo.Status.Integrity)

	fmt.Println("restore 1: a RestoreSession with target, Repository and Task")
	back := must(task.Parse([]byte(`
apiVersion: stash.appscode.com/v1beta1
kind: RestoreSession
metadata: {name: back, namespace: demo, uid: "1"}
spec:
  task: {name: elasticsearch-restore-8.2.0}
  repository: {name: store}
  target: {ref: {apiVersion: appcatalog.appscode.com/v1alpha1, kind: AppBinding, name: restored}, rules: [{snapshots: [latest]}]}
  interimVolumeTemplate:
    metadata: {name: tmp}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}`))).(*task.RestoreSession)
	fmt.Println("restore 2: it is watched")
	verb = "restore 6, 7"
	store.Put(back)
	if err := local.Restore(ctx, back); err != nil {
		log.Fatal(err)
	}
	documents, _ := collected.Value(cat.OwnRestoreDocuments)
	fmt.Println("  session", back.Status.Phase, "metric: documents", documents)

	// Output:
	// backup 1: a Secret with the storage credentials
	// backup 2: a Repository that names the backend and the Secret
	// backup 3: a BackupConfiguration with target, Task, schedule and interim volume
	// backup 4: it is watched, and found to be usable
	// backup 5: a CronJob would be made of 0 3 * * * in Europe/Berlin since it is Ready
	// backup 6: a BackupSession, as the CronJob would create it
	// backup 7: the Task and its Functions, resolved
	// backup 8, 9, 10: connect by the AppBinding, dump to the interim volume, upload by Repository and Secret
	// backup 11, 12: metrics, and the status
	//   session Succeeded metric 1
	//   repository: 1 snapshot, whole: true
	// restore 1: a RestoreSession with target, Repository and Task
	// restore 2: it is watched
	// restore 3: the Task and its Functions, resolved
	// restore 4, 5: download to the interim volume, and insert
	// restore 6, 7: metrics, and the status
	//   session Succeeded metric: documents 2
}
