// Package index knows where each blob of a repository lies.
//
// An [Index] holds 48 bytes a blob, in arrays sorted by id, one set for each type of blob and first byte of the id, so that
// only a small part of all is ever rebuilt. Look-ups take no lock; additions build new arrays beside the old ones and swap
// them in. A blob may lie in several packs.
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
	packs   [][32]byte
	buckets [2][256][][]entry // by type and first byte of the id; segments sorted by id, the first is the largest
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

// Add adds the blobs of packs. Several may be added at once.
func (ix *Index) Add(packs []Pack) {
	added := entries(packs) // before the lock: it takes most of the time
	ix.mu.Lock()
	defer ix.mu.Unlock()
	s := *ix.load()
	base := uint32(len(s.packs))
	for _, p := range packs {
		// Appending may write behind the end of the old slice, where no reader of the old state looks.
		s.packs = append(s.packs, p.ID)
	}
	for t := range added {
		for rest := added[t]; len(rest) > 0; {
			first := rest[0].id[0]
			n := sort.Search(len(rest), func(i int) bool { return rest[i].id[0] > first })
			e := slices.Clone(rest[:n:n])
			for i := range e {
				e[i].pack += base
			}
			s.buckets[t][first] = insert(s.buckets[t][first], e)
			rest = rest[n:]
		}
	}
	ix.state.Store(&s)
}

// entries gives those of the packs by type, sorted. Packs count from 0.
func entries(packs []Pack) (all [2][]entry) {
	var counts [2]int
	for _, p := range packs {
		for _, b := range p.Blobs {
			counts[b.Type]++
		}
	}
	for t, n := range counts {
		all[t] = make([]entry, 0, n)
	}
	for i, p := range packs {
		for _, b := range p.Blobs {
			all[b.Type] = append(all[b.Type], entry{b.ID, uint32(i), b.Offset, b.Length, b.Plain})
		}
	}
	for t := range all {
		slices.SortFunc(all[t], compare)
	}
	return all
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
		for _, seg := range s.buckets[t][id[0]] {
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
	for _, seg := range ix.load().buckets[t][id[0]] {
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

// segments gives all, with the type of their blobs.
func (s *state) segments() iter.Seq2[pack.Type, []entry] {
	return func(yield func(pack.Type, []entry) bool) {
		for t := range s.buckets {
			for _, segs := range s.buckets[t] {
				for _, seg := range segs {
					if !yield(pack.Type(t), seg) {
						return
					}
				}
			}
		}
	}
}

// Len is the number of entries: a blob counts once for each place where it lies.
func (ix *Index) Len() int {
	n := 0
	for _, seg := range ix.load().segments() {
		n += len(seg)
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
			e            *entry
			t            pack.Type
		}
		n := 0
		for _, seg := range s.segments() {
			n += len(seg)
		}
		refs := make([]ref, 0, n)
		for t, seg := range s.segments() {
			for i := range seg {
				refs = append(refs, ref{rank[seg[i].pack], seg[i].offset, &seg[i], t})
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
				b := s.location(r.t, *r.e).Blob
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
