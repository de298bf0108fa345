package swift

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/escrow-backup/escrow/repository/backend/internal/exact"
	"github.com/escrow-backup/escrow/repository/backend/web"
)

// maxErrorText is how much of the server's words an error repeats, in bytes.
const maxErrorText = 200

// request is one request to the account.
type request struct {
	method string
	path   string // escaped, below the account
	query  string // with its question mark
	header map[string]string
	body   io.ReaderAt // nil: none
	size   int64       // of body
	want   int         // the only status that is a success; 0: every 2xx
}

// do sends a request and returns the answer if it is a success; the caller closes the body. Every other answer is an
// *answerError. A token that the server refuses is renewed once.
func (b *Backend) do(ctx context.Context, r request) (*http.Response, error) {
	stale := ""
	for {
		at, token, err := b.account.enter(ctx, stale)
		if err != nil {
			return nil, err
		}
		resp, err := b.send(ctx, at, token, r)
		if status(err) == http.StatusUnauthorized && stale == "" {
			stale = token
			continue
		}
		return resp, err
	}
}

func (b *Backend) send(ctx context.Context, at, token string, r request) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, at+r.path+r.query, nil)
	if err != nil {
		return nil, web.WithoutURL(err)
	}
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	req.Header.Set("X-Auth-Token", token)
	var body *exact.Body
	if r.body != nil && r.size > 0 {
		body = exact.NewBody(ctx, r.body, r.size)
		req.Body, req.ContentLength = io.NopCloser(body), r.size
		req.Header.Set("Expect", "100-continue") // a server that refuses does so before the bytes are on their way
	}
	resp, err := b.client.Do(req)
	if body != nil {
		if bodyErr := body.Stop(); bodyErr != nil && ctx.Err() == nil {
			if err == nil {
				_ = resp.Body.Close() // what it says is about something else
			}
			return nil, bodyErr
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%s: %w", req.URL.Host, web.WithoutURL(err))
	}
	if r.method == http.MethodHead && len(resp.TransferEncoding) > 0 {
		// Swift ends its refusal of a HEAD with the end of a body that there must not be, which the next to use the connection would
		// take for an answer.
		b.client.CloseIdleConnections()
	}
	if err := b.answer(req, resp, r.want); err != nil {
		_ = resp.Body.Close() // only read from
		return nil, err
	}
	return resp, nil
}

// ask sends a request whose answer is its status and its header.
func (b *Backend) ask(ctx context.Context, r request) (http.Header, error) {
	resp, err := b.do(ctx, r)
	if err != nil {
		return nil, err
	}
	// What little is left is read, so that the connection can be used again. The answer is known, whatever happens.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return resp.Header, resp.Body.Close()
}

// answer returns an error unless resp is a success.
func (b *Backend) answer(req *http.Request, resp *http.Response, want int) error {
	ok := resp.StatusCode >= 200 && resp.StatusCode < 300 && (want == 0 || resp.StatusCode == want)
	reads := req.Method == http.MethodGet || req.Method == http.MethodHead
	if ok && reads && web.IsPage(resp) {
		// A portal or a proxy in between: taking its status for the server's would lose files.
		return fmt.Errorf("%s answers %s with an HTML page, so it is no Swift", req.URL.Host, resp.Status)
	}
	if ok {
		return nil
	}
	e := &answerError{status: resp.StatusCode, wait: web.RetryAfter(resp.Header.Get("Retry-After"), time.Now())}
	e.text = fmt.Sprintf("%s answers %d", req.URL.Host, resp.StatusCode)
	if name := http.StatusText(resp.StatusCode); name != "" {
		e.text += " " + name
	}
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		e.cause = fs.ErrNotExist
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed:
		e.cause = fs.ErrPermission
	case http.StatusPreconditionFailed:
		e.cause = fs.ErrExist
	case 498:
		e.text += ": rate limit"
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		e.text += ": it redirects, and tokens go to the storage URL only"
	}
	// What Swift itself has to say is a page with the name of the status. A text is of a quota or of a proxy.
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		if words := b.words(resp.Body, req.Header.Get("X-Auth-Token")); words != "" {
			e.text += ": " + words
		}
	}
	if id := resp.Header.Get("X-Trans-Id"); id != "" && len(id) < 100 {
		e.text += fmt.Sprintf(", transaction %q", id)
	}
	return e
}

// words returns the beginning of what the server says, on one line and without secrets, should it repeat one.
func (b *Backend) words(r io.Reader, token string) string {
	p, _ := io.ReadAll(io.LimitReader(r, 4<<10)) // what there is
	s := strings.ToValidUTF8(strings.Join(strings.Fields(string(p)), " "), "?")
	s = b.account.redact.Replace(strings.ReplaceAll(s, token, "xxxxx"))
	if len(s) > maxErrorText {
		s = strings.ToValidUTF8(s[:maxErrorText], "") + "..."
	}
	return strings.Trim(fmt.Sprintf("%q", s), `"`)
}

// answerError is an answer that is not the one wished for.
type answerError struct {
	status int           // of HTTP; 0 if there was none
	wait   time.Duration // the Retry-After header; 0 if there was none
	cause  error         // a sentinel of package fs; may be nil
	text   string
}

func (e *answerError) Error() string { return e.text }
func (e *answerError) Unwrap() error { return e.cause }

// StatusCode returns the status of HTTP, or 0.
func (e *answerError) StatusCode() int { return e.status }

// RetryAfter returns how long the server wants to be left alone, or 0.
func (e *answerError) RetryAfter() time.Duration { return e.wait }

// status returns the status of the answer that err is, or 0.
func status(err error) int {
	var e *answerError
	if !errors.As(err, &e) {
		return 0
	}
	return e.status
}
