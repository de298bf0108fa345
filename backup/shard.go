package backup

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository"
)

const (
	maxBlob       = 8 << 20 // the repository format's limit for a blob
	fullBlob      = 1 << 20 // what a blob aims at: it is hashed and compressed while it lies in the processor's cache
	shardAttempts = 3       // with a new point in time each
)

// shardJob is one shard that was read: its segments are stored, its files are not yet made.
type shardJob struct {
	out     shardOutput
	count   *shardProgress
	info    layout.Shard
	asOf    time.Time
	stale   string
	sidecar layout.Sidecar
	blobs   [2][]repository.BlobID // of the documents file and of the ids file
	tally   tally
}

// drop takes back what the shard wrote and counted.
func (s *shardJob) drop() {
	s.out.abort()
	s.count.drop()
}

// shardWithRetry reads a shard, and once more from the start when its point in time was lost.
func (j *job) shardWithRetry(ctx context.Context, out output, ix *elastic.Index, n int) (*shardJob, error) {
	if err := j.shards.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	defer j.shards.Release(1)
	for attempt := 1; ; attempt++ {
		s, err := j.shard(ctx, out, ix, n)
		if err == nil {
			return s, nil
		}
		var own *ownError
		if attempt == shardAttempts || ctx.Err() != nil || errors.As(err, &own) || !elastic.Lost(err) {
			return nil, err
		}
		j.log.Warn("read shard again", "index", ix.Name, "shard", n, "error", err)
		if err := j.c.Sleep(ctx, elastic.Backoff(attempt+3)); err != nil {
			return nil, err
		}
	}
}

func (j *job) shard(ctx context.Context, out output, ix *elastic.Index, n int) (_ *shardJob, err error) {
	var stands *elastic.Standing
	if old := j.mayRest(ix, n); old != nil {
		if stands, err = j.c.Standing(ctx, ix, n, j.reading); err != nil {
			return nil, err
		}
		if s, err := j.resting(ctx, out, ix, old, stands); s != nil || err != nil {
			return s, err
		}
	}
	sh, err := j.c.OpenShard(ctx, ix, n, j.reading, stands)
	if err != nil {
		return nil, err
	}
	defer sh.Close(ctx)
	s := &shardJob{info: sh.Info, asOf: sh.AsOf, stale: sh.Stale, sidecar: layout.Sidecar{Format: layout.SidecarFormat, Segments: []layout.Segment{}}}
	if j.o.Transform != nil {
		s.info.Sealed, s.info.Reason = false, "its documents passed through a function"
	}
	s.out, err = out.shard(ctx, ix.Name, n)
	if err != nil {
		return nil, &ownError{err}
	}
	s.count = j.progress.shard(ix.Name, sh.Total)
	defer func() {
		if err != nil {
			s.drop()
		}
	}()
	plan, err := j.plan(ctx, sh, s.out)
	if err != nil {
		return nil, err
	}
	s.tally.notReused = plan.notReused
	s.takeOver(plan.kept)
	if j.verifying {
		if s.tally.read, err = j.verifyKept(ctx, sh, plan.kept); err != nil {
			return nil, err
		}
	}
	read, err := j.readSegments(ctx, sh, plan, s.out, s.count)
	if err != nil {
		return nil, err
	}
	if err := s.assemble(plan, read); err != nil {
		return nil, err
	}
	for _, r := range read {
		s.tally.read += r.read
	}
	if j.o.Transform == nil && s.info.Docs != sh.Total {
		return nil, fmt.Errorf("stored %d documents, the server counted %d", s.info.Docs, sh.Total)
	}
	return s, nil
}

// storedSegment is a segment whose bytes are stored.
type storedSegment struct {
	layout.Segment
	blobs [2][]repository.BlobID
	read  int64 // documents transferred

	idsAt   int64 // of the parent's: where it begins in the ids file
	changed bool  // of the parent's: some of it died since
}

