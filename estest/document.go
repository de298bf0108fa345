package estest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// write is one operation on one document, from whichever API.
type write struct {
	kind                  string // index, create, delete, update
	index, id, routing    string
	hasRouting            bool
	pipeline              string
	hasPipeline           bool
	requireAlias          bool
	version               int64
	versionType           string
	ifSeq, ifTerm         int64 // -1: not asked for
	source                []byte
	doc                   map[string]any // update
	upsert                map[string]any
	docAsUpsert, scripted bool
	emptyID               bool // "" was given
	detectNoop            bool
}

// result of a write.
type result struct {
	ix     *index
	d      *doc
	what   string // created, updated, deleted, not_found, noop
	status int
	ingest bool // a pipeline was looked at
	err    *esError
	name   string // index name to show
	id     string
}

func (res *result) fields() obj {
	return obj{"_index", res.ix.name, "_id", res.id, "_version", res.d.version, "result", res.what}
}

func (res *result) tail() obj {
	return obj{"_shards", obj{"total", 1 + res.ix.replicas(), "successful", 1, "failed", 0}, "_seq_no", res.d.seq, "_primary_term", res.d.term}
}

// execute applies one write. The lock is held.
func (h *Handler) execute(w *write) (res result) {
	res.name, res.id = w.index, w.id
	fail := func(e *esError) result {
		res.err, res.status = e, e.status
		return res
	}
	ix, e := h.writeIndex(w.index, w.kind != "delete" || w.versionType != "" && w.versionType != "internal", w.requireAlias)
	if e != nil {
		return fail(e)
	}
	// An alias may bring a routing of its own.
	if a := ix.aliases[w.index]; a != nil && !w.hasRouting {
		if s, is := a["index_routing"].(string); is {
			w.routing, w.hasRouting = s, true
		}
	}
	res.ix, res.name = ix, ix.name
	if e := h.checkStreamWrite(w, ix); e != nil {
		return fail(e)
	}
	if w.emptyID {
		return fail(illegal("if _id is specified it must not be empty"))
	}
	if ix.closed {
		return fail(ix.closedError())
	}
	if e := ix.blocked("write"); e != nil {
		return fail(e)
	}
	if w.kind == "index" || w.kind == "create" {
		ran, e := h.ingest(ix, w)
		res.ingest = ran
		if e != nil {
			return fail(e)
		}
	}
	if w.id == "" {
		w.id = newUUID()[:20]
		w.kind = "create"
		res.id = w.id
	}
	if ix.fields.routed && !w.hasRouting {
		return fail(routingMissing(ix.name, w.id))
	}
	n := ix.shardFor(w.id, w.routing, w.hasRouting)
	s := ix.shards[n]
	old := s.live[w.id]
	conflict := func(format string, a ...any) result {
		return fail(&esError{status: 409, kind: "version_conflict_engine_exception", reason: "[" + w.id + "]: version conflict, " + fmt.Sprintf(format, a...),
			extra: obj{"index_uuid", ix.uuid, "shard", strconv.Itoa(n), "index", ix.name}})
	}
	exists := old != nil && !old.deleted
	d := &doc{id: w.id, routing: w.routing, hasRouting: w.hasRouting, source: w.source, version: 1}
	if old != nil {
		d.version = old.version + 1
	}
	if w.kind == "update" {
		if !exists && w.upsert == nil && !w.docAsUpsert {
			return fail(&esError{status: 404, kind: "document_missing_exception", reason: "[" + w.id + "]: document missing",
				extra: obj{"index_uuid", ix.uuid, "shard", strconv.Itoa(n), "index", ix.name}})
		}
		if exists && ix.fields.noSource {
			return fail(&esError{status: 400, kind: "document_source_missing_exception", reason: "[" + w.id + "]: document source missing",
				extra: obj{"index_uuid", ix.uuid, "shard", strconv.Itoa(n), "index", ix.name}})
		}
		var merged map[string]any
		switch {
		case exists:
			_ = decode(old.source, &merged) // was valid when it was stored
			if !merge(merged, w.doc) && w.detectNoop {
				res.d, res.what, res.status = old, "noop", 200
				return res
			}
		case w.docAsUpsert:
			merged = w.doc
		default:
			merged = w.upsert
		}
		d.source = encode(merged)
		if exists && !w.hasRouting {
			d.routing, d.hasRouting = old.routing, old.hasRouting
		}
	}
	if w.ifSeq >= 0 {
		switch {
		case !exists:
			return conflict("required seqNo [%d], primary term [%d]. but no document was found", w.ifSeq, w.ifTerm)
		case old.seq != w.ifSeq || old.term != w.ifTerm:
			return conflict("required seqNo [%d], primary term [%d]. current document has seqNo [%d] and primary term [%d]", w.ifSeq, w.ifTerm, old.seq, old.term)
		}
	}
	switch w.versionType {
	case "external", "external_gt", "external_gte":
		if old != nil && (w.version < old.version || w.version == old.version && w.versionType != "external_gte") {
			word := "higher or equal to"
			if w.versionType == "external_gte" {
				word = "higher than"
			}
			return conflict("current version [%d] is %s the one provided [%d]", old.version, word, w.version)
		}
		d.version = w.version
	}
	if w.kind == "create" && exists {
		return conflict("document already exists (current version [%d])", old.version)
	}
	if w.kind == "delete" {
		d.deleted, d.source = true, nil
		s.apply(d)
		res.d, res.what, res.status = d, "deleted", 200
		if !exists {
			res.what, res.status = "not_found", 404
		}
	} else {
		found, e := check(ix.fields, w.id, d.source)
		if major, _ := versionOf(h.o.Version); e != nil && major >= 9 && e.kind == "not_x_content_exception" {
			e = &esError{status: 400, kind: "document_parsing_exception", reason: "[1:1] failed to parse: document must be an object"}
		}
		if e != nil {
			return fail(e)
		}
		ix.learn(found)
		s.apply(d)
		res.d, res.what, res.status = d, "created", 201
		if exists {
			res.what, res.status = "updated", 200
		}
	}
	if h.o.AutoRefresh {
		s.refresh()
	}
	return res
}

