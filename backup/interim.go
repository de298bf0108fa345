package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository"
)

// interim is the directory that a dump lies in until it is uploaded. Its name says of which cluster and selection it is, so that
// several backups can share a volume and none takes another's files for its own.
type interim struct {
	dir  string
	root *os.Root
}

// openInterim makes the directory of this backup below the one that the user named.
func (j *job) openInterim() (*interim, error) {
	key, err := json.Marshal([]any{j.manifest.Cluster.UUID, j.manifest.Selection})
	if err != nil {
		return nil, fmt.Errorf("encode the selection: %w", err)
	}
	sum := sha256.Sum256(key)
	dir := filepath.Join(j.o.Interim, "escrow-interim-"+hex.EncodeToString(sum[:8]))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("interim directory: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("interim directory: %w", err)
	}
	return &interim{dir: dir, root: root}, nil
}

// complete returns the manifest of a dump that an earlier run finished and did not upload, nil if there is none. A dump whose
// manifest cannot be read counts as none.
func (i *interim) complete(j *job) *layout.Manifest {
	m, err := layout.ReadManifest(i.root.FS())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		j.log.Warn("dump again", "interim", i.dir, "error", err)
		return nil
	case m.Cluster.UUID != j.manifest.Cluster.UUID:
		return nil
	case len(m.Omitted) > 0 && !j.o.AllowOmissions, j.o.Transform != nil: // no two functions can be compared
		return nil
	}
	return m
}

// wipe removes everything in the directory.
func (i *interim) wipe() error {
	entries, err := fs.ReadDir(i.root.FS(), ".")
	if err != nil {
		return fmt.Errorf("wipe interim directory %s: %w", i.dir, err)
	}
	// The manifest first: what is left of a dump must not look like a whole one.
	errs := []error{i.root.RemoveAll(layout.ManifestPath)}
	for _, e := range entries {
		errs = append(errs, i.root.RemoveAll(e.Name()))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("wipe interim directory %s: %w", i.dir, err)
	}
	return nil
}

// remove wipes the directory and takes it away.
func (i *interim) remove() error {
	if err := i.wipe(); err != nil {
		return err
	}
	if err := os.Remove(i.dir); err != nil {
		return fmt.Errorf("remove interim directory: %w", err)
	}
	return nil
}

// runInterim is Run by way of a directory.
func (j *job) runInterim(ctx context.Context, repo *repository.Repo) (*Result, error) {
	i, err := j.openInterim()
	if err != nil {
		return nil, err
	}
	defer func() { _ = i.root.Close() }() // everything in it was synced when it was written
	res := &Result{}
	if res.Manifest = i.complete(j); res.Manifest != nil {
		res.Resumed = true
		j.log.Info("upload the dump of an earlier run", "interim", i.dir, "started", res.Manifest.Started)
		j.progress = newReporter(j.o.Progress, j.started, len(res.Manifest.Indices))
	} else {
		if err := i.dump(ctx, j); err != nil {
			return nil, err
		}
		res.Manifest = j.manifest
	}
	res.Snapshot, err = repo.Write(ctx, j.header(res.Manifest), func(ctx context.Context, w *repository.Writer) error {
		u := &upload{j: j, src: i.root.FS(), out: repoOutput{w}}
		if err := u.all(ctx, res.Manifest); err != nil {
			return err
		}
		res.BytesAdded = w.Stats().AddedBytes
		return nil
	})
	switch {
	case errors.Is(err, errDumpDamaged):
		return nil, errors.Join(err, i.wipe())
	case err != nil:
		return nil, fmt.Errorf("%w (the dump in %s is kept, the next run uploads it)", err, i.dir)
	}
	if err := i.remove(); err != nil {
		j.log.Warn("the snapshot is complete, but its dump could not be removed", "error", err)
	}
	j.complete(res)
	return res, nil
}

// dump fills the directory. Half a dump is of no use to anybody, and in the way where space is short: it is removed.
func (i *interim) dump(ctx context.Context, j *job) error {
	if err := i.wipe(); err != nil {
		return err
	}
	var to Target = &DirTarget{root: i.root}
	if j.o.disk != nil {
		to = j.o.disk(to)
	}
	err := j.run(ctx, targetOutput{to})
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.ENOSPC) {
		err = fmt.Errorf("interim directory %s is full, it must have room for all documents of the selection: %w", i.dir, err)
	}
	if werr := i.remove(); werr != nil {
		err = fmt.Errorf("%w (and %w)", err, werr)
	}
	return err
}

// errDumpDamaged says that the interim directory does not hold what was written to it.
var errDumpDamaged = errors.New("the dump in the interim directory is damaged")

// upload copies a dump into a repository.
type upload struct {
	j   *job
	src fs.FS
	out output
}

