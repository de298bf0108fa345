package servers

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/need"
)

// Kubernetes is a cluster of one node: real servers, and a small kubelet whose pods are processes of this machine. See
// internal/e2e/kube.
type Kubernetes struct {
	URL        string // of the API
	Kubeconfig string // the path of a file, for somebody who may do everything

	dir   string
	admin *http.Client
	cert  pair

	kubelet *Process
}

// KubernetesOptions of StartKubernetes; nil is an empty cluster.
type KubernetesOptions struct {
	// Images maps names of images to programs of this machine: their entry points. See package kubelet.
	Images map[string]string

	// Definitions are CustomResourceDefinitions, in YAML or JSON. What is defined later the garbage collector may notice half a
	// minute later.
	Definitions [][]byte
}

// StartKubernetes starts a cluster that ends, with all that runs in it, when the test does. It needs root: its pods are
// processes in namespaces of their own.
func StartKubernetes(t testing.TB, o *KubernetesOptions) *Kubernetes {
	t.Helper()
	if o == nil {
		o = &KubernetesOptions{}
	}
	program := kubeProgram.need(t)
	if os.Geteuid() != 0 {
		need.Missing(t, "a pod is a process in namespaces of its own: run the tests as root")
	}
	k := &Kubernetes{dir: t.TempDir()}
	conf := k.credentials(t)
	run := func(part string, args ...string) *Process {
		return start(t, nil, program, append([]string{part}, args...)...)
	}

	store := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	peers := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	run("etcd", "--data-dir="+k.path("etcd"), "--unsafe-no-fsync", "--log-level=warn", "--initial-cluster=default="+peers,
		"--listen-client-urls="+store, "--advertise-client-urls="+store,
		"--listen-peer-urls="+peers, "--initial-advertise-peer-urls="+peers,
	).await(t, func(ctx context.Context) error {
		_, err := answer(ctx, http.DefaultClient, http.MethodGet, store+"/health", nil)
		return err
	})

	api := run("apiserver", "--etcd-servers="+store, "--etcd-compaction-interval=0",
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port="+k.URL[strings.LastIndexByte(k.URL, ':')+1:],
		"--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--cert-dir="+k.dir, "--client-ca-file="+k.path("ca.crt"),
		"--tls-cert-file="+k.path("apiserver.crt"), "--tls-private-key-file="+k.path("apiserver.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+k.path("accounts.key"), "--service-account-signing-key-file="+k.path("accounts.key"))
	api.await(t, k.answers("/readyz", nil))
	for _, d := range o.Definitions {
		_, err := k.Do(t.Context(), http.MethodPost, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", d)
		require.NoError(t, err)
	}

	controllers := run("controller-manager", "--kubeconfig="+k.Kubeconfig, "--bind-address=127.0.0.1", "--secure-port=0", "--leader-elect=false",
		"--root-ca-file="+k.path("ca.crt"), "--service-account-private-key-file="+k.path("accounts.key"), "--cert-dir="+k.dir)
	scheduler := run("scheduler", "--kubeconfig="+conf["scheduler"], "--bind-address=127.0.0.1", "--secure-port=0", "--leader-elect=false",
		"--authentication-skip-lookup")
	provisioner := run("provisioner", "--kubeconfig="+k.Kubeconfig, "--root="+k.path("volumes"))
	args := []string{"--kubeconfig=" + conf["kubelet"], "--root=" + k.path("kubelet")}
	for name, path := range o.Images {
		args = append(args, "--image="+name+"="+path)
	}
	k.kubelet = run("kubelet", args...)
	// Before the servers: it kills the pods' processes, and says so to nobody.
	t.Cleanup(k.kubelet.Stop)

	controllers.await(t, k.answers("/api/v1/namespaces/default/serviceaccounts/default", nil))
	provisioner.await(t, k.answers("/apis/storage.k8s.io/v1/storageclasses/folder", nil))
	scheduler.await(t, func(context.Context) error { return nil })
	k.kubelet.await(t, k.answers("/api/v1/nodes/local", ready))
	return k
}

func (k *Kubernetes) path(name string) string { return filepath.Join(k.dir, name) }

// credentials writes the certificates of the servers, and a kubeconfig for each client. It returns the paths of those.
func (k *Kubernetes) credentials(t testing.TB) map[string]string {
	t.Helper()
	k.URL = fmt.Sprintf("https://127.0.0.1:%d", freePort(t))
	ca := newAuthority(t)
	server := ca.server(t, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
	for name, content := range map[string][]byte{
		"ca.crt": ca.pem, "apiserver.crt": server.cert, "apiserver.key": server.key, "accounts.key": encodeKey(t, newKey(t)),
	} {
		require.NoError(t, os.WriteFile(k.path(name), content, 0o600))
	}
	paths := map[string]string{}
	for name, client := range map[string]pair{
		"admin":     ca.client(t, "admin", "system:masters"),
		"scheduler": ca.client(t, "system:kube-scheduler"),
		"kubelet":   ca.client(t, "system:node:local", "system:nodes"),
	} {
		paths[name] = k.path(name + ".conf")
		require.NoError(t, os.WriteFile(paths[name], kubeconfig(t, k.URL, ca, client), 0o600))
		if name == "admin" {
			k.Kubeconfig, k.cert = paths[name], client
		}
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	cert, err := tls.X509KeyPair(k.cert.cert, k.cert.key)
	require.NoError(t, err)
	k.admin = &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}}, DisableKeepAlives: true,
	}}
	return paths
}

// kubeconfig is how a client reaches a cluster. JSON is YAML.
func kubeconfig(t testing.TB, server string, ca *authority, client pair) []byte {
	t.Helper()
	type named map[string]any
	encode := base64.StdEncoding.EncodeToString
	content, err := json.Marshal(named{
		"apiVersion": "v1", "kind": "Config", "current-context": "test",
		"clusters": []named{{"name": "test", "cluster": named{"server": server, "certificate-authority-data": encode(ca.pem)}}},
		"users":    []named{{"name": "test", "user": named{"client-certificate-data": encode(client.cert), "client-key-data": encode(client.key)}}},
		"contexts": []named{{"name": "test", "context": named{"cluster": "test", "user": "test"}}},
	})
	require.NoError(t, err)
	return content
}

// Do sends a request to the API as somebody who may do everything, with a body in YAML or JSON, and returns the answer's. A status that
// is not good is an error.
func (k *Kubernetes) Do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	return answer(ctx, k.admin, method, k.URL+path, body)
}

