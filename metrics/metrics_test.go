package metrics_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/escrow-backup/escrow/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	invoker = metrics.Invoker{Kind: "BackupConfiguration", Namespace: "demo", Name: "nightly", Driver: "Restic", Repository: "store"}
	target  = metrics.Target{Group: "appcatalog.appscode.com", Kind: "AppBinding", Name: "es"}
	end     = time.Unix(1700000000, 500e6)
)

func record(t *testing.T, c *metrics.Catalogue, s metrics.Sink, success bool) {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, (&metrics.BackupSession{Invoker: invoker, Success: success, Targets: 1, Duration: 3 * time.Second, End: end}).Record(ctx, c, s))
	require.NoError(t, (&metrics.BackupTarget{Invoker: invoker, Target: target, Success: success, Hosts: 1, End: end}).Record(ctx, c, s))
	require.NoError(t, (&metrics.BackupHost{Success: success, Duration: 2 * time.Second, Bytes: 100, Stored: 10, Files: 4, FilesNew: 1,
		FilesModified: 2, FilesUnmodified: 3, Documents: 5, DocumentsRead: 6, Segments: 7, SegmentsReused: 8, Requests: 9, Retries: 11,
		Omissions: 12}).Record(ctx, c, s, invoker, target, "host-0"))
	r := invoker
	r.Kind = "RestoreSession"
	require.NoError(t, (&metrics.RestoreSession{Invoker: r, Success: success, Targets: 1, Duration: time.Second, End: end}).Record(ctx, c, s))
	require.NoError(t, (&metrics.RestoreTarget{Invoker: r, Target: target, Success: success, Hosts: 1}).Record(ctx, c, s))
	require.NoError(t, (&metrics.RestoreHost{Success: success, Duration: time.Second, Documents: 5, Bytes: 50, Rejected: 1, Retried: 2}).
		Record(ctx, c, s, r, target, "host-0"))
	require.NoError(t, (&metrics.Repository{Namespace: "demo", Name: "store", Backend: "s3", Bucket: "b", Prefix: "p", Size: 1000, Snapshots: 3,
		Cleaned: 2, Checked: true, Problems: 0, Dedup: 4.5}).Record(ctx, c, s))
}

// names lists the catalogue as it was read from Stash's documentation, and escrow's own.
func TestEveryMetricOfTheCatalogueIsRecordedByItsNameAndLabels(t *testing.T) {
	for _, names := range []metrics.Names{metrics.ShortNames, metrics.LongNames} {
		c := metrics.NewCatalogue(names)
		var sink metrics.Memory
		record(t, c, &sink, true)
		recorded := map[string]bool{}
		for _, s := range sink.Samples() {
			recorded[s.Metric.Name] = true
		}
		var lines []string
		for m := range c.All() {
			require.True(t, recorded[m.Name], "%s is never recorded", m.Name)
			lines = append(lines, m.Name+" "+strings.Join(m.Labels, ","))
		}
		want, err := os.ReadFile(fmt.Sprintf("testdata/names-%d.txt", names))
		require.NoError(t, err)
		require.Equal(t, strings.TrimSpace(string(want)), strings.Join(lines, "\n"))
	}
}

func TestFailureLeavesTheLastSuccessAlone(t *testing.T) {
	c := metrics.NewCatalogue(metrics.ShortNames)
	var sink metrics.Memory
	record(t, c, &sink, false)
	for _, m := range []*metrics.Metric{c.BackupSuccess, c.TargetSuccess, c.HostSuccess, c.RestoreSuccess, c.RestoreTargetSuccess, c.RestoreHostSuccess} {
		v, found := sink.Value(m)
		require.True(t, found, m.Name)
		require.Zero(t, v, m.Name)
	}
	for _, m := range []*metrics.Metric{c.BackupLastSuccess, c.TargetLastSuccess, c.OwnRestoreLastSuccess, c.HostSize} {
		_, found := sink.Value(m)
		require.False(t, found, m.Name)
	}
	for _, m := range []*metrics.Metric{c.OwnBackupLastRun, c.OwnRestoreLastRun} {
		v, found := sink.Value(m)
		require.True(t, found)
		require.Equal(t, 1700000000.5, v)
	}
	v, _ := sink.Value(c.HostDuration)
	require.Equal(t, 2.0, v)
}

func TestGroups(t *testing.T) {
	c := metrics.NewCatalogue(metrics.ShortNames)
	var sink metrics.Memory
	record(t, c, &sink, true)
	require.NoError(t, metrics.Delete(t.Context(), &sink, invoker.Group()))
	for _, s := range sink.Samples() {
		require.NotEqual(t, "BackupConfiguration", s.Labels[0])
	}
	require.NotEmpty(t, sink.Samples())
	require.NoError(t, metrics.Delete(t.Context(), &sink, (&metrics.Repository{Namespace: "demo", Name: "store"}).Group()))
	require.NoError(t, metrics.Delete(t.Context(), &sink, "restoresession-demo-nightly"))
	require.Empty(t, sink.Samples())

	group, further, err := c.HostSize.Key([]string{"BackupBatch", "all", "demo", "Restic", "store", "AppBinding", "g", "es", "h"})
	require.NoError(t, err)
	require.Equal(t, "backupbatch-demo-all", group)
	require.Equal(t, []string{"kind", "group", "name", "hostname"}, further)
}

type failing struct{ metrics.Sink }

func (failing) Record(context.Context, *metrics.Metric, float64, ...string) error {
	return errors.New("cannot")
}
func (failing) Flush(context.Context) error { return errors.New("cannot flush") }

func TestSinks(t *testing.T) {
	c := metrics.NewCatalogue(metrics.ShortNames)
	var text bytes.Buffer
	log := metrics.Log(slog.New(slog.NewTextHandler(&text, nil)))
	var memory metrics.Memory
	both := metrics.Tee(log, &memory, metrics.Discard)
	require.NoError(t, both.Record(t.Context(), c.RepositorySize, 42, "store", "demo", "s3", "b", `a"\`+"\n"))
	require.Contains(t, text.String(), "metric=stash_repository_size_bytes value=42 name=store namespace=demo")
	require.ErrorContains(t, both.Record(t.Context(), c.RepositorySize, 42, "store"), "has 1 label values, wants 5")
	require.NoError(t, metrics.Flush(t.Context(), both))

	var out bytes.Buffer
	_, err := memory.WriteTo(&out)
	require.NoError(t, err)
	require.Equal(t, "# HELP stash_repository_size_bytes What the files of the repository take.\n# TYPE stash_repository_size_bytes gauge\n"+
		`stash_repository_size_bytes{name="store",namespace="demo",backend="s3",bucket="b",prefix="a\"\\\n"} 42`+"\n", out.String())

	bad := metrics.Tee(&memory, failing{})
	require.ErrorContains(t, (&metrics.Repository{Name: "store"}).Record(t.Context(), c, bad), "cannot")
	require.ErrorContains(t, metrics.Flush(t.Context(), bad), "cannot flush")
}
