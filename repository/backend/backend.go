// Package backend is the storage seam: the small contract that every place a repository can live in fulfils.
//
// A Backend stores immutable files. Each file is named by a [Handle]: a [FileType] and, for every type but
// Config, the lower-case hexadecimal SHA-256 of its content. [Handle.Path] gives the path that restic's default
// layout uses for it; drivers for file systems and object stores use that path under their prefix, so that the
// restic program opens the same place.
//
// A [Mux] opens a Backend from a URL such as "local:/srv/backups". Drivers live in sub-packages and are added
// explicitly with [Mux.Handle]; nothing registers itself.
package backend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
)

// FileType says what a file in a repository is for.
type FileType uint8

// The file types of the restic repository format.
const (
	Config   FileType = iota + 1 // the one config file, named "config"
	Key                          // a password-protected copy of the master key
	Lock                         // a lock held by a running process
	Snapshot                     // the root of one backup
	Index                        // which blobs lie in which packs
	Pack                         // encrypted blobs
)

// FileTypes lists every type, in the order in which a repository is created.
var FileTypes = []FileType{Config, Key, Lock, Snapshot, Index, Pack}

var typeNames = map[FileType]string{
	Config: "config", Key: "key", Lock: "lock", Snapshot: "snapshot", Index: "index", Pack: "pack",
}

var typeDirs = map[FileType]string{
	Key: "keys", Lock: "locks", Snapshot: "snapshots", Index: "index", Pack: "data",
}

// String gives the singular name of the type, such as "pack".
func (t FileType) String() string {
	if s, ok := typeNames[t]; ok {
		return s
	}
	return fmt.Sprintf("file type %d", uint8(t))
}

// Valid reports whether t is one of FileTypes.
func (t FileType) Valid() bool {
	_, ok := typeNames[t]
	return ok
}

// Dir is the directory of the type in restic's default layout, such as "data"; empty for Config, which lies at
// the top.
func (t FileType) Dir() string { return typeDirs[t] }

// Handle names one file of a repository.
type Handle struct {
	Type FileType
	Name string // lower-case hexadecimal SHA-256 of the content; empty for Config
}

// String gives type and name for messages, such as "pack 3f1c...".
func (h Handle) String() string {
	if h.Type == Config {
		return "config"
	}
	return h.Type.String() + " " + h.Name
}

// Valid returns an error unless h can name a file: a known type and, except for Config, a name of 64
// lower-case hexadecimal digits. The error wraps fs.ErrInvalid.
func (h Handle) Valid() error {
	if !h.Type.Valid() {
		return fmt.Errorf("%v: unknown type: %w", h.Type, fs.ErrInvalid)
	}
	if h.Type == Config {
		if h.Name != "" {
			return fmt.Errorf("config: has the name %q, wants none: %w", h.Name, fs.ErrInvalid)
		}
		return nil
	}
	if !ValidName(h.Name) {
		return fmt.Errorf("%v: %q is not a SHA-256 in lower-case hexadecimal: %w", h.Type, h.Name, fs.ErrInvalid)
	}
	return nil
}

// ValidName reports whether name is 64 lower-case hexadecimal digits. Drivers skip files with other names when
// they list.
func ValidName(name string) bool {
	return len(name) == 64 && strings.Trim(name, "0123456789abcdef") == ""
}

// Path is the file's slash-separated path in restic's default layout: "config", "keys/<name>",
// "data/<first two digits>/<name>".
func (h Handle) Path() string {
	switch h.Type {
	case Config:
		return "config"
	case Pack:
		if len(h.Name) >= 2 {
			return "data/" + h.Name[:2] + "/" + h.Name
		}
	}
	return h.Type.Dir() + "/" + h.Name
}

// FileInfo describes a stored file.
type FileInfo struct {
	Handle Handle
	Size   int64 // bytes
}

// Backend stores the files of one repository. All methods may be called concurrently.
//
// Errors wrap [fs.ErrNotExist], [fs.ErrExist] and [fs.ErrPermission] where they apply, [fs.ErrInvalid] for a handle
// or a range that can never be, and context.Cause(ctx)
// when ctx ended the call. They never contain a credential.
type Backend interface {
	// Save stores size bytes of body as h. It is atomic and durable: when it returns nil the file is complete,
	// listed, and survives a power failure; when it returns an error, or the process dies, the file is either
	// absent or complete, and an incomplete one is never listed. A file that exists is not overwritten: Save
	// then returns an error wrapping fs.ErrExist. Save may read any part of body more than once, and does not
	// use it after it returns. A body shorter than size is an error.
	Save(ctx context.Context, h Handle, body io.ReaderAt, size int64) error

	// Load opens n bytes of h from offset off; n < 0 means up to the end. A range that reaches past the end
	// is an error, from Load or from the reader (then io.ErrUnexpectedEOF); never a short read that ends in io.EOF. The
	// caller closes the reader. Cancelling ctx makes the reader fail.
	Load(ctx context.Context, h Handle, off, n int64) (io.ReadCloser, error)

	// Stat returns the size of h, or an error wrapping fs.ErrNotExist.
	Stat(ctx context.Context, h Handle) (FileInfo, error)

	// List yields every complete file of type t once, in any order, and stops after the first error.
	// A type of which nothing was ever saved yields nothing. Files with foreign names are skipped.
	List(ctx context.Context, t FileType) iter.Seq2[FileInfo, error]

	// Remove deletes h, durably. It returns an error wrapping fs.ErrNotExist if there is no such file.
	Remove(ctx context.Context, h Handle) error

	// Close releases what the Backend holds. The user who opened it closes it, once, after all other calls
	// have returned.
	Close() error
}

// Error says which operation failed on which file. Drivers return it from every method but Close.
type Error struct {
	Op     string // "save", "load", "stat", "list", "remove"
	Handle Handle // without a name when listing
	Err    error
}

func (e *Error) Error() string {
	if e.Handle.Name == "" && e.Handle.Type != Config {
		return e.Op + " " + e.Handle.Type.String() + "s: " + e.Err.Error()
	}
	return e.Op + " " + e.Handle.String() + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// IsNotExist reports whether err says that a file is not there.
func IsNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
