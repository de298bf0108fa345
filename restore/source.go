package restore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"sync/atomic"

	"github.com/zeebo/xxh3"

	"github.com/escrow-backup/escrow/layout"
)

// ErrDamaged says that a file of a backup is not what the manifest says.
var ErrDamaged = errors.New("the backup is damaged")

// rawDocuments reads a shard's file as it stands, delete lines included, under the index name given. A document's source is good until the
// next one.
func rawDocuments(src fs.FS, from string, shard int, to string) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		path := layout.DocumentsPath(from, shard)
		f, err := src.Open(path)
		if err != nil {
			yield(Document{}, fmt.Errorf("%s: %w", path, err))
			return
		}
		defer f.Close()
		for d, err := range layout.EachDocument(f, to) {
			if err != nil {
				yield(Document{}, fmt.Errorf("%s: %w", path, err))
				return
			}
			if !yield(d, nil) {
				return
			}
		}
	}
}

// shardDocuments yields a shard's live documents without those that are not to be kept, and fails at the end unless the live documents,
// kept or not, are those of the manifest. kept, if not nil, is then raised by the number of live ones that are. Where the file is a log
// and its sidecar is not there, it yields everything in order, delete lines included, to the same effect.
func shardDocuments(ctx context.Context, src fs.FS, from string, sh *layout.Shard, to string, want keep, kept *atomic.Int64) iter.Seq2[Document, error] {
	log, err := readLog(src, from, sh)
	if err != nil {
		return func(yield func(Document, error) bool) { yield(Document{}, err) }
	}
	if log != nil {
		return log.documents(ctx, src, from, sh, to, want, kept)
	}
	return func(yield func(Document, error) bool) {
		var sum layout.Digest
		var docs, chosen, ordinal int64
		var lines []byte
		var dead map[xxh3.Uint128]int64 // of a deleted id, the ordinal of its last delete line
		for d, err := range rawDocuments(src, from, sh.Number, to) {
			use := true
			if err == nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			if err == nil && d.Deleted {
				if dead == nil {
					dead = map[xxh3.Uint128]int64{}
				}
				dead[docKey(&d)] = ordinal
			} else if err == nil {
				lines, err = sum.AddWith(&d, lines)
				docs++
				if use, err = want.of(d, err); use {
					chosen++
				}
			}
			if err != nil {
				yield(Document{}, err)
				return
			}
			ordinal++
			if use && !yield(d, nil) {
				return
			}
		}
		if dead != nil {
			var err error
			if docs, chosen, sum, err = liveDigest(ctx, src, from, sh.Number, dead, want); err != nil {
				yield(Document{}, err)
				return
			}
		}
		if err := checkShard(from, sh, docs, sum); err != nil {
			yield(Document{}, err)
		} else if kept != nil {
			kept.Add(chosen)
		}
	}
}

// of asks the condition, if there is one and no error yet.
func (k keep) of(d Document, err error) (bool, error) {
	if k == nil || err != nil {
		return err == nil, err
	}
	asked := d // on the heap only where there is somebody to ask
	asked.Source = bytes.Clone(d.Source)
	return k(&asked)
}

// liveDigest counts the documents that no later delete line removes, and those of them that are kept.
func liveDigest(ctx context.Context, src fs.FS, index string, shard int, dead map[xxh3.Uint128]int64, want keep) (docs, kept int64, sum layout.Digest, err error) {
	var lines []byte
	var ordinal int64
	for d, err := range rawDocuments(src, index, shard, index) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return 0, 0, sum, err
		}
		last, removed := dead[docKey(&d)]
		if !d.Deleted && (!removed || last < ordinal) {
			if lines, err = sum.AddWith(&d, lines); err != nil {
				return 0, 0, sum, err
			}
			docs++
			use, err := want.of(d, nil)
			if err != nil {
				return 0, 0, sum, err
			}
			if use {
				kept++
			}
		}
		ordinal++
	}
	return docs, kept, sum, nil
}

func checkShard(index string, sh *layout.Shard, docs int64, sum layout.Digest) error {
	path := layout.DocumentsPath(index, sh.Number)
	if docs != sh.Docs {
		return fmt.Errorf("%s: %w: it holds %d documents, the manifest says %d", path, ErrDamaged, docs, sh.Docs)
	}
	if !sum.Equal(sh.Digest) {
		return fmt.Errorf("%s: %w: its digest is %v, the manifest says %v", path, ErrDamaged, sum, sh.Digest)
	}
	return nil
}

// docKey tells the documents of one shard apart. An id is unique in a shard, but not over shards: there the routing tells.
func docKey(d *Document) xxh3.Uint128 {
	b := make([]byte, 0, 128)
	b = binary.AppendUvarint(b, uint64(len(d.ID)))
	b = append(b, d.ID...)
	b = append(b, d.Routing...)
	return xxh3.Hash128(b)
}
