package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/restore/query"
)

// keep says which documents of a backup are restored; nil stands for all.
type keep func(*Document) (bool, error)

// keeper joins Options.Filter and the range of time.
func (o *Options) keeper() keep {
	if o.From.IsZero() && o.To.IsZero() {
		return o.Filter
	}
	between := query.Between(o.TimeField, o.From, o.To)
	return func(d *Document) (bool, error) {
		ok, err := between.Match(d)
		if !ok || err != nil || o.Filter == nil {
			return ok, err
		}
		return o.Filter(d)
	}
}

// check finds options that exclude each other.
func (o *Options) check() error {
	switch {
	case o.DocumentsOnly && o.MetadataOnly:
		return errors.New("documents only and metadata only: choose one")
	case o.DocumentsOnly && o.Resume:
		return errors.New("documents only: an index that exists does not tell what is in it already; merge instead of resuming")
	case o.DocumentsOnly && o.Conflict == Replace:
		return errors.New("documents only: an index cannot be replaced without its metadata; use merge")
	case o.DocumentsOnly && len(o.Sections) > 0 && !slices.Equal(o.Sections, []string{"none"}):
		return errors.New("documents only: sections hold no documents")
	case o.MetadataOnly && (o.Filter != nil || !o.From.IsZero() || !o.To.IsZero()):
		return errors.New("metadata only: there are no documents to choose from")
	case !o.From.IsZero() && !o.To.IsZero() && !o.From.Before(o.To):
		return fmt.Errorf("a range of time from %v to %v is empty", o.From, o.To)
	}
	return errors.Join(checkRenames(o.Rename), checkRenames(o.RenameAliases))
}

// outside reports whether an index says of itself, as those of time series do, that it holds no time in the range asked for.
func (o *Options) outside(m *metadata) bool {
	return o.TimeField == "@timestamp" && (before(m.text("time_series.end_time"), o.From, true) || before(m.text("time_series.start_time"), o.To, false))
}

// before compares a bound of an index, from which none is before and to which none reaches, with one of the range.
func before(setting string, limit time.Time, end bool) bool {
	t, err := query.ParseTime(setting)
	if err != nil || limit.IsZero() {
		return false
	}
	if end {
		return !t.After(limit)
	}
	return !t.Before(limit)
}

// aliased gives the indices and data streams whose aliases match the patterns, under their names in the backup. Only what the
// manifest does not name itself is looked for.
func aliased(src fs.FS, m *layout.Manifest, patterns []string) (map[string]bool, error) {
	var left []string
	for _, p := range patterns {
		if !slices.ContainsFunc(m.Indices, func(ix layout.Index) bool { return elastic.Match([]string{p}, ix.Name) }) &&
			!slices.ContainsFunc(m.DataStreams, func(d layout.DataStream) bool { return elastic.Match([]string{p}, d.Name) }) {
			left = append(left, p)
		}
	}
	found := map[string]bool{}
	if len(left) == 0 {
		return found, nil
	}
	met := map[string]bool{}
	meet := func(owner string, aliases []string) {
		for _, p := range left {
			if slices.ContainsFunc(aliases, func(a string) bool { return elastic.Match([]string{p}, a) }) {
				met[p], found[owner] = true, true
			}
		}
	}
	for _, ix := range m.Indices {
		meta, err := readMetadata(src, ix.Name)
		if err != nil {
			return nil, err
		}
		meet(ix.Name, keysOf(meta.aliases))
	}
	for _, d := range m.DataStreams {
		s, err := readStream(src, m, d.Name, &elastic.DataStream{})
		if err != nil {
			return nil, err
		}
		aliases, err := aliasesOf(s)
		if err != nil {
			return nil, fmt.Errorf("data stream %s: aliases: %w", d.Name, err)
		}
		meet(d.Name, keysOf(aliases))
	}
	for _, p := range left {
		if !met[p] {
			return nil, fmt.Errorf("index or alias %q is not in the backup, which holds %s: %w", p, names(m), fs.ErrNotExist)
		}
	}
	return found, nil
}
