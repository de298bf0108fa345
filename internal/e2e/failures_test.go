package e2e_test

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/esproxy"
	"github.com/escrow-backup/escrow/internal/e2e/esserver"
	"github.com/escrow-backup/escrow/internal/e2e/need"
	"github.com/escrow-backup/escrow/restore"
)

// victim is an index, a repository that holds one snapshot of it, and a proxy before its server.
type victim struct {
	e     *es
	cli   *cli
	proxy *esproxy.Proxy
	index string
}

func newVictim(t *testing.T, e *es, index string, docs int) *victim {
	t.Helper()
	logs(t, e, index, 2, docs)
	c := newCLI(t)
	c.init(t)
	c.ok(t, "backup", "--es", e.url, "--index", index)
	return &victim{e, c, esproxy.Start(t, e.url, nil), index}
}

// backup runs a full backup through the proxy.
func (v *victim) backup(t *testing.T, args ...string) result {
	t.Helper()
	return v.cli.run(t, append([]string{"backup", "--full", "--es", v.proxy.URL, "--index", v.index}, args...)...)
}

// restore restores under another name through the proxy.
func (v *victim) restore(t *testing.T, args ...string) result {
	t.Helper()
	return v.cli.run(t, append([]string{"restore", "--quiet", "--es", v.proxy.URL, "--rename", v.index + "=" + v.copy()}, args...)...)
}

func (v *victim) copy() string { return v.index + "-copy" }

// untouched requires that a failed backup left nothing behind: no snapshot, no damage, nothing open on the server.
func (v *victim) untouched(t *testing.T) {
	t.Helper()
	v.proxy.Clear()
	require.Len(t, v.cli.snapshots(t), 1)
	v.cli.clean(t)
	noContexts(t, v.e, v.index)
}

// complete requires that the copy is there in full, and removes it.
func (v *victim) complete(t *testing.T) {
	t.Helper()
	v.proxy.Clear()
	v.cli.identical(t, v.e, "--rename", v.index+"="+v.copy())
	v.e.remove(t, v.copy())
}

// absent requires that a failed restore left no index that could be taken for a whole one.
func (v *victim) absent(t *testing.T) {
	t.Helper()
	v.proxy.Clear()
	require.False(t, v.e.exists(t, v.copy()), "a half-done index was left behind")
	noContexts(t, v.e, v.index)
}

func method(m, suffix string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == m && strings.HasSuffix(r.URL.Path, suffix) }
}

func TestWrongRepository(t *testing.T) {
	c := newCLI(t)
	c.run(t, "snapshots").failed(t, 1, c.repo, "no repository")
	c.ok(t, "init")
	c.run(t, "init").failed(t, 1, c.repo, "exist")
	c.with("RESTIC_PASSWORD=guess").run(t, "snapshots").failed(t, 1, c.repo, "wrong password")
	c.with("RESTIC_PASSWORD=").run(t, "snapshots").failed(t, 2, "RESTIC_PASSWORD")
	c.run(t, "restore", "--es", "http://127.0.0.1:9", "--snapshot", "latest").failed(t, 1, "latest")
	c.run(t, "snapshots", "--no-such-flag").failed(t, 2, "no-such-flag")
	c.run(t, "backup", "--es", "http://127.0.0.1:9", "--repo", "nosuch:there").failed(t, 1, "nosuch")

	other := newCLI(t)
	require.NoError(t, os.MkdirAll(other.repo, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(other.repo, "config"), []byte("this is not a repository's configuration"), 0o600))
	other.run(t, "snapshots").failed(t, 1, other.repo)
}

func TestUnreachableCluster(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	c := newCLI(t)
	c.init(t)
	c.run(t, "backup", "--quiet", "--retries", "2", "--es", "http://"+address).failed(t, 1, address, "refused")
	require.Empty(t, c.snapshots(t))
}