// readSegments reads and stores what the plan says. Segments of an output that allows it are stored in parallel.
func (j *job) readSegments(ctx context.Context, sh *elastic.Shard, plan *shardPlan, out shardOutput, count *shardProgress) ([]*storedSegment, error) {
	g, gctx := errgroup.WithContext(ctx)
	var all []*storedSegment
	for r, ok := plan.next(); ok; r, ok = plan.next() {
		if err := j.searches.Acquire(gctx, 1); err != nil {
			break // Wait says why
		}
		seg := &storedSegment{Segment: layout.Segment{From: r.From, To: r.To}}
		seg.Final = sh.Info.Sealed && j.o.Transform == nil && r.From >= 0 && r.To-1 <= sh.Info.GlobalCheckpoint
		all = append(all, seg)
		read := func() error {
			defer j.searches.Release(1)
			return j.readSegment(gctx, sh, r, seg, out, count)
		}
		if out.parallel() {
			g.Go(read)
		} else if err := read(); err != nil {
			return nil, err
		}
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return all, nil
}

// buffers holds the encoding buffers between segments.
var buffers = sync.Pool{New: func() any { return &encoder{} }}

// encoder turns documents into the bytes of one segment.
type encoder struct {
	buf  [2][]byte // documents, ids
	sum  []byte    // what the digest of a document with a version is made of
	last int64     // sequence number that the next delta counts from
	one  layout.Digest
}

func (j *job) readSegment(ctx context.Context, sh *elastic.Shard, r elastic.Range, seg *storedSegment, out shardOutput, count *shardProgress) error {
	e := buffers.Get().(*encoder)
	defer buffers.Put(e)
	e.reset(max(r.From, 0))
	reuse := j.o.Transform == nil // it may keep documents
	err := sh.Pages(ctx, r, reuse, func(hits []elastic.Hit) error {
		before := seg.Bytes
		for i := range hits {
			d := &hits[i].Document
			seg.read++
			if j.o.Transform != nil {
				keep, err := j.transform(d)
				if err != nil {
					return &ownError{err}
				}
				if !keep {
					continue
				}
			}
			if err := e.add(ctx, d, seg, out); err != nil {
				return err
			}
		}
		count.add(int64(len(hits)), seg.Bytes-before, false)
		return nil
	})
	if err != nil {
		return err
	}
	return e.finish(ctx, seg, out)
}

// reset empties the buffers, for a segment whose first delta counts from the given sequence number.
func (e *encoder) reset(from int64) {
	e.buf[docsFile], e.buf[idsFile], e.last = e.buf[docsFile][:0], e.buf[idsFile][:0], from
}

// flush stores what is in a buffer, as long as it is more than limit.
func (e *encoder) flush(ctx context.Context, f fileKind, limit int, seg *storedSegment, out shardOutput) error {
	for len(e.buf[f]) > limit {
		p := e.buf[f][:min(len(e.buf[f]), maxBlob)]
		id, err := out.save(ctx, f, p)
		if err != nil {
			return &ownError{err}
		}
		seg.blobs[f] = append(seg.blobs[f], id)
		e.buf[f] = e.buf[f][:copy(e.buf[f], e.buf[f][len(p):])]
	}
	return nil
}

// finish stores the rest of a segment.
func (e *encoder) finish(ctx context.Context, seg *storedSegment, out shardOutput) error {
	for f := range e.buf {
		if err := e.flush(ctx, fileKind(f), 0, seg, out); err != nil {
			return err
		}
	}
	if out.parallel() {
		seg.Blobs, seg.IDsBlobs = len(seg.blobs[docsFile]), len(seg.blobs[idsFile])
	}
	return nil
}

// add appends a document to both buffers, and stores what is full.
func (e *encoder) add(ctx context.Context, d *Document, seg *storedSegment, out shardOutput) error {
	if err := e.addLines(ctx, d, seg, out); err != nil {
		return err
	}
	e.addID(d, seg)
	return e.flush(ctx, idsFile, maxBlob, seg, out)
}

// addLines appends a document's lines to the buffer and to the segment's numbers, and stores what is full.
func (e *encoder) addLines(ctx context.Context, d *Document, seg *storedSegment, out shardOutput) error {
	// A whole blob of whole documents is better than a full one.
	if len(e.buf[docsFile])+len(d.Source)+1024 > fullBlob {
		if err := e.flush(ctx, docsFile, 0, seg, out); err != nil {
			return err
		}
	}
	if len(d.Source) > fullBlob && d.Source[0] == '{' && bytes.IndexByte(d.Source, '\n') < 0 {
		return e.addLarge(ctx, d, seg, out)
	}
	start := len(e.buf[docsFile])
	b, err := d.AppendLines(e.buf[docsFile])
	if err != nil {
		return err
	}
	e.buf[docsFile] = b
	digested := b[start:]
	if d.Versioned {
		if e.sum, err = d.AppendDigested(e.sum[:0]); err != nil {
			return err
		}
		digested = e.sum
	}
	e.one = layout.Digest{}
	e.one.Add(digested)
	seg.Digest.AddDigest(e.one)
	seg.Docs++
	seg.Bytes += int64(len(b) - start)
	return e.flush(ctx, docsFile, fullBlob, seg, out)
}

// addLarge is addLines for a document of more than one blob: it is stored piece by piece, and never copied whole.
func (e *encoder) addLarge(ctx context.Context, d *Document, seg *storedSegment, out shardOutput) error {
	e.one = layout.Digest{}
	if err := e.one.AddDocument(d); err != nil {
		return err
	}
	seg.Digest.AddDigest(e.one)
	e.buf[docsFile] = d.AppendAction(e.buf[docsFile], "index")
	seg.Docs++
	seg.Bytes += int64(len(e.buf[docsFile]) + len(d.Source) + 1)
	for rest := d.Source; len(rest) > 0; {
		if len(e.buf[docsFile]) >= fullBlob {
			if err := e.flush(ctx, docsFile, 0, seg, out); err != nil {
				return err
			}
		}
		n := min(len(rest), fullBlob-len(e.buf[docsFile]))
		e.buf[docsFile] = append(e.buf[docsFile], rest[:n]...)
		rest = rest[n:]
	}
	e.buf[docsFile] = append(e.buf[docsFile], '\n')
	return e.flush(ctx, docsFile, 0, seg, out)
}

// addID appends a document's line of the ids file.
func (e *encoder) addID(d *Document, seg *storedSegment) {
	delta := int64(0)
	if d.SeqNo >= 0 {
		seg.Ambiguous = seg.Ambiguous || seg.Docs > 1 && d.SeqNo == e.last
		seg.Sum += d.SeqNo
		delta = d.SeqNo - e.last
		e.last = d.SeqNo
	}
	start := len(e.buf[idsFile])
	e.buf[idsFile] = layout.AppendID(e.buf[idsFile], delta, e.one.Low(), d)
	seg.IDsBytes += int64(len(e.buf[idsFile]) - start)
}

// transform calls the user's function, and checks what it made.
func (j *job) transform(d *Document) (keep bool, err error) {
	before := *d
	keep, err = j.o.Transform(d)
	if err != nil {
		return false, fmt.Errorf("transform document %q: %w", before.ID, err)
	}
	if !keep {
		return false, nil
	}
	d.Source = bytes.TrimSpace(d.Source)
	if d.ID == "" || d.Deleted || len(d.Source) == 0 || d.Source[0] != '{' || !json.Valid(d.Source) {
		return false, fmt.Errorf("transform document %q: the result has no id or no JSON object as its source, or is a deletion", before.ID)
	}
	// Where the document stands is not for the function to say.
	d.Index, d.SeqNo, d.Versioned, d.Version = before.Index, before.SeqNo, before.Versioned, before.Version
	return true, nil
}

// assemble puts what is kept and what was read in order: the parent's log, delete lines for what died since, and then what was
// read. So a document always stands after all delete lines for its id, and a dead one before one. Where nothing is dead, no
// order matters, and segments ascend.
func (s *shardJob) assemble(plan *shardPlan, read []*storedSegment) error {
	ascending := func(a, b *storedSegment) int { return cmp.Compare(a.From, b.From) }
	slices.SortStableFunc(read, ascending)
	all := append(slices.Clone(plan.kept), read...)
	if !slices.ContainsFunc(all, func(g *storedSegment) bool { return len(g.Dead) > 0 }) {
		slices.SortStableFunc(all, ascending)
	}
	for _, g := range all {
		s.sidecar.Segments = append(s.sidecar.Segments, g.Segment)
		s.info.Docs += g.Docs
		s.info.Bytes += g.Bytes
		s.info.Dead += int64(len(g.Dead))
		s.info.Deletes += g.Deletes
		s.info.Digest.AddDigest(g.Digest)
		if g.Deletes == 0 {
			s.tally.segments++
		}
		for f := range g.blobs {
			s.blobs[f] = append(s.blobs[f], g.blobs[f]...)
		}
	}
	if err := s.sidecar.Valid(); err != nil {
		return fmt.Errorf("the shard's log: %w", err)
	}
	return nil
}

// commit makes the shard's files.
func (s *shardJob) commit(ctx context.Context, out output, index string, n int) error {
	if err := s.out.commit(s.blobs); err != nil {
		return err
	}
	b, err := json.Marshal(s.sidecar)
	if err != nil {
		return fmt.Errorf("encode %s: %w", layout.SidecarPath(index, n), err)
	}
	return out.file(ctx, layout.SidecarPath(index, n), append(b, '\n'))
}
