package repository

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
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

// A snapshot of another program keeps all that it says, also what we do not know, when it gets other tags, when it is copied and when
// it is repaired; so does a tree.
func TestRewritesKeepWhatTheyDoNotKnow(t *testing.T) {
	b := mem.New()
	r := testRepo(t, b, Options{LockSettle: time.Millisecond})
	s := forged(t, r, `{"name":"f","type":"file","mode":420,"size":4,"content":["DATA"],"generic_attributes":{"x":[1.10]}},`+
		`{"name":"lost","type":"file","size":7,"content":["`+ID{9}.String()+`"]}`)
	h := backend.Handle{Type: backend.Snapshot, Name: s.ID.String()}
	text, err := r.loadFile(t.Context(), h)
	require.NoError(t, err)
	parent := ID{3}
	known := map[string]any{
		"parent": parent, "hostname": "h", "username": "u", "uid": 1, "gid": 2, "excludes": []string{"*.tmp"}, "tags": []string{"a"},
		"program_version": "future 7", "summary": map[string]any{"files_new": 5, "more": json.RawMessage("1.10")},
	}
	unknown := map[string]any{"label": "x", "delete": map[string]any{"After": "2030-01-01T00:00:00Z"}, "rewrite": nil}
	for _, more := range []map[string]any{known, unknown} {
		text, err = setFields(text, more)
		require.NoError(t, err)
	}
	require.NoError(t, b.Remove(t.Context(), h))
	first, err := r.saveFile(t.Context(), backend.Snapshot, text)
	require.NoError(t, err)

	fields := func(r *Repo, id ID) (all map[string]json.RawMessage) {
		t.Helper()
		text, err := r.loadFile(t.Context(), backend.Handle{Type: backend.Snapshot, Name: id.String()})
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &all))
		return all
	}
	want := fields(r, first)
	same := func(got map[string]json.RawMessage, but ...string) {
		t.Helper()
		require.Equal(t, `"`+first.String()+`"`, string(got["original"]))
		for name, value := range want {
			if !slices.Contains(but, name) && name != "summary" {
				require.Equal(t, string(value), string(got[name]), name)
			}
		}
		var sum map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(got["summary"], &sum))
		require.Equal(t, []string{"5", "1.10"}, []string{string(sum["files_new"]), string(sum["more"])})
		for name := range got {
			require.True(t, want[name] != nil || name == "original", name)
		}
	}

	changed, err := r.Tag(t.Context(), TagChange{Add: []string{"b"}}, &TagOptions{Filter: Filter{Hostname: "h"}})
	require.NoError(t, err)
	require.Len(t, changed, 1)
	got := fields(r, changed[0].New.ID)
	same(got, "tags")
	require.Equal(t, `["a","b"]`, string(got["tags"]))

	plan, err := r.PlanRepairSnapshots(t.Context())
	require.NoError(t, err)
	require.Len(t, plan.Snapshots, 1)
	made, err := r.RepairSnapshots(t.Context(), plan, &RepairSnapshotsOptions{Forget: true})
	require.NoError(t, err)
	same(fields(r, made[0].ID), "tags", "tree")
	tree, err := r.loadBlob(t.Context(), r.index.Load(), pack.Tree, made[0].Tree, nil)
	require.NoError(t, err)
	require.Contains(t, string(tree), `"generic_attributes":{"x":[1.10]}`)
	require.Contains(t, string(tree), `"lost.repaired"`)

	dst := testRepo(t, mem.New(), Options{LockSettle: time.Millisecond})
	res, err := r.Copy(t.Context(), dst, made...)
	require.NoError(t, err)
	same(fields(dst, res.Copied[0].ID), "tags", "tree", "parent") // which the destination may not have
	there, err := dst.loadBlob(t.Context(), dst.index.Load(), pack.Tree, made[0].Tree, nil)
	require.NoError(t, err)
	require.Equal(t, string(tree), string(there))
}

// writeOnce is a store whose credentials cannot remove anything but locks.
type writeOnce struct{ backend.Backend }

func (w writeOnce) Remove(ctx context.Context, h backend.Handle) error {
	if h.Type != backend.Lock {
		return fmt.Errorf("remove %v: %w", h, fs.ErrPermission)
	}
	return w.Backend.Remove(ctx, h)
}

// What needs no removal works in a store that allows none; what does need it says so and loses nothing.
func TestStoreThatRemovesNothing(t *testing.T) {
	b := mem.New()
	r := testRepo(t, writeOnce{b}, Options{LockSettle: time.Millisecond, PackSize: 4 << 20})
	one, two := written(t, r, "one"), written(t, r, string(noise(9, 5000)))
	require.Empty(t, locks(t, b))
	_, err := r.AddKey(t.Context(), "another", nil)
	require.NoError(t, err)
	dst := testRepo(t, writeOnce{mem.New()}, Options{LockSettle: time.Millisecond})
	_, err = r.Copy(t.Context(), dst, one, two)
	require.NoError(t, err)

	plan, err := r.PlanForgetIDs(t.Context(), one.ID)
	require.NoError(t, err)
	require.ErrorIs(t, r.Forget(t.Context(), plan), fs.ErrPermission)
	_, err = r.ChangePassword(t.Context(), "new", nil)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "the new password works")
	require.NoError(t, b.Remove(t.Context(), backend.Handle{Type: backend.Snapshot, Name: one.ID.String()}))
	work, err := r.PlanPrune(t.Context(), &PruneOptions{MaxUnused: UnusedBytes(0)})
	require.NoError(t, err)
	require.False(t, work.Empty())
	require.ErrorIs(t, r.Prune(t.Context(), work), fs.ErrPermission)
	require.Empty(t, locks(t, b))
	fsys, err := r.FS(t.Context(), two)
	require.NoError(t, err)
	got, err := fs.ReadFile(fsys, "f")
	require.NoError(t, err)
	require.Equal(t, string(noise(9, 5000)), string(got))
	for p, err := range r.Check(t.Context(), &CheckOptions{ReadData: true}) {
		require.NoError(t, err)
		t.Errorf("%v", p)
	}
}