func TestCredentials(t *testing.T) {
	onEach(t, func(t *testing.T, e *es) {
		const index = "auth"
		logs(t, e, index, 1, 500)
		c := newCLI(t)
		c.init(t)
		dir := t.TempDir()
		file := func(name string, b []byte) string {
			name = filepath.Join(dir, name)
			require.NoError(t, os.WriteFile(name, b, 0o600))
			return name
		}
		plain := esproxy.Start(t, e.url, &esproxy.Options{TLS: true, Username: "elastic", Password: "s3cret/ü"})
		args := []string{"backup", "--index", index, "--es", plain.URL, "--ca-cert", file("ca.pem", plain.CA)}
		c.run(t, args...).failed(t, 1, "401")
		r := c.with("ES_USERNAME=elastic", "ES_PASSWORD=wr0ng").run(t, args...)
		r.failed(t, 1, "401")
		require.NotContains(t, r.stderr, "wr0ng")
		c.with("ES_USERNAME=elastic", "ES_PASSWORD=s3cret/ü").run(t, args[:5]...).failed(t, 1, "certificate")
		require.Empty(t, c.snapshots(t))
		c.with("ES_USERNAME=elastic", "ES_PASSWORD=s3cret/ü").ok(t, args...)

		key := esproxy.Start(t, e.url, &esproxy.Options{TLS: true, APIKey: "aWQ6a2V5"})
		args = []string{"backup", "--index", index, "--es", key.URL, "--ca-cert", file("ca2.pem", key.CA)}
		c.with("ES_API_KEY=b3RoZXI=").run(t, args...).failed(t, 1, "401")
		c.with("ES_API_KEY=aWQ6a2V5").ok(t, args...)
		require.Len(t, c.snapshots(t), 2)
		c.identical(t, e)

		// The way back is as well guarded.
		const back = index + "-back"
		e.removeLater(t, back)
		args = append([]string{"restore", "--rename", index + "=" + back}, args[3:]...)
		c.run(t, args...).failed(t, 1, "401")
		require.False(t, e.exists(t, back))
		c.with("ES_API_KEY=aWQ6a2V5").ok(t, args...)
		args[0] = "verify"
		c.with("ES_API_KEY=b3RoZXI=").run(t, args...).failed(t, 1, "401")
		c.with("ES_API_KEY=aWQ6a2V5").ok(t, args...)
		require.EqualValues(t, 500, e.count(t, back))

		// A client certificate, as an AppBinding names it.
		mutual := esproxy.Start(t, e.url, &esproxy.Options{ClientCertificate: true, Username: "elastic", Password: "s3cret/ü"})
		secrets := t.TempDir()
		for name, data := range map[string]string{
			"auth/username": "elastic", "auth/password": "s3cret/ü",
			"tls/ca.crt": string(mutual.CA), "tls/tls.crt": string(mutual.ClientCert), "tls/tls.key": string(mutual.ClientKey),
		} {
			name = filepath.Join(secrets, name)
			require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
			require.NoError(t, os.WriteFile(name, []byte(data), 0o600))
		}
		binding := file("binding.json", mustJSON(t, map[string]any{
			"apiVersion": "appcatalog.appscode.com/v1alpha1", "kind": "AppBinding",
			"metadata": map[string]any{"name": "es", "namespace": "demo"},
			"spec": map[string]any{
				"type":         "kubedb.com/elasticsearch",
				"clientConfig": map[string]any{"url": mutual.URL, "caBundle": mutual.CA},
				"secret":       map[string]any{"name": "auth"},
				"tlsSecret":    map[string]any{"name": "tls"},
			},
		}))
		c.ok(t, "backup", "--index", index, "--appbinding", binding, "--secrets", secrets)
		require.Len(t, c.snapshots(t), 3)
	})
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return b
}

