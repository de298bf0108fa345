package sftp_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pkg/sftp"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// server is an SSH server on 127.0.0.1 that serves the files of the test's machine.
type server struct {
	t        *testing.T
	host     ssh.Signer
	user     ssh.Signer // whose key is let in
	password string     // that is let in; none if empty
	addr     string
	listener net.Listener
	logins   atomic.Int32
	silent   atomic.Bool  // stop forwarding what the server says
	cutAfter atomic.Int64 // bytes from the client until its connection is cut; 0: never

	wg    sync.WaitGroup
	mu    sync.Mutex
	conns map[net.Conn]bool
}

func newKey(t *testing.T) (signer ssh.Signer, private []byte) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKey(key, "")
	require.NoError(t, err)
	signer, err = ssh.NewSignerFromKey(key)
	require.NoError(t, err)
	return signer, pem.EncodeToMemory(block)
}

// start runs a server, which ends with the test, and returns the key it lets in.
func start(t *testing.T) (s *server, private []byte) {
	t.Helper()
	s = &server{t: t, conns: map[net.Conn]bool{}}
	s.host, _ = newKey(t)
	s.user, private = newKey(t)
	var err error
	s.listener, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.addr = s.listener.Addr().String()
	s.wg.Go(s.accept)
	t.Cleanup(func() {
		require.NoError(t, s.listener.Close())
		s.cut()
		s.wg.Wait()
	})
	return s, private
}

func (s *server) knownHosts() []byte {
	return []byte(knownhosts.Line([]string{s.addr}, s.host.PublicKey()) + "\n")
}

// cut breaks all connections.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

func (s *server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.wg.Go(func() {
			s.serve(&toxic{Conn: c, s: s})
			_ = c.Close()
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.conns, c)
		})
	}
}

// toxic does to a connection what the server was told.
type toxic struct {
	net.Conn
	s    *server
	read int64
}

func (c *toxic) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read += int64(n)
	if limit := c.s.cutAfter.Load(); limit > 0 && c.read > limit {
		_ = c.Close()
		return 0, errors.New("cut")
	}
	return n, err
}

func (c *toxic) Write(p []byte) (int, error) {
	if c.s.silent.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (s *server) serve(c net.Conn) {
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if string(key.Marshal()) != string(s.user.PublicKey().Marshal()) {
				return nil, errors.New("unknown key")
			}
			return nil, nil
		},
		PasswordCallback: func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			if s.password == "" || string(password) != s.password {
				return nil, errors.New("wrong password")
			}
			return nil, nil
		},
	}
	config.AddHostKey(s.host)
	conn, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	s.logins.Add(1)
	s.wg.Go(func() { ssh.DiscardRequests(requests) })
	for nc := range channels {
		ch, reqs, err := nc.Accept()
		if err != nil {
			continue
		}
		s.wg.Go(func() {
			for r := range reqs {
				_ = r.Reply(r.Type == "subsystem" && string(r.Payload[4:]) == "sftp", nil)
			}
		})
		s.wg.Go(func() {
			srv, err := sftp.NewServer(ch)
			if err == nil {
				err = srv.Serve()
			}
			if err != nil && !errors.Is(err, io.EOF) {
				_ = conn.Close()
			}
			_ = ch.Close()
		})
	}
}
