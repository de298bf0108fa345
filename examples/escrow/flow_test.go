package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/elastic/go-elasticsearch/v8"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/restore"
)

// fill creates an index with a filtered alias and n documents, routed by name if routed.
func fill(t *testing.T, es *elasticsearch.Client, name string, from, n int) {
	t.Helper()
	if from == 0 {
		res, err := es.Indices.Create(name, es.Indices.Create.WithBody(strings.NewReader(`{
			"settings": {"index": {"number_of_shards": 2, "number_of_replicas": 0}},
			"mappings": {"properties": {"n": {"type": "long"}, "user": {"type": "keyword"}}},
			"aliases": {"`+name+`-kim": {"filter": {"term": {"user": "kim"}}}}}`)))
		require.NoError(t, err)
		defer res.Body.Close()
		require.Equal(t, http.StatusOK, res.StatusCode)
	}
	_, err := restore.Load(t.Context(), es, func(yield func(restore.Document, error) bool) {
		for i := from; i < from+n; i++ {
			d := restore.Document{Index: name, ID: fmt.Sprint("id ", i), Source: fmt.Appendf(nil, `{"n":%d, "user":"kim"}`, i)}
			if i%3 == 0 {
				d.Routing = "a route"
			}
			if !yield(d, nil) {
				return
			}
		}
	}, nil)
	require.NoError(t, err)
}

func drop(t *testing.T, es *elasticsearch.Client, names ...string) {
	t.Helper()
	res, err := es.Indices.Delete(names)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
}

// cluster starts an Elasticsearch with two indices that asks for a password, which the shell knows.
func (s *shell) cluster() (*estest.Server, *elasticsearch.Client) {
	server := estest.New(s.t, &estest.Options{Username: "elastic", Password: esPassword})
	s.env["ES_USERNAME"], s.env["ES_PASSWORD"] = "elastic", esPassword
	es := server.Client()
	fill(s.t, es, "logs", 0, 300)
	fill(s.t, es, "orders", 0, 50)
	return server, es
}

func TestBackUpLoseRestoreVerify(t *testing.T) {
	s := newShell(t)
	server, es := s.cluster()
	made := s.objects(exitDone, "init")
	require.Len(t, made, 1)
	require.ElementsMatch(t, []string{"message_type", "id", "repository"}, keys(made[0]))
	require.Equal(t, s.repo(), made[0]["repository"])

	got := s.objects(exitDone, "backup", "--es", server.URL, "--tag", "nightly", "--tag", "first", "--host", "db-1")
	sum := got[len(got)-1]
	require.ElementsMatch(t, []string{"message_type", "snapshot_id", "parent", "indices", "documents", "documents_read", "bytes",
		"bytes_added", "segments", "segments_reused", "duration_seconds", "warnings", "omitted", "data_streams", "sections",
		"documents_reused", "segments_changed", "not_reused", "verified", "resumed"}, keys(sum))
	require.Equal(t, "summary", sum["message_type"])
	require.Regexp(t, `^[0-9a-f]{64}$`, sum["snapshot_id"])
	require.EqualValues(t, 2, sum["indices"])
	require.EqualValues(t, 350, sum["documents"])
	require.EqualValues(t, 350, sum["documents_read"])
	require.Empty(t, sum["parent"])
	require.Equal(t, []any{}, sum["omitted"])
	require.Positive(t, sum["bytes"])
	require.Positive(t, sum["bytes_added"])
	require.Positive(t, sum["segments"])
	require.EqualValues(t, 0, sum["segments_reused"])

	again := s.objects(exitDone, "backup", "--es", server.URL)
	next := again[len(again)-1]
	require.Equal(t, sum["snapshot_id"], next["parent"])
	require.EqualValues(t, 350, next["documents"])
	require.EqualValues(t, 0, next["documents_read"])
	require.Equal(t, next["segments"], next["segments_reused"])
	require.EqualValues(t, 350, next["documents_reused"])
	require.Equal(t, []any{}, next["not_reused"])

	full := s.objects(exitDone, "backup", "--es", server.URL, "--full", "--concurrency", "1")
	require.EqualValues(t, 350, full[len(full)-1]["documents_read"])

	drop(t, es, "logs", "orders")
	done := s.objects(exitDone, "restore", "--es", server.URL, "--snapshot", sum["snapshot_id"].(string)[:10])
	sum = done[len(done)-1]
	require.ElementsMatch(t, []string{"message_type", "snapshot_id", "dry_run", "indices", "skipped", "kept", "documents", "bytes", "left_out", "rejected",
		"retried", "duration_seconds", "omitted", "data_streams", "objects", "objects_left"}, keys(sum))
	require.EqualValues(t, 350, sum["documents"])
	require.EqualValues(t, 2, sum["indices"])
	require.Equal(t, false, sum["dry_run"])

	same := s.objects(exitDone, "verify", "--es", server.URL)
	require.Len(t, same, 1)
	require.ElementsMatch(t, []string{"message_type", "snapshot_id", "identical", "indices_checked", "indices_differing", "documents",
		"objects_differing", "duration_seconds", "omitted"}, keys(same[0]))
	require.Equal(t, true, same[0]["identical"])
	require.EqualValues(t, 350, same[0]["documents"])
	require.Contains(t, s.ok("verify", "--es", server.URL), "identical: 350 documents of 2 indices")
}

