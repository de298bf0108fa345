package backend

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Opener opens the Backend at location: what follows the scheme's colon in a URL, unparsed. It does not create
// anything, and need not find anything there: Save creates what it needs. s may be nil.
type Opener func(ctx context.Context, location string, s *Settings) (Backend, error)

// Mux opens backends by URL. Its zero value is ready to use. Handle must not be called concurrently with Open.
type Mux struct {
	openers map[string]Opener
}

// Handle makes Open use o for URLs that begin with scheme and a colon. A later call for the same scheme
// replaces the earlier one.
func (m *Mux) Handle(scheme string, o Opener) {
	if m.openers == nil {
		m.openers = map[string]Opener{}
	}
	m.openers[scheme] = o
}

// Open opens the backend that url names: "scheme:location", or a plain path, which is a location for the
// scheme "local". A path that contains a colon needs the "local:" written out, unless a slash or a dot begins it. The
// driver reads its credentials from s, which may be nil.
func (m *Mux) Open(ctx context.Context, url string, s *Settings) (Backend, error) {
	scheme, location, found := strings.Cut(url, ":")
	if !found || strings.HasPrefix(url, "/") || strings.HasPrefix(url, ".") {
		scheme, location = "local", url
	}
	if location == "" && scheme == "local" {
		return nil, fmt.Errorf("open repository: empty location")
	}
	o, ok := m.openers[scheme]
	if !ok {
		return nil, fmt.Errorf("open repository: unknown scheme %q (known: %s)", scheme,
			strings.Join(slices.Sorted(maps.Keys(m.openers)), ", "))
	}
	return o(ctx, location, s)
}
