package e2e_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The quick start does on real servers what it does on the one in memory, and takes its indices away again.
func TestQuickStart(t *testing.T) {
	program := filepath.Join(t.TempDir(), "quickstart")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Dir = "../../examples/quickstart"
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	onEach(t, func(t *testing.T, e *es) {
		before := e.do(t, "GET", "/_cat/indices?h=index&s=index&expand_wildcards=all", "")
		run := exec.CommandContext(t.Context(), program, "-elasticsearch", e.url)
		run.Dir = t.TempDir()
		out, err := run.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "Everything is back, nothing is lost.")
		require.Equal(t, string(before), string(e.do(t, "GET", "/_cat/indices?h=index&s=index&expand_wildcards=all", "")))
	})
}
