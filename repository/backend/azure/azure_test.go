package azure_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/azure"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "someaccount"
	key     = "c2VjcmV0IGtleSBvZiB0aGUgYWNjb3VudA=="
	sig     = "secretsignature+/="
	sas     = "sv=2023-11-03&sp=rwdl&sig=secretsignature%2B%2F%3D"
)

// settings have no more than what is given: nothing of the environment.
func settings(values map[string]string) *backend.Settings {
	return &backend.Settings{Lookup: func(key string) (string, bool) {
		v, found := values[key]
		return v, found
	}}
}

func credentials() *backend.Settings {
	return settings(map[string]string{"AZURE_ACCOUNT_NAME": account, "AZURE_ACCOUNT_KEY": key})
}

// serve opens the container "container" at a server that answers as h does, with the request id that all of Azure's answers have.
func serve(t *testing.T, c azure.Config, h http.HandlerFunc) *azure.Backend {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("x-ms-request-id", "REQ1")
		h(w, r)
	}))
	t.Cleanup(server.Close)
	c.Endpoint, c.Container = server.URL+"/"+account, "container"
	if c.Settings == nil {
		c.Settings = credentials()
	}
	b, err := azure.Open(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// refuse answers as Azure does.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("x-ms-error-code", code)
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>%s</Code><Message>%s\nRequestId:REQ1\nTime:2030-01-01T00:00:00Z</Message></Error>", code, message)
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
	for _, s := range []string{key, sig, sas, "secretsignature"} {
		require.NotContains(t, err.Error(), s)
	}
}

func TestErrorResponses(t *testing.T) {
	for _, c := range []struct {
		status   int
		code     string
		sentinel error
	}{
		{404, "BlobNotFound", fs.ErrNotExist},
		{404, "SomethingNew", nil},
		{403, "AuthenticationFailed", fs.ErrPermission},
		{403, "AuthorizationFailure", fs.ErrPermission},
		{403, "AuthorizationPermissionMismatch", fs.ErrPermission},
		{403, "SomethingNew", fs.ErrPermission},
		{401, "NoAuthenticationInformation", fs.ErrPermission},
		{409, "BlobImmutableDueToPolicy", fs.ErrPermission},
		{409, "BlobArchived", fs.ErrPermission},
		{412, "LeaseIdMissing", fs.ErrPermission},
		{409, "BlobAlreadyExists", fs.ErrExist},
		{412, "ConditionNotMet", fs.ErrExist},
		{409, "ContainerBeingDeleted", nil},
		{400, "Md5Mismatch", nil},
		{500, "InternalError", nil},
		{503, "ServerBusy", nil},
	} {
		t.Run(c.code, func(t *testing.T) {
			requests := 0
			b := serve(t, azure.Config{Settings: settings(map[string]string{"AZURE_ACCOUNT_SAS": sas})}, func(w http.ResponseWriter, r *http.Request) {
				requests++
				require.Equal(t, sig, r.URL.Query().Get("sig"))
				// It repeats what it was sent, as careless servers do.
				refuse(w, c.status, c.code, "No, not with "+sig+" of "+strings.ReplaceAll(r.URL.RawQuery, "&", "&amp;"))
			})
			for op, err := range everyCall(b) {
				if op == "list" && c.sentinel == fs.ErrNotExist {
					continue
				}
				require.Error(t, err, op)
				requireNoSecret(t, err)
				for _, s := range []error{fs.ErrNotExist, fs.ErrPermission, fs.ErrExist} {
					require.Equal(t, s == c.sentinel, errors.Is(err, s), "%s: %v", op, err)
				}
				var be *backend.Error
				require.ErrorAs(t, err, &be)
				require.ErrorContains(t, err, "("+c.code+"), request REQ1", op)
				require.NotContains(t, err.Error(), "\n")
			}
			require.Equal(t, 6, requests, "there are no retries")
		})
	}
}

func TestMissingContainer(t *testing.T) {
	missing := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && r.URL.Query().Get("restype") == "container" {
			refuse(w, 403, "AuthorizationPermissionMismatch", "No.")
			return
		}
		refuse(w, 404, "ContainerNotFound", "The specified container does not exist.")
	}
	for op, err := range everyCall(serve(t, azure.Config{}, missing)) {
		require.ErrorIs(t, err, fs.ErrNotExist, op)
		require.ErrorContains(t, err, `container "container" does not exist at 127.0.0.1:`)
	}
	// Where it may be created, it is an empty repository.
	b := serve(t, azure.Config{CreateContainer: true}, missing)
	for _, typ := range backend.FileTypes {
		infos, err := list(b, typ)
		require.NoError(t, err)
		require.Empty(t, infos)
	}
	_, err := save(t.Context(), b, backend.Key, "k")
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, `create container "container"`)
}

