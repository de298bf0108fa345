package elastic

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"unicode/utf8"

	"github.com/escrow-backup/escrow/layout"
)

var errShort = errors.New("answer ends early")

// scanner walks over JSON text. It checks only what it must to find its way.
type scanner struct {
	b     []byte
	i     int
	index string // that the hits are of
	bare  bool   // hits have no _id
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\n', '\r', '\t':
			s.i++
		case '/':
			end := layout.CommentEnd(s.b[s.i:])
			if end < 0 {
				return
			}
			if end == 0 {
				s.i = len(s.b) // the rest of it is still to come
				return
			}
			s.i += end
		default:
			return
		}
	}
}

// peek skips space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.i >= len(s.b) {
		return 0
	}
	return s.b[s.i]
}

func (s *scanner) expect(c byte) error {
	switch s.peek() {
	case c:
		s.i++
		return nil
	case 0:
		return errShort
	}
	return fmt.Errorf("found %q, want %q", s.b[s.i], c)
}

// value returns the next value's bytes, without space around it.
func (s *scanner) value() ([]byte, error) {
	switch s.peek() {
	case 0:
		return nil, errShort
	case '"':
		start := s.i
		if err := s.skipString(); err != nil {
			return nil, err
		}
		return s.b[start:s.i:s.i], nil
	case '{', '[':
		return s.nested()
	}
	start := s.i
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ',', '}', ']', ' ', '\n', '\r', '\t':
			if s.i == start {
				return nil, fmt.Errorf("found %q, want a value", s.b[s.i])
			}
			return s.b[start:s.i:s.i], nil
		}
		s.i++
	}
	return nil, errShort // a number may go on
}

// skipString moves past the string that begins here.
func (s *scanner) skipString() error {
	i := s.i + 1
	for {
		j := quote(s.b, i)
		if j < 0 {
			return errShort
		}
		i = j + 1
		// The quote ends the string unless an odd number of backslashes stands before it.
		k := i - 2
		for s.b[k] == '\\' {
			k--
		}
		if (i-2-k)%2 == 0 {
			s.i = i
			return nil
		}
	}
}

// quote returns where the first quote from i on stands, -1 if there is none. Most texts are short: for them bytes.IndexByte
// takes longer to begin than to search.
func quote(b []byte, i int) int {
	for range 4 {
		if len(b)-i < 8 {
			break
		}
		// A byte of x is 0 where a quote stands; the lowest bit of found is in the first such byte.
		x := binary.LittleEndian.Uint64(b[i:]) ^ 0x2222222222222222
		if found := (x - 0x0101010101010101) &^ x & 0x8080808080808080; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
		i += 8
	}
	j := bytes.IndexByte(b[i:], '"')
	if j < 0 {
		return -1
	}
	return i + j
}

// nested looks at eight bytes at a time. A mask has the highest bit of each that it marks.
const (
	each     = 0x0101010101010101
	allBytes = 0x80 * each
)

// zeros marks the bytes of x that are 0.
func zeros(x uint64) uint64 {
	const low = 0x7f * each
	return ^((x&low + low) | x | low)
}

// someZeros marks the bytes of x that are 0, and maybe some that follow one.
func someZeros(x uint64) uint64 { return (x - each) &^ x & allBytes }

// nested returns the object or array that begins here.
func (s *scanner) nested() ([]byte, error) {
	b, start, depth := s.b, s.i, 0
	inside := uint64(0) // a string: a mask of all bytes, or of none
next:
	for i := start; ; {
		if len(b)-i >= 8 {
			x := binary.LittleEndian.Uint64(b[i:])
			if someZeros(x^'\\'*each) == 0 {
				within := zeros(x ^ '"'*each) // strings: a quote turns itself and what follows it
				if within == 0 && inside != 0 {
					i += 8
					continue
				}
				within ^= within << 8
				within ^= within << 16
				within ^= within << 32
				within ^= inside
				// Brackets, and some letters, which stand nowhere but in strings.
				found := (someZeros((x|0x26*each)^0x7f*each) | someZeros(x^'/'*each)) &^ within
				for ; found != 0; found &= found - 1 {
					at := i + bits.TrailingZeros64(found)/8
					switch b[at] {
					case '{', '[':
						depth++
					case '}', ']':
						if depth--; depth == 0 {
							s.i = at + 1
							return b[start:s.i:s.i], nil
						}
					case '/':
						end, err := comment(b[at:])
						if err != nil {
							return nil, err
						}
						i, inside = at+end, 0
						continue next
					}
				}
				inside = uint64(int64(within)>>63) & allBytes
				i += 8
				continue
			}
		}
		// A backslash is near, or the end: one by one.
		for end := min(i+8, len(b)); i < end; i++ {
			switch c := b[i]; {
			case c == '"':
				inside ^= allBytes
			case inside != 0:
				if c == '\\' {
					i++
				}
			case c == '{' || c == '[':
				depth++
			case c == '}' || c == ']':
				if depth--; depth == 0 {
					s.i = i + 1
					return b[start:s.i:s.i], nil
				}
			case c == '/':
				n, err := comment(b[i:])
				if err != nil {
					return nil, err
				}
				i += n - 1
			}
		}
		if i >= len(b) {
			return nil, errShort
		}
	}
}

// comment returns the length of the one that b begins with: the server takes JSON with comments, and keeps them.
func comment(b []byte) (int, error) {
	switch n := layout.CommentEnd(b); n {
	case 0:
		return 0, errShort
	case -1:
		return 0, errors.New("a slash that begins no comment")
	default:
		return n, nil
	}
}

// object calls fn for every key of the object that begins here, with the scanner at the key's value.
func (s *scanner) object(fn func(key []byte) error) error {
	if err := s.expect('{'); err != nil {
		return err
	}
	if s.peek() == '}' {
		s.i++
		return nil
	}
	return s.members(fn)
}

// members calls fn for the rest of an object's keys: the scanner is at one.
func (s *scanner) members(fn func(key []byte) error) error {
	for {
		switch s.peek() {
		case '"':
		case 0:
			return errShort
		default:
			return fmt.Errorf("found %q, want a key", s.b[s.i])
		}
		start := s.i
		if err := s.skipString(); err != nil {
			return err
		}
		key := s.b[start+1 : s.i-1]
		if err := s.expect(':'); err != nil {
			return err
		}
		if err := fn(key); err != nil {
			return err
		}
		more, err := s.next('}')
		if err != nil || !more {
			return err
		}
	}
}

// next moves past a comma, or past the end that closes the collection.
func (s *scanner) next(end byte) (more bool, err error) {
	switch s.peek() {
	case ',':
		s.i++
		return true, nil
	case end:
		s.i++
		return false, nil
	case 0:
		return false, errShort
	}
	return false, fmt.Errorf("found %q, want ',' or %q", s.b[s.i], end)
}

func (s *scanner) decode(out any) error {
	v, err := s.value()
	if err != nil {
		return err
	}
	return json.Unmarshal(v, out)
}

func (s *scanner) skip() error {
	_, err := s.value()
	return err
}

// text decodes the string that begins here.
func (s *scanner) text(out *string) error {
	v, err := s.value()
	if err != nil {
		return err
	}
	if len(v) >= 2 && v[0] == '"' && bytes.IndexByte(v, '\\') < 0 && utf8.Valid(v) {
		*out = string(v[1 : len(v)-1])
		return nil
	}
	return json.Unmarshal(v, out)
}
