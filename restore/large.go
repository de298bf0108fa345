package restore

import (
	"bytes"
	"context"
	"io/fs"

	"golang.org/x/sync/semaphore"
)

// largeLine is the length in bytes from which on a line of a documents file is read while no other such line is.
const largeLine = 8 << 20

// largeReads is a file system out of whose files, which may be read at the same time, one long line is read at a time, and none before
// the sender has sent the large documents that it was given: each stands in memory twice while it is read.
type largeReads struct {
	fs.FS
	ctx  context.Context
	one  *semaphore.Weighted
	sent *semaphore.Weighted // sender.large
}

func newLargeReads(ctx context.Context, src fs.FS, sent *semaphore.Weighted) *largeReads {
	return &largeReads{FS: src, ctx: ctx, one: semaphore.NewWeighted(1), sent: sent}
}

func (l *largeReads) Open(name string) (fs.File, error) {
	f, err := l.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return &largeReadsFile{File: f, l: l}, nil
}

type largeReadsFile struct {
	fs.File
	l    *largeReads
	line int64 // bytes read of the last line
	held bool
	over bool // the long line has been read
}

// Read reads the file. Whoever reads on after a long line has done with it.
func (f *largeReadsFile) Read(p []byte) (int, error) {
	if f.over {
		f.release()
	}
	if f.line > largeLine && !f.held {
		if err := f.l.one.Acquire(f.l.ctx, 1); err != nil {
			return 0, context.Cause(f.l.ctx)
		}
		f.held = true
		if err := f.l.sent.Acquire(f.l.ctx, largeRoom); err != nil {
			return 0, context.Cause(f.l.ctx)
		}
		f.l.sent.Release(largeRoom)
	}
	n, err := f.File.Read(p)
	if i := bytes.LastIndexByte(p[:n], '\n'); i >= 0 {
		f.line, f.over = int64(n-i-1), f.held
	} else {
		f.line += int64(n)
	}
	return n, err
}

func (f *largeReadsFile) Close() error {
	f.release()
	return f.File.Close()
}

func (f *largeReadsFile) release() {
	if f.held {
		f.l.one.Release(1)
	}
	f.held, f.over = false, false
}
