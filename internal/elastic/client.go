package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"golang.org/x/sync/semaphore"
)

// Options of a Client; nil and the zero value work.
type Options struct {
	Retries int                                              // of one request; default 6, negative: none
	Logger  *slog.Logger                                     // default: none
	Sleep   func(ctx context.Context, d time.Duration) error // between attempts; default: the clock
	Shrink  int                                              // tests only: pages and the memory for them are so many times smaller
}

// Client sends requests. Its methods may be called concurrently.
type Client struct {
	es  elastictransport.Interface
	o   Options
	log *slog.Logger

	requests, retries atomic.Int64
	// large is held while a document is read that no page of ordinary size has room for: one at a time.
	large   *semaphore.Weighted
	larges  sync.Pool // of *[]byte, that large documents were in
	pages   sync.Pool // of *pageMemory
	gathers sync.Pool // of *gathered
}

// New returns a Client on es, such as a *elasticsearch.Client of any version.
func New(es elastictransport.Interface, o *Options) *Client {
	c := &Client{es: es, large: semaphore.NewWeighted(1), log: slog.New(slog.DiscardHandler)}
	if o != nil {
		c.o = *o
	}
	if c.o.Retries == 0 {
		c.o.Retries = 6
	}
	if c.o.Sleep == nil {
		c.o.Sleep = sleep
	}
	if c.o.Logger != nil {
		c.log = c.o.Logger
	}
	c.o.Shrink = max(c.o.Shrink, 1)
	return c
}

// scaled is n bytes, or what stands for them where tests have smaller pages.
func (c *Client) scaled(n int) int { return n / c.o.Shrink }

// Requests returns how many requests were sent, and how many of them because an earlier one failed.
func (c *Client) Requests() (sent, retried int64) { return c.requests.Load(), c.retries.Load() }

// Request is one call of the REST interface.
type Request struct {
	Method      string
	Path        string // escaped, begins with a slash
	Query       url.Values
	Body        []byte
	ContentType string // default: application/json, where there is a body
	Header      map[string]string
	Accept      []int // statuses that are no errors, besides those below 300
	Once        bool  // retry only what the server surely did not do: the request is not idempotent
}

// Response is a whole answer.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends r, with retries, and returns the whole answer. A status of 300 or more that r does not accept is an *Error.
func (c *Client) Do(ctx context.Context, r Request) (*Response, error) {
	var res *Response
	err := c.attempts(ctx, !r.Once, func(ctx context.Context) error {
		var err error
		res, err = c.once(ctx, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}

// JSON is Do, and decodes the answer into out. An answer that ends early is asked for again.
func (c *Client) JSON(ctx context.Context, r Request, out any) error {
	return c.attempts(ctx, !r.Once, func(ctx context.Context) error { return c.jsonOnce(ctx, r, out) })
}

// Sharded is JSON for a request that every shard answers. It is sent again where shards failed, or the answer does not say
// whether some did; out may be nil.
func (c *Client) Sharded(ctx context.Context, r Request, out any) error {
	return c.attempts(ctx, !r.Once, func(ctx context.Context) error {
		var head struct {
			Shards *wireShards `json:"_shards"`
		}
		body := json.RawMessage{}
		if err := c.jsonOnce(ctx, r, &body); err != nil {
			return err
		}
		for _, v := range []any{&head, out} {
			if v == nil {
				continue
			}
			if err := json.Unmarshal(body, v); err != nil {
				return fmt.Errorf("%s %s: decode answer: %w", r.Method, r.Path, err)
			}
		}
		return head.Shards.check(r)
	})
}

// Refresh makes everything that was acknowledged visible on every copy. A copy that did not refresh could serve an old view, so
// a failed one is an error.
func (c *Client) Refresh(ctx context.Context, index string) error {
	return c.Sharded(ctx, Request{Method: "POST", Path: "/" + PathEscape(index) + "/_refresh"}, nil)
}

func (c *Client) jsonOnce(ctx context.Context, r Request, out any) error {
	res, err := c.once(ctx, r)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(res.Body, out); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) && syntax.Offset >= int64(len(res.Body)) {
			return &PartialError{What: r.Method + " " + r.Path, Reason: "the answer ends early"}
		}
		return fmt.Errorf("%s %s: decode answer: %w", r.Method, r.Path, err)
	}
	return nil
}

// Sleep waits between two attempts.
func (c *Client) Sleep(ctx context.Context, d time.Duration) error { return c.o.Sleep(ctx, d) }

// attempts calls fn until it returns nil, an error that is not Retryable, or the retries are used up. If again is not set, it is called
// again only where the server refused to work on the request.
func (c *Client) attempts(ctx context.Context, again bool, fn func(ctx context.Context) error) error {
	for n := 0; ; n++ {
		err := fn(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if n >= c.o.Retries || !Retryable(err) || (!again && !refused(err)) {
			return err
		}
		c.retries.Add(1)
		d := Backoff(n)
		c.log.LogAttrs(ctx, slog.LevelWarn, "request failed, trying again", slog.Any("error", err), slog.Duration("wait", d))
		if err := c.o.Sleep(ctx, d); err != nil {
			return err
		}
	}
}

// Backoff is how long to wait after attempt n, counted from 0: doubling from 100 ms to 10 s, less up to half by chance.
func Backoff(n int) time.Duration {
	d := 10 * time.Second
	if n < 7 {
		d = 100 * time.Millisecond << n
	}
	return d - rand.N(d/2)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *Client) once(ctx context.Context, r Request) (*Response, error) {
	res, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer closeBody(res)
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: read answer: %w", r.Method, r.Path, redact(err))
	}
	return &Response{Status: res.StatusCode, Header: res.Header, Body: body}, nil
}

// send sends r once and returns the answer with its body still to be read, or an *Error.
func (c *Client) send(ctx context.Context, r Request) (*http.Response, error) {
	u := r.Path
	if len(r.Query) > 0 {
		u += "?" + r.Query.Encode()
	}
	var body io.Reader
	if r.Body != nil {
		body = bytes.NewReader(r.Body)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, u, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
	}
	// Without this Go asks for gzip, which doubles the server's work.
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("Accept", "application/json")
	if r.Body != nil {
		req.Header.Set("Content-Type", "application/json")
		if r.ContentType != "" {
			req.Header.Set("Content-Type", r.ContentType)
		}
	}
	for k, v := range r.Header {
		req.Header.Set(k, v)
	}
	c.requests.Add(1)
	res, err := c.es.Perform(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.Path, redact(err))
	}
	if res.StatusCode < 300 || slices.Contains(r.Accept, res.StatusCode) {
		return res, nil
	}
	defer closeBody(res)
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		text = nil // the status alone says enough
	}
	return nil, newError(r.Method, r.Path, res.StatusCode, text)
}

// closeBody ends an answer. What is left of a small one is read first, so that the connection can be used again.
func closeBody(res *http.Response) {
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // either way the body is closed
	_ = res.Body.Close()                          // nothing of it is needed any more
}

// PathEscape escapes a name for use as one segment of a path.
func PathEscape(name string) string { return url.PathEscape(name) }

// Match reports whether name matches one of the patterns, in which "*" stands for any text.
func Match(patterns []string, name string) bool {
	for _, p := range patterns {
		if matchOne(p, name) {
			return true
		}
	}
	return false
}

func matchOne(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(name, p)
		if i < 0 {
			return false
		}
		name = name[i+len(p):]
	}
	return true
}
