package repository

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/crypto"
	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/internal/pack"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

// A pack that holds data and trees, as old versions of restic wrote, is divided; what is not compressed can be.
func TestPruneMixedAndUncompressedPacks(t *testing.T) {
	b := mem.New()
	r := testRepo(t, b, Options{LockSettle: time.Millisecond})
	data := []byte(strings.Repeat("compressible ", 5000))
	tree, err := encodeTree([]*node{{Name: "f", Type: typeFile, Size: int64(len(data)), Content: []ID{Hash(data)}}})
	require.NoError(t, err)
	o := &openPack{pool: make(pagePool, 1)}
	for typ, text := range [][]byte{data, tree} {
		sealed := append(make([]byte, crypto.IVSize), text...)
		o.add(pack.Blob{ID: Hash(text), Type: pack.Type(typ)}, r.key.Seal(sealed))
	}
	id := o.finish(r.key)
	require.NoError(t, b.Save(t.Context(), packHandle(id), o, o.size))
	_, err = r.saveFile(t.Context(), backend.Index, index.AppendFile(nil, []index.Pack{{ID: id, Blobs: o.blobs}}))
	require.NoError(t, err)
	text, err := json.Marshal(&Snapshot{Time: time.Now(), Tree: Hash(tree), Paths: []string{"/"}})
	require.NoError(t, err)
	_, err = r.saveFile(t.Context(), backend.Snapshot, text)
	require.NoError(t, err)

	check := func() {
		for p, err := range r.Check(t.Context(), &CheckOptions{ReadData: true}) {
			require.NoError(t, err)
			t.Errorf("%v", p)
		}
	}
	check()
	plan, err := r.PlanPrune(t.Context(), &PruneOptions{MaxUnused: UnusedUnlimited()})
	require.NoError(t, err)
	require.Equal(t, int64(1), plan.Repack.Count)
	require.NoError(t, r.Prune(t.Context(), plan))
	check()
	plan, err = r.PlanPrune(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, plan.Empty(), "%v", plan)
	require.Equal(t, int64(2), plan.Keep.Count)
	require.Greater(t, plan.Keep.Bytes, int64(len(data)))

	plan, err = r.PlanPrune(t.Context(), &PruneOptions{RepackUncompressed: true})
	require.NoError(t, err)
	require.Equal(t, int64(2), plan.Repack.Count)
	require.NoError(t, r.Prune(t.Context(), plan))
	check()
	plan, err = r.PlanPrune(t.Context(), nil)
	require.NoError(t, err)
	require.Less(t, plan.Keep.Bytes, int64(len(data)/10))
}
