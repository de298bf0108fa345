package estest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

func (h *Handler) bulk(r *request, target string) (*reply, *esError) {
	if len(r.body) == 0 {
		return nil, &esError{status: 400, kind: "parse_exception", reason: "request body is required"}
	}
	list, e := parseBulk(r, target)
	if e != nil {
		return nil, e
	}
	if len(list) == 0 {
		return nil, invalid("no requests added")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	items, errs, ingested := make([]any, 0, len(list)), false, false
	touched := map[*index]bool{}
	for i, w := range list {
		var res result
		if e := r.fx.rejectItem(i, len(list)); e != nil {
			res = result{name: w.index, id: w.id, status: e.status, err: e}
		} else {
			res = h.execute(w)
		}
		ingested = ingested || res.ingest
		var id any = res.id
		if res.id == "" && !w.emptyID {
			id = nil
		}
		if res.err != nil {
			errs = true
			items = append(items, obj{w.opName(), obj{"_index", res.name, "_id", id, "status", res.status, "error", res.err.detail()}})
			continue
		}
		touched[res.ix] = true
		o := res.fields()
		if r.flag("refresh") {
			o = append(o, "forced_refresh", true)
		}
		items = append(items, obj{w.opName(), append(o, res.tail()...).with("status", res.status)})
	}
	if r.flag("refresh") || r.q.Get("refresh") == "wait_for" {
		for ix := range touched {
			for _, s := range ix.shards {
				s.refresh()
			}
		}
	}
	out := obj{"errors", errs, "took", 1}
	if ingested {
		out = append(out, "ingest_took", 0)
	}
	return &reply{status: 200, v: append(out, "items", items)}, nil
}

func (w *write) opName() string {
	if w.scripted { // an index operation without an id is executed as a create, and shown as it was sent
		return "index"
	}
	return w.kind
}

// parseBulk cuts the body at newlines. Nothing is executed if a line is malformed.
func parseBulk(r *request, target string) ([]*write, *esError) {
	var list []*write
	b, line := r.body, 0
	next := func() ([]byte, bool, *esError) {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			if len(bytes.TrimSpace(b)) > 0 {
				return nil, false, illegal("The bulk request must be terminated by a newline [\\n]")
			}
			return nil, false, nil
		}
		l := b[:i]
		b = b[i+1:]
		line++
		return l, true, nil
	}
	for {
		l, more, e := next()
		if e != nil || !more {
			return list, e
		}
		if len(bytes.TrimSpace(l)) == 0 {
			continue
		}
		w, e := parseAction(r, l, line, target)
		if e != nil {
			return nil, e
		}
		if w.kind != "delete" {
			src, more, e := next()
			if e != nil {
				return nil, e
			}
			if !more {
				return list, nil // the server leaves out a last action without its source
			}
			w.source = bytes.Clone(bytes.TrimSuffix(src, []byte{'\r'}))
			if w.kind == "update" {
				if e := w.readUpdate(w.source); e != nil {
					return nil, e
				}
			} else if len(bytes.TrimSpace(w.source)) == 0 {
				return nil, invalid("source is missing")
			}
		}
		if w.index == "" {
			return nil, invalid("index is missing")
		}
		if len(w.id) > 512 {
			return nil, invalid(fmt.Sprintf("id [%s] is too long, must be no longer than 512 bytes but was: %d", w.id, len(w.id)))
		}
		list = append(list, w)
	}
}

func parseAction(r *request, l []byte, line int, target string) (*write, *esError) {
	d := json.NewDecoder(bytes.NewReader(l))
	d.UseNumber()
	malformed := func(want, got string) *esError {
		return illegal("Malformed action/metadata line [%d], expected %s but found [%s]", line, want, got)
	}
	if t, err := d.Token(); err != nil {
		return nil, &esError{status: 400, kind: "x_content_parse_exception", reason: "[1:1] " + err.Error()}
	} else if t != json.Delim('{') {
		return nil, malformed("START_OBJECT", tokenName(t))
	}
	t, err := d.Token()
	kind, is := t.(string)
	if err != nil || !is {
		return nil, malformed("FIELD_NAME", tokenName(t))
	}
	switch kind {
	case "index", "create", "delete", "update":
	default:
		return nil, malformed("field [create], [delete], [index] or [update]", kind)
	}
	var meta map[string]any
	if err := d.Decode(&meta); err != nil {
		return nil, &esError{status: 400, kind: "x_content_parse_exception", reason: "[1:1] " + err.Error()}
	}
	w := &write{kind: kind, index: target, ifSeq: -1}
	w.routing, w.hasRouting = r.q.Get("routing"), r.q.Get("routing") != ""
	w.pipeline, w.hasPipeline = r.q.Get("pipeline"), r.q.Has("pipeline")
	w.requireAlias = r.flag("require_alias")
	num := func(v any) int64 { n, _ := strconv.ParseInt(fmt.Sprint(v), 10, 64); return n }
	for k, v := range meta {
		switch k {
		case "_index":
			w.index = fmt.Sprint(v)
		case "_id":
			if v == nil {
				continue
			}
			w.id = fmt.Sprint(v)
			if w.id == "" {
				w.emptyID = true
			}
		case "routing", "_routing":
			if k == "_routing" {
				return nil, illegal("Action/metadata line [%d] contains an unknown parameter [%s]", line, k)
			}
			w.routing, w.hasRouting = fmt.Sprint(v), v != nil
		case "pipeline":
			w.pipeline, w.hasPipeline = fmt.Sprint(v), true
		case "version":
			w.version = num(v)
		case "version_type":
			w.versionType = fmt.Sprint(v)
		case "if_seq_no":
			w.ifSeq = num(v)
		case "if_primary_term":
			w.ifTerm = num(v)
		case "require_alias":
			w.requireAlias = fmt.Sprint(v) == "true"
		case "op_type":
			if kind == "index" && v == "create" {
				w.kind = "create"
			}
		case "retry_on_conflict", "dynamic_templates", "list_executed_pipelines", "require_data_stream", "_source":
		default:
			return nil, illegal("Action/metadata line [%d] contains an unknown parameter [%s]", line, k)
		}
	}
	w.scripted = w.kind == "index" && w.id == "" && !w.emptyID
	return w, nil
}

func tokenName(t json.Token) string {
	switch x := t.(type) {
	case json.Delim:
		return map[string]string{"{": "START_OBJECT", "[": "START_ARRAY", "}": "END_OBJECT", "]": "END_ARRAY"}[x.String()]
	case string:
		return "VALUE_STRING"
	case nil:
		return "VALUE_NULL"
	}
	return strings.ToUpper(fmt.Sprintf("VALUE_%T", t))
}
