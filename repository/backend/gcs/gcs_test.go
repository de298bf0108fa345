package gcs_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/gcs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "ya29.secret-access-token"

// settings have no more than what is given: nothing of the environment.
func settings(values map[string]string) *backend.Settings {
	return &backend.Settings{Lookup: func(key string) (string, bool) {
		v, found := values[key]
		return v, found
	}}
}

func credentials() *backend.Settings {
	return settings(map[string]string{"GOOGLE_ACCESS_TOKEN": token, "GOOGLE_PROJECT_ID": "project"})
}

// serve opens the bucket "bucket" at a server that answers as h does.
func serve(t *testing.T, c gcs.Config, h http.HandlerFunc) *gcs.Backend {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c.Endpoint, c.Bucket = server.URL, "bucket"
	if c.Settings == nil {
		c.Settings = credentials()
	}
	b, err := gcs.Open(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// refuse answers as Cloud Storage does: in JSON, but for media, where it sends a text that it calls HTML.
func refuse(w http.ResponseWriter, r *http.Request, status int, reason, message string) {
	if r.URL.Query().Get("alt") == "media" {
		w.Header().Set("Content-Type", "text/html; charset=UTF-8")
		w.WriteHeader(status)
		fmt.Fprint(w, message)
		return
	}
	answer(w, status, map[string]any{"error": map[string]any{
		"code": status, "message": message, "errors": []any{map[string]string{"message": message, "domain": "global", "reason": reason}},
	}})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		panic(err)
	}
}

func save(ctx context.Context, b backend.Backend, typ backend.FileType, content string) (backend.Handle, error) {
	h := backendtest.HandleOf(typ, []byte(content))
	return h, b.Save(ctx, h, strings.NewReader(content), int64(len(content)))
}

func load(b backend.Backend, off, n int64) (string, error) {
	r, err := b.Load(context.Background(), backendtest.HandleOf(backend.Pack, []byte("p")), off, n)
	if err != nil {
		return "", err
	}
	data, err := io.ReadAll(r)
	return string(data), errors.Join(err, r.Close())
}

func list(b backend.Backend, typ backend.FileType) (infos []backend.FileInfo, err error) {
	for fi, e := range b.List(context.Background(), typ) {
		if e != nil {
			return infos, e
		}
		infos = append(infos, fi)
	}
	return infos, nil
}

// everyCall makes each call once and returns the errors by operation.
func everyCall(b backend.Backend) map[string]error {
	ctx := context.Background()
	h := backendtest.HandleOf(backend.Pack, []byte("p"))
	_, saveErr := save(ctx, b, backend.Pack, "p")
	_, statErr := b.Stat(ctx, h)
	_, loadErr := load(b, 0, -1)
	_, rangeErr := load(b, 2, 3)
	_, listErr := list(b, backend.Pack)
	return map[string]error{
		"save": saveErr, "stat": statErr, "load": loadErr, "load range": rangeErr, "list": listErr, "remove": b.Remove(ctx, h),
	}
}

func requireNoSecret(t *testing.T, err error) {
	t.Helper()
	require.NotContains(t, err.Error(), "secret")
	require.NotContains(t, err.Error(), token)
}

func TestErrorResponses(t *testing.T) {
	for _, c := range []struct {
		status   int
		reason   string
		sentinel error
	}{
		{404, "notFound", fs.ErrNotExist},
		{412, "conditionNotMet", fs.ErrExist},
		{401, "authError", fs.ErrPermission},
		{403, "forbidden", fs.ErrPermission},
		{403, "retentionPolicyNotMet", fs.ErrPermission},
		{403, "rateLimitExceeded", nil},
		{403, "userRateLimitExceeded", nil},
		{429, "rateLimitExceeded", nil},
		{400, "invalid", nil},
		{503, "backendError", nil},
	} {
		t.Run(fmt.Sprint(c.status, c.reason), func(t *testing.T) {
			b := serve(t, gcs.Config{}, func(w http.ResponseWriter, r *http.Request) {
				require.Equal(t, "Bearer "+token, r.Header.Get("Authorization"))
				if c.status == 404 && strings.HasSuffix(r.URL.Path, "/o") && r.Method == http.MethodGet {
					answer(w, 200, map[string]any{"kind": "storage#objects"})
					return
				}
				// It repeats what it was sent, as careless servers do.
				w.Header().Set("Retry-After", "7")
				refuse(w, r, c.status, c.reason, "No, not\nwith "+token+".")
			})
			for op, err := range everyCall(b) {
				if op == "list" && c.sentinel == fs.ErrNotExist {
					require.NoError(t, err)
					continue
				}
				require.Error(t, err, op)
				requireNoSecret(t, err)
				for _, s := range []error{fs.ErrNotExist, fs.ErrPermission, fs.ErrExist} {
					require.Equal(t, s == c.sentinel, errors.Is(err, s), "%s: %v", op, err)
				}
				var be *backend.Error
				require.ErrorAs(t, err, &be)
				if op != "save" || c.status != 404 {
					require.ErrorContains(t, err, fmt.Sprintf("No, not with [token] (%d %s)", c.status, c.reason), op)
				}
				var busy interface{ RetryAfter() time.Duration }
				require.ErrorAs(t, err, &busy, op)
				require.Equal(t, 7*time.Second, busy.RetryAfter(), op)
			}
		})
	}
}

func TestMissingBucket(t *testing.T) {
	missing := func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/b") {
			require.Equal(t, "project", r.URL.Query().Get("project"))
			refuse(w, r, 403, "forbidden", "No.")
			return
		}
		refuse(w, r, 404, "notFound", "The specified bucket does not exist.")
	}
	for op, err := range everyCall(serve(t, gcs.Config{}, missing)) {
		require.ErrorIs(t, err, fs.ErrNotExist, op)
		require.ErrorContains(t, err, `bucket "bucket" does not exist at 127.0.0.1:`)
	}
	// Where it may be created, it is an empty repository.
	b := serve(t, gcs.Config{CreateBucket: true}, missing)
	for _, typ := range backend.FileTypes {
		infos, err := list(b, typ)
		require.NoError(t, err)
		require.Empty(t, infos)
	}
	_, err := save(t.Context(), b, backend.Key, "k")
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, `create bucket "bucket"`)

	b = serve(t, gcs.Config{CreateBucket: true, Settings: settings(map[string]string{"GOOGLE_ACCESS_TOKEN": token})}, missing)
	_, err = save(t.Context(), b, backend.Key, "k")
	require.ErrorContains(t, err, "GOOGLE_PROJECT_ID is not set")
}

