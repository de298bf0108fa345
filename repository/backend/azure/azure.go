// Package azure keeps a repository in a container of Azure Blob Storage. The layout is restic's: "<prefix>/config",
// "<prefix>/data/<first two digits>/<name>".
//
// A file is one Put Blob with the MD5 of its content, which the service verifies, under the condition that there is no such
// blob ("If-None-Match: *"): it is there as a whole or not at all, nothing is ever replaced, and no blocks that nobody committed
// are left to be paid for. Such an upload is limited to 5,000 MiB, some hundred times the size of the largest packs.
//
// What Remove leaves where the account keeps versions or deleted blobs for a while ("soft delete") is up to its settings. A blob
// under an immutability policy, a legal hold or a lease cannot be removed: the error wraps fs.ErrPermission, and the file stays.
//
// # Credentials
//
// The account is AZURE_ACCOUNT_NAME, at <account>.blob.core.windows.net, or in another cloud at <account>.blob.<AZURE_ENDPOINT_SUFFIX>.
// AZURE_BLOB_ENDPOINT is the whole URL of another service: one behind a private name, or an emulator, whose URL ends in
// the account ("http://127.0.0.1:10000/account"). The first of these that is there says who we are:
//
//   - AZURE_ACCOUNT_KEY, a key of the account
//   - AZURE_ACCOUNT_SAS, a shared access signature
//   - AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and AZURE_TENANT_ID from the settings, an application
//   - AZURE_FORCE_CLI_CREDENTIAL: who is logged in with the az program, if it is not "false" or "0"
//   - the ambient identity, as azidentity.DefaultAzureCredential finds it in the environment of the process: an application, the
//     workload identity of a pod, the managed identity of a machine, who is logged in with the az program
//
// Tokens of identities are sent over TLS only. The driver does not retry.
//
// # Other settings
//
// StorageClass is the access tier of packs: Hot, Cool, Cold and so on. CA certificates and proxies: see package web.
package azure

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/internal/place"
	"github.com/escrow-backup/escrow/repository/backend/web"
)

const (
	// defaultConnections is how many calls at once suit a service that is some milliseconds away.
	defaultConnections = 8
	// defaultSuffix is that of the public cloud.
	defaultSuffix = "core.windows.net"
)

// Config says where a repository is. Container is required.
type Config struct {
	Container string
	Prefix    string // of all names, without slashes at its ends; default: none
	Endpoint  string // URL of the service; default: what AZURE_BLOB_ENDPOINT says, or where the account is

	// CreateContainer makes Save create a container that is missing, as a private one; until then it counts as an empty
	// repository. Otherwise a missing container is an error of every call.
	CreateContainer bool

	// Settings hold credentials, the access tier and what else the package's comment names; nil works.
	Settings *backend.Settings

	// Transport carries the requests; default: what package web makes of Settings.
	Transport http.RoundTripper
}

// Backend is a repository in a container. It fulfils [backend.Backend]. After Close every call fails with an error wrapping
// fs.ErrClosed.
type Backend struct {
	cfg         Config
	container   *container.Client
	host        string // of the service, for messages
	redact      *strings.Replacer
	transport   http.RoundTripper
	tier        *blob.AccessTier // of packs; nil is the account's
	connections int
	closed      atomic.Bool
}

var (
	_ backend.Backend   = (*Backend)(nil)
	_ backend.Connector = (*Backend)(nil)
)

// Open returns the Backend for what c says. It sends no request. Errors hold no credentials.
func Open(ctx context.Context, c Config) (*Backend, error) {
	b, err := open(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("open azure container %q: %w", c.Container, err)
	}
	return b, nil
}

func open(ctx context.Context, c Config) (*Backend, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if c.Container == "" {
		return nil, errors.New("no container is named")
	}
	if strings.ContainsAny(c.Container, "/?#% ") {
		return nil, errors.New("that is no name of a container")
	}
	c.Prefix = place.Clean(c.Prefix)
	s := c.Settings
	if s == nil {
		s = &backend.Settings{}
	}
	service, err := endpoint(c, s)
	if err != nil {
		return nil, err
	}
	b := &Backend{cfg: c, host: service.Host, connections: s.Connections, transport: c.Transport}
	if b.connections <= 0 {
		b.connections = defaultConnections
	}
	if b.tier, err = tier(s.StorageClass); err != nil {
		return nil, err
	}
	if b.transport == nil {
		if b.transport, err = web.Transport(s); err != nil {
			return nil, err
		}
	}
	if err := b.authenticate(s, runtime.JoinPaths(service.String(), url.PathEscape(c.Container))); err != nil {
		return nil, err
	}
	return b, nil
}

// endpoint is the URL of the service.
func endpoint(c Config, s *backend.Settings) (*url.URL, error) {
	source, text := "the endpoint", c.Endpoint
	if text == "" {
		source, text = "AZURE_BLOB_ENDPOINT", s.Value("AZURE_BLOB_ENDPOINT")
	}
	if text == "" {
		account := s.Value("AZURE_ACCOUNT_NAME")
		if account == "" {
			return nil, errors.New("AZURE_ACCOUNT_NAME is not set")
		}
		suffix := s.Value("AZURE_ENDPOINT_SUFFIX")
		if suffix == "" {
			suffix = defaultSuffix
		}
		source, text = "AZURE_ACCOUNT_NAME or AZURE_ENDPOINT_SUFFIX", "https://"+account+".blob."+suffix
		if strings.ContainsAny(account+suffix, "/@:?#% ") {
			return nil, errors.New(source + " is not part of a host's name")
		}
	}
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		// Neither the text nor the cause is shown: there may be a signature in both.
		return nil, errors.New(source + " is not a URL such as https://host; credentials go into the settings")
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("%s is %q, which is not like https://host", source, text)
	}
	return u, nil
}

// tier finds the access tier of this name, in upper or lower case.
func tier(name string) (*blob.AccessTier, error) {
	if name == "" {
		return nil, nil
	}
	known := blob.PossibleAccessTierValues()
	for _, t := range known {
		if strings.EqualFold(string(t), name) {
			return &t, nil
		}
	}
	return nil, fmt.Errorf("there is no access tier %q, but %v", name, known)
}

// Opener is the [backend.Opener] of Azure, for the scheme "azure". The location is that of restic's URLs: "container:/prefix".
// A container that does not exist is created by the first Save, as restic does.
func Opener(ctx context.Context, location string, s *backend.Settings) (backend.Backend, error) {
	name, prefix, err := place.Parse(location)
	if err != nil {
		return nil, fmt.Errorf("open azure: %w", err)
	}
	b, err := Open(ctx, Config{Container: name, Prefix: prefix, CreateContainer: true, Settings: s})
	if err != nil {
		return nil, err // not b: a nil *Backend would make a Backend that is not nil
	}
	return b, nil
}

// Connections implements [backend.Connector].
func (b *Backend) Connections() int { return b.connections }

// key is where h lies.
func (b *Backend) key(h backend.Handle) string { return place.Under(b.cfg.Prefix, h.Path()) }

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
		return fmt.Errorf("close azure container %q: %w", b.cfg.Container, fs.ErrClosed)
	}
	if t, ok := b.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
	return nil
}
