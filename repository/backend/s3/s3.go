// Package s3 keeps a repository in a bucket of Amazon S3, or of anything that speaks its protocol: MinIO, NetApp StorageGRID,
// Dell EMC ECS, Ceph and others. The layout is restic's: "<prefix>/config", "<prefix>/data/<first two digits>/<name>".
//
// A file is one PUT with the MD5 of its content, which the server verifies: it is there as a whole or not at all, and nothing
// half uploaded is left to be paid for. The server is also asked not to replace anything ("If-None-Match: *"); one that does not
// know this header is not asked again. Whatever the server, a look goes before each PUT, so that only processes that save the same
// file at the same moment could meet in the gap, and as files are named by their content they would write the same bytes.
//
// Where the bucket keeps versions, Remove hides a file behind a delete marker: it is gone for every call of this package, and takes
// up space until the bucket's lifecycle rules remove versions that are not current. [Config].DeleteVersions removes all versions
// instead. In a bucket with Object Lock, a version that is still retained cannot be removed: with DeleteVersions the error of
// Remove wraps fs.ErrPermission, and the file stays; without, it is hidden, and can be brought back by removing the delete marker.
//
// # Credentials
//
// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN come from the settings. Where there are none, the shared
// credentials file is asked (AWS_SHARED_CREDENTIALS_FILE, AWS_PROFILE), then the identity of the pod (AWS_WEB_IDENTITY_TOKEN_FILE
// and AWS_ROLE_ARN, as EKS sets them; AWS_ENDPOINT_URL_STS for an STS other than Amazon's), of the task (ECS) or of the machine (EC2).
// They are renewed before they expire. Requests are never anonymous unless [Config].Anonymous says so.
//
// # Other settings
//
// AWS_DEFAULT_REGION or AWS_REGION; CA certificates and proxies as package web says. The driver does not retry: see package wrap.
package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/internal/place"
	"github.com/escrow-backup/escrow/repository/backend/web"
)

// defaultConnections is how many calls at once suit a service that is some milliseconds away.
const defaultConnections = 8

// Config says where a repository is. Endpoint and Bucket are required.
type Config struct {
	Endpoint string // "https://host:port", "http://host:port", or "host:port", which means https
	Bucket   string
	Prefix   string // of all keys, without slashes at its ends; default: none

	// BucketLookup is how the bucket is named in requests: "path" (https://host/bucket), "dns" (https://bucket.host), or
	// "auto", the default: dns for services that are known to want it, Amazon's above all, path for all others.
	BucketLookup string

	// CreateBucket makes Save create a bucket that is missing; until then it counts as an empty repository. Otherwise a
	// missing bucket is an error of every call.
	CreateBucket bool

	// DeleteVersions makes Remove delete every version of a file for good, where it would only hide it otherwise.
	DeleteVersions bool

	Anonymous   bool // send no credentials
	ListV1      bool // list with the first version of the protocol, for servers that do not know the second
	NoCondition bool // do not send If-None-Match; a server that answers "not implemented" is found out without this

	// Settings hold credentials, region, storage class and what else the package's comment names; nil works.
	Settings *backend.Settings

	// Transport carries the requests; default: what package web makes of Settings.
	Transport http.RoundTripper
}

// Backend is a repository in a bucket. It fulfils [backend.Backend]. After Close every call fails with an error wrapping
// fs.ErrClosed.
type Backend struct {
	core        minio.Core
	creds       *credentials.Credentials // nil: anonymous
	ambient     bool                     // creds can be renewed
	redact      *strings.Replacer
	transport   http.RoundTripper
	cfg         Config
	class       string // storage class of packs
	region      string // "" if the service is to say
	connections int

	noCondition atomic.Bool // the server does not know If-None-Match
	met         atomic.Bool // the server has granted a request: it knows key and bucket
	closed      atomic.Bool

	mu     sync.Mutex
	saving map[backend.Handle]chan struct{} // what Save is busy with; closed when it is done
}

var (
	_ backend.Backend   = (*Backend)(nil)
	_ backend.Connector = (*Backend)(nil)
)

// Open returns the Backend for what c says. It sends no request. Errors hold no credentials.
func Open(ctx context.Context, c Config) (*Backend, error) {
	b, err := open(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("open s3 bucket %q: %w", c.Bucket, err)
	}
	return b, nil
}

