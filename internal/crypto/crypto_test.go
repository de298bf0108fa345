package crypto_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/crypto"
)

func TestSealOpen(t *testing.T) {
	k := crypto.NewKey()
	for _, n := range []int{0, 1, 15, 16, 17, 1 << 16} {
		text := make([]byte, n)
		for i := range text {
			text[i] = byte(i)
		}
		sealed := k.Seal(append(make([]byte, crypto.IVSize), text...))
		require.Len(t, sealed, n+crypto.Overhead)
		for _, i := range []int{0, crypto.IVSize, len(sealed) - 1} {
			bad := append([]byte(nil), sealed...)
			bad[i] ^= 1
			_, err := k.Open(bad)
			require.ErrorIs(t, err, crypto.ErrUnauthenticated)
		}
		_, err := crypto.NewKey().Open(append([]byte(nil), sealed...))
		require.ErrorIs(t, err, crypto.ErrUnauthenticated)
		same, err := crypto.Decode(k.Encode())
		require.NoError(t, err)
		got, err := same.Open(sealed)
		require.NoError(t, err)
		require.Equal(t, text, append([]byte{}, got...))
	}
	_, err := k.Open(make([]byte, crypto.Overhead-1))
	require.Error(t, err)
}

func TestKeyRedacts(t *testing.T) {
	k := crypto.NewKey()
	j, err := json.Marshal(k)
	require.NoError(t, err)
	const want = "[redacted key]"
	require.Equal(t, want+want+want+`"`+want+`"`, fmt.Sprintf("%v%+v%#v", k, k, k)+string(j))
}

func TestDecodeRefuses(t *testing.T) {
	for _, s := range []string{"", "null", "{}", `{"encrypt":"AAAA"}`, `{"mac":{"k":"AA==","r":"AA=="}}`} {
		_, err := crypto.Decode([]byte(s))
		require.Error(t, err, s)
	}
}

func TestScryptIsBounded(t *testing.T) {
	for _, ok := range []crypto.Params{{32768, 8, 3}, {32768, 8, 16}, {131072, 8, 1}, {16, 8, 1}} {
		require.NoError(t, ok.Valid(), ok)
	}
	for _, bad := range []crypto.Params{{}, {1, 8, 1}, {3, 8, 1}, {-16, 8, 1}, {16, 0, 1}, {16, 8, 0}, {16, -8, -1}, {1 << 20, 8, 1},
		{1 << 62, 1 << 62, 1 << 62}, {16, 1 << 40, 1}, {1 << 15, 8, 1 << 20}, {2, 1, 1 << 60}} {
		require.ErrorIs(t, bad.Valid(), crypto.ErrParams, bad)
		_, err := crypto.Derive(bad, []byte("salt"), "x")
		require.ErrorIs(t, err, crypto.ErrParams)
	}
	_, err := crypto.Derive(crypto.Params{N: 16, R: 8, P: 1}, nil, "x")
	require.ErrorIs(t, err, crypto.ErrParams)
}
