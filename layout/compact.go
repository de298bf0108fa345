package layout

import (
	"bytes"
	"errors"
)

// CommentEnd returns the length of the comment that b begins with: 0 if it does not end in b, -1 if b begins with none. JSON
// has no comments, but Elasticsearch takes documents with /* these */ and // these, and returns them as they came.
func CommentEnd(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	var end []byte
	switch b[1] {
	case '*':
		end = []byte("*/")
	case '/':
		end = []byte("\n")
	default:
		return -1
	}
	i := bytes.Index(b[2:], end)
	if i < 0 {
		return 0
	}
	return 2 + i + len(end)
}

// AppendCompact appends src, a JSON value, without the space and the comments between its tokens. The tokens keep their bytes.
// It fails, and returns dst as it was, where a string or a comment does not end.
func AppendCompact(dst, src []byte) ([]byte, error) {
	start := len(dst)
	for i := 0; i < len(src); {
		switch c := src[i]; c {
		case ' ', '\t', '\r', '\n':
			i++
		case '/':
			n := CommentEnd(src[i:])
			if n <= 0 {
				return dst[:start], errors.New("a slash that begins no comment, or one without an end")
			}
			i += n
		case '"':
			n := stringEnd(src[i:])
			if n == 0 {
				return dst[:start], errors.New("a string without an end")
			}
			dst = append(dst, src[i:i+n]...)
			i += n
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst, nil
}

// stringEnd returns the length of the string that b begins with, 0 if it does not end.
func stringEnd(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}