func TestBackupForAPerson(t *testing.T) {
	s := newShell(t)
	server, es := s.cluster()
	require.Contains(t, s.ok("init"), "created repository ")
	require.Empty(t, s.ok("snapshots", "--quiet"))
	first := s.ok("backup", "--es", server.URL, "--index", "logs", "--index", "ord*", "--exclude", "orders")
	require.Regexp(t, `\Asnapshot [0-9a-f]{8} saved in [0-9.]+ s\n  holds  300 documents of 1 index, `, first)
	require.Contains(t, first, "  read   300 documents\n")
	require.NotContains(t, first, "reused")
	fill(t, es, "logs", 300, 1)
	second := s.ok("backup", "--es", server.URL, "--index", "logs", "--index", "ord*", "--exclude", "orders")
	require.Contains(t, second, "  holds  301 documents of 1 index, ")
	require.Contains(t, second, "reused from snapshot "+first[len("snapshot "):][:8])
	require.Regexp(t, `\A[0-9a-f]{64}\n\z`, s.ok("backup", "--es", server.URL, "--quiet"))
}

func TestVerifyNamesWhatDiffers(t *testing.T) {
	s := newShell(t)
	server, es := s.cluster()
	s.init()
	s.ok("backup", "--es", server.URL)
	fill(t, es, "logs", 300, 1)
	res, err := es.Index("orders", strings.NewReader(`{"n":-1}`), es.Index.WithDocumentID("id 1"))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())

	code, stdout, stderr := s.run("verify", "--es", server.URL)
	require.Equal(t, exitFailed, code)
	require.Contains(t, stdout, "logs")
	require.Contains(t, stdout, "id 300")
	require.Contains(t, stdout, "id 1")
	require.Contains(t, stderr, "the cluster differs in 2 of 2 indices")

	got := s.objects(exitFailed, "verify", "--es", server.URL)
	require.Len(t, got, 3)
	require.ElementsMatch(t, []string{"message_type", "index", "missing", "metadata", "documents_missing", "documents_extra",
		"documents_changed", "examples"}, keys(got[0]))
	require.Equal(t, false, got[2]["identical"])
	require.EqualValues(t, 2, got[2]["indices_differing"])
	for _, o := range got[:2] {
		require.Equal(t, "difference", o["message_type"])
		if o["index"] == "logs" {
			require.EqualValues(t, 1, o["documents_extra"])
			require.Equal(t, []any{map[string]any{"id": "id 300", "routing": "a route", "kind": "extra"}}, o["examples"])
		} else {
			require.EqualValues(t, 1, o["documents_changed"])
		}
	}
	s.fails(exitFailed, []string{"excluded"}, "verify", "--es", server.URL, "--exclude", "logs", "--exclude", "orders")
}

