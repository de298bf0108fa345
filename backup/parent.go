package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository"
)

// parent is the earlier snapshot that segments may be taken from.
type parent struct {
	snapshot *repository.Snapshot
	fsys     fs.FS
	manifest *layout.Manifest
	hasBlob  func(repository.BlobID) bool
}

// parentsTried bounds the search for a parent among snapshots of other selections.
const parentsTried = 50

// findParent returns the newest snapshot of the same cluster and selection, nil if there is none.
func (j *job) findParent(ctx context.Context, repo *repository.Repo, paths []string) (*parent, error) {
	if j.o.Full || j.o.Transform != nil {
		return nil, nil
	}
	var all []*repository.Snapshot
	for s, err := range repo.Snapshots(ctx, repository.Filter{Paths: paths}) {
		if err != nil {
			return nil, fmt.Errorf("look for a parent: %w", err)
		}
		all = append(all, s)
	}
	slices.Reverse(all)
	for _, s := range all[:min(len(all), parentsTried)] {
		var m *layout.Manifest
		fsys, err := repo.FS(ctx, s)
		if err == nil {
			m, err = layout.ReadManifest(fsys)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			// A damaged parent costs time, not documents: without it everything is read.
			j.log.Warn("snapshot cannot be a parent", "snapshot", s.ID.String(), "error", err)
			continue
		}
		a, b := m.Selection, j.manifest.Selection
		if m.Cluster.UUID == j.manifest.Cluster.UUID && !a.Transformed && a.Versions == b.Versions &&
			slices.Equal(a.Indices, b.Indices) && slices.Equal(a.Exclude, b.Exclude) {
			return &parent{snapshot: s, fsys: fsys, manifest: m}, nil
		}
	}
	return nil, nil
}

// reusable returns the parent's segments of a shard that cannot have changed in any way that counts would not show, and its delete
// lines, in the order of the file; why says why there are none.
func (j *job) reusable(ctx context.Context, sh *elastic.Shard) (segments []*storedSegment, why string, err error) {
	p := j.parent
	if p == nil {
		return nil, "no parent", nil
	}
	ix, number := sh.Index, sh.Info.Number
	old, why := p.shard(ix, number)
	if old == nil {
		return nil, why, nil
	}
	switch {
	case !old.Sealed:
		return nil, "the parent was not sealed: " + old.Reason, nil
	case !sh.BySeqNo():
		return nil, unnumbered, nil
	case sh.Info.HistoryUUID == "" || old.HistoryUUID != sh.Info.HistoryUUID:
		return nil, "the shard's history is another one", nil
	case sh.Info.PrimaryTerm < old.PrimaryTerm || sh.Info.GlobalCheckpoint < old.GlobalCheckpoint:
		return nil, "the shard's primary term or checkpoint is lower than the parent's", nil
	}
	if why := p.reserialised(j.manifest.Cluster, ix); why != "" {
		return nil, why, nil
	}
	segments, err = p.segments(ix.Name, number)
	if err != nil {
		j.log.Warn("parent cannot be used", "index", ix.Name, "shard", number, "error", err)
		return nil, "the parent's files cannot be used: " + err.Error(), nil
	}
	why, _, err = p.rewound(ctx, ix.Name, sh.Last, old, segments)
	return segments, why, err
}

// shard finds a shard in the parent; why says why it is not there.
func (p *parent) shard(ix *elastic.Index, number int) (old *layout.Shard, why string) {
	i := slices.IndexFunc(p.manifest.Indices, func(x layout.Index) bool { return x.Name == ix.Name })
	if i < 0 {
		return nil, "the index is not in the parent"
	}
	in := &p.manifest.Indices[i]
	if in.UUID != ix.UUID {
		return nil, "the index is another one than the parent's of its name"
	}
	k := slices.IndexFunc(in.Shards, func(x layout.Shard) bool { return x.Number == number })
	if k < 0 {
		return nil, "the shard is not in the parent"
	}
	return &in.Shards[k], ""
}

// unnumbered is why nothing of a shard can be taken over.
const unnumbered = "the shard has no usable sequence numbers"

// lastDocument is Shard.Last.
type lastDocument func(ctx context.Context, upTo int64) (d *Document, term int64, err error)

// rewound says why a shard cannot be the parent's going on: a node whose disk was put back to an earlier state has the same uuids and history,
// and numbers what it does from then on as before. But in general it does so in a higher primary term, and the last document below
// the parent's checkpoint is another one. That the term is higher is not enough to know: every restart makes it so. same says that the last
// document was found to be the parent's, or that both have none; else the counts have to tell.
func (p *parent) rewound(ctx context.Context, index string, last lastDocument, old *layout.Shard, segments []*storedSegment) (why string, same bool, err error) {
	d, term, err := last(ctx, old.GlobalCheckpoint)
	if elastic.Unnumbered(err) {
		return unnumbered, false, nil
	}
	if d == nil || err != nil {
		return "", err == nil && old.Docs == 0, err
	}
	if term == 0 {
		return "the server names no primary term of documents", false, nil
	}
	if term > old.PrimaryTerm {
		return "operations below the parent's checkpoint were done in a later primary term: the shard was put back to an earlier state", false, nil
	}
	end := int64(0)
	for _, g := range segments {
		end = max(end, g.To)
	}
	final := d.SeqNo < end
	if !final {
		if d, _, err = last(ctx, end-1); d == nil || err != nil {
			return "", false, err
		}
	}
	i := slices.IndexFunc(segments, func(g *storedSegment) bool { return g.From <= d.SeqNo && d.SeqNo < g.To })
	if i < 0 {
		return "", false, nil // of a range in which the parent held nothing: the counts will tell
	}
	ids, err := p.openIDs(index, old.Number)
	if err != nil {
		return "", false, &ownError{err}
	}
	defer ids.close()
	same, err = ids.holds(segments[i], d)
	if err != nil {
		if ctx.Err() != nil {
			return "", false, context.Cause(ctx)
		}
		return "the parent's ids cannot be read: " + err.Error(), false, nil
	}
	if !same {
		return fmt.Sprintf("the document at sequence number %d, below the parent's checkpoint, is another one: the shard was put back to an earlier state", d.SeqNo), false, nil
	}
	return "", final, nil
}

