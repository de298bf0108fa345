package chunker_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/chunker"
)

// stream is what these commands print: random bytes, bytes in which no fingerprint cuts, bytes in which every one does,
// and random bytes of an odd length.
//
//	key() { openssl enc -aes-128-ctr -K $1 -iv 00000000000000000000000000000000 -in /dev/zero; }
//	( key 00000000000000000000000000000000 | head -c 33554432
//	  head -c 20971520 /dev/zero | tr '\0' a
//	  head -c 3145728 /dev/zero
//	  key 01000000000000000000000000000000 | head -c 16000001 ) > stream
var stream = sync.OnceValue(func() []byte {
	buf := make([]byte, 33554432+20971520+3145728+16000001)
	rest := buf
	part := func(n int) []byte {
		p := rest[:n]
		rest = rest[n:]
		return p
	}
	random := func(key byte, p []byte) {
		c, err := aes.NewCipher(append([]byte{key}, make([]byte, 15)...))
		if err != nil {
			panic(err)
		}
		cipher.NewCTR(c, make([]byte, 16)).XORKeyStream(p, p)
	}
	random(0, part(33554432))
	as := part(20971520)
	as[0] = 'a'
	for n := 1; n < len(as); n *= 2 {
		copy(as[n:], as[:n])
	}
	part(3145728)
	random(1, part(16000001))
	return buf
})

// resticCuts are the sizes of the blobs that restic 0.14.0 made of stream in repositories with these polynomials:
//
//	restic init --repository-version 2; restic backup stream; restic cat config
//	restic cat blob $(restic snapshots --json | jq -r .[0].tree) | jq -r '.nodes[0].content[]' |
//		while read id; do restic cat blob $id | wc -c; done
var resticCuts = map[chunker.Pol][]int{
	0x2a217e322ddf47: {
		2531669, 2357489, 1517328, 580519, 1252503, 5532399, 1589699, 5254729, 1291234, 964974, 781802, 1794696,
		558531, 1541478, 1516719, 1794895, 1482591, 8388608, 8388608, 5405545, 524288, 524288, 524288, 524288, 524288,
		573424, 728622, 863943, 716834, 1004553, 909955, 1347120, 1381200, 3144733, 639412, 1205987, 835718, 3172724,
	},
	0x2b43d39f47ff01: {
		614990, 1017435, 590563, 948613, 4881366, 3243801, 1124477, 673715, 3759058, 1842043, 1722217, 690039,
		1016856, 534718, 1314562, 4683385, 699444, 2433741, 8388608, 8388608, 5957777, 524288, 524288, 524288, 524288,
		524288, 896277, 3681841, 1939291, 1666845, 854602, 1181876, 673148, 735722, 1169475, 831008, 1241613, 1652527,
	},
}

const pol = chunker.Pol(0x2a217e322ddf47)

func TestCutsAreThoseOfRestic(t *testing.T) {
	data := stream()
	for pol, want := range resticCuts {
		t.Run(pol.String(), func(t *testing.T) {
			c := chunker.New(bytes.NewReader(data), pol)
			var got []int
			var buf []byte
			rest := data
			for {
				var err error
				buf, err = c.Next(buf)
				if err == io.EOF {
					break
				}
				require.NoError(t, err)
				require.True(t, bytes.Equal(rest[:len(buf)], buf), "chunk %d has other bytes", len(got))
				rest = rest[len(buf):]
				got = append(got, len(buf))
			}
			require.Empty(t, rest)
			require.Equal(t, want, got)
			_, err := c.Next(nil)
			require.Equal(t, io.EOF, err)
		})
	}
}

// cuts pushes data through s in pieces whose sizes size gives, and checks what Next promises.
func cuts(t testing.TB, s *chunker.Splitter, data []byte, size func() int) []int {
	var out []int
	current := 0
	for len(data) > 0 {
		p := data[:min(len(data), max(1, size()))]
		n, cut := s.Next(p)
		if n > len(p) || !cut && n != len(p) {
			t.Fatalf("%d of %d bytes belong to the chunk, cut %v", n, len(p), cut) // far faster than require
		}
		current += n
		if cut {
			require.GreaterOrEqual(t, current, chunker.MinSize)
			require.LessOrEqual(t, current, chunker.MaxSize)
			out = append(out, current)
			current = 0
		}
		data = data[n:]
	}
	if current > 0 {
		out = append(out, current)
	}
	return out
}

