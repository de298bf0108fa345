package servers

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
)

// Copy copies every file of a repository but its locks: for programs that cannot be sent to where it is.
func Copy(t testing.TB, dst, src backend.Backend) {
	t.Helper()
	for _, typ := range backend.FileTypes {
		if typ == backend.Lock {
			continue
		}
		for fi, err := range src.List(t.Context(), typ) {
			require.NoError(t, err)
			r, err := src.Load(t.Context(), fi.Handle, 0, -1)
			require.NoError(t, err)
			data, err := io.ReadAll(r)
			require.NoError(t, err)
			require.NoError(t, r.Close())
			require.Len(t, data, int(fi.Size))
			require.NoError(t, dst.Save(t.Context(), fi.Handle, bytes.NewReader(data), fi.Size))
		}
	}
}
