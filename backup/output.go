package backup

import (
	"context"
	"io"

	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository"
)

// fileKind is one of the two files that hold a shard's segments.
type fileKind int

const (
	docsFile fileKind = iota
	idsFile
)

func (f fileKind) name(index string, shard int) string {
	if f == idsFile {
		return layout.IDsPath(index, shard)
	}
	return layout.DocumentsPath(index, shard)
}

// output is where a backup goes: a repository's Writer or a Target.
type output interface {
	// file writes a whole small file.
	file(ctx context.Context, name string, data []byte) error
	// shard begins the two files of a shard.
	shard(ctx context.Context, index string, n int) (shardOutput, error)
}

// shardOutput takes the segments of one shard.
type shardOutput interface {
	// parallel reports whether save may be called concurrently and in any order.
	parallel() bool
	save(ctx context.Context, f fileKind, p []byte) (repository.BlobID, error)
	// commit makes the files, of the given blobs where save is parallel.
	commit(blobs [2][]repository.BlobID) error
	// abort drops what was not committed. It may be called more than once.
	abort()
}

// repoOutput writes into a snapshot.
type repoOutput struct{ w *repository.Writer }

func (o repoOutput) file(_ context.Context, name string, data []byte) error {
	f, err := o.w.Create(name)
	if err != nil {
		return err
	}
	return writeAndClose(f, data)
}

func writeAndClose(f File, data []byte) error {
	if _, err := f.Write(data); err != nil {
		_ = f.Abort() // the first error says more
		return err
	}
	return f.Close()
}

func (o repoOutput) shard(_ context.Context, index string, n int) (shardOutput, error) {
	return &repoShard{w: o.w, index: index, n: n}, nil
}

type repoShard struct {
	w     *repository.Writer
	index string
	n     int
}

func (s *repoShard) parallel() bool { return true }

func (s *repoShard) save(ctx context.Context, _ fileKind, p []byte) (repository.BlobID, error) {
	return s.w.SaveBlob(ctx, p)
}

func (s *repoShard) commit(blobs [2][]repository.BlobID) error {
	for f := range blobs {
		w, err := s.w.Create(fileKind(f).name(s.index, s.n))
		if err != nil {
			return err
		}
		if err := w.Append(blobs[f]...); err != nil {
			_ = w.Abort() // the first error says more
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
	return nil
}

// abort has nothing to do: blobs that no file names are pruned some day.
func (s *repoShard) abort() {}

// targetOutput writes into a Target.
type targetOutput struct{ t Target }

func (o targetOutput) file(ctx context.Context, name string, data []byte) error {
	f, err := o.t.Create(ctx, name)
	if err != nil {
		return err
	}
	return writeAndClose(f, data)
}

func (o targetOutput) shard(ctx context.Context, index string, n int) (shardOutput, error) {
	s := &targetShard{}
	for f := range s.files {
		var err error
		if s.files[f], err = o.t.Create(ctx, fileKind(f).name(index, n)); err != nil {
			s.abort()
			return nil, err
		}
	}
	return s, nil
}

type targetShard struct{ files [2]File }

func (s *targetShard) parallel() bool { return false }

func (s *targetShard) save(ctx context.Context, f fileKind, p []byte) (repository.BlobID, error) {
	if ctx.Err() != nil {
		return repository.BlobID{}, context.Cause(ctx)
	}
	n, err := s.files[f].Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return repository.BlobID{}, err
}

func (s *targetShard) commit([2][]repository.BlobID) error {
	for i, f := range s.files {
		s.files[i] = nil // either way it is done with
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (s *targetShard) abort() {
	for i, f := range s.files {
		if f != nil {
			_ = f.Abort() // something else failed before
			s.files[i] = nil
		}
	}
}