func TestPiecesChangeNothing(t *testing.T) {
	// Of each kind of bytes some, beginning and ending with a chunk.
	from, to := 0, 0
	for i, n := range resticCuts[pol] {
		if i < 16 {
			from += n
		}
		if i < 28 {
			to += n
		}
	}
	data := stream()[from:to]
	want := resticCuts[pol][16:28]
	first := chunker.NewSplitter(pol)
	rnd := rand.New(rand.NewPCG(1, 2))
	for name, size := range map[string]func() int{
		"whole":       func() int { return len(data) },
		"window":      func() int { return 64 },
		"below":       func() int { return 63 },
		"above":       func() int { return 65 },
		"lanes":       func() int { return 64 + 4*4096 },
		"lanes and 1": func() int { return 64 + 4*4096 + 1 },
		"random":      func() int { return rnd.IntN(1 << (rnd.IntN(21) + 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, want, cuts(t, first.Fork(), data, size))
		})
	}
	t.Run("bytes", func(t *testing.T) {
		data := data[:want[0]+chunker.MinSize+1000]
		require.Equal(t, []int{want[0], chunker.MinSize + 1000}, cuts(t, first.Fork(), data, func() int { return 1 }))
	})
	t.Run("reader", func(t *testing.T) {
		c := chunker.New(iotest.HalfReader(iotest.DataErrReader(bytes.NewReader(data))), pol)
		for _, n := range want {
			chunk, err := c.Next(nil)
			require.NoError(t, err)
			require.Len(t, chunk, n)
		}
	})
}

// The content of a chunk alone decides where it ends: what came before, and where a chunk was ended by hand, leaves no
// trace.
func TestResetForgets(t *testing.T) {
	data := stream()[:8<<20]
	s := chunker.NewSplitter(pol)
	want := cuts(t, s.Fork(), data, func() int { return 1 << 20 })
	for _, n := range []int{1, 100, chunker.MinSize - 64, chunker.MinSize - 30, chunker.MinSize, chunker.MinSize + 1000} {
		s.Next(data[1000 : 1000+n])
		s.Reset()
		require.Equal(t, want, cuts(t, s, data, func() int { return 1 << 20 }))
		s.Reset() // the last chunk may not have been ended by a cut
	}
}

// An insertion near the beginning moves the later cuts along.
func TestInsertionIsLocal(t *testing.T) {
	data := stream()[:16<<20]
	s := chunker.NewSplitter(pol)
	a := cuts(t, s.Fork(), data, func() int { return 1 << 20 })
	b := cuts(t, s.Fork(), append([]byte("inserted"), data...), func() int { return 1 << 20 })
	require.Equal(t, a[len(a)-5:], b[len(b)-5:])
}

func TestReaderFails(t *testing.T) {
	boom := errors.New("boom")
	c := chunker.New(io.MultiReader(strings.NewReader("some"), iotest.ErrReader(boom)), pol)
	_, err := c.Next(nil)
	require.Equal(t, boom, err)
	_, err = c.Next(nil)
	require.Equal(t, boom, err)
	_, err = chunker.New(strings.NewReader(""), pol).Next(nil)
	require.Equal(t, io.EOF, err)
}

