package repository_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// Every level but off makes it shorter, and every one reads what the others wrote.
func TestCompressionLevels(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var text bytes.Buffer
	for i := range 8000 {
		fmt.Fprintf(&text, `{"n":%d,"user":"user-%d","message":"request %x took %d ms"}`+"\n", i, r.IntN(500), r.Uint32(), r.IntN(900))
	}
	taken := map[repository.Compression]int64{}
	b := mem.New()
	repositorytest.Init(t, b)
	for i, name := range []string{"off", "fastest", "default", "better", "max"} {
		level, err := repository.ParseCompression(name)
		require.NoError(t, err)
		require.Equal(t, name, level.String())
		o := smallPacks()
		o.Compression = level
		for _, store := range []*mem.Backend{mem.New(), b} {
			open := repository.Open
			if store != b {
				open = repository.Init
			}
			repo, err := open(t.Context(), store, repositorytest.Password, o)
			require.NoError(t, err)
			head := []byte{}
			if store == b {
				head = fmt.Appendf(nil, "%d", i) // other blobs than those of the other levels
			}
			s, err := repo.Write(t.Context(), repository.Header{}, func(_ context.Context, w *repository.Writer) error {
				return create(w, "dir/file", append(head, text.Bytes()...))
			})
			require.NoError(t, err)
			if store != b {
				taken[level] = s.Summary.DataAddedPacked
			}
			require.NoError(t, verify(t.Context(), repo, s.ID.String(), append(head, text.Bytes()...)))
			repositorytest.RequireClean(t, repo)
			require.NoError(t, repo.Close())
		}
	}
	require.Greater(t, taken[repository.CompressionOff], int64(text.Len()))
	for level, n := range taken {
		require.True(t, level == repository.CompressionOff || n < int64(text.Len()/2), "%v: %d", level, n)
	}
	require.Less(t, taken[repository.CompressionMax], taken[repository.CompressionFastest])
	_, err := repository.ParseCompression("best")
	require.ErrorContains(t, err, "want one of fastest")
	auto, err := repository.ParseCompression("auto")
	require.NoError(t, err)
	require.Equal(t, repository.CompressionDefault, auto)
}
