package estest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// stream is a data stream.
type stream struct {
	name, template string
	generation     int64
	indices        []*index // oldest first; the last is written to
	failure        []*index // of the failure store, likewise
	hidden         bool
	customRouting  bool
	meta           any
	parts          map[string]map[string]any // lifecycle, options, settings, mappings
	aliases        map[string]map[string]any
}

func (s *stream) writeIndex() *index { return s.indices[len(s.indices)-1] }

// template of a Handler is what matters of the index template that counts for a name.
func (h *Handler) streamTemplate(name string) (string, map[string]any) {
	best, by := int64(-1), ""
	for n, t := range h.store("_index_template") {
		p := int64(0)
		if v, is := t["priority"].(interface{ Int64() (int64, error) }); is {
			p, _ = v.Int64()
		}
		if matchAny(strings.Join(list(t, "index_patterns"), ","), name) && p > best {
			best, by = p, n
		}
	}
	t := h.store("_index_template")[by]
	if t["data_stream"] == nil {
		return "", nil
	}
	return by, t
}

// composed is what a template and its components say together, the later ones over the earlier.
func (h *Handler) composed(t map[string]any) map[string]any {
	out := map[string]any{}
	for _, c := range list(t, "composed_of") {
		if part, is := h.store("_component_template")[c]["template"].(map[string]any); is {
			overlay(out, clone(part).(map[string]any))
		}
	}
	if part, is := t["template"].(map[string]any); is {
		overlay(out, clone(part).(map[string]any))
	}
	return out
}

func overlay(to, from map[string]any) {
	for k, v := range from {
		a, isA := to[k].(map[string]any)
		b, isB := v.(map[string]any)
		if isA && isB {
			overlay(a, b)
		} else {
			to[k] = v
		}
	}
}

// backingIndex makes the next index of a data stream. The lock is held.
func (h *Handler) backingIndex(name string, generation int64, t map[string]any) (*index, *esError) {
	all := h.composed(t)
	st, _ := all["settings"].(map[string]any)
	flat := flatten(st)
	flat["index.hidden"] = "true"
	mp, _ := all["mappings"].(map[string]any)
	body := map[string]any{"settings": flat, "mappings": withTimestamp(mp)}
	return h.newIndex(fmt.Sprintf(".ds-%s-%s-%06d", name, h.o.Now().UTC().Format("2006.01.02"), generation), body)
}

// withTimestamp is a mapping with what every backing index has.
func withTimestamp(mp map[string]any) map[string]any {
	if mp == nil {
		mp = map[string]any{}
	}
	mp["_data_stream_timestamp"] = map[string]any{"enabled": true}
	props, _ := mp["properties"].(map[string]any)
	if props == nil {
		props = map[string]any{}
		mp["properties"] = props
	}
	if props["@timestamp"] == nil {
		props["@timestamp"] = map[string]any{"type": "date"}
	}
	return mp
}

// newStream makes a data stream, of the given indices or of a new one. The lock is held.
func (h *Handler) newStream(name string, indices []*index) (*stream, *esError) {
	if h.streams[name] != nil {
		return nil, &esError{status: 400, kind: "resource_already_exists_exception", reason: "data_stream [" + name + "] already exists"}
	}
	if e := checkName(name); e != nil {
		return nil, e
	}
	if h.indices[name] != nil {
		return nil, &esError{status: 500, kind: "illegal_state_exception", reason: "index, alias, and data stream names need to be unique, but [" + name + "] conflicts"}
	}
	by, t := h.streamTemplate(name)
	if t == nil {
		return nil, illegal("no matching index template found for data stream [%s]", name)
	}
	if indices == nil {
		ix, e := h.backingIndex(name, 1, t)
		if e != nil {
			return nil, e
		}
		indices = []*index{ix}
	}
	def, _ := t["data_stream"].(map[string]any)
	s := &stream{name: name, template: by, generation: 1, indices: indices, hidden: fmt.Sprint(def["hidden"]) == "true",
		customRouting: fmt.Sprint(def["allow_custom_routing"]) == "true", meta: t["_meta"], parts: map[string]map[string]any{}, aliases: map[string]map[string]any{}}
	all := h.composed(t)
	if lc, is := all["lifecycle"].(map[string]any); is {
		s.parts["lifecycle"] = enabled(lc)
	}
	if op, is := all["data_stream_options"].(map[string]any); is {
		s.parts["options"] = op
	}
	if as, is := all["aliases"].(map[string]any); is {
		for a, d := range as {
			m, _ := d.(map[string]any)
			s.aliases[a] = aliasOf(m)
		}
	}
	for _, ix := range indices {
		ix.stream = s
	}
	h.streams[name] = s
	return s, nil
}

