package repository

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/escrow-backup/escrow/internal/pack"
)

// Options of Init and Open; nil and the zero value work.
type Options struct {
	Version     int           // Init only: of the format, 1 or 2; default 2. In version 1 nothing is compressed
	Compression Compression   // of what Write stores; default: CompressionFastest
	PackSize    int           // bytes, 4 to 128 MiB; default 16 MiB
	Concurrency int           // uploads at once; default 2
	Logger      *slog.Logger  // default: none
	ScryptN     int           // of new keys: cost of the password key, a power of two; 0: about half a second, as restic chooses
	NoLock      bool          // for reading a store that cannot be written; Write is then refused
	LockTimeout time.Duration // how long to wait for a conflicting lock; default 0: fail at once
	// Cache is a directory of this machine for copies of what every operation reads: indexes, snapshots and directories,
	// encrypted as they are. It is made if need be; several repositories and processes may share it. Nothing is lost with it: it may
	// be removed at any time, what is damaged in it is read anew, and what is gone from the repository is removed from it. If it
	// cannot be used, only the Logger is told. Default: none.
	Cache string

	CopyChunker *Repo // Init only: cut files where this repository does, so that Copy between the two deduplicates

	// LockSettle is how long to wait between creating a lock and looking for those of others that were created at the same
	// moment. It must be longer than a new file takes to be listed. Default 200 ms, as restic.
	LockSettle time.Duration
}

// Compression says how hard to compress.
type Compression int

// The levels of compression.
const (
	CompressionFastest Compression = iota // zstd's fastest
	CompressionDefault                    // about a third more CPU time for a few percent less
	CompressionBetter                     // several times the CPU time
	CompressionMax                        // many times the CPU time
	CompressionOff                        // of files; directories are compressed all the same, as by restic
)

var compressionNames = []string{"fastest", "default", "better", "max", "off"}

// ParseCompression reads what String gives, and restic's "auto" for the default.
func ParseCompression(s string) (Compression, error) {
	if s == "auto" {
		return CompressionDefault, nil
	}
	if i := slices.Index(compressionNames, s); i >= 0 {
		return Compression(i), nil
	}
	return 0, fmt.Errorf("compression %q: want one of %s", s, strings.Join(compressionNames, ", "))
}

// String gives the level's name.
func (c Compression) String() string {
	if c >= 0 && int(c) < len(compressionNames) {
		return compressionNames[c]
	}
	return fmt.Sprintf("Compression(%d)", int(c))
}

// compresses reports whether blobs of a type are compressed.
func (r *Repo) compresses(t pack.Type) bool {
	return r.cfg.Version >= 2 && (r.opt.Compression != CompressionOff || t == pack.Tree)
}

func (c Compression) level() zstd.EncoderLevel {
	switch c {
	case CompressionDefault:
		return zstd.SpeedDefault
	case CompressionBetter:
		return zstd.SpeedBetterCompression
	case CompressionMax:
		return zstd.SpeedBestCompression
	}
	return zstd.SpeedFastest
}

const (
	minPackSize     = 4 << 20
	maxPackSize     = 128 << 20
	defaultPackSize = 16 << 20
)

// complete gives a copy with the defaults filled in.
func (o *Options) complete() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	if c.Version == 0 {
		c.Version = 2
	}
	if c.Version != 1 && c.Version != 2 {
		return c, fmt.Errorf("options: repository version %d is not supported, 1 and 2 are", c.Version)
	}
	if c.PackSize == 0 {
		c.PackSize = defaultPackSize
	}
	if c.PackSize < minPackSize || c.PackSize > maxPackSize {
		return c, fmt.Errorf("options: pack size %d is not between %d and %d", c.PackSize, minPackSize, maxPackSize)
	}
	if c.Compression < CompressionFastest || c.Compression > CompressionOff {
		return c, fmt.Errorf("options: unknown %v", c.Compression)
	}
	if c.Concurrency < 0 {
		return c, fmt.Errorf("options: concurrency %d is negative", c.Concurrency)
	}
	if c.Concurrency == 0 {
		c.Concurrency = 2
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.LockSettle == 0 {
		c.LockSettle = 200 * time.Millisecond
	}
	return c, nil
}