func TestRestoreConflictsAndRenames(t *testing.T) {
	s := newShell(t)
	server, es := s.cluster()
	s.init()
	s.ok("backup", "--es", server.URL)
	s.fails(exitFailed, []string{"logs", "exist"}, "restore", "--es", server.URL)

	plan := s.objects(exitDone, "restore", "--es", server.URL, "--dry-run", "--rename", "l*=old-l*", "--conflict", "skip")
	require.Len(t, plan, 3)
	require.ElementsMatch(t, []string{"message_type", "data_stream", "from", "to", "action", "documents", "removed"}, keys(plan[0]))
	require.Equal(t, []any{"logs", "old-logs", "create"}, []any{plan[0]["from"], plan[0]["to"], plan[0]["action"]})
	require.Equal(t, []any{"orders", "orders", "skip"}, []any{plan[1]["from"], plan[1]["to"], plan[1]["action"]})
	require.Equal(t, true, plan[2]["dry_run"])
	require.EqualValues(t, 300, plan[2]["documents"])
	require.Contains(t, s.ok("restore", "--es", server.URL, "--dry-run", "--rename", "*=old-*"), "old-orders")
	s.fails(exitFailed, []string{"differs in 1 of 2 indices"}, "verify", "--es", server.URL, "--rename", "logs=old-logs")

	require.Contains(t, s.ok("restore", "--es", server.URL, "--rename", "l*=old-l*", "--conflict", "skip"),
		"skipped 1 index that exist")
	s.ok("verify", "--es", server.URL, "--rename", "l*=old-l*")

	fill(t, es, "logs", 300, 7) // merge leaves them, replace does not
	s.ok("restore", "--es", server.URL, "--conflict", "merge", "--index", "logs")
	s.fails(exitFailed, []string{"differs in 1 of 1 index"}, "verify", "--es", server.URL, "--index", "logs")
	s.ok("restore", "--es", server.URL, "--conflict", "replace", "--index", "logs", "--quiet")
	s.ok("verify", "--es", server.URL, "--index", "logs")
	s.fails(exitFailed, []string{"nothing"}, "restore", "--es", server.URL, "--index", "nothing")
}

func TestOmissionsAreNamed(t *testing.T) {
	s := newShell(t)
	server, es := s.cluster()
	res, err := es.Indices.Close([]string{"orders"})
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	s.init()
	s.fails(exitFailed, []string{"orders", "closed"}, "backup", "--es", server.URL)
	require.Contains(t, s.ok("snapshots"), "0 snapshots")

	got := s.objects(exitOmitted, "backup", "--es", server.URL, "--allow-omissions")
	sum := got[len(got)-1]
	require.EqualValues(t, 300, sum["documents"])
	require.Equal(t, []any{map[string]any{"what": "index orders", "why": "it is closed"}}, sum["omitted"])
	code, stdout, _ := s.run("verify", "--es", server.URL)
	require.Equal(t, exitOmitted, code)
	require.Contains(t, stdout, "omitted: index orders: it is closed\n")
	code, stdout, _ = s.run("restore", "--es", server.URL, "--rename", "*=new-*")
	require.Equal(t, exitOmitted, code)
	require.Contains(t, stdout, "omitted: index orders: it is closed\n")
	code, stdout, _ = s.run("backup", "--es", server.URL, "--allow-omissions", "--quiet", "--index", "logs", "--index", "orders")
	require.Equal(t, exitOmitted, code)
	require.Contains(t, stdout, "omitted: index orders: it is closed\n")
}

