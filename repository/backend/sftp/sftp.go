// Package sftp keeps a repository in a directory of an SSH server, in restic's default layout.
//
// All calls share one SSH connection; after it has broken, the next call makes a new one. A call that the break hits fails:
// the driver does not retry.
//
// A file is written under a temporary name beside its place, with many requests under way at once, synced where the server
// knows how ("fsync@openssh.com"), and linked into its place, which never replaces another file. Servers without hard links
// are told to rename: by the protocol's version 3 that fails, too, if the name is taken, but not every server keeps to it. Modes are those of package
// local: read-only files for the owner, and for the group where the group may read the repository's config file.
// Temporary files that a killed process left behind are not listed. Once nothing has touched one for a day, the next Save into
// its directory removes it.
//
// When a context ends during a call, the call gets half a second to tidy up. A server that does not answer in that time
// loses the connection, and with it all other calls to it.
//
// # Who the server is
//
// The server's key must be in a known_hosts file, in OpenSSH's format: that of SSH_KNOWN_HOSTS if it is set, else the files
// that SSH_KNOWN_HOSTS_FILE names, else ~/.ssh/known_hosts. Only InsecureTLS in the settings, or
// [Config].InsecureIgnoreHostKey, turns that off. ~/.ssh/config is not read.
//
// # Who we are
//
// Tried in this order: the private key in SSH_PRIVATE_KEY, or in the file that SSH_PRIVATE_KEY_FILE names, decrypted with
// SSH_PRIVATE_KEY_PASSPHRASE; without one, the keys of the agent at SSH_AUTH_SOCK, and then those of ~/.ssh/id_ed25519, id_ecdsa and id_rsa
// that need no passphrase; last the password in SSH_PASSWORD.
package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os/user"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"

	"github.com/escrow-backup/escrow/repository/backend"
)

// defaultConnections is how many calls at once suit one connection. restic has the same number.
const defaultConnections = 5

