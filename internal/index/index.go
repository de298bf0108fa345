// Package index knows where each blob of a repository lies.
//
// An [Index] holds 48 bytes a blob, in arrays sorted by id, one set for data blobs and one for tree blobs. Look-ups take no
// lock; additions build new arrays beside the old ones and swap them in. A blob may lie in several packs.
package index

import (
	"bytes"
	"iter"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/escrow-backup/escrow/internal/pack"
)

// Location is where one copy of a blob lies.
type Location struct {
	Pack [32]byte
	pack.Blob
}

type entry struct {
	id                          [32]byte
	pack, offset, length, plain uint32
}

// state is never changed once it is published.
type state struct {
	packs    [][32]byte
	segments [2][][]entry // by type; each sorted by id, the first is the largest
}

// Index is safe for concurrent use. Its zero value is empty.
type Index struct {
	mu    sync.Mutex // held while adding
	state atomic.Pointer[state]
}

func (ix *Index) load() *state {
	if s := ix.state.Load(); s != nil {
		return s
	}
	return &state{}
}

// Add adds the blobs of packs.
func (ix *Index) Add(packs []Pack) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	old := ix.load()
	// Appending may write behind the end of the old slice, where no reader of the old state looks.
	s := &state{packs: old.packs, segments: old.segments}
	var added [2][]entry
	var counts [2]int
	for _, p := range packs {
		for _, b := range p.Blobs {
			counts[b.Type]++
		}
	}
	for t, n := range counts {
		added[t] = make([]entry, 0, n)
	}
	for _, p := range packs {
		n := uint32(len(s.packs))
		s.packs = append(s.packs, p.ID)
		for _, b := range p.Blobs {
			added[b.Type] = append(added[b.Type], entry{b.ID, n, b.Offset, b.Length, b.Plain})
		}
	}
	for t := range added {
		if len(added[t]) > 0 {
			slices.SortFunc(added[t], compare)
			s.segments[t] = insert(s.segments[t], added[t])
		}
	}
	ix.state.Store(s)
}

func compare(a, b entry) int { return bytes.Compare(a.id[:], b.id[:]) }

// insert gives segments with e added. Each segment stays at least twice as long as the next, so that there are few, and
// each entry is merged few times.
func insert(segments [][]entry, e []entry) [][]entry {
	segments = slices.Clone(segments)
	for n := len(segments); n > 0 && len(segments[n-1]) < 2*len(e); n-- {
		e = merge(segments[n-1], e)
		segments = segments[:n-1]
	}
	return append(segments, e)
}

func merge(a, b []entry) []entry {
	m := make([]entry, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if compare(a[0], b[0]) <= 0 {
			m, a = append(m, a[0]), a[1:]
		} else {
			m, b = append(m, b[0]), b[1:]
		}
	}
	return append(append(m, a...), b...)
}

// Lookup gives every place where the blob lies.
func (ix *Index) Lookup(t pack.Type, id [32]byte) iter.Seq[Location] {
	return func(yield func(Location) bool) {
		s := ix.load()
		for _, seg := range s.segments[t] {
			for i := search(seg, id); i < len(seg) && seg[i].id == id; i++ {
				if !yield(s.location(t, seg[i])) {
					return
				}
			}
		}
	}
}

// Size gives the length of the blob's text, and whether the blob is there.
func (ix *Index) Size(t pack.Type, id [32]byte) (uint32, bool) {
	for _, seg := range ix.load().segments[t] {
		if i := search(seg, id); i < len(seg) && seg[i].id == id {
			return pack.Blob{Length: seg[i].length, Plain: seg[i].plain}.PlainLength(), true
		}
	}
	return 0, false
}

func search(seg []entry, id [32]byte) int {
	return sort.Search(len(seg), func(i int) bool { return bytes.Compare(seg[i].id[:], id[:]) >= 0 })
}

func (s *state) location(t pack.Type, e entry) Location {
	return Location{s.packs[e.pack], pack.Blob{ID: e.id, Type: t, Offset: e.offset, Length: e.length, Plain: e.plain}}
}

// Len is the number of entries: a blob counts once for each place where it lies.
func (ix *Index) Len() int {
	n := 0
	for _, segs := range ix.load().segments {
		for _, seg := range segs {
			n += len(seg)
		}
	}
	return n
}

// Packs yields each pack once, with its blobs in the order of their offsets. Entries that stand several times are given
// once. The slice is reused.
func (ix *Index) Packs() iter.Seq2[[32]byte, []pack.Blob] {
	return func(yield func([32]byte, []pack.Blob) bool) {
		s := ix.load()
		rank := s.ranks()
		type ref struct {
			rank, offset uint32
			segment, pos uint32
			t            pack.Type
		}
		refs := make([]ref, 0, ix.Len())
		for t, segs := range s.segments {
			for i, seg := range segs {
				for j, e := range seg {
					refs = append(refs, ref{rank[e.pack], e.offset, uint32(i), uint32(j), pack.Type(t)})
				}
			}
		}
		slices.SortFunc(refs, func(a, b ref) int {
			if a.rank != b.rank {
				return int(int64(a.rank) - int64(b.rank))
			}
			return int(int64(a.offset) - int64(b.offset))
		})
		ids := slices.Clone(s.packs)
		slices.SortFunc(ids, func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) })
		ids = slices.Compact(ids)
		var blobs []pack.Blob
		for i, id := range ids {
			blobs = blobs[:0]
			for len(refs) > 0 && refs[0].rank == uint32(i) {
				r := refs[0]
				refs = refs[1:]
				b := s.location(r.t, s.segments[r.t][r.segment][r.pos]).Blob
				if !slices.Contains(tail(blobs, b.Offset), b) {
					blobs = append(blobs, b)
				}
			}
			if !yield(id, blobs) {
				return
			}
		}
	}
}

// tail gives the blobs at the end that have the given offset.
func tail(blobs []pack.Blob, offset uint32) []pack.Blob {
	i := len(blobs)
	for i > 0 && blobs[i-1].Offset == offset {
		i--
	}
	return blobs[i:]
}

// ranks gives each pack's place among the sorted ids: a pack that several index files name stands several times in
// packs.
func (s *state) ranks() []uint32 {
	order := make([]uint32, len(s.packs))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(a, b uint32) int { return bytes.Compare(s.packs[a][:], s.packs[b][:]) })
	rank := make([]uint32, len(s.packs))
	n := uint32(0)
	for i, p := range order {
		if i > 0 && s.packs[p] != s.packs[order[i-1]] {
			n++
		}
		rank[p] = n
	}
	return rank
}