func TestLookAtSnapshots(t *testing.T) {
	s := newShell(t)
	server, _ := s.cluster()
	s.init()
	s.ok("backup", "--es", server.URL, "--tag", "a", "--tag", "b", "--host", "db-1")
	s.ok("backup", "--es", server.URL, "--tag", "b", "--host", "db-2")

	all := s.objects(exitDone, "snapshots")
	require.Len(t, all, 2)
	require.ElementsMatch(t, []string{"message_type", "snapshot_id", "short_id", "time", "hostname", "username", "tags", "paths", "parent",
		"tree", "bytes", "group"}, keys(all[0]))
	require.Equal(t, []any{"a", "b"}, all[0]["tags"])
	require.Equal(t, "db-2", all[1]["hostname"])
	require.Positive(t, all[1]["bytes"])
	require.Len(t, s.objects(exitDone, "snapshots", "--tag", "a"), 1)
	require.Len(t, s.objects(exitDone, "snapshots", "--tag", "b", "--host", "db-2"), 1)
	require.Len(t, s.objects(exitDone, "snapshots", "--tag", "a,b"), 1)
	require.Len(t, s.objects(exitDone, "snapshots", "--host", "db-1", "--host", "db-2"), 2)
	require.Empty(t, s.objects(exitDone, "snapshots", "--tag", "c"))
	require.Len(t, s.objects(exitDone, "snapshots", "--path", all[0]["paths"].([]any)[0].(string)), 2)
	require.Empty(t, s.objects(exitDone, "snapshots", "--path", "/elsewhere"))
	between := all[1]["time"].(string)
	require.Equal(t, all[1]["snapshot_id"], s.objects(exitDone, "snapshots", "--since", between)[0]["snapshot_id"])
	require.Len(t, s.objects(exitDone, "snapshots", "--until", between), 1)
	require.Empty(t, s.objects(exitDone, "snapshots", "--until", "2001-02-03"))
	s.fails(exitUsage, []string{"--since", "2026-01-31"}, "snapshots", "--since", "yesterday")
	s.fails(exitUsage, []string{"--group-by", "colour"}, "snapshots", "--group-by", "colour")
	grouped := s.objects(exitDone, "snapshots", "--group-by", "host")
	require.EqualValues(t, 0, grouped[0]["group"])
	require.EqualValues(t, 1, grouped[1]["group"])
	require.Regexp(t, `\Agroup host "db-1"\nID [^\n]+\n[^\n]+db-1[^\n]+\n\ngroup host "db-2"\nID `, s.ok("snapshots", "-g", "host"))
	table := s.ok("snapshots")
	require.Regexp(t, `\AID +TIME +HOST +TAGS +PATHS +SIZE\n`, table)
	require.Contains(t, table, "db-1")
	require.Contains(t, table, "a,b")
	require.Contains(t, table, "2 snapshots\n")

	require.Contains(t, s.ok("ls"), "  manifest.json\n")
	require.Contains(t, s.ok("ls", "latest~1", "/indices/logs"), "  indices/logs/shard-0.ndjson\n")
	require.NotContains(t, s.ok("ls", "latest", "indices/logs"), "orders")
	require.Contains(t, s.ok("ls", "latest:/indices/logs"), "  shard-0.ndjson\n")
	require.NotContains(t, s.ok("ls", "latest~1:indices/logs"), "orders")
	require.Equal(t, s.ok("dump", "latest", "indices/logs/index.json"), s.ok("dump", "latest:indices/logs", "index.json"))
	s.fails(exitFailed, []string{"latest:none"}, "ls", "latest:none")
	nodes := s.objects(exitDone, "ls", all[0]["short_id"].(string))
	require.ElementsMatch(t, []string{"message_type", "path", "type", "size"}, keys(nodes[0]))
	sizes := map[string]any{}
	for _, n := range nodes {
		sizes[n["path"].(string)] = n["size"]
	}
	require.Contains(t, sizes, "indices/orders/index.json")
	s.fails(exitFailed, []string{"indices/none"}, "ls", "latest", "indices/none")
	s.fails(exitFailed, []string{"0123456789"}, "ls", "0123456789")

	docs := s.ok("dump", "latest", "/indices/logs/shard-0.ndjson") + s.ok("dump", "latest", "indices/logs/shard-1.ndjson")
	require.Equal(t, 600, strings.Count(docs, "\n"))
	require.Contains(t, docs, "{\"index\":{\"_id\":\"id 3\",\"routing\":\"a route\"}}\n{\"n\":3, \"user\":\"kim\"}\n")
	s.fails(exitFailed, []string{"dump indices/logs: not a file"}, "dump", "latest", "indices/logs")
	s.fails(exitFailed, []string{"dump indices/none"}, "dump", "latest", "indices/none")

	require.Regexp(t, `"id": "[0-9a-f]{64}",\n  "version": 2\n`, s.ok("cat", "config"))
	require.Contains(t, s.ok("cat", "snapshot", "latest"), `"hostname": "db-2"`)
	require.Contains(t, s.ok("cat", "snapshot", "latest", "--json"), `"hostname":"db-2"`)
	require.Equal(t, s.ok("dump", "latest", "manifest.json"), s.ok("cat", "manifest"))
	require.Contains(t, s.ok("cat", "index", "latest", "logs"), `"logs-kim"`)
}

