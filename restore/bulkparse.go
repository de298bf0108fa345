package restore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// outcome is what the server says of one item of a bulk request.
type outcome struct {
	id     []byte // as it stands in the answer, without its quotes
	result []byte // "created", "updated", "deleted", "not_found", "noop"; empty with an error
	status int
	err    []byte // the error object or text; nil if there is none
}

var (
	errAnswer = errors.New("unexpected end")
	idKey     = []byte("_id")
	resultKey = []byte("result")
	statusKey = []byte("status")
	errorKey  = []byte("error")
	itemsKey  = []byte("items")
)

// parseBulk reads the answer to a bulk request and calls fn for every item, in order. It returns how many there were. An
// answer without "items", or one that is no whole JSON object, is an error.
func parseBulk(b []byte, fn func(i int, o *outcome) error) (int, error) {
	s := reader{b: b}
	n, seen := 0, false
	err := s.object(func(key []byte) error {
		if !bytes.Equal(key, itemsKey) {
			_, err := s.value()
			return err
		}
		if seen {
			return errors.New("items stand twice")
		}
		seen = true
		return s.array(func() error {
			var o outcome
			ops := 0
			if err := s.object(func([]byte) error { ops++; return s.outcome(&o) }); err != nil {
				return err
			}
			if ops != 1 {
				return fmt.Errorf("item %d has %d operations", n, ops)
			}
			n++
			return fn(n-1, &o)
		})
	})
	if err == nil && s.peek() != 0 {
		err = errors.New("more after the end")
	}
	if err == nil && !seen {
		err = errors.New("no items in it")
	}
	if err != nil {
		return n, fmt.Errorf("answer to a bulk request: byte %d: %w", s.i, err)
	}
	return n, nil
}

func (s *reader) outcome(o *outcome) error {
	return s.object(func(key []byte) error {
		v, err := s.value()
		if err != nil {
			return err
		}
		switch {
		case bytes.Equal(key, idKey):
			if len(v) < 2 || v[0] != '"' {
				return errors.New("_id is no string")
			}
			o.id = v[1 : len(v)-1]
		case bytes.Equal(key, resultKey):
			o.result = bytes.Trim(v, `"`)
		case bytes.Equal(key, statusKey):
			o.status, err = strconv.Atoi(string(v))
			return err
		case bytes.Equal(key, errorKey) && v[0] != 'n':
			o.err = v
		}
		return nil
	})
}

// cause reads an item's error object.
func (o *outcome) cause() (typ, reason string) {
	type cause struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
		By     *cause `json:"caused_by"`
	}
	var c cause
	if json.Unmarshal(o.err, &c) != nil {
		return "error", clip(string(o.err))
	}
	reason = c.Reason
	if c.By != nil {
		last := c.By
		for last.By != nil {
			last = last.By
		}
		reason += ": " + last.Reason
	}
	return c.Type, clip(reason)
}

func clip(s string) string {
	if len(s) > 500 {
		s = string(bytes.ToValidUTF8([]byte(s[:500]), nil)) + "..."
	}
	return s
}

// sameID reports whether the id in an answer is id.
func (o *outcome) sameID(id string) bool {
	if bytes.IndexByte(o.id, '\\') < 0 {
		return string(o.id) == id
	}
	var s string
	return json.Unmarshal(append(append([]byte{'"'}, o.id...), '"'), &s) == nil && s == id
}

// reader walks over JSON text without building anything. Values are handed out as slices of the text.
type reader struct {
	b []byte
	i int
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *reader) peek() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\n', '\r', '\t':
			s.i++
		default:
			return c
		}
	}
	return 0
}

func (s *reader) take(c byte) error {
	if got := s.peek(); got != c {
		if got == 0 {
			return errAnswer
		}
		return fmt.Errorf("%q where %q was expected", got, c)
	}
	s.i++
	return nil
}

func (s *reader) str() ([]byte, error) {
	if err := s.take('"'); err != nil {
		return nil, err
	}
	start := s.i - 1
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case '"':
			s.i++
			return s.b[start:s.i], nil
		case '\\':
			s.i++
		}
		s.i++
	}
	return nil, errAnswer
}

// value moves past any value and returns its bytes.
func (s *reader) value() ([]byte, error) {
	switch s.peek() {
	case 0:
		return nil, errAnswer
	case '"':
		return s.str()
	case '{', '[':
		start, depth := s.i, 0
		for s.i < len(s.b) {
			switch s.b[s.i] {
			case '"':
				if _, err := s.str(); err != nil {
					return nil, err
				}
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			s.i++
			if depth == 0 {
				return s.b[start:s.i], nil
			}
		}
		return nil, errAnswer
	}
	start := s.i
	for s.i < len(s.b) && bytes.IndexByte([]byte(",}] \n\r\t"), s.b[s.i]) < 0 {
		s.i++
	}
	if s.i == start {
		return nil, fmt.Errorf("%q where a value was expected", s.b[s.i])
	}
	return s.b[start:s.i], nil
}

func (s *reader) object(fn func(key []byte) error) error {
	return s.list('{', '}', func() error {
		if s.peek() != '"' {
			return errors.New("no key")
		}
		key, err := s.str()
		if err != nil {
			return err
		}
		if err := s.take(':'); err != nil {
			return err
		}
		return fn(key[1 : len(key)-1])
	})
}

func (s *reader) array(fn func() error) error { return s.list('[', ']', fn) }

func (s *reader) list(open, end byte, fn func() error) error {
	if err := s.take(open); err != nil {
		return err
	}
	if s.peek() == end {
		s.i++
		return nil
	}
	for {
		if err := fn(); err != nil {
			return err
		}
		switch c := s.peek(); c {
		case ',':
			s.i++
		case end:
			s.i++
			return nil
		case 0:
			return errAnswer
		default:
			return fmt.Errorf("%q in a list", c)
		}
	}
}