func answer(ctx context.Context, client *http.Client, method, url string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/yaml")
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %.500s", method, url, resp.Status, content)
	}
	return content, err
}

// answers returns a check for a path of the API: it exists, and its content is good.
func (k *Kubernetes) answers(path string, good func([]byte) error) func(context.Context) error {
	return func(ctx context.Context) error {
		content, err := k.Do(ctx, http.MethodGet, path, nil)
		if err == nil && good != nil {
			err = good(content)
		}
		return err
	}
}

// ready reports whether the conditions of an object say that it is ready.
func ready(object []byte) error {
	var o struct {
		Status struct {
			Conditions []struct{ Type, Status string }
		}
	}
	if err := json.Unmarshal(object, &o); err != nil {
		return err
	}
	for _, c := range o.Status.Conditions {
		if c.Type == "Ready" && c.Status == "True" {
			return nil
		}
	}
	return errors.New("it is not ready")
}

// PodLog returns what the containers of a pod wrote so far, each under its name and the number of its restart.
func (k *Kubernetes) PodLog(t testing.TB, namespace, pod string) string {
	t.Helper()
	dir := k.path(filepath.Join("kubelet", "logs", namespace, pod))
	files, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return "" // nothing has started
	}
	require.NoError(t, err)
	// In the order of their starts.
	sort.SliceStable(files, func(i, j int) bool { return modified(t, files[i]) < modified(t, files[j]) })
	var b strings.Builder
	for _, f := range files {
		content, err := os.ReadFile(filepath.Join(dir, f.Name()))
		require.NoError(t, err)
		fmt.Fprintf(&b, "== %s\n%s", strings.TrimSuffix(f.Name(), ".log"), content)
	}
	return b.String()
}

func modified(t testing.TB, f os.DirEntry) int64 {
	t.Helper()
	fi, err := f.Info()
	require.NoError(t, err)
	return fi.ModTime().UnixNano()
}

// KillContainer kills the process of a container, by the identifier in the pod's status, as a machine that runs out of memory would.
// It reports whether there was one.
func (k *Kubernetes) KillContainer(id string) (bool, error) {
	pid, err := strconv.Atoi(strings.TrimPrefix(id, "local://"))
	if err != nil {
		return false, fmt.Errorf("identifier of a container %q: want local:// and the id of its process", id)
	}
	// Somebody else may have got the number since.
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", k.kubelet.cmd.Process.Pid)) {
		return false, nil
	}
	err = syscall.Kill(pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return false, nil
	}
	return err == nil, err
}
