package repository

import (
	"encoding/json"
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/pack"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

// What rustic notes in the config of a repository counts for us, too.
func TestAppendOnlyRepository(t *testing.T) {
	b := mem.New()
	made := testRepo(t, b, Options{LockSettle: time.Millisecond})
	s := written(t, made, "one")
	require.NoError(t, b.Remove(t.Context(), backend.Handle{Type: backend.Config}))
	text, err := json.Marshal(made.cfg)
	require.NoError(t, err)
	text, err = setFields(text, map[string]any{"append_only": true, "treepack_size": 4 << 20})
	require.NoError(t, err)
	_, err = made.saveFile(t.Context(), backend.Config, text)
	require.NoError(t, err)

	r, err := Open(t.Context(), b, "pw", &Options{LockSettle: time.Millisecond, ScryptN: 16})
	require.NoError(t, err)
	defer r.Close()
	plan, err := r.PlanForgetIDs(t.Context(), s.ID)
	require.NoError(t, err)
	require.ErrorIs(t, r.Forget(t.Context(), plan), fs.ErrPermission)
	_, err = r.ChangePassword(t.Context(), "new", nil)
	require.ErrorIs(t, err, fs.ErrPermission)
	_, err = r.Tag(t.Context(), TagChange{Add: []string{"x"}}, nil)
	require.ErrorIs(t, err, fs.ErrPermission)
	written(t, r, "two")
	require.Empty(t, locks(t, b))
}

// An entry of a type that we do not know may have a tree below it: a copy has that, too.
func TestCopyTakesTreesOfUnknownTypes(t *testing.T) {
	src := testRepo(t, mem.New(), Options{LockSettle: time.Millisecond})
	s := forged(t, src, `{"name":"odd","type":"future","content":["DATA"],"subtree":"SUB"}`)
	dst := testRepo(t, mem.New(), Options{LockSettle: time.Millisecond})
	res, err := src.Copy(t.Context(), dst, s)
	require.NoError(t, err)
	text, err := dst.loadBlob(t.Context(), dst.index.Load(), pack.Tree, res.Copied[0].Tree, nil)
	require.NoError(t, err)
	nodes, err := decodeTree(text)
	require.NoError(t, err)
	text, err = dst.loadBlob(t.Context(), dst.index.Load(), pack.Tree, *nodes[0].Subtree, nil)
	require.NoError(t, err)
	nodes, err = decodeTree(text)
	require.NoError(t, err)
	text, err = dst.loadBlob(t.Context(), dst.index.Load(), pack.Data, nodes[0].Content[0], nil)
	require.NoError(t, err)
	require.Equal(t, "evil", string(text))
}
