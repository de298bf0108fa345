package elasticdump_test

import (
	"context"
	"fmt"
	"log"
	"testing/fstest"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/restore"
	"github.com/escrow-backup/escrow/restore/elasticdump"
)

func ExampleOpen() {
	ctx := context.Background()
	dir := fstest.MapFS{ // or os.DirFS
		"orders.json":          {Data: []byte(`{"_index":"orders","_id":"1","_source":{"total":1.50}}` + "\n")},
		"orders.mapping.json":  {Data: []byte(`{"orders":{"mappings":{"properties":{"total":{"type":"double"}}}}}`)},
		"orders.settings.json": {Data: []byte(`{"orders":{"settings":{"index":{"number_of_shards":"1","number_of_replicas":"0"}}}}`)},
	}
	src, err := elasticdump.Open(ctx, dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	es := estest.NewHandler(nil).Transport() // or the client of a cluster
	plan, err := restore.NewPlan(ctx, src, es, nil)
	if err != nil {
		log.Fatal(err)
	}
	r, err := plan.Run(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Indices, "index", r.Documents, "document")
	// Output: 1 index 1 document
}
