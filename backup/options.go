package backup

import (
	"context"
	"log/slog"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository"
)

// Document is one document of an index.
type Document = layout.Document

// Options choose what to back up and how; nil and the zero value work.
type Options struct {
	// Indices are names of indices, data streams or aliases, or patterns with "*". Default: every one whose name does not begin
	// with a dot. A backing index stands for its whole data stream. A name without "*" that does not exist is an error.
	Indices []string
	// Exclude are names or patterns; what they match is left out.
	Exclude []string

	// Sections are what else of the cluster to back up: names of sections (package layout lists them) or patterns with "*", each
	// with a "/" and a name or pattern of objects after it if only those are wanted, such as "ingest_pipelines/logs-*".
	// "default" stands for every section that is not opt-in, and is the default; "none" alone is none.
	Sections []string
	// Kibana is a client for Kibana's own address, for the sections that are asked of it.
	Kibana elastictransport.Interface

	Concurrency int           // search requests at once, and points in time that are open at once; default 4
	SealTimeout time.Duration // how long to wait until a shard's checkpoint reaches what was read; default 10 s
	KeepAlive   time.Duration // of a point in time between two requests; default 5 min
	Retries     int           // of one request; default 6, negative: none

	// DocsPerSecond and BytesPerSecond hold the reading back, so that the cluster has strength left for others: on average no more
	// than so many documents, or bytes of answers, a second are asked for, over all shards. Default: as fast as the cluster
	// answers. See the package comment for what reading costs a cluster.
	DocsPerSecond, BytesPerSecond int64

	// AllowOmissions goes on when something cannot be backed up completely, and names it in the manifest. Default: it is an
	// error.
	AllowOmissions bool

	// Transform is called with every document between cluster and target, and may change it; false leaves it out. It is
	// called concurrently. A backup with a Transform reads every document, and none is ever built on it.
	Transform func(*Document) (keep bool, err error)

	// Versions records the version of every document, and a restore gives it back ("external_gte"): for those who use versions of
	// their own, or compare them. Default: documents begin at version 1 again. A snapshot without versions is no parent of one with
	// them, nor the other way round.
	Versions bool

	// Interim is a directory for Run to dump into before it uploads anything, for clusters that must not hold points in time
	// for as long as the repository takes. It needs room for all documents of the selection, uncompressed, and holds them unencrypted.
	// The dump lies in a directory of its own below, which is removed once the snapshot is there. When the upload fails it stays: the
	// next Run with the same cluster and selection uploads it, as of the time it was made, instead of asking the cluster
	// (Result.Resumed). A dump that is not complete, or not what it was, is made anew. Everything is read from the cluster each time;
	// backups without Interim build on such a snapshot as on any other. Default: straight into the repository.
	Interim string

	// Increment is how Run builds on an earlier snapshot; default IncrementLog.
	Increment Increment
	// VerifyEvery n makes every n-th increment of Run read everything, and compare what it takes over with what it read: a difference is a
	// *DifferenceError. 1 verifies each one, a negative number none. Default 30. Such a run takes the cluster as long as a full backup, and
	// adds no more to the repository than any other increment.
	VerifyEvery int

	Full bool     // Run: reuse nothing of an earlier snapshot
	Host string   // Run: of the snapshot; default: this machine's name
	Tags []string // Run: of the snapshot

	Logger   *slog.Logger   // default: none
	Progress func(Progress) // called serially, at most ten times a second; the last call has Done set

	sleep  func(ctx context.Context, d time.Duration) error // tests only: between attempts
	small  int64                                            // tests only: in place of smallSegment, for the last segment
	shrink int                                              // tests only: pages, and the memory for them, are so many times smaller
	disk   func(Target) Target                              // tests only: around the interim directory
}

// verifies says whether the n-th increment since everything was last read is one that reads everything.
func (o *Options) verifies(n int) bool {
	every := o.VerifyEvery
	if every == 0 {
		every = 30
	}
	return every > 0 && n >= every
}

func (o *Options) read() elastic.ReadOptions {
	return elastic.ReadOptions{Concurrency: o.Concurrency, KeepAlive: o.KeepAlive, SealTimeout: o.SealTimeout, Versions: o.Versions,
		Pace: elastic.NewPace(o.DocsPerSecond, o.BytesPerSecond)}
}

// Progress tells how far a backup is.
type Progress struct {
	Indices, IndicesDone int
	Docs, DocsDone       int64 // Docs grows while shards are opened
	DocsReused           int64 // the part of DocsDone that did not have to be read
	BytesDone            int64 // of the documents files
	Uploading            bool  // out of the interim directory: IndicesDone counts again
	Uploaded             int64 // bytes of the documents files
	Index                string
	Elapsed              time.Duration
	// Left is how long the rest would take at the speed of the last half minute, or of the last tenth of the time elapsed if that is
	// more; 0 while nothing can be said, or where the server may not be asked for statistics of all indices.
	Left time.Duration
	Done bool
}

// Result tells what Run did.
type Result struct {
	Snapshot       *repository.Snapshot
	Manifest       *layout.Manifest
	Parent         *repository.Snapshot // that segments could be taken from; nil if there is none
	Resumed        bool                 // the snapshot is of a dump that an earlier run left in the interim directory
	Documents      int64                // in the snapshot
	DocumentsRead  int64                // transferred from the cluster
	Bytes          int64                // of the documents files
	BytesAdded     int64                // to the repository, compressed and encrypted
	Segments       int64
	SegmentsReused int64
	// DocumentsReused are those of the snapshot that lie in reused segments.
	DocumentsReused int64
	// SegmentsChanged are the reused segments in which documents were updated or deleted since.
	SegmentsChanged int64
	// NotReused says why what the parent holds, and could still be good, was read again. Empty without a parent.
	NotReused []NotReused
	Verified  bool  // everything reused was compared with the cluster (Options.VerifyEvery)
	Requests  int64 // sent to the cluster
	Retries   int64 // requests sent again
	Duration  time.Duration
	Omitted   []layout.Omission // as in the manifest
}
