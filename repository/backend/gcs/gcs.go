// Package gcs keeps a repository in a bucket of Google Cloud Storage. The layout is restic's: "<prefix>/config",
// "<prefix>/data/<first two digits>/<name>".
//
// The package speaks the JSON API itself, six requests of it, and takes tokens from golang.org/x/oauth2/google: some 17 packages
// in a program, where google.golang.org/api/storage/v1 brings about 230, and cloud.google.com/go/storage, even without gRPC,
// about 310. What those add, resumable uploads and retries, is not wanted here.
//
// A file is one multipart upload with the MD5 and the CRC32C of its content, which the service verifies, under the condition that
// there is no such object (ifGenerationMatch=0): it is there as a whole or not at all, and nothing is ever replaced.
//
// What Remove leaves where the bucket keeps versions or soft-deleted objects is up to its settings. An object under a
// retention policy or a hold cannot be removed: the error wraps fs.ErrPermission, and the file stays.
//
// # Credentials
//
// The first of these that is there says who we are:
//
//   - GOOGLE_ACCESS_TOKEN, a token that somebody else renews
//   - GOOGLE_SERVICE_ACCOUNT_JSON_KEY, the key of a service account: the content of its file
//   - GOOGLE_APPLICATION_CREDENTIALS, the name of a file with a key or with the configuration of an identity from elsewhere
//   - the ambient identity: the application default credentials that gcloud wrote, or, from the metadata server, the service
//     account of the machine, or of the pod (workload identity)
//
// Tokens are sent over TLS only, but for addresses of this machine. The driver does not retry.
//
// # Other settings
//
// GOOGLE_PROJECT_ID is where a missing bucket is created, Region its location, StorageClass the class of packs: STANDARD,
// NEARLINE and so on. STORAGE_EMULATOR_HOST ("127.0.0.1:9000") is an emulator, which gets no credentials unless one of the first
// three names them. CA certificates and proxies: see package web.
package gcs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/internal/place"
	"github.com/escrow-backup/escrow/repository/backend/web"
)

const (
	// defaultEndpoint is the public one.
	defaultEndpoint = "https://storage.googleapis.com"
	// defaultConnections is how many calls at once suit a service that is some milliseconds away.
	defaultConnections = 8
)

// Config says where a repository is. Bucket is required.
type Config struct {
	Bucket   string
	Prefix   string // of all names, without slashes at its ends; default: none
	Endpoint string // URL of the service; default: what STORAGE_EMULATOR_HOST says, or https://storage.googleapis.com

	// CreateBucket makes Save create a bucket that is missing, in the project GOOGLE_PROJECT_ID; until then it counts as an empty
	// repository. Otherwise a missing bucket is an error of every call.
	CreateBucket bool

	// Settings hold credentials, project, storage class and what else the package's comment names; nil works.
	Settings *backend.Settings

	// Transport carries the requests; default: what package web makes of Settings.
	Transport http.RoundTripper
}

// Backend is a repository in a bucket. It fulfils [backend.Backend]. After Close every call fails with an error wrapping
// fs.ErrClosed.
type Backend struct {
	cfg         Config
	endpoint    string // without a slash at its end
	host        string // of endpoint, for messages
	project     string
	region      string
	class       string // storage class of packs; "" is the bucket's
	connections int
	transport   http.RoundTripper
	client      http.Client
	tokens      *tokens // nil: no credentials

	met    atomic.Bool // the bucket has been seen to exist
	closed atomic.Bool
}

var (
	_ backend.Backend   = (*Backend)(nil)
	_ backend.Connector = (*Backend)(nil)
)

// Open returns the Backend for what c says. It sends no request. Errors hold no credentials.
func Open(ctx context.Context, c Config) (*Backend, error) {
	b, err := open(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("open gcs bucket %q: %w", c.Bucket, err)
	}
	return b, nil
}

