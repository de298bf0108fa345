package metrics_test

import (
	"context"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/escrow-backup/escrow/metrics"
)

func Example() {
	invoker := metrics.Invoker{Kind: "BackupConfiguration", Namespace: "demo", Name: "nightly", Driver: "Restic", Repository: "store"}
	session := metrics.BackupSession{Invoker: invoker, Success: true, Targets: 1, Duration: 90 * time.Second, End: time.Unix(1700000000, 0)}
	catalogue := metrics.NewCatalogue(metrics.ShortNames)
	var memory metrics.Memory
	if err := session.Record(context.Background(), catalogue, &memory); err != nil {
		log.Fatal(err)
	}
	for _, s := range memory.Samples() {
		if s.Metric == catalogue.BackupDuration {
			fmt.Println(s.Metric.Name, strings.Join(s.Labels, " "), s.Value)
		}
	}
	// Output: stash_backup_session_duration_seconds BackupConfiguration nightly demo Restic store 90
}