func enabled(lifecycle map[string]any) map[string]any {
	lc := maps.Clone(lifecycle)
	if lc["enabled"] == nil {
		lc["enabled"] = true
	}
	return lc
}

// dataStreams answers _data_stream.
func (h *Handler) dataStreams(r *request, rest []string) (*reply, *esError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	name := ""
	if len(rest) > 0 {
		name = rest[0]
	}
	switch {
	case name == "_modify" && r.method == "POST":
		return h.modifyStreams(r)
	case name == "_migrate" && r.method == "POST" && len(rest) == 2:
		return h.migrateStream(rest[1])
	case len(rest) == 2:
		return h.streamPart(r, name, strings.TrimPrefix(rest[1], "_"))
	case r.method == "PUT":
		if _, e := h.newStream(name, nil); e != nil {
			return nil, e
		}
		return ok("acknowledged", true), nil
	}
	var found []*stream
	wild := r.q.Get("expand_wildcards")
	for _, n := range slices.Sorted(maps.Keys(h.streams)) {
		s := h.streams[n]
		if name == "" || name == n || matchAny(name, n) && (!s.hidden || strings.Contains(wild, "hidden") || wild == "all") {
			if name != "" || !s.hidden || wild == "all" || strings.Contains(wild, "hidden") {
				found = append(found, s)
			}
		}
	}
	if len(found) == 0 && name != "" && !strings.Contains(name, "*") {
		return nil, noIndex(name)
	}
	if r.method == "DELETE" {
		for _, s := range found {
			for _, ix := range slices.Concat(s.indices, s.failure) {
				h.drop(ix)
			}
			delete(h.streams, s.name)
		}
		return ok("acknowledged", true), nil
	}
	rows := []any{}
	for _, s := range found {
		rows = append(rows, s.show())
	}
	return ok("data_streams", rows), nil
}

func (s *stream) show() obj {
	part := func(list []*index) []any {
		rows := []any{}
		for _, ix := range list {
			rows = append(rows, obj{"index_name", ix.name, "index_uuid", ix.uuid, "prefer_ilm", true, "managed_by", "Unmanaged"})
		}
		return rows
	}
	o := obj{"name", s.name, "timestamp_field", obj{"name", "@timestamp"}, "indices", part(s.indices), "generation", s.generation}
	if s.meta != nil {
		o = append(o, "_meta", s.meta)
	}
	o = append(o, "status", "GREEN", "template", s.template)
	if lc := s.parts["lifecycle"]; lc != nil {
		o = append(o, "lifecycle", clone(lc))
	}
	store := obj{"enabled", false}
	if f, is := s.parts["options"]["failure_store"].(map[string]any); is {
		store = obj{"enabled", f["enabled"]}
	}
	store = append(store, "rollover_on_write", len(s.failure) == 0, "indices", part(s.failure))
	return append(o, "next_generation_managed_by", "Unmanaged", "prefer_ilm", true, "hidden", s.hidden, "system", false,
		"allow_custom_routing", s.customRouting, "replicated", false, "rollover_on_write", false, "failure_store", store)
}