func (u *upload) all(ctx context.Context, m *layout.Manifest) error {
	u.j.tally.segments = 0 // those of the dump are uploaded one by one
	u.j.progress.change(func(p *Progress) { p.Uploading, p.IndicesDone = true, 0 })
	for _, s := range m.Sections {
		if s.Objects > 0 {
			if err := u.file(ctx, layout.SectionPath(s.Name)); err != nil {
				return err
			}
		}
	}
	if len(m.DataStreams) > 0 {
		if err := u.file(ctx, layout.SectionPath(layout.DataStreams)); err != nil {
			return err
		}
	}
	for _, ix := range m.Indices {
		for _, sh := range ix.Shards {
			if err := u.shard(ctx, ix.Name, sh); err != nil {
				return fmt.Errorf("upload index %s shard %d: %w", ix.Name, sh.Number, err)
			}
		}
		if err := u.file(ctx, layout.IndexPath(ix.Name)); err != nil {
			return err
		}
		u.j.progress.indexDone(ix.Name)
	}
	return u.file(ctx, layout.ManifestPath)
}

// file copies a small file.
func (u *upload) file(ctx context.Context, name string) error {
	b, err := fs.ReadFile(u.src, name)
	if err != nil {
		return fmt.Errorf("%w: %w", errDumpDamaged, err)
	}
	if err := u.out.file(ctx, name, b); err != nil {
		return fmt.Errorf("upload %s: %w", name, err)
	}
	return nil
}

// shard copies the files of a shard, segment by segment, so that the blobs are those that a backup straight into the repository
// would have made, and the next one can build on them. What is read must be what the manifest says.
func (u *upload) shard(ctx context.Context, index string, sh layout.Shard) error {
	side, err := layout.ReadSidecar(u.src, index, sh.Number)
	if err != nil {
		return fmt.Errorf("%w: %w", errDumpDamaged, err)
	}
	var files [2]fs.File
	for f := range files {
		if files[f], err = u.src.Open(fileKind(f).name(index, sh.Number)); err != nil {
			return fmt.Errorf("%w: %w", errDumpDamaged, err)
		}
		defer func() { _ = files[f].Close() }() // it was only read
	}
	out, err := u.out.shard(ctx, index, sh.Number)
	if err != nil {
		return err
	}
	defer out.abort() // nothing happens after a commit
	s := &shardJob{out: out, sidecar: layout.Sidecar{Format: layout.SidecarFormat, Segments: []layout.Segment{}}}
	var read []*storedSegment
	for _, g := range side.Segments {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		seg, err := u.segment(ctx, g, files, out)
		if err != nil {
			return err
		}
		read = append(read, seg)
		u.j.progress.change(func(p *Progress) { p.Uploaded += g.Bytes; p.Index = index })
	}
	for f := range files {
		if n, err := files[f].Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: %s is longer than its segments", errDumpDamaged, fileKind(f).name(index, sh.Number))
		}
	}
	if err := s.assemble(&shardPlan{}, read); err != nil {
		return fmt.Errorf("%w: %w", errDumpDamaged, err)
	}
	if s.info.Docs != sh.Docs || s.info.Bytes != sh.Bytes || s.info.Digest != sh.Digest {
		return fmt.Errorf("%w: %s has %d documents, %d bytes and digest %s, the manifest says %d, %d and %s", errDumpDamaged,
			layout.DocumentsPath(index, sh.Number), s.info.Docs, s.info.Bytes, s.info.Digest, sh.Docs, sh.Bytes, sh.Digest)
	}
	u.j.mu.Lock()
	u.j.tally.segments += int64(len(read))
	u.j.mu.Unlock()
	return s.commit(ctx, u.out, index, sh.Number)
}

// segment copies one segment, and counts what is in it anew.
func (u *upload) segment(ctx context.Context, g layout.Segment, files [2]fs.File, out shardOutput) (*storedSegment, error) {
	e := buffers.Get().(*encoder)
	defer buffers.Put(e)
	e.reset(0)
	seg := &storedSegment{Segment: layout.Segment{From: g.From, To: g.To, Sum: g.Sum, Final: g.Final, Ambiguous: g.Ambiguous}}
	part := io.LimitReader(files[docsFile], g.Bytes)
	for d, err := range layout.Documents(part, "") {
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errDumpDamaged, err)
		}
		if err := e.addLines(ctx, &d, seg, out); err != nil {
			return nil, err
		}
	}
	ids := make([]byte, g.IDsBytes)
	if _, err := io.ReadFull(files[idsFile], ids); err != nil || bytes.Count(ids, []byte{'\n'}) != int(g.Docs) {
		return nil, fmt.Errorf("%w: the ids file has not a line for each document", errDumpDamaged)
	}
	e.buf[idsFile], seg.IDsBytes = append(e.buf[idsFile], ids...), g.IDsBytes
	if err := e.finish(ctx, seg, out); err != nil {
		return nil, err
	}
	if seg.Docs != g.Docs || seg.Bytes != g.Bytes || seg.Digest != g.Digest {
		return nil, fmt.Errorf("%w: a segment has %d documents and digest %s, its sidecar says %d and %s", errDumpDamaged,
			seg.Docs, seg.Digest, g.Docs, g.Digest)
	}
	return seg, nil
}
