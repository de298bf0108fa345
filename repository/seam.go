package repository

import (
	"context"
	"io/fs"
	"iter"
	"log/slog"
	"time"

	"github.com/escrow-backup/escrow/repository/backend"
)

// ID is a SHA-256: of a blob's plain text, or of a stored file. Its JSON and text form is 64 hexadecimal digits.
type ID [32]byte

func (id ID) String() string                   { panic("stub") }
func ParseID(s string) (ID, error)             { panic("stub") }
func (id ID) MarshalText() ([]byte, error)     { panic("stub") }
func (id *ID) UnmarshalText(text []byte) error { panic("stub") }

// BlobID is the SHA-256 of a blob's plain text.
type BlobID = ID

// Password opens a key. It redacts itself when printed.
type Password string

// Options of Init and Open; nil and the zero value work.
type Options struct {
	Compression Compression   // of what Write stores; default: CompressionFastest
	PackSize    int           // bytes, 4 to 128 MiB; default 16 MiB
	Concurrency int           // uploads at once; default 2
	Logger      *slog.Logger  // default: none
	ScryptN     int           // Init only: cost of the password key; 0: calibrated as restic does
	NoLock      bool          // Open for reading on a store that cannot be written
	LockTimeout time.Duration // how long to wait for a conflicting lock; default 0: fail at once
}

type Compression int

// Repo is an open repository. All methods may be called concurrently.
type Repo struct{}

func Init(ctx context.Context, b backend.Backend, pw Password, o *Options) (*Repo, error) {
	panic("stub")
}
func Open(ctx context.Context, b backend.Backend, pw Password, o *Options) (*Repo, error) {
	panic("stub")
}

// Close releases the handle, not the Backend, which its opener closes.
func (r *Repo) Close() error { panic("stub") }
func (r *Repo) ID() string   { panic("stub") }

// Filter chooses snapshots; the zero value chooses all. Every given condition must hold.
type Filter struct {
	Hostname string
	Tags     []string // all of them
	Paths    []string // all of them
}

// Snapshot is the root of one backup, as restic stores it.
type Snapshot struct {
	ID             ID        `json:"-"`
	Time           time.Time `json:"time"`
	Parent         *ID       `json:"parent,omitempty"`
	Tree           ID        `json:"tree"`
	Paths          []string  `json:"paths"`
	Hostname       string    `json:"hostname,omitempty"`
	Username       string    `json:"username,omitempty"`
	UID            uint32    `json:"uid,omitempty"`
	GID            uint32    `json:"gid,omitempty"`
	Excludes       []string  `json:"excludes,omitempty"`
	Tags           []string  `json:"tags,omitempty"`
	Original       *ID       `json:"original,omitempty"`
	ProgramVersion string    `json:"program_version,omitempty"`
	// Summary *Summary `json:"summary,omitempty"` : 14 fields, see the format
}

func (r *Repo) Snapshots(ctx context.Context, f Filter) iter.Seq2[*Snapshot, error] { panic("stub") } // ascending by time
func (r *Repo) Snapshot(ctx context.Context, ref string) (*Snapshot, error)         { panic("stub") }
func (r *Repo) FS(ctx context.Context, s *Snapshot) (fs.FS, error)                  { panic("stub") }

// A file opened from FS is a *File: fs.File, io.Seeker, io.ReaderAt, and Blobs.
type File struct{}

// BlobRef is a blob of a file: its id and its plain length in bytes.
type BlobRef struct {
	ID   BlobID
	Size int64
}

func (f *File) Blobs() []BlobRef { panic("stub") }

// Header is what a new snapshot says about itself.
type Header struct {
	Time     time.Time // default: now
	Hostname string    // default: os.Hostname
	Username string
	Paths    []string // default: "/"
	Tags     []string
	Parent   *ID
}

// Write calls fn with a Writer and, if fn returns nil, commits what it wrote as a snapshot.
func (r *Repo) Write(ctx context.Context, h Header, fn func(ctx context.Context, w *Writer) error) (*Snapshot, error) {
	panic("stub")
}

// Writer collects the files of a snapshot. All methods may be called concurrently.
type Writer struct{}

func (w *Writer) SaveBlob(ctx context.Context, p []byte) (BlobID, error) { panic("stub") } // data blob, at most 8 MiB; does not keep p
func (w *Writer) HasBlob(id BlobID) bool                                 { panic("stub") } // known and durable, or saved by this Writer
func (w *Writer) Create(name string) (*FileWriter, error)                { panic("stub") } // slash-separated fs.ValidPath; fails if it exists; directories are made as needed
func (w *Writer) Stats() WriteStats                                      { panic("stub") }

type WriteStats struct {
	NewBlobs   int64 // data and tree blobs stored by this Writer
	NewBytes   int64 // their plain bytes
	AddedBytes int64 // what they take in the repository: compressed and encrypted
}

// FileWriter writes one file. It is used by one goroutine at a time. Close makes the file part of the snapshot; Abort drops it, and its name may be created again. A file neither closed nor aborted when fn returns nil is an error of Write.
type FileWriter struct{}

func (f *FileWriter) Write(p []byte) (int, error) { panic("stub") } // cut by content
func (f *FileWriter) Cut() error                  { panic("stub") } // end the blob here
func (f *FileWriter) Append(ids ...BlobID) error  { panic("stub") } // blobs that are in the repository, verified
func (f *FileWriter) Close() error                { panic("stub") }
func (f *FileWriter) Abort() error                { panic("stub") }

// Problem is one thing that Check found; nothing is repaired.
type Problem struct {
	Kind   string // to become typed
	Handle backend.Handle
	Blob   ID
	Err    error
}

type CheckOptions struct{ ReadData bool }

func (r *Repo) Check(ctx context.Context, o *CheckOptions) iter.Seq2[Problem, error] { panic("stub") }