// idsOf is a shard's ids file in the parent.
type idsOf struct {
	at    io.ReaderAt
	close func()
}

func (p *parent) openIDs(index string, shard int) (*idsOf, error) {
	f, err := p.fsys.Open(layout.IDsPath(index, shard))
	if err != nil {
		return nil, err
	}
	r, ok := f.(io.ReaderAt)
	if !ok {
		return nil, errors.New("the parent's ids file cannot be read at any place")
	}
	return &idsOf{at: r, close: func() { _ = f.Close() }}, nil // it was only read
}

// read reads the lines of a segment.
func (f *idsOf) read(g *storedSegment) ([]byte, error) {
	b := make([]byte, g.IDsBytes)
	if n, err := f.at.ReadAt(b, g.idsAt); n < len(b) {
		return nil, err
	}
	return b, nil
}

// holds reports whether a segment has a document with the sequence number and the content of d, as far as a digest can tell.
func (f *idsOf) holds(g *storedSegment, d *Document) (same bool, err error) {
	b, err := f.read(g)
	if err != nil {
		return false, err
	}
	var digest layout.Digest
	if err := digest.AddDocument(d); err != nil {
		return false, err
	}
	err = layout.ReadIDs(b, g.From, func(l *layout.IDLine) error {
		same = same || l.SeqNo == d.SeqNo && (!l.HasDigest || l.Low == digest.Low())
		return nil
	})
	return same, err
}

// reserialised says why equal documents may have other bytes now: the server makes the _source of some indices anew each
// time, by its version and the mapping.
func (p *parent) reserialised(now layout.Cluster, ix *elastic.Index) string {
	if !ix.Reserialised() {
		return ""
	}
	if p.manifest.Cluster.Version != now.Version {
		return "the server, which makes the documents' bytes anew, has another version"
	}
	b, err := fs.ReadFile(p.fsys, layout.IndexPath(ix.Name))
	var old struct {
		Mappings json.RawMessage `json:"mappings"`
	}
	if err != nil || json.Unmarshal(b, &old) != nil || !bytes.Equal(old.Mappings, ix.Mappings) {
		return "the mapping, by which the server makes the documents' bytes anew, is another one"
	}
	return ""
}

// segments reads the final segments and the delete lines of a shard, with their blobs.
func (p *parent) segments(index string, n int) ([]*storedSegment, error) {
	side, err := layout.ReadSidecar(p.fsys, index, n)
	if err != nil {
		return nil, err
	}
	if err := side.Valid(); err != nil {
		return nil, fmt.Errorf("%s: %w", layout.SidecarPath(index, n), err)
	}
	var files [2][]repository.BlobRef
	for f := range files {
		if files[f], err = p.blobs(fileKind(f).name(index, n)); err != nil {
			return nil, err
		}
	}
	var all []*storedSegment
	idsAt := int64(0)
	for i, g := range side.Segments {
		s := &storedSegment{Segment: g, idsAt: idsAt}
		idsAt += g.IDsBytes
		for f, want := range [2]struct {
			blobs int
			bytes int64
		}{{g.Blobs, g.Bytes}, {g.IDsBlobs, g.IDsBytes}} {
			if want.blobs > len(files[f]) {
				return nil, fmt.Errorf("segment %d has %d blobs, %d are left in %s", i, want.blobs, len(files[f]), fileKind(f).name(index, n))
			}
			for _, b := range files[f][:want.blobs] {
				want.bytes -= b.Size
				s.blobs[f] = append(s.blobs[f], b.ID)
			}
			files[f] = files[f][want.blobs:]
			if want.bytes != 0 {
				return nil, fmt.Errorf("segment %d: its blobs in %s differ from its length by %d bytes", i, fileKind(f).name(index, n), want.bytes)
			}
		}
		if g.Deletes == 0 && (!g.Final || g.From < 0) {
			continue
		}
		if !p.present(s) {
			return nil, fmt.Errorf("segment %d: a blob of it is not in the repository", i)
		}
		all = append(all, s)
	}
	return all, nil
}

func (p *parent) present(s *storedSegment) bool {
	for f := range s.blobs {
		for _, id := range s.blobs[f] {
			if !p.hasBlob(id) {
				return false
			}
		}
	}
	return true
}

// blobs lists the blobs of a file in the parent.
func (p *parent) blobs(name string) ([]repository.BlobRef, error) {
	f, err := p.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // nothing was read from it
	rf, ok := f.(*repository.File)
	if !ok {
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	return rf.Blobs(), nil
}
