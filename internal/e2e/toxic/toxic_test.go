package toxic_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/toxic"
)

// echo is a server that sends back what it gets.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// talk sends size bytes and returns how many came back.
func talk(t *testing.T, addr string, size int) int {
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	go func() {
		_, _ = c.Write(make([]byte, size))
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	n, _ := io.Copy(io.Discard, c)
	return int(n)
}

func TestProxy(t *testing.T) {
	const size = 100_000
	server := echo(t)
	for name, c := range map[string]struct {
		o     toxic.Options
		whole bool
		want  toxic.Counts
	}{
		"clean":  {whole: true, want: toxic.Counts{Clean: 8}},
		"refuse": {o: toxic.Options{Refuse: 1}, want: toxic.Counts{Refused: 8}},
		"cut":    {o: toxic.Options{Cut: 1, MaxBytes: size}, want: toxic.Counts{Cut: 8}},
		"stall":  {o: toxic.Options{Stall: 1, MaxBytes: size, StallFor: time.Millisecond}, want: toxic.Counts{Stalled: 8}},
		"slow":   {o: toxic.Options{Slow: 1, Rate: 10_000_000}, whole: true, want: toxic.Counts{Slow: 8}},
	} {
		t.Run(name, func(t *testing.T) {
			p := toxic.Start(t, server, c.o)
			for range 8 {
				n := talk(t, p.Addr, size)
				require.Equal(t, c.whole, n == size, "%d bytes", n)
			}
			require.Equal(t, c.want, p.Counts())
		})
	}
}
