// Package rest keeps a repository behind restic's REST protocol, version 2: rest-server, "rclone serve restic", and others that
// speak it. The protocol is described in restic's documentation, chapter "REST backend".
//
// # What depends on the server
//
// A 200 for a POST means that the file is stored; how durably is the server's business. rest-server moves files into place, and
// refuses to replace one. "rclone serve restic" replaces files unless it runs with --append-only, and writes those of a local
// directory in place. Therefore Save looks before it sends, one Save of a file at a time, and after a failed one it removes what
// it finds incomplete. What remains: two processes that save the same file at the same moment could meet, and as files are named
// by their content they would write the same bytes; and a List meanwhile may see a file of rclone's that is still growing. Run
// rclone with --cache-objects=false: with its cache it goes on to serve such a file as short as it was when it was listed.
//
// An append-only server refuses Remove, with an error wrapping fs.ErrPermission, of everything but locks.
//
// Servers of version 1 of the protocol list names without sizes; List then asks for each size.
//
// # Credentials
//
// User and password come from the URL, or else from RESTIC_REST_USERNAME and RESTIC_REST_PASSWORD, or REST_SERVER_USERNAME and
// REST_SERVER_PASSWORD. CA certificates and proxies: see package web. Credentials are sent to the server of the URL only:
// an answer that redirects elsewhere is an error. The driver does not retry.
package rest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/web"
)

// defaultConnections is how many calls at once suit a server that is some milliseconds away. restic has the same number.
const defaultConnections = 5

// Config says where a repository is. URL is required.
type Config struct {
	// URL is "https://host:port/path/", "http://...", or "http+unix:///path/of/socket:/path/" for a Unix socket. It may hold
	// user and password, which are then used in place of the fields below.
	URL string

	Username string
	Password string

	// Settings hold CA certificates and proxies, Connections and InsecureTLS; nil works. If no user is named above, the
	// credentials are theirs, too.
	Settings *backend.Settings

	// Transport carries the requests; default: what package web makes of Settings.
	Transport http.RoundTripper
}

// Backend is a repository behind a server. It fulfils [backend.Backend]. After Close every call fails with an error
// wrapping fs.ErrClosed.
type Backend struct {
	base        *url.URL // ends in a slash, has no credentials
	place       string   // what errors call it
	user        string
	password    string
	client      http.Client
	connections int
	closed      atomic.Bool

	mu      sync.Mutex
	created bool                     // the server has the directories
	saving  map[backend.Handle]*turn // one Save of a file at a time
}

// turn is held by the Save that is at it.
type turn struct {
	held  chan struct{} // of capacity 1
	users int           // those that hold it or wait for it
}

var (
	_ backend.Backend   = (*Backend)(nil)
	_ backend.Connector = (*Backend)(nil)
)

// Open returns the Backend for what c says. It sends no request. Errors hold no credentials.
func Open(ctx context.Context, c Config) (*Backend, error) {
	b, err := open(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("open rest: %w", err)
	}
	return b, nil
}

func open(ctx context.Context, c Config) (*Backend, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	base, socket, err := parse(c.URL)
	if err != nil {
		return nil, err
	}
	b := &Backend{base: base, user: c.Username, password: c.Password, saving: map[backend.Handle]*turn{}}
	switch s := c.Settings; {
	case base.User != nil:
		b.user = base.User.Username()
		b.password, _ = base.User.Password()
		base.User = nil
	case b.user == "":
		b.user = s.Value("RESTIC_REST_USERNAME", "REST_SERVER_USERNAME")
		b.password = s.Value("RESTIC_REST_PASSWORD", "REST_SERVER_PASSWORD")
	}
	b.place = base.String()
	if socket != "" {
		b.place = "http+unix://" + socket + ":" + base.Path
	}
	b.connections = defaultConnections
	if c.Settings != nil && c.Settings.Connections > 0 {
		b.connections = c.Settings.Connections
	}
	transport := c.Transport
	if transport == nil {
		t, err := web.Transport(c.Settings)
		if err != nil {
			return nil, err
		}
		if socket != "" {
			t.Proxy = nil
			t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", socket)
			}
		}
		transport = t
	}
	b.client = http.Client{Transport: transport, CheckRedirect: b.checkRedirect}
	return b, nil
}

// checkRedirect follows what reads and stays on the server: the credentials are for nobody else, and a POST would become a
// GET that succeeds without having stored anything. What is not followed is an answer that answer makes an error of.
func (b *Backend) checkRedirect(r *http.Request, via []*http.Request) error {
	read := via[0].Method == http.MethodGet || via[0].Method == http.MethodHead
	if !read || len(via) > 5 || r.URL.Scheme != b.base.Scheme || r.URL.Host != b.base.Host {
		return http.ErrUseLastResponse
	}
	return nil
}

// parse returns where requests go, with credentials if the URL has some, and the Unix socket if one is named.
func parse(s string) (base *url.URL, socket string, err error) {
	const want = "want https://user:password@host:port/path/"
	if rest, ok := strings.CutPrefix(s, "http+unix://"); ok {
		var found bool
		if socket, rest, found = strings.Cut(rest, ":"); !found || !strings.HasPrefix(socket, "/") {
			return nil, "", errors.New("not a URL like http+unix:///path/of/socket:/path/")
		}
		s = "http://localhost/" + strings.TrimLeft(rest, "/")
	}
	u, err := url.Parse(s)
	if err != nil {
		// Neither the text nor the cause is shown: there may be a password in both.
		return nil, "", errors.New("not a URL: " + want)
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, "", fmt.Errorf("%q is no place for a repository: %s", u.Redacted(), want)
	}
	if !strings.HasSuffix(u.Path, "/") {
		u = u.JoinPath("/")
	}
	return u, socket, nil
}

// Opener is the [backend.Opener] of REST servers, for the scheme "rest". The location is that of restic's URLs:
//
//	rest:https://user:password@host:port/path/
//	rest:http://host:port/path/
//	rest:http+unix:///path/of/socket:/path/
func Opener(ctx context.Context, location string, s *backend.Settings) (backend.Backend, error) {
	b, err := Open(ctx, Config{URL: location, Settings: s})
	if err != nil {
		return nil, err // not b: a nil *Backend would make a Backend that is not nil
	}
	return b, nil
}

// Connections implements [backend.Connector].
func (b *Backend) Connections() int { return b.connections }

// url is where h is. All packs lie in one directory as far as the protocol goes.
func (b *Backend) url(h backend.Handle) string {
	if h.Type == backend.Config {
		return b.base.JoinPath("config").String()
	}
	return b.base.JoinPath(path.Join(h.Type.Dir(), h.Name)).String()
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
		return fmt.Errorf("close %s: %w", b.place, fs.ErrClosed)
	}
	b.client.CloseIdleConnections()
	return nil
}
