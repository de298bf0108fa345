package sftp_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/sftp"
)

// It takes a server, so it is compiled and not run.
func ExampleOpen() {
	key, err := os.ReadFile("/run/secrets/id_ed25519")
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	b, err := sftp.Open(ctx, sftp.Config{Host: "backup.example", User: "kim", Path: "/srv/backups", PrivateKey: key,
		KnownHostsFiles: []string{"/run/secrets/known_hosts"}})
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