// TestUnhappyTargets: indices that cannot take what is restored.
func TestUnhappyTargets(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, e *es) {
		v := newVictim(t, e, "unhappy", 3_000)
		e.removeLater(t, v.copy())

		// It exists.
		e.create(t, v.copy(), `{"settings":{"number_of_replicas":0}}`)
		v.restore(t).failed(t, 1, v.copy(), "exist")
		require.Zero(t, e.count(t, v.copy()))
		require.Zero(t, v.restore(t, "--conflict", "skip").code)
		require.Zero(t, e.count(t, v.copy()))

		// It is read-only.
		e.do(t, "PUT", "/"+v.copy()+"/_settings", `{"index.blocks.write":true}`)
		v.restore(t, "--conflict", "merge").failed(t, 1, v.copy(), "block")
		e.do(t, "PUT", "/"+v.copy()+"/_settings", `{"index.blocks.write":false}`)
		require.Zero(t, e.count(t, v.copy()))

		// Its mapping does not take some of the documents: all the others arrive, and those are named.
		e.create(t, v.copy(), `{"settings":{"number_of_replicas":0},"mappings":{"dynamic":false,"properties":{"level":{"type":"keyword"},"took":{"type":"byte"}}}}`)
		r := v.restore(t, "--conflict", "merge", "--json")
		r.failed(t, 1, v.copy(), "document_parsing_exception")
		refused := int64(0)
		for _, line := range objects(t, r.stdout) {
			var o struct {
				Type  string `json:"message_type"`
				Index string
				ID    string
				Kind  string `json:"type"`
			}
			require.NoError(t, json.Unmarshal(line, &o))
			require.NotEqual(t, "summary", o.Type, "a failed restore prints no summary")
			if o.Type == "rejection" {
				require.Equal(t, v.copy(), o.Index)
				require.NotEmpty(t, o.ID)
				require.Equal(t, "document_parsing_exception", o.Kind)
				refused++
			}
		}
		require.Equal(t, tookNoByte(t, 3_000), refused)
		require.Equal(t, 3_000-refused, e.count(t, v.copy()))
		v.cli.run(t, "verify", "--es", e.url, "--rename", v.index+"="+v.copy()).failed(t, 1, "differ")

		// Replaced, all is well.
		r = v.restore(t, "--conflict", "replace")
		require.Zero(t, r.code, r.stderr)
		v.complete(t)
	})
}

// tookNoByte is how many of the log lines took longer than a byte can say.
func tookNoByte(t *testing.T, n int) (many int64) {
	t.Helper()
	r := seeded(uint64(n))
	for i := range n {
		var line struct{ Took float64 }
		require.NoError(t, json.Unmarshal(logLine(r, i), &line))
		if line.Took >= 128 {
			many++
		}
	}
	require.Greater(t, many, int64(0))
	require.Less(t, many, int64(n))
	return many
}

// TestFaultsWhileReading: answers that are short, and how often.
func TestFaultsWhileReading(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, e *es) {
		v := newVictim(t, e, "reading", 12_000)
		cut, few := int64(300_000), int64(30)
		page := esproxy.BodyHas("/_search", `"sort":[{"_seq_no"`)
		count := esproxy.BodyHas("/_search", `"aggs"`)
		for _, f := range []struct {
			name string
			rule esproxy.Rule
			word string // of the error when it happens always; empty: there is none
		}{
			{"failed shard", esproxy.Rule{Match: page, Mutate: esproxy.MutateJSON(func(a map[string]any) { esproxy.FailShard(a); esproxy.DropHalf(a) })}, "shard"},
			{"timed out", esproxy.Rule{Match: page, Mutate: esproxy.MutateJSON(func(a map[string]any) { a["timed_out"] = true; esproxy.DropHalf(a) })}, "time"},
			{"short without a word", esproxy.Rule{Match: page, Mutate: esproxy.MutateJSON(esproxy.DropHalf)}, "document"},
			{"counts of a failed shard", esproxy.Rule{Match: count, Mutate: esproxy.MutateJSON(esproxy.FailShard)}, "shard"},
			{"counts cut", esproxy.Rule{Match: count, Cut: &few}, "EOF"},
			{"cut before a document", esproxy.Rule{Match: page, Cut: &few}, "EOF"},
			{"cut", esproxy.Rule{Match: page, Cut: &cut}, ""}, // what has arrived counts
			{"429", esproxy.Rule{Match: page, Status: 429}, "429"},
			{"503", esproxy.Rule{Match: page, Status: 503}, "503"},
			{"refresh with a failed shard", esproxy.Rule{Match: esproxy.PathEnds("/_refresh"), Mutate: esproxy.MutateJSON(esproxy.FailShard)}, "refresh"},
			{"statistics with a failed shard", esproxy.Rule{Match: func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/_stats") }, Mutate: esproxy.MutateJSON(esproxy.FailShard)}, "stat"},
			{"no point in time", esproxy.Rule{Match: method("POST", "/_pit"), Status: 503}, "_pit"},
		} {
			t.Run(f.name+" once", func(t *testing.T) {
				defer v.proxy.Clear()
				rule := f.rule
				rule.Times = 2
				v.proxy.Add(&rule)
				r := v.backup(t)
				require.Equal(t, 2, v.proxy.Applied(&rule), r.stderr)
				v.proxy.Clear()
				require.Zero(t, r.code, r.stderr)
				v.cli.identical(t, e)
				v.cli.clean(t)
				noContexts(t, e, v.index)
				require.Len(t, v.cli.snapshots(t), 2)
				v.forget(t)
			})
			t.Run(f.name+" always", func(t *testing.T) {
				defer v.proxy.Clear()
				rule := f.rule
				v.proxy.Add(&rule)
				r := v.backup(t, "--quiet", "--retries", "2")
				if f.word != "" {
					r.failed(t, 1, v.index, f.word)
					v.untouched(t)
					return
				}
				require.Greater(t, v.proxy.Applied(&rule), 5)
				v.proxy.Clear()
				require.Zero(t, r.code, r.stderr)
				v.cli.identical(t, e)
				v.forget(t)
			})
		}
	})
}

