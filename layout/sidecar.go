package layout

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
)

// SidecarFormat is the version of the sidecars and ids files that this package writes. It reads the first one too, in which no
// document was ever dead, and lines of the ids file had no digests.
const SidecarFormat = 2

// Sidecar describes the segments of one shard's documents file and ids file, in their order.
type Sidecar struct {
	Format   int       `json:"format"`
	Segments []Segment `json:"segments"`
}

// Segment is a range of sequence numbers of a shard. A shard read without sequence numbers is one segment with From and To
// of -1; so are delete lines.
type Segment struct {
	From     int64  `json:"from"`      // first sequence number of the range
	To       int64  `json:"to"`        // first one after the range
	Docs     int64  `json:"docs"`      // live documents in the range
	Sum      int64  `json:"sum"`       // of their sequence numbers
	Bytes    int64  `json:"bytes"`     // in the documents file
	IDsBytes int64  `json:"ids_bytes"` // in the ids file
	Blobs    int    `json:"blobs"`     // in the documents file; 0 where it was not written to a repository
	IDsBlobs int    `json:"ids_blobs"` // in the ids file; likewise
	Digest   Digest `json:"digest"`    // of the live documents
	// Final: the whole range lay at or below the global checkpoint of a sealed shard.
	Final bool `json:"final"`

	// Stored is what the two files hold of the segment, where some of it is dead.
	Stored *Stored `json:"stored,omitempty"`
	// Dead are the dead documents: their ordinals in the segment, from 0, each as the distance from the one before (the
	// first as it is).
	Dead []int64 `json:"dead,omitempty"`
	// Ambiguous: a sequence number stands in it more than once, as in indices that were shrunk.
	Ambiguous bool `json:"ambiguous,omitempty"`
	// Deletes is the number of pairs of delete lines, where this is no segment but a place where such stand.
	Deletes int64 `json:"deletes,omitempty"`
}

// Stored is what a segment held when it was read.
type Stored struct {
	Docs   int64  `json:"docs"`
	Sum    int64  `json:"sum"`
	Digest Digest `json:"digest"`
}

// Whole is what the segment held when it was read.
func (g *Segment) Whole() Stored {
	if g.Stored != nil {
		return *g.Stored
	}
	return Stored{Docs: g.Docs, Sum: g.Sum, Digest: g.Digest}
}

// Ordinals gives the ordinals of the dead documents, ascending.
func (g *Segment) Ordinals() []int64 {
	all, at := make([]int64, len(g.Dead)), int64(0)
	for i, d := range g.Dead {
		at += d
		all[i] = at
	}
	return all
}

// SetDead says which documents are dead, by ascending ordinals, and what is left of Whole.
func (g *Segment) SetDead(ordinals []int64, live Stored) {
	whole := g.Whole()
	g.Docs, g.Sum, g.Digest = live.Docs, live.Sum, live.Digest
	g.Stored, g.Dead = nil, nil
	if len(ordinals) == 0 {
		return
	}
	g.Stored, g.Dead = &whole, make([]int64, len(ordinals))
	last := int64(0)
	for i, o := range ordinals {
		g.Dead[i], last = o-last, o
	}
}

// ReadSidecar reads a shard's sidecar.
func ReadSidecar(src fs.FS, index string, shard int) (*Sidecar, error) {
	s, name := &Sidecar{}, SidecarPath(index, shard)
	if err := readJSON(src, name, s); err != nil {
		return nil, err
	}
	if s.Format < 1 || s.Format > SidecarFormat {
		return nil, fmt.Errorf("%s: format %d, this program reads formats 1 to %d", name, s.Format, SidecarFormat)
	}
	return s, nil
}

// Valid checks that the segments do not overlap, and that their numbers are possible.
func (s *Sidecar) Valid() error {
	type span struct {
		from, to int64
		n        int
	}
	var spans []span
	for i := range s.Segments {
		g := &s.Segments[i]
		if g.Docs < 0 || g.Sum < 0 || g.Bytes < 0 || g.IDsBytes < 0 || g.Blobs < 0 || g.IDsBlobs < 0 || g.Deletes < 0 || g.To < g.From {
			return fmt.Errorf("segment %d: negative number or empty range", i)
		}
		if g.Deletes > 0 && (g.From >= 0 || g.Docs+g.IDsBytes+int64(len(g.Dead)) > 0) {
			return fmt.Errorf("segment %d: delete lines and documents", i)
		}
		if err := g.validDead(); err != nil {
			return fmt.Errorf("segment %d: %w", i, err)
		}
		if g.From >= 0 {
			spans = append(spans, span{g.From, g.To, i})
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	for i, x := range spans {
		if i > 0 && x.from < spans[i-1].to {
			return fmt.Errorf("segment %d: it overlaps segment %d", x.n, spans[i-1].n)
		}
	}
	return nil
}

func (g *Segment) validDead() error {
	if (g.Stored == nil) != (len(g.Dead) == 0) || g.Whole().Docs-g.Docs != int64(len(g.Dead)) {
		return fmt.Errorf("%d documents are stored, %d alive, %d dead", g.Whole().Docs, g.Docs, len(g.Dead))
	}
	at := int64(-1)
	for i, d := range g.Dead {
		if i == 0 {
			d++
		}
		if d < 1 || d > g.Stored.Docs || at+d >= g.Stored.Docs {
			return fmt.Errorf("dead document %d: its ordinal is impossible", i)
		}
		at += d
	}
	return nil
}
