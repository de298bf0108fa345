package repository

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Subset is a part of a repository's packs, for checks that are not to read all at once. The zero value is none.
type Subset struct {
	part, of int     // the packs of one of several parts
	percent  float64 // of all packs, at random
	bytes    int64   // in all, about, at random
}

// SubsetPart is part n of t, 1 <= n <= t <= 256: t checks, one of each part, read everything. The parts are those of restic.
func SubsetPart(n, t int) (Subset, error) {
	if n < 1 || n > t || t > 256 {
		return Subset{}, fmt.Errorf("part %d of %d: want 1 to 256 parts, counted from 1", n, t)
	}
	return Subset{part: n, of: t}, nil
}

// SubsetPercent is so many percent of the packs, above 0 and at most 100: others each time, but at least one.
func SubsetPercent(p float64) (Subset, error) {
	if !(p > 0 && p <= 100) {
		return Subset{}, fmt.Errorf("percentage %v: want more than 0, and at most 100", p)
	}
	return Subset{percent: p}, nil
}

// SubsetBytes is packs of about so many bytes together, at least 1: others each time, but at least one.
func SubsetBytes(n int64) (Subset, error) {
	if n < 1 {
		return Subset{}, fmt.Errorf("%d bytes: want at least 1", n)
	}
	return Subset{bytes: n}, nil
}

// ParseSubset reads "2/7", "2.5%", or a number of bytes such as "500M", as restic does.
func ParseSubset(s string) (Subset, error) {
	if part, of, ok := strings.Cut(s, "/"); ok {
		n, err := strconv.Atoi(part)
		t, terr := strconv.Atoi(of)
		if err != nil || terr != nil {
			return Subset{}, fmt.Errorf("subset %q: want a part such as 2/7", s)
		}
		return SubsetPart(n, t)
	}
	if number, ok := strings.CutSuffix(s, "%"); ok {
		p, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return Subset{}, fmt.Errorf("subset %q: want a percentage such as 2.5%%", s)
		}
		return SubsetPercent(p)
	}
	n, err := ParseSize(s)
	if err != nil {
		return Subset{}, fmt.Errorf("subset %q: want a part such as 2/7, a percentage, or a number of bytes such as 500M", s)
	}
	return SubsetBytes(n)
}

// String gives the subset as ParseSubset reads it; the empty text is none.
func (s Subset) String() string {
	switch {
	case s.of > 0:
		return fmt.Sprintf("%d/%d", s.part, s.of)
	case s.percent > 0:
		return strconv.FormatFloat(s.percent, 'f', -1, 64) + "%"
	case s.bytes > 0:
		return strconv.FormatInt(s.bytes, 10)
	}
	return ""
}

// Set is ParseSubset for packages of command-line flags.
func (s *Subset) Set(text string) (err error) {
	*s, err = ParseSubset(text)
	return err
}

// restrict removes from the packs, given with their sizes, what does not belong to the subset.
func (s Subset) restrict(packs map[ID]int64) {
	if s.of > 0 {
		maps.DeleteFunc(packs, func(id ID, _ int64) bool { return int(id[0])%s.of != s.part-1 })
		return
	}
	ids := sortedIDs(packs)
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	count, left := int(math.Ceil(s.percent/100*float64(len(ids)))), s.bytes
	for i, id := range ids {
		if s.percent > 0 && i >= count || s.bytes > 0 && i > 0 && packs[id] > left {
			delete(packs, id)
			continue
		}
		left -= packs[id]
	}
}
