// Command benchrepo measures package repository beside the restic program, and rustic where it is installed or named by
// $RUSTIC, on the same JSON lines in the same run: a backup from a stream, the same again unchanged, reading back, and a check
// of all data. It prints CPU seconds, wall seconds and resident memory, and the ratios to escrow, each the median of the
// runs. Machines are shared and noisy: the programs take turns at every step, and only the ratios of one run mean something.
// At last it measures each stage of a backup alone: what no program can do without.
//
//	go run ./cmd/benchrepo -mib 1024 -runs 3 -dir /dev/shm
//
// With -s3 the repositories lie on a MinIO server that it starts, and the last part is left out:
//
//	go run ./cmd/benchrepo -s3 -mib 1024 -runs 3
//
// Each measurement is a process of its own, escrow's too.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"strings"

	"github.com/escrow-backup/escrow/internal/e2e/measure"
	"github.com/escrow-backup/escrow/repository"
)

const password = "benchmark"

func main() {
	log.SetFlags(0)
	if len(os.Args) == 5 && os.Args[1] == "self" {
		if err := profiled(os.Args[2], os.Args[3], os.Args[4]); err != nil {
			log.Fatal(err)
		}
		return
	}
	var b bench
	flag.IntVar(&b.mib, "mib", 1024, "size of the data in MiB")
	flag.IntVar(&b.runs, "runs", 3, "runs of each, of which the median counts")
	flag.StringVar(&b.profiles, "profiles", "", "a directory for CPU profiles of escrow's part")
	flag.BoolVar(&b.s3, "s3", false, "keep the repositories on a MinIO server")
	dir := flag.String("dir", os.TempDir(), "where to work; a tmpfs keeps the disk out of it")
	flag.Parse()
	if err := b.run(*dir); err != nil {
		log.Fatal(err)
	}
}

// profiled is self with a CPU profile, if there is a directory for it.
func profiled(step, dir, profiles string) error {
	if profiles == "" {
		return self(context.Background(), step, dir)
	}
	f, err := os.Create(filepath.Join(profiles, step+".pprof"))
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return errors.Join(err, f.Close())
	}
	err = self(context.Background(), step, dir)
	pprof.StopCPUProfile()
	return errors.Join(err, f.Close())
}

// self is escrow's part: one step on the repository at dir.
func self(ctx context.Context, step, dir string) error {
	if step == "stages" {
		all, err := measure.Stages(dir)
		return errors.Join(err, json.NewEncoder(os.Stdout).Encode(all))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(25) // little of the heap is alive: collecting it often is cheap. restic sets 50 for itself
	}
	b, err := open(ctx, dir)
	if err != nil {
		return err
	}
	switch step {
	case "init":
		r, err := repository.Init(ctx, b, password, nil)
		if err != nil {
			return err
		}
		return r.Close()
	}
	r, err := repository.Open(ctx, b, password, nil)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // the process ends
	switch step {
	case "backup", "unchanged":
		_, err = r.Write(ctx, repository.Header{}, func(_ context.Context, w *repository.Writer) error {
			f, err := w.Create("data")
			if err != nil {
				return err
			}
			if _, err := io.CopyBuffer(struct{ io.Writer }{f}, os.Stdin, make([]byte, 1<<20)); err != nil {
				return errors.Join(err, f.Abort())
			}
			return f.Close()
		})
		return err
	case "dump":
		s, err := r.Snapshot(ctx, "latest")
		if err != nil {
			return err
		}
		fsys, err := r.FS(ctx, s)
		if err != nil {
			return err
		}
		f, err := fsys.Open("data")
		if err != nil {
			return err
		}
		_, err = io.Copy(os.Stdout, f)
		return errors.Join(err, f.Close())
	case "check":
		for p, err := range r.Check(ctx, &repository.CheckOptions{ReadData: true}) {
			if err != nil {
				return err
			}
			return fmt.Errorf("damage: %v", p)
		}
		return nil
	}
	return fmt.Errorf("unknown step %q", step)
}

// peer is a program that is measured: its command for each step.
type peer struct {
	name    string
	command func(step, repo string) *exec.Cmd
}

var steps = []string{"backup", "unchanged", "dump", "check"}

// bench is one invocation.
type bench struct {
	mib, runs int
	profiles  string
	s3        bool
	exe       string
	server    string // URL of the MinIO server
	work      string
	results   map[string]map[string][]measure.Sample // by step and program
}

