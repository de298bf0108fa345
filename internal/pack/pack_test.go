package pack_test

import (
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/pack"
)

func blobs() []pack.Blob {
	return []pack.Blob{
		{ID: sha256.Sum256([]byte("a")), Type: pack.Data, Length: 100},
		{ID: sha256.Sum256([]byte("b")), Type: pack.Tree, Offset: 100, Length: 32, Plain: 7},
		{ID: sha256.Sum256([]byte("c")), Type: pack.Data, Offset: 132, Length: 50, Plain: 1 << 30},
	}
}

func TestHeader(t *testing.T) {
	h := pack.AppendHeader(nil, blobs())
	require.Len(t, h, 37+41+41)
	require.Equal(t, []byte{0, 100, 0, 0, 0}, h[:5])
	require.Equal(t, []byte{3, 32, 0, 0, 0, 7, 0, 0, 0}, h[37:46])
	got, err := pack.ParseHeader(h, 182)
	require.NoError(t, err)
	require.Equal(t, blobs(), got)
	require.Equal(t, int64(182+len(h)+32+4), pack.Size(got))
	require.Equal(t, uint32(68), got[0].PlainLength())
	require.Equal(t, uint32(7), got[1].PlainLength())

	_, err = pack.ParseHeader(h, 183)
	require.ErrorContains(t, err, "182 bytes")
	_, err = pack.ParseHeader(h[:len(h)-1], 182)
	require.ErrorContains(t, err, "cut off")
	h[0] = 4
	_, err = pack.ParseHeader(h, 182)
	require.ErrorContains(t, err, "unknown type")
}

func TestHeaderLength(t *testing.T) {
	n, err := pack.HeaderLength(pack.AppendLength(nil, 200), 1000)
	require.NoError(t, err)
	require.Equal(t, 200, n)
	for _, bad := range []int{0, 68, 997, pack.MaxHeader + 1} {
		_, err = pack.HeaderLength(pack.AppendLength(nil, bad), 1000)
		require.Error(t, err, bad)
	}
	_, err = pack.HeaderLength([]byte{1}, 1)
	require.Error(t, err)
}

func FuzzParseHeader(f *testing.F) {
	f.Add(pack.AppendHeader(nil, blobs()), int64(182))
	f.Fuzz(func(t *testing.T, h []byte, body int64) {
		got, err := pack.ParseHeader(h, body)
		if err == nil {
			require.Equal(t, string(h), string(pack.AppendHeader(nil, got)))
			require.Equal(t, body+int64(len(h))+36, pack.Size(got))
		}
	})
}
