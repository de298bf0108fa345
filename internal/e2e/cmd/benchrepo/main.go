// Command benchrepo measures package repository beside the restic program, and rustic where it is installed, on the same JSON
// lines in the same run: a backup from a stream, the same again unchanged, reading back, and a check of all data. It prints
// medians of CPU seconds, wall seconds and resident memory, and the ratios to escrow. Machines are shared and noisy: only the
// ratios of one run mean something.
//
//	go run ./cmd/benchrepo -mib 1024 -runs 3 -dir /dev/shm
//
// Each measurement is a process of its own, escrow's too.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend/local"
)

const password = "benchmark"

func main() {
	log.SetFlags(0)
	if len(os.Args) == 4 && os.Args[1] == "self" {
		if err := self(context.Background(), os.Args[2], os.Args[3]); err != nil {
			log.Fatal(err)
		}
		return
	}
	mib := flag.Int("mib", 1024, "size of the data in MiB")
	runs := flag.Int("runs", 3, "runs of each, of which the median counts")
	dir := flag.String("dir", os.TempDir(), "where to work; a tmpfs keeps the disk out of it")
	flag.Parse()
	if err := run(*mib, *runs, *dir); err != nil {
		log.Fatal(err)
	}
}

// self is escrow's part: one step on the repository at dir.
func self(ctx context.Context, step, dir string) error {
	b, err := local.New(dir)
	if err != nil {
		return err
	}
	if step == "init" {
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
	case "backup":
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

type sample struct{ cpu, wall, rss float64 }

func run(mib, runs int, dir string) error {
	work, err := os.MkdirTemp(dir, "benchrepo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }() // it is a temporary folder
	data := filepath.Join(work, "data")
	if err := generate(data, int64(mib)<<20); err != nil {
		return err
	}
	peers, err := findPeers(work)
	if err != nil {
		return err
	}
	results := map[string]map[string][]sample{}
	for range runs {
		for _, p := range peers {
			repo := filepath.Join(work, "repo-"+p.name)
			if _, err := measure(p.command("init", repo), ""); err != nil {
				return fmt.Errorf("%s init: %w", p.name, err)
			}
			for _, step := range steps {
				s, err := measure(p.command(step, repo), data)
				if err != nil {
					return fmt.Errorf("%s %s: %w", p.name, step, err)
				}
				if results[step] == nil {
					results[step] = map[string][]sample{}
				}
				results[step][p.name] = append(results[step][p.name], s)
			}
			if err := os.RemoveAll(repo); err != nil {
				return err
			}
		}
	}
	fmt.Printf("%d MiB of JSON lines, medians of %d runs\n\n", mib, runs)
	fmt.Printf("| step | program | CPU s | wall s | RSS MiB | CPU, times escrow's | wall, times escrow's |\n|---|---|---|---|---|---|---|\n")
	for _, step := range steps {
		own := median(results[step]["escrow"])
		for _, p := range peers {
			m := median(results[step][p.name])
			fmt.Printf("| %s | %s | %.2f | %.2f | %.0f | %.2f | %.2f |\n", step, p.name, m.cpu, m.wall, m.rss, m.cpu/own.cpu, m.wall/own.wall)
		}
	}
	return nil
}

func findPeers(work string) ([]peer, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	peers := []peer{{"escrow", func(step, repo string) *exec.Cmd {
		if step == "unchanged" {
			step = "backup"
		}
		return exec.Command(exe, "self", step, repo)
	}}}
	environment := append(os.Environ(), "RESTIC_PASSWORD="+password, "RUSTIC_PASSWORD="+password, "HOME="+work)
	for name, arguments := range map[string]map[string][]string{
		"restic": {
			"init": {"init"}, "backup": {"backup", "--stdin", "--stdin-filename", "data", "-q"}, "dump": {"dump", "latest", "data"},
			"check": {"check", "--read-data", "-q"},
		},
		"rustic": {
			"init": {"init"}, "backup": {"backup", "-", "--stdin-filename", "data"}, "dump": {"dump", "latest:data"},
			"check": {"check", "--read-data"},
		},
	} {
		program, err := exec.LookPath(name)
		if errors.Is(err, exec.ErrNotFound) {
			fmt.Fprintf(os.Stderr, "%s is not installed: left out\n", name)
			continue
		}
		if err != nil {
			return nil, err
		}
		peers = append(peers, peer{name, func(step, repo string) *exec.Cmd {
			if step == "unchanged" {
				step = "backup"
			}
			cmd := exec.Command(program, append([]string{"-r", repo, "--no-cache"}, arguments[step]...)...)
			cmd.Env = environment
			return cmd
		}})
	}
	return peers, nil
}

// measure runs a command with the file as its input.
func measure(cmd *exec.Cmd, input string) (sample, error) {
	if input != "" {
		f, err := os.Open(input)
		if err != nil {
			return sample{}, err
		}
		defer func() { _ = f.Close() }() // it was only read
		cmd.Stdin = f
	}
	cmd.Stderr = os.Stderr
	cmd.Stdout = nil // the null device
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return sample{}, err
	}
	s := sample{wall: time.Since(start).Seconds()}
	s.cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		s.rss = float64(u.Maxrss) / 1024
	}
	return s, nil
}

// median takes each number's median for itself.
func median(all []sample) sample {
	pick := func(get func(sample) float64) float64 {
		v := make([]float64, len(all))
		for i, s := range all {
			v[i] = get(s)
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	return sample{pick(func(s sample) float64 { return s.cpu }), pick(func(s sample) float64 { return s.wall }), pick(func(s sample) float64 { return s.rss })}
}

// generate writes JSON lines as a web server logs them, always the same.
func generate(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	r := rand.New(rand.NewPCG(1, 2))
	levels := []string{"info", "info", "info", "warn", "error"}
	words := make([]string, 4000)
	for i := range words {
		words[i] = fmt.Sprintf("w%x", r.Uint32N(1<<20))
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for n := int64(0); n < size; {
		at = at.Add(time.Duration(r.IntN(2000)) * time.Microsecond)
		k, err := fmt.Fprintf(w, `{"@timestamp":%q,"level":%q,"host":"web-%d","status":%d,"bytes":%d,"path":"/%s/%s","agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36","trace":"%016x","message":"`,
			at.Format(time.RFC3339Nano), levels[r.IntN(len(levels))], r.IntN(40), 200+r.IntN(5)*100, r.IntN(100000), words[r.IntN(200)], words[r.IntN(4000)], r.Uint64())
		if err != nil {
			return err
		}
		n += int64(k)
		for range 40 {
			k, err := w.WriteString(words[int(float64(len(words))*r.Float64()*r.Float64())] + " ")
			if err != nil {
				return err
			}
			n += int64(k)
		}
		if _, err := w.WriteString("\"}\n"); err != nil {
			return err
		}
		n += 3
	}
	return errors.Join(w.Flush(), f.Close())
}
