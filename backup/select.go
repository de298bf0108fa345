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

// selectIndices finds the open indices of a selection, ascending, and what of it cannot be backed up.
func selectIndices(ctx context.Context, c *elastic.Client, sel layout.Selection) ([]string, []layout.Omission, error) {
	var all resolved
	err := c.JSON(ctx, elastic.Request{Method: "GET", Path: "/_resolve/index/*", Query: url.Values{"expand_wildcards": {"all"}}}, &all)
	if err != nil {
		return nil, nil, fmt.Errorf("list indices: %w", err)
	}
	if all.Indices == nil || all.Aliases == nil || all.DataStreams == nil {
		return nil, nil, errors.New("list indices: indices, aliases or data streams are missing in the answer")
	}
	chosen := map[string]bool{}
	matched := map[string]bool{} // patterns
	choose := func(name string) bool {
		found := false
		for _, p := range sel.Indices {
			if matches(p, name) {
				matched[p], found = true, true
			}
		}
		return found
	}
	for _, ix := range *all.Indices {
		if choose(ix.Name) && ix.DataStream == "" {
			chosen[ix.Name] = true
		}
	}
	for _, a := range *all.Aliases {
		if choose(a.Name) {
			for _, name := range a.Indices {
				chosen[name] = true
			}
		}
	}
	var omitted []layout.Omission
	for _, d := range *all.DataStreams {
		if choose(d.Name) && !elastic.Match(sel.Exclude, d.Name) {
			omitted = append(omitted, layout.Omission{What: "data stream " + d.Name, Why: "data streams cannot be backed up"})
		}
	}
	for _, p := range sel.Indices {
		if !matched[p] && !strings.Contains(p, "*") {
			return nil, nil, fmt.Errorf("index %s: the cluster has no index or alias of that name", p)
		}
	}
	var names []string
	for _, ix := range *all.Indices {
		switch {
		case !chosen[ix.Name] || ix.DataStream != "" || elastic.Match(sel.Exclude, ix.Name):
		case slices.Contains(ix.Attributes, "closed"):
			omitted = append(omitted, layout.Omission{What: "index " + ix.Name, Why: "it is closed"})
		default:
			names = append(names, ix.Name)
		}
	}
	slices.Sort(names)
	return names, omitted, nil
}

// matches is elastic.Match for one pattern, but "*" at its beginning does not stand for a dot.
func matches(pattern, name string) bool {
	if strings.HasPrefix(pattern, "*") && strings.HasPrefix(name, ".") {
		return false
	}
	return elastic.Match([]string{pattern}, name)
}

func selection(o *Options) layout.Selection {
	s := layout.Selection{Indices: slices.Clone(o.Indices), Exclude: slices.Clone(o.Exclude), Transformed: o.Transform != nil}
	if len(s.Indices) == 0 {
		s.Indices = []string{"*"}
	}
	slices.Sort(s.Indices)
	slices.Sort(s.Exclude)
	return s
}
