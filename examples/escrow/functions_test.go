package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/task"
)

// The Jobs of a Task, as a pod would run them: one process after the other, which have files in common only.
func TestFunctionsOfStash(t *testing.T) {
	server := estest.New(t, nil)
	es := server.Client()
	res, err := es.Index("orders", strings.NewReader(`{"n":1}`), es.Index.WithRefresh("true"))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())

	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	write("secrets/demo/storage/RESTIC_PASSWORD", "secretword")
	write("objects/es.yaml", "apiVersion: appcatalog.appscode.com/v1alpha1\nkind: AppBinding\nmetadata: {name: es, namespace: demo}\nspec: {type: kubedb.com/elasticsearch, clientConfig: {url: '"+server.URL+"'}}\n")
	write("objects/store.yaml", "apiVersion: stash.appscode.com/v1alpha1\nkind: Repository\nmetadata: {name: store, namespace: demo}\nspec: {backend: {storageSecretName: storage, local: {mountPath: '"+dir+"/repo'}}}\n")
	write("objects/s.yaml", "apiVersion: stash.appscode.com/v1beta1\nkind: BackupSession\nmetadata: {name: s, namespace: demo}\nspec: {invoker: {kind: BackupConfiguration, name: nightly}}\n")

	var mu sync.Mutex
	var pushed []string
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		pushed = append(pushed, r.URL.Path)
	}))
	defer gateway.Close()

	env := func(name string) string {
		return map[string]string{"ESCROW_OBJECTS": dir + "/objects", "ESCROW_SECRETS": dir + "/secrets"}[name]
	}
	escrow := func(args ...string) (int, string) {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), args, env, strings.NewReader(""), &stdout, &stderr)
		require.Empty(t, stdout.String())
		require.NotContains(t, stderr.String(), "secretword")
		return code, stderr.String()
	}
	common := []string{"--provider=local", "--bucket=" + dir + "/repo", "--path=", "--storage-secret-name=storage", "--storage-secret-namespace=demo",
		"--scratch-dir=" + dir + "/tmp", "--namespace=demo", "--appbinding=es", "--hostname=host-0", "--output-dir=" + dir + "/out"}
	code, text := escrow(append([]string{"backup-es", "--backupsession=s", "--es-args=--limit=1000"}, common...)...)
	require.Zero(t, code, text)
	require.Contains(t, text, "--es-args: --limit: is not needed")
	code, text = escrow("update-status", "--namespace=demo", "--backup-session=s", "--repository=store", "--output-dir="+dir+"/out", "--metrics-pushgateway-url="+gateway.URL)
	require.Zero(t, code, text)
	require.Contains(t, pushed, "/metrics/job/repository-demo-store")
	data, err := os.ReadFile(filepath.Join(dir, "objects/s.yaml"))
	require.NoError(t, err)
	o, err := task.Parse(data)
	require.NoError(t, err)
	s := o.(*task.BackupSession)
	require.Equal(t, task.SessionSucceeded, s.Status.Targets[0].Phase)
	data, err = os.ReadFile(filepath.Join(dir, "objects/store.yaml"))
	require.NoError(t, err)
	require.Contains(t, string(data), "snapshotCount: 1")

	code, text = escrow(append([]string{"restore-es"}, common...)...)
	require.Equal(t, exitFailed, code)
	require.Contains(t, text, "orders")
	code, text = escrow(append([]string{"restore-es", "--conflict", "replace"}, common...)...)
	require.Zero(t, code, text)

	server.Inject().Path("_search").Status(403)
	code, text = escrow(append([]string{"backup-es"}, common...)...)
	require.Equal(t, exitFailed, code)
	require.Equal(t, 1, strings.Count(text, "\n"), text)
	var out struct{ BackupTargetStatus task.BackupTargetStatus }
	data, err = os.ReadFile(filepath.Join(dir, "out/output.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &out))
	require.Equal(t, task.SessionFailed, out.BackupTargetStatus.Phase)

	hook := "  hooks: {before: [{httpGet: {host: 127.0.0.1, port: " + gateway.URL[strings.LastIndex(gateway.URL, ":")+1:] + ", path: '/{{ .Session }}'}}]}\n"
	write("objects/nightly.yaml", "apiVersion: stash.appscode.com/v1beta1\nkind: BackupConfiguration\nmetadata: {name: nightly, namespace: demo}\nspec:\n  repository: {name: store}\n"+hook)
	code, text = escrow("run-hook", "--hook-type=preBackup", "--namespace=demo", "--backupsession=s")
	require.Zero(t, code, text)
	require.Contains(t, pushed, "/s")

	code, text = escrow("backup-es", "--provider=local")
	require.Equal(t, exitUsage, code)
	require.Contains(t, text, "--appbinding is required")
	code, _ = escrow("update-status", "--metrics-pushgateway-url=nowhere")
	require.Equal(t, exitUsage, code)
}
