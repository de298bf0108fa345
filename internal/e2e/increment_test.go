package e2e_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/layout"
)

// TestIncrementByLog updates and deletes few documents of many, and backs up after each: what is read is in proportion, and every
// snapshot holds what a scroll showed then, restored and loaded by hand in the order of the lines.
func TestIncrementByLog(t *testing.T) {
	onEach(t, func(t *testing.T, e *es) {
		const index, byHand = "by-log", "by-hand"
		logs(t, e, index, 2, 20_000)
		e.removeLater(t, index, byHand)
		repo := newRepo(t, filepath.Join(t.TempDir(), "repo"))
		o := &backup.Options{Indices: []string{index}, Sections: []string{"none"}}
		_, err := backup.Run(t.Context(), e.transport(t), repo, o)
		require.NoError(t, err)
		var last *backup.Result
		var want contents
		r := rand.New(rand.NewPCG(3, 4))
		for n := range 4 {
			l := e.loader(t)
			for k := range 100 {
				id := fmt.Sprint(n*1000 + k*7)
				if k%3 == 0 {
					l.delete(index, id, "")
				} else {
					l.index(index, id, "", logLine(r, k))
				}
			}
			l.flush()
			want = contents{}
			e.read(t, want, false, index)
			o.VerifyEvery = n % 2 // the second and the last are compared with the server
			last, err = backup.Run(t.Context(), e.transport(t), repo, o)
			require.NoError(t, err)
			require.EqualValues(t, len(want), last.Documents)
			require.Positive(t, last.SegmentsChanged)
			if !last.Verified {
				require.Less(t, last.DocumentsRead, last.Documents/4)
			}
			require.True(t, verify(t, e, files(t, repo, last.Snapshot), nil).Identical())
		}
		src := files(t, repo, last.Snapshot)
		e.remove(t, index)
		runRestore(t, e, src, nil)
		got := contents{}
		e.read(t, got, false, index)
		same(t, want, got)

		e.create(t, byHand, `{"settings":{"number_of_shards":2,"number_of_replicas":0},"mappings":{"dynamic":false}}`)
		for shard := range 2 {
			b, err := fs.ReadFile(src, layout.DocumentsPath(index, shard))
			require.NoError(t, err)
			lines := bytes.SplitAfter(b, []byte{'\n'})
			for part := range slices.Chunk(lines[:len(lines)-1], 5000) {
				answer := e.do(t, "POST", "/"+byHand+"/_bulk?pipeline=_none&filter_path=items.*.error", string(bytes.Join(part, nil)))
				require.NotContains(t, string(answer), `"error"`, "%.2000s", answer)
			}
		}
		got = contents{}
		e.read(t, got, false, byHand)
		same(t, want, got.renamed(func(string) string { return index }))
	})
}
