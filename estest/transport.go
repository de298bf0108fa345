package estest

import (
	"bytes"
	"io"
	"net/http"
)

// Transport reaches a Handler without sockets. It satisfies elastictransport.Interface (Perform) and http.RoundTripper, and works inside
// a testing/synctest bubble.
type Transport struct{ h *Handler }

// Transport returns a transport that calls the handler directly.
func (h *Handler) Transport() *Transport { return &Transport{h} }

// Perform is RoundTrip: requests of the elastic transport carry only a path.
func (t *Transport) Perform(r *http.Request) (*http.Response, error) { return t.RoundTrip(r) }

// RoundTrip answers the request.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	a, err := t.h.serve(r)
	if err != nil {
		return nil, err
	}
	res := &http.Response{StatusCode: a.status, Status: http.StatusText(a.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, ContentLength: int64(len(a.body)), Request: r}
	setHeaders(res.Header, a)
	body := a.body
	if r.Method == http.MethodHead {
		body = nil
	}
	var rd io.Reader = bytes.NewReader(body)
	if a.cut >= 0 {
		rd = io.MultiReader(bytes.NewReader(body[:min(a.cut, len(body))]), broken{})
	}
	res.Body = io.NopCloser(rd)
	return res, nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
