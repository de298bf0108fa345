// Package esserver starts a real Elasticsearch for tests, from the jars that its project publishes.
//
// The first start of a version fetches the jars with Maven, compiles a small launcher, and makes an archive of the classes that a
// node loads; all are kept in the user's cache directory. Every node listens on 127.0.0.1 only, on free ports, keeps its data in a
// temporary directory, and dies with the process that started it.
package esserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/escrow-backup/escrow/internal/e2e/need"
)

// Version of Elasticsearch, such as "8.19.0".
type Version string

// The versions that the tests run on.
const (
	V8 Version = "8.19.0"
	V9 Version = "9.5.2"
)

// Options of a cluster; nil and the zero value work.
type Options struct {
	Nodes    int               // default 1
	HeapMB   int               // of each node; default 1024, with several nodes 768
	Settings map[string]string // of every node, beside the defaults
	// Optimize has the JVM compile busy code a second time, for speed: for measurements. In tests, which end before that pays, it takes
	// as much processor time as all else that a node does.
	Optimize bool
	// Transport is given the address at which a node listens for the others, and returns the one that they are told: such as of
	// something in between. Default: the same.
	Transport func(node int, addr string) string
}

// Cluster is a running Elasticsearch.
type Cluster struct {
	Version Version
	Nodes   []*Node
}

// startLimit is how long nodes may take to form a cluster on a busy machine.
const startLimit = 3 * time.Minute

// Start starts a cluster that ends with the test. The ends of the nodes' logs are printed if the test fails.
func Start(t testing.TB, v Version, o *Options) *Cluster {
	t.Helper()
	Available(t, v)
	c, err := Launch(t.Context(), t.TempDir(), v, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if t.Failed() {
			t.Log(c.LogTail())
		}
	})
	return c
}

// Available ends the test, as package need says, if the version cannot be run here.
func Available(t testing.TB, v Version) {
	t.Helper()
	if err := Install(v); err != nil {
		need.Missing(t, "%v", err)
	}
}

// Launch starts a cluster that lives until Close, with its data and logs in dir.
func Launch(ctx context.Context, dir string, v Version, o *Options) (*Cluster, error) {
	if o == nil {
		o = &Options{}
	}
	inst, err := install(v)
	if err != nil {
		return nil, err
	}
	// Between choosing a free port and listening on it another process may take it.
	for try := 1; ; try++ {
		c, err := launch(ctx, filepath.Join(dir, fmt.Sprintf("try-%d", try)), v, inst, *o)
		if err == nil {
			return c, nil
		}
		tail := c.LogTail()
		c.Close()
		if try == 4 || !strings.Contains(tail, "BindHttpException") && !strings.Contains(tail, "BindTransportException") {
			return nil, fmt.Errorf("start elasticsearch %s: %w\n%s", v, err, tail)
		}
	}
}

