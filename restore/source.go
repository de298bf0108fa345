package restore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"github.com/zeebo/xxh3"

	"github.com/escrow-backup/escrow/layout"
)

// ErrDamaged says that a file of a backup is not what the manifest says.
var ErrDamaged = errors.New("the backup is damaged")

// rawDocuments reads a shard's file as it stands, delete lines included, under the index name given.
func rawDocuments(src fs.FS, from string, shard int, to string) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		path := layout.DocumentsPath(from, shard)
		f, err := src.Open(path)
		if err != nil {
			yield(Document{}, fmt.Errorf("%s: %w", path, err))
			return
		}
		defer f.Close()
		for d, err := range layout.Documents(f, to) {
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

// shardDocuments is rawDocuments, and fails at the end unless the live documents are those of the manifest.
func shardDocuments(ctx context.Context, src fs.FS, from string, sh *layout.Shard, to string) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		var sum layout.Digest
		var docs, ordinal int64
		var lines []byte
		var dead map[xxh3.Uint128]int64 // of a deleted id, the ordinal of its last delete line
		for d, err := range rawDocuments(src, from, sh.Number, to) {
			if err == nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			if err == nil && d.Deleted {
				if dead == nil {
					dead = map[xxh3.Uint128]int64{}
				}
				dead[docKey(&d)] = ordinal
			} else if err == nil {
				lines, err = d.AppendDigested(lines[:0])
				sum.Add(lines)
				docs++
			}
			if err != nil {
				yield(Document{}, err)
				return
			}
			ordinal++
			if !yield(d, nil) {
				return
			}
		}
		if dead != nil {
			var err error
			if docs, sum, err = liveDigest(ctx, src, from, sh.Number, dead); err != nil {
				yield(Document{}, err)
				return
			}
		}
		if err := checkShard(from, sh, docs, sum); err != nil {
			yield(Document{}, err)
		}
	}
}

// liveDigest counts the documents that no later delete line removes.
func liveDigest(ctx context.Context, src fs.FS, index string, shard int, dead map[xxh3.Uint128]int64) (docs int64, sum layout.Digest, err error) {
	var lines []byte
	var ordinal int64
	for d, err := range rawDocuments(src, index, shard, index) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return 0, sum, err
		}
		last, removed := dead[docKey(&d)]
		if !d.Deleted && (!removed || last < ordinal) {
			if lines, err = d.AppendDigested(lines[:0]); err != nil {
				return 0, sum, err
			}
			sum.Add(lines)
			docs++
		}
		ordinal++
	}
	return docs, sum, nil
}

func checkShard(index string, sh *layout.Shard, docs int64, sum layout.Digest) error {
	path := layout.DocumentsPath(index, sh.Number)
	if docs != sh.Docs {
		return fmt.Errorf("%s: %w: it holds %d documents, the manifest says %d", path, ErrDamaged, docs, sh.Docs)
	}
	if sum != sh.Digest {
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