func TestCheck(t *testing.T) {
	s := newShell(t)
	server, _ := s.cluster()
	s.init()
	s.ok("backup", "--es", server.URL)
	require.Equal(t, "no problems found\n", s.ok("check", "--read-data"))
	got := s.objects(exitDone, "check")
	require.Len(t, got, 1)
	require.ElementsMatch(t, []string{"message_type", "problems", "harmless", "read_data", "read_data_subset", "duration_seconds"}, keys(got[0]))

	packs, err := filepath.Glob(filepath.Join(s.repo(), "data", "*", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, packs)
	for _, name := range packs {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		b[40] ^= 1
		require.NoError(t, os.Chmod(name, 0o600))
		require.NoError(t, os.WriteFile(name, b, 0o600))
	}
	bad := s.objects(exitFailed, "check", "--read-data")
	require.Greater(t, len(bad), 1)
	require.ElementsMatch(t, []string{"message_type", "kind", "subject", "blob", "snapshot", "path", "harmless",
		"error"}, keys(bad[0]))
	s.fails(exitFailed, []string{"check repository", "found"}, "check", "--read-data")
}

func TestFailuresAreOneLine(t *testing.T) {
	s := newShell(t)
	server, _ := s.cluster()
	s.fails(exitFailed, []string{s.repo()}, "snapshots") // there is none yet
	s.fails(exitFailed, []string{s.repo()}, "backup", "--es", server.URL)
	s.init()
	s.fails(exitFailed, []string{s.repo(), "exist"}, "init")
	s.fails(exitFailed, []string{"latest"}, "restore", "--es", server.URL) // no snapshot yet
	s.fails(exitFailed, []string{"no-such-index"}, "backup", "--es", server.URL, "--index", "no-such-index")
	s.fails(exitFailed, []string{"127.0.0.1:1"}, "backup", "--es", "http://127.0.0.1:1", "--retries", "0")
	require.Contains(t, s.ok("snapshots"), "0 snapshots")

	s.env["ES_PASSWORD"] = esPassword + "x"
	s.fails(exitFailed, []string{"401"}, "backup", "--es", server.URL)
	s.env["ES_USERNAME"], s.env["ES_PASSWORD"] = "", ""
	s.fails(exitFailed, []string{"401"}, "backup", "--es", server.URL)
	s.env["ES_API_KEY"] = esAPIKey
	s.fails(exitFailed, []string{"401"}, "backup", "--es", server.URL)

	s.env["RESTIC_PASSWORD"] = repoPassword + "x"
	s.fails(exitFailed, []string{s.repo(), "wrong password"}, "snapshots")
	s.fails(exitFailed, []string{"read password", "none"}, "snapshots", "--password-file", filepath.Join(t.TempDir(), "none"))
}

func TestPasswordAndKeys(t *testing.T) {
	s := newShell(t)
	server := estest.New(t, &estest.Options{APIKey: esAPIKey})
	fill(t, server.Client(), "logs", 0, 5)
	s.env["RESTIC_PASSWORD"], s.env["ES_API_KEY"] = "", esAPIKey
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte(repoPassword+"\n"), 0o600))
	s.ok("init", "--password-file", file)
	s.ok("backup", "--es", server.URL, "--password-file", file)
	code, stdout, _ := s.runIn(repoPassword+"\n", "snapshots", "--password-file", "-")
	require.Zero(t, code)
	require.Contains(t, stdout, "1 snapshot\n")
	s.env["ES_USERNAME"] = "elastic"
	s.fails(exitUsage, []string{"ES_API_KEY"}, "backup", "--es", server.URL, "--password-file", file)
}

func TestCredentialsInTheURL(t *testing.T) {
	s := newShell(t)
	server, _ := s.cluster()
	delete(s.env, "ES_USERNAME")
	delete(s.env, "ES_PASSWORD")
	s.init()
	host := strings.TrimPrefix(server.URL, "http://")
	s.ok("backup", "--es", "http://elastic:"+esPassword+"@"+host)
	s.fails(exitFailed, []string{"401"}, "backup", "--es", "http://elasti:"+esPassword+"@"+host)
	s.fails(exitFailed, []string{"127.0.0.1:1"}, "backup", "--es", "http://elastic:"+esPassword+"@127.0.0.1:1", "--retries", "0")
	for _, bad := range []string{"http://elastic:" + esPassword + "@[::1", "http://elastic:" + esPassword + "@ho st/", "ftp://a:" +
		esPassword + "@host", "elastic:" + esPassword + "@host:9200"} {
		s.fails(exitUsage, []string{"--es"}, "backup", "--es", bad)
	}
}

