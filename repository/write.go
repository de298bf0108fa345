package repository

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/escrow-backup/escrow/repository/backend"
)

// Header is what a new snapshot says about itself.
type Header struct {
	Time     time.Time // default: now; also that of the files and directories
	Hostname string    // default: os.Hostname
	Username string    // default: $USER
	Paths    []string  // default: "/"
	Tags     []string
	Parent   *ID // the snapshot that the summary compares with
}

// Write calls fn with a Writer and, if fn returns nil, commits what it wrote as a snapshot. If fn returns an error, or a
// file was neither closed nor aborted, there is no snapshot; blobs that were stored stay, and the next Write need not
// store them again.
//
// The context that fn gets ends also when an upload fails or the lock is lost; the error of Write then tells that cause.
// The Writer must not be used after fn has returned.
func (r *Repo) Write(ctx context.Context, h Header, fn func(ctx context.Context, w *Writer) error) (*Snapshot, error) {
	s, err := r.write(ctx, h, fn)
	if err != nil {
		return nil, fmt.Errorf("write snapshot: %w", err)
	}
	return s, nil
}

func (r *Repo) write(ctx context.Context, h Header, fn func(context.Context, *Writer) error) (_ *Snapshot, err error) {
	if r.opt.NoLock {
		return nil, fmt.Errorf("repository was opened without locks, for reading: %w", fs.ErrPermission)
	}
	ctx, lock, err := r.lock(ctx, false)
	if err != nil {
		return nil, err
	}
	defer func() {
		// The snapshot is there whether or not the lock could be removed.
		if uerr := lock.release(ctx); uerr != nil {
			r.opt.Logger.Warn("lock could not be removed", "error", uerr)
		}
	}()
	if _, err := r.refreshIndex(ctx); err != nil {
		return nil, err
	}
	start := r.now()
	if h.Time.IsZero() {
		h.Time = start
	}
	w := newWriter(ctx, r, lock, h.Time)
	w.parent = h.Parent
	committed := false
	defer func() {
		if !committed { // also when fn panics
			w.stop(errors.New("the write was given up"))
			w.close()
			w.salvage()
		}
		w.stop(ErrClosed)
	}()
	if err := fn(w.ctx, w); err != nil {
		return nil, w.cause(err)
	}
	w.close()
	s, err := w.commit(h, start)
	if err != nil {
		return nil, w.cause(err)
	}
	committed = true
	return s, nil
}

// cause gives why the Writer ended, if err only says that it did.
func (w *Writer) cause(err error) error {
	cause := context.Cause(w.ctx)
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w (%w)", cause, err)
}

func (w *Writer) commit(h Header, start time.Time) (*Snapshot, error) {
	root, err := w.names.finish()
	if err != nil {
		return nil, err
	}
	sum := &Summary{BackupStart: start}
	b := treeBuilder{w: w, sum: sum, extra: make(chan struct{}, loaders)}
	tree, err := b.build(root, b.parent(h.Parent))
	if err != nil {
		return nil, err
	}
	if err := w.flush(); err != nil {
		return nil, err
	}
	sum.BackupEnd = w.r.now()
	sum.DataBlobs, sum.TreeBlobs = w.newData, w.newTrees
	sum.DataAdded, sum.DataAddedPacked = w.stats.NewBytes, w.stats.AddedBytes
	s := &Snapshot{
		Time: h.Time, Parent: h.Parent, Tree: tree, Paths: h.Paths, Hostname: h.Hostname, Username: h.Username,
		UID: uint32(max(os.Getuid(), 0)), GID: uint32(max(os.Getgid(), 0)), Tags: h.Tags,
		ProgramVersion: programVersion(), Summary: sum,
	}
	if len(s.Paths) == 0 {
		s.Paths = []string{"/"}
	}
	if s.Hostname == "" {
		s.Hostname = hostname()
	}
	if s.Username == "" {
		s.Username = username()
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode snapshot: %w", err)
	}
	// Last of all: until here nobody removed what the snapshot needs.
	if err := w.live(w.ctx); err != nil {
		return nil, err
	}
	if err := w.lock.held(w.ctx); err != nil {
		return nil, err
	}
	if s.ID, err = w.r.saveFile(w.ctx, backend.Snapshot, text); err != nil {
		return nil, err
	}
	return s, nil
}
