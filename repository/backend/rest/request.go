package rest

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/escrow-backup/escrow/repository/backend/web"
)

// version2 selects and marks version 2 of the protocol.
const version2 = "application/vnd.x.restic.rest.v2"

// maxErrorText is how much of the server's words an error repeats, in bytes.
const maxErrorText = 200

// request sends a request and returns the answer if its status is 2xx; the caller closes the body. Every other answer is a
// *StatusError. size is that of body, if there is one.
func (b *Backend) request(ctx context.Context, method, url string, body io.Reader, size int64, header ...string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, web.WithoutURL(err)
	}
	r.Header.Set("Accept", version2)
	if body != nil {
		r.ContentLength = size
		r.Header.Set("Content-Type", "application/octet-stream")
		if size == 0 {
			r.Body = http.NoBody // otherwise net/http would not say the length
		}
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if b.user != "" || b.password != "" {
		r.SetBasicAuth(b.user, b.password)
	}
	resp, err := b.client.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%s: %w", b.place, web.WithoutURL(err))
	}
	if err := b.answer(resp); err != nil {
		_ = resp.Body.Close() // only read from
		return nil, err
	}
	return resp, nil
}

// ask sends a request whose answer is its status.
func (b *Backend) ask(ctx context.Context, method, url string) (http.Header, error) {
	resp, err := b.request(ctx, method, url, nil, 0)
	if err != nil {
		return nil, err
	}
	return resp.Header, drain(resp)
}

// drain reads the little that may be left, so that the connection can be used again.
func drain(resp *http.Response) error {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // the answer is known, whatever happens
	return resp.Body.Close()
}

// StatusError is an answer of the server that is not a success. It wraps fs.ErrNotExist, fs.ErrPermission or fs.ErrExist
// where the status says so.
type StatusError struct {
	Status int           // of HTTP
	Wait   time.Duration // the Retry-After header; 0 if there was none

	text  string
	cause error
}

func (e *StatusError) Error() string { return e.text }

// Unwrap returns the sentinel of package fs, or nil.
func (e *StatusError) Unwrap() error { return e.cause }

// StatusCode returns the status of HTTP.
func (e *StatusError) StatusCode() int { return e.Status }

// RetryAfter returns how long the server wants to be left alone, or 0.
func (e *StatusError) RetryAfter() time.Duration { return e.Wait }

// answer returns an error unless resp is a success.
func (b *Backend) answer(resp *http.Response) error {
	ok := resp.StatusCode >= 200 && resp.StatusCode < 300
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if ok && kind == "text/html" {
		// A portal or a proxy in between: taking its status for the server's would lose files.
		return fmt.Errorf("%s answers %s with an HTML page, so it is no REST server", b.place, resp.Status)
	}
	if ok {
		return nil
	}
	e := &StatusError{Status: resp.StatusCode, Wait: web.RetryAfter(resp.Header.Get("Retry-After"), time.Now())}
	e.text = fmt.Sprintf("%s answers %d", b.place, resp.StatusCode)
	if name := http.StatusText(resp.StatusCode); name != "" {
		e.text += " " + name
	}
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusGone:
		e.cause = fs.ErrNotExist
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed:
		e.cause = fs.ErrPermission
	case http.StatusConflict, http.StatusPreconditionFailed:
		e.cause = fs.ErrExist
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		if to, err := resp.Location(); err == nil {
			e.text += fmt.Sprintf(": it redirects to %s://%s; credentials go to the server of the repository's URL only", to.Scheme, to.Host)
		}
		return e
	}
	if kind == "text/plain" {
		if words := b.words(resp.Body); words != "" && words != http.StatusText(resp.StatusCode) {
			e.text += ": " + words
		}
	}
	return e
}

// words returns the beginning of what the server says, on one line and without the password, should it repeat that.
func (b *Backend) words(r io.Reader) string {
	p, _ := io.ReadAll(io.LimitReader(r, 4<<10)) // what there is
	s := strings.Join(strings.Fields(strings.ToValidUTF8(string(p), "?")), " ")
	if b.password != "" {
		s = strings.ReplaceAll(s, b.password, "xxxxx")
	}
	if len(s) > maxErrorText {
		s = strings.ToValidUTF8(s[:maxErrorText], "") + "..."
	}
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
