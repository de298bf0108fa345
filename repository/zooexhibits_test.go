package repository

import (
	"context"
	"encoding/json"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/internal/pack"
	"github.com/escrow-backup/escrow/repository/backend"
)

// exhibit is a broken repository, and what everything that is tried with it says of it.
type exhibit struct {
	name   string
	damage func(*zoo)
	want   []string // by step, what did not end well
}

// allFiles is what can be read of a whole repository.
const allFiles = "new dir/sub/small, new other, old data, old dir/sub/small"

func exhibits() []exhibit {
	type pick = func(*zoo) backend.Handle
	change := func(p pick, change func([]byte) []byte) func(*zoo) { return func(z *zoo) { z.change(p(z), change) } }
	gone := func(p pick) func(*zoo) { return func(z *zoo) { z.remove(p(z)) } }
	data := func(z *zoo) backend.Handle { return z.data }
	tree := func(z *zoo) backend.Handle { return z.tree }
	ix := func(z *zoo) backend.Handle { return z.index }
	snap := func(z *zoo) backend.Handle { return z.snapshot }
	key := func(z *zoo) backend.Handle { return z.key }
	config := func(z *zoo) backend.Handle { return z.config }
	lock := func(z *zoo) backend.Handle { z.leaveLock(); return z.lock }
	foreign := func(typ backend.FileType, p string) func(*zoo) { return func(z *zoo) { z.add(typ, []byte(p)) } }
	// Of another repository, so sealed with another key.
	strange := func(typ backend.FileType) func(*zoo) {
		return func(z *zoo) {
			other := newZoo(z.t)
			if typ == backend.Lock {
				other.leaveLock()
			}
			z.add(typ, other.read(other.all(typ)[0]))
		}
	}
	edit := func(do func(*index.Pack)) func(*zoo) {
		return func(z *zoo) {
			z.forge(func(packs []index.Pack) []index.Pack {
				for i := range packs {
					if len(packs[i].Blobs) == 2 { // that of the data
						do(&packs[i])
					}
				}
				return packs
			})
		}
	}
	// Says something wrong with a valid seal, as a faulty program would.
	lie := func(make func(w *Writer) []byte) func(*zoo) {
		return func(z *zoo) {
			var root ID
			_, err := z.r.Write(z.t.Context(), Header{Hostname: "liar"}, func(ctx context.Context, w *Writer) (err error) {
				root, err = w.save(ctx, pack.Tree, make(w))
				return err
			})
			require.NoError(z.t, err)
			for _, h := range z.all(backend.Snapshot) {
				if z.labels[h] == "" {
					z.remove(h)
				}
			}
			text, err := json.Marshal(Snapshot{Time: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), Tree: root, Hostname: "liar"})
			require.NoError(z.t, err)
			_, err = z.r.saveFile(z.t.Context(), backend.Snapshot, text)
			require.NoError(z.t, err)
			z.label("liar's")
		}
	}
	return []exhibit{
		{"data pack missing", gone(data), []string{
			"read: new other",
			"check: pack missing: data pack",
			"plan prune: missing",
			"read at last: new dir/sub/small.repaired, new other, old data.repaired, old dir/sub/small.repaired",
		}},
		{"data pack cut by a byte", change(data, cutOne), []string{
			"check: pack damaged: data pack, pack has the wrong size: data pack",
			"plan prune: missing",
		}},
		{"data pack cut by half", change(data, cutHalf), []string{
			"read: new other",
			"check: blob damaged: data pack blob, pack damaged: data pack, pack has the wrong size: data pack",
			"plan prune: missing",
			"read at last: new dir/sub/small.repaired, new other, old data.repaired, old dir/sub/small.repaired",
		}},
		{"data pack empty", change(data, empty), []string{
			"read: new other",
			"check: blob damaged: data pack blob, pack damaged: data pack, pack has the wrong size: data pack",
			"plan prune: missing",
			"read at last: new dir/sub/small.repaired, new other, old data.repaired, old dir/sub/small.repaired",
		}},
		{"data pack longer", change(data, longer), []string{
			"check: pack damaged: data pack, pack has the wrong size: data pack",
			"plan prune: missing",
		}},
		{"data pack, first byte", change(data, flipFirst), []string{
			"read: new dir/sub/small, new other, old dir/sub/small",
			"check: blob damaged: data pack blob, pack damaged: data pack",
			"read at last: new dir/sub/small, new other, old dir/sub/small",
			"check at last: blob damaged: data pack blob, pack damaged: data pack",
			"read after reading all: new dir/sub/small, new other, old data.repaired, old dir/sub/small",
		}},
		{"data pack, blob", change(data, flipBlob), []string{
			"read: new dir/sub/small, new other, old dir/sub/small",
			"check: blob damaged: data pack blob, pack damaged: data pack",
			"read at last: new dir/sub/small, new other, old dir/sub/small",
			"check at last: blob damaged: data pack blob, pack damaged: data pack",
			"read after reading all: new dir/sub/small, new other, old data.repaired, old dir/sub/small",
		}},
		{"data pack, MAC of a blob", change(data, flipTag), []string{
			"read: new other, old data",
			"check: blob damaged: data pack blob, pack damaged: data pack",
			"read at last: new other, old data",
			"check at last: blob damaged: data pack blob, pack damaged: data pack",
			"read after reading all: new dir/sub/small.repaired, new other, old data, old dir/sub/small.repaired",
		}},
		{"data pack, IV of the header", change(data, flipIV), []string{
			"check: pack damaged: data pack",
			"check at last: pack damaged: data pack",
		}},
		{"data pack, header", change(data, flipHead), []string{
			"check: pack damaged: data pack",
			"check at last: pack damaged: data pack",
		}},
		{"data pack, length", change(data, flipSize), []string{
			"check: pack damaged: data pack",
			"check at last: pack damaged: data pack",
		}},
		{"data pack, length too large", change(data, flipLast), []string{
			"check: pack damaged: data pack",
			"check at last: pack damaged: data pack",
		}},
		{"tree pack missing", gone(tree), []string{
			"read: new dir/sub/small, new other",
			"check: pack missing: tree pack, tree damaged: blob /",
			"plan prune: missing",
			"read at last: new dir/sub/small, new other",
		}},
		{"tree pack cut by a byte", change(tree, cutOne), []string{
			"check: pack damaged: tree pack, pack has the wrong size: tree pack",
			"plan prune: missing",
		}},
		{"tree pack cut by half", change(tree, cutHalf), []string{
			"read: new dir/sub/small, new other",
			"check: blob damaged: tree pack blob, pack damaged: tree pack, pack has the wrong size: tree pack, tree damaged: blob /",
			"plan prune: missing",
			"read at last: new dir/sub/small, new other",
		}},
		{"tree pack empty", change(tree, empty), []string{
			"read: new dir/sub/small, new other",
			"check: blob damaged: tree pack blob, pack damaged: tree pack, pack has the wrong size: tree pack, tree damaged: blob /",
			"plan prune: missing",
			"read at last: new dir/sub/small, new other",
		}},
		{"tree pack, blob", change(tree, flipBlob), []string{
			"read: new dir/sub/small, new other, old data",
			"check: blob damaged: tree pack blob, pack damaged: tree pack, tree damaged: blob /dir/sub",
			"plan prune: damaged",
			"read at last: new dir/sub/small, new other, old data",
		}},
		{"tree pack, MAC of a blob", change(tree, flipTag), []string{
			"read: new dir/sub/small, new other",
			"check: blob damaged: tree pack blob, pack damaged: tree pack, tree damaged: blob /",
			"plan prune: damaged",
			"read at last: new dir/sub/small, new other",
		}},
		{"tree pack, header", change(tree, flipHead), []string{
			"check: pack damaged: tree pack",
			"check at last: pack damaged: tree pack",
		}},
		{"tree pack, length", change(tree, flipSize), []string{
			"check: pack damaged: tree pack",
			"check at last: pack damaged: tree pack",
		}},
		{"foreign pack", foreign(backend.Pack, "foreign"), []string{
			"check: pack damaged: foreign pack, pack in no index: foreign pack",
		}},
		{"empty foreign pack", foreign(backend.Pack, ""), []string{
			"check: pack damaged: foreign pack, pack in no index: foreign pack",
		}},
		{"pack of another repository", strange(backend.Pack), []string{
			"check: pack damaged: foreign pack, pack in no index: foreign pack",
		}},

		{"index missing", gone(ix), []string{
			"read: new other",
			"check: blob missing: blob /, blob missing: blob /dir/sub/small, pack in no index: data pack, pack in no index: tree pack",
			"plan prune: missing",
		}},
		{"index cut", change(ix, cutOne), []string{
			"read: ",
			"check: blob missing: blob /, blob missing: blob /dir/sub/small, index damaged: old index, pack in no index: data pack, pack in no index: tree pack",
			"plan prune: damaged",
			"write: damaged",
		}},
		{"index empty", change(ix, empty), []string{
			"read: ",
			"check: blob missing: blob /, blob missing: blob /dir/sub/small, index damaged: old index, pack in no index: data pack, pack in no index: tree pack",
			"plan prune: damaged",
			"write: damaged",
		}},
		{"index, first byte", change(ix, flipFirst), []string{
			"read: ",
			"check: blob missing: blob /, blob missing: blob /dir/sub/small, index damaged: old index, pack in no index: data pack, pack in no index: tree pack",
			"plan prune: damaged",
			"write: damaged",
		}},
		{"index, middle", change(ix, flipHalf), []string{
			"read: ",
			"check: blob missing: blob /, blob missing: blob /dir/sub/small, index damaged: old index, pack in no index: data pack, pack in no index: tree pack",
			"plan prune: damaged",
			"write: damaged",
		}},
		{"index, last byte", change(ix, flipLast), []string{
			"read: ",
			"check: blob missing: blob /, blob missing: blob /dir/sub/small, index damaged: old index, pack in no index: data pack, pack in no index: tree pack",
			"plan prune: damaged",
			"write: damaged",
		}},
		{"foreign index", foreign(backend.Index, "foreign"), []string{
			"read: ",
			"check: index damaged: foreign index",
			"plan prune: damaged",
			"write: damaged",
		}},
		{"index of another repository", strange(backend.Index), []string{
			"read: ",
			"check: index damaged: foreign index",
			"plan prune: damaged",
			"write: damaged",
		}},
		{"index names a pack that never was", func(z *zoo) {
			z.forge(func(packs []index.Pack) []index.Pack {
				return append(packs, index.Pack{ID: ID{7}, Blobs: []pack.Blob{{ID: ID{8}, Length: 100}}})
			})
		}, []string{
			"check: pack missing: another pack",
		}},
		{"index with a gap", edit(func(p *index.Pack) { p.Blobs[1].Offset += 5; p.Blobs[1].Length -= 5 }), []string{
			"read: new other, old data",
			"check: blob damaged: data pack blob, file has the wrong size: /dir/sub/small, index wrong: data pack",
			"plan prune: missing",
		}},
		{"index with a blob past the end", edit(func(p *index.Pack) { p.Blobs[1].Length += 1 << 20 }), []string{
			"read: new other, old data",
			"check: blob damaged: data pack blob, file has the wrong size: /dir/sub/small, index wrong: data pack, pack has the wrong size: data pack",
			"plan prune: missing",
		}},
		{"index lacks a blob", edit(func(p *index.Pack) { p.Blobs = p.Blobs[:1] }), []string{
			"read: new other, old data",
			"check: blob missing: blob /dir/sub/small, index wrong: data pack, pack has the wrong size: data pack",
			"plan prune: missing",
		}},
		{"index with swapped blobs", edit(func(p *index.Pack) { p.Blobs[0].ID, p.Blobs[1].ID = p.Blobs[1].ID, p.Blobs[0].ID }), []string{
			"read: new other",
			"check: blob damaged: data pack blob, file has the wrong size: /data, file has the wrong size: /dir/sub/small, index wrong: data pack",
		}},

		{"snapshot cut", change(snap, cutOne), []string{
			"snapshots: damaged",
			"snapshots listed: 0",
			"read: new dir/sub/small, new other",
			"check: snapshot damaged: old snapshot",
			"forget: damaged",
			"plan prune: damaged",
			"forgotten: old snapshot",
			"read at last: new dir/sub/small, new other",
		}},
		{"snapshot empty", change(snap, empty), []string{
			"snapshots: damaged",
			"snapshots listed: 0",
			"read: new dir/sub/small, new other",
			"check: snapshot damaged: old snapshot",
			"forget: damaged",
			"plan prune: damaged",
			"forgotten: old snapshot",
			"read at last: new dir/sub/small, new other",
		}},
		{"snapshot, first byte", change(snap, flipFirst), []string{
			"snapshots: damaged",
			"snapshots listed: 0",
			"read: new dir/sub/small, new other",
			"check: snapshot damaged: old snapshot",
			"forget: damaged",
			"plan prune: damaged",
			"forgotten: old snapshot",
			"read at last: new dir/sub/small, new other",
		}},
		{"snapshot, middle", change(snap, flipHalf), []string{
			"snapshots: damaged",
			"snapshots listed: 0",
			"read: new dir/sub/small, new other",
			"check: snapshot damaged: old snapshot",
			"forget: damaged",
			"plan prune: damaged",
			"forgotten: old snapshot",
			"read at last: new dir/sub/small, new other",
		}},
		{"snapshot, last byte", change(snap, flipLast), []string{
			"snapshots: damaged",
			"snapshots listed: 0",
			"read: new dir/sub/small, new other",
			"check: snapshot damaged: old snapshot",
			"forget: damaged",
			"plan prune: damaged",
			"forgotten: old snapshot",
			"read at last: new dir/sub/small, new other",
		}},
		{"foreign snapshot", foreign(backend.Snapshot, "foreign"), []string{
			"snapshots: damaged",
			"snapshots listed: 0",
			"check: snapshot damaged: foreign snapshot",
			"forget: damaged",
			"plan prune: damaged",
			"forgotten: foreign snapshot",
		}},
		{"snapshot of another repository", strange(backend.Snapshot), []string{
			"snapshots: damaged",
			"snapshots listed: 0",
			"check: snapshot damaged: foreign snapshot",
			"forget: damaged",
			"plan prune: damaged",
			"forgotten: foreign snapshot",
		}},
		{"snapshot with a missing tree", func(z *zoo) {
			z.forge(func(packs []index.Pack) []index.Pack {
				for i := range packs {
					if ID(packs[i].ID).String() == z.tree.Name {
						packs = append(packs[:i:i], packs[i+1:]...)
						break
					}
				}
				return packs
			})
			z.remove(z.tree)
		}, []string{
			"read: new dir/sub/small, new other",
			"check: blob missing: blob /",
			"plan prune: missing",
			"read at last: new dir/sub/small, new other",
		}},
		{"tree that is none", lie(func(*Writer) []byte { return []byte(`{"nodes":7}`) }), []string{
			"snapshots listed: 3",
			"check: tree damaged: blob /",
			"plan prune: damaged",
		}},
		{"tree with names that lead out", lie(func(*Writer) []byte { return []byte(`{"nodes":[{"name":"..","type":"file"}]}`) }), []string{
			"snapshots listed: 3",
			"check: tree damaged: blob /",
		}},
		{"file with the wrong size", lie(func(w *Writer) []byte {
			id, err := w.save(w.ctx, pack.Data, []byte("evil"))
			if err != nil {
				panic(err)
			}
			return []byte(`{"nodes":[{"name":"f","type":"file","size":5,"content":["` + id.String() + `"]}]}`)
		}), []string{
			"snapshots listed: 3",
			"check: file has the wrong size: /f",
			"read at last: liar f.repaired, " + allFiles,
		}},
		{"file of a blob that is not there", lie(func(*Writer) []byte {
			return []byte(`{"nodes":[{"name":"f","type":"file","size":5,"content":["` + ID{9}.String() + `"]}]}`)
		}), []string{
			"snapshots listed: 3",
			"check: blob missing: blob /f",
			"plan prune: missing",
			"read at last: liar f.repaired, " + allFiles,
		}},
		{"entry of an unknown type", lie(func(*Writer) []byte { return []byte(`{"nodes":[{"name":"f","type":"future","content":null}]}`) }), []string{
			"snapshots listed: 3",
			"check: tree damaged: blob /f",
			"check at last: tree damaged: blob /f",
			"check after reading all: tree damaged: blob /f",
		}},

		{"key missing", gone(key), []string{
			"open: damaged",
		}},
		{"key cut", change(key, cutOne), []string{
			"open: damaged",
		}},
		{"key empty", change(key, empty), []string{
			"open: damaged",
		}},
		{"key, middle", change(key, flipHalf), []string{
			"open: damaged",
		}},
		{"key foreign", func(z *zoo) { z.remove(z.key); z.add(backend.Key, []byte("foreign")) }, []string{
			"open: damaged",
		}},
		{"key with another password", func(z *zoo) {
			z.remove(z.key)
			_, err := addKey(z.t.Context(), z.b, z.r.key, "other", z.r.opt.scrypt(), keyFile{})
			require.NoError(z.t, err)
		}, []string{
			"open: wrong password",
		}},
		{"key of another repository", func(z *zoo) { strange(backend.Key)(z); z.remove(z.key) }, []string{
			"open: damaged",
		}},
		{"one more key, foreign", foreign(backend.Key, "foreign"), []string{
			"check: key damaged: foreign key",
			"check at last: key damaged: foreign key",
			"check after reading all: key damaged: foreign key",
		}},
		{"one more key, empty", foreign(backend.Key, ""), []string{
			"check: key damaged: foreign key",
			"check at last: key damaged: foreign key",
			"check after reading all: key damaged: foreign key",
		}},
		{"one more key, of another repository", strange(backend.Key), nil},
		{"config missing", gone(config), []string{
			"open: not there",
		}},
		{"config cut", change(config, cutOne), []string{
			"open: damaged",
		}},
		{"config empty", change(config, empty), []string{
			"open: damaged",
		}},
		{"config, middle", change(config, flipHalf), []string{
			"open: damaged",
		}},
		{"config, last byte", change(config, flipLast), []string{
			"open: damaged",
		}},
		{"config of another repository", func(z *zoo) {
			other := newZoo(z.t)
			z.change(z.config, func([]byte) []byte { return other.read(other.config) })
		}, []string{
			"open: damaged",
		}},

		{"lock of somebody at work", func(z *zoo) { z.leaveLock() }, []string{
			"check: locked",
			"plan prune: locked",
			"write: locked",
		}},
		{"lock cut", change(lock, cutOne), []string{
			"check: damaged",
			"plan prune: damaged",
			"write: damaged",
		}},
		{"lock empty", change(lock, empty), nil},
		{"lock, middle", change(lock, flipHalf), []string{
			"check: damaged",
			"plan prune: damaged",
			"write: damaged",
		}},
		{"foreign lock", foreign(backend.Lock, "foreign"), []string{
			"check: damaged",
			"plan prune: damaged",
			"write: damaged",
		}},
		{"lock of another repository", strange(backend.Lock), []string{
			"check: damaged",
			"plan prune: damaged",
			"write: damaged",
		}},
	}
}
