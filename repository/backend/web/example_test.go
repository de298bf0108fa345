package web_test

import (
	"fmt"
	"log"
	"time"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/web"
)

func ExampleTransport() {
	settings := map[string]string{"HTTPS_PROXY": "http://127.0.0.1:3128"}
	tr, err := web.Transport(&backend.Settings{
		Lookup:      func(key string) (string, bool) { v, found := settings[key]; return v, found },
		Connections: 4,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(tr.MaxConnsPerHost, tr.Proxy != nil)
	// Output: 4 true
}

func ExampleRetryAfter() {
	now := time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)
	fmt.Println(web.RetryAfter("120", now), web.RetryAfter("Fri, 02 Jan 2026 10:00:30 GMT", now))
	// Output: 2m0s 30s
}