// streamPart answers _lifecycle, _options, _settings and _mappings of data streams.
func (h *Handler) streamPart(r *request, name, part string) (*reply, *esError) {
	switch part {
	case "lifecycle", "options", "settings", "mappings":
	default:
		return nil, badMethod(r, "POST")
	}
	s := h.streams[name]
	if s == nil {
		return nil, noIndex(name)
	}
	switch r.method {
	case "PUT":
		body, e := bodyObject(r.body)
		if e != nil {
			return nil, e
		}
		if part == "lifecycle" {
			body = enabled(body)
		}
		s.parts[part] = body
		if part == "settings" || part == "mappings" {
			return ok("data_streams", []any{obj{"name", name, "applied_to_data_stream", true}}), nil
		}
		return ok("acknowledged", true), nil
	case "DELETE":
		delete(s.parts, part)
		return ok("acknowledged", true), nil
	}
	row := obj{"name", name}
	if v := s.parts[part]; v != nil {
		row = append(row, part, clone(v))
	} else if part == "settings" || part == "mappings" {
		row = append(row, part, obj{})
	}
	return ok("data_streams", []any{row}), nil
}

// modifyStreams puts indices into data streams and takes them out, one after the other; all or nothing. Each raises the generation.
func (h *Handler) modifyStreams(r *request) (*reply, *esError) {
	body, e := bodyObject(r.body)
	if e != nil {
		return nil, e
	}
	actions, _ := body["actions"].([]any)
	type state struct {
		generation       int64
		indices, failure []*index
	}
	before := map[*stream]state{}
	owners := map[*index]*stream{}
	for _, s := range h.streams {
		before[s] = state{s.generation, slices.Clone(s.indices), slices.Clone(s.failure)}
	}
	for _, ix := range h.indices {
		owners[ix] = ix.stream
	}
	for _, a := range actions {
		m, _ := a.(map[string]any)
		for kind, v := range m {
			def, _ := v.(map[string]any)
			if e = h.modifyStream(kind, def); e != nil {
				for s, b := range before {
					s.generation, s.indices, s.failure = b.generation, b.indices, b.failure
				}
				for ix, s := range owners {
					ix.stream = s
				}
				return nil, e
			}
		}
	}
	return ok("acknowledged", true), nil
}

func (h *Handler) modifyStream(kind string, def map[string]any) *esError {
	name, target := fmt.Sprint(def["data_stream"]), fmt.Sprint(def["index"])
	s, ix := h.streams[name], h.indices[target]
	part := func() *[]*index { return nil }
	if s != nil {
		part = func() *[]*index {
			if fmt.Sprint(def["failure_store"]) == "true" {
				return &s.failure
			}
			return &s.indices
		}
	}
	switch {
	case s == nil:
		return illegal("data stream [%s] not found", name)
	case ix == nil:
		return illegal("index [%s] not found", target)
	case kind == "add_backing_index" && ix.stream == s && slices.Contains(*part(), ix):
		return nil // nothing changes
	case kind == "add_backing_index" && ix.stream != nil:
		return illegal("cannot add index [%s] to data stream [%s] because it is already a backing index on data stream [%s]", target, name, ix.stream.name)
	case kind == "add_backing_index" && len(ix.aliases) > 0:
		return illegal("cannot add index [%s] to data stream [%s] until its %d alias(es) are removed", target, name, len(ix.aliases))
	case kind == "add_backing_index":
		ix.join(s)
		p := part()
		*p = append([]*index{ix}, *p...)
	case kind == "remove_backing_index":
		p := part()
		i := slices.Index(*p, ix)
		switch {
		case i < 0:
			return illegal("index [%s] not found", target)
		case p == &s.indices && i == len(*p)-1:
			return illegal("cannot remove backing index [%s] of data stream [%s] because it is the write index", target, name)
		}
		*p = slices.Delete(slices.Clone(*p), i, i+1)
		ix.stream = nil
		ix.settings["index.hidden"] = "false"
	default:
		return &esError{status: 400, kind: "x_content_parse_exception", reason: "[1:1] [data_stream_actions] unknown field [" + kind + "]"}
	}
	s.generation++
	return nil
}

