package estest

import (
	"encoding/json"
	"slices"
	"strings"
)

// sourceFilter is the "_source" of a request.
type sourceFilter struct {
	off                bool
	includes, excludes []string
	vectors            *bool // exclude_vectors
}

func newSourceFilter(b []byte) (*sourceFilter, *esError) {
	f := &sourceFilter{}
	var v any
	if len(b) == 0 {
		return f, nil
	}
	_ = decode(b, &v) // part of a valid body
	switch x := v.(type) {
	case bool:
		f.off = !x
	case string:
		f.includes = []string{x}
	case []any:
		f.includes = list(map[string]any{"v": x}, "v")
	case map[string]any:
		for k, e := range x {
			switch k {
			case "includes", "include":
				f.includes = list(x, k)
			case "excludes", "exclude":
				f.excludes = list(x, k)
			case "exclude_vectors":
				on := e == true
				f.vectors = &on
			default:
				return nil, parseError("Unknown key for a VALUE in [%s].", k)
			}
		}
	}
	return f, nil
}

func sourceFromQuery(r *request) (*sourceFilter, *esError) {
	f := &sourceFilter{}
	split := func(s string) []string {
		if s == "" {
			return nil
		}
		return strings.Split(s, ",")
	}
	switch v := r.q.Get("_source"); v {
	case "", "true":
	case "false":
		f.off = true
	default:
		f.includes = split(v)
	}
	f.includes = append(f.includes, split(r.q.Get("_source_includes"))...)
	f.excludes = split(r.q.Get("_source_excludes"))
	if v := r.q.Get("_source_exclude_vectors"); v != "" {
		on := v == "true"
		f.vectors = &on
	}
	return f, nil
}

// apply returns the bytes to show, nil for none. Without a filter these are the stored bytes; with one the source is written anew.
func (f *sourceFilter) apply(h *Handler, ix *index, d *doc) []byte {
	if f.off || ix.fields.noSource {
		return nil
	}
	ex := f.excludes
	if f.vectors != nil && *f.vectors || f.vectors == nil && h.exclude && ix.setting("index.mapping.exclude_source_vectors") != "false" {
		for _, v := range ix.fields.vectors("") {
			// One that is asked for by its name is shown.
			if f.vectors != nil || !slices.Contains(f.includes, v) {
				ex = append(ex[:len(ex):len(ex)], v)
			}
		}
	}
	if len(f.includes) == 0 && len(ex) == 0 {
		return d.source
	}
	var v any
	_ = decode(d.source, &v) // was valid when it was stored
	if len(f.includes) > 0 {
		kept, some := keepPaths(v, split(f.includes))
		if v = kept; !some {
			v = map[string]any{}
		}
	}
	if len(ex) > 0 {
		v = dropPaths(v, split(ex))
	}
	return encode(rewritten(v))
}

// rewritten shows numbers as a server does that parsed them: 1e2 becomes 100.0.
func rewritten(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			x[k] = rewritten(e)
		}
	case []any:
		for i, e := range x {
			x[i] = rewritten(e)
		}
	case json.Number:
		if strings.ContainsAny(x.String(), ".eE") {
			f, _ := x.Float64() // beyond a double: Infinity, as there
			return dbl(f)
		}
		return raw(x.String())
	}
	return v
}

func split(names []string) (out [][]string) {
	for _, n := range names {
		out = append(out, strings.Split(n, "."))
	}
	return out
}
