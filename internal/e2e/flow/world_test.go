package flow_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	yamlutil "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/escrow-backup/escrow/internal/e2e/esserver"
	"github.com/escrow-backup/escrow/internal/e2e/servers"
)

const (
	operatorFolder    = "../../../examples/operator"
	operatorNamespace = "escrow"
	operatorName      = "escrow-operator"
	operatorImage     = "escrow-operator:latest" // as operator.yaml says
)

// world is a cluster with the operator, as its manifests install it, and what backups need beside it.
type world struct {
	*cluster
	es      *elastic
	store   *servers.S3
	pushed  string // URL of the Pushgateway
	metrics string // URL of the operator's own metrics
	health  string // URL of its probes
}

func startWorld(t *testing.T) *world {
	t.Helper()
	w := &world{}
	program := filepath.Join(t.TempDir(), "operator")
	w.cluster = startCluster(t, &servers.KubernetesOptions{Images: map[string]string{operatorImage: program}})
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Dir = operatorFolder
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	w.store = servers.MinIO(t, false)
	w.pushed = servers.Pushgateway(t)
	w.es = &elastic{esserver.Start(t, esserver.V8, nil).URL()}
	w.install(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(w.operatorLog(t))
		}
	})
	return w
}

// install applies the manifests of the operator, with the flags that make it push metrics and listen where nobody else does: all pods have
// the same network here.
func (w *world) install(t *testing.T) {
	t.Helper()
	ports := freePorts(t, 2)
	w.metrics, w.health = fmt.Sprintf("http://127.0.0.1:%d/metrics", ports[0]), fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	for _, name := range []string{"rbac.yaml", "catalog.yaml", "operator.yaml"} {
		text, err := os.ReadFile(filepath.Join(operatorFolder, "manifests", name))
		require.NoError(t, err)
		w.apply(t, text, func(o *unstructured.Unstructured) {
			if o.GetKind() != "Deployment" {
				return
			}
			containers, _, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
			require.NoError(t, err)
			c := containers[0].(map[string]any)
			c["args"] = append(c["args"].([]any), "--pushgateway-url="+w.pushed,
				fmt.Sprintf("--metrics-bind-address=127.0.0.1:%d", ports[0]), fmt.Sprintf("--health-probe-bind-address=127.0.0.1:%d", ports[1]))
			require.NoError(t, unstructured.SetNestedSlice(o.Object, containers, "spec", "template", "spec", "containers"))
		})
	}
	w.leads(t)
}

// apply does what kubectl apply --server-side does, with all the objects of a text.
func (w *world) apply(t *testing.T, text []byte, change func(*unstructured.Unstructured)) {
	t.Helper()
	documents := yamlutil.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
		o := &unstructured.Unstructured{}
		require.NoError(t, yaml.Unmarshal(document, &o.Object))
		if len(o.Object) == 0 {
			continue // comments
		}
		if change != nil {
			change(o)
		}
		require.NoError(t, w.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("test")), "%s %s", o.GetKind(), o.GetName())
	}
}

// freePorts are ports that nobody listens on, below those that the system gives to connections: a program that is started again gets its own again.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var out []int
	for port := 20000 + os.Getpid()%5000; len(out) < n; port++ {
		require.Less(t, port, 32000, "no port is free")
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		require.NoError(t, l.Close())
		out = append(out, port)
	}
	return out
}

func (w *world) operatorPods(t *testing.T) []corev1.Pod {
	t.Helper()
	var pods corev1.PodList
	require.NoError(t, w.List(context.WithoutCancel(t.Context()), &pods, client.InNamespace(operatorNamespace)))
	return pods.Items
}

// operatorLog is what the pods of the operator that there are wrote.
func (w *world) operatorLog(t *testing.T) string {
	t.Helper()
	var log string
	for _, p := range w.operatorPods(t) {
		log += p.Name + ":\n" + w.PodLog(t, p.Namespace, p.Name)
	}
	return log
}

// leads waits until an operator works: it has the lease.
func (w *world) leads(t *testing.T) {
	t.Helper()
	w.eventually(t, "an operator leads", func(ctx context.Context) (bool, error) {
		var lease coordinationv1.Lease
		err := w.Get(ctx, client.ObjectKey{Namespace: operatorNamespace, Name: operatorName}, &lease)
		return err == nil && lease.Spec.HolderIdentity != nil && *lease.Spec.HolderIdentity != "", client.IgnoreNotFound(err)
	})
}

