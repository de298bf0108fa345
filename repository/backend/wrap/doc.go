// Package wrap holds what any Backend can be wrapped in, each for itself: [Retry], [Limit] on the rate, [Connections], [Timeout],
// [Observe], [ReadOnly]. Drivers do none of this.
//
// The order matters. From the driver outwards this one is sound:
//
//	b = wrap.Limit(b, &wrap.LimitOptions{Upload: 10 << 20})
//	b = wrap.Timeout(b, nil)       // of one try
//	b = wrap.Connections(b, 8)     // nobody holds a connection while waiting for another try
//	b = wrap.Retry(b, nil)
//	b = wrap.Observe(b, wrap.Log(logger)) // calls as the program sees them; below Retry it sees each try
//
// Every wrapper is a backend.Unwrapper: backend.As and backend.Connections find what lies below it. Closing one closes all.
//
// There is no wrapper that adds a prefix: a [backend.Handle] has no place for one. The URLs and Configs of the drivers do, and
// so two repositories in one bucket are two Backends.
package wrap

import "github.com/escrow-backup/escrow/repository/backend"

// through passes every call on, and tells to whom.
type through struct{ backend.Backend }

// Unwrap implements [backend.Unwrapper].
func (t through) Unwrap() backend.Backend { return t.Backend }

func fail(op string, h backend.Handle, err error) error {
	return &backend.Error{Op: op, Handle: h, Err: err}
}

// cause is what is below err if err says which operation failed on which file.
func cause(err error) error {
	if be, ok := err.(*backend.Error); ok { //nolint:errorlint // only the outermost: what lies deeper belongs to the text
		return be.Err
	}
	return err
}