// A proxy, a portal or a load balancer says things that Cloud Storage never said.
func TestAnswersOfOthers(t *testing.T) {
	for _, status := range []int{200, 404, 403, 412, 502} {
		for _, kind := range []string{"text/html; charset=utf-8", "text/plain"} {
			b := serve(t, gcs.Config{}, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", kind)
				w.WriteHeader(status)
				fmt.Fprint(w, "<html><body>please log in</body></html>")
			})
			for op, err := range everyCall(b) {
				if op == "load" && status == 200 && kind == "text/plain" {
					continue // a file may be anything
				}
				require.Error(t, err, op)
				for _, s := range []error{fs.ErrNotExist, fs.ErrPermission, fs.ErrExist} {
					require.NotErrorIs(t, err, s, op)
				}
			}
		}
	}
	elsewhere := serve(t, gcs.Config{}, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
	})
	for op, err := range everyCall(elsewhere) {
		require.ErrorContains(t, err, "302 Found", op)
	}
	cut := serve(t, gcs.Config{}, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		require.NoError(t, err)
		_ = c.Close()
	})
	for op, err := range everyCall(cut) {
		require.Error(t, err, op)
		require.NotContains(t, err.Error(), "http://", op)
		require.NotErrorIs(t, err, fs.ErrNotExist, op)
	}
}

// stored reads a multipart upload as the service does, and describes what it has got.
func stored(t *testing.T, r *http.Request) (meta map[string]string, content []byte, info map[string]string) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/related", kind)
	parts := multipart.NewReader(r.Body, params["boundary"])
	p, err := parts.NextRawPart()
	require.NoError(t, err)
	require.NoError(t, json.NewDecoder(p).Decode(&meta))
	p, err = parts.NextRawPart()
	require.NoError(t, err)
	require.Equal(t, "application/octet-stream", p.Header.Get("Content-Type"))
	content, err = io.ReadAll(p)
	require.NoError(t, err)
	_, err = parts.NextRawPart()
	require.ErrorIs(t, err, io.EOF)
	sum := md5.Sum(content)
	return meta, content, map[string]string{
		"name": meta["name"], "size": fmt.Sprint(len(content)), "md5Hash": base64.StdEncoding.EncodeToString(sum[:]), "generation": "17",
	}
}

