// Package web makes the HTTP transport that drivers of object stores share: verified TLS with the user's CA, proxies, and
// limits on how long a server may stay silent.
package web

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/escrow-backup/escrow/repository/backend"
)

// Transport returns a transport for what s says, which may be nil:
//
//   - InsecureTLS, and the CA certificates in PEM form in CA_CERT_DATA, or in the file that RESTIC_CACERT names, beside those
//     of the system;
//   - HTTP_PROXY, HTTPS_PROXY and NO_PROXY, or in lower case, from Lookup or else from the environment; link-local addresses,
//     where machines find their metadata, are asked directly;
//   - Connections, as a limit per host; 0 is none.
//
// Connecting, the TLS handshake and a server's silence after a whole request are limited in time; a transfer is not.
func Transport(s *backend.Settings) (*http.Transport, error) {
	if s == nil {
		s = &backend.Settings{}
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: s.InsecureTLS}
	pem := []byte(s.Value("CA_CERT_DATA"))
	source := "CA_CERT_DATA"
	if file := s.Value("RESTIC_CACERT"); len(pem) == 0 && file != "" {
		var err error
		if pem, err = os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("RESTIC_CACERT: %w", err)
		}
		source = "RESTIC_CACERT " + file
	}
	if len(pem) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			return nil, fmt.Errorf("the system's certificates: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in PEM form in it", source)
		}
		config.RootCAs = pool
	}
	proxy := proxyOf(s)
	return &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) {
			if ip := net.ParseIP(r.URL.Hostname()); ip.IsLinkLocalUnicast() {
				return nil, nil // the metadata of the machine, which no proxy reaches
			}
			return proxy(r.URL)
		},
		DialContext:           (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       config,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: 2 * time.Minute,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   max(s.Connections, 16),
		MaxConnsPerHost:       s.Connections,
		DisableCompression:    true, // what is stored is compressed, and sizes must be those of what is stored
		ForceAttemptHTTP2:     true,
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
	}, nil
}

// proxyOf takes the addresses of proxies from Lookup or else from the environment: a Secret rarely has them.
func proxyOf(s *backend.Settings) func(*url.URL) (*url.URL, error) {
	var env backend.Settings
	get := func(upper, lower string) string {
		if v := s.Value(upper, lower); v != "" {
			return v
		}
		return env.Value(upper, lower)
	}
	return (&httpproxy.Config{
		HTTPProxy:  get("HTTP_PROXY", "http_proxy"),
		HTTPSProxy: get("HTTPS_PROXY", "https_proxy"),
		NoProxy:    get("NO_PROXY", "no_proxy"),
	}).ProxyFunc()
}
