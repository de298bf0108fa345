// Package resticcli runs the restic program on repositories: the judge of what package repository writes.
package resticcli

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/need"
)

// CLI runs restic on one repository.
type CLI struct {
	Repo string   // its directory or URL
	Env  []string // more of restic's environment, such as credentials
	Args []string // of every command, such as "-o", "sftp.command=..."

	program  string
	password string
	cache    string
}

// New returns a CLI for the repository at that place, or ends the test as package need says.
func New(t testing.TB, repo, password string) *CLI {
	t.Helper()
	return &CLI{
		Repo:     repo,
		program:  need.Program(t, "restic", "apt-get install restic"),
		password: password,
		cache:    t.TempDir(),
	}
}

// Command returns restic with the given arguments, not yet started.
func (c *CLI) Command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), c.program, slices.Concat(c.Args, args)...)
	// Nothing of the environment that this test runs in may decide what restic does.
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + c.cache,
		"RESTIC_REPOSITORY=" + c.Repo,
		"RESTIC_PASSWORD=" + c.password,
		"RESTIC_CACHE_DIR=" + filepath.Join(c.cache, "cache"),
		"TMPDIR=" + c.cache,
	}, c.Env...)
	return cmd
}

// Run runs restic and returns what it prints; an exit code other than 0 fails the test.
func (c *CLI) Run(t testing.TB, args ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	c.Stream(t, &out, args...)
	return out.Bytes()
}

// Stream runs restic with its output sent to w; an exit code other than 0 fails the test.
func (c *CLI) Stream(t testing.TB, w io.Writer, args ...string) {
	t.Helper()
	cmd := c.Command(t, args...)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = w, &stderr
	require.NoError(t, cmd.Run(), "restic %s: %s", strings.Join(args, " "), stderr.String())
}

// Init makes a new repository of format version 2.
func (c *CLI) Init(t testing.TB) {
	t.Helper()
	c.Run(t, "init", "--repository-version", "2")
}

// Check reads and verifies everything; any finding fails the test.
func (c *CLI) Check(t testing.TB) {
	t.Helper()
	require.Contains(t, string(c.Run(t, "check", "--read-data")), "no errors were found")
}

// Snapshot is what restic says about a snapshot.
type Snapshot struct {
	ID       string   `json:"id"`
	Hostname string   `json:"hostname"`
	Tags     []string `json:"tags"`
	Paths    []string `json:"paths"`
	Parent   string   `json:"parent"`
}

// Snapshots lists the repository's snapshots, ascending by time.
func (c *CLI) Snapshots(t testing.TB) []Snapshot {
	t.Helper()
	var s []Snapshot
	require.NoError(t, json.Unmarshal(c.Run(t, "snapshots", "--json"), &s))
	return s
}

// Node is a line of Ls.
type Node struct {
	Path string `json:"path"`
	Type string `json:"type"`
	Size int64  `json:"size"`
}

// Ls lists the files and folders of a snapshot.
func (c *CLI) Ls(t testing.TB, snapshot string) []Node {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(c.Run(t, "ls", "--json", snapshot)))
	var nodes []Node
	for first := true; ; first = false {
		var n Node
		err := d.Decode(&n)
		if err == io.EOF {
			return nodes
		}
		require.NoError(t, err)
		if !first { // the first line is the snapshot itself
			nodes = append(nodes, n)
		}
	}
}

// Dump returns a file's bytes.
func (c *CLI) Dump(t testing.TB, snapshot, path string) []byte {
	t.Helper()
	return c.Run(t, "dump", snapshot, path)
}
