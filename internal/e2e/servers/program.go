package servers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/escrow-backup/escrow/internal/e2e/need"
)

// Program is one that is built from a Go module or installed from an npm package, in a version that is pinned here, or built from a
// module in this repository.
type Program struct {
	Name    string // of the executable
	Version string // empty for a module in this repository: what its files are

	source string // a Go package, or an npm package, or a folder beside this one
	npm    bool
}

var (
	minioProgram     = Program{Name: "minio", Version: "v0.0.0-20260212201848-7aac2a2c5b7c", source: "github.com/minio/minio"}
	versitygwProgram = Program{Name: "versitygw", Version: "v1.8.0", source: "github.com/versity/versitygw/cmd/versitygw"}
	gcsProgram       = Program{Name: "fake-gcs-server", Version: "v1.56.1", source: "github.com/fsouza/fake-gcs-server"}
	azuriteProgram   = Program{Name: "azurite-blob", Version: "3.37.0", source: "azurite", npm: true}
	elasticdump      = Program{Name: "elasticdump", Version: "6.125.1", source: "elasticdump", npm: true}
	kubeProgram      = Program{Name: "kube", source: "kube"}
)

// Programs are all that Install can install.
var Programs = []Program{minioProgram, versitygwProgram, gcsProgram, azuriteProgram, elasticdump, kubeProgram}

// Path installs one of Programs, unless it is there, and returns the path of its executable.
func Path(ctx context.Context, name string) (string, error) {
	for _, p := range Programs {
		if p.Name != name {
			continue
		}
		if err := p.Install(ctx); err != nil {
			return "", err
		}
		dir, err := p.dir()
		return p.executable(dir), err
	}
	return "", fmt.Errorf("no program %q is known", name)
}

// dir is where the program lies once it is installed.
func (p Program) dir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	version := p.Version
	if version == "" {
		if version, err = p.sum(); err != nil {
			return "", fmt.Errorf("what is %s made of: %w", p.Name, err)
		}
	}
	return filepath.Join(base, "escrow-e2e", "servers", p.Name+"-"+version), nil
}

// folder is where a module in this repository lies.
func (p Program) folder() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "..", p.source)
}

// sum is a hash of everything that a module in this repository is built from, but for its tests.
func (p Program) sum() (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version())
	files := os.DirFS(p.folder())
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		name := d.Name()
		if err != nil || d.IsDir() || strings.HasSuffix(name, "_test.go") ||
			path != "go.mod" && path != "go.sum" && filepath.Ext(name) != ".go" {
			return err
		}
		content, err := fs.ReadFile(files, path)
		fmt.Fprintf(sum, "%s %d\n%s", path, len(content), content)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)[:8]), err
}

// build is the command that builds a module in this repository.
func (p Program) build(ctx context.Context, work string) (*exec.Cmd, error) {
	flags := "-s -w"
	if p == kubeProgram {
		list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes")
		list.Dir = p.folder()
		list.Env = append(os.Environ(), "GOWORK=off")
		out, err := list.Output()
		if err != nil {
			return nil, fmt.Errorf("version of Kubernetes: %w", err)
		}
		version := strings.TrimSpace(string(out))
		// What the servers say of themselves.
		flags += " -X k8s.io/component-base/version.gitVersion=" + version
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", flags, "-o", p.executable(work), ".")
	cmd.Dir = p.folder()
	return cmd, nil
}

func (p Program) executable(dir string) string {
	if p.npm {
		return filepath.Join(dir, "node_modules", ".bin", p.Name)
	}
	return filepath.Join(dir, p.Name)
}

// Install installs the program unless it is there, which takes up to some minutes.
func (p Program) Install(ctx context.Context) (err error) {
	dir, err := p.dir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	lock, err := os.Create(dir + ".lock")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }() // which also unlocks
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	work := dir + ".new" // moved to its place only when it is whole
	if err := errors.Join(os.RemoveAll(work), os.Mkdir(work, 0o700)); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "install", p.source+"@"+p.Version)
	cmd.Dir = work
	switch {
	case p.npm:
		cmd = exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--prefix", work, p.source+"@"+p.Version)
		cmd.Dir = work
	case p.Version == "":
		if cmd, err = p.build(ctx, work); err != nil {
			return err
		}
	}
	cmd.Env = append(os.Environ(), "GOBIN="+work, "GOWORK=off", "GOFLAGS=", "CGO_ENABLED=0")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("install %s %s: %w\n%s", p.Name, p.Version, err, out.Bytes())
	}
	return os.Rename(work, dir)
}

// Elasticdump is the path of the program elasticdump; multielasticdump lies beside it.
func Elasticdump(t testing.TB) string {
	t.Helper()
	return elasticdump.need(t)
}

// need returns the path of the executable, or ends the test as package need says.
func (p Program) need(t testing.TB) string {
	t.Helper()
	dir, err := p.dir()
	if err == nil {
		_, err = os.Stat(dir)
	}
	if err != nil {
		need.Missing(t, "%s is not installed: cd internal/e2e && go run ./cmd/fetch %s", p.Name, p.Name)
	}
	return p.executable(dir)
}
