package wrap

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/escrow-backup/escrow/repository/backend"
)

// RetryOpener tries again to open a place, as [Retry] does with calls: some drivers connect, or log in, when they open. As a wrong
// URL does not become right, it does so only where the network failed or the server said when to come again. What is opened is
// not wrapped. In what Notify gets, Op is "open" and there is no Handle.
func RetryOpener(open backend.Opener, o *RetryOptions) backend.Opener {
	r := newRetrier(nil, o)
	return func(ctx context.Context, location string, s *backend.Settings) (backend.Backend, error) {
		p := r.pace("open", backend.Handle{})
		for {
			b, err := open(ctx, location, s)
			if err == nil {
				return b, nil
			}
			if ctx.Err() == nil && !passes(err) {
				return nil, err
			}
			if err := p.next(ctx, err); err != nil {
				return nil, err
			}
		}
	}
}

// passes reports whether err is known to be one that may pass.
func passes(err error) bool {
	var network net.Error
	var asks interface{ RetryAfter() time.Duration }
	return errors.As(err, &network) || errors.As(err, &asks) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
