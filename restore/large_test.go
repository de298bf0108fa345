package restore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/semaphore"
)

func TestLongLinesAreReadOneAtATime(t *testing.T) {
	long := append(bytes.Repeat([]byte("x"), largeLine+2<<20), "\nshort\n"...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	src := newLargeReads(ctx, fstest.MapFS{"a": {Data: long}, "b": {Data: long}}, semaphore.NewWeighted(largeRoom))
	a, err := src.Open("a")
	require.NoError(t, err)
	b, err := src.Open("b")
	require.NoError(t, err)
	buf := make([]byte, 1<<20)
	for range largeLine>>20 + 2 { // into the end of its long line
		_, err = io.ReadFull(a, buf)
		require.NoError(t, err)
	}
	done := make(chan error)
	go func() {
		n, err := io.Copy(io.Discard, struct{ io.Reader }{b})
		if err == nil && n != int64(len(long)) {
			err = fmt.Errorf("%d bytes", n)
		}
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatal("two long lines were read at a time", err)
	default:
	}
	rest, err := io.ReadAll(a) // what follows the line says that it was used
	require.NoError(t, err)
	require.Equal(t, "\nshort\n", string(rest))
	require.NoError(t, <-done)
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())

	// Whoever waits ends with the context, and a file that is closed within a long line lets the others go on.
	for _, closed := range []bool{true, false} {
		a, err = src.Open("a")
		require.NoError(t, err)
		b, err = src.Open("b")
		require.NoError(t, err)
		for range largeLine>>20 + 2 {
			_, err = io.ReadFull(a, buf)
			require.NoError(t, err)
		}
		if closed {
			require.NoError(t, a.Close())
			_, err = io.ReadAll(b)
			require.NoError(t, err)
		} else {
			cancel()
			_, err = io.ReadAll(b)
			require.ErrorIs(t, err, context.Canceled)
			require.NoError(t, a.Close())
		}
		require.NoError(t, b.Close())
	}
}

func TestLongLinesWaitForWhatIsBeingSent(t *testing.T) {
	sent := semaphore.NewWeighted(largeRoom)
	require.True(t, sent.TryAcquire(1))
	files := fstest.MapFS{"a": {Data: bytes.Repeat([]byte("x"), largeLine+2<<20)}}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := fs.ReadFile(newLargeReads(ctx, files, sent), "a")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	sent.Release(1)
	all, err := fs.ReadFile(newLargeReads(t.Context(), files, sent), "a")
	require.NoError(t, err)
	require.Len(t, all, largeLine+2<<20)
	require.True(t, sent.TryAcquire(largeRoom), "the room was kept")
}

func TestFewLargeDocumentsAreSentAtATime(t *testing.T) {
	const size = 1000
	var docs []Document
	for n := range 12 {
		docs = append(docs, Document{Index: "t-load", ID: fmt.Sprint(n), Source: append(bytes.Repeat([]byte(" "), size-2), "{}"...)})
	}
	docs = append(docs, in("t-load", numbered(10, 20))...)
	accept := rejectItems(func(string) bool { return false })
	var now, most atomic.Int64
	via := &between{fn: func(n int, r *http.Request, body []byte, do func() (*http.Response, error)) (*http.Response, error) {
		docs := int64(len(body) / size)
		for sum := now.Add(docs); ; {
			if m := most.Load(); m >= sum || most.CompareAndSwap(m, sum) {
				break
			}
		}
		defer now.Add(-docs)
		time.Sleep(50 * time.Millisecond) // so that requests meet
		return accept(n, r, body, do)
	}}
	s := newSender(via, fast(Options{Concurrency: 6, BulkBytes: 200}), false)
	s.large = semaphore.NewWeighted(2 * size)
	require.NoError(t, s.load(t.Context(), []iter.Seq2[Document, error]{seq(docs...)}))
	require.EqualValues(t, len(docs), s.documents.Load())
	require.EqualValues(t, 2, most.Load())
}
