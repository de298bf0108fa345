package chunker

import (
	"fmt"
)

// tables hold the arithmetic modulo a polynomial, a byte at a time.
type tables struct {
	// mod is indexed by the 8 highest bits of a fingerprint: xored to the fingerprint after it was shifted left by 8, it
	// takes them away and adds what they are modulo the polynomial.
	mod [256]uint64
	// out is what a byte contributes to the fingerprint once 64 more have followed it.
	out [256]uint64
}

// shift brings the 8 highest bits of a fingerprint, which has 53, to the bottom.
const shift = degree - 8

func newTables(pol Pol) *tables {
	t := new(tables)
	for b := range t.mod {
		high := Pol(b) << degree
		t.mod[b] = uint64(high.mod(pol) | high)
	}
	for b := range t.out {
		d := uint64(b)
		for range windowSize {
			d = t.add(d, 0)
		}
		t.out[b] = d
	}
	return t
}

// add appends a byte to what d is the fingerprint of.
func (t *tables) add(d uint64, b byte) uint64 {
	return (d<<8 | uint64(b)) ^ t.mod[byte(d>>shift)]
}

// Splitter says where to cut a stream that is pushed through it in pieces of any size. It is used by one goroutine at
// a time.
type Splitter struct {
	t      *tables
	count  int // bytes of the current chunk so far
	digest uint64
	window [windowSize]byte // the last bytes of the chunk, from count MinSize-windowSize on
}

// NewSplitter returns a Splitter at the beginning of a chunk. It panics unless pol has the degree 53: see
// [Pol.Check]. Making one takes some 50 µs; see [Splitter.Fork].
func NewSplitter(pol Pol) *Splitter {
	if pol.deg() != degree {
		panic(fmt.Sprintf("chunker: polynomial %v has degree %d, not %d", pol, pol.deg(), degree))
	}
	return &Splitter{t: newTables(pol)}
}

// Fork returns another Splitter for the same polynomial, at the beginning of a chunk. It shares the tables, which
// never change, so that it costs nothing; the two may be used at the same time.
func (s *Splitter) Fork() *Splitter { return &Splitter{t: s.t} }

// Reset makes the next byte the first of a chunk.
func (s *Splitter) Reset() { *s = Splitter{t: s.t} }

// Next looks at p, which follows the bytes it was told before. The first n bytes of p belong to the current chunk; if
// cut, the chunk ends with them, and p[n:] begins the next one. Without a cut n is len(p). How the stream is divided
// into calls changes nothing.
func (s *Splitter) Next(p []byte) (n int, cut bool) {
	// No chunk ends before MinSize, and only the last 64 bytes count.
	if skip := MinSize - windowSize - s.count; skip > 0 {
		n = min(skip, len(p))
		s.count += n
	}
	rest := p[n:min(len(p), n+MaxSize-s.count)]

	// Fill the window.
	if have := s.count - (MinSize - windowSize); have >= 0 && have < windowSize {
		k := copy(s.window[have:], rest)
		for _, b := range rest[:k] {
			s.digest = s.t.add(s.digest, b)
		}
		n += k
		s.count += k
		rest = rest[k:]
		if s.count == MinSize && s.digest&splitMask == 0 {
			s.Reset()
			return n, true
		}
	}

	// Slide it: first the bytes that leave a window which lies in an earlier p, then those that leave one within p.
	if len(rest) > 0 {
		var joint [2 * windowSize]byte
		copy(joint[:], s.window[:])
		k := copy(joint[windowSize:], rest)
		i, digest := s.t.scan(s.digest, joint[:windowSize+k])
		copy(s.window[:], joint[k:])
		if i >= 0 {
			i -= windowSize
		} else if len(rest) > windowSize {
			k = len(rest)
			i, digest = s.t.scanLanes(digest, rest)
			copy(s.window[:], rest[k-windowSize:])
		}
		if i >= 0 {
			s.Reset()
			return n + i, true
		}
		s.digest = digest
		n += k
		s.count += k
	}
	if s.count == MaxSize {
		s.Reset()
		return n, true
	}
	return n, false
}
