package restore

import (
	"context"
	"log/slog"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

// Document is one document to load.
type Document = layout.Document

// Conflict says what to do with an index that exists.
type Conflict string

// The conflict modes.
const (
	Fail    Conflict = "fail"    // an error, before anything is written (default)
	Skip    Conflict = "skip"    // leave it as it is
	Replace Conflict = "replace" // load beside it, then swap
	Merge   Conflict = "merge"   // load into it; documents of the same id are overwritten, but for those of a higher version: see Load
)

// UnfinishedPrefix begins the name of an alias that an index carries while it is being restored.
const UnfinishedPrefix = "escrow-unfinished-"

// Rename renames indices: From and To hold at most one "*", which stands for the same text in both.
type Rename struct{ From, To string }

// Options of a restore, a verification and Load; nil and the zero value work.
type Options struct {
	// Indices are names or patterns with "*" of indices and data streams in the backup; default all. A backing index stands for
	// its whole data stream. What names neither stands for the indices and data streams that have it as an alias.
	Indices  []string
	Exclude  []string // likewise, aliases excepted; what they match is left out
	Rename   []Rename // of indices and data streams: the first that matches is applied
	Conflict Conflict // default Fail

	// Resume goes on with a restore that was interrupted, as by a crash, with the same backup and otherwise the same options: see the package
	// comment. No other restore may run in the cluster meanwhile. Not with DocumentsOnly.
	Resume bool

	ExcludeAliases []string // names or patterns of aliases that are not restored
	RenameAliases  []Rename // of aliases, as Rename; index.lifecycle.rollover_alias follows

	// DocumentsOnly loads into indices that exist, and touches nothing else of them. Each has to be there; with conflict mode Fail
	// empty, with Skip one that is not empty is left, with Merge they are loaded in any case. Not for data streams.
	DocumentsOnly bool
	// MetadataOnly makes indices and data streams without their documents.
	MetadataOnly bool

	// Filter chooses documents, such as (*query.Query).Match; default all. It is called concurrently, and must not change the document.
	Filter func(*Document) (bool, error)
	// From and To choose documents whose TimeField holds a time of From or later and before To; zero is no bound. One without the field is
	// left out, one whose field is no time an error. Backing indices of a data stream whose settings say that they hold no such
	// time (index.time_series.start_time and end_time) are left out, except for the one that is written to.
	From, To  time.Time
	TimeField string // default "@timestamp"

	// Overrides change settings and mappings; all that match are applied, in their order.
	Overrides []Override

	// Sections are what else to restore, as backup.Options.Sections; "default" stands for what is not opt-in. Default: that, where
	// Indices is empty; none where indices are chosen.
	Sections []string
	// Managed restores objects that the cluster, or a product, keeps itself as all others. Default: where the cluster has one of
	// the name, it is left.
	Managed bool
	// Kibana is a client for Kibana's own address, for the sections that are asked of it.
	Kibana elastictransport.Interface

	Concurrency int // bulk requests at once; default 2
	// IndicesAtOnce is how many small indices, those of data streams too, and small data streams are restored at once; default 12. Small are
	// indices whose documents fit into a bulk request, and data streams of nothing but such. Others are restored alone.
	IndicesAtOnce int
	BulkBytes     int // size of a bulk request's body; default 5 MiB
	// Retries of one request, in a row and without any item getting through, or of the documents in a shard that cannot be reached, for
	// which the server waits 10 s each time. Default 8, negative: none.
	Retries int

	// Rejected is called, serially, for every document that the server refused for good, such as by (*RejectionLog).Add; once more where the
	// index is made anew because a node was lost.
	Rejected func(Rejection)
	// MaxRejects is how many documents of the whole restore may be refused before an index, and with it the restore, fails; default 0,
	// negative: any number.
	MaxRejects int64

	Logger   *slog.Logger   // default: none
	Progress func(Progress) // serial, at most ten times a second, the last call has Done set

	sleep    func(ctx context.Context, d time.Duration) error // between attempts; tests only
	passDocs int64                                            // documents held in memory by Verify; tests only
}

// Progress of a restore or of a verification.
type Progress struct {
	Indices, IndicesDone int
	Docs, DocsDone       int64 // Docs is 0 if it is not known
	BytesDone            int64 // of documents
	Index                string
	Elapsed              time.Duration
	Done                 bool
}

// Result of a restore or of Load. After an error it says how far it came.
type Result struct {
	Indices     int   // restored, those skipped not included
	Skipped     int   // indices
	Kept        int   // indices that the interrupted restore had loaded; not counted in Indices
	Streams     int   // data streams restored; their indices are counted in Indices or Kept
	Objects     int   // of sections, written
	ObjectsLeft int   // of sections, not written: see PlannedObject.Action
	Documents   int64 // acknowledged by the server
	LeftOut     int64 // documents of the backup that the filter or the range of time did not choose
	Bytes       int64 // of their sources
	Rejected    int64 // documents refused for good
	Retried     int64 // items sent again
	Duration    time.Duration
}

func (o *Options) withDefaults() Options {
	var r Options
	if o != nil {
		r = *o
	}
	if r.Conflict == "" {
		r.Conflict = Fail
	}
	if r.TimeField == "" {
		r.TimeField = "@timestamp"
	}
	if r.Concurrency <= 0 {
		r.Concurrency = 2
	}
	if r.IndicesAtOnce <= 0 {
		r.IndicesAtOnce = 12
	}
	if r.BulkBytes <= 0 {
		r.BulkBytes = 5 << 20
	}
	if r.Retries == 0 {
		r.Retries = 8
	}
	if r.passDocs <= 0 {
		r.passDocs = 2_000_000
	}
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	return r
}

func (o *Options) elastic(retries int) *elastic.Options {
	return &elastic.Options{Retries: retries, Logger: o.Logger, Sleep: o.sleep}
}
