package controller_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/session"
)

func parse[T task.Object](t *testing.T, text string) T {
	t.Helper()
	o, err := task.Parse([]byte("apiVersion: stash.appscode.com/v1beta1\n" + text))
	require.NoError(t, err)
	return o.(T)
}

func secret(namespace string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "storage"},
		Data: map[string][]byte{"RESTIC_PASSWORD": []byte("a long password")}}
}

func store(t *testing.T) *storage.Repository {
	r, err := storage.Parse([]byte(`
apiVersion: stash.appscode.com/v1alpha1
kind: Repository
metadata: {name: store, namespace: demo}
spec: {backend: {storageSecretName: storage, s3: {bucket: backups, endpoint: "http://s3"}}}
`))
	require.NoError(t, err)
	return r
}

func binding(t *testing.T, name string) *appbinding.AppBinding {
	b, err := appbinding.Parse([]byte(`
apiVersion: appcatalog.appscode.com/v1alpha1
kind: AppBinding
metadata: {name: ` + name + `, namespace: demo}
spec: {type: kubedb.com/elasticsearch, version: 8.2.0, clientConfig: {service: {name: ` + name + `, port: 9200, scheme: http}}}
`))
	require.NoError(t, err)
	return b
}

const target = `ref: {apiVersion: appcatalog.appscode.com/v1alpha1, kind: AppBinding, name: `

func configuration(t *testing.T, more string) *task.BackupConfiguration {
	return parse[*task.BackupConfiguration](t, `
kind: BackupConfiguration
metadata: {name: nightly, namespace: demo}
spec:
  schedule: "CRON_TZ=Europe/Berlin */5 * * * *"
  repository: {name: store}
  task: {name: elasticsearch-backup-8.2.0}
  target: {`+target+`es}}
  interimVolumeTemplate: {metadata: {name: tmp}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}
`+more)
}

func restoring(t *testing.T, more string) *task.RestoreSession {
	return parse[*task.RestoreSession](t, `
kind: RestoreSession
metadata: {name: back, namespace: demo}
spec:
  repository: {name: store}
  task: {name: elasticsearch-restore-8.2.0}
  target: {`+target+`es}}
`+more)
}

// needs are what a backup of es needs.
func needs(t *testing.T) []client.Object {
	return []client.Object{secret("demo"), store(t), binding(t, "es")}
}

func newSession(w *world, c task.Object) (*task.BackupSession, error) {
	s, err := session.New(c, w.now, false)
	s.CreationTimestamp = metav1.Time{}
	return s, err
}