// forget removes the last snapshot, so that the next test finds one.
func (v *victim) forget(t *testing.T) {
	t.Helper()
	ids := v.cli.snapshots(t)
	require.NoError(t, os.Remove(filepath.Join(v.cli.repo, "snapshots", ids[len(ids)-1])))
}

// TestFaultsWhileLoading: bulk requests that are refused, or whose answer never comes.
func TestFaultsWhileLoading(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, e *es) {
		v := newVictim(t, e, "loading", 40_000)
		e.removeLater(t, v.copy())
		bulk := esproxy.PathEnds("/_bulk")
		cut := int64(100)
		for _, f := range []struct {
			name string
			rule esproxy.Rule
			word string
		}{
			{"429", esproxy.Rule{Match: bulk, Skip: 1, Status: 429}, "429"},
			{"503", esproxy.Rule{Match: bulk, Skip: 1, Status: 503}, "503"},
			{"cut", esproxy.Rule{Match: bulk, Skip: 1, Cut: &cut}, "EOF"},
		} {
			t.Run(f.name+" once", func(t *testing.T) {
				defer v.proxy.Clear()
				rule := f.rule
				rule.Times = 1
				v.proxy.Add(&rule)
				r := v.restore(t)
				require.Equal(t, 1, v.proxy.Applied(&rule), r.stderr)
				require.Zero(t, r.code, r.stderr)
				v.complete(t)
			})
			t.Run(f.name+" always", func(t *testing.T) {
				defer v.proxy.Clear()
				rule := f.rule
				v.proxy.Add(&rule)
				v.restore(t, "--quiet", "--retries", "2").failed(t, 1, v.copy(), f.word)
				v.absent(t)
			})
		}
		t.Run("items without a word", func(t *testing.T) {
			v.proxy.Add(&esproxy.Rule{Match: bulk, Mutate: esproxy.MutateJSON(func(a map[string]any) {
				if items, ok := a["items"].([]any); ok {
					a["items"] = items[:len(items)-1]
				}
			})})
			v.restore(t).failed(t, 1, v.copy())
			v.absent(t)
		})
	})
}

// TestSmallWriteQueue: a server whose write queue is too small answers 429 for single items, for real.
func TestSmallWriteQueue(t *testing.T) {
	v := versions()[0]
	c := esserver.Start(t, v, &esserver.Options{HeapMB: 512, Settings: map[string]string{
		"node.processors": "1", "thread_pool.write.queue_size": "2",
	}})
	quiet := server(t, v)
	const index = "queue"
	logs(t, quiet, index, 4, 20_000)
	cli := newCLI(t)
	cli.init(t)
	cli.ok(t, "backup", "--es", quiet.url, "--index", index)
	busy := &es{url: c.URL(), version: v}
	var sum struct{ Documents, Retried, Rejected int64 }
	cli.summary(t, &sum, "restore", "--es", busy.url)
	require.EqualValues(t, 20_000, sum.Documents)
	require.Positive(t, sum.Retried, "the queue was never full: nothing was shown")
	require.Zero(t, sum.Rejected)
	cli.identical(t, busy)
}

