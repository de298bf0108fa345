package crypto_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/crypto"
)

// FuzzOpen: what nobody sealed does not open, whatever it is made of; what is sealed opens to what it was.
func FuzzOpen(f *testing.F) {
	k := crypto.NewKey()
	sealed := k.Seal(append(make([]byte, crypto.IVSize), "text"...))
	f.Add(sealed, 0, byte(0))
	f.Add(sealed, len(sealed)-1, byte(1))
	f.Add([]byte{}, 3, byte(7))
	f.Add(make([]byte, crypto.Overhead), 0, byte(0))
	f.Fuzz(func(t *testing.T, p []byte, at int, flip byte) {
		if _, err := crypto.NewKey().Open(bytes.Clone(p)); err == nil {
			t.Error("opened with a key that is new")
		}
		box := k.Seal(append(make([]byte, crypto.IVSize), p...))
		require.Len(t, box, len(p)+crypto.Overhead)
		if flip != 0 && at >= 0 {
			bad := bytes.Clone(box)
			bad[at%len(bad)] ^= flip
			_, err := k.Open(bad)
			require.ErrorIs(t, err, crypto.ErrUnauthenticated)
		}
		got, err := k.Open(box)
		require.NoError(t, err)
		require.True(t, bytes.Equal(p, got))
	})
}

// FuzzDecodeKey: a master key is read whole or refused, and is written as it was read.
func FuzzDecodeKey(f *testing.F) {
	f.Add(crypto.NewKey().Encode())
	f.Add([]byte(`{"mac":{"k":"AAAAAAAAAAAAAAAAAAAAAA==","r":"AAAAAAAAAAAAAAAAAAAAAA=="},"encrypt":"AAAA"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := crypto.Decode(text)
		if err != nil {
			return
		}
		again, err := crypto.Decode(k.Encode())
		require.NoError(t, err)
		require.Equal(t, k.Encode(), again.Encode())
		box := k.Seal(append(make([]byte, crypto.IVSize), "text"...))
		got, err := again.Open(box)
		require.NoError(t, err)
		require.Equal(t, "text", string(got))
	})
}

// FuzzParams: what a key file says never makes us take more memory or time than is bearable.
func FuzzParams(f *testing.F) {
	f.Add(32768, 8, 3)
	f.Add(1<<62, 1<<62, 1<<62)
	f.Add(-16, -8, -1)
	f.Fuzz(func(t *testing.T, n, r, p int) {
		q := crypto.Params{N: n, R: r, P: p}
		if q.Valid() != nil {
			return
		}
		require.Positive(t, n)
		require.Positive(t, r)
		require.Positive(t, p)
		memory := float64(n) * float64(r) * 128
		require.LessOrEqual(t, memory, float64(512<<20))
		require.LessOrEqual(t, memory/128*float64(p), float64(1<<25))
	})
}
