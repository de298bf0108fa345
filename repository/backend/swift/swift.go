// Package swift keeps a repository in a container of OpenStack Swift, or of what speaks its protocol. The layout is restic's:
// "<prefix>/config", "<prefix>/data/<first two digits>/<name>".
//
// A file is one PUT with the MD5 of its content, which the server verifies before anybody sees the file: it is there as a whole
// or not at all. The server is also told not to replace anything ("If-None-Match: *"), and a look goes before each PUT, so
// that only processes that save the same file at the same moment could meet; as files are named by their content they would
// write the same bytes. The first Save creates the container if it is missing, as restic does.
//
// # What depends on the server
//
// A 201 for a PUT means that a majority of the replicas have the file. It is listed as soon as the container knows it, which
// Swift tells it in the same request; a container that is overloaded may learn it some moments later. A container that keeps
// versions keeps what Remove deletes, as an older version that no call of this package sees.
//
// # Credentials
//
// As restic does, from the settings, in the three ways of OpenStack, of which OS_AUTH_URL or ST_AUTH tells the version by its path:
//
//   - version 1: ST_AUTH, ST_USER, ST_KEY;
//   - version 2: OS_AUTH_URL, OS_USERNAME, OS_PASSWORD, OS_TENANT_ID, OS_TENANT_NAME;
//   - version 3, Keystone: OS_AUTH_URL, OS_USERNAME or OS_USER_ID, OS_PASSWORD, OS_USER_DOMAIN_NAME or OS_USER_DOMAIN_ID, OS_PROJECT_NAME,
//     OS_PROJECT_DOMAIN_NAME or OS_PROJECT_DOMAIN_ID, OS_TENANT_ID, OS_TRUST_ID; or OS_APPLICATION_CREDENTIAL_ID or
//     OS_APPLICATION_CREDENTIAL_NAME with OS_APPLICATION_CREDENTIAL_SECRET;
//   - OS_STORAGE_URL and OS_AUTH_TOKEN, for who has them already. Such a token is not renewed, unless one of the above is there, too.
//
// OS_REGION_NAME chooses among the regions that Keystone names. Tokens are renewed before they expire, and when the server refuses
// one. They go to the storage URL only: an answer that redirects is an error.
//
// # Other settings
//
// SWIFT_DEFAULT_CONTAINER_POLICY is the storage policy of a container that Save creates; CA certificates and proxies as package web
// says. The driver does not retry: see package wrap.
package swift

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync/atomic"

	"github.com/ncw/swift/v2"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/internal/turns"
	"github.com/escrow-backup/escrow/repository/backend/web"
)

// defaultConnections is how many calls at once suit a service that is some milliseconds away. restic has the same number.
const defaultConnections = 5

// Config says where a repository is. Container is required.
type Config struct {
	Container string
	Prefix    string // of all names, without slashes at its ends; default: none

	// Policy is the storage policy of the container, if Save creates it; default: SWIFT_DEFAULT_CONTAINER_POLICY of Settings, or
	// else the server's.
	Policy string

	// Settings hold the credentials, Region, Connections, InsecureTLS and what package web reads; nil works.
	Settings *backend.Settings

	// Transport carries the requests; default: what package web makes of Settings.
	Transport http.RoundTripper
}

// Backend is a repository in a container. It fulfils [backend.Backend]. After Close every call fails with an error wrapping
// fs.ErrClosed.
type Backend struct {
	cfg         Config
	account     *account
	client      http.Client
	connections int
	saving      turns.Turns[backend.Handle]
	closed      atomic.Bool
}

var (
	_ backend.Backend   = (*Backend)(nil)
	_ backend.Connector = (*Backend)(nil)
)

// Open returns the Backend for what c says. It sends no request: what is wrong with the credentials is found out by the first call.
// Errors hold no credentials.
func Open(ctx context.Context, c Config) (*Backend, error) {
	b, err := open(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("open swift container %q: %w", c.Container, err)
	}
	return b, nil
}

