package elastic

import (
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

const (
	pageTarget = 4 << 20 // bytes that an answer aims at
	maxHits    = 10_000  // index.max_result_window's default

	openKeepAlive = time.Minute
)

// closeTimeout is how long the server is waited for when what it holds open is to be closed.
const closeTimeout = 5 * time.Second

// pit is a point in time on one shard, or with an empty id the shard as any search sees it. Its methods may be called concurrently.
type pit struct {
	c         *Client
	index     string
	shard     int
	keepAlive string

	mu sync.Mutex
	id string
}

func preference(shard int) string { return "_shards:" + strconv.Itoa(shard) }

func millis(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1000), 10) + "ms" }

// openPIT opens a point in time on one shard of an index.
func (c *Client) openPIT(ctx context.Context, index string, shard int, keepAlive time.Duration) (*pit, error) {
	p := &pit{c: c, index: index, shard: shard, keepAlive: millis(keepAlive)}
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
			Query: url.Values{"keep_alive": {millis(min(keepAlive, openKeepAlive))}, "preference": {preference(shard)}},
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

// answered is what is known of an answer that was read.
type answered struct {
	size  int   // bytes
	took  int64 // milliseconds, of the server
	whole bool  // nothing of it is missing
}

// search sends a search with the point in time added to its body, and calls fn with the hits of the answer as they arrive. Hits and their
// bytes are good until fn returns if mem is given, else as long as they are referenced. Where the connection breaks after some hits, the caller goes
// on after them.
func (p *pit) search(ctx context.Context, body map[string]any, bySeqNo bool, mem *pageMemory, fn func(hits []Hit) error) (a answered, err error) {
	alone := body["size"] == 1 // documents are asked for one by one where they are large
	var failed, cut error
	err = p.c.attempts(ctx, true, func(ctx context.Context) error {
		r, err := p.request(body)
		if err != nil {
			return err
		}
		h := &hitReader{ctx: ctx, c: p.c, bySeqNo: bySeqNo, mem: mem, first: true, s: scanner{index: p.index}}
		defer h.release()
		if alone {
			if err := h.acquire(); err != nil {
				return err
			}
		}
		res, err := p.c.send(ctx, r)
		if HasCause(err, "circuit_breaking_exception") && !alone {
			return &tooLargeError{err.Error()}
		}
		if err != nil {
			return err
		}
		h.body, h.length = res.Body, res.ContentLength
		err = h.begin()
		if err == nil {
			err = h.head.check(r)
		}
		if err == nil {
			p.follow(h.head.pitID)
		}
		some := false
		for err == nil {
			var hits []Hit
			if hits, err = h.next(); err == nil {
				if mem == nil {
					h.release() // fn may wait until others have read their part
				}
				failed = fn(hits)
				err, some = failed, true
			}
		}
		a = answered{size: h.size, took: h.head.took, whole: err == io.EOF}
		if a.whole {
			closeBody(res)
			return nil
		}
		_ = res.Body.Close() // the rest is not wanted
		if failed != nil {
			return nil // it may look as if another attempt could help
		}
		err = fmt.Errorf("%s %s: %w", r.Method, r.Path, redact(err))
		if some && Retryable(err) && ctx.Err() == nil {
			cut = err
			return nil
		}
		return err
	})
	if failed != nil {
		return a, failed
	}
	if cut != nil {
		p.c.retries.Add(1)
		p.c.log.Warn("search goes on where the answer broke off", "index", p.index, "shard", p.shard, "error", cut)
		err = p.c.o.Sleep(ctx, Backoff(0))
	}
	return a, err
}

// answer reads the whole answer to a search. Bare hits have no stored fields, and are sorted by sequence number.
func (s *Shard) answer(ctx context.Context, body map[string]any, bare bool) (p *page, text []byte, err error) {
	err = s.c.attempts(ctx, true, func(ctx context.Context) error {
		r, err := s.pit.request(body)
		if err != nil {
			return err
		}
		res, err := s.c.once(ctx, r)
		if size, _ := body["size"].(int); HasCause(err, "circuit_breaking_exception") && size > 1 {
			return &tooLargeError{err.Error()}
		}
		if err != nil {
			return err
		}
		text = res.Body
		if p, err = parsePage(text, s.Index.Name, bare, bare); err != nil {
			if errors.Is(err, errShort) {
				return &PartialError{What: "POST /_search", Reason: "the answer ends early"}
			}
			return fmt.Errorf("POST /_search: %w", err)
		}
		if err := p.head.check(r); err != nil {
			return err
		}
		s.pit.follow(p.head.pitID)
		return nil
	})
	return p, text, err
}

// tooLargeError says that the server has not the memory for a page of that many documents.
type tooLargeError struct{ text string }

func (e *tooLargeError) Error() string { return e.text }

// request is a search with the given body.
func (p *pit) request(body map[string]any) (Request, error) {
	r := Request{Method: "POST", Path: "/_search", Query: url.Values{"allow_partial_search_results": {"false"}}}
	if id := p.current(); id != "" {
		body["pit"] = map[string]string{"id": id, "keep_alive": p.keepAlive}
	} else {
		r.Path = "/" + PathEscape(p.index) + r.Path
		r.Query.Set("preference", preference(p.shard))
	}
	var err error
	r.Body, err = json.Marshal(body)
	return r, err
}

// check turns what an answer says about itself into an error.
func (h *pageHead) check(r Request) error {
	if h.timedOut {
		return &PartialError{What: r.Method + " " + r.Path, Reason: "timed_out"}
	}
	return h.shards.check(r)
}
