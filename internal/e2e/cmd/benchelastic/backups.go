package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/escrow-backup/escrow/internal/e2e/measure"
)

// median is that of each number by itself.
func median(all []cost) cost {
	return cost{measure.Median(all, wall), measure.Median(all, cpu), measure.Median(all, serverCPU)}
}

// read is one run of a reader, which must have got at least the documents.
func (b *bench) read(ctx context.Context, method string) (cost, error) {
	o, err := b.do(ctx, task{Do: "read", Index: logs, Method: method, Concurrency: b.concurrency})
	if err != nil {
		return cost{}, err
	}
	if o.Wire < b.bytes/100*98 {
		return cost{}, fmt.Errorf("the reader got %d bytes, the documents have %d", o.Wire, b.bytes)
	}
	return o.Cost, nil
}

// backup is one into a repository.
func (b *bench) backup(ctx context.Context, t task) (*outcome, error) {
	t.Do, t.Index, t.Repo, t.Concurrency = "backup", logs, b.repo(t.Repo), b.concurrency
	return b.do(ctx, t)
}

// backups compares a backup of everything with the readers, and with the stages that it consists of.
func (b *bench) backups(ctx context.Context) error {
	methods := []string{inOrder, byRanges}
	for range 3 { // the server compiles what it runs often: not while that is measured
		for _, m := range methods {
			if _, err := b.read(ctx, m); err != nil {
				return err
			}
		}
		if err := os.RemoveAll(b.repo("full")); err != nil {
			return err
		}
		if _, err := b.backup(ctx, task{Repo: "full"}); err != nil {
			return err
		}
	}
	taken := map[string][]cost{}
	for n := range b.rounds {
		for _, m := range methods {
			c, err := b.read(ctx, m)
			if err != nil {
				return err
			}
			taken[m] = append(taken[m], c)
		}
		if err := os.RemoveAll(b.repo("full")); err != nil {
			return err
		}
		o, err := b.backup(ctx, task{Repo: "full"})
		if err != nil {
			return err
		}
		if int(o.Docs) != b.docs {
			return fmt.Errorf("backed up %d of %d documents", o.Docs, b.docs)
		}
		taken["backup"] = append(taken["backup"], o.Cost)
		b.added = o.Added
		c, err := b.snapshot(ctx, n)
		if err != nil {
			return err
		}
		taken["snapshot"] = append(taken["snapshot"], c)
	}
	b.full = median(taken["backup"])
	best := methods[0]
	for _, m := range methods {
		b.table.method("reader that throws away, "+m, b.docs, median(taken[m]))
		if median(taken[m]).Wall < median(taken[best]).Wall {
			best = m
		}
	}
	reader := median(taken[best])
	b.table.method("escrow, full backup", b.docs, b.full)
	b.table.method("the server's snapshot into a file system", b.docs, median(taken["snapshot"]))
	b.table.ratio("full backup: throughput beside the reader's ("+best+")", reader.Wall/b.full.Wall, true, 0.72)
	b.table.ratio("full backup: server CPU beside the reader's", b.full.Server/reader.Server, false, 1.1)
	stages, err := b.stages(ctx)
	if err != nil {
		return err
	}
	sum := reader.CPU + stages
	b.table.ratio(fmt.Sprintf("full backup: client CPU beside its stages' (%.2f s, %.2f of them the reader's)", sum, reader.CPU), b.full.CPU/sum, false, 1.25)
	used := reader.CPU + reader.Server
	b.table.ratio("the reader's CPU, client and server, beside the backup's: what throughput comes to where that fills the machine",
		used/(b.full.CPU+b.full.Server), true, 0)
	b.table.ratio("the reader's CPU beside the reader's and the stages': the most that it can come to", used/(reader.Server+sum), true, 0)
	return nil
}

// stages is the CPU that the stages of the backup need alone, without reading from the server, in seconds.
func (b *bench) stages(ctx context.Context) (float64, error) {
	in, err := json.Marshal(task{Do: "stages", Index: logs, Repo: b.repo("full")})
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, b.exe, "self", string(in))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("stages: %w", err)
	}
	sum := 0.0
	return sum, json.Unmarshal(out, &sum)
}

