package s3_test

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/s3"
)

func TestSaveRequest(t *testing.T) {
	s := credentials()
	s.StorageClass = "STANDARD_IA"
	var got *http.Request
	var body []byte
	b := serve(t, s3.Config{Prefix: "a/b", Settings: s}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut {
			refuse(w, 404, "NoSuchKey", "")
			return
		}
		got = r
		body, _ = io.ReadAll(r.Body)
		object(w, 0)
	})
	for _, typ := range backend.FileTypes {
		content := "content of a " + typ.String()
		h := handle(typ, content)
		require.NoError(t, save(t.Context(), b, h, content))
		require.Equal(t, "/bucket/a/b/"+h.Path(), got.URL.Path)
		require.Equal(t, content, string(body))
		sum := md5.Sum([]byte(content))
		require.Equal(t, base64.StdEncoding.EncodeToString(sum[:]), got.Header.Get("Content-Md5"))
		require.Contains(t, got.Header.Get("Authorization"), "content-md5;", "it must be signed")
		require.Contains(t, got.Header.Get("Authorization"), "/eu-west-1/s3/")
		require.Equal(t, "*", got.Header.Get("If-None-Match"))
		require.Equal(t, token, got.Header.Get("X-Amz-Security-Token"))
		class := ""
		if typ == backend.Pack {
			class = "STANDARD_IA"
		}
		require.Equal(t, class, got.Header.Get("X-Amz-Storage-Class"))
	}
	require.ErrorIs(t, b.Save(t.Context(), handle(backend.Pack, ""), strings.NewReader(""), 5<<30+1), fs.ErrInvalid)
}

func TestServerWithoutConditionalPut(t *testing.T) {
	var conditions []string
	stored := map[string]bool{}
	b := serve(t, s3.Config{}, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodPut && !stored[r.URL.Path]:
			w.WriteHeader(404)
		case r.Method != http.MethodPut:
			object(w, 1)
		case r.Header.Get("If-None-Match") != "":
			conditions = append(conditions, "asked")
			refuse(w, 501, "NotImplemented", "A header you provided implies functionality that is not implemented")
		default:
			conditions = append(conditions, "not asked")
			stored[r.URL.Path] = true
			object(w, 0)
		}
	})
	require.NoError(t, save(t.Context(), b, handle(backend.Key, "k"), "k"))
	require.NoError(t, save(t.Context(), b, handle(backend.Pack, "p"), "p"))
	require.ErrorIs(t, save(t.Context(), b, handle(backend.Pack, "p"), "p"), fs.ErrExist)
	require.Equal(t, []string{"asked", "not asked", "not asked"}, conditions)
}

func TestServerWithoutConditionalPutAskedBySeveral(t *testing.T) {
	const savers = 4
	var asked sync.WaitGroup
	asked.Add(savers)
	b := serve(t, s3.Config{}, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodPut:
			w.WriteHeader(404)
		case r.Header.Get("If-None-Match") != "":
			asked.Done()
			asked.Wait()
			refuse(w, 501, "NotImplemented", "no")
		default:
			object(w, 0)
		}
	})
	var wg sync.WaitGroup
	errs := make([]error, savers)
	for i := range savers {
		wg.Go(func() {
			content := fmt.Sprint("content ", i)
			errs[i] = save(t.Context(), b, handle(backend.Pack, content), content)
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
}

func TestConcurrentSavers(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		code   string
		wins   bool // the other one
		want   error
	}{
		"the other was first":       {412, "PreconditionFailed", true, fs.ErrExist},
		"at once, the other wins":   {409, "ConditionalRequestConflict", true, fs.ErrExist},
		"at once, and then removed": {409, "ConditionalRequestConflict", false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			put := false
			b := serve(t, s3.Config{}, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPut {
					put = true
					refuse(w, c.status, c.code, "no")
					return
				}
				if put && c.wins {
					object(w, 1)
					return
				}
				w.WriteHeader(404)
			})
			err := save(t.Context(), b, handle(backend.Pack, "p"), "p")
			require.Error(t, err)
			require.Equal(t, c.want != nil, errors.Is(err, fs.ErrExist), "%v", err)
		})
	}
}

func TestBodyIsNotReadAfterSave(t *testing.T) {
	t.Parallel()
	b := serve(t, s3.Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			refuse(w, 403, "AccessDenied", "no")
			return
		}
		w.WriteHeader(404)
	})
	content := make([]byte, 8<<20)
	for range 5 {
		err := b.Save(t.Context(), handle(backend.Pack, "p"), bytes.NewReader(content), int64(len(content)))
		require.Error(t, err)
		clear(content) // the race detector sees a reader
	}
}