// TestSignals: what a person's Ctrl-C and Kubernetes' SIGTERM leave behind.
func TestSignals(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, e *es) {
		v := newVictim(t, e, "signals", 40_000)
		e.removeLater(t, v.copy())
		for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
			t.Run("backup "+sig.String(), func(t *testing.T) {
				r := v.signalled(t, sig, esproxy.PathEnds("/_search"), 5,
					"backup", "--full", "--quiet", "--es", v.proxy.URL, "--index", v.index)
				r.failed(t, 1, "backup", "interrupted")
				v.untouched(t)
			})
			t.Run("restore "+sig.String(), func(t *testing.T) {
				r := v.signalled(t, sig, esproxy.PathEnds("/_bulk"), 1,
					"restore", "--quiet", "--es", v.proxy.URL, "--rename", v.index+"="+v.copy())
				r.failed(t, 1, "restore", "interrupted")
				v.absent(t)
			})
		}
		t.Run("backup while it opens", func(t *testing.T) {
			r := v.signalled(t, os.Interrupt, method(http.MethodPost, "/_pit"), 1, "backup", "--full", "--quiet", "--es", v.proxy.URL, "--index", v.index)
			r.failed(t, 1, "backup", "interrupted")
			v.untouched(t)
		})
		t.Run("replace", func(t *testing.T) {
			e.create(t, v.copy(), `{"settings":{"number_of_replicas":1,"refresh_interval":"11s","default_pipeline":"absent"},"aliases":{"signals-alias":{}}}`)
			e.do(t, "PUT", "/"+v.copy()+"/_doc/old?pipeline=_none&refresh=true", `{"old":1}`)
			before := string(e.do(t, "GET", "/"+v.copy(), ""))
			args := []string{"restore", "--quiet", "--es", v.proxy.URL, "--rename", v.index + "=" + v.copy(), "--conflict", "replace"}
			v.signalled(t, os.Interrupt, esproxy.PathEnds("/_bulk"), 1, args...).failed(t, 1, "restore", "interrupted")
			v.proxy.Clear()
			require.JSONEq(t, before, string(e.do(t, "GET", "/"+v.copy(), "")))
			require.EqualValues(t, 1, e.count(t, v.copy()))
			require.Equal(t, "{}", string(e.do(t, "GET", "/"+v.copy()+"-escrow-*?expand_wildcards=all", "")))
			noContexts(t, e, v.index)
			// The old index is gone by then: what has begun is brought to its end.
			v.signalled(t, os.Interrupt, method(http.MethodPut, "/_clone/"+v.copy()), 0, args...)
			v.proxy.Clear()
			require.Equal(t, "{}", string(e.do(t, "GET", "/"+v.copy()+"-escrow-*?expand_wildcards=all", "")))
			v.complete(t)
		})
		t.Run("restore killed", func(t *testing.T) {
			r := v.signalled(t, os.Kill, esproxy.PathEnds("/_bulk"), 1,
				"restore", "--quiet", "--es", v.proxy.URL, "--rename", v.index+"="+v.copy())
			require.Equal(t, -1, r.code)
			v.proxy.Clear()
			require.Contains(t, string(e.do(t, "GET", "/"+v.copy()+"/_alias", "")), restore.UnfinishedPrefix)
			v.restore(t).failed(t, 1, v.copy(), "exist", "Resume goes on with it")
			require.Zero(t, v.restore(t, "--resume").code)
			require.NotContains(t, string(e.do(t, "GET", "/"+v.copy()+"/_alias", "")), restore.UnfinishedPrefix)
			r = v.signalled(t, os.Kill, esproxy.PathEnds("/_bulk"), 1,
				"restore", "--quiet", "--es", v.proxy.URL, "--rename", v.index+"="+v.copy(), "--conflict", "replace")
			require.Equal(t, -1, r.code)
			v.proxy.Clear()
			v.restore(t, "--conflict", "replace").failed(t, 1, v.copy()+"-escrow-", "Resume takes it away")
			require.Zero(t, v.restore(t, "--conflict", "replace", "--resume").code)
			require.Equal(t, "{}", string(e.do(t, "GET", "/"+v.copy()+"-escrow-*?expand_wildcards=all", "")))
			require.NotContains(t, string(e.do(t, "GET", "/"+v.copy()+"/_alias", "")), restore.UnfinishedPrefix)
			v.complete(t)
		})
	})
}