func TestAppBinding(t *testing.T) {
	s := newShell(t)
	server, _ := s.cluster()
	delete(s.env, "ES_USERNAME")
	delete(s.env, "ES_PASSWORD")
	s.init()
	dir := t.TempDir()
	binding := filepath.Join(dir, "binding.yaml")
	write := func(name, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	}
	write(binding, `apiVersion: appcatalog.appscode.com/v1alpha1
kind: AppBinding
metadata: {name: shop, namespace: demo}
spec:
  type: kubedb.com/elasticsearch
  clientConfig: {url: "`+server.URL+`"}
  secret: {name: shop-auth}
`)
	s.fails(exitFailed, []string{"shop-auth"}, "backup", "--appbinding", binding)
	s.fails(exitFailed, []string{"shop-auth"}, "backup", "--appbinding", binding, "--secrets", dir)
	write(filepath.Join(dir, "demo", "shop-auth", "username"), "elastic")
	write(filepath.Join(dir, "demo", "shop-auth", "password"), esPassword)
	s.ok("backup", "--appbinding", binding, "--secrets", dir)
	s.ok("verify", "--appbinding", binding, "--secrets", dir)
	write(filepath.Join(dir, "demo", "shop-auth", "password"), esPassword+"x")
	s.fails(exitFailed, []string{"401"}, "backup", "--appbinding", binding, "--secrets", dir)
	write(binding, "kind: Pod\n")
	s.fails(exitFailed, []string{binding}, "backup", "--appbinding", binding)
	s.fails(exitFailed, []string{"--appbinding"}, "backup", "--appbinding", filepath.Join(dir, "none"))
}

func TestTLS(t *testing.T) {
	s := newShell(t)
	s.init()
	handler := estest.NewHandler(nil)
	secure := httptest.NewTLSServer(handler)
	defer secure.Close()
	plain := httptest.NewServer(handler)
	defer plain.Close()
	es, err := elasticsearch.NewClient(elasticsearch.Config{Addresses: []string{plain.URL}})
	require.NoError(t, err)
	fill(t, es, "logs", 0, 5)

	s.fails(exitFailed, []string{"certificate"}, "backup", "--es", secure.URL)
	s.ok("backup", "--es", secure.URL, "--insecure-skip-tls-verify")
	ca := filepath.Join(t.TempDir(), "ca.crt")
	require.NoError(t, os.WriteFile(ca, certificate(secure), 0o600))
	s.ok("backup", "--es", secure.URL, "--ca-cert", ca)
	require.NoError(t, os.WriteFile(ca, []byte("no certificate"), 0o600))
	s.fails(exitFailed, []string{"certificate authority"}, "backup", "--es", secure.URL, "--ca-cert", ca)
}

func TestMemoryRepository(t *testing.T) {
	s := newShell(t)
	server, _ := s.cluster()
	s.env["RESTIC_REPOSITORY"] = "mem:"
	got := s.objects(exitDone, "backup", "--es", server.URL)
	require.EqualValues(t, 350, got[len(got)-1]["documents"])
	require.Contains(t, s.ok("snapshots"), "0 snapshots") // it is gone with the run
	s.fails(exitFailed, []string{"latest"}, "verify", "--es", server.URL)
}

// An interrupted backup leaves no snapshot and no lock.
func TestInterrupt(t *testing.T) {
	s := newShell(t)
	server, _ := s.cluster()
	s.init()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/_search") {
			_, _ = io.Copy(io.Discard, r.Body) // only then the server sees the client go
			cancel(errors.New("interrupt signal received"))
			<-r.Context().Done()
			return
		}
		server.ServeHTTP(w, r)
	}))
	defer front.Close()
	s.ctx = ctx
	s.fails(exitFailed, []string{"escrow: backup: interrupted: "}, "backup", "--es", front.URL)
	s.ctx = t.Context()
	require.Contains(t, s.ok("snapshots"), "0 snapshots")
	locks, err := filepath.Glob(filepath.Join(s.repo(), "locks", "*"))
	require.NoError(t, err)
	require.Empty(t, locks)
	s.ok("backup", "--es", server.URL)
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// Output that cannot be written is a failure, also of a list.
func TestOutputThatFails(t *testing.T) {
	s := newShell(t)
	server, _ := s.cluster()
	s.init()
	s.ok("backup", "--es", server.URL)
	env := func(name string) string { return s.env[name] }
	for _, args := range [][]string{{"snapshots"}, {"snapshots", "--json"}, {"ls"}, {"dump", "latest", "manifest.json"}, {"cat", "config"},
		{"check"}, {"verify", "--es", server.URL}} {
		var stderr strings.Builder
		require.Equal(t, exitFailed, run(t.Context(), args, env, nil, fullDisk{}, &stderr), "args %q", args)
		require.Contains(t, stderr.String(), "no space left on device", "args %q", args)
	}
}

func certificate(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}
