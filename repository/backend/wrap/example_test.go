package wrap_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/backend/wrap"
)

// A connection that breaks after the file was stored, before the answer arrived.
func ExampleRetry() {
	faults := backendtest.NewFaults(mem.New()).LoseAck("Save", backend.Pack, 1, errors.New("connection reset"))
	b := wrap.Retry(wrap.Timeout(faults, nil), &wrap.RetryOptions{
		FirstWait: time.Millisecond,
		Notify:    func(r wrap.Retrying) { fmt.Printf("try %d of %s failed\n", r.Try, r.Op) },
	})
	const content = "content"
	h := backendtest.HandleOf(backend.Pack, []byte(content))
	fmt.Println(b.Save(context.Background(), h, strings.NewReader(content), int64(len(content))))
	// Output:
	// try 1 of save failed
	// <nil>
}