func open(ctx context.Context, c Config) (*Backend, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if c.Bucket == "" {
		return nil, errors.New("no bucket is named")
	}
	if strings.ContainsAny(c.Bucket, "/?#% ") {
		return nil, errors.New("that is no name of a bucket")
	}
	c.Prefix = place.Clean(c.Prefix)
	s := c.Settings
	if s == nil {
		s = &backend.Settings{}
	}
	service, emulator, err := endpoint(c, s)
	if err != nil {
		return nil, err
	}
	b := &Backend{
		cfg: c, endpoint: strings.TrimRight(service.String(), "/"), host: service.Host, project: s.Value("GOOGLE_PROJECT_ID"),
		region: s.Region, class: strings.ToUpper(s.StorageClass), connections: s.Connections, transport: c.Transport,
	}
	if b.connections <= 0 {
		b.connections = defaultConnections
	}
	if b.transport == nil {
		if b.transport, err = web.Transport(s); err != nil {
			return nil, err
		}
	}
	b.client = http.Client{
		Transport: b.transport,
		// Credentials are for nobody else. What is not followed is an answer that becomes an error.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if b.tokens, err = newTokens(s, b.transport, emulator); err != nil {
		return nil, err
	}
	if b.tokens != nil && service.Scheme != "https" && !isThisMachine(service.Hostname()) {
		return nil, fmt.Errorf("credentials are not sent to %s without TLS", service.Host)
	}
	return b, nil
}

func isThisMachine(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// endpoint is the URL of the service, and whether it is that of an emulator.
func endpoint(c Config, s *backend.Settings) (u *url.URL, emulator bool, err error) {
	source, text := "the endpoint", c.Endpoint
	if text == "" {
		source, text = "STORAGE_EMULATOR_HOST", s.Value("STORAGE_EMULATOR_HOST")
		emulator = text != ""
		if emulator && !strings.Contains(text, "://") {
			text = "http://" + text
		}
	}
	if text == "" {
		text = defaultEndpoint
	}
	u, err = url.Parse(text)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		// Neither the text nor the cause is shown: there may be a password in both.
		return nil, false, errors.New(source + " is not a URL such as https://host; credentials go into the settings")
	}
	return u, emulator, nil
}

// Opener is the [backend.Opener] of Google Cloud Storage, for the scheme "gs". The location is that of restic's URLs:
// "bucket:/prefix". A bucket that does not exist is created by the first Save, as restic does.
func Opener(ctx context.Context, location string, s *backend.Settings) (backend.Backend, error) {
	bucket, prefix, err := place.Parse(location)
	if err != nil {
		return nil, fmt.Errorf("open gcs: %w", err)
	}
	b, err := Open(ctx, Config{Bucket: bucket, Prefix: prefix, CreateBucket: true, Settings: s})
	if err != nil {
		return nil, err // not b: a nil *Backend would make a Backend that is not nil
	}
	return b, nil
}

// Connections implements [backend.Connector].
func (b *Backend) Connections() int { return b.connections }

// key is where h lies.
func (b *Backend) key(h backend.Handle) string { return place.Under(b.cfg.Prefix, h.Path()) }

// objects is the URL of the objects in the bucket, below "" or "/upload".
func (b *Backend) objects(below string) string {
	return b.endpoint + below + "/storage/v1/b/" + url.PathEscape(b.cfg.Bucket) + "/o"
}

// object is the URL of h.
func (b *Backend) object(h backend.Handle) string {
	return b.objects("") + "/" + url.PathEscape(b.key(h))
}

// check is what every call starts with.
func (b *Backend) check(ctx context.Context, h backend.Handle) error {
	if b.closed.Load() {
		return fs.ErrClosed
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return h.Valid()
}

// fail wraps what went wrong; nil stays nil.
func fail(op string, h backend.Handle, err error) error {
	if err == nil {
		return nil
	}
	return &backend.Error{Op: op, Handle: h, Err: err}
}

// Close implements [backend.Backend]. Closing twice is an error wrapping fs.ErrClosed.
func (b *Backend) Close() error {
	if b.closed.Swap(true) {
		return fmt.Errorf("close gcs bucket %q: %w", b.cfg.Bucket, fs.ErrClosed)
	}
	if t, ok := b.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
	return nil
}