func TestRandomPolynomial(t *testing.T) {
	src := rand.NewChaCha8([32]byte{1})
	seen := map[chunker.Pol]bool{}
	for range 20 {
		p, err := chunker.RandomPolynomial(src)
		require.NoError(t, err)
		require.NoError(t, p.Check())
		require.False(t, seen[p])
		seen[p] = true
	}
	_, err := chunker.RandomPolynomial(strings.NewReader("short"))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_, err = chunker.RandomPolynomial(zeros{})
	require.ErrorContains(t, err, "not random")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// All polynomials of small degree, against the products of all pairs.
func TestIrreducible(t *testing.T) {
	product := map[chunker.Pol]bool{}
	for a := chunker.Pol(2); a < 1<<7; a++ {
		for b := chunker.Pol(2); b < 1<<7; b++ {
			var p chunker.Pol
			for i := range 7 {
				if b>>i&1 != 0 {
					p ^= a << i
				}
			}
			product[p] = true
		}
	}
	require.False(t, chunker.Pol(0).Irreducible())
	require.False(t, chunker.Pol(1).Irreducible())
	for p := chunker.Pol(2); p < 1<<8; p++ {
		require.Equal(t, !product[p], p.Irreducible(), "%b", uint64(p))
	}
}

func TestPolynomialJSON(t *testing.T) {
	var config struct {
		P chunker.Pol `json:"chunker_polynomial"`
	}
	const text = `{"chunker_polynomial":"2a217e322ddf47"}`
	require.NoError(t, json.Unmarshal([]byte(text), &config))
	require.Equal(t, pol, config.P)
	out, err := json.Marshal(config)
	require.NoError(t, err)
	require.Equal(t, text, string(out))
	for _, bad := range []string{`"2a217e322ddf46"`, `"3"`, `"0"`, `""`, `"x"`, `"12a217e322ddf47"`, `12`, `null`,
		`"ffffffffffffffffff"`} {
		p := pol
		require.Error(t, json.Unmarshal([]byte(bad), &p), bad)
		require.Equal(t, pol, p)
	}
	require.Panics(t, func() { chunker.NewSplitter(3) })
}

// FuzzSplitter compares the Splitter with the definition, on a stream made from the input: repeated, so that it is long
// enough to be cut.
func FuzzSplitter(f *testing.F) {
	f.Add([]byte("a"), uint64(1))
	f.Add([]byte{0}, uint64(2))
	f.Add(bytes.Repeat([]byte("some longer text, "), 100), uint64(3))
	s := chunker.NewSplitter(pol)
	f.Fuzz(func(t *testing.T, seed []byte, n uint64) {
		if len(seed) == 0 {
			return
		}
		rnd := rand.New(rand.NewPCG(n, 0))
		data := make([]byte, 0, 3<<20)
		for len(data) < 1<<20+int(n%(1<<20)) {
			data = append(data, seed...)
			data = append(data, byte(rnd.Uint32()))
		}
		want := define(pol, data)
		require.Equal(t, want, cuts(t, s.Fork(), data, func() int { return rnd.IntN(1 << (rnd.IntN(20) + 1)) }))
	})
}

// define makes the cuts in the plainest way: the fingerprint is the polynomial of the last 64 bytes, bit by bit.
func define(pol chunker.Pol, data []byte) []int {
	const top = 1 << 53
	push := func(d uint64, b byte) uint64 {
		for bit := 7; bit >= 0; bit-- {
			d = d<<1 | uint64(b>>bit&1)
			if d&top != 0 {
				d ^= uint64(pol)
			}
		}
		return d
	}
	var gone [256]uint64
	for b := range gone {
		gone[b] = push(0, byte(b))
		for range 64 {
			gone[b] = push(gone[b], 0)
		}
	}
	var out []int
	start := 0
	var d uint64
	for i, b := range data {
		n := i + 1 - start
		if n <= chunker.MinSize-64 {
			continue
		}
		d = push(d, b)
		if n > chunker.MinSize {
			d ^= gone[data[i-64]]
		}
		if n >= chunker.MinSize && d&(1<<20-1) == 0 || n == chunker.MaxSize {
			out = append(out, n)
			start, d = i+1, 0
		}
	}
	if start < len(data) {
		out = append(out, len(data)-start)
	}
	return out
}

// BenchmarkSplitter measures one core; 1,200 MB/s is the aim where nothing else runs on it.
func BenchmarkSplitter(b *testing.B) {
	data := stream()[:32<<20]
	s := chunker.NewSplitter(pol)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		for rest := data; len(rest) > 0; {
			n, _ := s.Next(rest[:min(len(rest), 256<<10)])
			rest = rest[n:]
		}
		s.Reset()
	}
}
