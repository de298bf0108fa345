package mem_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

func ExampleNewOpener() {
	ctx := context.Background()
	var m backend.Mux
	m.Handle("mem", mem.NewOpener())
	first, err := m.Open(ctx, "mem:one", nil)
	if err != nil {
		log.Fatal(err)
	}
	body := []byte("the content of a snapshot file")
	sum := sha256.Sum256(body)
	name := hex.EncodeToString(sum[:])
	if err := first.Save(ctx, backend.Handle{Type: backend.Snapshot, Name: name}, bytes.NewReader(body), int64(len(body))); err != nil {
		log.Fatal(err)
	}
	for _, location := range []string{"mem:one", "mem:two"} {
		b, err := m.Open(ctx, location, nil)
		if err != nil {
			log.Fatal(err)
		}
		n := 0
		for f, err := range b.List(ctx, backend.Snapshot) {
			if err != nil {
				log.Fatal(err)
			}
			n++
			fmt.Println(location, f.Size, "bytes")
		}
		fmt.Println(location, n, "files")
	}
	// Output:
	// mem:one 30 bytes
	// mem:one 1 files
	// mem:two 0 files
}
