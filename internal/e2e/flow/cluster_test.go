package flow_test

import (
	"context"
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/internal/e2e/servers"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/crds"
)

// patience is how long a test waits for what has to happen. Nothing is asserted about how long it takes.
const patience = 2 * time.Minute

// cluster is a Kubernetes cluster with escrow's definitions, and a client that may do everything.
type cluster struct {
	*servers.Kubernetes
	client.WithWatch
}

func startCluster(t *testing.T, o *servers.KubernetesOptions) *cluster {
	t.Helper()
	if o == nil {
		o = &servers.KubernetesOptions{}
	}
	paths, err := fs.Glob(crds.FS(), "*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		definition, err := fs.ReadFile(crds.FS(), path)
		require.NoError(t, err)
		o.Definitions = append(o.Definitions, definition)
	}
	k := servers.StartKubernetes(t, o)
	config, err := clientcmd.BuildConfigFromFlags("", k.Kubeconfig)
	require.NoError(t, err)
	config.QPS, config.Burst = 100, 200
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, task.AddToScheme, storage.AddToScheme, appbinding.AddToScheme} {
		require.NoError(t, add(scheme))
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	require.NoError(t, err)
	return &cluster{k, c}
}

// namespace makes a namespace and waits until pods can run in it.
func (c *cluster) namespace(t *testing.T, name string) string {
	t.Helper()
	require.NoError(t, c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	c.eventually(t, "the default service account", func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, client.ObjectKey{Namespace: name, Name: "default"}, &corev1.ServiceAccount{})
		return err == nil, client.IgnoreNotFound(err)
	})
	return name
}

// eventually waits until something holds. An error ends the test at once.
func (c *cluster) eventually(t *testing.T, what string, holds func(ctx context.Context) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		ok, err := holds(ctx)
		if ctx.Err() == nil {
			require.NoError(t, err, what)
		}
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			require.FailNow(t, "this did not happen: "+what)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// gone waits until there is nothing of the kind of the list in the namespace.
func (c *cluster) gone(t *testing.T, namespace string, list client.ObjectList, count func() int) {
	t.Helper()
	c.eventually(t, "nothing is left", func(ctx context.Context) (bool, error) {
		err := c.List(ctx, list, client.InNamespace(namespace))
		return err == nil && count() == 0, err
	})
}

// finished waits for the end of a Job and returns it with the logs of its pods.
func (c *cluster) finished(t *testing.T, key client.ObjectKey) (*batchv1.Job, string) {
	t.Helper()
	var job batchv1.Job
	c.eventually(t, "the end of job "+key.Name, func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, key, &job)
		return condition(&job, batchv1.JobComplete) || condition(&job, batchv1.JobFailed), err
	})
	var pods corev1.PodList
	require.NoError(t, c.List(t.Context(), &pods, client.InNamespace(key.Namespace), client.MatchingLabels{batchv1.JobNameLabel: key.Name}))
	var log string
	for _, p := range pods.Items {
		log += c.PodLog(t, p.Namespace, p.Name)
	}
	return &job, log
}

func condition(job *batchv1.Job, kind batchv1.JobConditionType) bool {
	for _, c := range job.Status.Conditions {
		if c.Type == kind {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