// signalled runs a command and sends it a signal when the request after the first skip matching ones arrives at the proxy,
// which holds that request back until the signal has been sent.
func (v *victim) signalled(t *testing.T, sig os.Signal, match func(*http.Request) bool, skip int, args ...string) result {
	t.Helper()
	started := make(chan struct{})
	cmd := v.cli.command(t, args...)
	rule := &esproxy.Rule{Match: match, Skip: skip, Times: 1, Before: func(*http.Request) {
		<-started
		if err := cmd.Process.Signal(sig); err != nil {
			t.Errorf("signal: %v", err)
		}
	}}
	v.proxy.Add(rule)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Start())
	close(started)
	_ = cmd.Wait() // the exit code says all
	require.Equal(t, 1, v.proxy.Applied(rule), "it ended before the signal: %s", stderr.String())
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// TestFullDisk runs everything in a mount namespace of its own, on a file system that is too small and then grows.
func TestFullDisk(t *testing.T) {
	e := server(t, versions()[0])
	const index = "disk"
	logs(t, e, index, 2, 100_000)
	unshare := need.Program(t, "unshare", "apt-get install util-linux")
	c := newCLI(t)
	require.NoError(t, os.MkdirAll(c.repo, 0o700))
	script := `set -u
mount -t tmpfs -o size=4m,mode=0700 tmpfs "$RESTIC_REPOSITORY" || exit 99
cd "$RESTIC_REPOSITORY"
"$ESCROW" init --quiet || exit 98
"$ESCROW" backup --quiet --es "$ES" --index "$INDEX" 2>&1; echo "code $?"
"$ESCROW" snapshots --quiet; echo "code $?"
cd / && mount -o remount,size=256m "$RESTIC_REPOSITORY" || exit 97
"$ESCROW" check --read-data --quiet; echo "code $?"
"$ESCROW" backup --quiet --es "$ES" --index "$INDEX" >/dev/null; echo "code $?"
"$ESCROW" verify --quiet --es "$ES"; echo "code $?"
`
	cmd := c.with("ESCROW="+c.program, "ES="+e.url, "INDEX="+index).command(t)
	args := []string{unshare, "--mount"}
	if os.Getuid() != 0 {
		args = append(args, "--map-root-user")
	}
	cmd.Path, cmd.Args = unshare, append(args, "sh", "-c", script)
	r := finish(t, cmd)
	require.Zero(t, r.code, "%s%s", r.stdout, r.stderr)
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	require.Len(t, lines, 7, r.stdout)
	require.Contains(t, lines[0], "escrow: ")
	require.Contains(t, lines[0], "no space left on device")
	require.Equal(t, []string{"code 1", "code 0", "code 0", "code 0"}, lines[1:5], r.stdout)
	noContexts(t, e, index)

	// Standard output can be full, too.
	c = newCLI(t)
	c.init(t)
	c.ok(t, "backup", "--es", e.url, "--index", index)
	for _, args := range [][]string{{"dump", "latest", "manifest.json"}, {"snapshots", "--json"}, {"ls", "latest"}} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		require.NoError(t, err)
		cmd := c.command(t, args...)
		var stderr strings.Builder
		cmd.Stdout, cmd.Stderr = full, &stderr
		err = cmd.Run()
		require.NoError(t, full.Close())
		require.IsType(t, &exec.ExitError{}, err)
		result{cmd.ProcessState.ExitCode(), "", stderr.String()}.failed(t, 1, "no space left on device")
	}
}
