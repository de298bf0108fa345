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

// streamChoice is a data stream of the backup, the name it gets, and those of its indices that are in the backup.
type streamChoice struct {
	stream  *layout.DataStream
	to      string
	members []choice // backing indices, then those of the failure store
	failure int      // how many of the members are of the failure store
}

// choose selects the indices and data streams of a backup and gives them their new names. An index of a data stream is not
// chosen by itself, but with its data stream, whose name it follows.
func choose(src fs.FS, m *layout.Manifest, o *Options) ([]choice, []streamChoice, error) {
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	byAlias, err := aliased(src, m, o.Indices)
	if err != nil {
		return nil, nil, err
	}
	wanted := func(name string) bool {
		return len(o.Indices) == 0 || byAlias[name] || elastic.Match(o.Indices, name)
	}
	from, indices := map[string]string{}, map[string]*layout.Index{}
	named := func(name, to string) error {
		if other, ok := from[to]; ok {
			return fmt.Errorf("indices %q and %q would both be restored as %q", other, name, to)
		}
		from[to] = name
		return nil
	}
	for i := range m.Indices {
		indices[m.Indices[i].Name] = &m.Indices[i]
	}
	var streams []streamChoice
	for i := range m.DataStreams {
		d := &m.DataStreams[i]
		ch := streamChoice{stream: d, to: rename(o.Rename, d.Name)}
		chosen := wanted(d.Name)
		for k, name := range slices.Concat(d.Indices, d.Failure) {
			ix := indices[name]
			delete(indices, name)
			if ix == nil {
				continue
			}
			chosen = chosen || wanted(name)
			out, err := leftOut(src, d, k, o)
			if err != nil {
				return nil, nil, err
			}
			if !out {
				ch.members = append(ch.members, choice{index: ix, to: memberName(d.Name, ch.to, name)})
				if k >= len(d.Indices) {
					ch.failure++
				}
			}
		}
		if !chosen || elastic.Match(o.Exclude, d.Name) {
			continue
		}
		if len(ch.members) == ch.failure {
			return nil, nil, fmt.Errorf("data stream %q: none of its backing indices is in the backup, or all are excluded", d.Name)
		}
		if err := named(d.Name, ch.to); err != nil {
			return nil, nil, err
		}
		for _, c := range ch.members {
			if err := named(c.index.Name, c.to); err != nil {
				return nil, nil, err
			}
		}
		streams = append(streams, ch)
	}
	var chosen []choice
	for i := range m.Indices {
		ix := &m.Indices[i]
		if indices[ix.Name] == nil || !wanted(ix.Name) || elastic.Match(o.Exclude, ix.Name) {
			continue
		}
		to := rename(o.Rename, ix.Name)
		if err := named(ix.Name, to); err != nil {
			return nil, nil, err
		}
		chosen = append(chosen, choice{index: ix, to: to})
	}
	if len(chosen)+len(streams) == 0 && len(m.Indices) > 0 && !(len(o.Indices) == 0 && len(o.Sections) > 0) {
		return nil, nil, errors.New("every index that was asked for is excluded")
	}
	return chosen, streams, nil
}

// leftOut reports whether the kth index of a data stream, those of its failure store included, is not restored with it.
func leftOut(src fs.FS, d *layout.DataStream, k int, o *Options) (bool, error) {
	name := slices.Concat(d.Indices, d.Failure)[k]
	switch {
	case elastic.Match(o.Exclude, name):
		return true, nil
	case o.From.IsZero() && o.To.IsZero() || k == len(d.Indices)-1:
		return false, nil
	}
	meta, err := readMetadata(src, name)
	return err == nil && o.outside(meta), err
}

// memberName is the name of an index of a data stream that is called otherwise now. One that the server did not name after the
// data stream keeps its name.
func memberName(stream, to, name string) string {
	for _, prefix := range []string{".ds-", ".fs-"} {
		if rest, ok := strings.CutPrefix(name, prefix+stream+"-"); ok {
			return prefix + to + "-" + rest
		}
	}
	return name
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
