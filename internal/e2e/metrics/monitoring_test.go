package metrics_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/need"
	"github.com/escrow-backup/escrow/metrics"
)

const monitoring = "../../../examples/monitoring"

func TestAlertRules(t *testing.T) {
	promtool := need.Program(t, "promtool", "apt-get install prometheus")
	for _, args := range [][]string{{"check", "rules", "alerts.yaml"}, {"test", "rules", "alerts_test.yaml"}} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = monitoring
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}

// What the dashboard and the rules ask for is what is pushed.
func TestMonitoringNamesMetricsOfTheCatalogue(t *testing.T) {
	known := map[string]bool{}
	for m := range metrics.NewCatalogue(metrics.ShortNames).All() {
		known[m.Name] = true
	}
	name := regexp.MustCompile(`\b(stash|escrow)_[a-z_]+`)
	for _, file := range []string{"alerts.yaml", "alerts_test.yaml", "dashboard.json"} {
		text, err := os.ReadFile(monitoring + "/" + file)
		require.NoError(t, err)
		found := name.FindAllString(string(text), -1)
		require.NotEmpty(t, found, file)
		for _, n := range found {
			require.True(t, known[n], "%s: %s", file, n)
		}
	}
	text, err := os.ReadFile(monitoring + "/dashboard.json")
	require.NoError(t, err)
	var dashboard struct {
		Title  string
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(text, &dashboard))
	require.NotEmpty(t, dashboard.Panels)
	for _, p := range dashboard.Panels {
		require.NotEmpty(t, p.Title)
		require.NotEmpty(t, p.Targets, p.Title)
	}
}