func launch(ctx context.Context, dir string, v Version, inst installation, o Options) (*Cluster, error) {
	c := &Cluster{Version: v}
	nodes, heap := max(o.Nodes, 1), o.HeapMB
	if heap == 0 {
		heap = 1024
		if nodes > 1 {
			heap = 768
		}
	}
	classPath, err := inst.classPath()
	if err != nil {
		return c, err
	}
	level := "-XX:TieredStopAtLevel=1"
	if o.Optimize {
		level = "-XX:TieredStopAtLevel=4"
	}
	ports, err := freePorts(2 * nodes)
	if err != nil {
		return c, err
	}
	var names, seeds []string
	for i := range nodes {
		names = append(names, fmt.Sprintf("n%d", i+1))
		seed := fmt.Sprintf("127.0.0.1:%d", ports[2*i+1])
		if o.Transport != nil {
			seed = o.Transport(i, seed)
		}
		seeds = append(seeds, seed)
	}
	for i, name := range names {
		n := &Node{Name: name, URL: fmt.Sprintf("http://127.0.0.1:%d", ports[2*i]), log: filepath.Join(dir, name+".log"),
			data: filepath.Join(dir, name, "data")}
		settings := map[string]string{
			"cluster.name":           "escrow-e2e",
			"node.name":              name,
			"network.host":           "127.0.0.1",
			"http.port":              fmt.Sprint(ports[2*i]),
			"transport.port":         fmt.Sprint(ports[2*i+1]),
			"transport.publish_port": seeds[i][strings.LastIndexByte(seeds[i], ':')+1:],
			"path.data":              n.data,
			"path.logs":              filepath.Join(dir, name, "logs"),
			"path.repo":              filepath.Join(dir, "snapshots"),
			"cluster.routing.allocation.disk.threshold_enabled": "false",
			// Each look at the disks takes blocks away that allow deletes, those of the tests too.
			"cluster.info.update.interval": "1h",
			// The breaker that looks at the heap expects G1, which it tells to collect. The serial collector, which is quicker to start,
			// lets garbage fill the heap until something is allocated: when all requests are refused, nothing is.
			"indices.breaker.total.use_real_memory": "false",
		}
		if nodes == 1 {
			settings["discovery.type"] = "single-node"
		} else {
			settings["discovery.seed_hosts"] = strings.Join(seeds, ",")
			settings["cluster.initial_master_nodes"] = strings.Join(names, ",")
		}
		for k, value := range o.Settings {
			settings[k] = value
		}
		n.args = slices.Concat(inst.flags, []string{
			fmt.Sprintf("-Xms%dm", heap), fmt.Sprintf("-Xmx%dm", heap),
			"-XX:+UseSerialGC", level, "-XX:-UsePerfData",
			"-Djava.io.tmpdir=" + filepath.Join(dir, name, "tmp"),
			"-cp", classPath, "escrow.launcher.Launcher", inst.home(),
		}, pairs(settings))
		n.java = inst.jdk.program("java")
		for _, sub := range []string{"data", "logs", "tmp"} {
			if err := os.MkdirAll(filepath.Join(dir, name, sub), 0o700); err != nil {
				return c, err
			}
		}
		c.Nodes = append(c.Nodes, n)
	}
	for _, n := range c.Nodes {
		if err := n.start(); err != nil {
			return c, err
		}
	}
	return c, c.Await(ctx, nodes)
}

// URL is the address of the first node that runs.
func (c *Cluster) URL() string {
	for _, n := range c.Nodes {
		if n.Running() {
			return n.URL
		}
	}
	return c.Nodes[0].URL
}

// Await waits until the cluster has that many nodes and no primary shard is missing, or a node has died.
func (c *Cluster) Await(ctx context.Context, nodes int) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	path := fmt.Sprintf("/_cluster/health?wait_for_nodes=%d&wait_for_status=yellow&timeout=5s", nodes)
	var last error
	for {
		for _, n := range c.Nodes {
			if err := n.died(); err != nil {
				return err
			}
		}
		if last = get(ctx, c.URL()+path); last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", errors.Join(ctx.Err(), last))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Close ends every node. Its data and logs stay in the directory.
func (c *Cluster) Close() {
	for _, n := range c.Nodes {
		n.Kill()
	}
}

// LogTail is the last lines of every node's log.
func (c *Cluster) LogTail() string {
	var b strings.Builder
	for _, n := range c.Nodes {
		fmt.Fprintf(&b, "--- the end of the log of %s (elasticsearch %s)\n%s", n.Name, c.Version, tail(n.log, 6<<10))
	}
	return b.String()
}

func tail(name string, size int64) string {
	f, err := os.Open(name)
	if err != nil {
		return err.Error() + "\n"
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > size {
		if _, err := f.Seek(-size, io.SeekEnd); err != nil {
			return err.Error() + "\n"
		}
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return err.Error() + "\n"
	}
	return string(text)
}

func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	return send(req)
}

// send sends a request that must be answered with 200.
func send(req *http.Request) error {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", req.Method, req.URL, resp.Status, body)
	}
	return err
}

// freePorts returns different ports that nobody listens on at the moment.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, e := net.Listen("tcp", "127.0.0.1:0")
		if e != nil {
			return nil, e
		}
		// All are held until the last is found, so that they differ.
		defer func() { err = errors.Join(err, l.Close()) }()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

func pairs(m map[string]string) []string {
	var out []string
	for k, v := range m {
		out = append(out, k+"="+v)
	}
	return out
}
