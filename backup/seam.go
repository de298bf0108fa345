package backup

import (
	"context"
	"io"
	"iter"
	"log/slog"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"

	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository"
)

// Document is one document of an index.
type Document = layout.Document

// Options choose what to back up and how; nil and the zero value work.
type Options struct {
	// Indices are index names, aliases or patterns with "*"; default: every index whose name does not begin with a dot. A
	// name without "*" that does not exist is an error.
	Indices []string
	Exclude []string // patterns; what they match is left out

	Concurrency int           // search requests at once; default 4
	SealTimeout time.Duration // how long to wait until a shard's checkpoint reaches what was read; default 10 s
	KeepAlive   time.Duration // of a point in time between two requests; default 5 min
	Retries     int           // of one request; default 6

	// AllowOmissions records what could not be backed up completely in the manifest, and goes on. Default: it is an error.
	AllowOmissions bool

	// Transform is applied to every document between cluster and target. Returning false leaves the document out. It is called
	// concurrently. Segments are never reused from, nor for, a backup with a Transform.
	Transform func(*Document) (keep bool, err error)

	// Run only.
	Full bool     // reuse nothing
	Host string   // of the snapshot; default os.Hostname
	Tags []string // of the snapshot

	Logger   *slog.Logger   // default: none
	Progress func(Progress) // called serially, at most ten times a second; the last call has Done set
}

// Progress of a backup.
type Progress struct {
	Indices, IndicesDone int
	Docs, DocsDone       int64 // Docs is an estimate at first
	DocsReused           int64 // part of DocsDone that did not have to be read
	BytesDone            int64
	Index                string // the one touched last
	Elapsed              time.Duration
	Done                 bool
}

// Result of a Run.
type Result struct {
	Snapshot       *repository.Snapshot
	Manifest       *layout.Manifest
	Parent         *repository.Snapshot // the snapshot that segments were reused from, nil if none
	Documents      int64                // in the snapshot
	DocumentsRead  int64                // transferred from the cluster
	Bytes          int64                // of the documents files
	BytesAdded     int64                // to the repository
	Segments       int64
	SegmentsReused int64
	Duration       time.Duration
	Omitted        []layout.Omission
}

// Target is where Dump writes.
type Target interface {
	Create(ctx context.Context, name string) (File, error)
}

// File is one file of a Target. Close makes it complete; Abort drops it.
type File interface {
	io.WriteCloser
	Abort() error
}

func Run(ctx context.Context, es elastictransport.Interface, repo *repository.Repo, o *Options) (*Result, error) {
	panic("stub")
}
func Dump(ctx context.Context, es elastictransport.Interface, t Target, o *Options) (*layout.Manifest, error) {
	panic("stub")
}
func Documents(ctx context.Context, es elastictransport.Interface, o *Options) iter.Seq2[Document, error] {
	panic("stub")
}

// Dir is the Target that writes into a directory, which must be empty or absent.
func Dir(path string) (Target, error) { panic("stub") }
