package appbinding

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/elastic/go-elasticsearch/v8"
)

const redacted = "[redacted]"

// Config is how to reach a cluster, for programs that have no AppBinding. It redacts itself when printed, logged or
// marshalled.
type Config struct {
	URL      string // scheme://host:port/path?query; a user and password in it are used if no others are given. Required.
	Username string
	Password string
	APIKey   string // "id:key", or that in base64 as Elasticsearch encodes it; goes before a password

	CACert             []byte // PEM: the only authorities trusted; default: those of the system
	ServerName         string // what the certificate must be for; default: the host
	Cert, Key          []byte // PEM of a client certificate; both or none
	InsecureSkipVerify bool   // accept any certificate
}

// Format implements fmt.Formatter for every verb, without secrets.
func (c Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// String gives the address without secrets.
func (c Config) String() string {
	u, err := parseURL(c.URL)
	if err != nil {
		return redacted
	}
	return address(u)
}

// GoString implements fmt.GoStringer.
func (c Config) GoString() string { return c.String() }

// LogValue implements slog.LogValuer.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON implements json.Marshaler.
func (c Config) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// address is u without user and query, which may hold secrets.
func address(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// ConnectOptions of Connect; nil and the zero value work.
type ConnectOptions struct {
	// WaitTimeout is how long to wait for the cluster to answer. Default 0: it is not asked.
	WaitTimeout time.Duration
}

// Connect returns a client of the cluster. Unless o says to wait it makes no request. The client does not retry, has
// no limit for the length of a request, and does not ask for compressed answers: its user does what is right for
// each request. Proxies are taken from the environment.
func (c Config) Connect(ctx context.Context, o *ConnectOptions) (*elasticsearch.Client, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("connect: %w", context.Cause(ctx))
	}
	es, u, err := c.client()
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if o != nil && o.WaitTimeout > 0 {
		if err := wait(ctx, es, o.WaitTimeout); err != nil {
			return nil, fmt.Errorf("connect %s: %w", address(u), err)
		}
	}
	return es, nil
}

func (c Config) client() (*elasticsearch.Client, *url.URL, error) {
	u, err := parseURL(c.URL)
	if err != nil {
		return nil, nil, fmt.Errorf("url: %w", err)
	}
	if u.User != nil {
		if c.Username == "" && c.Password == "" && c.APIKey == "" {
			c.Username = u.User.Username()
			c.Password, _ = u.User.Password()
		}
		u.User = nil
	}
	tlsConfig, err := c.tls()
	if err != nil {
		return nil, nil, err
	}
	var transport http.RoundTripper = &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     90 * time.Second,
		MaxIdleConns:        64,
		MaxIdleConnsPerHost: 16,
		ReadBufferSize:      64 << 10,
		WriteBufferSize:     64 << 10,
		DisableCompression:  true, // Go would ask for gzip by itself, which costs the server more than all its other work
	}
	if u.RawQuery != "" {
		transport = withQuery{transport, u.RawQuery}
	}
	base := *u
	base.RawQuery, base.Fragment = "", ""
	es, err := elasticsearch.NewClient(elasticsearch.Config{
		Addresses:    []string{base.String()},
		Username:     c.Username,
		Password:     c.Password,
		APIKey:       apiKey(c.APIKey),
		DisableRetry: true,
		Transport:    transport,
	})
	if err != nil {
		return nil, nil, errors.New("the client refuses the configuration") // its text may quote it
	}
	return es, u, nil
}

// withQuery adds a query to every request; the client library keeps scheme, host and path of an address only.
type withQuery struct {
	next  http.RoundTripper
	query string
}

func (t withQuery) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if r.URL.RawQuery != "" {
		r.URL.RawQuery = t.query + "&" + r.URL.RawQuery
	} else {
		r.URL.RawQuery = t.query
	}
	return t.next.RoundTrip(r)
}

// apiKey encodes an "id:key"; the encoded form has no colon.
func apiKey(s string) string {
	s = strings.TrimSpace(s)
	if strings.Contains(s, ":") {
		return base64.StdEncoding.EncodeToString([]byte(s))
	}
	return s
}

func (c Config) tls() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName, InsecureSkipVerify: c.InsecureSkipVerify}
	if len(c.CACert) > 0 {
		pool, err := certPool(c.CACert)
		if err != nil {
			return nil, fmt.Errorf("certificate authority: %w", err)
		}
		t.RootCAs = pool
	}
	switch {
	case len(c.Cert) > 0 && len(c.Key) > 0:
		pair, err := tls.X509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err) // says what is wrong, never what the key is
		}
		t.Certificates = []tls.Certificate{pair}
	case len(c.Cert) > 0:
		return nil, errors.New("client certificate: has no key")
	case len(c.Key) > 0:
		return nil, errors.New("client certificate: there is a key only")
	}
	return t, nil
}

func certPool(pem []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("holds no PEM certificate")
	}
	return pool, nil
}

// parseURL checks an address. Its errors hold nothing of it: even a piece could be of a password.
func parseURL(s string) (*url.URL, error) {
	if s == "" {
		return nil, errors.New("is empty")
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("is not a URL")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("does not begin with http:// or https://")
	}
	if u.Hostname() == "" {
		return nil, errors.New("has no host")
	}
	return u, nil
}