func TestSaveRequest(t *testing.T) {
	s := credentials()
	s.StorageClass = "nearline"
	var meta, info map[string]string
	var got []byte
	b := serve(t, gcs.Config{Prefix: "/a/ä b/", Settings: s}, func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, http.MethodPost, r.Method)
		require.Equal(t, "/upload/storage/v1/b/bucket/o", r.URL.Path)
		require.Equal(t, "multipart", r.URL.Query().Get("uploadType"))
		require.Equal(t, "0", r.URL.Query().Get("ifGenerationMatch"))
		meta, got, info = stored(t, r)
		answer(w, 200, info)
	})
	for _, typ := range backend.FileTypes {
		for _, content := range []string{"content of a " + typ.String(), "", "\x00--\r\n"} {
			h, err := save(t.Context(), b, typ, content)
			require.NoError(t, err)
			require.Equal(t, content, string(got))
			require.Equal(t, "a/ä b/"+h.Path(), meta["name"])
			require.Equal(t, info["md5Hash"], meta["md5Hash"])
			crc := crc32.Checksum([]byte(content), crc32.MakeTable(crc32.Castagnoli))
			require.Equal(t, base64.StdEncoding.EncodeToString([]byte{byte(crc >> 24), byte(crc >> 16), byte(crc >> 8), byte(crc)}), meta["crc32c"])
			class := ""
			if typ == backend.Pack {
				class = "NEARLINE"
			}
			require.Equal(t, class, meta["storageClass"])
		}
	}
	h := backendtest.HandleOf(backend.Pack, nil)
	require.ErrorIs(t, b.Save(t.Context(), h, strings.NewReader(""), 5<<40+1), fs.ErrInvalid)
}

// A server that stores something else, and says so, is not left with it.
func TestStoredSomethingElse(t *testing.T) {
	var removed []string
	b := serve(t, gcs.Config{}, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			removed = append(removed, r.URL.Path+" "+r.URL.Query().Get("ifGenerationMatch"))
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _, info := stored(t, r)
		info["md5Hash"] = "other"
		answer(w, 200, info)
	})
	h, err := save(t.Context(), b, backend.Pack, "content")
	require.ErrorContains(t, err, `7 bytes with the MD5 "other"`)
	require.Equal(t, []string{"/storage/v1/b/bucket/o/" + h.Path() + " 17"}, removed)
}

func TestBodyIsNotReadAfterSave(t *testing.T) {
	b := serve(t, gcs.Config{}, func(w http.ResponseWriter, r *http.Request) { refuse(w, r, 403, "forbidden", "No.") })
	content := make([]byte, 8<<20)
	for range 5 {
		err := b.Save(t.Context(), backendtest.HandleOf(backend.Pack, content), bytes.NewReader(content), int64(len(content)))
		require.ErrorIs(t, err, fs.ErrPermission)
		clear(content) // the race detector sees a reader
	}
}

