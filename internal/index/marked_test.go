package index_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/internal/pack"
)

// rustic's prune marks a pack, with its blobs and the time, instead of removing it.
func TestMarkedPacks(t *testing.T) {
	live, marked := strings.Repeat("01", 32), strings.Repeat("02", 32)
	blob := `{"id":"` + strings.Repeat("03", 32) + `","type":"data","offset":0,"length":100}`
	text := `{"packs":[{"id":"` + live + `","blobs":[` + blob + `]}],"packs_to_delete":[{"id":"` + marked + `","blobs":[` + blob +
		`],"time":"2024-01-01T00:00:00.000000001+01:00","size":173}]}`
	packs, err := index.DecodeFile([]byte(text))
	require.NoError(t, err)
	require.Len(t, packs, 2)
	require.Len(t, packs[0].Blobs, 1)
	require.Equal(t, byte(2), packs[1].ID[0])
	require.Empty(t, packs[1].Blobs)

	var ix index.Index
	ix.Add(packs)
	var places []byte
	for loc := range ix.Lookup(pack.Data, packs[0].Blobs[0].ID) {
		places = append(places, loc.Pack[0])
	}
	require.Equal(t, []byte{1}, places) // nothing new relies on the other
	var named []byte
	for id := range ix.Packs() {
		named = append(named, id[0])
	}
	require.Equal(t, []byte{1, 2}, named)

	_, err = index.DecodeFile([]byte(`{"packs":[],"packs_to_delete":[{"blobs":[]}]}`))
	require.ErrorContains(t, err, "no id")
}
