// Package toxic is a bad network: a TCP proxy on 127.0.0.1 that refuses, cuts, stalls and slows connections at random, from a
// seed. It knows nothing of what passes through it.
package toxic

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Options of a Proxy. Chances are between 0 and 1; of several faults that are due, a connection gets the first.
type Options struct {
	Seed uint64

	Refuse float64 // that a connection is closed before a byte has passed
	Cut    float64 // that it is closed after some bytes, half of the time with a reset
	Stall  float64 // that nothing passes any more after some bytes, for StallFor; then it is closed
	Slow   float64 // that it passes Rate bytes a second only

	MaxBytes int           // that pass before a cut or a stall, in one direction; small numbers are as likely as large ones
	StallFor time.Duration // longer than clients wait, if they are to notice
	Rate     int           // bytes a second
}

// Counts are how many connections had which fate.
type Counts struct{ Clean, Refused, Cut, Stalled, Slow int }

// Proxy is a running proxy. It ends with its test.
type Proxy struct {
	Addr string // host and port

	o      Options
	target string

	mu     sync.Mutex
	rand   *rand.Rand
	counts Counts
	conns  map[net.Conn]bool // nil: no more

	done chan struct{}
	wg   sync.WaitGroup
}

// Start starts a proxy in front of the address target.
func Start(t testing.TB, target string, o Options) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &Proxy{
		Addr: l.Addr().String(), o: o, target: target,
		rand: rand.New(rand.NewPCG(o.Seed, o.Seed)), conns: map[net.Conn]bool{}, done: make(chan struct{}),
	}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			p.wg.Go(func() { p.serve(c.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		close(p.done)
		require.NoError(t, l.Close())
		p.mu.Lock()
		for c := range p.conns {
			_ = c.Close() // whoever uses it finds out
		}
		p.conns = nil
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

// Counts returns what has become of connections so far.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// fate is what happens to a connection.
type fate struct {
	refuse, cut, reset, stall, slow bool
	up                              bool // counts what the client sends
	after                           int  // bytes
}

func (p *Proxy) draw() (f fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.rand.Float64()
	due := func(chance float64) bool {
		x -= chance
		return x < 0
	}
	switch {
	case due(p.o.Refuse):
		f.refuse = true
		p.counts.Refused++
	case due(p.o.Cut):
		f.cut, f.reset = true, p.rand.IntN(2) == 0
		p.counts.Cut++
	case due(p.o.Stall):
		f.stall = true
		p.counts.Stalled++
	case due(p.o.Slow):
		f.slow = true
		p.counts.Slow++
	default:
		p.counts.Clean++
	}
	f.up = p.rand.IntN(2) == 0
	// Any order of magnitude is as likely as any other.
	f.after = p.rand.IntN(max(p.o.MaxBytes>>p.rand.IntN(16), 2))
	return f
}

// hold makes the proxy's end close c; false: it has ended.
func (p *Proxy) hold(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		_ = c.Close() // nobody uses it
		return false
	}
	p.conns[c] = true
	return true
}

func (p *Proxy) drop(c net.Conn) {
	_ = c.Close() // at most it is closed already
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *Proxy) serve(client *net.TCPConn) {
	if !p.hold(client) {
		return
	}
	defer p.drop(client)
	f := p.draw()
	if f.refuse {
		return
	}
	conn, err := net.Dial("tcp", p.target)
	if err != nil || !p.hold(conn) {
		return
	}
	defer p.drop(conn)
	server := conn.(*net.TCPConn)
	var wg sync.WaitGroup
	pump := func(dst, src *net.TCPConn, mine bool) {
		err := p.pump(dst, src, f, mine)
		if errors.Is(err, errCut) && f.reset {
			_ = errors.Join(client.SetLinger(0), server.SetLinger(0)) // the connection ends one way or the other
		}
		if err == nil {
			_ = dst.CloseWrite() // the other direction may go on
			return
		}
		_ = errors.Join(client.Close(), server.Close())
	}
	wg.Go(func() { pump(server, client, f.up) })
	wg.Go(func() { pump(client, server, !f.up) })
	wg.Wait()
}

var errCut = errors.New("cut")

// pump copies until the end, which is nil, or a fault, which is what mine says of this direction.
func (p *Proxy) pump(dst, src net.Conn, f fate, mine bool) error {
	buf := make([]byte, 16<<10)
	for passed := 0; ; {
		n, err := src.Read(buf)
		last := mine && (f.cut || f.stall) && passed+n >= f.after
		if last {
			n = max(f.after-passed, 0)
		}
		if _, werr := dst.Write(buf[:n]); werr != nil {
			return werr
		}
		passed += n
		switch {
		case last && f.stall:
			p.sleep(p.o.StallFor)
			return errCut
		case last:
			return errCut
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case f.slow && p.o.Rate > 0:
			p.sleep(time.Duration(n) * time.Second / time.Duration(p.o.Rate))
		}
	}
}

func (p *Proxy) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.done:
	}
}