func open(ctx context.Context, c Config) (*Backend, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := s3utils.CheckValidBucketName(c.Bucket); err != nil {
		return nil, err
	}
	host, secure, err := endpoint(c.Endpoint)
	if err != nil {
		return nil, err
	}
	c.Prefix = place.Clean(c.Prefix)
	s := c.Settings
	if s == nil {
		s = &backend.Settings{}
	}
	b := &Backend{
		cfg: c, class: s.StorageClass, region: s.Region, connections: s.Connections, transport: c.Transport,
		saving: map[backend.Handle]chan struct{}{},
	}
	if b.connections <= 0 {
		b.connections = defaultConnections
	}
	if b.region == "" {
		b.region = s.Value("AWS_DEFAULT_REGION", "AWS_REGION")
	}
	if b.transport == nil {
		if b.transport, err = web.Transport(s); err != nil {
			return nil, err
		}
	}
	if err := b.authenticate(s); err != nil {
		return nil, err
	}
	lookup, ok := map[string]minio.BucketLookupType{
		"": minio.BucketLookupAuto, "auto": minio.BucketLookupAuto, "dns": minio.BucketLookupDNS, "path": minio.BucketLookupPath,
	}[c.BucketLookup]
	if !ok {
		return nil, fmt.Errorf("bucket lookup %q: none of auto, dns, path", c.BucketLookup)
	}
	core, err := minio.NewCore(host, &minio.Options{
		Creds:        b.creds,
		Secure:       secure,
		Transport:    observer{b.transport},
		Region:       b.region,
		BucketLookup: lookup,
		MaxRetries:   1, // that is, none: minio-go counts attempts
	})
	if err != nil {
		return nil, err
	}
	b.core = *core
	b.noCondition.Store(c.NoCondition)
	return b, nil
}

// endpoint splits "scheme://host:port"; without a scheme it is https.
func endpoint(s string) (host string, secure bool, err error) {
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.User != nil {
		// Neither the text nor the cause is shown: there may be a password in both.
		return "", false, errors.New("the endpoint is not a URL such as https://host:port; credentials go into the settings")
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", false, fmt.Errorf("the endpoint %q is not like https://host:port", s)
	}
	return u.Host, u.Scheme == "https", nil
}

// Opener is the [backend.Opener] of S3, for the scheme "s3". The location is that of restic's URLs:
//
//	s3:https://host:port/bucket/prefix
//	s3:http://host:port/bucket/prefix
//	s3:host/bucket/prefix, s3://host/bucket/prefix   https
//
// A bucket that does not exist is created by the first Save, as restic does.
func Opener(ctx context.Context, location string, s *backend.Settings) (backend.Backend, error) {
	c, err := parse(location)
	if err != nil {
		return nil, fmt.Errorf("open s3: %w", err)
	}
	c.CreateBucket, c.Settings = true, s
	b, err := Open(ctx, c)
	if err != nil {
		return nil, err // not b: a nil *Backend would make a Backend that is not nil
	}
	return b, nil
}

func parse(location string) (Config, error) {
	const want = "want host/bucket/prefix or https://host/bucket/prefix"
	scheme, rest := "https://", strings.TrimPrefix(location, "//")
	for _, s := range []string{"https://", "http://"} {
		if strings.HasPrefix(location, s) {
			scheme, rest = s, location[len(s):]
		}
	}
	host, rest, _ := strings.Cut(rest, "/")
	if strings.ContainsAny(host, "@?#") || strings.HasSuffix(host, ":") {
		return Config{}, errors.New("the host is no host; credentials go into the settings: " + want)
	}
	bucket, prefix, _ := strings.Cut(strings.TrimLeft(rest, "/"), "/")
	if host == "" || bucket == "" {
		return Config{}, fmt.Errorf("%q names no bucket: %s", location, want)
	}
	if strings.ContainsAny(rest, "?#") {
		return Config{}, fmt.Errorf("no query or fragment may follow: %s", want)
	}
	return Config{Endpoint: scheme + host, Bucket: bucket, Prefix: place.Clean(prefix)}, nil
}

// Connections implements [backend.Connector].
func (b *Backend) Connections() int { return b.connections }

// key is where h lies.
func (b *Backend) key(h backend.Handle) string { return b.under(h.Path()) }

func (b *Backend) under(p string) string { return place.Under(b.cfg.Prefix, p) }

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
		return fmt.Errorf("close s3 bucket %q: %w", b.cfg.Bucket, fs.ErrClosed)
	}
	if t, ok := b.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
	return nil
}