// killed kills the operator as a node that dies would, and takes its pod and its lease away, which would else run out after a while.
func (w *world) killed(t *testing.T) {
	t.Helper()
	w.allowed(t)
	ctx := t.Context()
	var died bool
	for _, p := range w.operatorPods(t) {
		for _, s := range p.Status.ContainerStatuses {
			if s.State.Running != nil {
				killed, err := w.KillContainer(s.ContainerID)
				require.NoError(t, err)
				died = died || killed
			}
		}
		require.NoError(t, client.IgnoreNotFound(w.Delete(ctx, &p, client.GracePeriodSeconds(0))))
	}
	require.True(t, died, "no operator ran")
	require.NoError(t, client.IgnoreNotFound(w.Delete(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: operatorName}})))
}

// kill does so, and waits until another one works.
func (w *world) kill(t *testing.T) {
	t.Helper()
	w.killed(t)
	w.leads(t)
}

// allowed shows that the operator was never refused anything for want of rights.
func (w *world) allowed(t *testing.T) {
	t.Helper()
	log := w.operatorLog(t)
	require.NotContains(t, log, "is forbidden: User")
	require.NotContains(t, log, "panic")
}

// cordon lets no pod start any more, or again.
func (w *world) cordon(t *testing.T, on bool) {
	t.Helper()
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec": {"unschedulable": %t}}`, on))
	require.NoError(t, w.Patch(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "local"}}, patch))
}

// deployed shows that the Deployment is as its manifest says.
func (w *world) deployed(t *testing.T) {
	t.Helper()
	w.eventually(t, "the operator is available", func(ctx context.Context) (bool, error) {
		var d appsv1.Deployment
		err := w.Get(ctx, client.ObjectKey{Namespace: operatorNamespace, Name: operatorName}, &d)
		return d.Status.AvailableReplicas == 1, err
	})
}

// get fetches a page.
func get(t *testing.T, url string) string {
	t.Helper()
	status, body := request(t, http.MethodGet, url, "")
	require.Equal(t, http.StatusOK, status, "%s: %s", url, body)
	return string(body)
}

func request(t *testing.T, method, url, body string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	if strings.Contains(url, "/_bulk") {
		req.Header.Set("Content-Type", "application/x-ndjson")
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, content
}

// elastic is an Elasticsearch as these tests see it: plain HTTP, so that it can be the judge.
type elastic struct{ url string }

// do sends a request that must succeed.
func (e *elastic) do(t *testing.T, method, path, body string) []byte {
	t.Helper()
	status, content := request(t, method, e.url+path, body)
	require.Less(t, status, 300, "%s %s: %s", method, path, content)
	return content
}

// fill makes an index of some shards with documents.
func (e *elastic) fill(t *testing.T, index string, docs int) {
	t.Helper()
	e.do(t, http.MethodPut, "/"+index, `{"settings": {"number_of_shards": 3, "number_of_replicas": 0},
		"mappings": {"properties": {"customer": {"type": "keyword"}, "total": {"type": "double"}}}}`)
	var b strings.Builder
	for i := range docs {
		fmt.Fprintf(&b, `{"index": {"_id": "%d"}}%s{"customer": "c-%d", "total": %d.5, "note": "däs ist \"%s\" %d"}%s`, i, "\n", i%17, i, index, i, "\n")
	}
	var answer struct{ Errors bool }
	require.NoError(t, json.Unmarshal(e.do(t, http.MethodPost, "/"+index+"/_bulk?refresh=true", b.String()), &answer))
	require.False(t, answer.Errors)
}

// documents are all of the indices, by index and id.
func (e *elastic) documents(t *testing.T, indices string) map[string]string {
	t.Helper()
	e.do(t, http.MethodPost, "/"+indices+"/_refresh", "")
	var answer struct {
		Hits struct {
			Total struct{ Value int }
			Hits  []struct {
				Index  string          `json:"_index"`
				ID     string          `json:"_id"`
				Source json.RawMessage `json:"_source"`
			}
		}
	}
	require.NoError(t, json.Unmarshal(e.do(t, http.MethodPost, "/"+indices+"/_search?size=10000&track_total_hits=true", ""), &answer))
	out := map[string]string{}
	for _, h := range answer.Hits.Hits {
		out[h.Index+"/"+h.ID] = string(h.Source)
	}
	require.Len(t, out, answer.Hits.Total.Value, "one page is enough")
	return out
}

// mappings and settings that a restore has to bring back.
func (e *elastic) definition(t *testing.T, index string) string {
	t.Helper()
	var answer map[string]struct {
		Mappings json.RawMessage
		Settings struct {
			Index struct {
				Shards   string `json:"number_of_shards"`
				Replicas string `json:"number_of_replicas"`
			}
		}
	}
	require.NoError(t, json.Unmarshal(e.do(t, http.MethodGet, "/"+index, ""), &answer))
	ix, found := answer[index]
	require.True(t, found)
	return fmt.Sprintf("%s shards %s replicas %s", ix.Mappings, ix.Settings.Index.Shards, ix.Settings.Index.Replicas)
}
