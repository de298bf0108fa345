package esserver

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// archive makes a class data archive of what a node loads, so that later nodes need not read and verify it again, and returns
// its path. It does nothing if there is one already. A JVM takes the archive of its own build only, so each JDK has another.
// It returns an empty path if the JDK comes without an archive of its own classes, which this one adds to.
func (i installation) archive(v Version) (string, error) {
	if _, err := os.Stat(filepath.Join(i.jdk.home, "lib", "server", "classes.jsa")); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	release, err := os.ReadFile(filepath.Join(i.jdk.home, "release"))
	if err != nil {
		return "", err
	}
	name := filepath.Join(i.dir, fmt.Sprintf("classes-%.6x.jsa", sha256.Sum256([]byte(i.jdk.home+"\n"+string(release)))))
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	dir, err := os.MkdirTemp("", "escrow-e2e-archive-*")
	if err != nil {
		return "", err
	}
	err = i.dump(dir, v, name+".new")
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		return "", fmt.Errorf("make the class data archive: %w", err)
	}
	return name, os.Rename(name+".new", name)
}

// dump has a node do some of what tests ask of nodes, and write down the classes that it has loaded.
func (i installation) dump(dir string, v Version, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	i.flags = []string{"-XX:ArchiveClassesAtExit=" + name, "-Xlog:cds=off", "-Xlog:cds+dynamic=off"}
	c, err := launch(ctx, dir, v, i, Options{HeapMB: 512})
	if err == nil {
		err = use(ctx, c.URL())
	}
	if err == nil {
		err = c.Nodes[0].end(time.Minute)
	}
	c.Close()
	if err == nil {
		_, err = os.Stat(name)
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, c.LogTail())
	}
	return nil
}

// use sends requests of the kinds that backups and restores send.
func use(ctx context.Context, url string) error {
	for _, r := range []struct{ method, path, body string }{
		{"PUT", "/used", `{"settings":{"number_of_shards":2,"number_of_replicas":0},"mappings":{"properties":{"k":{"type":"keyword"}}},"aliases":{"other":{}}}`},
		{"POST", "/used/_bulk", "{\"index\":{\"_id\":\"1\"}}\n{\"k\":\"a\",\"n\":1,\"t\":\"text\",\"o\":{\"x\":1.5}}\n{\"delete\":{\"_id\":\"2\"}}\n"},
		{"POST", "/used/_refresh", ""},
		{"POST", "/used/_flush", ""},
		{"POST", "/used/_search?scroll=1m", `{"sort":["_doc"],"query":{"range":{"_seq_no":{"gte":0}}},"aggs":{"m":{"max":{"field":"_seq_no"}}}}`},
		{"DELETE", "/_search/scroll/_all", ""},
		{"POST", "/used/_pit?keep_alive=1m", ""},
		{"GET", "/used/_stats?level=shards", ""},
		{"GET", "/_cluster/state", ""},
		{"DELETE", "/used", ""},
	} {
		req, err := http.NewRequestWithContext(ctx, r.method, url+r.path, strings.NewReader(r.body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		if err := send(req); err != nil {
			return err
		}
	}
	return nil
}

// end asks the node to end, and waits until it has.
func (n *Node) end(limit time.Duration) error {
	n.mu.Lock()
	p := n.proc
	p.killed = true
	err := syscall.Kill(p.cmd.Process.Pid, syscall.SIGTERM)
	n.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(limit):
		return fmt.Errorf("node %s did not end in %s", n.Name, limit)
	}
}
