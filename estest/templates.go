package estest

import (
	"maps"
	"slices"
	"strings"
)

func (h *Handler) store(kind string) map[string]map[string]any {
	if h.stored[kind] == nil {
		h.stored[kind] = map[string]map[string]any{}
	}
	return h.stored[kind]
}

var templateKeys = words("index_patterns composed_of template priority version _meta data_stream allow_auto_create ignore_missing_component_templates deprecated")

// templates keeps index, component and legacy templates and lifecycle policies; none of them is applied.
func (h *Handler) templates(r *request, rest []string) (*reply, *esError) {
	kind := r.path[0]
	if kind == "_ilm" {
		if len(rest) == 0 || rest[0] != "policy" {
			return nil, badMethod(r, "POST")
		}
		rest = rest[1:]
	}
	name := strings.Join(rest, "/")
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.store(kind)
	switch r.method {
	case "PUT", "POST":
		body, e := bodyObject(r.body)
		if e != nil {
			return nil, e
		}
		tpl := body
		if kind != "_template" {
			tpl, _ = body["template"].(map[string]any)
		}
		if st, is := tpl["settings"].(map[string]any); is {
			flat := flatten(st)
			if e := checkSettings(flat); e != nil {
				if kind == "_index_template" {
					e = &esError{status: 400, kind: "invalid_index_template_exception", reason: "index_template [" + name + "] invalid, cause [" + e.reason + "]"}
				}
				return nil, e
			}
			tpl["settings"] = (&index{settings: flat}).showSettings(false)
		}
		if kind == "_index_template" {
			for k := range body {
				if !templateKeys[k] {
					return nil, &esError{status: 400, kind: "x_content_parse_exception", reason: "[1:2] [index_template] unknown field [" + k + "]"}
				}
			}
			for _, c := range list(body, "composed_of") {
				if h.store("_component_template")[c] == nil && !slices.Contains(list(body, "ignore_missing_component_templates"), c) {
					return nil, &esError{status: 400, kind: "invalid_index_template_exception",
						reason: "index_template [" + name + "] invalid, cause [index template [" + name + "] specifies component templates [" + c + "] that do not exist]"}
				}
			}
			if body["composed_of"] == nil {
				body["composed_of"] = []any{}
			}
			if m, is := tpl["mappings"].(map[string]any); is && len(list(body, "composed_of")) == 0 {
				if _, e := compile(m); e != nil {
					e = &esError{status: 400, kind: "illegal_argument_exception", reason: "invalid composite mappings for [" + name + "]", cause: e}
					return nil, &esError{status: 400, kind: "illegal_argument_exception",
						reason: "composable template [" + name + "] template after composition is invalid", cause: e}
				}
			}
		}
		if kind == "_index_template" && name == "_simulate" {
			return ok("template", body["template"], "overlapping", []any{}), nil
		}
		at[name] = body
		return ok("acknowledged", true), nil
	case "DELETE":
		for n, t := range h.store("_index_template") {
			if kind == "_component_template" && slices.Contains(list(t, "composed_of"), name) {
				return nil, illegal("component templates [%s] cannot be removed as they are still in use by index templates [%s]", name, n)
			}
		}
		for _, s := range h.streams {
			if kind == "_index_template" && s.template == name {
				return nil, illegal("unable to remove composable templates [%s] as they are in use by a data streams [%s]", name, s.name)
			}
		}
		if at[name] == nil {
			switch kind {
			case "_component_template", "_ilm":
				return nil, notFound("%s", name)
			}
			label := "index_template"
			return nil, &esError{status: 404, kind: "index_template_missing_exception", reason: label + " [" + name + "] missing"}
		}
		delete(at, name)
		return ok("acknowledged", true), nil
	}
	out, rows := obj{}, []any{}
	for _, n := range slices.Sorted(maps.Keys(at)) {
		if name != "" && !matchAny(name, n) {
			continue
		}
		switch kind {
		case "_index_template":
			rows = append(rows, obj{"name", n, "index_template", clone(at[n])})
		case "_component_template":
			rows = append(rows, obj{"name", n, "component_template", clone(at[n])})
		case "_template":
			t := map[string]any{"order": 0, "mappings": obj{}, "aliases": obj{}, "settings": obj{}}
			maps.Copy(t, clone(at[n]).(map[string]any))
			out = append(out, n, t)
		default:
			m := clone(at[n]).(map[string]any)
			out = append(out, n, obj{"version", 1, "modified_date", modified, "policy", m["policy"],
				"in_use_by", obj{"indices", []any{}, "data_streams", []any{}, "composable_templates", []any{}}})
		}
	}
	missing := name != "" && !strings.Contains(name, "*") && len(out) == 0 && len(rows) == 0
	if name != "" && len(rows) == 0 && kind == "_index_template" && !missing {
		return &reply{status: 404, v: obj{"index_templates", rows}}, nil // a pattern that finds nothing
	}
	switch kind {
	case "_index_template":
		if missing {
			return nil, notFound("index template matching [%s] not found", name)
		}
		return ok("index_templates", rows), nil
	case "_component_template":
		if missing {
			return nil, notFound("component template matching [%s] not found", name)
		}
		return ok("component_templates", rows), nil
	case "_ilm":
		if missing {
			return nil, notFound("Lifecycle policy not found: %s", name)
		}
	}
	if missing {
		return nil, &esError{status: 404, bare: obj{}}
	}
	return &reply{status: 200, v: out}, nil
}

