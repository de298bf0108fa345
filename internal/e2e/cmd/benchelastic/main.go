// Command benchelastic measures packages backup and restore beside what else reads and writes an Elasticsearch: a reader that throws the bytes
// away, elasticdump, multielasticdump, the server's own snapshot, and a writer with prebuilt bodies. It starts a server of
// its own, loads log documents, and prints what each took, and each ratio beside the one that is wanted.
//
//	go run ./cmd/benchelastic -docs 1000000
//	go run ./cmd/benchelastic -docs 100000 -hard -only backup,increments
//	go run ./cmd/benchelastic -indices 1000 -only manyindices
//
// Each measurement of ours is a process of its own, which measures itself after it has opened the repository. Machines are shared and noisy:
// the methods take turns, medians count, and only the ratios of one run mean something. It needs Linux, for /proc.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/escrow-backup/escrow/internal/e2e/esserver"
	"github.com/escrow-backup/escrow/internal/e2e/servers"
)

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) == 3 && os.Args[1] == "self" {
		if err := self(ctx, os.Args[2]); err != nil {
			log.Fatal(err)
		}
		return
	}
	b := bench{}
	version := flag.String("version", string(esserver.V8), "of Elasticsearch: "+string(esserver.V8)+" or "+string(esserver.V9))
	flag.IntVar(&b.docs, "docs", 1_000_000, "documents")
	flag.BoolVar(&b.hard, "hard", false, "an index with best_compression, nested documents and 1% of the documents deleted")
	flag.BoolVar(&b.deleted, "deleted", false, "1% of the documents are deleted, without a merge after")
	flag.BoolVar(&b.scattered, "scattered", false, "an index with best_compression, of four writers at a time, merged")
	flag.IntVar(&b.rounds, "rounds", 3, "of each method of reading; loads take place two times less 1")
	flag.IntVar(&b.unchanged, "unchanged", 100, "increments without a change")
	flag.IntVar(&b.increments, "increments", 30, "increments with 1% of the documents updated")
	flag.IntVar(&b.indices, "indices", 1_000, "small indices")
	flag.IntVar(&b.heap, "heap", 2048, "of the server, in MiB")
	flag.IntVar(&b.concurrency, "concurrency", 3, "searches at a time, of escrow and of the reader by ranges")
	flag.StringVar(&b.profiles, "profiles", "", "a directory for CPU profiles of escrow's part")
	only := flag.String("only", "backup,peers,increments,restore", "parts to run; manyindices is another")
	dir := flag.String("dir", os.TempDir(), "where to work; a tmpfs keeps the disk out of it")
	flag.Parse()
	b.version, b.parts = esserver.Version(*version), strings.Split(*only, ",")
	if err := b.run(ctx, *dir); err != nil {
		log.Fatal(err)
	}
}

// bench is one invocation.
type bench struct {
	docs, rounds, unchanged, increments, heap, concurrency, indices int
	hard, scattered, deleted                                        bool
	version                                                         esserver.Version
	parts                                                           []string
	profiles                                                        string

	exe, work string
	s         *server
	bytes     int64 // of the _source of all documents
	full      cost  // a backup of everything
	added     int64 // to the repository by it
	table     table
}

func (b *bench) run(ctx context.Context, dir string) (err error) {
	if b.exe, err = os.Executable(); err != nil {
		return err
	}
	if b.profiles != "" {
		if b.profiles, err = filepath.Abs(b.profiles); err != nil {
			return err
		}
	}
	if b.work, err = os.MkdirTemp(dir, "benchelastic-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.work) }() // it is a temporary folder
	elasticdump := ""
	if b.has("peers") {
		if elasticdump, err = servers.Path(ctx, "elasticdump"); err != nil {
			return err
		}
	}
	cluster, err := esserver.Launch(ctx, b.work, b.version, &esserver.Options{HeapMB: b.heap, Optimize: true})
	if err != nil {
		return err
	}
	defer cluster.Close()
	b.s = &server{url: cluster.URL(), pid: cluster.Nodes[0].PID(), hard: b.hard, scattered: b.scattered}
	if b.has("manyindices") {
		if err := b.manyIndices(ctx); err != nil {
			return fmt.Errorf("manyindices: %w", err)
		}
		if len(b.parts) == 1 {
			return nil
		}
	}
	if b.bytes, err = b.s.fill(ctx, logs, b.docs); err != nil {
		return err
	}
	if b.hard || b.deleted {
		if err := b.s.deleteSome(ctx, logs, 5, b.docs); err != nil {
			return err
		}
		b.docs -= b.docs / 100
	}
	kind := ""
	if b.hard {
		kind = ", best_compression, nested documents, 1% deleted"
	}
	if b.scattered {
		kind += ", best_compression, of four writers, merged"
	}
	if b.deleted {
		kind += ", 1% deleted"
	}
	fmt.Printf("Elasticsearch %s, %d documents of %d bytes, 2 shards%s\n\n", b.version, b.docs, b.bytes/int64(b.docs), kind)
	for _, part := range []struct {
		name string
		run  func(ctx context.Context) error
	}{
		{"backup", b.backups},
		{"peers", func(ctx context.Context) error { return b.peers(ctx, elasticdump) }},
		{"restore", b.restores},
		{"increments", b.increment},
	} {
		if !b.has(part.name) {
			continue
		}
		if err := part.run(ctx); err != nil {
			b.table.print() // what there is
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	b.table.print()
	return nil
}

func (b *bench) has(part string) bool { return slices.Contains(b.parts, part) }

// The indices.
const (
	logs     = "bench-logs"
	restored = "bench-restored"
	written  = "bench-written"
)

// cost is what something took: seconds, of CPU of the client and of the server.
type cost struct{ Wall, CPU, Server float64 }

func wall(c cost) float64      { return c.Wall }
func cpu(c cost) float64       { return c.CPU }
func serverCPU(c cost) float64 { return c.Server }

// task is what a process of ours is told to do.
type task struct {
	Do          string // a name of steps
	URL         string
	PID         int    // of the server
	Index       string // to read
	To          string // to write
	Repo        string
	Times       int // default 1
	Method      string
	Profile     string
	Concurrency int // requests at a time
	AtOnce      int // small indices
	// Of bulk requests, and how many documents to write with them; 0: all.
	Size, Docs int
}

// outcome is what it tells: the mean of all times.
type outcome struct {
	Cost  cost
	Docs  int64 // read or written, the last time
	Bytes int64 // of them in the backup's files
	Added int64 // to the repository
	Wire  int64 // of answers
}

// do runs a task in a process of its own.
func (b *bench) do(ctx context.Context, t task) (*outcome, error) {
	t.URL, t.PID = b.s.url, b.s.pid
	if b.profiles != "" {
		t.Profile = filepath.Join(b.profiles, t.Do+t.Method+".pprof")
	}
	if err := b.s.settle(ctx); err != nil {
		return nil, err
	}
	in, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, b.exe, "self", string(in))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Do, err)
	}
	o := &outcome{}
	if err := json.Unmarshal(out, o); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %q", t.Do, out), err)
	}
	return o, nil
}

// repo is the path of a repository.
func (b *bench) repo(name string) string { return filepath.Join(b.work, "repo-"+name) }
