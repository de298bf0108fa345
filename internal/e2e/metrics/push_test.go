// Package metrics_test asks real programs about the metrics: Prometheus' Pushgateway and promtool.
package metrics_test

import (
	"bytes"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/need"
	"github.com/escrow-backup/escrow/internal/e2e/servers"
	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/metrics/push"
)

var (
	invoker = metrics.Invoker{Kind: "BackupBatch", Namespace: "demo", Name: "all", Driver: "Restic", Repository: "store"}
	target  = metrics.Target{Group: "appcatalog.appscode.com", Kind: "AppBinding", Name: "es"}
)

// scrape reads what Prometheus would.
func scrape(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url + "/metrics")
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(body)
}

// series gives the values of a metric, by line.
func series(text, name string, having ...string) []string {
	var out []string
lines:
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, name+"{") {
			continue
		}
		for _, h := range having {
			if !strings.Contains(line, h) {
				continue lines
			}
		}
		out = append(out, strings.TrimSpace(line[strings.LastIndex(line, "}")+1:]))
	}
	return out
}

func all(t *testing.T, c *metrics.Catalogue, s metrics.Sink, success bool, end time.Time) {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, (&metrics.BackupSession{Invoker: invoker, Success: success, Targets: 1, Duration: time.Second, End: end}).Record(ctx, c, s))
	require.NoError(t, (&metrics.BackupTarget{Invoker: invoker, Target: target, Success: success, Hosts: 2, End: end}).Record(ctx, c, s))
	for i, host := range []string{"host/0", "host-1"} {
		require.NoError(t, (&metrics.BackupHost{Success: success, Duration: time.Second, Bytes: int64(100 + i)}).Record(ctx, c, s, invoker, target, host))
	}
	restore := metrics.Invoker{Kind: "RestoreSession", Namespace: "demo", Name: "back", Driver: "Restic", Repository: "store"}
	require.NoError(t, (&metrics.RestoreSession{Invoker: restore, Success: success, Targets: 1, End: end}).Record(ctx, c, s))
	require.NoError(t, (&metrics.RestoreTarget{Invoker: restore, Target: target, Success: success, Hosts: 1}).Record(ctx, c, s))
	require.NoError(t, (&metrics.RestoreHost{Success: success}).Record(ctx, c, s, restore, target, "host-0"))
	require.NoError(t, (&metrics.Repository{Namespace: "demo", Name: "store", Backend: "s3", Bucket: "b", Checked: true, Dedup: 2}).Record(ctx, c, s))
	require.NoError(t, metrics.Flush(ctx, s))
}

func TestPushgatewayShowsEveryMetricOfTheCatalogue(t *testing.T) {
	for _, names := range []metrics.Names{metrics.ShortNames, metrics.LongNames} {
		url := servers.Pushgateway(t)
		c := metrics.NewCatalogue(names)
		g, err := push.New(url, nil)
		require.NoError(t, err)
		all(t, c, g, true, time.Unix(1700000000, 0))
		text := scrape(t, url)
		for m := range c.All() {
			require.NotEmpty(t, series(text, m.Name), m.Name)
			require.Contains(t, text, "# HELP "+m.Name+" "+m.Help+"\n")
			for _, label := range m.Labels {
				require.Len(t, series(text, m.Name, label+`="`), len(series(text, m.Name)), "%s: label %s", m.Name, label)
			}
		}
		job := `job="backupbatch-demo-all"`
		require.Equal(t, []string{"100"}, series(text, c.HostSize.Name, job, `hostname="host/0"`), "hosts do not overwrite each other")
		require.Equal(t, []string{"101"}, series(text, c.HostSize.Name, job, `hostname="host-1"`))

		// A failure says so, and leaves what it knows nothing new of.
		all(t, c, g, false, time.Unix(1700000600, 0))
		text = scrape(t, url)
		require.Equal(t, []string{"0"}, series(text, c.BackupSuccess.Name, job))
		require.Equal(t, []string{"1.7e+09"}, series(text, c.BackupLastSuccess.Name, job))
		require.Equal(t, []string{"1.7000006e+09"}, series(text, c.OwnBackupLastRun.Name, job))
		require.Equal(t, []string{"0"}, series(text, c.HostSuccess.Name, job, `hostname="host-1"`))

		require.NoError(t, g.Delete(t.Context(), invoker.Group()))
		goes(t, url, c.BackupSuccess.Name, job)
		goes(t, url, c.HostSize.Name, job)
		require.Len(t, series(scrape(t, url), c.RestoreSuccess.Name), 1)
		require.NoError(t, g.Delete(t.Context(), invoker.Group()), "it is gone already")
		require.NoError(t, g.Delete(t.Context(), (&metrics.Repository{Namespace: "demo", Name: "store"}).Group()))
		goes(t, url, c.RepositorySize.Name)
	}
}

// goes waits until there are no such series: a Pushgateway deletes after it has answered.
func goes(t *testing.T, url, name string, labels ...string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); len(series(scrape(t, url), name, labels...)) > 0; time.Sleep(5 * time.Millisecond) {
		require.True(t, time.Now().Before(end), "%s is still there", name)
	}
}

// promtool complains about names that Stash gave; escrow's own are as they should be.
func TestPromtoolCheckMetrics(t *testing.T) {
	promtool := need.Program(t, "promtool", "apt-get install prometheus")
	var sink metrics.Memory
	all(t, metrics.NewCatalogue(metrics.ShortNames), &sink, true, time.Unix(1700000000, 0))
	var text bytes.Buffer
	_, err := sink.WriteTo(&text)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	cmd.Stdin = &text
	out, err := cmd.CombinedOutput()
	if err != nil {
		require.Equal(t, 3, cmd.ProcessState.ExitCode(), "%s", out)
	}
	for line := range strings.Lines(string(out)) {
		name, complaint, _ := strings.Cut(line, " ")
		require.True(t, strings.HasPrefix(name, "stash_") && strings.Contains(complaint, "_total") ||
			strings.HasPrefix(name, "stash_") && strings.Contains(complaint, "_count"), line)
	}
}
