package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/escrow-backup/escrow/internal/e2e/servers"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/local"
	"github.com/escrow-backup/escrow/repository/backend/s3"
	"github.com/escrow-backup/escrow/repository/backend/wrap"
)

// open opens a directory, or an "s3:" URL in the way that the command line does.
func open(ctx context.Context, place string) (backend.Backend, error) {
	if !strings.HasPrefix(place, "s3:") {
		return local.New(place)
	}
	var m backend.Mux
	m.Handle("s3", s3.Opener)
	b, err := m.Open(ctx, place, nil)
	if err != nil {
		return nil, err
	}
	return wrap.Retry(wrap.Connections(wrap.Timeout(b, nil), backend.Connections(b)), nil), nil
}

// startMinIO starts the server, and puts its credentials into the environment of all that is measured.
func (b *bench) startMinIO() (stop func(), err error) {
	program, err := servers.Path(context.Background(), "minio")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // for a port that is free
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	const id, secret = "benchmark", "benchmark-secret"
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret, "AWS_DEFAULT_REGION": "us-east-1"} {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command(program, "server", "--quiet", "--address", addr, filepath.Join(b.work, "minio"))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.work, "MINIO_ROOT_USER=" + id, "MINIO_ROOT_PASSWORD=" + secret,
		"MINIO_UPDATE=off", "MINIO_BROWSER=off"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// The kernel sends the signal of Pdeathsig when the thread that started the child ends, so keep that thread.
	runtime.LockOSThread()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill() // it has ended, or ends now
		_ = cmd.Wait()         // with the news that it was killed
	}
	b.server = "http://" + addr
	for range 600 {
		resp, err := http.Get(b.server + "/minio/health/cluster")
		if err == nil {
			_ = resp.Body.Close() // the status is all
			if resp.StatusCode == http.StatusOK {
				return stop, nil
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	stop()
	return nil, fmt.Errorf("minio at %s does not answer", addr)
}
