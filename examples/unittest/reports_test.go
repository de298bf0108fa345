package reports_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"example.com/reports"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
	"github.com/escrow-backup/escrow/secret"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/elasticsearch"
	"github.com/escrow-backup/escrow/task/session"
)

// cluster has three reports of May.
func cluster(t *testing.T) *estest.Server {
	s := estest.New(t, nil)
	es := s.Client()
	for i := range 3 {
		res, err := es.Index("reports-may", strings.NewReader(fmt.Sprintf(`{"total":%d}`, i)), es.Index.WithRefresh("true"))
		require.NoError(t, err)
		require.False(t, res.IsError())
		require.NoError(t, res.Body.Close())
	}
	return s
}

func documents(s *estest.Server) int {
	return s.Count("reports-may")
}

func TestPurgeAndRevive(t *testing.T) {
	s, repo := cluster(t), repositorytest.New(t)
	snapshot, err := reports.Purge(t.Context(), s.Client(), repo, "reports-may")
	require.NoError(t, err)
	repositorytest.RequireClean(t, repo)
	n, err := reports.Revive(t.Context(), s.Client(), repo, snapshot)
	require.NoError(t, err)
	require.Equal(t, int64(3), n)
	require.Equal(t, 3, documents(s))
}

// Whatever fails, at whichever request: the reports are still there, or they are saved.
func TestNothingIsThrownAwayThatIsNotSaved(t *testing.T) {
	refused := 0
	for n := 1; ; n++ {
		s, repo := cluster(t), repositorytest.New(t)
		fault := s.Inject().PathMatch("_search|_pit|_stats").Nth(n).Status(403)
		snapshot, err := reports.Purge(t.Context(), s.Client(), repo, "reports-may")
		fault.Remove()
		if err == nil {
			_, err := reports.Revive(t.Context(), s.Client(), repo, snapshot)
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, reports.ErrNotSaved)
			refused++
		}
		require.Equal(t, 3, documents(s))
		if fault.Count() == 0 {
			require.Positive(t, refused, "no fault had any effect")
			return
		}
	}
}

// The backup that Kubernetes runs of the same data, without Kubernetes: its very manifests.
func TestTheNightlyBackup(t *testing.T) {
	s := cluster(t)
	conf, err := task.Parse([]byte(`
apiVersion: stash.appscode.com/v1beta1
kind: BackupConfiguration
metadata: {name: reports, namespace: demo}
spec:
  schedule: "0 3 * * *"
  task: {name: elasticsearch-backup, params: [{name: args, value: --match=^reports-}]}
  repository: {name: store}
  target: {ref: {apiVersion: appcatalog.appscode.com/v1alpha1, kind: AppBinding, name: es}}
  retentionPolicy: {keepLast: 5}
`))
	require.NoError(t, err)
	repo, err := storage.Parse([]byte("apiVersion: stash.appscode.com/v1alpha1\nkind: Repository\nmetadata: {name: store, namespace: demo}\nspec: {backend: {storageSecretName: s, s3: {bucket: b}}}"))
	require.NoError(t, err)
	binding, err := appbinding.Parse([]byte("apiVersion: appcatalog.appscode.com/v1alpha1\nkind: AppBinding\nmetadata: {name: es, namespace: demo}\nspec: {clientConfig: {service: {name: es}}}"))
	require.NoError(t, err)
	store := task.NewMemoryStore(secret.Map{"demo/s": {"RESTIC_PASSWORD": []byte(repositorytest.Password)}}, repo, binding)

	var mux backend.Mux
	mux.Handle("s3", mem.NewOpener())
	functions := elasticsearch.Functions{Store: store, Mux: &mux, Repository: *repositorytest.Options(),
		Connect: func(context.Context, *appbinding.AppBinding) (elastictransport.Interface, error) {
			return s.Client(), nil
		}}
	local := session.Local{Store: store, Lookup: task.NewCatalog(elasticsearch.Objects("")...), Functions: functions.Bind()}
	done, err := local.Backup(t.Context(), conf, store.Put)
	require.NoError(t, err)
	require.Equal(t, task.SessionSucceeded, done.Status.Phase)
	require.NoError(t, store.Get(t.Context(), "demo", "store", repo))
	require.Equal(t, int64(1), repo.Status.SnapshotCount)
}
