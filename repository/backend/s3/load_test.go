package s3_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/s3"
)

func TestLoadAnswers(t *testing.T) {
	const content = "0123456789"
	h := handle(backend.Pack, "p")
	for name, c := range map[string]struct {
		off, n int64
		answer func(w http.ResponseWriter)
		target error
	}{
		"truncated": {0, -1, func(w http.ResponseWriter) {
			object(w, 10)
			fmt.Fprint(w, content[:4])
		}, io.ErrUnexpectedEOF},
		"truncated range": {2, 5, func(w http.ResponseWriter) {
			object(w, 5)
			w.Header().Set("Content-Range", "bytes 2-6/10")
			w.WriteHeader(206)
			fmt.Fprint(w, content[2:4])
		}, io.ErrUnexpectedEOF},
		"all instead of a range": {2, 5, func(w http.ResponseWriter) {
			object(w, 10)
			fmt.Fprint(w, content)
		}, nil},
		"another range": {2, 5, func(w http.ResponseWriter) {
			object(w, 5)
			w.Header().Set("Content-Range", "bytes 3-7/10")
			w.WriteHeader(206)
			fmt.Fprint(w, content[3:8])
		}, nil},
		"a range that is not as long as it says": {2, 5, func(w http.ResponseWriter) {
			object(w, 4)
			w.Header().Set("Content-Range", "bytes 2-6/10")
			w.WriteHeader(206)
			fmt.Fprint(w, content[2:6])
		}, nil},
		"a range without saying which": {2, 5, func(w http.ResponseWriter) {
			object(w, 5)
			w.WriteHeader(206)
			fmt.Fprint(w, content[2:7])
		}, nil},
		"to the end, but not quite": {2, -1, func(w http.ResponseWriter) {
			object(w, 5)
			w.Header().Set("Content-Range", "bytes 2-6/10")
			w.WriteHeader(206)
			fmt.Fprint(w, content[2:7])
		}, nil},
		"past the end": {8, 5, func(w http.ResponseWriter) {
			object(w, 2)
			w.Header().Set("Content-Range", "bytes 8-9/10")
			w.WriteHeader(206)
			fmt.Fprint(w, content[8:])
		}, io.ErrUnexpectedEOF},
		"a range of a whole": {0, -1, func(w http.ResponseWriter) {
			object(w, 5)
			w.Header().Set("Content-Range", "bytes 0-4/10")
			w.WriteHeader(206)
			fmt.Fprint(w, content[:5])
		}, nil},
		"no length": {0, -1, func(w http.ResponseWriter) {
			object(w, 0)
			w.Header().Del("Content-Length")
			fmt.Fprint(w, content)
			w.(http.Flusher).Flush()
		}, nil},
		"no ETag": {0, -1, func(w http.ResponseWriter) {
			object(w, 10)
			w.Header().Del("ETag")
			fmt.Fprint(w, content)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := serve(t, s3.Config{}, func(w http.ResponseWriter, r *http.Request) { c.answer(w) })
			got, err := load(b, h, c.off, c.n)
			require.Error(t, err, "it gave %q", got)
			require.NotErrorIs(t, err, fs.ErrNotExist)
			if c.target != nil {
				require.ErrorIs(t, err, c.target)
			}
		})
	}
}

func TestLoadEndsWithItsContext(t *testing.T) {
	release := make(chan struct{})
	b := serve(t, s3.Config{}, func(w http.ResponseWriter, r *http.Request) {
		object(w, 10)
		fmt.Fprint(w, "0123")
		w.(http.Flusher).Flush()
		<-release
	})
	defer close(release)
	cause := errors.New("the cause")
	ctx, cancel := context.WithCancelCause(t.Context())
	r, err := b.Load(ctx, handle(backend.Pack, "p"), 0, -1)
	require.NoError(t, err)
	_, err = io.ReadFull(r, make([]byte, 4))
	require.NoError(t, err)
	go cancel(cause) // in the middle of a read that waits
	_, err = io.ReadAll(r)
	require.ErrorIs(t, err, cause)
	require.NoError(t, r.Close())
}
