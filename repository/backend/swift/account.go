package swift

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ncw/swift/v2"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/web"
)

// authLimit is how long a server may take to let somebody in.
const authLimit = 2 * time.Minute

// account is who we are at the server, and where what we have lies.
//
// The library gets tokens, which is where Swift is complicated. Requests about files are made here: the library's would send tokens
// along redirects, retry by themselves, and tell nobody what Retry-After says.
type account struct {
	conn   *swift.Connection
	turn   chan struct{} // held, by putting something in, by who uses conn
	renew  bool          // conn knows how to get another token
	secure bool          // a token that was got through TLS must not leave it
	redact *strings.Replacer
}

func newAccount(s *backend.Settings, t http.RoundTripper) (*account, error) {
	c := connection(s, noRedirects{t})
	c.ConnectTimeout, c.Timeout = authLimit, authLimit
	a := &account{conn: c, turn: make(chan struct{}, 1), renew: c.AuthUrl != "", redact: redactor(c)}
	if a.renew {
		u, err := parseURL(c.AuthUrl)
		if err != nil {
			return nil, fmt.Errorf("OS_AUTH_URL or ST_AUTH: %w", err)
		}
		if !strings.Contains(c.AuthUrl, "v1") && !strings.Contains(c.AuthUrl, "v2") && !strings.Contains(c.AuthUrl, "v3") {
			return nil, errors.New("OS_AUTH_URL or ST_AUTH: its path names no version, such as v1.0, v2.0 or v3")
		}
		a.secure = u.Scheme == "https" && !s.InsecureTLS
	}
	if c.StorageUrl != "" {
		if _, err := parseURL(c.StorageUrl); err != nil {
			return nil, fmt.Errorf("OS_STORAGE_URL: %w", err)
		}
	}
	if !a.renew && (c.StorageUrl == "" || c.AuthToken == "") {
		return nil, fmt.Errorf("no credentials: neither OS_AUTH_URL nor ST_AUTH is set, nor both of OS_STORAGE_URL and OS_AUTH_TOKEN: %w", fs.ErrPermission)
	}
	return a, nil
}

// redactor hides what must not be shown, should a server repeat it.
func redactor(c *swift.Connection) *strings.Replacer {
	var pairs []string
	for _, secret := range []string{c.ApiKey, c.ApplicationCredentialSecret, c.AuthToken} {
		if secret != "" {
			pairs = append(pairs, secret, "xxxxx")
		}
	}
	return strings.NewReplacer(pairs...)
}

// parseURL reads an address. Errors do not quote it: there may be a password in it.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("not a URL like https://host:port/path")
	}
	return u, nil
}

// enter returns the address of the account and a token for it. A token that was refused is given as stale, and is not returned
// again.
func (a *account) enter(ctx context.Context, stale string) (at, token string, err error) {
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return "", "", context.Cause(ctx)
	}
	if stale != "" && a.conn.AuthToken == stale {
		if !a.renew {
			return "", "", fmt.Errorf("the server refuses OS_AUTH_TOKEN: %w", fs.ErrPermission)
		}
		a.conn.UnAuthenticate()
	}
	if !a.conn.Authenticated() {
		if err := a.conn.Authenticate(ctx); err != nil {
			return "", "", a.refusal(ctx, err)
		}
	}
	u, err := parseURL(a.conn.StorageUrl)
	if err != nil {
		return "", "", fmt.Errorf("the storage URL that the server gives: %w", err)
	}
	if a.secure && u.Scheme != "https" {
		return "", "", fmt.Errorf("the storage URL that the server gives, at %s, is not an https one, though OS_AUTH_URL or ST_AUTH is", u.Host)
	}
	return strings.TrimRight(a.conn.StorageUrl, "/"), a.conn.AuthToken, nil
}

// refusal says why nobody was let in.
func (a *account) refusal(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var e *swift.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("authenticate at %s: %w", a.host(), web.WithoutURL(err))
	}
	text := fmt.Sprintf("authenticate at %s: %s", a.host(), a.redact.Replace(e.Text))
	r := &answerError{status: e.StatusCode, text: text}
	switch e.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		r.cause = fs.ErrPermission
	case 0:
		// The server has let us in, and named no place of the kind that we want.
		r.text += "; is OS_REGION_NAME one of its regions, and has the project an object store?"
	}
	return r
}

func (a *account) host() string {
	u, err := parseURL(a.conn.AuthUrl)
	if err != nil {
		return "the server"
	}
	return u.Host
}

// noRedirects refuses redirections, along which the library would send passwords.
type noRedirects struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t noRedirects) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	if err == nil && resp.StatusCode >= 300 && resp.StatusCode < 400 {
		_ = resp.Body.Close() // the answer is refused
		return nil, errors.New("it redirects elsewhere, where credentials do not go")
	}
	return resp, err
}

// CloseIdleConnections lets the library close what it does not use.
func (t noRedirects) CloseIdleConnections() {
	(&http.Client{Transport: t.next}).CloseIdleConnections()
}
