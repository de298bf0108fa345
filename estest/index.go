package estest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

type index struct {
	name, uuid string
	created    int64
	settings   map[string]any // flat, values are strings or lists of strings
	mapping    map[string]any // as the user wrote it, merged
	fields     *field         // compiled from mapping
	aliases    map[string]map[string]any
	closed     bool
	shards     []*shard
	routing    int  // number of routing shards
	plain      bool // routed by the hash alone
	version    int64
	stream     *stream // that it belongs to
}

func (ix *index) setting(k string) string {
	s, _ := ix.settings[k].(string)
	return s
}

func (ix *index) hidden() bool { return ix.setting("index.hidden") == "true" }

func (ix *index) replicas() int {
	n, _ := strconv.Atoi(ix.setting("index.number_of_replicas"))
	return n
}

func (ix *index) shardFor(id, routing string, has bool) int {
	if !has {
		routing = id
	}
	if ix.plain {
		return shardOf(routing, len(ix.shards), 0)
	}
	return shardOf(routing, len(ix.shards), ix.routing)
}

func (h *Handler) names() []string { return slices.Sorted(maps.Keys(h.indices)) }

// expand resolves names, aliases and patterns to indices, in the order of the names. The lock is held.
func (h *Handler) expand(r *request, target string, wild string) ([]*index, *esError) {
	if v := r.q.Get("expand_wildcards"); v != "" {
		wild = v
	}
	want := func(w string) bool { return strings.Contains(","+wild+",", ","+w+",") || wild == "all" }
	var out []*index
	add := func(ix *index) {
		if !slices.Contains(out, ix) {
			out = append(out, ix)
		}
	}
	if target == "" {
		target = "_all"
	}
	for i, t := range strings.Split(target, ",") {
		if i > 0 && strings.HasPrefix(t, "-") {
			out = slices.DeleteFunc(out, func(ix *index) bool { return match(t[1:], ix.name) })
			continue
		}
		if t == "_all" {
			t = "*"
		}
		if !strings.Contains(t, "*") {
			found := false
			if ix := h.indices[t]; ix != nil {
				add(ix)
				found = true
			} else if s := h.streams[t]; s != nil {
				for _, ix := range s.indices {
					add(ix)
				}
				found = true
			} else {
				for _, s := range h.streams {
					if s.aliases[t] != nil {
						for _, ix := range s.indices {
							add(ix)
						}
						found = true
					}
				}
				for _, n := range h.names() {
					if h.indices[n].aliases[t] != nil {
						add(h.indices[n])
						found = true
					}
				}
			}
			if !found && !r.flag("ignore_unavailable") {
				return nil, noIndex(t)
			}
			continue
		}
		found := false
		for _, n := range h.names() {
			ix := h.indices[n]
			m := match(t, n)
			shown := !ix.hidden() || want("hidden") || strings.HasPrefix(t, ".") && strings.HasPrefix(n, ".")
			if s := ix.stream; s != nil && match(t, s.name) && slices.Contains(s.indices, ix) && (!s.hidden || want("hidden")) {
				m, shown = true, true
			}
			for a, v := range ix.aliases {
				if hid, _ := v["is_hidden"].(bool); match(t, a) && (!hid || want("hidden")) {
					m, shown = true, true
				}
			}
			if m && shown && (!ix.closed && want("open") || ix.closed && want("closed")) {
				add(ix)
				found = true
			}
		}
		if !found && r.q.Get("allow_no_indices") == "false" {
			return nil, noIndex(t)
		}
	}
	return out, nil
}

// one finds the index that a write goes to; it is created if absent.
func (h *Handler) writeIndex(name string, create, requireAlias bool) (*index, *esError) {
	if ix := h.indices[name]; ix != nil {
		if requireAlias {
			return nil, notAlias(name)
		}
		return ix, nil
	}
	if s := h.streams[name]; s != nil && !requireAlias {
		return s.writeIndex(), nil
	}
	var all []*index
	for _, s := range h.streams {
		if a := s.aliases[name]; a != nil {
			if w, _ := a["is_write_index"].(bool); w {
				return s.writeIndex(), nil
			}
			all = append(all, s.writeIndex())
		}
	}
	for _, n := range h.names() {
		if a := h.indices[n].aliases[name]; a != nil {
			if w, _ := a["is_write_index"].(bool); w {
				return h.indices[n], nil
			}
			all = append(all, h.indices[n])
		}
	}
	switch {
	case len(all) == 1 && all[0].aliases[name]["is_write_index"] != false:
		return all[0], nil
	case len(all) > 0:
		return nil, illegal("no write index is defined for alias [%s]. The write index may be explicitly disabled using is_write_index=false or the alias points to multiple indices without one being designated as a write index", name)
	case requireAlias:
		return nil, notAlias(name)
	case !create || fmt.Sprint(h.persistent["action.auto_create_index"]) == "false":
		return nil, noIndex(name)
	}
	if _, t := h.streamTemplate(name); t != nil {
		s, e := h.newStream(name, nil)
		if e != nil {
			return nil, e
		}
		return s.writeIndex(), nil
	}
	return h.newIndex(name, nil)
}

