package estest

import (
	"slices"
	"sort"
)

// doc is one version of one document; never changed once stored.
type doc struct {
	id, routing string
	hasRouting  bool
	source      []byte
	seq, term   int64
	version     int64
	ord         int64 // the Lucene document number, never reused: where the document lies
	deleted     bool  // a tombstone
}

// op is one operation, with what it replaced, so that it can be undone.
type op struct {
	id   string
	cur  *doc
	prev *doc
}

// shard keeps the realtime state; searches see only the view made by the last refresh.
type shard struct {
	live    map[string]*doc // tombstones too
	docs    []*doc          // in order of seq; dead ones are dropped by refresh
	ops     []op
	deaths  int // since the last refresh
	maxSeq  int64
	nextOrd int64
	writers int64 // Options.Writers
	term    int64
	history string
	held    *int64 // the global checkpoint, when it is held back
	view    []*doc // searchable; immutable
}

func newShard(o *Options) *shard {
	return &shard{live: map[string]*doc{}, maxSeq: -1, term: 1, history: newUUID(), writers: int64(o.Writers)}
}

// writersTurn is how many documents of one of several writers follow each other.
const writersTurn = 50

// place returns the document number of the next document, which has the given sequence number.
func (s *shard) place(seq int64) int64 {
	if s.writers < 2 {
		s.nextOrd++
		return s.nextOrd - 1
	}
	turn := seq / writersTurn
	return s.nextOrd + turn%s.writers<<26 + turn/s.writers*writersTurn + seq%writersTurn
}

func (s *shard) get(id string) *doc {
	if d := s.live[id]; d != nil && !d.deleted {
		return d
	}
	return nil
}

// apply gives an operation the next sequence number and stores it.
func (s *shard) apply(d *doc) {
	s.maxSeq++
	d.seq, d.term = s.maxSeq, s.term
	prev := s.live[d.id]
	if prev != nil && !prev.deleted {
		s.deaths++
	}
	s.live[d.id] = d
	s.ops = append(s.ops, op{d.id, d, prev})
	if !d.deleted {
		d.ord = s.place(d.seq)
		s.docs = append(s.docs, d)
	}
}

func (s *shard) refresh() {
	if s.deaths > 0 {
		// Views share the old array.
		s.docs = slices.DeleteFunc(slices.Clone(s.docs), func(d *doc) bool { return s.live[d.id] != d })
		s.deaths = 0
	}
	s.view = s.docs[:len(s.docs):len(s.docs)]
}

func (s *shard) globalCheckpoint() int64 {
	if s.held != nil {
		return min(*s.held, s.maxSeq)
	}
	return s.maxSeq
}

// failover undoes the operations above the global checkpoint and starts a new term.
func (s *shard) failover() (lost int) {
	gcp := s.globalCheckpoint()
	for len(s.ops) > 0 {
		o := s.ops[len(s.ops)-1]
		if o.cur.seq <= gcp {
			break
		}
		if o.prev == nil {
			delete(s.live, o.id)
		} else {
			s.live[o.id] = o.prev
		}
		s.ops = s.ops[:len(s.ops)-1]
		lost++
	}
	s.maxSeq, s.held = gcp, nil
	s.term++
	// Documents that a refresh dropped may be alive again.
	s.docs = nil
	for _, d := range s.live {
		if !d.deleted {
			s.docs = append(s.docs, d)
		}
	}
	sort.Slice(s.docs, func(i, j int) bool { return s.docs[i].seq < s.docs[j].seq })
	s.deaths = 0
	s.refresh()
	return lost
}
