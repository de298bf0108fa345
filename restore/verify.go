package restore

import (
	"context"
	"fmt"
	"io/fs"
	"iter"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/zeebo/xxh3"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

// maxExamples bounds IndexDiff.Examples.
const maxExamples = 100

// Verify compares the cluster with a backup: the indices chosen and renamed as for a restore, their documents, and their settings,
// mappings and aliases as JSON, settings that no two indices share (see the package comment) left out; data streams with their
// indices, aliases, lifecycle and options; and the objects of the sections that a restore would write. Documents are compared by
// count and digest first; where these differ, by id, in passes of at most two million documents held in memory by their hashes.
// Versions are not compared. It refreshes the indices and changes nothing else. A difference is no error.
func Verify(ctx context.Context, src fs.FS, es elastictransport.Interface, o *Options) (*Diff, error) {
	opts := o.withDefaults()
	v := &verifier{src: src, o: opts, c: elastic.New(es, opts.elastic(opts.Retries)), diff: &Diff{}}
	if err := v.verify(ctx); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	return v.diff, nil
}

type verifier struct {
	src     fs.FS
	o       Options
	c       *elastic.Client
	cluster layout.Cluster
	t       *tracker
	diff    *Diff
}

func (v *verifier) verify(ctx context.Context) error {
	m, err := layout.ReadManifest(v.src)
	if err != nil {
		return err
	}
	chosen, streams, err := choose(v.src, m, &v.o)
	if err != nil {
		return err
	}
	refs, err := newReferences(v.src, m, &v.o, chosen, streams)
	if err != nil {
		return err
	}
	for _, s := range streams {
		chosen = append(chosen, s.members...)
	}
	if v.cluster, err = v.c.Info(ctx); err != nil {
		return err
	}
	var docs int64
	for _, ch := range chosen {
		docs += ch.index.Docs
	}
	v.t = newTracker(v.o.Progress, len(chosen), docs)
	defer v.t.done()
	for _, ch := range chosen {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		x, err := v.index(ctx, ch)
		if err != nil {
			return fmt.Errorf("index %s: %w", ch.to, err)
		}
		v.diff.Checked++
		if x.Missing || len(x.Metadata) > 0 || x.DocsMissing+x.DocsExtra+x.DocsChanged > 0 {
			v.diff.Indices = append(v.diff.Indices, *x)
		}
		v.t.update(func(p *Progress) { p.Index, p.IndicesDone = ch.to, p.IndicesDone+1 })
	}
	if v.o.DocumentsOnly {
		return nil
	}
	for _, s := range streams {
		if err := v.stream(ctx, m, s); err != nil {
			return fmt.Errorf("data stream %s: %w", s.to, err)
		}
	}
	return v.sections(ctx, m, refs)
}

func (v *verifier) index(ctx context.Context, ch choice) (*IndexDiff, error) {
	x := &IndexDiff{Index: ch.to}
	backup, err := readMetadata(v.src, ch.index.Name)
	if err != nil {
		return nil, err
	}
	found, err := resolve(ctx, v.c, ch.to)
	if err != nil {
		return nil, err
	}
	there := found[ch.to]
	if there == nil {
		x.Missing, x.DocsMissing = true, ch.index.Docs
		return x, nil
	}
	if err := v.o.adapt(backup, ch.index.Name); err != nil {
		return nil, err
	}
	if !v.o.DocumentsOnly {
		if x.Metadata, err = compareMetadata(backup, there); err != nil {
			return nil, err
		}
	}
	if v.o.MetadataOnly {
		return x, nil
	}
	if err := v.c.Refresh(ctx, ch.to); err != nil {
		return nil, err
	}
	var want layout.Digest
	var wantDocs int64
	for i := range ch.index.Shards {
		want.AddDigest(ch.index.Shards[i].Digest)
		wantDocs += ch.index.Shards[i].Docs
	}
	if v.o.keeper() != nil { // what is kept has no digest
		return x, v.byID(ctx, ch, x, wantDocs)
	}
	got, gotDocs, err := v.digest(ctx, ch.to)
	if err != nil {
		return nil, err
	}
	v.diff.Documents += gotDocs
	if got.Equal(want) && gotDocs == wantDocs {
		return x, nil
	}
	return x, v.byID(ctx, ch, x, max(gotDocs, wantDocs))
}

// live reads all documents of an index of the cluster.
func (v *verifier) live(ctx context.Context, name string) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		ix, err := v.c.Index(ctx, v.cluster, name)
		if err != nil {
			yield(Document{}, err)
			return
		}
		for d, err := range v.c.Scan(ctx, ix, elastic.ReadOptions{Concurrency: max(v.o.Concurrency, 2)}) {
			if !yield(d, err) || err != nil {
				return
			}
		}
	}
}

// backup reads all documents of an index of the backup, delete lines included, and checks each shard against the manifest.
func (v *verifier) backup(ctx context.Context, ch choice) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		for i := range ch.index.Shards {
			for d, err := range shardDocuments(ctx, v.src, ch.index.Name, &ch.index.Shards[i], ch.to, v.o.keeper(), nil) {
				if !yield(d, err) || err != nil {
					return
				}
			}
		}
	}
}

// byID finds out which documents differ. Each pass looks at those whose key falls to it.
func (v *verifier) byID(ctx context.Context, ch choice, x *IndexDiff, docs int64) error {
	passes := uint64((docs + v.o.passDocs - 1) / v.o.passDocs)
	for n := range passes {
		mine := func(k xxh3.Uint128) bool { return k.Hi%passes == n }
		if err := v.pass(ctx, ch, x, mine); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) pass(ctx context.Context, ch choice, x *IndexDiff, mine func(xxh3.Uint128) bool) error {
	left := map[xxh3.Uint128]uint64{} // the backup's documents that were not met yet, by the digest of each, of which half is enough
	var lines []byte
	for d, err := range v.backup(ctx, ch) {
		if err != nil {
			return err
		}
		k := docKey(&d)
		if !mine(k) {
			continue
		}
		if d.Deleted {
			delete(left, k)
			continue
		}
		var one layout.Digest
		if lines, err = one.AddWith(&d, lines); err != nil {
			return err
		}
		left[k] = one.Low()
	}
	for d, err := range v.live(ctx, ch.to) {
		if err != nil {
			return err
		}
		k := docKey(&d)
		if !mine(k) {
			continue
		}
		want, ok := left[k]
		if !ok {
			x.DocsExtra++
			x.example(&d, "extra")
			continue
		}
		delete(left, k)
		var one layout.Digest
		if lines, err = one.AddWith(&d, lines); err != nil {
			return err
		}
		if one.Low() != want {
			x.DocsChanged++
			x.example(&d, "changed")
		}
	}
	x.DocsMissing += int64(len(left))
	if len(left) == 0 || len(x.Examples) >= maxExamples {
		return nil
	}
	// The map holds only hashes: the names of what is missing are in the backup.
	for d, err := range v.backup(ctx, ch) {
		if err != nil {
			return err
		}
		if _, missing := left[docKey(&d)]; missing && !d.Deleted {
			delete(left, docKey(&d))
			x.example(&d, "missing")
		}
		if len(left) == 0 || len(x.Examples) >= maxExamples {
			return nil
		}
	}
	return nil
}

func (x *IndexDiff) example(d *Document, kind string) {
	if len(x.Examples) < maxExamples {
		x.Examples = append(x.Examples, DocDiff{ID: d.ID, Routing: d.Routing, Kind: kind})
	}
}
