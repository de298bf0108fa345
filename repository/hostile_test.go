package repository

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/pack"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

// forged stores a snapshot with a root tree that says what nodes says. In it, DATA is a data blob with the text "evil", and
// SUB a tree with one file "f" of it.
func forged(t *testing.T, r *Repo, nodes string) *Snapshot {
	t.Helper()
	var root ID
	_, err := r.Write(t.Context(), Header{}, func(ctx context.Context, w *Writer) error {
		data, err := w.save(ctx, pack.Data, []byte("evil"))
		require.NoError(t, err)
		fill := func(s string) []byte { return []byte(strings.ReplaceAll(`{"nodes":[`+s+"]}\n", "DATA", data.String())) }
		sub, err := w.save(ctx, pack.Tree, fill(`{"name":"f","type":"file","mode":420,"size":4,"content":["DATA"]}`))
		require.NoError(t, err)
		root, err = w.save(ctx, pack.Tree, []byte(strings.ReplaceAll(string(fill(nodes)), "SUB", sub.String())))
		return err
	})
	require.NoError(t, err)
	text, err := json.Marshal(Snapshot{Time: time.Now(), Tree: root, Paths: []string{"/"}})
	require.NoError(t, err)
	id, err := r.saveFile(t.Context(), backend.Snapshot, text)
	require.NoError(t, err)
	s, err := r.Snapshot(t.Context(), id.String())
	require.NoError(t, err)
	return s
}

// Nothing outside of the directory changes, whatever the tree says and whatever is in the directory.
func TestRestoreStaysInside(t *testing.T) {
	file := func(name string) string {
		return fmt.Sprintf(`{"name":"%s","type":"file","mode":420,"size":4,"content":["DATA"]}`, name)
	}
	link := func(name, target string) string {
		return fmt.Sprintf(`{"name":"%s","type":"symlink","mode":134218239,"linktarget":"%s","content":null}`, name, target)
	}
	dir := func(name string) string {
		return fmt.Sprintf(`{"name":"%s","type":"dir","mode":2147484141,"content":null,"subtree":"SUB"}`, name)
	}
	hard := func(name string) string {
		return fmt.Sprintf(`{"name":"%s","type":"file","mode":420,"inode":7,"device_id":1,"links":3,"size":4,"content":["DATA"]}`, name)
	}
	for name, c := range map[string]struct {
		nodes  string
		before func(t *testing.T, dir string)
		fails  bool
	}{
		"parent":           {nodes: file(".."), fails: true},
		"parent dir":       {nodes: dir(".."), fails: true},
		"self":             {nodes: dir("."), fails: true},
		"up and down":      {nodes: file("../outside/victim"), fails: true},
		"absolute":         {nodes: file("/OUTSIDE/victim"), fails: true},
		"escaped slash":    {nodes: file(`..\\x2foutside\\x2fvictim`), fails: true},
		"zero byte":        {nodes: file(`a\\x00b`), fails: true},
		"empty name":       {nodes: file(""), fails: true},
		"twice":            {nodes: link("a", "../outside") + "," + dir("a"), fails: true},
		"twice, quoted":    {nodes: link("a", "../outside") + "," + dir(`\\x61`), fails: true},
		"dir through link": {nodes: dir("a"), fails: true, before: func(t *testing.T, dir string) { require.NoError(t, os.Symlink("../outside", filepath.Join(dir, "a"))) }},
		"file through link": {nodes: file("a"), fails: true, before: func(t *testing.T, dir string) {
			require.NoError(t, os.Symlink("../outside/victim", filepath.Join(dir, "a")))
		}},
		"hard link over link": {nodes: hard("a") + "," + hard("b"), fails: true, before: func(t *testing.T, dir string) {
			require.NoError(t, os.Symlink("../outside/victim", filepath.Join(dir, "a")))
		}},
		"links are only links": {nodes: link("a", "../outside") + "," + link("b", "/OUTSIDE/victim") + "," + hard("c") + "," + hard("d")},
	} {
		t.Run(name, func(t *testing.T) {
			r := testRepo(t, mem.New(), Options{LockSettle: time.Millisecond})
			base := t.TempDir()
			outside, inside := filepath.Join(base, "outside"), filepath.Join(base, "inside")
			require.NoError(t, os.Mkdir(outside, 0o755))
			require.NoError(t, os.Mkdir(inside, 0o755))
			victim := filepath.Join(outside, "victim")
			require.NoError(t, os.WriteFile(victim, []byte("good"), 0o600))
			if c.before != nil {
				c.before(t, inside)
			}
			s := forged(t, r, strings.ReplaceAll(c.nodes, "/OUTSIDE", outside))
			for _, o := range []*RestoreOptions{nil, {Overwrite: true}, {Overwrite: true, Verify: true, Sparse: true}} {
				_, err := r.RestoreDir(t.Context(), s, inside, o)
				if c.fails && (o == nil || c.before == nil) {
					require.Error(t, err)
				} else if c.before != nil {
					require.NoError(t, err)
				}
				got, err := os.ReadFile(victim)
				require.NoError(t, err)
				require.Equal(t, "good", string(got))
				fi, err := os.Stat(victim)
				require.NoError(t, err)
				require.Equal(t, fs.FileMode(0o600), fi.Mode())
				for dir, want := range map[string]int{outside: 1, base: 2} {
					entries, err := os.ReadDir(dir)
					require.NoError(t, err)
					require.Len(t, entries, want)
				}
			}
		})
	}
}

