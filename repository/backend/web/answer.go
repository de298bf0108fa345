package web

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// AnswerError is an answer of a service that is not the one wished for, or that there was none.
type AnswerError struct {
	Code   string      // what the service calls it, such as "NoSuchKey"; may be empty
	Status int         // of HTTP; 0 if there was no answer
	Header http.Header // of the answer
	Cause  error       // a sentinel of package fs, or what prevented an answer; may be nil
	Text   string      // holds no credential
}

func (e *AnswerError) Error() string { return e.Text }

// Unwrap returns the cause.
func (e *AnswerError) Unwrap() error { return e.Cause }

// StatusCode returns the status of HTTP, or 0.
func (e *AnswerError) StatusCode() int { return e.Status }

// RetryAfter returns how long the server wants to be left alone, or 0.
func (e *AnswerError) RetryAfter() time.Duration {
	return RetryAfter(e.Header.Get("Retry-After"), time.Now())
}

// HasCode reports whether err is an AnswerError with one of these codes.
func HasCode(err error, codes ...string) bool {
	var e *AnswerError
	return errors.As(err, &e) && slices.Contains(codes, e.Code)
}

// IsStatus reports whether err is an AnswerError with this status.
func IsStatus(err error, status int) bool {
	var e *AnswerError
	return errors.As(err, &e) && e.Status == status
}

// RetryAfter reads a Retry-After header, which holds seconds or a date. 0: there is none, or it is nonsense.
func RetryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// WithoutURL drops the address that net/http puts into its errors: what is asked for is known, and a query may hold a
// signature.
func WithoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// IsPage reports whether the answer is an HTML page. No storage service sends one: it is that of a proxy or a portal in
// between, and its status says nothing about a file.
func IsPage(resp *http.Response) bool {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return kind == "text/html"
}
