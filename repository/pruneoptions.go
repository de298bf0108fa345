package repository

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// PruneOptions of a plan; nil and the zero value work.
type PruneOptions struct {
	// MaxUnused is how much unused data may stay in packs that hold used data, too, so that little needs to be written
	// anew. Default: 5 percent.
	MaxUnused MaxUnused

	// MaxRepackSize bounds the bytes that are read and written anew, so that a prune ends soon; the next goes on. Packs of
	// which nothing is used are removed all the same. 0: no limit.
	MaxRepackSize int64

	// RepackSmall joins packs under 80 percent of the pack size that Open was given, if that at least halves their number.
	RepackSmall bool

	// RepackUncompressed compresses what a repository of version 2 holds uncompressed, with the level that Open was given, where that
	// makes it shorter; what it
	// does not make shorter is tried, and moved, again each time.
	RepackUncompressed bool
}

// MaxUnused is a bound for unused data. The zero value is 5 percent.
type MaxUnused struct {
	kind  uint8
	bytes int64
	share float64 // 0 to 1
}

const (
	unusedDefault uint8 = iota
	unusedBytes
	unusedShare
	unusedUnlimited
)

const defaultUnused = 0.05

// UnusedBytes is a bound in bytes. With 0, everything that is not used goes.
func UnusedBytes(n int64) MaxUnused { return MaxUnused{kind: unusedBytes, bytes: max(n, 0)} }

// UnusedPercent is a bound relative to the size of all packs after the prune. 100 and more is no bound.
func UnusedPercent(p float64) MaxUnused {
	if !(p < 100) { // also what is not a number
		return UnusedUnlimited()
	}
	return MaxUnused{kind: unusedShare, share: max(p, 0) / 100}
}

// UnusedUnlimited removes only packs of which nothing is used.
func UnusedUnlimited() MaxUnused { return MaxUnused{kind: unusedUnlimited} }

// ParseMaxUnused reads "5%", "unlimited", or a number of bytes such as "100M", as restic does.
func ParseMaxUnused(s string) (MaxUnused, error) {
	if s == "unlimited" {
		return UnusedUnlimited(), nil
	}
	if number, ok := strings.CutSuffix(s, "%"); ok {
		p, err := strconv.ParseFloat(number, 64)
		if err != nil || !(p >= 0 && p <= 100) {
			return MaxUnused{}, fmt.Errorf("limit %q: want a percentage from 0%% to 100%%", s)
		}
		return UnusedPercent(p), nil
	}
	n, err := ParseSize(s)
	if err != nil {
		return MaxUnused{}, err
	}
	return UnusedBytes(n), nil
}

// ParseSize reads a number of bytes: digits, and then nothing, or k, m, g or t in either case for powers of 1024.
func ParseSize(s string) (int64, error) {
	digits, shift := s, 0
	if s != "" {
		if i := strings.IndexByte("kmgt", s[len(s)-1]|0x20); i >= 0 {
			digits, shift = s[:len(s)-1], 10*(i+1)
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err == nil && n > math.MaxInt64>>shift {
		err = errors.New("too large")
	}
	if err != nil {
		return 0, fmt.Errorf("size %q: want a number of bytes, such as 500M", s)
	}
	return int64(n) << shift, nil
}

// String gives the bound as ParseMaxUnused reads it.
func (m MaxUnused) String() string {
	switch m.kind {
	case unusedBytes:
		return strconv.FormatInt(m.bytes, 10)
	case unusedUnlimited:
		return "unlimited"
	}
	return strconv.FormatFloat(100*m.ratio(), 'f', -1, 64) + "%"
}

// Set is ParseMaxUnused for packages of command-line flags.
func (m *MaxUnused) Set(s string) (err error) {
	*m, err = ParseMaxUnused(s)
	return err
}

func (m MaxUnused) ratio() float64 {
	if m.kind == unusedDefault {
		return defaultUnused
	}
	return m.share
}

// limit gives the bound in bytes, if so many bytes are used.
func (m MaxUnused) limit(used int64) int64 {
	switch m.kind {
	case unusedBytes:
		return m.bytes
	case unusedUnlimited:
		return math.MaxInt64
	}
	s := m.ratio()
	return int64(s / (1 - s) * float64(used))
}
