package index_test

import (
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/internal/pack"
)

func id(n int) (id [32]byte) {
	binary.BigEndian.PutUint64(id[:], uint64(n)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(id[24:], uint64(n))
	return id
}

func onePack(p int, blobs ...int) index.Pack {
	q := index.Pack{ID: id(1000000 + p)}
	for i, b := range blobs {
		q.Blobs = append(q.Blobs, pack.Blob{ID: id(b), Type: pack.Type(b % 2), Offset: uint32(100 * i), Length: 100, Plain: uint32(b % 3)})
	}
	return q
}

func TestLookup(t *testing.T) {
	var ix index.Index
	_, ok := ix.Size(pack.Data, id(1))
	require.False(t, ok)
	const n = 3000
	perm := rand.New(rand.NewPCG(1, 2)).Perm(n)
	for i := 0; i < n; i += 10 {
		ix.Add([]index.Pack{onePack(i, perm[i:i+10]...)})
	}
	ix.Add([]index.Pack{onePack(9999, 4, 4)})
	require.Equal(t, n+2, ix.Len())
	for i := range n {
		want := 1
		if i == 4 {
			want = 3
		}
		found := slices.Collect(ix.Lookup(pack.Type(i%2), id(i)))
		require.Len(t, found, want)
		require.Equal(t, id(i), found[0].ID)
		p := slices.Index(perm, i)
		if i != 4 {
			require.Equal(t, id(1000000+p/10*10), found[0].Pack)
			require.Equal(t, uint32(p%10*100), found[0].Offset)
		}
		require.Empty(t, slices.Collect(ix.Lookup(pack.Type(1-i%2), id(i))))
		size, ok := ix.Size(pack.Type(i%2), id(i))
		require.True(t, ok)
		require.Equal(t, found[0].PlainLength(), size)
	}
	_, ok = ix.Size(pack.Data, id(n+1))
	require.False(t, ok)
}

func TestPacksMergesIndexFiles(t *testing.T) {
	var ix index.Index
	ix.Add([]index.Pack{onePack(1, 1, 2, 3), onePack(2, 4)})
	ix.Add([]index.Pack{onePack(1, 1, 2, 3), onePack(3)})
	got := map[[32]byte][]pack.Blob{}
	for p, blobs := range ix.Packs() {
		require.NotContains(t, got, p)
		got[p] = slices.Clone(blobs)
	}
	require.Len(t, got, 3)
	require.Equal(t, onePack(1, 1, 2, 3).Blobs, got[id(1000001)])
	require.Equal(t, onePack(2, 4).Blobs, got[id(1000002)])
	require.Empty(t, got[id(1000003)])
}

func TestLookupWhileAdding(t *testing.T) {
	var ix index.Index
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				n := 1000*g + i
				ix.Add([]index.Pack{onePack(n, n)})
				if _, ok := ix.Size(pack.Type(n%2), id(n)); !ok {
					t.Errorf("blob %d is lost", n)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, 800, ix.Len())
}

func TestFile(t *testing.T) {
	packs := []index.Pack{onePack(1, 1, 2, 3), onePack(2)}
	text := index.AppendFile(nil, packs)
	require.True(t, json.Valid(text))
	require.Contains(t, string(text), `"type":"tree","offset":0,"length":100,"uncompressed_length":1}`)
	got, err := index.DecodeFile(text)
	require.NoError(t, err)
	packs[1].Blobs = []pack.Blob{}
	require.Equal(t, packs, got)
}

func FuzzDecodeFile(f *testing.F) {
	f.Add(index.AppendFile(nil, []index.Pack{onePack(1, 1, 2, 3)}))
	f.Add([]byte(`{"supersedes":[],"packs":[{"id":null}]}`))
	f.Add([]byte(`[{"id":"x"}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		packs, err := index.DecodeFile(text)
		if err != nil {
			return
		}
		again, err := index.DecodeFile(index.AppendFile(nil, packs))
		require.NoError(t, err)
		require.Equal(t, packs, again)
		var ix index.Index
		ix.Add(packs)
		for range ix.Packs() {
		}
	})
}

// grown adds index files of 50,000 blobs as they are stored, and gives the bytes of memory that the index takes for each blob.
func grown(tb testing.TB, ix *index.Index, files int) float64 {
	const packs, blobs = 500, 100
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	ids := make([]int, blobs)
	for f := range files {
		var ps []index.Pack
		for p := range packs {
			for i := range ids {
				ids[i] = (f*packs+p)*blobs + i
			}
			ps = append(ps, onePack(f*packs+p, ids...))
		}
		ps, err := index.DecodeFile(index.AppendFile(nil, ps))
		require.NoError(tb, err)
		ix.Add(ps)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Equal(tb, files*packs*blobs, ix.Len())
	return float64(int64(after.HeapAlloc)-int64(before.HeapAlloc)) / float64(files*packs*blobs)
}

func TestMemory(t *testing.T) {
	var ix index.Index
	require.Less(t, grown(t, &ix, 20), 60.0, "bytes for each of a million blobs")
	runtime.KeepAlive(&ix)
}

// BenchmarkTenMillion fills an index with ten million blobs. The time includes making and decoding the files.
func BenchmarkTenMillion(b *testing.B) {
	for b.Loop() {
		var ix index.Index
		each := grown(b, &ix, 200)
		b.ReportMetric(each, "B/blob")
		b.ReportMetric(each*10, "MB")
		runtime.KeepAlive(&ix)
	}
}

func BenchmarkSize(b *testing.B) {
	var ix index.Index
	all := make([]int, 1000000)
	for i := range all {
		all[i] = 2 * i
	}
	ix.Add([]index.Pack{onePack(1, all...)})
	n := 0
	for b.Loop() {
		if _, ok := ix.Size(pack.Data, id(n)); ok != (n%2 == 0) {
			b.Fatal("wrong")
		}
		n = (n + 7919) % 2000000
	}
}