func open(ctx context.Context, c Config) (*Backend, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if c.Container == "" || strings.Contains(c.Container, "/") || len(c.Container) > 256 {
		return nil, errors.New("not the name of a container")
	}
	s := c.Settings
	if s == nil {
		s = &backend.Settings{}
	}
	c.Prefix = cleanPrefix(c.Prefix)
	if c.Policy == "" {
		c.Policy = s.Value("SWIFT_DEFAULT_CONTAINER_POLICY")
	}
	if c.Transport == nil {
		t, err := web.Transport(s)
		if err != nil {
			return nil, err
		}
		c.Transport = t
	}
	b := &Backend{cfg: c, connections: s.Connections, client: http.Client{Transport: c.Transport, CheckRedirect: refuseRedirect}}
	if b.connections <= 0 {
		b.connections = defaultConnections
	}
	var err error
	b.account, err = newAccount(s, c.Transport)
	return b, err
}

// refuseRedirect keeps tokens where they belong, and a PUT from becoming a GET. The redirection is then an answer like another.
func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// connection is what the settings say, in the terms of the client library.
func connection(s *backend.Settings, t http.RoundTripper) *swift.Connection {
	region := s.Region
	if region == "" {
		region = s.Value("OS_REGION_NAME")
	}
	return &swift.Connection{
		UserName:                    s.Value("OS_USERNAME", "ST_USER"),
		UserId:                      s.Value("OS_USER_ID"),
		ApiKey:                      s.Value("OS_PASSWORD", "ST_KEY"),
		AuthUrl:                     s.Value("OS_AUTH_URL", "ST_AUTH"),
		Region:                      region,
		Domain:                      s.Value("OS_USER_DOMAIN_NAME"),
		DomainId:                    s.Value("OS_USER_DOMAIN_ID"),
		Tenant:                      s.Value("OS_PROJECT_NAME", "OS_TENANT_NAME"),
		TenantId:                    s.Value("OS_TENANT_ID"),
		TenantDomain:                s.Value("OS_PROJECT_DOMAIN_NAME"),
		TenantDomainId:              s.Value("OS_PROJECT_DOMAIN_ID"),
		TrustId:                     s.Value("OS_TRUST_ID"),
		ApplicationCredentialId:     s.Value("OS_APPLICATION_CREDENTIAL_ID"),
		ApplicationCredentialName:   s.Value("OS_APPLICATION_CREDENTIAL_NAME"),
		ApplicationCredentialSecret: s.Value("OS_APPLICATION_CREDENTIAL_SECRET"),
		StorageUrl:                  s.Value("OS_STORAGE_URL"),
		AuthToken:                   s.Value("OS_AUTH_TOKEN"),
		Transport:                   t,
	}
}

// cleanPrefix gives "" or a path without slashes at its ends, as restic does.
func cleanPrefix(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

// Opener is the [backend.Opener] of Swift, for the scheme "swift". The location is that of restic's URLs,
// "container:/path/to/repository"; "container:/" is a repository at the top of the container.
func Opener(ctx context.Context, location string, s *backend.Settings) (backend.Backend, error) {
	container, prefix, found := strings.Cut(location, ":")
	if !found || container == "" || !strings.HasPrefix(prefix, "/") {
		return nil, fmt.Errorf("open swift %q: want container:/prefix", location)
	}
	b, err := Open(ctx, Config{Container: container, Prefix: prefix, Settings: s})
	if err != nil {
		return nil, err // not b: a nil *Backend would make a Backend that is not nil
	}
	return b, nil
}

// Connections implements [backend.Connector].
func (b *Backend) Connections() int { return b.connections }

// name is what h is called in the container.
func (b *Backend) name(h backend.Handle) string { return b.under(h.Path()) }

func (b *Backend) under(p string) string {
	if b.cfg.Prefix == "" {
		return p
	}
	return b.cfg.Prefix + "/" + p
}

// path is where an object lies below the storage URL, escaped; with an empty name, where the container lies.
func (b *Backend) path(name string) string {
	p := "/" + url.PathEscape(b.cfg.Container)
	if name == "" {
		return p
	}
	for element := range strings.SplitSeq(name, "/") {
		p += "/" + url.PathEscape(element)
	}
	return p
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
		return fmt.Errorf("close swift container %q: %w", b.cfg.Container, fs.ErrClosed)
	}
	b.client.CloseIdleConnections()
	return nil
}