func routingMissing(index, id string) *esError {
	return &esError{status: 400, kind: "routing_missing_exception", reason: "routing is required for [" + index + "]/[" + id + "]",
		extra: obj{"index_uuid", "_na_", "index", index}}
}

// merge puts the fields of b into a and says whether anything changed.
func merge(a, b map[string]any) (changed bool) {
	for k, v := range b {
		am, aok := a[k].(map[string]any)
		bm, bok := v.(map[string]any)
		if aok && bok {
			changed = merge(am, bm) || changed
			continue
		}
		if old, has := a[k]; !has || !bytes.Equal(encode(old), encode(v)) {
			a[k] = v
			changed = true
		}
	}
	return changed
}

func (h *Handler) document(r *request, target, api, id string) (*reply, *esError) {
	if r.method == "GET" || r.method == "HEAD" {
		return h.getDocument(r, target, api, id)
	}
	w := &write{kind: "index", index: target, id: id, source: bytes.Clone(r.body), ifSeq: -1, versionType: r.q.Get("version_type")}
	w.routing, w.hasRouting = r.q.Get("routing"), r.q.Get("routing") != ""
	w.pipeline, w.hasPipeline = r.q.Get("pipeline"), r.q.Has("pipeline")
	w.requireAlias = r.flag("require_alias")
	w.version, _ = strconv.ParseInt(r.q.Get("version"), 10, 64)
	if v := r.q.Get("if_seq_no"); v != "" {
		w.ifSeq, _ = strconv.ParseInt(v, 10, 64)
		w.ifTerm, _ = strconv.ParseInt(r.q.Get("if_primary_term"), 10, 64)
	}
	switch {
	case r.method == "DELETE" && id != "":
		w.kind = "delete"
	case r.method != "PUT" && r.method != "POST" || id == "" && (r.method == "PUT" || api == "_create"):
		return nil, badMethod(r, "POST")
	case api == "_create" || r.q.Get("op_type") == "create":
		w.kind = "create"
	}
	if w.kind != "delete" && len(r.body) == 0 {
		return nil, &esError{status: 400, kind: "parse_exception", reason: "request body is required"}
	}
	if len(id) > 512 {
		return nil, invalid(fmt.Sprintf("id [%s] is too long, must be no longer than 512 bytes but was: %d", id, len(id)))
	}
	return h.single(r, w)
}

func (h *Handler) single(r *request, w *write) (*reply, *esError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	res := h.execute(w)
	if res.err != nil {
		return nil, res.err
	}
	o := res.fields()
	if v := r.q.Get("refresh"); r.flag("refresh") || v == "wait_for" {
		for _, s := range res.ix.shards {
			s.refresh()
		}
		if v != "wait_for" {
			o = append(o, "forced_refresh", true)
		}
	}
	tail := res.tail()
	if res.what == "noop" { // written to no shard
		tail[1] = obj{"total", 0, "successful", 0, "failed", 0}
	}
	return &reply{status: res.status, v: append(o, tail...)}, nil
}

