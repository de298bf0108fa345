package estest

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
)

// field is one compiled field of a mapping.
type field struct {
	kind      string // "object" for the root and for objects
	props     map[string]*field
	subs      map[string]bool // multi-fields
	dynamic   string          // "true", "false", "strict", "runtime"; "" inherits
	dims      int
	malformed bool // ignore_malformed
	format    string
	enabled   bool
	dates     bool // date_detection
	routed    bool // _routing.required, on the root
	noSource  bool // _source.enabled false, on the root
}

var kinds = words(`text keyword long integer short byte double float half_float scaled_float unsigned_long boolean date date_nanos ip object nested
 binary geo_point geo_shape point shape flattened dense_vector sparse_vector rank_feature rank_features completion search_as_you_type token_count alias
 constant_keyword wildcard version integer_range long_range float_range double_range date_range ip_range percolator join semantic_text
 match_only_text histogram aggregate_metric_double murmur3 annotated_text`)

// compile checks a mapping and makes fields of it.
func compile(m map[string]any) (*field, *esError) {
	f, reason := compileField("_doc", m, true)
	if reason != "" {
		c := &esError{status: 400, kind: "mapper_parsing_exception", reason: reason}
		e := *c
		e.reason, e.cause = "Failed to parse mapping: "+reason, c
		return nil, &e
	}
	return f, nil
}

func compileField(name string, m map[string]any, root bool) (*field, string) {
	f := &field{kind: "object", enabled: true, dates: true}
	if t, is := m["type"].(string); is && !root {
		f.kind = t
	} else if m["properties"] == nil && !root && m["type"] == nil && m["dynamic"] == nil && m["enabled"] == nil && len(m) > 0 {
		return nil, "No type specified for field [" + name + "]"
	}
	if !kinds[f.kind] {
		return nil, "The mapper type [" + f.kind + "] declared on field [" + name + "] does not exist. It might have been created within a future version or requires a plugin to be installed. Check the documentation."
	}
	if v, has := m["dynamic"]; has {
		f.dynamic = fmt.Sprint(v)
	}
	if v := fmt.Sprint(m["enabled"]); v == "false" {
		f.enabled = false
	}
	f.malformed = fmt.Sprint(m["ignore_malformed"]) == "true"
	f.format, _ = m["format"].(string)
	if n, is := m["dims"].(json.Number); is {
		d, _ := n.Int64()
		f.dims = int(d)
	}
	if subs, is := m["fields"].(map[string]any); is {
		f.subs = map[string]bool{}
		for k := range subs {
			f.subs[k] = true
		}
	}
	if root {
		f.dates = fmt.Sprint(m["date_detection"]) != "false"
		r, _ := m["_routing"].(map[string]any)
		f.routed = fmt.Sprint(r["required"]) == "true"
		s, _ := m["_source"].(map[string]any)
		f.noSource = fmt.Sprint(s["enabled"]) == "false"
		for k := range m {
			switch k {
			case "properties", "dynamic", "date_detection", "numeric_detection", "dynamic_templates", "dynamic_date_formats", "runtime", "_meta",
				"_routing", "_source", "_size", "_data_stream_timestamp", "subobjects", "enabled", "_field_names", "_doc_count", "_tier":
			default:
				return nil, "Root mapping definition has unsupported parameters:  [" + k + " : " + fmt.Sprint(m[k]) + "]"
			}
		}
	}
	props, _ := m["properties"].(map[string]any)
	if f.kind == "object" || f.kind == "nested" {
		f.props = map[string]*field{}
	}
	for k, v := range props {
		pm, is := v.(map[string]any)
		if !is {
			return nil, "Expected map for property [fields] on field [" + k + "] but got a class java.lang.String"
		}
		c, reason := compileField(k, pm, false)
		if reason != "" {
			return nil, reason
		}
		if f.props == nil {
			continue
		}
		// "a.b" is b in the object a.
		at, parts := f, strings.Split(k, ".")
		for _, p := range parts[:len(parts)-1] {
			if at.props[p] == nil || at.props[p].props == nil {
				at.props[p] = &field{kind: "object", enabled: true, dates: true, props: map[string]*field{}}
			}
			at = at.props[p]
		}
		at.props[parts[len(parts)-1]] = c
	}
	return f, ""
}

// find is the field of a dotted name; a multi-field is found as its parent.
func (f *field) find(name string) *field {
	at := f
	for p := range strings.SplitSeq(name, ".") {
		if at.props[p] == nil {
			if at.subs[p] {
				return at
			}
			return nil
		}
		at = at.props[p]
	}
	return at
}

// vectors lists the dotted names of the dense vectors.
func (f *field) vectors(prefix string) (out []string) {
	for k, c := range f.props {
		if c.kind == "dense_vector" {
			out = append(out, prefix+k)
		}
		out = append(out, c.vectors(prefix+k+".")...)
	}
	return out
}

// mergeMapping returns old with the properties of add; a changed type is refused.
func mergeMapping(old, add map[string]any, path string) (map[string]any, *esError) {
	out := maps.Clone(old)
	for k, v := range add {
		if k != "properties" {
			out[k] = clone(v)
			continue
		}
		have, _ := old["properties"].(map[string]any)
		props := maps.Clone(have)
		if props == nil {
			props = map[string]any{}
		}
		more, _ := v.(map[string]any)
		for n, p := range more {
			pm, _ := p.(map[string]any)
			om, exists := props[n].(map[string]any)
			if !exists {
				props[n] = clone(p)
				continue
			}
			a, b := typeOf(om), typeOf(pm)
			if a != b {
				return nil, illegal("mapper [%s] cannot be changed from type [%s] to [%s]", path+n, a, b)
			}
			m, e := mergeMapping(om, pm, path+n+".")
			if e != nil {
				return nil, e
			}
			props[n] = m
		}
		out["properties"] = props
	}
	return out, nil
}

func typeOf(m map[string]any) string {
	if t, is := m["type"].(string); is {
		return t
	}
	return "object"
}

func (h *Handler) getMapping(r *request, target string) (*reply, *esError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	found, e := h.expand(r, target, "open")
	if e != nil {
		return nil, e
	}
	out := obj{}
	for _, ix := range found {
		if e := ix.blocked("metadata"); e != nil {
			return nil, e
		}
		out = append(out, ix.name, obj{"mappings", clone(ix.mapping)})
	}
	return &reply{status: 200, v: out}, nil
}

func (h *Handler) putMapping(r *request, target string) (*reply, *esError) {
	body, e := bodyObject(r.body)
	if e != nil {
		return nil, e
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	found, e := h.expand(r, target, "open")
	if e != nil {
		return nil, e
	}
	if _, e := compile(body); e != nil {
		return nil, e
	}
	for _, ix := range found {
		if e := ix.blocked("metadata_write"); e != nil {
			return nil, e
		}
		m, e := mergeMapping(ix.mapping, body, "")
		if e != nil {
			return nil, e
		}
		f, e := compile(m)
		if e != nil {
			return nil, e
		}
		ix.mapping, ix.fields = m, f
		ix.version++
	}
	return ok("acknowledged", true), nil
}

// learn adds the fields that a document brought along. The lock is held.
func (ix *index) learn(found map[string]any) {
	if len(found) == 0 {
		return
	}
	m, e := mergeMapping(ix.mapping, found, "")
	if e != nil {
		return // cannot be: only unknown fields are learned
	}
	if f, e := compile(m); e == nil {
		ix.mapping, ix.fields = m, f
		ix.version++
	}
}
