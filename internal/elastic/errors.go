package elastic

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"slices"
	"strings"
	"syscall"
)

// Error is an answer of the server with a status that is no success. It matches fs.ErrNotExist (404), fs.ErrPermission
// (401, 403) and fs.ErrExist (resource_already_exists_exception) with errors.Is.
type Error struct {
	Method, Path string
	Status       int
	Type         string   // such as "index_not_found_exception"; empty if the answer was not JSON
	Reason       string   // the server's words, at most 500 bytes
	Causes       []string // types of the root causes and of failed shards' reasons
	Innermost    string   // the words about what caused it first, at most 500 bytes; empty if Reason says it
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s %s: status %d", e.Method, e.Path, e.Status)
	if e.Type != "" {
		s += " " + e.Type
	}
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	return s
}

// Is matches the io/fs sentinels named in the type's comment.
func (e *Error) Is(target error) bool {
	switch target {
	case fs.ErrNotExist:
		return e.Status == 404
	case fs.ErrPermission:
		return e.Status == 401 || e.Status == 403
	case fs.ErrExist:
		return e.Type == "resource_already_exists_exception"
	}
	return false
}

// HasCause reports whether the error, or one of its root causes, is of the given type.
func (e *Error) HasCause(typ string) bool { return e.Type == typ || slices.Contains(e.Causes, typ) }

// HasCause reports whether err is an Error with the given type among its causes.
func HasCause(err error, typ string) bool {
	var e *Error
	return errors.As(err, &e) && e.HasCause(typ)
}

// PartialError says that the server answered 200 with something missing.
type PartialError struct {
	What   string // such as "POST /_search"
	Reason string
}

func (e *PartialError) Error() string { return e.What + ": incomplete answer: " + e.Reason }

type wireCause struct {
	Type     string     `json:"type"`
	Reason   string     `json:"reason"`
	CausedBy *wireCause `json:"caused_by"`
}

type wireFailure struct {
	Index  string    `json:"index"`
	Shard  int       `json:"shard"`
	Reason wireCause `json:"reason"`
}

// wireShards is what an answer says about the shards that had a part in it.
type wireShards struct {
	Failed   *int          `json:"failed"`
	Failures []wireFailure `json:"failures"`
}

// check turns failed shards, and an answer that does not say, into an error.
func (s *wireShards) check(r Request) error {
	p := &PartialError{What: r.Method + " " + r.Path}
	switch {
	case s == nil || s.Failed == nil:
		p.Reason = "it does not say how many shards failed"
	case *s.Failed == 0:
		return nil
	default:
		p.Reason = fmt.Sprintf("%d shards failed", *s.Failed)
		if len(s.Failures) > 0 {
			f := s.Failures[0]
			p.Reason += fmt.Sprintf(": index %s shard %d: %s: %s", f.Index, f.Shard, f.Reason.Type, clip(f.Reason.Reason))
		}
	}
	return p
}

type wireError struct {
	wireCause
	RootCause    []wireCause   `json:"root_cause"`
	FailedShards []wireFailure `json:"failed_shards"`
}

// newError reads the server's error body, in any of its shapes.
func newError(method, path string, status int, body []byte) *Error {
	e := &Error{Method: method, Path: path, Status: status}
	var outer struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(body, &outer) != nil || len(outer.Error) == 0 {
		e.Reason = clip(string(bytes.TrimSpace(body)))
		return e
	}
	var w wireError
	if outer.Error[0] == '"' {
		_ = json.Unmarshal(outer.Error, &e.Reason) // it begins with a quote and was parsed as a value before
		e.Reason = clip(e.Reason)
		return e
	}
	if err := json.Unmarshal(outer.Error, &w); err != nil {
		e.Reason = clip(string(outer.Error))
		return e
	}
	e.Type, e.Reason = w.Type, w.Reason
	add := func(c *wireCause) {
		for ; c != nil; c = c.CausedBy {
			if c.Type != "" && !slices.Contains(e.Causes, c.Type) {
				e.Causes = append(e.Causes, c.Type)
			}
		}
	}
	for _, c := range w.RootCause {
		add(&c)
	}
	for _, f := range w.FailedShards {
		add(&f.Reason)
	}
	add(w.CausedBy)
	for c := w.CausedBy; c != nil; c = c.CausedBy {
		if c.Reason != "" {
			e.Innermost = clip(c.Reason)
		}
	}
	// "all shards failed" says nothing: the first shard's reason does.
	if len(w.FailedShards) > 0 {
		f := w.FailedShards[0]
		e.Reason += fmt.Sprintf(": index %s shard %d: %s: %s", f.Index, f.Shard, f.Reason.Type, f.Reason.Reason)
	}
	e.Reason = clip(e.Reason)
	return e
}

func clip(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 500 {
		s = strings.ToValidUTF8(s[:500], "") + "..."
	}
	return s
}

// Broken reports whether the connection broke, so that the server may or may not have done what it was asked.
func Broken(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	var verify *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	if errors.As(err, &verify) || errors.As(err, &authority) || errors.As(err, &record) {
		return false
	}
	var netErr net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed) || errors.As(err, &netErr)
}

// Retryable reports whether the same request may succeed later: the server is overloaded or restarting, part of the
// answer was missing, or the connection broke.
func Retryable(err error) bool {
	var e *Error
	if errors.As(err, &e) {
		switch e.Status {
		case 429, 502, 503, 504:
			return true
		}
		return false
	}
	var p *PartialError
	return errors.As(err, &p) || Broken(err)
}

// refused reports whether the server said that it is too busy for the request. A 502, 503 or 504 may come from a proxy that lost sight
// of one that is still worked on.
func refused(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == 429
}

// redact removes user information from the URL that net/http puts in its errors.
func redact(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err // the method and path are said by the caller
	}
	return err
}