func (h *Handler) updateDocument(r *request, target, id string) (*reply, *esError) {
	w := &write{kind: "update", index: target, id: id, ifSeq: -1, routing: r.q.Get("routing"), hasRouting: r.q.Get("routing") != ""}
	if e := w.readUpdate(r.body); e != nil {
		return nil, e
	}
	return h.single(r, w)
}

func (w *write) readUpdate(b []byte) *esError {
	var u struct {
		Doc         map[string]any `json:"doc"`
		Upsert      map[string]any `json:"upsert"`
		DocAsUpsert bool           `json:"doc_as_upsert"`
		DetectNoop  *bool          `json:"detect_noop"`
		Script      any            `json:"script"`
	}
	if err := decode(b, &u); err != nil {
		return &esError{status: 400, kind: "x_content_parse_exception", reason: "[1:1] [UpdateRequest] " + err.Error()}
	}
	if u.Script != nil {
		return illegal("script_lang not supported [painless]")
	}
	if u.Doc == nil {
		return invalid("script or doc is missing")
	}
	w.doc, w.upsert, w.docAsUpsert = u.Doc, u.Upsert, u.DocAsUpsert
	w.detectNoop = u.DetectNoop == nil || *u.DetectNoop
	return nil
}

// lookup finds a document by its id, in realtime. The lock is held.
func (h *Handler) lookup(target, id, routing string, has bool) (*index, *doc, *esError) {
	ix := h.indices[target]
	if ix == nil {
		for _, n := range h.names() {
			if a := h.indices[n].aliases[target]; a != nil {
				ix = h.indices[n]
				if s, is := a["search_routing"].(string); is && !has {
					routing, has = s, true
				}
			}
		}
	}
	if ix == nil {
		return nil, nil, noIndex(target)
	}
	if ix.closed {
		return nil, nil, ix.closedError()
	}
	if e := ix.blocked("read"); e != nil {
		return nil, nil, e
	}
	if ix.fields.routed && !has {
		return nil, nil, routingMissing(ix.name, id)
	}
	return ix, ix.shards[ix.shardFor(id, routing, has)].get(id), nil
}

func (h *Handler) show(ix *index, d *doc, id string, f *sourceFilter) obj {
	if d == nil {
		return obj{"_index", ix.name, "_id", id, "found", false}
	}
	o := obj{"_index", ix.name, "_id", id, "_version", d.version, "_seq_no", d.seq, "_primary_term", d.term}
	if d.hasRouting && !f.off { // routing is stored with the source and not loaded without
		o = append(o, "_routing", d.routing)
	}
	o = append(o, "found", true)
	if src := f.apply(h, ix, d); src != nil {
		o = append(o, "_source", raw(src))
	}
	return o
}

func (h *Handler) getDocument(r *request, target, api, id string) (*reply, *esError) {
	f, e := sourceFromQuery(r)
	if e != nil {
		return nil, e
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	ix, d, e := h.lookup(target, id, r.q.Get("routing"), r.q.Get("routing") != "")
	if e != nil {
		return nil, e
	}
	if api == "_source" {
		if d == nil {
			return nil, notFound("Document not found [%s]/[%s]", ix.name, id)
		}
		if ix.fields.noSource {
			return nil, notFound("Source not found [%s]/[%s]", ix.name, id)
		}
		return &reply{status: 200, v: raw(f.apply(h, ix, d))}, nil
	}
	status := 200
	if d == nil {
		status = 404
	}
	return &reply{status: status, v: h.show(ix, d, id, f)}, nil
}

func (h *Handler) mget(r *request, target string) (*reply, *esError) {
	var body struct {
		IDs  []string `json:"ids"`
		Docs []struct {
			Index   string          `json:"_index"`
			ID      string          `json:"_id"`
			Routing *string         `json:"routing"`
			Source  json.RawMessage `json:"_source"`
		} `json:"docs"`
	}
	if err := decode(r.body, &body); err != nil {
		return nil, parseError("%s", err)
	}
	out := []any{}
	h.mu.Lock()
	defer h.mu.Unlock()
	one := func(index, id string, routing *string, f *sourceFilter) {
		if index == "" {
			index = target
		}
		rt, has := "", routing != nil
		if has {
			rt = *routing
		}
		ix, d, e := h.lookup(index, id, rt, has)
		if e != nil {
			out = append(out, obj{"_index", index, "_id", id, "error", e.body()[1]})
			return
		}
		out = append(out, h.show(ix, d, id, f))
	}
	for _, d := range body.Docs {
		f, e := newSourceFilter(d.Source)
		if e != nil {
			return nil, e
		}
		one(d.Index, d.ID, d.Routing, f)
	}
	for _, id := range body.IDs {
		one(target, id, nil, &sourceFilter{})
	}
	return ok("docs", out), nil
}
