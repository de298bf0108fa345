package main

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend/local"
)

// What must never be in any output.
const (
	repoPassword = "correct-horse-battery"
	esPassword   = "very-secret-password"
	esAPIKey     = "c2VjcmV0LWlkOnNlY3JldC1rZXk="
)

// shell runs the program in process. Every run checks that no secret is shown and that a failure is one line.
type shell struct {
	t   *testing.T
	ctx context.Context
	env map[string]string
}

func newShell(t *testing.T) *shell {
	return &shell{t: t, ctx: t.Context(), env: map[string]string{
		"RESTIC_REPOSITORY": filepath.Join(t.TempDir(), "repository"),
		"RESTIC_PASSWORD":   repoPassword,
	}}
}

func (s *shell) repo() string { return s.env["RESTIC_REPOSITORY"] }

// init makes a repository that opens fast: the password's key costs next to nothing.
func (s *shell) init() {
	s.t.Helper()
	store, err := local.New(s.repo())
	require.NoError(s.t, err)
	repo, err := repository.Init(s.t.Context(), store, repoPassword, &repository.Options{ScryptN: 16})
	require.NoError(s.t, err)
	require.NoError(s.t, repo.Close())
	require.NoError(s.t, store.Close())
}

func (s *shell) run(args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	return s.runIn("", args...)
}

func (s *shell) runIn(stdin string, args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	var out, err bytes.Buffer
	env := func(name string) string { return s.env[name] }
	a := newApp(env, strings.NewReader(stdin), &out, &err)
	a.lockSettle, a.scryptN = time.Millisecond, 16 // keys cost a second each with the race detector
	code = a.run(s.ctx, args)
	for _, secret := range []string{repoPassword, esPassword, esAPIKey} {
		require.NotContains(s.t, out.String()+err.String(), secret)
	}
	if code == exitFailed || code == exitUsage {
		require.Regexp(s.t, `\Aescrow: [^\n]+\n\z`, err.String(), "args %q", args)
	} else {
		require.Empty(s.t, err.String(), "args %q", args)
	}
	return code, out.String(), err.String()
}

// ok runs a command that must succeed.
func (s *shell) ok(args ...string) string {
	s.t.Helper()
	code, stdout, stderr := s.run(args...)
	require.Zero(s.t, code, "args %q: %s", args, stderr)
	return stdout
}

// objects runs a command with --json and decodes its lines.
func (s *shell) objects(wantCode int, args ...string) []map[string]any {
	s.t.Helper()
	code, stdout, stderr := s.run(append(args, "--json")...)
	require.Equal(s.t, wantCode, code, "args %q: %s", args, stderr)
	var all []map[string]any
	for line := range strings.Lines(stdout) {
		o := map[string]any{}
		require.NoError(s.t, json.Unmarshal([]byte(line), &o), "line %q", line)
		require.NotEmpty(s.t, o["message_type"], "line %q", line)
		if o["message_type"] != "status" {
			all = append(all, o)
		}
	}
	return all
}

// fails runs a command that must fail with one line that holds every one of the given texts.
func (s *shell) fails(wantCode int, texts []string, args ...string) {
	s.t.Helper()
	code, _, stderr := s.run(args...)
	require.Equal(s.t, wantCode, code, "args %q: %s", args, stderr)
	for _, text := range texts {
		require.Contains(s.t, stderr, text, "args %q", args)
	}
}

func keys(o map[string]any) []string {
	var names []string
	for name := range o {
		names = append(names, name)
	}
	return names
}

func TestUsage(t *testing.T) {
	s := newShell(t)
	for _, c := range []struct {
		text string
		args []string
	}{
		{"no command given (see escrow --help)", nil},
		{`unknown command "frobnicate"`, []string{"frobnicate"}},
		{"unknown flag: --frobnicate (see escrow backup --help)", []string{"backup", "--frobnicate"}},
		{"accepts 2 arg(s), received 1", []string{"dump", "latest"}},
		{"accepts at most 2 arg(s), received 3", []string{"ls", "latest", "a", "b"}},
		{"unknown command", []string{"backup", "surplus"}},
		{`invalid argument "many"`, []string{"backup", "--concurrency", "many"}},
		{"no Elasticsearch", []string{"backup"}},
		{"not both", []string{"backup", "--es", "http://127.0.0.1:1", "--appbinding", "file"}},
		{"--connections -1", []string{"snapshots", "--connections", "-1"}},
		{"--storage-retries -1", []string{"snapshots", "--storage-retries", "-1"}},
		{"--stuck-request-timeout 0s", []string{"snapshots", "--stuck-request-timeout", "0"}},
		{"--limit-upload -5", []string{"snapshots", "--limit-upload", "-5"}},
		{"--secrets", []string{"backup", "--es", "http://127.0.0.1:1", "--secrets", "dir"}},
		{`--conflict "shrug"`, []string{"restore", "--es", "http://127.0.0.1:1", "--conflict", "shrug"}},
		{`--rename "a"`, []string{"restore", "--es", "http://127.0.0.1:1", "--rename", "a"}},
		{`--rename-alias "a"`, []string{"restore", "--es", "http://127.0.0.1:1", "--rename-alias", "a"}},
		{`--query: query: match: it is none of`, []string{"verify", "--es", "http://127.0.0.1:1", "--query", `{"match":{}}`}},
		{`--from: "soon" is no date`, []string{"restore", "--es", "http://127.0.0.1:1", "--from", "soon"}},
		{"--documents-only and --metadata-only", []string{"restore", "--es", "http://127.0.0.1:1", "--documents-only", "--metadata-only"}},
		{"--settings: want a JSON object", []string{"restore", "--es", "http://127.0.0.1:1", "--settings", "[]"}},
		{`--rename "a**=b"`, []string{"verify", "--es", "http://127.0.0.1:1", "--rename", "a**=b"}},
		{"cat what?", []string{"cat"}},
		{"unknown command", []string{"cat", "dog"}},
	} {
		s.fails(exitUsage, []string{c.text}, c.args...)
	}
	s.env["RESTIC_PASSWORD"] = ""
	s.fails(exitUsage, []string{"no password", "RESTIC_PASSWORD"}, "snapshots")
	s.env["RESTIC_REPOSITORY"] = ""
	s.fails(exitUsage, []string{"no repository", "RESTIC_REPOSITORY"}, "snapshots")
}

func TestUnknownScheme(t *testing.T) {
	newShell(t).fails(exitFailed, []string{`unknown scheme "gopher"`}, "snapshots", "--repo", "gopher:somewhere")
}

func TestHelp(t *testing.T) {
	s := newShell(t)
	s.env["RESTIC_REPOSITORY"] = "rest:https://user:" + esPassword + "@host/"
	out := s.ok("--help")
	for _, name := range []string{"init", "backup", "restore", "verify", "snapshots", "ls", "cat", "dump", "check",
		"forget", "prune", "tag", "unlock"} {
		require.Contains(t, out, "\n  "+name+" ")
		require.Contains(t, s.ok(name, "--help"), "Usage:\n  escrow "+name)
	}
}
