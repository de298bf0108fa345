package repository

import (
	"context"
	"fmt"
	"iter"

	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/repository/backend"
)

// ProblemKind says what is wrong.
type ProblemKind string

// The kinds of problems.
const (
	KeyDamaged      ProblemKind = "key damaged"             // a key file is not what was written
	IndexDamaged    ProblemKind = "index damaged"           // an index file cannot be read
	IndexWrong      ProblemKind = "index wrong"             // entries of a pack overlap, leave gaps, or differ from its header
	PackMissing     ProblemKind = "pack missing"            // an index names it
	PackSize        ProblemKind = "pack has the wrong size" // truncated, or longer than its blobs
	PackDamaged     ProblemKind = "pack damaged"            // its SHA-256 is not its name, or its header cannot be read
	PackUnreadable  ProblemKind = "pack unreadable"         // the backend fails
	PackUnindexed   ProblemKind = "pack in no index"        // harmless; see CheckOptions.Leftovers
	BlobDamaged     ProblemKind = "blob damaged"            // it does not decrypt, decompress, or hash to its name
	BlobMissing     ProblemKind = "blob missing"            // a tree or snapshot needs it, no index names it
	SnapshotDamaged ProblemKind = "snapshot damaged"        // it cannot be read
	TreeDamaged     ProblemKind = "tree damaged"            // it cannot be read, or what it says cannot be
	FileSizeWrong   ProblemKind = "file has the wrong size" // its blobs have another length than its tree says
)

// Harmless reports whether nothing is lost: all snapshots can be restored in spite of it. Check yields such problems only
// if CheckOptions.Leftovers asks for them.
func (k ProblemKind) Harmless() bool { return k == PackUnindexed }

// Problem is one thing that Check found; nothing is repaired.
type Problem struct {
	Kind     ProblemKind
	Handle   backend.Handle // the file concerned, if one is
	Blob     ID             // the blob concerned, if one is
	Snapshot ID             // a snapshot that it concerns, if known; there may be more
	Path     string         // in Snapshot, if known
	Err      error          // the details
}

// String gives the problem on one line.
func (p Problem) String() string {
	s := string(p.Kind)
	if p.Handle.Type != 0 {
		s += ": " + p.Handle.String()
	}
	if p.Blob != (ID{}) {
		s += ": blob " + p.Blob.String()
	}
	if p.Snapshot != (ID{}) {
		s += fmt.Sprintf(": snapshot %s: /%s", p.Snapshot.Short(), p.Path)
	}
	if p.Err != nil {
		s += ": " + p.Err.Error()
	}
	return s
}

// CheckOptions of a check; nil and the zero value work.
type CheckOptions struct {
	// ReadData reads every pack as a whole and proves that every blob can be restored. Without it, Check proves that all
	// that the snapshots need is named by an index and that the packs are there and have the right sizes.
	ReadData bool

	// ReadSubset reads, in the same way, only a part of the packs. With ReadData, all are read.
	ReadSubset Subset

	// Leftovers yields packs in no index as well, and with ReadData reads them. They are harmless: a run that was killed
	// left them, or one that is at work now has not indexed them yet. Without it, every Problem is damage.
	Leftovers bool
}

// Check looks for damage: files that are missing, truncated, changed or foreign, and snapshots whose trees or blobs are
// not there. It yields each problem that it finds, and an error only if it cannot go on: then it stops. It holds a shared
// lock.
func (r *Repo) Check(ctx context.Context, o *CheckOptions) iter.Seq2[Problem, error] {
	var opt CheckOptions
	if o != nil {
		opt = *o
	}
	return func(yield func(Problem, error) bool) {
		if err := r.check(ctx, opt, yield); err != nil {
			yield(Problem{}, fmt.Errorf("check repository: %w", err))
		}
	}
}

// checker is one run of Check.
type checker struct {
	r     *Repo
	opt   CheckOptions
	roots []treeRef    // of the snapshots
	packs map[ID]int64 // size of the stored ones
	ix    *index.Index

	problems chan<- Problem
}

// report passes a problem on. It is called from several goroutines.
func (c *checker) report(ctx context.Context, p Problem) {
	select {
	case c.problems <- p:
	case <-ctx.Done():
	}
}

func (r *Repo) check(ctx context.Context, opt CheckOptions, yield func(Problem, error) bool) error {
	if !r.opt.NoLock {
		lctx, lock, err := r.lock(ctx, false)
		if err != nil {
			return err
		}
		ctx = lctx
		defer func() {
			if err := lock.release(ctx); err != nil {
				r.opt.Logger.Warn("lock could not be removed", "error", err)
			}
		}()
	}
	ctx, cancel := context.WithCancel(withoutCache(ctx))
	defer cancel()
	// The caller's function must run in the caller's goroutine.
	problems := make(chan Problem)
	c := &checker{r: r, opt: opt, packs: map[ID]int64{}, ix: &index.Index{}, problems: problems}
	failed := make(chan error, 1)
	go func() {
		failed <- c.run(ctx)
		close(problems)
	}()
	// If the caller's function panics, the goroutine must not stay.
	defer func() {
		cancel()
		for range problems {
		}
	}()
	stopped := false
	for p := range problems {
		if !stopped && !yield(p, nil) {
			stopped = true
			cancel()
		}
	}
	err := <-failed
	if stopped {
		return nil
	}
	return err
}

func (c *checker) run(ctx context.Context) error {
	// Others may write meanwhile, in the order packs, index, snapshot. Read the other way round, what a snapshot needs is
	// there whenever it was written.
	steps := []func(context.Context) error{c.keys, c.snapshots, c.indexes, c.structure, c.trees}
	if c.opt.ReadData || c.opt.ReadSubset != (Subset{}) {
		steps = append(steps, c.data)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}
