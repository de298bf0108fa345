// Package esproxy puts a reverse proxy between a client and an Elasticsearch: TLS with an authority of its own, checks of
// credentials, and faults on demand. A fault made here is made from a real server's answer.
package esproxy

import (
	"bytes"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Options of a proxy; nil and the zero value give a plain one without credentials.
type Options struct {
	TLS               bool // serve HTTPS with a certificate of Proxy.CA
	ClientCertificate bool // demand a certificate of Proxy.CA from clients; implies TLS
	Username          string
	Password          string
	APIKey            string // the encoded form, as clients send it after "ApiKey "
}

// Proxy is a running reverse proxy on 127.0.0.1.
type Proxy struct {
	URL string
	CA  []byte // PEM, with TLS only
	// ClientCert and ClientKey are PEM of a certificate that the proxy accepts, with TLS only.
	ClientCert, ClientKey []byte

	auth   Options
	target *httputil.ReverseProxy

	mu    sync.Mutex
	rules []*Rule
}

// Rule is a fault: what becomes of the requests that it matches. The first rule that matches a request is applied.
type Rule struct {
	// Match chooses requests; nil chooses all.
	Match func(*http.Request) bool
	// Skip lets that many matching requests pass first.
	Skip int
	// Times is how many matching requests are touched after that; 0 means all.
	Times int

	// Status answers in the server's place, in the server's form; 0 does not.
	Status int
	// Cut closes the connection after that many bytes of the answer's body; nil does not.
	Cut *int64
	// Mutate changes the server's answer: it gets the request, the status and the body and returns a new status and body.
	Mutate func(r *http.Request, status int, body []byte) (int, []byte)
	// Before is called before the request is passed on.
	Before func(*http.Request)

	matched, applied int
}

// Start starts a proxy in front of the server at target; it ends with the test.
func Start(t testing.TB, target string, o *Options) *Proxy {
	t.Helper()
	if o == nil {
		o = &Options{}
	}
	u, err := url.Parse(target)
	require.NoError(t, err)
	p := &Proxy{auth: *o}
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16}
	p.target = &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(u) },
		Transport:      transport,
		ModifyResponse: p.modify,
		ErrorLog:       log.New(io.Discard, "", 0),
		FlushInterval:  -1,
	}
	s := httptest.NewUnstartedServer(p)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if o.TLS || o.ClientCertificate {
		ca := newAuthority(t)
		p.CA = ca.pem
		p.ClientCert, p.ClientKey = ca.issue(t, "client")
		cert, key := ca.issue(t, "127.0.0.1")
		pair, err := tls.X509KeyPair(cert, key)
		require.NoError(t, err)
		s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		if o.ClientCertificate {
			s.TLS.ClientAuth = tls.RequireAndVerifyClientCert
			s.TLS.ClientCAs = x509.NewCertPool()
			s.TLS.ClientCAs.AppendCertsFromPEM(ca.pem)
		}
		s.StartTLS()
	} else {
		s.Start()
	}
	p.URL = s.URL
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		transport.CloseIdleConnections()
	})
	return p
}

// Add makes the proxy apply a rule from now on, after the rules that it has.
func (p *Proxy) Add(r *Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, r)
}

// Clear drops all rules.
func (p *Proxy) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = nil
}

// Applied is how many requests a rule has touched.
func (p *Proxy) Applied(r *Rule) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return r.applied
}

// rule finds the rule to apply to a request, and counts it.
func (p *Proxy) rule(req *http.Request) *Rule {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.rules {
		if r.Match != nil && !r.Match(req) {
			continue
		}
		r.matched++
		if r.matched <= r.Skip || r.Times > 0 && r.applied == r.Times {
			continue
		}
		r.applied++
		return r
	}
	return nil
}

// ServeHTTP checks credentials, then answers with a fault or passes the request on.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if !p.authorized(req) {
		w.Header().Set("WWW-Authenticate", `Basic realm="security", charset="UTF-8"`)
		fail(w, http.StatusUnauthorized, "security_exception", "missing or wrong authentication credentials for REST request")
		return
	}
	rule := p.rule(req)
	if rule == nil {
		p.target.ServeHTTP(w, req)
		return
	}
	if rule.Before != nil {
		rule.Before(req)
	}
	if rule.Status != 0 {
		kind := "es_rejected_execution_exception"
		if rule.Status != http.StatusTooManyRequests {
			kind = "service_unavailable_exception"
		}
		fail(w, rule.Status, kind, "fault made by a test")
		return
	}
	req = req.WithContext(withRule(req.Context(), rule))
	if rule.Cut != nil {
		w = &cutter{ResponseWriter: w, left: *rule.Cut}
	}
	p.target.ServeHTTP(w, req)
}

func (p *Proxy) authorized(req *http.Request) bool {
	var scheme, credentials string
	switch {
	case p.auth.APIKey != "":
		scheme, credentials = "ApiKey", p.auth.APIKey
	case p.auth.Username != "":
		scheme, credentials = "Basic", base64.StdEncoding.EncodeToString([]byte(p.auth.Username+":"+p.auth.Password))
	default:
		return true
	}
	gotScheme, got, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	return strings.EqualFold(gotScheme, scheme) && subtle.ConstantTimeCompare([]byte(got), []byte(credentials)) == 1
}

func (p *Proxy) modify(resp *http.Response) error {
	rule := ruleOf(resp.Request.Context())
	if rule == nil || rule.Mutate == nil {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return err
	}
	resp.StatusCode, body = rule.Mutate(resp.Request, resp.StatusCode, body)
	resp.Status = http.StatusText(resp.StatusCode)
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	resp.ContentLength = int64(len(body))
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// fail answers with an error in the server's form.
func fail(w http.ResponseWriter, status int, kind, reason string) {
	cause := fmt.Sprintf(`"type":%q,"reason":%q`, kind, reason)
	w.Header().Set("X-Elastic-Product", "Elasticsearch")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":{"root_cause":[{%s}],%s},"status":%d}`, cause, cause, status)
}

// cutter closes the connection in the middle of a body.
type cutter struct {
	http.ResponseWriter
	left int64
}

func (c *cutter) Write(b []byte) (int, error) {
	if int64(len(b)) <= c.left {
		c.left -= int64(len(b))
		return c.ResponseWriter.Write(b)
	}
	_, _ = c.ResponseWriter.Write(b[:c.left])
	_ = http.NewResponseController(c.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

func (c *cutter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// MutateJSON makes a Rule's Mutate of a function that changes the answer as decoded JSON. Numbers keep their digits.
func MutateJSON(change func(answer map[string]any)) func(*http.Request, int, []byte) (int, []byte) {
	return func(_ *http.Request, status int, body []byte) (int, []byte) {
		var answer map[string]any
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if err := d.Decode(&answer); err != nil {
			return http.StatusInternalServerError, []byte(`{"error":"the proxy cannot decode the answer","status":500}`)
		}
		change(answer)
		out, err := json.Marshal(answer)
		if err != nil {
			return http.StatusInternalServerError, []byte(`{"error":"the proxy cannot encode the answer","status":500}`)
		}
		return status, out
	}
}
