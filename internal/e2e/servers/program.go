package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/escrow-backup/escrow/internal/e2e/need"
)

// Program is one that is built from a Go module or installed from an npm package, in a version that is pinned here.
type Program struct {
	Name    string // of the executable
	Version string

	source string // a Go package, or an npm package
	npm    bool
}

var (
	minioProgram     = Program{Name: "minio", Version: "v0.0.0-20260212201848-7aac2a2c5b7c", source: "github.com/minio/minio"}
	versitygwProgram = Program{Name: "versitygw", Version: "v1.8.0", source: "github.com/versity/versitygw/cmd/versitygw"}
	gcsProgram       = Program{Name: "fake-gcs-server", Version: "v1.56.1", source: "github.com/fsouza/fake-gcs-server"}
	azuriteProgram   = Program{Name: "azurite-blob", Version: "3.37.0", source: "azurite", npm: true}
	elasticdump      = Program{Name: "elasticdump", Version: "6.125.1", source: "elasticdump", npm: true}
)

// Programs are all that Install can install.
var Programs = []Program{minioProgram, versitygwProgram, gcsProgram, azuriteProgram, elasticdump}

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
	return filepath.Join(base, "escrow-e2e", "servers", p.Name+"-"+p.Version), err
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
	if p.npm {
		cmd = exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--prefix", work, p.source+"@"+p.Version)
	}
	cmd.Dir = work
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