// join makes an index one of a data stream.
func (ix *index) join(s *stream) {
	ix.stream = s
	ix.settings["index.hidden"] = "true"
	ix.mapping = withTimestamp(ix.mapping)
	ix.version++
}

// migrateStream makes a data stream of an alias.
func (h *Handler) migrateStream(alias string) (*reply, *esError) {
	var indices []*index
	var write *index
	for _, n := range h.names() {
		ix := h.indices[n]
		def := ix.aliases[alias]
		if def == nil {
			continue
		}
		if len(ix.aliases) > 1 {
			return nil, illegal("other aliases referencing indices [%s] must be removed before migrating to a data stream", ix.name)
		}
		if def["filter"] != nil || def["index_routing"] != nil || def["search_routing"] != nil {
			return nil, illegal("alias [%s] may not have custom filtering or routing", alias)
		}
		if w, _ := def["is_write_index"].(bool); w {
			write = ix
		} else {
			indices = append(indices, ix)
		}
	}
	switch {
	case write == nil && len(indices) == 0:
		return nil, illegal("alias [%s] does not exist", alias)
	case write == nil && len(indices) == 1:
		write, indices = indices[0], nil
	case write == nil:
		return nil, illegal("alias [%s] must specify a write index", alias)
	}
	indices = append(indices, write)
	for _, ix := range indices {
		if f := ix.fields.props["@timestamp"]; f == nil || f.kind != "date" && f.kind != "date_nanos" {
			return nil, illegal("data stream timestamp field [@timestamp] does not exist")
		}
	}
	s, e := h.newStream(alias, indices)
	if e != nil {
		return nil, e
	}
	for _, ix := range indices {
		delete(ix.aliases, alias)
		ix.join(s)
	}
	return ok("acknowledged", true), nil
}

// rollover gives a data stream a new index to write to.
func (h *Handler) rollover(name string) (*reply, *esError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.streams[name]
	if s == nil {
		return nil, illegal("rollover target [%s] is no data stream", name)
	}
	_, t := h.streamTemplate(name)
	if t == nil {
		return nil, illegal("no matching index template found for data stream [%s]", name)
	}
	old := s.writeIndex()
	ix, e := h.backingIndex(name, s.generation+1, t)
	if e != nil {
		return nil, e
	}
	s.generation++
	ix.stream = s
	s.indices = append(s.indices, ix)
	return ok("acknowledged", true, "shards_acknowledged", true, "old_index", old.name, "new_index", ix.name, "rolled_over", true,
		"dry_run", false, "lazy", false, "conditions", obj{}), nil
}

// drop deletes an index, and ends the contexts on it. The lock is held.
func (h *Handler) drop(ix *index) {
	delete(h.indices, ix.name)
	for _, c := range h.contexts {
		c.gone = c.gone || slices.ContainsFunc(c.shards, func(s searchShard) bool { return s.ix == ix })
	}
	if s := ix.stream; s != nil {
		gone := func(x *index) bool { return x == ix }
		if slices.ContainsFunc(s.indices, gone) || slices.ContainsFunc(s.failure, gone) {
			s.generation++
		}
		s.indices, s.failure = slices.DeleteFunc(slices.Clone(s.indices), gone), slices.DeleteFunc(slices.Clone(s.failure), gone)
	}
}

// checkStreamWrite refuses what a data stream and its indices do not take.
func (h *Handler) checkStreamWrite(w *write, ix *index) *esError {
	switch {
	case ix.stream == nil || w.index != ix.name && w.kind == "create" || w.index == ix.name && (w.kind == "delete" || w.kind == "update") || w.ifSeq >= 0:
		return nil
	case w.index != ix.name:
		return illegal("only write ops with an op_type of create are allowed in data streams")
	case w.kind == "create":
		return illegal("index request with op_type=create targeting backing indices is disallowed, target corresponding data stream [%s] instead", ix.stream.name)
	default:
		return illegal("index request with op_type=index and no if_primary_term and if_seq_no set targeting backing indices is disallowed, "+
			"target corresponding data stream [%s] instead", ix.stream.name)
	}
}
