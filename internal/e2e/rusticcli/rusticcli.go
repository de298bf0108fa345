// Package rusticcli runs the rustic program on repositories: the second judge, beside restic, of what package repository writes.
package rusticcli

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/need"
)

// Variable is the environment variable with the path of the program. Building it takes a quarter of an hour, so tests that need
// it are skipped where neither the variable nor PATH has it, even where all other programs are required. The make target
// interop-rustic builds it, and runs these tests.
const Variable = "ESCROW_RUSTIC"

// CLI runs rustic on one repository.
type CLI struct {
	Repo string // its directory

	program  string
	password string
	home     string
}

// New returns a CLI for the repository at that place, or ends the test. A Variable that names no program fails it.
func New(t testing.TB, repo, password string) *CLI {
	t.Helper()
	program := os.Getenv(Variable)
	if program != "" {
		program = need.Program(t, program, "make interop-rustic builds it")
	} else if found, err := exec.LookPath("rustic"); err == nil {
		program = found
	} else {
		t.Skip("rustic is not installed: make interop-rustic builds it and runs this test")
	}
	return &CLI{Repo: repo, program: program, password: password, home: t.TempDir()}
}

// Command returns rustic with the given arguments, not yet started.
func (c *CLI) Command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), c.program, args...)
	// Nothing of the environment that this test runs in may decide what rustic does.
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + c.home,
		"TMPDIR=" + c.home,
		"RUSTIC_REPOSITORY=" + c.Repo,
		"RUSTIC_PASSWORD=" + c.password,
		"RUSTIC_NO_CACHE=true",
		"RUSTIC_NO_PROGRESS=true",
		"RUSTIC_LOG_LEVEL=warn",
	}
	return cmd
}

// Run runs rustic and returns what it prints; an exit code other than 0 fails the test.
func (c *CLI) Run(t testing.TB, args ...string) []byte {
	t.Helper()
	out, _ := c.run(t, args...)
	return out
}

func (c *CLI) run(t testing.TB, args ...string) (stdout []byte, stderr string) {
	t.Helper()
	cmd := c.Command(t, args...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	require.NoError(t, cmd.Run(), "rustic %s: %s%s", strings.Join(args, " "), out.String(), log.String())
	return out.Bytes(), log.String()
}

// Init makes a new repository. It is of format version 2: rustic makes no others.
func (c *CLI) Init(t testing.TB) {
	t.Helper()
	c.Run(t, "init")
}

// Check reads and verifies everything; any finding, warnings too, fails the test.
func (c *CLI) Check(t testing.TB) {
	t.Helper()
	out, log := c.run(t, "check", "--read-data")
	require.Empty(t, string(out)+log)
}

// Backup backs up the entries of a directory as the root of a snapshot, reading every file, and returns what rustic says.
func (c *CLI) Backup(t testing.TB, dir string) Snapshot {
	t.Helper()
	var s Snapshot
	require.NoError(t, json.Unmarshal(c.Run(t, "backup", "--json", "--force", "--host", "rustic", "--as-path", "/", dir), &s))
	return s
}

// Snapshot is what rustic says about a snapshot.
type Snapshot struct {
	ID       string   `json:"id"`
	Hostname string   `json:"hostname"`
	Tags     []string `json:"tags"`
	Paths    []string `json:"paths"`
	Summary  struct {
		DataBlobs int64 `json:"data_blobs"`
		TreeBlobs int64 `json:"tree_blobs"`
	} `json:"summary"`
}

// Snapshots gives the repository's snapshots by id.
func (c *CLI) Snapshots(t testing.TB) map[string]Snapshot {
	t.Helper()
	var groups []struct {
		Snapshots []Snapshot `json:"snapshots"`
	}
	require.NoError(t, json.Unmarshal(c.Run(t, "snapshots", "--json"), &groups))
	all := map[string]Snapshot{}
	for _, g := range groups {
		for _, s := range g.Snapshots {
			all[s.ID] = s
		}
	}
	return all
}

// Ls gives the paths in a snapshot, relative to its root, each with a newline behind it. As JSON rustic lists only UTF-8.
func (c *CLI) Ls(t testing.TB, snapshot string) string {
	t.Helper()
	return string(c.Run(t, "ls", snapshot))
}

// Dump returns a file's bytes.
func (c *CLI) Dump(t testing.TB, snapshot, path string) []byte {
	t.Helper()
	return c.Run(t, "dump", snapshot+":"+path)
}

// Restore restores a snapshot's root into a directory.
func (c *CLI) Restore(t testing.TB, snapshot, dir string) {
	t.Helper()
	c.Run(t, "restore", snapshot, dir)
}
