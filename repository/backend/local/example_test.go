package local_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/local"
)

func ExampleNew() {
	dir, err := os.MkdirTemp("", "repository-*")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b, err := local.New(dir)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	body := []byte("the content of a pack")
	sum := sha256.Sum256(body)
	h := backend.Handle{Type: backend.Pack, Name: hex.EncodeToString(sum[:])}
	if err := b.Save(ctx, h, bytes.NewReader(body), int64(len(body))); err != nil {
		log.Fatal(err)
	}
	r, err := b.Load(ctx, h, 4, 7)
	if err != nil {
		log.Fatal(err)
	}
	part, err := io.ReadAll(r)
	if err != nil {
		log.Fatal(err)
	}
	if err := r.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", part)
	if err := b.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: content
}
