package restore

import (
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"

	"github.com/escrow-backup/escrow/layout"
)

// Document is one document to load.
type Document = layout.Document

// Conflict says what to do with an index that exists.
type Conflict string

const (
	Fail    Conflict = "fail"    // an error, before anything is written (default)
	Skip    Conflict = "skip"    // leave it as it is
	Replace Conflict = "replace" // load beside it, then swap
	Merge   Conflict = "merge"   // load into it; documents of the same id are overwritten
)

// Rename renames indices: From and To hold at most one "*", which stands for the same text in both.
type Rename struct{ From, To string }

// Options of a restore, a verification and Load; nil and the zero value work.
type Options struct {
	Indices  []string // names or patterns with "*" of indices in the backup; default all
	Exclude  []string
	Rename   []Rename // the first that matches is applied
	Conflict Conflict

	Concurrency int // bulk requests at once; default 2
	BulkBytes   int // size of a bulk request's body; default 5 MiB
	Retries     int // of one request or one rejected-for-now item; default 8

	// Rejected is called, serially, for every document that the server refused for good. The restore fails all the same.
	Rejected func(Rejection)

	Logger   *slog.Logger
	Progress func(Progress) // serial, at most ten times a second, the last call has Done set
}

// Rejection is a document that the server refused.
type Rejection struct {
	Document Document
	Status   int
	Type     string // such as "document_parsing_exception"
	Reason   string
}

type Progress struct {
	Indices, IndicesDone int
	Docs, DocsDone       int64
	BytesDone            int64
	Index                string
	Elapsed              time.Duration
	Done                 bool
}

// Plan is what a restore will do. Its String lists it for a person.
type Plan struct {
	Manifest *layout.Manifest
	Indices  []PlannedIndex
}

type PlannedIndex struct {
	From, To string // name in the backup, and in the cluster
	Action   string // "create", "skip", "replace", "merge"
	Docs     int64
	Removed  []string // settings that are not restored, and why
}

func (p *Plan) String() string { panic("stub") }

type Result struct {
	Indices   int
	Skipped   int
	Documents int64
	Bytes     int64
	Rejected  int64
	Retried   int64 // items sent again
	Duration  time.Duration
}

func NewPlan(ctx context.Context, src fs.FS, es elastictransport.Interface, o *Options) (*Plan, error) {
	panic("stub")
}
func (p *Plan) Run(ctx context.Context) (*Result, error) { panic("stub") }

// Load bulk-loads documents into the indices that they name, which must exist.
func Load(ctx context.Context, es elastictransport.Interface, docs iter.Seq2[Document, error], o *Options) (*Result, error) {
	panic("stub")
}

// Verify compares the cluster with a backup: documents by digest and then by id, settings, mappings and aliases as JSON.
func Verify(ctx context.Context, src fs.FS, es elastictransport.Interface, o *Options) (*Diff, error) {
	panic("stub")
}

// Diff is how a cluster differs from a backup.
type Diff struct {
	Indices   []IndexDiff // only those that differ
	Checked   int         // indices compared
	Documents int64       // documents compared
}

func (d *Diff) Identical() bool { return len(d.Indices) == 0 }
func (d *Diff) String() string  { panic("stub") }

type IndexDiff struct {
	Index                               string   // in the cluster
	Missing                             bool     // there is no such index
	Metadata                            []string // such as "settings: number_of_replicas: backup 1, cluster 0"
	DocsMissing, DocsExtra, DocsChanged int64
	Examples                            []DocDiff // at most 100
}

type DocDiff struct {
	ID, Routing string
	Kind        string // "missing", "extra", "changed"
}

var _ = json.RawMessage(nil)
var _ io.Reader
