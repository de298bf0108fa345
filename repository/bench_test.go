package repository_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend/local"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// BenchmarkSaveBlob stores blobs of 4 MiB of log documents, each new.
func BenchmarkSaveBlob(b *testing.B) {
	be, err := local.New(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	r := repositorytest.Init(b, be)
	var buf bytes.Buffer
	rnd := rand.New(rand.NewPCG(1, 2))
	for buf.Len() < 4<<20 {
		fmt.Fprintf(&buf, `{"@timestamp":"2026-01-02T03:04:%02d.%03dZ","clientip":"10.%d.%d.%d","request":"GET /images/%d.gif HTTP/1.1","status":%d,"size":%d}`+"\n",
			rnd.IntN(60), rnd.IntN(1000), rnd.IntN(256), rnd.IntN(256), rnd.IntN(256), rnd.IntN(1000), 200+rnd.IntN(5), rnd.IntN(100000))
	}
	p := buf.Bytes()[:4<<20]
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	_, err = r.Write(b.Context(), repository.Header{}, func(ctx context.Context, w *repository.Writer) error {
		n := 0
		for b.Loop() {
			n++
			copy(p, fmt.Sprintf("%020d", n))
			if _, err := w.SaveBlob(ctx, p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
