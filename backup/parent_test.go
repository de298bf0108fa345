package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"path"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// altered makes a later snapshot of one that holds shard 0 of index i: with the same blobs of documents, and with what change makes of the sidecar
// and of the ids of each segment. All small files have other bytes.
func altered(t *testing.T, repo *repository.Repo, s *repository.Snapshot, change func(side *layout.Sidecar, ids [][]byte)) *repository.Snapshot {
	t.Helper()
	files, fsys := repoFiles(t, repo, s), mustFS(t, repo, s)
	side, err := layout.ReadSidecar(fsys, "i", 0)
	require.NoError(t, err)
	var ids [][]byte
	left := files[layout.IDsPath("i", 0)]
	for _, g := range side.Segments {
		ids = append(ids, left[:g.IDsBytes:g.IDsBytes])
		left = left[g.IDsBytes:]
	}
	change(side, ids)
	for i := range ids {
		side.Segments[i].IDsBytes = int64(len(ids[i]))
	}
	files[layout.SidecarPath("i", 0)], err = json.Marshal(side)
	require.NoError(t, err)
	h := repository.Header{Time: s.Time.Add(time.Millisecond), Paths: s.Paths}
	made, err := repo.Write(t.Context(), h, func(ctx context.Context, w *repository.Writer) error {
		for name, b := range files {
			f, err := w.Create(name)
			require.NoError(t, err)
			switch path.Ext(name) {
			case ".ids":
				for _, b := range ids {
					id, err := w.SaveBlob(ctx, b)
					require.NoError(t, err)
					require.NoError(t, f.Append(id))
				}
			case ".ndjson":
				in, err := fsys.Open(name)
				require.NoError(t, err)
				for _, ref := range in.(*repository.File).Blobs() {
					require.NoError(t, f.Append(ref.ID))
				}
				require.NoError(t, in.Close())
			default:
				_, err = f.Write(append(b, ' '))
				require.NoError(t, err)
			}
			require.NoError(t, f.Close())
		}
		return nil
	})
	require.NoError(t, err)
	return made
}

// Whatever the parent says of its segments: where it is not so, they are read again, and the snapshot is whole.
func TestParentThatIsNotWhatItSays(t *testing.T) {
	for name, c := range map[string]struct {
		change func(g *layout.Segment, ids *[]byte)
		whole  bool // is the shard read as a whole?
		why    string
	}{
		"an id is missing": {func(_ *layout.Segment, ids *[]byte) {
			*ids = (*ids)[:bytes.LastIndexByte((*ids)[:len(*ids)-1], '\n')+1]
		},
			false, "their ids in the parent are not what the sidecar says"},
		"ids that are none": {func(_ *layout.Segment, ids *[]byte) { *ids = bytes.ReplaceAll(*ids, []byte("["), []byte("(")) },
			false, "their ids in the parent are not what the sidecar says"},
		"ids of other numbers": {func(_ *layout.Segment, ids *[]byte) { *ids = bytes.Replace(*ids, []byte("[0,"), []byte("[1,"), 1) },
			false, "their ids in the parent are not what the sidecar says"},
		"an id that is none": {func(_ *layout.Segment, ids *[]byte) { *ids = bytes.Replace(*ids, []byte(`"id-5"`), []byte(`5`), 1) },
			false, "their ids in the parent are not what the sidecar says"},
		"a routing that is none": {func(_ *layout.Segment, ids *[]byte) {
			*ids = bytes.Replace(*ids, []byte(`"id-5"`), []byte(`"id-5",5`), 1)
		},
			false, "their ids in the parent are not what the sidecar says"},
		"a line that does not end": {func(_ *layout.Segment, ids *[]byte) {
			*ids = bytes.Replace(*ids, []byte(`"id-5"]`), []byte(`"id-5"`), 1)
		},
			false, "their ids in the parent are not what the sidecar says"},
		"another sum": {func(g *layout.Segment, _ *[]byte) { g.Sum++ },
			false, "their ids in the parent are not what the sidecar says"},
		"a document less": {func(g *layout.Segment, _ *[]byte) { g.Docs-- },
			true, "documents came to sequence numbers [0,"},
		"two documents less": {func(g *layout.Segment, _ *[]byte) { g.Docs -= 2 },
			true, "documents came to sequence numbers [0,"},
		"more bytes": {func(g *layout.Segment, _ *[]byte) { g.Bytes++ },
			true, "segment 0: its blobs in indices/i/shard-0.ndjson differ from its length by 1 bytes"},
		"more blobs": {func(g *layout.Segment, _ *[]byte) { g.IDsBlobs += 99 },
			true, "segment 0 has 100 blobs"},
		"no range": {func(g *layout.Segment, _ *[]byte) { g.To = g.From - 1 },
			true, "segment 0: negative number or empty range"},
	} {
		t.Run(name, func(t *testing.T) {
			es := estest.NewHandler(nil).Transport()
			create(t, es, "i", 1)
			index(t, es, "i", 0, 300, "v")
			repo := repositorytest.New(t)
			first := runSmall(t, es, repo, nil)
			parent := altered(t, repo, first.Snapshot, func(side *layout.Sidecar, ids [][]byte) { c.change(&side.Segments[0], &ids[0]) })
			send(t, es, "DELETE", "/i/_doc/id-5", "")
			res := runSmall(t, es, repo, nil)
			require.Equal(t, parent.ID, res.Parent.ID)
			requireSame(t, es, repo, res, "i")
			require.Equal(t, live(t, es, "i"), load(t, mustFS(t, repo, res.Snapshot)))
			require.Len(t, res.NotReused, 1)
			require.Contains(t, res.NotReused[0].Why, c.why)
			require.Equal(t, c.whole, res.NotReused[0].Segments == 0)
			require.Equal(t, c.whole, res.SegmentsReused == 0)
		})
	}
}

// A parent whose documents are gone from the repository, though all that is said of them is there.
func TestParentWithoutItsDocuments(t *testing.T) {
	for name, changed := range map[string]bool{"nothing changed since": false, "a document was deleted since": true} {
		t.Run(name, func(t *testing.T) {
			es := estest.NewHandler(nil).Transport()
			create(t, es, "i", 1)
			index(t, es, "i", 0, 300, "v")
			b := mem.New()
			repo := repositorytest.Init(t, b)
			first := runSmall(t, es, repo, nil)
			var packs []backend.Handle
			for f, err := range b.List(t.Context(), backend.Pack) {
				require.NoError(t, err)
				packs = append(packs, f.Handle)
			}
			parent := altered(t, repo, first.Snapshot, func(*layout.Sidecar, [][]byte) {})
			for _, h := range packs {
				require.NoError(t, b.Remove(t.Context(), h))
			}
			repo = repositorytest.Reopen(t, b)
			p, err := repo.PlanRepairIndex(t.Context(), nil)
			require.NoError(t, err)
			require.NoError(t, repo.RepairIndex(t.Context(), p))
			repo = repositorytest.Reopen(t, b)
			if changed {
				send(t, es, "DELETE", "/i/_doc/id-5", "")
			}
			res := runSmall(t, es, repo, nil)
			require.Equal(t, parent.ID, res.Parent.ID)
			require.Equal(t, res.Documents, res.DocumentsRead)
			require.Len(t, res.NotReused, 1)
			require.Contains(t, res.NotReused[0].Why, ": in no index: file does not exist")
			requireSame(t, es, repo, res, "i")
		})
	}
}
