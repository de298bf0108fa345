package servers

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/escrow-backup/escrow/repository/backend"
)

// GCS is a server that speaks the JSON API of Google Cloud Storage, and asks nobody who he is.
type GCS struct {
	*Process

	URL string // such as http://127.0.0.1:4443
}

// FakeGCS starts fake-gcs-server with its data in memory.
func FakeGCS(t testing.TB) *GCS {
	t.Helper()
	program := gcsProgram.need(t)
	port := freePort(t)
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	s := &GCS{URL: "http://" + addr}
	s.Process = start(t, nil, program, "-scheme", "http", "-host", "127.0.0.1", "-port", strconv.Itoa(port), "-backend", "memory",
		"-external-url", s.URL, "-public-host", addr)
	s.awaitPort(t, addr)
	return s
}

// Settings are what our driver needs to reach the server. Nothing is taken from the environment.
func (s *GCS) Settings() *backend.Settings {
	return settings(map[string]string{"STORAGE_EMULATOR_HOST": s.URL, "GOOGLE_PROJECT_ID": "project"})
}