func TestLoadAnswers(t *testing.T) {
	part := func(span, body string, length int) func(w http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", fmt.Sprint(length))
			w.Header().Set("Content-Range", span)
			w.WriteHeader(http.StatusPartialContent)
			fmt.Fprint(w, body)
		}
	}
	whole := func(length string) func(w http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
			fmt.Fprint(w, "0123456789")
			_ = http.NewResponseController(w).Flush()
		}
	}
	for name, c := range map[string]struct {
		off, n int64
		answer func(w http.ResponseWriter)
		want   string // "" is an error
		target error
	}{
		"whole":                {0, -1, whole("10"), "0123456789", nil},
		"without a length":     {0, -1, whole(""), "0123456789", nil},
		"range":                {2, 5, part("bytes 2-6/10", "23456", 5), "23456", nil},
		"to the end":           {2, -1, part("bytes 2-9/10", "23456789", 8), "23456789", nil},
		"truncated":            {0, -1, whole("12"), "", io.ErrUnexpectedEOF},
		"truncated range":      {2, 5, part("bytes 2-6/10", "23", 5), "", io.ErrUnexpectedEOF},
		"all, not a range":     {2, 5, whole("10"), "", nil},
		"another range":        {2, 5, part("bytes 3-7/10", "34567", 5), "", nil},
		"not quite to the end": {2, -1, part("bytes 2-6/10", "23456", 5), "", nil},
		"past the end":         {8, 5, part("bytes 8-9/10", "89", 2), "", io.ErrUnexpectedEOF},
		"a range of a whole":   {0, -1, part("bytes 0-4/10", "01234", 5), "", nil},
		"compressed": {0, -1, func(w http.ResponseWriter) {
			w.Header().Set("Content-Encoding", "gzip")
			whole("10")(w)
		}, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := serve(t, gcs.Config{Prefix: "pre"}, func(w http.ResponseWriter, r *http.Request) {
				name := strings.TrimPrefix(r.URL.Path, "/storage/v1/b/bucket/o/")
				require.Contains(t, r.URL.EscapedPath(), "/o/pre%2Fdata%2F")
				if r.URL.Query().Get("alt") != "media" {
					answer(w, 200, map[string]string{"name": name, "size": "10"})
					return
				}
				c.answer(w)
			})
			got, err := load(b, c.off, c.n)
			if c.want != "" {
				require.NoError(t, err)
				require.Equal(t, c.want, got)
				return
			}
			require.Error(t, err)
			if c.target != nil {
				require.ErrorIs(t, err, c.target)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret.json")
	require.NoError(t, os.WriteFile(file, []byte("not json: secret"), 0o600))
	for want, c := range map[string]gcs.Config{
		"no bucket is named":       {Settings: credentials()},
		"no name of a bucket":      {Bucket: "a/b", Settings: credentials()},
		"the endpoint is not":      {Bucket: "b", Settings: credentials(), Endpoint: "https://user:secret@host"},
		"STORAGE_EMULATOR_HOST is": {Bucket: "b", Settings: settings(map[string]string{"STORAGE_EMULATOR_HOST": "ftp://host"})},
		"without TLS":              {Bucket: "b", Settings: credentials(), Endpoint: "http://storage.example.org"},
		"GOOGLE_SERVICE_ACCOUNT_JSON_KEY: not the key of a service account in JSON": {Bucket: "b", Settings: settings(map[string]string{
			"GOOGLE_SERVICE_ACCOUNT_JSON_KEY": `{"type":"external_account","private_key":"secret"}`})},
		"GOOGLE_APPLICATION_CREDENTIALS: open /nowhere": {Bucket: "b", Settings: settings(map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere"})},
		"not credentials of Google in JSON":             {Bucket: "b", Settings: settings(map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": file})},
		"CA_CERT_DATA":                                  {Bucket: "b", Settings: settings(map[string]string{"CA_CERT_DATA": "nonsense"})},
	} {
		_, err := gcs.Open(t.Context(), c)
		require.ErrorContains(t, err, want)
		require.NotContains(t, strings.ReplaceAll(err.Error(), file, ""), "secret")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	_, err := gcs.Opener(ctx, "bucket:/prefix", credentials())
	require.ErrorIs(t, err, cause)
	for _, location := range []string{"", "//bucket/prefix", ":/prefix"} {
		_, err = gcs.Opener(t.Context(), location, credentials())
		require.ErrorContains(t, err, "not like bucket:/prefix")
	}

	b, err := gcs.Opener(t.Context(), "bucket:/", credentials())
	require.NoError(t, err)
	require.Equal(t, 8, backend.Connections(b))
	require.NoError(t, b.Close())
	require.ErrorIs(t, b.Close(), fs.ErrClosed)
	for op, err := range everyCall(b) {
		require.ErrorIs(t, err, fs.ErrClosed, op)
	}
}

func ExampleOpener() {
	var m backend.Mux
	m.Handle("gs", gcs.Opener)
	secret := map[string]string{"GOOGLE_PROJECT_ID": "project", "GOOGLE_ACCESS_TOKEN": "ya29.token"} // or the environment: leave Lookup out
	b, err := m.Open(context.Background(), "gs:bucket:/elasticsearch", &backend.Settings{
		Lookup: func(key string) (string, bool) {
			v, found := secret[key]
			return v, found
		},
		StorageClass: "NEARLINE",
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(backend.Connections(b), "calls at once")
	fmt.Println(b.Close())
	// Output:
	// 8 calls at once
	// <nil>
}