func notAlias(name string) *esError {
	return &esError{status: 404, kind: "index_not_found_exception", extra: obj{"index_uuid", "_na_", "index", name},
		reason: "no such index [" + name + "] and [require_alias] request flag is [true] and [" + name + "] is not an alias"}
}

func checkName(name string) *esError {
	bad := ""
	switch {
	case strings.ToLower(name) != name:
		bad = "must be lowercase"
	case strings.ContainsAny(name[:1], "_-+"):
		bad = "must not start with '_', '-', or '+'"
	case strings.ContainsAny(name, "\\/*?\"<>| ,#:"):
		bad = "must not contain the following characters ['\\','/','*','?','\"','<','>','|',' ',',']"
	case len(name) > 255:
		bad = fmt.Sprintf("index name is too long, (%d > 255)", len(name))
	case name == "." || name == "..":
		bad = "must not be '.' or '..'"
	}
	if bad == "" {
		return nil
	}
	return &esError{status: 400, kind: "invalid_index_name_exception", reason: "Invalid index name [" + name + "], " + bad,
		extra: obj{"index_uuid", "_na_", "index", name}}
}

// newIndex makes an index from the body of a create request. The lock is held.
func (h *Handler) newIndex(name string, body map[string]any) (*index, *esError) {
	if e := checkName(name); e != nil {
		return nil, e
	}
	for _, n := range h.names() {
		ix := h.indices[n]
		if n == name {
			return nil, &esError{status: 400, kind: "resource_already_exists_exception", reason: "index [" + name + "/" + ix.uuid + "] already exists",
				extra: obj{"index_uuid", ix.uuid, "index", name}}
		}
		if ix.aliases[name] != nil {
			return nil, &esError{status: 400, kind: "invalid_index_name_exception", reason: "Invalid index name [" + name + "], already exists as alias",
				extra: obj{"index_uuid", "_na_", "index", name}}
		}
	}
	if h.streams[name] != nil {
		return nil, &esError{status: 400, kind: "resource_already_exists_exception", reason: "data_stream [" + name + "] already exists"}
	}
	for k := range body {
		if k != "settings" && k != "mappings" && k != "aliases" {
			return nil, &esError{status: 400, kind: "parse_exception", reason: "unknown key [" + k + "] for create index"}
		}
	}
	st, _ := body["settings"].(map[string]any)
	flat := flatten(st)
	for k, v := range flat {
		if v == nil {
			delete(flat, k)
		}
	}
	if e := checkSettings(flat); e != nil {
		return nil, e
	}
	shards := 1
	if v, ok := flat["index.number_of_shards"].(string); ok {
		shards, _ = strconv.Atoi(v)
	}
	if flat["index.number_of_replicas"] == nil {
		flat["index.number_of_replicas"] = "1"
	}
	ix := &index{name: name, uuid: newUUID(), created: h.o.Now().UnixMilli(), settings: flat, aliases: map[string]map[string]any{}, version: 1}
	if n, err := strconv.Atoi(ix.setting("index.write.wait_for_active_shards")); err == nil && n > ix.replicas()+1 {
		return nil, illegal("invalid index.write.wait_for_active_shards[%d]: cannot be greater than number of shard copies [%d]", n, ix.replicas()+1)
	}
	flat["index.number_of_shards"] = strconv.Itoa(shards)
	if _, ok := flat["index.routing.allocation.include._tier_preference"]; !ok {
		flat["index.routing.allocation.include._tier_preference"] = "data_content"
	}
	flat["index.uuid"], flat["index.provided_name"] = ix.uuid, name
	flat["index.creation_date"] = strconv.FormatInt(ix.created, 10)
	flat["index.version.created"] = h.indexVersion()
	ix.routing = defaultRoutingShards(shards)
	if v, ok := flat["index.number_of_routing_shards"].(string); ok {
		ix.routing, _ = strconv.Atoi(v)
		if ix.routing < shards || ix.routing%shards != 0 {
			return nil, illegal("the number of source shards [%d] must be a factor of [%d]", shards, ix.routing)
		}
	}
	mp, _ := body["mappings"].(map[string]any)
	if mp == nil {
		mp = map[string]any{}
	}
	var e *esError
	if ix.fields, e = compile(mp); e != nil {
		return nil, e
	}
	ix.mapping = mp
	al, _ := body["aliases"].(map[string]any)
	for a, v := range al {
		m, _ := v.(map[string]any)
		if e := checkName(a); e != nil {
			return nil, e
		}
		if a == name {
			return nil, illegal("alias name [%s] self-conflicts with index name", a)
		}
		if h.indices[a] != nil {
			return nil, aliasClash(a)
		}
		ix.aliases[a] = aliasOf(m)
	}
	// A number of routing shards that was asked for keeps the older way.
	ix.plain = h.plainRouting && flat["index.number_of_routing_shards"] == nil
	for range shards {
		ix.shards = append(ix.shards, newShard(&h.o))
	}
	h.indices[name] = ix
	return ix, nil
}

