package escrow_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/elastic/go-elasticsearch/v8"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/restore"
)

// The whole job: back up an index, lose it, restore it, compare. Put your cluster in the place of the one in memory, and
// local.New("/srv/backups") in that of mem.New().
func Example() {
	ctx := context.Background()
	server := estest.New(nil, nil)
	defer server.Close()
	es := server.Client()
	fill(es)

	repo, err := repository.Init(ctx, mem.New(), "a long password", &repository.Options{ScryptN: 16}) // leave ScryptN alone
	if err != nil {
		log.Fatal(err)
	}
	defer repo.Close()
	saved, err := backup.Run(ctx, es, repo, &backup.Options{Indices: []string{"books"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("saved:", saved.Documents)

	if _, err := es.Indices.Delete([]string{"books"}); err != nil {
		log.Fatal(err)
	}

	files, err := repo.FS(ctx, saved.Snapshot)
	if err != nil {
		log.Fatal(err)
	}
	plan, err := restore.NewPlan(ctx, files, es, nil)
	if err != nil {
		log.Fatal(err)
	}
	loaded, err := plan.Run(ctx)
	if err != nil {
		log.Fatal(err)
	}
	diff, err := restore.Verify(ctx, files, es, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("restored:", loaded.Documents)
	fmt.Println("identical:", diff.Identical())
	// Output:
	// saved: 2
	// restored: 2
	// identical: true
}

func fill(es *elasticsearch.Client) {
	body := strings.NewReader(`{"index":{"_id":"1"}}
{"title":"Middlemarch","pages":880}
{"index":{"_id":"2"}}
{"title":"Walden","pages":352}
`)
	res, err := es.Bulk(body, es.Bulk.WithIndex("books"), es.Bulk.WithRefresh("true"))
	if err != nil || res.IsError() {
		log.Fatal(res, err)
	}
}
