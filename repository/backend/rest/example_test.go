package rest_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/rest"
)

func ExampleOpen() {
	// In place of rest-server: a repository with one snapshot file.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.x.restic.rest.v2")
		_, _ = fmt.Fprintf(w, `[{"name":%q,"size":318}]`, strings.Repeat("a", 64))
	}))
	defer server.Close()

	ctx := context.Background()
	b, err := rest.Open(ctx, rest.Config{URL: server.URL + "/nightly/", Username: "kim", Password: "a long password"})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	for f, err := range b.List(ctx, backend.Snapshot) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(f.Handle.Name[:8], f.Size)
	}
	// Output: aaaaaaaa 318
}
