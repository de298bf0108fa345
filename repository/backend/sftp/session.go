package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

const (
	dialLimit      = 30 * time.Second       // for TCP, and then for the handshake and the login
	keepaliveEvery = 20 * time.Second       // between questions whether the server is still there
	keepaliveLimit = 60 * time.Second       // for their answer
	grace          = 500 * time.Millisecond // for a call to end in order once its context has ended
)

// session is a connection in use.
type session struct {
	*sftp.Client
	conn   *ssh.Client
	tcp    net.Conn      // closing it ends everything, whatever waits for it
	dead   atomic.Bool   // nobody may begin anything with it
	broken chan struct{} // closed when the connection has ended
	wg     sync.WaitGroup
}

// session returns the connection, a new one if there is none that works.
func (b *Backend) session(ctx context.Context) (*session, error) {
	select {
	case b.dial <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-b.dial }()
	if b.closed.Load() {
		return nil, fs.ErrClosed
	}
	if s := b.current; s != nil {
		if !s.dead.Load() {
			return s, nil
		}
		s.close()
		b.current = nil
	}
	s, err := b.connect(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("connect to %s: %w", b.place, b.explain(err))
	}
	b.current = s
	return s, nil
}

func (b *Backend) connect(ctx context.Context) (*session, error) {
	dial := b.cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialLimit}).DialContext
	}
	addr := net.JoinHostPort(b.cfg.Host, strconv.Itoa(b.cfg.Port))
	tcp, err := dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	// Neither handshake nor login knows contexts; without the connection they end.
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = tcp.Close() })
	s, err := b.login(tcp, addr)
	if !stop() {
		if err == nil {
			s.close()
		}
		err = fmt.Errorf("login: %w", context.Cause(ctx))
	}
	if err != nil {
		_ = tcp.Close() // in use by nobody
		return nil, err
	}
	return s, nil
}

func (b *Backend) login(tcp net.Conn, addr string) (*session, error) {
	conn, chans, reqs, err := ssh.NewClientConn(tcp, addr, b.ssh)
	if err != nil {
		return nil, err
	}
	s := &session{tcp: tcp, conn: ssh.NewClient(conn, chans, reqs), broken: make(chan struct{})}
	s.Client, err = sftp.NewClient(s.conn, sftp.UseConcurrentWrites(true))
	if err != nil {
		_ = s.conn.Close()
		return nil, fmt.Errorf("start the sftp subsystem: %w", err)
	}
	s.wg.Go(func() {
		_ = s.Wait() // until the connection or the server's end of it has ended
		s.kill()
		close(s.broken)
	})
	s.wg.Go(s.keepalive)
	return s, nil
}

// keepalive closes the connection when the server does not answer any more: TCP may not notice for hours.
func (s *session) keepalive() {
	ticker := time.NewTicker(keepaliveEvery)
	defer ticker.Stop()
	for {
		select {
		case <-s.broken:
			return
		case <-ticker.C:
		}
		timer := time.AfterFunc(keepaliveLimit, s.kill)
		_, _, err := s.conn.SendRequest("keepalive@openssh.com", true, nil)
		timer.Stop()
		if err != nil {
			s.kill()
			return
		}
	}
}

// kill ends the connection, and everything that waits for it.
func (s *session) kill() {
	s.dead.Store(true)
	_ = s.tcp.Close() // every file was closed, and what that said was heeded, or nothing of it counts
}

// close ends the connection, if it has not ended, and waits for what belongs to it.
func (s *session) close() {
	s.kill()
	s.wg.Wait()
}

// do runs fn with a connection and returns when it has ended. Once ctx has ended, fn gets a moment to see that and to
// end in order; then the connection is closed, so that it ends in any case.
func (b *Backend) do(ctx context.Context, fn func(s *session) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s, err := b.session(ctx)
	if err != nil {
		return err
	}
	return s.do(ctx, b.place, fn)
}

func (s *session) do(ctx context.Context, place string, fn func(s *session) error) error {
	var timer *time.Timer
	over := make(chan struct{}) // closed when the timer has been set
	stop := context.AfterFunc(ctx, func() {
		timer = time.AfterFunc(grace, s.kill)
		close(over)
	})
	err := fn(s)
	if !stop() {
		<-over
		timer.Stop()
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case lost(err):
		s.kill()
		return fmt.Errorf("the connection to %s broke: %w", place, err)
	}
	return err
}

// lost reports whether err says that the connection is gone. What cannot be sent any more is io.EOF; the end of a file, which
// reads also call so, is dealt with where they are.
func lost(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, sftp.ErrSSHFxConnectionLost) || errors.Is(err, sftp.ErrSSHFxNoConnection)
}
