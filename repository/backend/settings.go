package backend

import (
	"io"
	"os"
)

// Settings are what opening a Backend takes besides its URL: credentials above all. nil and the zero value work. Drivers say
// which fields and keys they read.
type Settings struct {
	// Lookup gives credentials and settings by the names of the environment variables that restic reads, such as
	// AWS_ACCESS_KEY_ID; the Secrets of Repository objects have the same keys. Default: os.LookupEnv. Where it has no
	// credentials, drivers turn to the identity that the machine or the pod has.
	Lookup func(key string) (value string, found bool)

	Region       string // of the bucket; default: what Lookup or the service says
	StorageClass string // of packs; default: the bucket's. Everything else must be readable at once, so it is left alone
	InsecureTLS  bool   // do not verify the server's certificate
	Connections  int    // calls at once; default: what suits the driver. See [Connections]
}

// Value returns the first value that is not empty among those that Lookup has for keys, or "". s may be nil.
func (s *Settings) Value(keys ...string) string {
	lookup := os.LookupEnv
	if s != nil && s.Lookup != nil {
		lookup = s.Lookup
	}
	for _, k := range keys {
		if v, _ := lookup(k); v != "" {
			return v
		}
	}
	return ""
}

// A Connector is a Backend that knows how many calls at once suit it best.
type Connector interface {
	Connections() int // at least 1
}

// An Unwrapper is a Backend that passes calls on to another one.
type Unwrapper interface {
	Unwrap() Backend
}

// As returns b as a T, or the first of those that it wraps that is one: how to reach an optional interface of a driver, or its
// own type, below wrappers.
func As[T any](b Backend) (t T, found bool) {
	for b != nil {
		if t, found = b.(T); found {
			return t, true
		}
		u, wraps := b.(Unwrapper)
		if !wraps {
			break
		}
		b = u.Unwrap()
	}
	return t, false
}

// Connections returns how many calls at once suit b, or what it wraps, best; 0 if nothing says.
func Connections(b Backend) int {
	if c, ok := As[Connector](b); ok {
		return c.Connections()
	}
	return 0
}

// Unpaced returns body without what a wrapper did to limit its rate. A driver that reads a body once more than it sends it, for
// a checksum, reads from this: a limit is for what is sent.
func Unpaced(body io.ReaderAt) io.ReaderAt {
	if p, ok := body.(interface{ Unpaced() io.ReaderAt }); ok {
		return p.Unpaced()
	}
	return body
}
