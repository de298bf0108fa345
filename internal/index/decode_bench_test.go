package index_test

import (
	"testing"

	"github.com/escrow-backup/escrow/internal/index"
)

// BenchmarkDecodeFile decodes index files of a million blobs in all, 50,000 each.
func BenchmarkDecodeFile(b *testing.B) {
	const files, packs, blobs = 20, 500, 100
	var texts [][]byte
	n := 0
	for f := range files {
		var ps []index.Pack
		for p := range packs {
			ids := make([]int, blobs)
			for i := range ids {
				n++
				ids[i] = n
			}
			ps = append(ps, onePack(f*packs+p, ids...))
		}
		texts = append(texts, index.AppendFile(nil, ps))
	}
	b.ReportAllocs()
	b.SetBytes(int64(files * len(texts[0])))
	for b.Loop() {
		for _, text := range texts {
			if _, err := index.DecodeFile(text); err != nil {
				b.Fatal(err)
			}
		}
	}
}
