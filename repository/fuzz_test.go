package repository

import (
	"context"
	"encoding/json"
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/crypto"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

const someID = `"0101010101010101010101010101010101010101010101010101010101010101"`

func FuzzTree(f *testing.F) {
	f.Add([]byte(`{"nodes":[]}`))
	f.Add([]byte(`{"nodes":[{"name":"a\\u00e9","type":"file","mode":420,"mtime":"2020-01-01T00:00:00Z","content":[` + someID + `]}]}`))
	f.Add([]byte(`{"nodes":[{"name":"d","type":"dir","subtree":` + someID + `},null]}`))
	f.Add([]byte(`{"nodes":[{"name":"..","type":"dir","subtree":` + someID + `}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		nodes, err := decodeTree(text)
		if err != nil {
			return
		}
		for i, n := range nodes {
			require.True(t, n.Name != ".." && n.Name != "")
			require.True(t, i == 0 || nodes[i-1].Name < n.Name)
			require.Equal(t, n.Type == "dir", n.fileMode().IsDir())
		}
		again, err := encodeTree(nodes)
		if err != nil {
			return // a time outside of the years that JSON can say
		}
		nodes2, err := decodeTree(again)
		require.NoError(t, err)
		again2, err := encodeTree(nodes2)
		require.NoError(t, err)
		require.Equal(t, string(again), string(again2))
	})
}

func FuzzSnapshot(f *testing.F) {
	f.Add([]byte(`{"time":"2020-01-01T00:00:00Z","tree":` + someID + `,"paths":null,"x":[1.10]}`))
	f.Add([]byte(`{"tree":` + someID + `,"summary":{"y":null},"Tree":` + someID + `}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := decodeSnapshot(text, ID{})
		if err != nil {
			return
		}
		b, err := json.Marshal(s)
		if err != nil {
			return
		}
		s2, err := decodeSnapshot(b, ID{})
		require.NoError(t, err)
		b2, err := json.Marshal(s2)
		require.NoError(t, err)
		require.Equal(t, string(b), string(b2))
	})
}

// FuzzConfig: what is read as a config can be worked with, and is written as it was read.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"version":2,"id":` + someID + `,"chunker_polynomial":"25b468838dcb75"}`))
	f.Add([]byte(`{"version":1,"id":` + someID + `,"chunker_polynomial":"25b468838dcb75","chunker":"rabin","append_only":true}`))
	f.Add([]byte(`{"version":2,"id":` + someID + `,"chunker_polynomial":"3"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := decodeConfig(text)
		if err != nil {
			return
		}
		require.NoError(t, c.Polynomial.Check())
		require.Contains(t, []uint{1, 2}, c.Version)
		again, err := json.Marshal(c)
		require.NoError(t, err)
		c2, err := decodeConfig(again)
		require.NoError(t, err)
		require.Equal(t, c, c2)
		// A migration keeps what we do not know.
		moved, err := setFields(text, map[string]any{"version": 2})
		if err != nil {
			return
		}
		c2, err = decodeConfig(moved)
		require.NoError(t, err)
		c.Version = 2
		require.Equal(t, c, c2)
	})
}

// FuzzLock: whatever a lock says, it can be judged, and what we would write of it says the same.
func FuzzLock(f *testing.F) {
	f.Add([]byte(`{"time":"2020-01-01T00:00:00Z","exclusive":true,"pid":-1}`))
	f.Add([]byte(`{"time":"2020-01-01T00:00:00.5+01:00","exclusive":false,"hostname":"h","username":"u","pid":7,"uid":1,"gid":2}`))
	f.Add([]byte(`{"pid":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := decodeLock(text)
		if err != nil {
			require.ErrorIs(t, err, ErrDamaged)
			return
		}
		why, stale := l.stale(l.Time, defaultLockTiming)
		require.False(t, stale, "a lock that was made right now counts")
		require.Empty(t, why)
		_, stale = l.stale(l.Time.Add(defaultLockTiming.stale+time.Second), defaultLockTiming)
		require.True(t, stale)
		again, err := json.Marshal(l)
		if err != nil {
			return // a time outside of the years that JSON can say
		}
		l2, err := decodeLock(again)
		require.NoError(t, err)
		require.True(t, l.Time.Equal(l2.Time))
		l2.Time = l.Time
		require.Equal(t, l, l2)
	})
}

// FuzzKeyFile: a key file is refused, or has all that opening needs within bounds.
func FuzzKeyFile(f *testing.F) {
	f.Add([]byte(`{"kdf":"scrypt","N":1073741824,"r":8,"p":1,"salt":"AAAA","data":"AAAA"}`))
	f.Add([]byte(`{"created":"0001-01-01T00:00:00Z","kdf":"scrypt","N":16,"r":8,"p":1,"salt":"AAAA","data":"` +
		`AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`))
	f.Add([]byte(`{"kdf":"argon2"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := decodeKeyFile(text)
		if err != nil {
			return
		}
		require.Equal(t, "scrypt", k.KDF)
		require.GreaterOrEqual(t, len(k.Data), crypto.Overhead)
		if int64(k.N)*int64(k.R)*int64(k.P) > 1<<12 { // each try would take long
			return
		}
		user, err := crypto.Derive(crypto.Params{N: k.N, R: k.R, P: k.P}, k.Salt, "pw")
		if err != nil {
			require.ErrorIs(t, err, crypto.ErrParams)
			return
		}
		_, err = user.Open(k.Data)
		require.Error(t, err, "nobody sealed it")
	})
}

// FuzzOpenFile: what is behind the seal of an index, lock or snapshot is decompressed within bounds, or refused.
func FuzzOpenFile(f *testing.F) {
	c, err := newCodec(CompressionFastest, 1)
	require.NoError(f, err)
	f.Add([]byte(`{}`))
	f.Add([]byte{})
	f.Add(c.enc.EncodeAll([]byte(`{"a":1}`), []byte{zstdFile}))
	f.Fuzz(func(t *testing.T, p []byte) {
		text, err := c.openFile(p)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(text), maxUnpacked)
		if p[0] != zstdFile {
			require.Equal(t, p, text)
		}
		again, err := c.openFile(c.enc.EncodeAll(text, []byte{zstdFile}))
		require.NoError(t, err)
		require.Equal(t, string(text), string(again))
	})
}

func TestHostileTrees(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", `a\\x00`, `\\q`} {
		_, err := decodeTree([]byte(`{"nodes":[{"name":"` + name + `","type":"file"}]}`))
		require.Error(t, err, name)
	}
	_, err := decodeTree([]byte(`{"nodes":[{"name":"a","type":"dir"}]}`))
	require.ErrorContains(t, err, "without a tree")
	for _, text := range []string{`{}`, `null`, `{"entries":[]}`} {
		_, err := decodeTree([]byte(text))
		require.ErrorContains(t, err, "no nodes", text)
		require.NotErrorIs(t, err, ErrDamaged)
	}
	_, err = decodeTree([]byte(`{"nodes":[{"name":"a","type":"file"},{"name":"a","type":"file"}]}`))
	require.ErrorContains(t, err, "twice")
}

func TestConfigRefusals(t *testing.T) {
	text := func(version, more string) []byte {
		return []byte(`{"version":` + version + `,"id":` + someID + `,"chunker_polynomial":"25b468838dcb75"` + more + `}`)
	}
	for _, ok := range [][]byte{text("1", ""), text("2", ""), text("2", `,"chunker":"rabin","chunk_size":1048576`)} {
		_, err := decodeConfig(ok)
		require.NoError(t, err)
	}
	for _, bad := range [][]byte{text("0", ""), text("3", ""), text("2", `,"chunker":"fixed_size"`),
		text("2", `,"chunk_max_size":1`), text("2", `,"is_hot":true`), text("2", `,"append_only":"x"`)} {
		_, err := decodeConfig(bad)
		require.Error(t, err, "%s", bad)
	}
}

func TestReadSpecialFiles(t *testing.T) {
	r := testRepo(t, mem.New(), Options{LockSettle: time.Millisecond})
	var root ID
	_, err := r.Write(t.Context(), Header{}, func(_ context.Context, w *Writer) (err error) {
		text, err := encodeTree([]*node{{Name: "fifo", Type: "fifo"}, {Name: "link", Type: "symlink", LinkTarget: "/etc"},
			{Name: "odd", Type: "future"}})
		require.NoError(t, err)
		root, err = w.save(w.ctx, 1, text)
		return err
	})
	require.NoError(t, err)
	fsys, err := r.FS(t.Context(), &Snapshot{Tree: root})
	require.NoError(t, err)
	entries, err := fs.ReadDir(fsys, ".")
	require.NoError(t, err)
	require.Equal(t, []fs.FileMode{fs.ModeNamedPipe, fs.ModeSymlink, fs.ModeIrregular},
		[]fs.FileMode{entries[0].Type(), entries[1].Type(), entries[2].Type()})
	target, err := fs.ReadLink(fsys, "link")
	require.NoError(t, err)
	require.Equal(t, "/etc", target)
	for _, name := range []string{"fifo", "link", "odd"} {
		_, err = fsys.Open(name)
		require.ErrorIs(t, err, fs.ErrInvalid)
	}
	_, err = fsys.Open("link/x")
	require.ErrorIs(t, err, fs.ErrNotExist)
}
