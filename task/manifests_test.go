package task_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/elasticsearch"
	"github.com/escrow-backup/escrow/task/session"
)

// documented is the AppBinding that the manifests are for, where they do not have one of their own: it names the Tasks for those who name none.
const documented = `
apiVersion: appcatalog.appscode.com/v1alpha1
kind: AppBinding
metadata: {name: sample-elasticsearch, namespace: demo}
spec:
  type: kubedb.com/elasticsearch
  version: 8.2.0
  clientConfig: {service: {name: sample-elasticsearch, port: 9200, scheme: https}}
  secret: {name: sample-elasticsearch-elastic-cred}
  tlsSecret: {name: sample-elasticsearch-client-cert}
  parameters:
    apiVersion: appcatalog.appscode.com/v1alpha1
    kind: StashAddon
    stash:
      addon:
        backupTask: {name: elasticsearch-backup-8.2.0}
        restoreTask: {name: elasticsearch-restore-8.2.0}
`

// manifests are the objects of one file.
type manifests struct {
	repository *storage.Repository
	binding    *appbinding.AppBinding
	invoker    task.Object
	session    task.Object
	blueprint  *task.BackupBlueprint
}

func readManifests(t *testing.T, file string) *manifests {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	m := &manifests{}
	for doc := range strings.SplitSeq(string(data), "\n---\n") {
		var kind metav1.TypeMeta
		require.NoError(t, yaml.Unmarshal([]byte(doc), &kind))
		switch kind.Kind {
		case storage.Kind:
			m.repository, err = storage.Parse([]byte(doc))
			require.NoError(t, err)
			continue
		case appbinding.Kind:
			m.binding, err = appbinding.Parse([]byte(doc))
			require.NoError(t, err)
			continue
		}
		o, err := task.Parse([]byte(doc))
		if runtime.IsStrictDecodingError(err) {
			err = nil // the rules of older RestoreSessions stand beside the target, and are reported
			require.Contains(t, file, "standalone-restore")
		}
		require.NoError(t, err)
		switch o := o.(type) {
		case *task.BackupConfiguration, *task.BackupBatch:
			m.invoker = o
		case *task.BackupBlueprint:
			m.blueprint = o
		default:
			m.session = o
		}
	}
	if m.binding == nil {
		m.binding, err = appbinding.Parse([]byte(documented))
		require.NoError(t, err)
	}
	if m.blueprint != nil {
		var conf *task.BackupConfiguration
		m.repository, conf, err = session.FromBlueprint(m.blueprint, m.binding)
		require.NoError(t, err)
		m.invoker = conf
	}
	if m.session == nil {
		s := &task.BackupSession{ObjectMeta: metav1.ObjectMeta{Name: m.invoker.GetName() + "-1561974001", Namespace: "demo"}}
		m.session = s
	}
	m.session.SetUID("7d4a")
	return m
}

