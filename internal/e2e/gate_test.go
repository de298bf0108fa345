package e2e_test

import (
	"bytes"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// gate stands before a node's port for other nodes. While it is closed, what other nodes replicate to this one does not get through: the
// connection that carries a write is held, all others go on. So a primary holds operations that its copies do not have. It can cut
// connections that carry a refresh instead.
type gate struct {
	addr string

	mu     sync.Mutex
	closed bool
	held   int
	cuts   int // refreshes that are still to be cut
	cut    int // that were
	conns  map[net.Conn]bool
}

// replicated is how a node names the request by which a primary sends a write to a copy.
var replicated = []byte("indices:data/write/bulk[s][r]")

// refreshed is how it names the request by which a primary has a copy refresh.
var refreshed = []byte("indices:admin/refresh[s][r]")

func newGate(t *testing.T, target string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g := &gate{addr: l.Addr().String(), conns: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return // closed
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				_ = in.Close() // the node is not there
				continue
			}
			g.mu.Lock()
			g.conns[in], g.conns[out] = true, true
			g.mu.Unlock()
			wg.Go(func() { g.pass(out, in, true) })
			wg.Go(func() { g.pass(in, out, false) })
		}
	})
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		g.open()
		g.mu.Lock()
		for c := range g.conns {
			_ = c.Close()
		}
		g.mu.Unlock()
		wg.Wait()
	})
	return g
}

func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
}

// open lets everything through again. What was held is lost, with its connection.
func (g *gate) open() {
	g.mu.Lock()
	g.closed = false
	g.mu.Unlock()
}

// cutRefreshes cuts the connections that carry the next n refreshes.
func (g *gate) cutRefreshes(n int) {
	g.mu.Lock()
	g.cuts, g.cut = n, 0
	g.mu.Unlock()
}

func (g *gate) cutSoFar() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cut
}

func (g *gate) holding() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held
}

func (g *gate) pass(to, from net.Conn, inward bool) {
	defer func() {
		_, _ = to.Close(), from.Close() // whoever uses them finds out
		g.mu.Lock()
		delete(g.conns, to)
		delete(g.conns, from)
		g.mu.Unlock()
	}()
	buf := make([]byte, 64<<10)
	var last []byte // the end of what came before: the name may come in two pieces
	held := false
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if inward {
			seen := append(last, buf[:n]...)
			g.mu.Lock()
			if !held && g.closed && bytes.Contains(seen, replicated) {
				held = true
				g.held++
			}
			cut := g.cut < g.cuts && bytes.Contains(seen, refreshed)
			if cut {
				g.cut++
			}
			g.mu.Unlock()
			if cut {
				return
			}
			last = append([]byte(nil), seen[max(0, len(seen)-len(replicated)):]...)
		}
		if held {
			continue // until whoever sends gives up, or dies
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
