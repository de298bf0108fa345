package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

// choice is an index of the backup and the name it gets.
type choice struct {
	index *layout.Index
	to    string
}

// choose selects the indices of a backup and gives them their new names.
func choose(m *layout.Manifest, o *Options) ([]choice, error) {
	if err := checkRenames(o.Rename); err != nil {
		return nil, err
	}
	for _, name := range o.Indices {
		if !slices.ContainsFunc(m.Indices, func(ix layout.Index) bool { return elastic.Match([]string{name}, ix.Name) }) {
			return nil, fmt.Errorf("index %q is not in the backup, which holds %s: %w", name, names(m), fs.ErrNotExist)
		}
	}
	var chosen []choice
	from := map[string]string{}
	for i := range m.Indices {
		ix := &m.Indices[i]
		if len(o.Indices) > 0 && !elastic.Match(o.Indices, ix.Name) || elastic.Match(o.Exclude, ix.Name) {
			continue
		}
		to := rename(o.Rename, ix.Name)
		if other, ok := from[to]; ok {
			return nil, fmt.Errorf("indices %q and %q would both be restored as %q", other, ix.Name, to)
		}
		from[to] = ix.Name
		chosen = append(chosen, choice{index: ix, to: to})
	}
	if len(chosen) == 0 && len(m.Indices) > 0 {
		return nil, errors.New("every index that was asked for is excluded")
	}
	return chosen, nil
}

func names(m *layout.Manifest) string {
	if len(m.Indices) == 0 {
		return "no index"
	}
	var s []string
	for i, ix := range m.Indices {
		if i == 20 {
			s = append(s, fmt.Sprintf("and %d more", len(m.Indices)-i))
			break
		}
		s = append(s, ix.Name)
	}
	return strings.Join(s, ", ")
}

func checkRenames(rs []Rename) error {
	for _, r := range rs {
		from, to := strings.Count(r.From, "*"), strings.Count(r.To, "*")
		switch {
		case r.From == "" || r.To == "":
			return fmt.Errorf("rename %q to %q: a name is empty", r.From, r.To)
		case from > 1 || to > 1:
			return fmt.Errorf("rename %q to %q: more than one *", r.From, r.To)
		case to > from:
			return fmt.Errorf("rename %q to %q: only the new name has a *", r.From, r.To)
		}
	}
	return nil
}

// rename applies the first rule that matches.
func rename(rs []Rename, name string) string {
	for _, r := range rs {
		head, tail, star := strings.Cut(r.From, "*")
		if !star {
			if name == r.From {
				return r.To
			}
			continue
		}
		if len(name) >= len(head)+len(tail) && strings.HasPrefix(name, head) && strings.HasSuffix(name, tail) {
			return strings.Replace(r.To, "*", name[len(head):len(name)-len(tail)], 1)
		}
	}
	return name
}
