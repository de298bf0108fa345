package e2e_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend/local"
)

const password = "correct horse battery staple"

// cli runs the escrow command line on one repository.
type cli struct {
	program string
	repo    string
	env     []string // beside the defaults, later ones win
}

// newCLI returns a cli with a repository that is not made yet.
func newCLI(t *testing.T) *cli {
	t.Helper()
	return &cli{program: buildEscrow(t), repo: filepath.Join(t.TempDir(), "repo")}
}

// init makes the repository. Its password is cheap to try, unlike that of "escrow init": these tests open it many times.
func (c *cli) init(t testing.TB) {
	t.Helper()
	b, err := local.New(c.repo)
	require.NoError(t, err)
	repo, err := repository.Init(t.Context(), b, password, &repository.Options{ScryptN: 1 << 10})
	require.NoError(t, err)
	require.NoError(t, repo.Close())
	require.NoError(t, b.Close())
}

func (c *cli) with(env ...string) *cli {
	d := *c
	d.env = append(append([]string{}, c.env...), env...)
	return &d
}

func (c *cli) command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), c.program, args...)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"),
		"RESTIC_REPOSITORY=" + c.repo, "RESTIC_PASSWORD=" + password,
	}, c.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// result is how a run ended.
type result struct {
	code           int
	stdout, stderr string
}

func (c *cli) run(t testing.TB, args ...string) result {
	t.Helper()
	return finish(t, c.command(t, args...))
}

func finish(t testing.TB, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		require.NoError(t, err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// ok runs a command that must succeed.
func (c *cli) ok(t testing.TB, args ...string) result {
	t.Helper()
	r := c.run(t, args...)
	require.Zero(t, r.code, "escrow %s: %s", strings.Join(args, " "), r.stderr)
	return r
}

// summary runs a command with --json that must succeed, and decodes its last line.
func (c *cli) summary(t testing.TB, into any, args ...string) {
	t.Helper()
	lines := objects(t, c.ok(t, append(args, "--json")...).stdout)
	require.NotEmpty(t, lines)
	require.NoError(t, json.Unmarshal(lines[len(lines)-1], into))
}

// objects splits the output of --json and requires that every line is an object with a message_type.
func objects(t testing.TB, stdout string) []json.RawMessage {
	t.Helper()
	var all []json.RawMessage
	for line := range strings.Lines(stdout) {
		var o struct {
			Type string `json:"message_type"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &o), line)
		require.NotEmpty(t, o.Type, line)
		all = append(all, json.RawMessage(line))
	}
	return all
}

// failed requires the exit code and a single line on standard error that holds every one of the words.
func (r result) failed(t testing.TB, code int, words ...string) {
	t.Helper()
	require.Equal(t, code, r.code, "stdout: %.2000s\nstderr: %s", r.stdout, r.stderr)
	require.Equal(t, 1, strings.Count(r.stderr, "\n"), "not one line: %q", r.stderr)
	require.True(t, strings.HasPrefix(r.stderr, "escrow: "), r.stderr)
	for _, w := range words {
		require.Contains(t, r.stderr, w)
	}
	require.NotContains(t, r.stderr, password)
}

// snapshots lists the ids of the repository's snapshots.
func (c *cli) snapshots(t testing.TB) []string {
	t.Helper()
	var ids []string
	for _, line := range objects(t, c.ok(t, "snapshots", "--json").stdout) {
		var s struct {
			ID string `json:"snapshot_id"`
		}
		require.NoError(t, json.Unmarshal(line, &s))
		ids = append(ids, s.ID)
	}
	return ids
}

// clean requires that the repository checks clean, every byte of it.
func (c *cli) clean(t testing.TB) {
	t.Helper()
	var s struct {
		Problems int  `json:"problems"`
		ReadData bool `json:"read_data"`
	}
	c.summary(t, &s, "check", "--read-data")
	require.Zero(t, s.Problems)
	require.True(t, s.ReadData)
}

// identical requires that the cluster holds what a snapshot says.
func (c *cli) identical(t testing.TB, e *es, args ...string) {
	t.Helper()
	var s struct {
		Identical bool `json:"identical"`
		Documents int64
	}
	c.summary(t, &s, append([]string{"verify", "--es", e.url}, args...)...)
	require.True(t, s.Identical)
	require.Positive(t, s.Documents)
}

// measured runs a command and returns its largest resident size in bytes.
func (c *cli) measured(t testing.TB, args ...string) (result, int64) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := c.command(t, args...)
	cmd.Path, cmd.Args = self, append([]string{self, c.program}, args...)
	cmd.Env = append(cmd.Env, rusageVariable+"=1")
	read, write, err := os.Pipe()
	require.NoError(t, err)
	defer func() { require.NoError(t, read.Close()) }()
	cmd.ExtraFiles = []*os.File{write}
	r := finish(t, cmd)
	require.NoError(t, write.Close())
	report, err := io.ReadAll(read)
	require.NoError(t, err)
	kib, err := strconv.ParseInt(strings.TrimSpace(string(report)), 10, 64)
	require.NoError(t, err)
	return r, kib << 10
}
