package backup_test

import (
	"context"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"

	"github.com/escrow-backup/escrow/backup"
)

// Back up into a directory, which package restore reads with os.DirFS.
func ExampleDir() {
	ctx := context.Background()
	s := seed(ctx)
	defer s.Close()
	tmp, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(tmp) }() // it is only an example's
	dir := filepath.Join(tmp, "dump")
	target, err := backup.Dir(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = target.Close() }() // every file is closed by then
	if _, err := backup.Dump(ctx, s.Client(), target, nil); err != nil {
		log.Fatal(err)
	}
	names, err := fs.Glob(os.DirFS(dir), "indices/orders/*")
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range names {
		fmt.Println(name)
	}
	// Output:
	// indices/orders/index.json
	// indices/orders/shard-0.ids
	// indices/orders/shard-0.ndjson
	// indices/orders/shard-0.segments.json
}
