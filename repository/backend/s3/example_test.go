package s3_test

import (
	"context"
	"fmt"
	"log"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/s3"
)

func ExampleOpener() {
	var m backend.Mux
	m.Handle("s3", s3.Opener)
	secret := map[string]string{"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI"} // or the environment: leave Lookup out
	b, err := m.Open(context.Background(), "s3:https://minio.example.org:9000/backups/elasticsearch", &backend.Settings{
		Lookup: func(key string) (string, bool) {
			v, found := secret[key]
			return v, found
		},
		StorageClass: "STANDARD_IA",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	fmt.Println(backend.Connections(b), "calls at once")
	// Output: 8 calls at once
}

func ExampleOpen() {
	b, err := s3.Open(context.Background(), s3.Config{
		Endpoint:     "https://storagegrid.example.org:10443",
		Bucket:       "backups",
		Prefix:       "elasticsearch",
		BucketLookup: "path",
		Anonymous:    true,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(b.Close())
	// Output: <nil>
}
