package web

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

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