func (b *bench) run(dir string) (err error) {
	if b.exe, err = os.Executable(); err != nil {
		return err
	}
	if b.work, err = os.MkdirTemp(dir, "benchrepo-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.work) }() // it is a temporary folder
	if b.s3 {
		stop, err := b.startMinIO()
		if err != nil {
			return err
		}
		defer stop()
	}
	data := filepath.Join(b.work, "data")
	if err := measure.Lines(data, int64(b.mib)<<20); err != nil {
		return err
	}
	peers, err := b.peers()
	if err != nil {
		return err
	}
	b.results = map[string]map[string][]measure.Sample{}
	for _, step := range steps {
		b.results[step] = map[string][]measure.Sample{}
	}
	for n := range b.runs {
		if err := b.round(n, peers, data); err != nil {
			return err
		}
	}
	b.print(peers)
	if b.s3 {
		return nil
	}
	return b.limit(data)
}

// round runs every step once with every program.
func (b *bench) round(n int, peers []peer, data string) error {
	repo := func(p peer) string {
		if b.s3 {
			return fmt.Sprintf("s3:%s/%s-%d/repo", b.server, p.name, n)
		}
		return filepath.Join(b.work, "repo-"+p.name)
	}
	for _, p := range peers {
		if _, err := measure.Run(p.command("init", repo(p)), "", nil); err != nil {
			return fmt.Errorf("%s init: %w", p.name, err)
		}
	}
	for _, step := range steps {
		for _, p := range peers {
			s, err := measure.Run(p.command(step, repo(p)), data, nil)
			if err != nil {
				return fmt.Errorf("%s %s: %w", p.name, step, err)
			}
			b.results[step][p.name] = append(b.results[step][p.name], s)
		}
	}
	for _, p := range peers {
		if b.s3 {
			break // the server's data go with it
		}
		if err := os.RemoveAll(repo(p)); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) print(peers []peer) {
	fmt.Printf("%d MiB of JSON lines, medians of %d runs\n\n", b.mib, b.runs)
	fmt.Printf("| step | program | CPU s | wall s | RSS MiB | CPU, times escrow's | wall, times escrow's |\n|---|---|---|---|---|---|---|\n")
	cpu, wall, rss := func(s measure.Sample) float64 { return s.CPU }, func(s measure.Sample) float64 { return s.Wall }, func(s measure.Sample) float64 { return s.RSS }
	for _, step := range steps {
		own := b.results[step]["escrow"]
		for _, p := range peers {
			all := b.results[step][p.name]
			ratios := make([]measure.Sample, len(all)) // in each run: they were measured next to each other
			for i, s := range all {
				ratios[i] = measure.Sample{CPU: s.CPU / own[i].CPU, Wall: s.Wall / own[i].Wall}
			}
			fmt.Printf("| %s | %s | %.2f | %.2f | %.0f | %.2f | %.2f |\n", step, p.name,
				measure.Median(all, cpu), measure.Median(all, wall), measure.Median(all, rss), measure.Median(ratios, cpu), measure.Median(ratios, wall))
		}
	}
}

// limit prints what the stages of a backup take alone, and how much more the whole takes.
func (b *bench) limit(data string) error {
	var out bytes.Buffer
	if _, err := measure.Run(b.self("stages", data), "", &out); err != nil {
		return fmt.Errorf("stages: %w", err)
	}
	var all []measure.Stage
	if err := json.Unmarshal(out.Bytes(), &all); err != nil {
		return fmt.Errorf("stages: %w", err)
	}
	fmt.Printf("\n| stage, alone on one core | CPU s per GiB of text | MB/s of its own input | part of a backup |\n|---|---|---|---|\n")
	sum, once := 0.0, 0.0
	for _, s := range all {
		part := "no"
		if s.Backup {
			part = "yes"
			sum += s.PerGiB
			once += s.Once
		}
		if s.Once > 0 {
			fmt.Printf("| %s | %.2f s once | | %s |\n", s.Name, s.Once, part)
		} else {
			fmt.Printf("| %s | %.2f | %.0f | %s |\n", s.Name, s.PerGiB, s.Rate, part)
		}
	}
	total := sum*float64(b.mib)/1024 + once
	whole := measure.Median(b.results["backup"]["escrow"], func(s measure.Sample) float64 { return s.CPU })
	fmt.Printf("\nSum of stages: %.2f CPU s per GiB, %.2f for this backup. escrow's whole backup: %.2f CPU s, %.2f times that.\n", sum, total, whole, whole/total)
	return nil
}

func (b *bench) self(step, dir string) *exec.Cmd {
	return exec.Command(b.exe, "self", step, dir, b.profiles)
}

func (b *bench) peers() ([]peer, error) {
	peers := []peer{{"escrow", b.self}}
	environment := append(os.Environ(), "RESTIC_PASSWORD="+password, "RUSTIC_PASSWORD="+password, "RUSTIC_NO_PROGRESS=true", "RUSTIC_LOG_LEVEL=warn", "HOME="+b.work)
	for _, known := range []struct {
		name      string
		arguments map[string][]string
	}{
		{"restic", map[string][]string{
			"init": {"init", "-q"}, "backup": {"backup", "--stdin", "--stdin-filename", "data", "-q"}, "dump": {"dump", "latest", "data"},
			"check": {"check", "--read-data", "-q"},
		}},
		{"rustic", map[string][]string{
			"init": {"init"}, "backup": {"backup", "--force", "--stdin-filename", "data", "-"}, "dump": {"dump", "latest:data"},
			"check": {"check", "--read-data"},
		}},
	} {
		program := os.Getenv(strings.ToUpper(known.name)) // $RESTIC, $RUSTIC
		if program == "" {
			program = known.name
		}
		if b.s3 && known.name == "rustic" {
			continue // it reads other URLs
		}
		program, err := exec.LookPath(program)
		if errors.Is(err, exec.ErrNotFound) {
			fmt.Fprintf(os.Stderr, "%s is not installed: left out\n", known.name)
			continue
		}
		if err != nil {
			return nil, err
		}
		peers = append(peers, peer{known.name, func(step, repo string) *exec.Cmd {
			if step == "unchanged" {
				step = "backup"
			}
			cmd := exec.Command(program, append([]string{"-r", repo, "--no-cache"}, known.arguments[step]...)...)
			cmd.Env = environment
			return cmd
		}})
	}
	return peers, nil
}
