package b2_test

import (
	"context"
	"fmt"
	"log"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/b2"
)

// It takes an account, so it is compiled and not run.
func ExampleOpen() {
	keys := map[string]string{"B2_ACCOUNT_ID": "...", "B2_ACCOUNT_KEY": "..."}
	ctx := context.Background()
	b, err := b2.Open(ctx, b2.Config{Bucket: "backups", Prefix: "nightly", Settings: &backend.Settings{
		Lookup: func(key string) (string, bool) { v, found := keys[key]; return v, found }}})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	for f, err := range b.List(ctx, backend.Snapshot) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(f.Handle.Name, f.Size)
	}
}
