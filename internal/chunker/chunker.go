// Package chunker cuts a stream into chunks by its content, so that a change in one place leaves the chunks of other
// places as they were. It makes exactly the cuts that restic makes for the same polynomial: two programs that write to
// one repository store the same data once.
//
// A chunk ends after the first byte, at MinSize or later, at which the Rabin fingerprint of the last 64 bytes modulo the
// repository's polynomial ends in 20 zero bits; at the latest it ends at MaxSize. That makes 1.5 MiB on average.
//
// A [Splitter] is told bytes and says where to cut; a [Chunker] reads an io.Reader and returns the chunks.
package chunker

import "io"

const (
	// MinSize is the least size of a chunk, in bytes; the last one of a stream may be smaller.
	MinSize = 512 << 10
	// MaxSize is the greatest size of a chunk, in bytes.
	MaxSize = 8 << 20

	windowSize = 64
	splitMask  = 1<<20 - 1
)

// readSize is how much a Chunker asks its reader for.
const readSize = 256 << 10

// Chunker cuts what a reader gives. It is used by one goroutine at a time.
type Chunker struct {
	s    *Splitter
	r    io.Reader
	buf  []byte
	left []byte // of buf, read but not yet part of a chunk
	err  error  // what the reader ended with
}

// New returns a Chunker of r. It panics unless pol has the degree 53: see [Pol.Check].
func New(r io.Reader, pol Pol) *Chunker {
	return &Chunker{s: NewSplitter(pol), r: r, buf: make([]byte, readSize)}
}

// Next returns the next chunk, appended to buf[:0], or io.EOF when there is none. After an error of the reader it
// returns that error, and never a chunk that the error cut short.
func (c *Chunker) Next(buf []byte) ([]byte, error) {
	buf = buf[:0]
	for {
		for len(c.left) == 0 {
			if c.err != nil {
				if c.err == io.EOF && len(buf) > 0 {
					return buf, nil
				}
				return nil, c.err
			}
			var n int
			n, c.err = c.r.Read(c.buf)
			c.left = c.buf[:n]
		}
		n, cut := c.s.Next(c.left)
		buf = append(buf, c.left[:n]...)
		c.left = c.left[n:]
		if cut {
			return buf, nil
		}
	}
}