// Every manifest for Elasticsearch of Stash's documentation becomes a Job that its golden file shows whole; what it is about is said here.
func TestJobsOfTheDocumentedManifests(t *testing.T) {
	has := func(container corev1.Container, args ...string) func(t *testing.T) {
		return func(t *testing.T) {
			for _, a := range args {
				require.Contains(t, container.Args, a)
			}
		}
	}
	for name, check := range map[string]func(t *testing.T, pod corev1.PodSpec){
		"standalone": func(t *testing.T, pod corev1.PodSpec) {
			has(pod.InitContainers[0], "backup-es", "--provider=gcs", "--bucket=stash-testing", "--path=demo/elasticsearch/sample-elasticsearch",
				"--storage-secret-name=gcs-secret", "--appbinding=sample-elasticsearch", "--interim-data-dir=/stash-interim-volume/data",
				"--retention-keep-last=5", "--retention-prune=true", "--hostname=host-0")(t)
			require.Equal(t, "sample-elasticsearch-backup-1561974001-sample-elasticsearch-backup-tmp-storage",
				pod.Volumes[1].PersistentVolumeClaim.ClaimName)
		},
		"standalone-restore": func(t *testing.T, pod corev1.PodSpec) {
			has(pod.InitContainers[0], "restore-es", "--snapshot=latest", "--source-hostname=host-0", "--interim-data-dir=/stash-interim-volume/data")(t)
			has(pod.Containers[0], "update-status", "--restoresession=sample-elasticsearch-restore")(t)
		},
		"arguments": func(t *testing.T, pod corev1.PodSpec) {
			has(pod.InitContainers[0], "--es-args=--ignoreType=template,settings --match=^shop.*", "--interim-data-dir=")(t)
		},
		"run-as-user": func(t *testing.T, pod corev1.PodSpec) {
			require.Equal(t, int64(0), *pod.SecurityContext.RunAsUser)
			require.Nil(t, pod.SecurityContext.RunAsNonRoot)
		},
		"resources": func(t *testing.T, pod corev1.PodSpec) {
			for _, c := range append(pod.InitContainers, pod.Containers...) {
				require.Equal(t, "1Gi", c.Resources.Limits.Memory().String())
				require.Contains(t, c.Env, corev1.EnvVar{Name: "NICE_ADJUSTMENT", Value: "5"})
				require.Contains(t, c.Env, corev1.EnvVar{Name: "IONICE_CLASS", Value: "2"})
			}
			has(pod.InitContainers[0], "--max-connections=4", "--enable-cache=false")(t)
			require.Equal(t, corev1.StorageMediumMemory, pod.Volumes[0].EmptyDir.Medium)
		},
		"retention": func(t *testing.T, pod corev1.PodSpec) {
			has(pod.InitContainers[0], "--retention-keep-last=5", "--retention-keep-hourly=10", "--retention-keep-daily=7", "--retention-keep-weekly=4",
				"--retention-keep-monthly=12", "--retention-keep-yearly=3", "--retention-keep-tags=release,nightly,important", "--retention-prune=true",
				"--retention-dry-run=true", "--endpoint=s3.amazonaws.com", "--region=us-west-1")(t)
		},
		"hooks": func(t *testing.T, pod corev1.PodSpec) {
			require.Len(t, pod.InitContainers, 3)
			has(pod.InitContainers[0], "run-hook", "--hook-type=preBackup")(t)
			has(pod.Containers[0], "run-hook", "--hook-type=postBackup")(t)
		},
		"volume": func(t *testing.T, pod corev1.PodSpec) {
			has(pod.InitContainers[0], "--provider=local", "--bucket=/safe/data")(t)
			require.Equal(t, "backup-storage", pod.Volumes[1].PersistentVolumeClaim.ClaimName)
			require.Contains(t, pod.InitContainers[0].VolumeMounts, corev1.VolumeMount{Name: "stash-local", MountPath: "/safe/data", SubPath: "demo/sample-elasticsearch"})
		},
		"snapshot-restore": func(t *testing.T, pod corev1.PodSpec) {
			has(pod.InitContainers[0], "--snapshot=4bc21d6f", "--source-hostname=host-1", "--exclude=.*", "--es-args=--ignoreType=template")(t)
		},
		"batch": func(t *testing.T, pod corev1.PodSpec) {
			has(pod.InitContainers[0], "--hostname=sample", "--insecure-tls=true", "--endpoint=https://minio.storage.svc")(t)
			require.Equal(t, "deploy-backup-batch-1561974001-tmp-1", pod.Volumes[1].PersistentVolumeClaim.ClaimName)
		},
		"auto-backup": func(t *testing.T, pod corev1.PodSpec) {
			has(pod.InitContainers[0], "--path=stash-backup/demo/elasticsearch/sample-elasticsearch", "--es-args=--ignoreType=settings,template")(t)
			require.Equal(t, "app-sample-elasticsearch-1561974001-elasticsearch-sample-elasticsearch", pod.Volumes[1].PersistentVolumeClaim.ClaimName)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := readManifests(t, filepath.Join("testdata/manifests", name+".yaml"))
			in := task.Invocation{Session: m.session, Invoker: m.invoker, Repository: m.repository, AppBinding: m.binding,
				AddonImage: "registry.example.com/escrow:1", Pushgateway: "http://pushgateway:9091"}
			if b, ok := m.invoker.(*task.BackupBatch); ok {
				in.Member = len(b.Spec.Members) - 1
			}
			plan, err := task.Resolve(t.Context(), task.NewCatalog(elasticsearch.Objects("8.2.0")...), in)
			require.NoError(t, err)
			job, err := plan.Job()
			require.NoError(t, err)
			claim, err := plan.Claim()
			require.NoError(t, err)
			check(t, job.Spec.Template.Spec)
			var out bytes.Buffer
			for _, o := range []any{job, claim} {
				if o == (*corev1.PersistentVolumeClaim)(nil) {
					continue
				}
				data, err := yaml.Marshal(o)
				require.NoError(t, err)
				out.Write(data)
				out.WriteString("---\n")
			}
			golden(t, "../manifests/"+name+".job", out.Bytes())
		})
	}
	files, err := filepath.Glob("testdata/manifests/*.yaml")
	require.NoError(t, err)
	goldens, err := filepath.Glob("testdata/manifests/*.job")
	require.NoError(t, err)
	require.Len(t, goldens, len(files), "each manifest has a golden file")
}
