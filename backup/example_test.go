package backup_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log"
	"regexp"
	"strings"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

// seed puts three orders into a cluster in memory.
func seed(ctx context.Context) *estest.Server {
	s := estest.New(nil, nil)
	es := s.Client()
	body := `{"index":{"_id":"1"}}
{"customer":"kim@example.com","total":10.50}
{"index":{"_id":"2"}}
{"customer":"lee@example.com","total":3}
{"index":{"_id":"3"}}
{"customer":"max@example.com","total":9007199254740993}
`
	res, err := es.Bulk(strings.NewReader(body), es.Bulk.WithContext(ctx), es.Bulk.WithIndex("orders"))
	if err != nil || res.IsError() {
		log.Fatal(res, err)
	}
	if err := res.Body.Close(); err != nil {
		log.Fatal(err)
	}
	return s
}

// Back up every index into a repository, twice: the second time nothing has changed, and nothing is read.
func ExampleRun() {
	ctx := context.Background()
	s := seed(ctx)
	defer s.Close()
	repo, err := repository.Init(ctx, mem.New(), "a long password", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = repo.Close() }() // it holds nothing that could fail
	for range 2 {
		res, err := backup.Run(ctx, s.Client(), repo, &backup.Options{Tags: []string{"nightly"}})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(res.Documents, "documents,", res.DocumentsRead, "read,", res.SegmentsReused, "segments reused")
	}
	// Output:
	// 3 documents, 3 read, 0 segments reused
	// 3 documents, 0 read, 1 segments reused
}

// Mask a field between cluster and repository: what the snapshot holds has never seen a customer's address.
func ExampleOptions_transform() {
	ctx := context.Background()
	s := seed(ctx)
	defer s.Close()
	repo, err := repository.Init(ctx, mem.New(), "a long password", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = repo.Close() }() // it holds nothing that could fail
	address := regexp.MustCompile(`"customer":"[^"]*"`)
	res, err := backup.Run(ctx, s.Client(), repo, &backup.Options{
		Transform: func(d *backup.Document) (bool, error) {
			d.Source = address.ReplaceAll(d.Source, []byte(`"customer":"***"`))
			return true, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	files, err := repo.FS(ctx, res.Snapshot)
	if err != nil {
		log.Fatal(err)
	}
	b, err := fs.ReadFile(files, "indices/orders/shard-0.ndjson")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(b))
	// Output:
	// {"index":{"_id":"1"}}
	// {"customer":"***","total":10.50}
	// {"index":{"_id":"2"}}
	// {"customer":"***","total":3}
	// {"index":{"_id":"3"}}
	// {"customer":"***","total":9007199254740993}
}

// Read the documents as a stream.
func ExampleDocuments() {
	ctx := context.Background()
	s := seed(ctx)
	defer s.Close()
	for d, err := range backup.Documents(ctx, s.Client(), &backup.Options{Indices: []string{"orders"}}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(d.Index, d.ID, string(d.Source))
	}
	// Output:
	// orders 1 {"customer":"kim@example.com","total":10.50}
	// orders 2 {"customer":"lee@example.com","total":3}
	// orders 3 {"customer":"max@example.com","total":9007199254740993}
}

// lineCounter is a Target of one's own: it counts lines and keeps nothing.
type lineCounter struct{ n *int }

func (c lineCounter) Create(_ context.Context, name string) (backup.File, error) {
	if !strings.HasSuffix(name, ".ndjson") {
		c.n = new(int)
	}
	return c, nil
}
func (c lineCounter) Write(p []byte) (int, error) {
	*c.n += bytes.Count(p, []byte("\n"))
	return len(p), nil
}
func (c lineCounter) Close() error { return nil }
func (c lineCounter) Abort() error { return nil }

// Dump into any Target.
func ExampleDump() {
	ctx := context.Background()
	s := seed(ctx)
	defer s.Close()
	lines := 0
	m, err := backup.Dump(ctx, s.Client(), lineCounter{&lines}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Indices[0].Name, m.Indices[0].Docs, "documents in", lines, "lines")
	// Output: orders 3 documents in 6 lines
}