// snapshot has the server make one of its own, without a limit, and removes it.
func (b *bench) snapshot(ctx context.Context, n int) (cost, error) {
	url := b.s.url + "/_snapshot/bench"
	err := call(ctx, "PUT", url, fmt.Sprintf(`{"type":"fs","settings":{"location":"r%d","max_snapshot_bytes_per_sec":"0"}}`, n), nil)
	if err != nil {
		return cost{}, err
	}
	if err := b.s.settle(ctx); err != nil {
		return cost{}, err
	}
	var out struct{ Snapshot struct{ State string } }
	c, err := timed(b.s.pid, func() error {
		return call(ctx, "PUT", url+"/s?wait_for_completion=true", `{"indices":"`+logs+`","include_global_state":false}`, &out)
	})
	if err == nil && out.Snapshot.State != "SUCCESS" {
		err = fmt.Errorf("snapshot: %q", out.Snapshot.State)
	}
	c.CPU = 0
	return c, err
}

// peers dumps the index with elasticdump, each way that is quick, and with multielasticdump as Stash runs it.
func (b *bench) peers(ctx context.Context, elasticdump string) error {
	fastest := cost{}
	run := func(program string, args ...string) (cost, error) {
		if err := b.s.settle(ctx); err != nil {
			return cost{}, err
		}
		dir, err := os.MkdirTemp(b.work, "dump-")
		if err != nil {
			return cost{}, err
		}
		output := filepath.Join(dir, logs+".json")
		if program == "multielasticdump" {
			args = append(args, "--output="+dir)
		} else {
			args = append(args, "--output="+output)
		}
		cmd := exec.CommandContext(ctx, filepath.Join(filepath.Dir(elasticdump), program), args...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
		var s measure.Sample
		var said bytes.Buffer
		c, err := timed(b.s.pid, func() (err error) {
			s, err = measure.Run(cmd, "", &said)
			return err
		})
		if err != nil {
			return cost{}, fmt.Errorf("%s: %w\n%s", program, err, said.Bytes())
		}
		c.CPU = s.CPU
		text, err := os.ReadFile(output)
		if err != nil {
			return cost{}, err
		}
		if n := bytes.Count(text, []byte{'\n'}); n < b.docs {
			return cost{}, fmt.Errorf("%s wrote %d of %d documents", program, n, b.docs)
		}
		return c, os.RemoveAll(dir)
	}
	for name, args := range map[string][]string{"point in time": {"--searchAfter", "--pit"}, "scroll": nil} {
		c, err := run("elasticdump", append(args, "--type=data", "--limit=10000", "--noRefresh", "--input="+b.s.url+"/"+logs)...)
		if err != nil {
			return err
		}
		b.table.method("elasticdump, limit 10,000, "+name, b.docs, c)
		if fastest.Wall == 0 || c.Wall < fastest.Wall {
			fastest = c
		}
	}
	// It fails where there is no template.
	c, err := run("multielasticdump", "--direction=dump", "--match=^"+logs+"$", "--ignoreType=template", "--input="+b.s.url)
	if err != nil {
		return err
	}
	b.table.method("multielasticdump as Stash runs it", b.docs, c)
	own, err := b.another(ctx)
	if err != nil {
		return err
	}
	b.table.ratio("full backup: times elasticdump's throughput", fastest.Wall/own.Wall, true, 3.5)
	b.table.ratio("full backup: times multielasticdump's throughput", c.Wall/own.Wall, true, 10)
	return nil
}

// another is the cost of a backup of everything, which is made if there was none.
func (b *bench) another(ctx context.Context) (cost, error) {
	if b.full.Wall > 0 {
		return b.full, nil
	}
	var all []cost
	for n := range b.rounds + 1 {
		if err := os.RemoveAll(b.repo("full")); err != nil {
			return cost{}, err
		}
		o, err := b.backup(ctx, task{Repo: "full"})
		if err != nil {
			return cost{}, err
		}
		b.added = o.Added
		if n > 0 { // before, the server compiled what it runs often
			all = append(all, o.Cost)
		}
	}
	b.full = median(all)
	b.table.method("escrow, full backup", b.docs, b.full)
	return b.full, nil
}

// size is how many bytes the files of a directory have.
func size(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}
