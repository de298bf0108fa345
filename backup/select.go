package backup

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

// resolved is what GET /_resolve/index/* answers.
type resolved struct {
	Indices *[]struct {
		Name       string   `json:"name"`
		Attributes []string `json:"attributes"`
		DataStream string   `json:"data_stream"`
	} `json:"indices"`
	Aliases *[]struct {
		Name    string   `json:"name"`
		Indices []string `json:"indices"`
	} `json:"aliases"`
	DataStreams *[]struct {
		Name string `json:"name"`
	} `json:"data_streams"`
}

// selected is what a selection stands for.
type selected struct {
	names    []string // open indices, ascending
	streams  []string // data streams, likewise; their indices are not among names
	closed   map[string]bool
	omitted  []layout.Omission
	warnings []string
}

// selectIndices finds the open indices of a selection, and what of it cannot be backed up.
func selectIndices(ctx context.Context, c *elastic.Client, sel layout.Selection) (*selected, error) {
	var all resolved
	err := c.JSON(ctx, elastic.Request{Method: "GET", Path: "/_resolve/index/*", Query: url.Values{"expand_wildcards": {"all"}}}, &all)
	if err != nil {
		return nil, fmt.Errorf("list indices: %w", err)
	}
	if all.Indices == nil || all.Aliases == nil || all.DataStreams == nil {
		return nil, errors.New("list indices: indices, aliases or data streams are missing in the answer")
	}
	chosen := map[string]bool{} // indices and data streams
	matched := map[string]bool{}
	choose := func(name string, members ...string) {
		for _, p := range sel.Indices {
			if matches(p, name) {
				matched[p] = true
				for _, m := range members {
					chosen[m] = true
				}
			}
		}
	}
	known := map[string]bool{}
	for _, d := range *all.DataStreams {
		known[d.Name] = true
		choose(d.Name, d.Name)
	}
	for _, ix := range *all.Indices {
		known[ix.Name] = true
		if ix.DataStream != "" {
			choose(ix.Name, ix.DataStream) // a part of a stream stands for the whole
		} else {
			choose(ix.Name, ix.Name)
		}
	}
	for _, a := range *all.Aliases {
		choose(a.Name, a.Indices...)
	}
	r := &selected{closed: map[string]bool{}}
	for _, p := range sel.Indices {
		switch {
		case matched[p] || p == "*":
		case strings.Contains(p, "*"):
			r.warnings = append(r.warnings, fmt.Sprintf("pattern %s: it matches nothing", p))
		default:
			return nil, fmt.Errorf("index %s: the cluster has no index, data stream or alias of that name", p)
		}
	}
	for _, ix := range *all.Indices {
		r.closed[ix.Name] = slices.Contains(ix.Attributes, "closed")
		switch {
		case ix.DataStream != "" && chosen[ix.Name]: // by an alias
			chosen[ix.DataStream] = true
		case !chosen[ix.Name] || elastic.Match(sel.Exclude, ix.Name):
		case r.closed[ix.Name]:
			r.omitted = append(r.omitted, layout.Omission{What: "index " + ix.Name, Why: "it is closed"})
		default:
			r.names = append(r.names, ix.Name)
		}
	}
	for _, d := range *all.DataStreams {
		if chosen[d.Name] && !elastic.Match(sel.Exclude, d.Name) {
			r.streams = append(r.streams, d.Name)
		}
	}
	for name := range chosen {
		if !known[name] {
			return nil, fmt.Errorf("list indices: an alias names %s, which is in no list of the answer", name)
		}
	}
	slices.Sort(r.names)
	slices.Sort(r.streams)
	return r, nil
}

// matches is elastic.Match for one pattern, but "*" at its beginning does not stand for a dot.
func matches(pattern, name string) bool {
	if strings.HasPrefix(pattern, "*") && strings.HasPrefix(name, ".") {
		return false
	}
	return elastic.Match([]string{pattern}, name)
}

func selection(o *Options) layout.Selection {
	s := layout.Selection{Indices: slices.Clone(o.Indices), Exclude: slices.Clone(o.Exclude), Transformed: o.Transform != nil,
		Sections: slices.Clone(o.Sections), Versions: o.Versions}
	if len(s.Indices) == 0 {
		s.Indices = []string{"*"}
	}
	slices.Sort(s.Indices)
	slices.Sort(s.Exclude)
	return s
}
