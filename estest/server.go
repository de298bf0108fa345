package estest

import (
	"net/http/httptest"

	"github.com/elastic/go-elasticsearch/v8"
)

// TB is what New needs of a testing.TB.
type TB interface {
	Helper()
	Cleanup(func())
}

// Server is a Handler that listens on a port of the loopback interface.
type Server struct {
	*Handler
	URL string // http://127.0.0.1:port

	http *httptest.Server
}

// New starts a server that stops when the test ends; without a test (t nil) call Close.
func New(t TB, o *Options) *Server {
	h := NewHandler(o)
	hs := httptest.NewServer(h)
	s := &Server{Handler: h, URL: hs.URL, http: hs}
	if t != nil {
		t.Helper()
		t.Cleanup(s.Close)
	}
	return s
}

// Close stops listening.
func (s *Server) Close() {
	s.http.CloseClientConnections() // a cut or hanging client must not block the end of a test
	s.http.Close()
}

// Client returns the official client, connected over a socket, with the server's credentials and without retries of
// its own. Close closes its idle connections.
func (s *Server) Client() *elasticsearch.Client {
	c, err := elasticsearch.NewClient(elasticsearch.Config{Addresses: []string{s.URL}, Username: s.o.Username, Password: s.o.Password,
		APIKey: s.o.APIKey, DisableRetry: true, Transport: s.http.Client().Transport})
	if err != nil {
		panic("estest: client for " + s.URL + ": " + err.Error()) // the configuration is ours
	}
	return c
}