func (h *Handler) indexVersion() string {
	if major, _ := versionOf(h.o.Version); major >= 9 {
		return "9111000"
	}
	return "8536000"
}

func (h *Handler) createIndex(r *request, name string) (*reply, *esError) {
	body, e := bodyObject(r.body)
	if e != nil {
		return nil, e
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, t := h.streamTemplate(name); t != nil && h.indices[name] == nil {
		return nil, illegal("cannot create index with name [%s], because it matches with a template that creates data streams only, use create data stream api instead", name)
	}
	if _, e := h.newIndex(name, body); e != nil {
		return nil, e
	}
	return ok("acknowledged", true, "shards_acknowledged", true, "index", name), nil
}

func bodyObject(b []byte) (map[string]any, *esError) {
	m := map[string]any{}
	if len(b) == 0 {
		return m, nil
	}
	if err := decode(b, &m); err != nil {
		return nil, &esError{status: 400, kind: "x_content_parse_exception", reason: "[1:1] " + err.Error()}
	}
	return m, nil
}

// described is expand for requests that read what is said of indices, which a block may forbid.
func (h *Handler) described(r *request, target, states string) ([]*index, *esError) {
	list, e := h.expand(r, target, states)
	if e != nil {
		return nil, e
	}
	for _, ix := range list {
		if e := ix.blocked("metadata"); e != nil {
			return nil, e
		}
	}
	return list, nil
}

func (h *Handler) getIndex(r *request, target string) (*reply, *esError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list, e := h.described(r, target, "open")
	if e != nil {
		return nil, e
	}
	out := obj{}
	for _, ix := range list {
		o := obj{"aliases", anyMap(ix.aliases), "mappings", clone(ix.mapping), "settings", ix.showSettings(r.flag("flat_settings"))}
		if ix.stream != nil {
			o = append(o, "data_stream", ix.stream.name)
		}
		out = append(out, ix.name, o)
	}
	return &reply{status: 200, v: out}, nil
}

func anyMap(m map[string]map[string]any) map[string]any {
	o := map[string]any{}
	for k, v := range m {
		o[k] = clone(v)
	}
	return o
}

func (h *Handler) deleteIndex(r *request, target string) (*reply, *esError) {
	if strings.Contains(target, "*") || target == "_all" {
		return nil, illegal("Wildcard expressions or all indices are not allowed")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	list, e := h.expand(r, target, "open,closed")
	if e != nil {
		return nil, e
	}
	for t := range strings.SplitSeq(target, ",") {
		if h.streams[t] != nil {
			return nil, noIndex(t)
		}
		if h.indices[t] == nil && !r.flag("ignore_unavailable") {
			return nil, illegal("The provided expression [%s] matches an alias, specify the corresponding concrete indices instead.", t)
		}
	}
	for _, ix := range list {
		if e := ix.blocked("delete"); e != nil {
			return nil, e
		}
		if s := ix.stream; s != nil && len(s.indices) > 0 && s.writeIndex() == ix {
			return nil, illegal("index [%s] is the write index for data stream [%s] and cannot be deleted", ix.name, s.name)
		}
	}
	for _, ix := range list {
		h.drop(ix)
	}
	return ok("acknowledged", true), nil
}

func (h *Handler) openClose(r *request, target string, open bool) (*reply, *esError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list, e := h.expand(r, target, "open,closed")
	if e != nil {
		return nil, e
	}
	closed := obj{}
	for _, ix := range list {
		if e := ix.blocked("metadata_write"); e != nil {
			return nil, e
		}
		if ix.closed == open {
			if ix.closed = !open; open {
				delete(ix.settings, "index.verified_before_close")
			} else {
				ix.settings["index.verified_before_close"] = "true"
			}
			for _, s := range ix.shards {
				s.term++
				s.refresh()
			}
		}
		ix.version++
		closed = append(closed, ix.name, obj{"closed", true})
	}
	if open {
		return ok("acknowledged", true, "shards_acknowledged", true), nil
	}
	return ok("acknowledged", true, "shards_acknowledged", true, "indices", closed), nil
}

// resize serves _clone and _shrink: copies keep their sequence numbers, so a shrunk shard can hold one twice, as a real one does.
func (h *Handler) resize(r *request, src, dst, how string) (*reply, *esError) {
	body, e := bodyObject(r.body)
	if e != nil {
		return nil, e
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	from := h.indices[src]
	if from == nil {
		return nil, noIndex(src)
	}
	if from.setting("index.blocks.write") != "true" && from.setting("index.blocks.read_only") != "true" {
		return nil, &esError{status: 500, kind: "illegal_state_exception",
			reason: "index " + src + " must be read-only to resize index. use \"index.blocks.write=true\""}
	}
	st := map[string]any{}
	for k, v := range from.settings {
		if !private[k] {
			st[k] = v
		}
	}
	if how == "_shrink" {
		st["index.number_of_shards"] = "1"
	}
	given, _ := body["settings"].(map[string]any)
	for k, v := range flatten(given) {
		st[k] = v
	}
	n, _ := strconv.Atoi(fmt.Sprint(st["index.number_of_shards"]))
	if n < 1 || n > len(from.shards) || len(from.shards)%n != 0 || how == "_clone" && n != len(from.shards) {
		return nil, illegal("the number of source shards [%d] must be a multiple of [%d]", len(from.shards), n)
	}
	al := body["aliases"]
	create := map[string]any{"settings": st, "mappings": clone(from.mapping)}
	if al != nil {
		create["aliases"] = al
	}
	to, e := h.newIndex(dst, create)
	if e != nil {
		return nil, e
	}
	to.routing, to.plain = from.routing, from.plain
	to.settings["index.resize.source.name"], to.settings["index.resize.source.uuid"] = src, from.uuid
	for i, s := range from.shards {
		t := to.shards[i*n/len(from.shards)]
		for _, d := range s.docs {
			if s.live[d.id] == d {
				t.docs = append(t.docs, d)
			}
		}
		t.maxSeq = max(t.maxSeq, s.maxSeq)
	}
	for _, t := range to.shards {
		slices.SortStableFunc(t.docs, func(a, b *doc) int { return int(a.seq - b.seq) })
		for i, d := range t.docs {
			c := *d
			c.ord, c.term = int64(i), 1
			t.docs[i] = &c
			t.live[c.id] = &c
			t.ops = append(t.ops, op{c.id, &c, nil})
		}
		t.nextOrd = int64(len(t.docs))
		t.refresh()
	}
	return ok("acknowledged", true, "shards_acknowledged", true, "index", dst), nil
}

// broadcast serves _refresh, _flush and _forcemerge.
func (h *Handler) broadcast(r *request, target, what string) (*reply, *esError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list, e := h.expand(r, target, "open")
	if e != nil {
		return nil, e
	}
	total, good, fails := 0, 0, []any{}
	for _, ix := range list {
		if ix.closed {
			return nil, ix.closedError()
		}
		for n, s := range ix.shards {
			total += 1 + ix.replicas()
			if r.fx.shardFails(n) {
				fails = append(fails, r.fx.failure(ix.name, n, h.node))
				continue
			}
			good++
			if what == "_refresh" {
				s.refresh()
			}
		}
	}
	sh := obj{"total", total, "successful", good, "failed", len(fails)}
	if len(fails) > 0 {
		sh = append(sh, "failures", fails)
	}
	return ok("_shards", sh), nil
}

func (ix *index) closedError() *esError {
	return &esError{status: 400, kind: "index_closed_exception", reason: "closed", extra: obj{"index_uuid", ix.uuid, "index", ix.name}}
}
