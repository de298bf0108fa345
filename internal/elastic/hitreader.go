package elastic

import (
	"context"
	"errors"
	"fmt"
	"io"
)

const (
	// window is how many bytes of an answer are looked at together. They stay in the processor's cache from the connection to the repository.
	window = 256 << 10
	// largeWindow is how many there may be, for the sake of a document that is so large, without waiting for others to be done with theirs.
	largeWindow = 4 << 20
	// hugeWindow is the least memory for a larger one. Twice as much again and again would hold half of the document twice, and what is
	// not filled of new memory takes none.
	hugeWindow = 64 << 20
	// pooledWindow is the most memory that is kept for the next answer.
	pooledWindow = 4 * window
)

// pageMemory is where a part of an answer lies, and its hits, which share its bytes.
type pageMemory struct {
	buf  []byte
	hits []Hit
}

// hitReader reads the hits of an answer while it arrives.
type hitReader struct {
	ctx     context.Context
	c       *Client
	body    io.Reader
	bySeqNo bool
	mem     *pageMemory // nil: what was returned is never used again
	large   bool        // c.large is held, for as long as there is a large one
	length  int64       // of the answer, as the server says; -1: it does not

	head  pageHead
	s     scanner // over what has arrived, from what was not returned yet
	first bool    // no hit was read yet
	ended bool    // all was
	end   error   // of the answer: io.EOF, or what broke the connection; nil as long as more may come
	size  int     // bytes that have arrived
}

// acquire waits until no other reader has, or is about to get, a large document.
func (h *hitReader) acquire() error {
	if h.large {
		return nil
	}
	if err := h.c.large.Acquire(h.ctx, 1); err != nil {
		return context.Cause(h.ctx)
	}
	h.large = true
	return nil
}

// release lets others read a large document, and have the memory of this one.
func (h *hitReader) release() {
	if h.mem != nil && cap(h.mem.buf) > h.c.scaled(largeWindow) {
		b := h.mem.buf
		h.c.larges.Put(&b)
		h.mem.buf = nil
	}
	if h.large {
		h.c.large.Release(1)
		h.large = false
	}
}

// begin reads the answer as far as the hits. After it, head says what stood there.
func (h *hitReader) begin() error {
	err := h.until(func() error {
		h.head = pageHead{}
		return h.s.begin(&h.head)
	})
	if err != nil || h.head.complete() {
		return err
	}
	// What tells a good answer from a bad one stands after the hits: they all have to be kept until then.
	from := 0
	err = h.until(func() error {
		from = h.s.i
		for first := true; ; first = false {
			more, err := h.s.another(first)
			if err != nil {
				return err
			}
			if !more {
				return h.s.end(&h.head)
			}
			if err := h.s.skip(); err != nil {
				return err
			}
		}
	})
	h.s.i = from
	return err
}

// next returns the hits that have arrived, at least one, or io.EOF when there are no more.
func (h *hitReader) next() ([]Hit, error) {
	if h.ended {
		return nil, io.EOF
	}
	var hits []Hit
	if h.mem != nil {
		hits = h.mem.hits[:0]
	}
	err := h.until(func() error {
		for {
			start := h.s.i
			more, err := h.s.another(h.first)
			if err == nil && !more {
				if err = h.s.end(&h.head); err == nil {
					h.ended = true
					return nil
				}
			}
			n := len(hits)
			if err == nil {
				hits = append(hits, Hit{}) // filled in its place: it is large
				if err = h.s.hit(&hits[n], h.bySeqNo); err == nil {
					h.first = false
					continue
				}
			}
			hits = hits[:n]
			if errors.Is(err, errShort) && n > 0 {
				h.s.i = start
				return nil // the rest of the next one comes later
			}
			return err
		}
	})
	if h.mem != nil {
		h.mem.hits = hits
	}
	if err == nil && len(hits) == 0 {
		err = io.EOF
	}
	return hits, err
}

// until calls read, and again with more of the answer, from where the scanner is, as long as what has arrived is too short for it.
func (h *hitReader) until(read func() error) error {
	for {
		start := h.s.i
		err := errShort
		if len(h.s.b) > 0 {
			err = read()
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, errShort) {
			return fmt.Errorf("parse search answer at byte %d: %w", h.size-len(h.s.b)+h.s.i, err)
		}
		h.s.i = start
		switch {
		case h.end == io.EOF:
			return io.ErrUnexpectedEOF // the connection ended before the answer did
		case h.end != nil:
			return h.end
		}
		if err := h.fill(); err != nil {
			return err
		}
	}
}

// fill moves what is left to the beginning of the memory, and reads until that is full or the answer ends. A text that
// fills it gets twice as much.
func (h *hitReader) fill() error {
	rest := h.s.b[h.s.i:]
	want, large := h.c.scaled(window), h.c.scaled(largeWindow)
	for want < 2*len(rest) {
		want *= 2
	}
	if want > large {
		want = max(want, h.c.scaled(hugeWindow))
		// Who waits keeps little.
		if err := h.acquire(); err != nil {
			return err
		}
	}
	var b []byte
	switch {
	case h.mem == nil:
		room := want
		if left := h.length - int64(h.size); left > 0 && left < int64(want-len(rest)) {
			room = len(rest) + int(left) + 1 // so that the end shows
		}
		b = append(make([]byte, 0, room), rest...)
	case cap(h.mem.buf) >= want && (cap(h.mem.buf) <= h.c.scaled(pooledWindow) || want > large):
		b = h.mem.buf[:copy(h.mem.buf[:cap(h.mem.buf)], rest)]
	default:
		b = append(h.c.memory(want), rest...)
	}
	if want <= large && h.size > 0 { // before anything has arrived, something large is awaited
		h.release()
	}
	if h.mem != nil {
		h.mem.buf = b
	}
	before := len(b)
	for len(b) < cap(b) && h.end == nil {
		var n int
		n, h.end = h.body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
	}
	h.size += len(b) - before
	h.s.b, h.s.i = b, 0
	return nil
}

// memory returns an empty slice with room for n bytes: that of an earlier large document, if n is large.
func (c *Client) memory(n int) []byte {
	if n > c.scaled(largeWindow) {
		if b, _ := c.larges.Get().(*[]byte); b != nil && cap(*b) >= n {
			return (*b)[:0]
		}
	}
	return make([]byte, 0, n)
}