// A proxy, a portal or a load balancer says things that Azure never said.
func TestAnswersOfOthers(t *testing.T) {
	for _, status := range []int{200, 201, 404, 403, 409, 502} {
		for name, answer := range map[string]func(w http.ResponseWriter){
			"an HTML page instead of an answer of Azure": func(w http.ResponseWriter) {
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				w.Header().Set("x-ms-error-code", "BlobNotFound")
				w.WriteHeader(status)
				fmt.Fprint(w, "<html><body>please log in</body></html>")
			},
			"an answer without a request id": func(w http.ResponseWriter) {
				w.Header().Del("x-ms-request-id")
				w.WriteHeader(status)
				fmt.Fprint(w, "nothing here")
			},
		} {
			b := serve(t, azure.Config{}, func(w http.ResponseWriter, r *http.Request) { answer(w) })
			for op, err := range everyCall(b) {
				require.ErrorContains(t, err, name, op)
				for _, s := range []error{fs.ErrNotExist, fs.ErrPermission, fs.ErrExist} {
					require.NotErrorIs(t, err, s, op)
				}
			}
		}
	}
	elsewhere := serve(t, azure.Config{}, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
	})
	for op, err := range everyCall(elsewhere) {
		require.ErrorContains(t, err, "302 Found", op)
	}
}

func TestRetryAfterIsPassedOn(t *testing.T) {
	b := serve(t, azure.Config{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "7")
		refuse(w, http.StatusServiceUnavailable, "ServerBusy", "Busy.")
	})
	for op, err := range everyCall(b) {
		var busy interface{ RetryAfter() time.Duration }
		require.ErrorAs(t, err, &busy, op)
		require.Equal(t, 7*time.Second, busy.RetryAfter(), op)
	}
}

func TestBrokenConnection(t *testing.T) {
	b := serve(t, azure.Config{Settings: settings(map[string]string{"AZURE_ACCOUNT_SAS": sas})}, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		require.NoError(t, err)
		_ = c.Close()
	})
	for op, err := range everyCall(b) {
		require.Error(t, err, op) // which one depends on how much of the request had been sent
		requireNoSecret(t, err)
		require.NotContains(t, err.Error(), "http://", op)
		require.NotErrorIs(t, err, fs.ErrNotExist)
	}
}

func TestSaveRequest(t *testing.T) {
	s := credentials()
	s.StorageClass = "cool"
	var got *http.Request
	var body []byte
	b := serve(t, azure.Config{Prefix: "/a/ä b/", Settings: s}, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusCreated)
	})
	for _, typ := range backend.FileTypes {
		for _, content := range []string{"content of a " + typ.String(), ""} {
			h, err := save(t.Context(), b, typ, content)
			require.NoError(t, err)
			require.Equal(t, http.MethodPut, got.Method)
			require.Equal(t, "/"+account+"/container/a/ä b/"+h.Path(), got.URL.Path)
			require.Equal(t, content, string(body))
			require.Equal(t, int64(len(content)), got.ContentLength)
			sum := md5.Sum([]byte(content))
			require.Equal(t, base64.StdEncoding.EncodeToString(sum[:]), got.Header.Get("Content-Md5"))
			require.Equal(t, "*", got.Header.Get("If-None-Match"))
			require.Equal(t, "BlockBlob", got.Header.Get("x-ms-blob-type"))
			require.Contains(t, got.Header.Get("Authorization"), "SharedKey "+account+":")
			tier := ""
			if typ == backend.Pack {
				tier = "Cool"
			}
			require.Equal(t, tier, got.Header.Get("x-ms-access-tier"))
		}
	}
	h := backendtest.HandleOf(backend.Pack, nil)
	require.ErrorIs(t, b.Save(t.Context(), h, strings.NewReader(""), 5000<<20+1), fs.ErrInvalid)
}

