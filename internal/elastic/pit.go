package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// A page is cut off when it grows past pageLimit; pageTarget is what page sizes aim at.
const (
	pageTarget = 4 << 20
	pageLimit  = 8 << 20
	pooledPage = 2 * pageLimit // the most memory of a page that is used again: that of a large document is not
	maxHits    = 10_000        // index.max_result_window's default

	openKeepAlive = time.Minute
)

// closeTimeout is how long the server is waited for when what it holds open is to be closed.
const closeTimeout = 5 * time.Second

// pit is a point in time on one shard. Its methods may be called concurrently.
type pit struct {
	c         *Client
	index     string
	keepAlive string

	mu sync.Mutex
	id string
}

func millis(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1000), 10) + "ms" }

// openPIT opens a point in time on one shard of an index.
func (c *Client) openPIT(ctx context.Context, index string, shard int, keepAlive time.Duration) (*pit, error) {
	p := &pit{c: c, index: index, keepAlive: millis(keepAlive)}
	var out struct {
		ID     string `json:"id"`
		Shards *struct {
			Total, Failed int
		} `json:"_shards"`
	}
	// Where ctx ends meanwhile, the answer is waited for all the same: what it names has to be closed.
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(closeTimeout, cancel) })()
	err := c.attempts(ctx, true, func(context.Context) error {
		return c.jsonOnce(lasting, Request{
			Method: "POST", Path: "/" + PathEscape(index) + "/_pit",
			// Searches prolong it. One whose answer is lost on the way is gone after this time.
			Query: url.Values{"keep_alive": {millis(min(keepAlive, openKeepAlive))}, "preference": {"_shards:" + strconv.Itoa(shard)}},
		}, &out)
	})
	if err != nil {
		return nil, fmt.Errorf("open point in time: %w", err)
	}
	if p.id = out.ID; p.id == "" {
		return nil, errors.New("open point in time: the answer has no id")
	}
	if ctx.Err() != nil {
		p.close(ctx)
		return nil, context.Cause(ctx)
	}
	// Servers from 8.13 on say how many shards the point in time covers.
	if out.Shards != nil && (out.Shards.Total != 1 || out.Shards.Failed != 0) {
		p.close(ctx)
		return nil, &PartialError{What: "open point in time", Reason: fmt.Sprintf("it covers %d shards, %d failed", out.Shards.Total, out.Shards.Failed)}
	}
	return p, nil
}

// close frees the point in time on the server, also when ctx has ended, and for a few seconds in spite of what goes wrong. That it cannot be
// freed is logged: the server does it itself when the keep-alive has passed.
func (p *pit) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	body, err := json.Marshal(map[string]string{"id": p.current()})
	if err == nil {
		_, err = p.c.Do(ctx, Request{Method: "DELETE", Path: "/_pit", Body: body, Accept: []int{404}})
	}
	if err != nil {
		p.c.log.Warn("close point in time", "index", p.index, "error", err)
	}
}

func (p *pit) current() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.id
}

func (p *pit) follow(id string) {
	if id != "" {
		p.mu.Lock()
		p.id = id
		p.mu.Unlock()
	}
}

// search sends a search with the point in time added to its body, and reads about limit bytes of the answer. Where not one hit is
// complete by then, reading goes on if the search asked for one hit only; else the error is errLargeHit. What the page holds lies in mem.
func (p *pit) search(ctx context.Context, body map[string]any, bySeqNo bool, limit, hint int, mem *pageMemory) (*page, int, error) {
	var out *page
	var size int
	err := p.c.attempts(ctx, true, func(ctx context.Context) error {
		b, err := p.body(body)
		if err != nil {
			return err
		}
		r := Request{Method: "POST", Path: "/_search", Query: url.Values{"allow_partial_search_results": {"false"}}, Body: b}
		res, err := p.c.send(ctx, r)
		if HasCause(err, "circuit_breaking_exception") && body["size"] != 1 {
			return &tooLargeError{err.Error()}
		}
		if err != nil {
			return err
		}
		out, size, err = readPage(res.Body, p.index, bySeqNo, body["size"] == 1, limit, hint, mem)
		if out != nil && out.whole {
			closeBody(res)
		} else {
			_ = res.Body.Close() // the rest is not wanted
		}
		if errors.Is(err, errLargeHit) {
			return err
		}
		if err != nil {
			return fmt.Errorf("POST /_search: %w", redact(err))
		}
		return out.head.check(r)
	})
	if err != nil {
		return nil, 0, err
	}
	p.follow(out.head.pitID)
	return out, size, nil
}

// tooLargeError says that the server has not the memory for a page of that many documents.
type tooLargeError struct{ text string }

func (e *tooLargeError) Error() string { return e.text }

func (p *pit) body(body map[string]any) ([]byte, error) {
	body["pit"] = map[string]string{"id": p.current(), "keep_alive": p.keepAlive}
	return json.Marshal(body)
}

// check turns what an answer says about itself into an error.
func (h *pageHead) check(r Request) error {
	if h.timedOut {
		return &PartialError{What: r.Method + " " + r.Path, Reason: "timed_out"}
	}
	return h.shards.check(r)
}

// errLargeHit says that the first hit of an answer is larger than a page may be.
var errLargeHit = errors.New("a document larger than a page")

// pageMemory is where a page lies: the answer, and its hits, which share the answer's bytes.
type pageMemory struct {
	buf  []byte
	hits []Hit
}

// readPage reads an answer into mem. One that is longer than limit is cut off, if its head stood before the hits and at least one hit
// is complete; else reading goes on, or fails with errLargeHit unless the answer may be large.
func readPage(r io.Reader, index string, bySeqNo, large bool, limit, hint int, mem *pageMemory) (*page, int, error) {
	if want := min(limit, max(hint, 64<<10)); cap(mem.buf) < want {
		mem.buf = make([]byte, 0, want)
	}
	buf := mem.buf[:0]
	for {
		n, err := readUpTo(r, &buf, limit)
		mem.buf = buf
		if err != nil && err != io.EOF {
			return nil, n, err
		}
		if cap(mem.hits) == 0 {
			mem.hits = make([]Hit, 0, len(buf)/800)
		}
		p, perr := parsePage(buf, index, bySeqNo, err == nil, mem.hits[:0])
		if perr != nil {
			if errors.Is(perr, errShort) {
				return nil, n, io.ErrUnexpectedEOF // the connection ended before the answer did
			}
			return nil, n, perr
		}
		mem.hits = p.hits
		if p.whole || (p.head.complete() && len(p.hits) > 0) {
			return p, n, nil
		}
		if !large {
			return nil, n, errLargeHit
		}
		limit *= 2
	}
}

// readUpTo appends to buf until it holds more than limit bytes (nil) or the reader ends (io.EOF).
func readUpTo(r io.Reader, buf *[]byte, limit int) (int, error) {
	b := *buf
	for len(b) <= limit {
		if len(b) == cap(b) {
			// Not further than is needed: a page of a document each would else take twice the memory.
			grown := max(min(2*cap(b), limit+bytes.MinRead), cap(b)+cap(b)/4, 64<<10)
			b = append(make([]byte, 0, grown), b...)
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		*buf = b
		if err != nil {
			return len(b), err
		}
	}
	return len(b), nil
}