func (h *Handler) pipelines(r *request, rest []string) (*reply, *esError) {
	name := strings.Join(rest, "/")
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.store("pipeline")
	switch r.method {
	case "PUT":
		body, e := bodyObject(r.body)
		if e != nil {
			return nil, e
		}
		if _, is := body["processors"].([]any); !is {
			return nil, &esError{status: 400, kind: "parse_exception", reason: "[processors] required property is missing"}
		}
		for _, p := range policies(body) {
			if h.store("enriched")[p] == nil {
				return nil, illegal("no enrich index exists for policy with name [%s]", p)
			}
		}
		at[name] = body
		return ok("acknowledged", true), nil
	case "DELETE":
		if at[name] == nil {
			return nil, notFound("pipeline [%s] is missing", name)
		}
		delete(at, name)
		return ok("acknowledged", true), nil
	}
	out := obj{}
	for _, n := range slices.Sorted(maps.Keys(at)) {
		if name == "" || matchAny(name, n) {
			out = append(out, n, clone(at[n]))
		}
	}
	if len(out) == 0 && name != "*" {
		return nil, &esError{status: 404, bare: obj{}}
	}
	return &reply{status: 200, v: out}, nil
}

// ingest runs the pipelines that apply to a write and says whether there were any. The lock is held.
func (h *Handler) ingest(ix *index, w *write) (bool, *esError) {
	first := ix.setting("index.default_pipeline")
	if w.hasPipeline {
		first = w.pipeline
	}
	ran := false
	for _, name := range []string{first, ix.setting("index.final_pipeline")} {
		if name == "" || name == "_none" {
			continue
		}
		ran = true
		p := h.store("pipeline")[name]
		if p == nil {
			return true, illegal("pipeline with id [%s] does not exist", name)
		}
		if e := w.process(p); e != nil {
			return true, e
		}
	}
	return ran, nil
}

// process runs the processors that are known here: set, remove and rename, on fields of the top level, and fail.
func (w *write) process(p map[string]any) *esError {
	var doc map[string]any
	if err := decode(w.source, &doc); err != nil {
		return &esError{status: 400, kind: "document_parsing_exception", reason: "failed to parse: " + err.Error()}
	}
	procs, _ := p["processors"].([]any)
	for _, x := range procs {
		m, _ := x.(map[string]any)
		for kind, a := range m {
			arg, _ := a.(map[string]any)
			f, _ := arg["field"].(string)
			switch kind {
			case "set":
				doc[f] = arg["value"]
			case "remove":
				for _, n := range list(arg, "field") {
					delete(doc, n)
				}
			case "rename":
				to, _ := arg["target_field"].(string)
				if v, has := doc[f]; has {
					doc[to] = v
					delete(doc, f)
				}
			case "fail":
				msg, _ := arg["message"].(string)
				return &esError{status: 500, kind: "fail_processor_exception", reason: msg}
			}
		}
	}
	w.source = encode(doc)
	return nil
}