func TestBodyIsNotReadAfterSave(t *testing.T) {
	b := serve(t, azure.Config{}, func(w http.ResponseWriter, r *http.Request) { refuse(w, 403, "AuthorizationFailure", "No.") })
	content := make([]byte, 8<<20)
	for range 5 {
		err := b.Save(t.Context(), backendtest.HandleOf(backend.Pack, content), bytes.NewReader(content), int64(len(content)))
		require.ErrorIs(t, err, fs.ErrPermission)
		clear(content) // the race detector sees a reader
	}
}

func TestLoadAnswers(t *testing.T) {
	const content = "0123456789"
	part := func(span, body string, length int) func(w http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", fmt.Sprint(length))
			w.Header().Set("Content-Range", span)
			w.WriteHeader(http.StatusPartialContent)
			fmt.Fprint(w, body)
		}
	}
	whole := func(w http.ResponseWriter) {
		w.Header().Set("Content-Length", "10")
		fmt.Fprint(w, content)
	}
	for name, c := range map[string]struct {
		off, n int64
		answer func(w http.ResponseWriter)
		want   string // "" is an error
		target error
	}{
		"whole":                {0, -1, whole, content, nil},
		"range":                {2, 5, part("bytes 2-6/10", "23456", 5), "23456", nil},
		"to the end":           {2, -1, part("bytes 2-9/10", "23456789", 8), "23456789", nil},
		"truncated":            {0, -1, func(w http.ResponseWriter) { w.Header().Set("Content-Length", "10"); fmt.Fprint(w, "0123") }, "", io.ErrUnexpectedEOF},
		"truncated range":      {2, 5, part("bytes 2-6/10", "23", 5), "", io.ErrUnexpectedEOF},
		"all, not a range":     {2, 5, whole, "", nil},
		"another range":        {2, 5, part("bytes 3-7/10", "34567", 5), "", nil},
		"not quite to the end": {2, -1, part("bytes 2-6/10", "23456", 5), "", nil},
		"past the end":         {8, 5, part("bytes 8-9/10", "89", 2), "", io.ErrUnexpectedEOF},
		"a range of a whole":   {0, -1, part("bytes 0-4/10", "01234", 5), "", nil},
		"without a length": {0, -1, func(w http.ResponseWriter) {
			fmt.Fprint(w, "01")
			_ = http.NewResponseController(w).Flush()
		}, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := serve(t, azure.Config{}, func(w http.ResponseWriter, r *http.Request) { c.answer(w) })
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

// listing answers the requests of a list with these pages, and tells the markers it was asked with.
func listing(t *testing.T, markers *[]string, pages ...string) *azure.Backend {
	return serve(t, azure.Config{Prefix: "pre"}, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		require.Equal(t, "list", q.Get("comp"))
		require.Equal(t, "pre/data/", q.Get("prefix"))
		w.Header().Set("Content-Type", "application/xml")
		fmt.Fprint(w, pages[len(*markers)])
		*markers = append(*markers, q.Get("marker"))
	})
}

func page(next string, names ...string) string {
	var s strings.Builder
	s.WriteString(`<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="http://host/" ContainerName="container"><Blobs>`)
	for _, n := range names {
		fmt.Fprintf(&s, "<Blob><Name>%s</Name><Properties><Content-Length>%d</Content-Length></Properties></Blob>", n, len(n))
	}
	return s.String() + "</Blobs><NextMarker>" + next + "</NextMarker></EnumerationResults>"
}

func TestList(t *testing.T) {
	handle := func(content string) backend.Handle { return backendtest.HandleOf(backend.Pack, []byte(content)) }
	a, c, wrong := handle("a"), handle("c"), handle("wrong").Name
	var markers []string
	b := listing(t, &markers,
		page("m1", "pre/data/", "pre/data/README", "pre/data/"+a.Name[:2], "pre/"+a.Path(), "pre/"+a.Path()+".bak"),
		page("m2"),
		page("", "pre/data/zz/"+wrong, "pre/data/"+wrong, "pre/data/"+wrong[:2]+"/x/"+wrong, "pre/"+c.Path()))
	infos, err := list(b, backend.Pack)
	require.NoError(t, err)
	size := int64(len("pre/" + a.Path()))
	require.Equal(t, []backend.FileInfo{{Handle: a, Size: size}, {Handle: c, Size: size}}, infos)
	require.Equal(t, []string{"", "m1", "m2"}, markers)
}

func TestListThatIsNotWhole(t *testing.T) {
	a := "pre/" + backendtest.HandleOf(backend.Pack, []byte("a")).Path()
	whole := page("", a)
	for name, pages := range map[string][]string{
		"cut":                  {whole[:len(whole)-30]},
		"cut in a later page":  {page("m1", a), whole[:len(whole)-30]},
		"empty":                {""},
		"an error, too late":   {`<?xml version="1.0"?><Error><Code>InternalError</Code><Message>no</Message></Error>`},
		"something else later": {page("m1", a), `<Portal/>`},
		"without a size":       {strings.ReplaceAll(strings.ReplaceAll(whole, "<Content-Length>", "<Length>"), "</Content-Length>", "</Length>")},
	} {
		t.Run(name, func(t *testing.T) {
			var markers []string
			_, err := list(listing(t, &markers, pages...), backend.Pack)
			require.Error(t, err)
		})
	}
}

func TestOpen(t *testing.T) {
	with := func(more ...string) *backend.Settings {
		values := map[string]string{"AZURE_ACCOUNT_NAME": account, "AZURE_ACCOUNT_KEY": key}
		for i := 0; i < len(more); i += 2 {
			values[more[i]] = more[i+1]
		}
		return settings(values)
	}
	class := with()
	class.StorageClass = "lukewarm"
	for want, c := range map[string]azure.Config{
		"no container is named":                             {Settings: with()},
		"no name of a container":                            {Container: "a/b", Settings: with()},
		"AZURE_ACCOUNT_NAME is not set":                     {Container: "c", Settings: settings(nil)},
		"not part of a host's name":                         {Container: "c", Settings: with("AZURE_ENDPOINT_SUFFIX", "host/?sig="+sig)},
		"AZURE_BLOB_ENDPOINT is not a URL":                  {Container: "c", Settings: with("AZURE_BLOB_ENDPOINT", "https://host/?"+sas)},
		"the endpoint is not a URL":                         {Container: "c", Settings: with(), Endpoint: "https://user:" + sig + "@host"},
		"not like https://host":                             {Container: "c", Settings: with(), Endpoint: "ftp://host"},
		"no access tier \"lukewarm\"":                       {Container: "c", Settings: class},
		"AZURE_ACCOUNT_KEY is not in base64":                {Container: "c", Settings: with("AZURE_ACCOUNT_KEY", sig+"!")},
		"AZURE_ACCOUNT_KEY is set, AZURE_ACCOUNT_NAME":      {Container: "c", Endpoint: "https://host", Settings: settings(map[string]string{"AZURE_ACCOUNT_KEY": key})},
		"it has no sig":                                     {Container: "c", Settings: with("AZURE_ACCOUNT_KEY", "", "AZURE_ACCOUNT_SAS", "secretsignature")},
		"CA_CERT_DATA":                                      {Container: "c", Settings: with("CA_CERT_DATA", "nonsense")},
		"AZURE_FORCE_CLI_CREDENTIAL is \"yes please\", nei": {Container: "c", Settings: with("AZURE_ACCOUNT_KEY", "", "AZURE_FORCE_CLI_CREDENTIAL", "yes please")},
	} {
		_, err := azure.Open(t.Context(), c)
		require.ErrorContains(t, err, want)
		requireNoSecret(t, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	_, err := azure.Opener(ctx, "container:/prefix", with())
	require.ErrorIs(t, err, cause)
	_, err = azure.Opener(t.Context(), "https://someaccount.blob.core.windows.net/c?"+sas, with())
	require.ErrorContains(t, err, "not like bucket:/prefix")
	requireNoSecret(t, err)

	s := with()
	s.Connections = 3
	b, err := azure.Opener(t.Context(), "container", s)
	require.NoError(t, err)
	require.Equal(t, 3, backend.Connections(b))
	require.NoError(t, b.Close())
	require.ErrorIs(t, b.Close(), fs.ErrClosed)
	for op, err := range everyCall(b) {
		require.ErrorIs(t, err, fs.ErrClosed, op)
	}
}

// Where the account is, and as whom we go there.
func TestAddress(t *testing.T) {
	for want, values := range map[string]map[string]string{
		"https://someaccount.blob.core.windows.net/container/config":                                                    {"AZURE_ACCOUNT_KEY": key},
		"https://someaccount.blob.core.chinacloudapi.cn/container/config":                                               {"AZURE_ACCOUNT_KEY": key, "AZURE_ENDPOINT_SUFFIX": "core.chinacloudapi.cn"},
		"https://private.example.org/container/config":                                                                  {"AZURE_ACCOUNT_KEY": key, "AZURE_BLOB_ENDPOINT": "https://private.example.org/"},
		"https://someaccount.blob.core.windows.net/container/config?sig=secretsignature%2B%2F%3D&sp=rwdl&sv=2023-11-03": {"AZURE_ACCOUNT_SAS": "?" + sas},
	} {
		values["AZURE_ACCOUNT_NAME"] = account
		asked := ""
		transport := roundTripper(func(r *http.Request) (*http.Response, error) {
			asked = r.URL.String()
			require.Equal(t, values["AZURE_ACCOUNT_KEY"] == "", r.Header.Get("Authorization") == "")
			w := httptest.NewRecorder()
			w.Header().Set("x-ms-request-id", "REQ1")
			w.Header().Set("Content-Length", "7")
			return w.Result(), nil
		})
		b, err := azure.Open(t.Context(), azure.Config{Container: "container", Settings: settings(values), Transport: transport})
		require.NoError(t, err)
		info, err := b.Stat(t.Context(), backend.Handle{Type: backend.Config})
		require.NoError(t, err)
		require.Equal(t, int64(7), info.Size)
		require.Equal(t, want, asked)
	}
}

type roundTripper func(r *http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A managed identity, as App Service and Container Apps give it: a token from a URL in the environment.
func TestAmbientIdentity(t *testing.T) {
	for _, v := range []string{"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_USERNAME"} {
		t.Setenv(v, "") // which puts it back
		require.NoError(t, os.Unsetenv(v))
	}
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
	const token, header = "secretsignature-token", "secretsignature-header"
	status := http.StatusForbidden
	var mu sync.Mutex
	tokens := 0
	authority := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		tokens++
		if r.Header.Get("X-Identity-Header") != header || r.URL.Query().Get("resource") != "https://storage.azure.com" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error_description":"identity is switched off","access_token":%q,"expires_on":"%d","resource":"https://storage.azure.com","token_type":"Bearer"}`, token, time.Now().Add(24*time.Hour).Unix())
	}))
	t.Cleanup(authority.Close)
	t.Setenv("IDENTITY_ENDPOINT", authority.URL)
	t.Setenv("IDENTITY_HEADER", header)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("x-ms-request-id", "REQ1")
		if r.Header.Get("Authorization") != "Bearer "+token {
			refuse(w, 403, "AuthenticationFailed", "No.")
			return
		}
		w.Header().Set("Content-Length", "7")
	}))
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	open := func(endpoint string) backend.Backend {
		b, err := azure.Opener(t.Context(), "container:/", settings(map[string]string{"AZURE_BLOB_ENDPOINT": endpoint, "CA_CERT_DATA": string(ca)}))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		return b
	}
	// First the failure: what has been got once is kept for the whole process.
	for op, err := range everyCall(open(server.URL)) {
		require.ErrorIs(t, err, fs.ErrPermission, op)
		require.ErrorContains(t, err, "no token of an identity: 403 Forbidden: identity is switched off", op)
		require.NotContains(t, err.Error(), "\n")
		requireNoSecret(t, err)
	}
	mu.Lock()
	status, tokens = http.StatusOK, 0
	mu.Unlock()
	b := open(server.URL)
	for range 2 {
		info, err := b.Stat(t.Context(), backend.Handle{Type: backend.Config})
		require.NoError(t, err)
		require.Equal(t, int64(7), info.Size)
	}
	require.Equal(t, 1, tokens)

	// A token goes over TLS only.
	for _, err := range everyCall(open("http://127.0.0.1:1")) {
		require.ErrorContains(t, err, "TLS")
		requireNoSecret(t, err)
	}
}

func ExampleOpener() {
	var m backend.Mux
	m.Handle("azure", azure.Opener)
	secret := map[string]string{"AZURE_ACCOUNT_NAME": "backups", "AZURE_ACCOUNT_KEY": "a2V5"} // or the environment: leave Lookup out
	b, err := m.Open(context.Background(), "azure:container:/elasticsearch", &backend.Settings{
		Lookup: func(key string) (string, bool) {
			v, found := secret[key]
			return v, found
		},
		StorageClass: "Cool",
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
