package push_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/metrics/push"
)

func Example() {
	// In place of a Pushgateway.
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.URL.Path)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer gateway.Close()

	client := gateway.Client()
	defer client.CloseIdleConnections()
	g, err := push.New(gateway.URL, &push.Options{Client: client})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	session := metrics.BackupSession{Success: true, Targets: 1, Duration: 90 * time.Second, End: time.Now(),
		Invoker: metrics.Invoker{Kind: "BackupConfiguration", Namespace: "demo", Name: "nightly", Driver: "Restic", Repository: "store"}}
	if err := session.Record(ctx, metrics.NewCatalogue(metrics.ShortNames), g); err != nil {
		log.Fatal(err)
	}
	if err := g.Flush(ctx); err != nil { // nothing is sent before
		log.Fatal(err)
	}
	// Output: POST /metrics/job/backupconfiguration-demo-nightly
}