// Files that a tree calls the same but that are not are restored as what they are.
func TestFalseHardLinks(t *testing.T) {
	r := testRepo(t, mem.New(), Options{LockSettle: time.Millisecond})
	s := forged(t, r, `{"name":"a","type":"file","inode":7,"links":2,"mode":420,"size":4,"content":["DATA"]},`+
		`{"name":"b","type":"file","inode":7,"links":2,"mode":420,"content":[]}`)
	dir := t.TempDir()
	_, err := r.RestoreDir(t.Context(), s, dir, nil)
	require.NoError(t, err)
	for name, want := range map[string]string{"a": "evil", "b": ""} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
}

// A file that cannot be restored is not there, in whole or in part; OnError is told of it once, and the rest comes back.
func TestRestoreGoesOn(t *testing.T) {
	r := testRepo(t, mem.New(), Options{LockSettle: time.Millisecond})
	missing := Hash([]byte("missing")).String()
	s := forged(t, r, `{"name":"a","type":"file","mode":420,"size":11,"content":["DATA","`+missing+`"]},`+
		`{"name":"b","type":"dir","mode":2147484141,"content":null,"subtree":"`+missing+`"},`+
		`{"name":"c","type":"mystery","mode":420,"content":null},`+
		`{"name":"d","type":"dir","mode":2147484141,"content":null,"subtree":"SUB"}`)
	dir := t.TempDir()
	_, err := r.RestoreDir(t.Context(), s, dir, nil)
	require.Error(t, err)
	var mu sync.Mutex
	told := map[string]int{}
	dir = t.TempDir()
	res, err := r.RestoreDir(t.Context(), s, dir, &RestoreOptions{OnError: func(name string, err error) error {
		require.Error(t, err)
		mu.Lock()
		defer mu.Unlock()
		told[name]++
		return nil
	}})
	require.NoError(t, err)
	require.Equal(t, map[string]int{"a": 1, "b": 1, "c": 1}, told)
	require.Equal(t, RestoreResult{Files: 1, Dirs: 2, Bytes: 4, Failures: 3}, *res)
	got, err := os.ReadFile(filepath.Join(dir, "d/f"))
	require.NoError(t, err)
	require.Equal(t, "evil", string(got))
	_, err = os.Lstat(filepath.Join(dir, "a"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}