// Config says where a repository is and who may get there. Host and Path are required.
type Config struct {
	Host string
	Port int    // default: 22
	User string // default: the name of the user whom the process runs as
	Path string // of the repository; one that is not absolute begins at the user's home directory

	PrivateKey []byte // in PEM or OpenSSH's form
	Passphrase string // of PrivateKey
	Password   string
	Agent      string // path of an agent's socket

	// KnownHosts is the content of a known_hosts file, KnownHostsFiles are paths of such. One of them is required.
	KnownHosts            []byte
	KnownHostsFiles       []string
	InsecureIgnoreHostKey bool // believe any server; passwords may then go to anybody

	Connections int // calls at once, what Connections returns; default: 5

	// Dial connects to the server, for instance through another one; default: TCP, within 30 seconds.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Backend is a repository on an SSH server. It fulfils [backend.Backend]. After Close every call fails with an error
// wrapping fs.ErrClosed.
type Backend struct {
	cfg    Config
	place  string // what errors call it
	ssh    *ssh.ClientConfig
	keys   keys
	closed atomic.Bool

	dial    chan struct{} // held while connecting; of capacity 1
	current *session      // guarded by dial; nil before the first connection and after Close

	mu   sync.Mutex
	dirs map[string]bool // directories that are known to exist, and where leftovers were looked for
	mode *modes          // nil until the first directory is looked for
}

var (
	_ backend.Backend   = (*Backend)(nil)
	_ backend.Connector = (*Backend)(nil)
)

// Open connects and returns the Backend for what c says. It creates nothing. Errors hold no credentials; those about keys and
// passwords that are refused, of either side, wrap fs.ErrPermission.
func Open(ctx context.Context, c Config) (*Backend, error) {
	b, err := open(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("open sftp: %w", err)
	}
	return b, nil
}

func open(ctx context.Context, c Config) (*Backend, error) {
	if c.Host == "" || c.Path == "" {
		return nil, errors.New("host and path are required")
	}
	if c.Port == 0 {
		c.Port = 22
	}
	if c.Connections <= 0 {
		c.Connections = defaultConnections
	}
	if c.User == "" {
		u, err := user.Current()
		if err != nil {
			return nil, fmt.Errorf("no user is named: %w", err)
		}
		c.User = u.Username
	}
	c.Path = path.Clean(c.Path)
	b := &Backend{
		cfg:   c,
		place: fmt.Sprintf("%s@%s", c.User, net.JoinHostPort(c.Host, strconv.Itoa(c.Port))),
		dial:  make(chan struct{}, 1),
		dirs:  map[string]bool{},
	}
	if err := b.configure(); err != nil {
		return nil, err
	}
	if err := b.do(ctx, func(*session) error { return nil }); err != nil {
		return nil, err
	}
	return b, nil
}

// Opener is the [backend.Opener] of SSH servers, for the scheme "sftp". The location is that of restic's URLs:
//
//	sftp:user@host:/absolute/path
//	sftp:user@host:path/from/home
//	sftp://user@host:port//absolute/path
//	sftp://user@host:port/path/from/home
func Opener(ctx context.Context, location string, s *backend.Settings) (backend.Backend, error) {
	c, err := parse(location)
	if err == nil {
		err = c.fill(s)
	}
	if err != nil {
		return nil, fmt.Errorf("open sftp: %w", err)
	}
	b, err := Open(ctx, c)
	if err != nil {
		return nil, err // not b: a nil *Backend would make a Backend that is not nil
	}
	return b, nil
}

func parse(location string) (Config, error) {
	var c Config
	if strings.HasPrefix(location, "//") {
		u, err := url.Parse("sftp:" + location)
		if err != nil {
			// Neither the text nor the cause is shown: there may be a password in both.
			return c, errors.New("not a URL: want sftp://user@host:port//path")
		}
		if _, has := u.User.Password(); has {
			return c, errors.New("a password in the URL would show in lists of processes: put it into SSH_PASSWORD")
		}
		c.Host, c.User, c.Path = u.Hostname(), u.User.Username(), strings.TrimPrefix(u.Path, "/")
		if p := u.Port(); p != "" {
			if c.Port, err = strconv.Atoi(p); err != nil {
				return c, fmt.Errorf("port %q: %w", p, err)
			}
		}
	} else {
		host := location
		if at := strings.Index(location, "@"); at >= 0 && !strings.Contains(location[:at], "/") {
			c.User, host = location[:at], location[at+1:]
		}
		if strings.Contains(c.User, ":") {
			return c, errors.New("a password in the URL would show in lists of processes: put it into SSH_PASSWORD")
		}
		end := 0
		if strings.HasPrefix(host, "[") {
			end = max(strings.Index(host, "]"), 0)
		}
		colon := strings.Index(host[end:], ":")
		if colon < 0 {
			return c, errors.New("no path: want user@host:/path or //user@host:port//path")
		}
		c.Host, c.Path = strings.Trim(host[:end+colon], "[]"), host[end+colon+1:]
	}
	switch {
	case c.Host == "":
		return c, errors.New("no host: want user@host:/path or //user@host:port//path")
	case c.Path == "":
		return c, errors.New("no path: want user@host:/path or //user@host:port//path")
	case strings.HasPrefix(c.Path, "~"):
		return c, fmt.Errorf("path %q: no shell expands the tilde; a path without a slash in front begins at home", c.Path)
	}
	return c, nil
}

// Connections implements [backend.Connector].
func (b *Backend) Connections() int { return b.cfg.Connections }

// file is where h lies.
func (b *Backend) file(h backend.Handle) string { return path.Join(b.cfg.Path, h.Path()) }

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
	b.dial <- struct{}{}
	defer func() { <-b.dial }()
	if b.current != nil {
		b.current.close()
		b.current = nil
	}
	return nil
}
