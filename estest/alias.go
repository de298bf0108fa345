package estest

import (
	"maps"
	"slices"
	"strings"
)

func aliasClash(name string) *esError {
	return &esError{status: 400, kind: "invalid_alias_name_exception",
		reason: "Invalid alias name [" + name + "]: an index or data stream exists with the same name as the alias"}
}

// aliasOf is what the server shows of an alias definition: routing stands for both kinds.
func aliasOf(m map[string]any) map[string]any {
	o := map[string]any{}
	for _, k := range []string{"filter", "index_routing", "search_routing", "is_write_index", "is_hidden"} {
		if v := m[k]; v != nil {
			o[k] = clone(v)
		}
	}
	if v := m["routing"]; v != nil {
		for _, k := range []string{"index_routing", "search_routing"} {
			if o[k] == nil {
				o[k] = v
			}
		}
	}
	return o
}

func (h *Handler) getAlias(r *request, target, names string) (*reply, *esError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list, e := h.described(r, target, "open,closed,hidden")
	if e != nil {
		return nil, e
	}
	out := obj{}
	for _, n := range slices.Sorted(maps.Keys(h.streams)) {
		as := map[string]any{}
		for a, v := range h.streams[n].aliases {
			if (names == "" || matchAny(names, a)) && (target == "" || matchAny(target, n)) {
				as[a] = clone(v)
			}
		}
		if len(as) > 0 {
			out = append(out, n, obj{"aliases", as})
		}
	}
	for _, ix := range list {
		as := map[string]any{}
		for a, v := range ix.aliases {
			if names == "" || matchAny(names, a) {
				as[a] = clone(v)
			}
		}
		if names == "" && ix.stream == nil || len(as) > 0 {
			out = append(out, ix.name, obj{"aliases", as})
		}
	}
	// Names that stand for themselves must exist; what was found is shown all the same.
	var missing []string
	for n := range strings.SplitSeq(names, ",") {
		if names != "" && n != "_all" && !strings.Contains(n, "*") && !slices.ContainsFunc(list, func(ix *index) bool { return ix.aliases[n] != nil }) {
			missing = append(missing, n)
		}
	}
	if len(missing) > 0 {
		word := "alias ["
		if len(missing) > 1 {
			word = "aliases ["
		}
		return &reply{status: 404, v: obj{"error", word + strings.Join(missing, ",") + "] missing", "status", 404}.with(out...)}, nil
	}
	return &reply{status: 200, v: out}, nil
}

func matchAny(patterns, s string) bool {
	for p := range strings.SplitSeq(patterns, ",") {
		if p == "_all" || match(p, s) {
			return true
		}
	}
	return false
}

func (h *Handler) addAlias(r *request, target, name string, def map[string]any) *esError {
	if s := h.streams[target]; s != nil {
		return h.addStreamAlias(s, name, def)
	}
	list, e := h.expand(r, target, "open,closed,hidden")
	if e != nil {
		return e
	}
	if e := checkName(name); e != nil {
		return e
	}
	if h.indices[name] != nil {
		return aliasClash(name)
	}
	if h.streams[name] != nil {
		return aliasClash(name)
	}
	for _, ix := range list {
		if e := ix.blocked("metadata_write"); e != nil {
			return e
		}
		if ix.stream != nil {
			return illegal("The provided expression [%s] matches a backing index belonging to data stream [%s]. Data stream backing indices don't support aliases.", target, ix.stream.name)
		}
		if w, _ := def["is_write_index"].(bool); w {
			for _, other := range h.indices {
				if ow, _ := other.aliases[name]["is_write_index"].(bool); ow && other != ix {
					return &esError{status: 500, kind: "illegal_state_exception",
						reason: "alias [" + name + "] has more than one write index [" + other.name + "," + ix.name + "]"}
				}
			}
		}
	}
	for _, ix := range list {
		ix.aliases[name] = aliasOf(def)
		ix.version++
	}
	return nil
}

func (h *Handler) addStreamAlias(s *stream, name string, def map[string]any) *esError {
	if e := checkName(name); e != nil {
		return e
	}
	if h.indices[name] != nil || h.streams[name] != nil {
		return aliasClash(name)
	}
	if def["routing"] != nil || def["index_routing"] != nil || def["search_routing"] != nil {
		return illegal("aliases that point to data streams don't support routing")
	}
	if w, _ := def["is_write_index"].(bool); w {
		for _, other := range h.streams {
			delete(other.aliases[name], "is_write_index")
		}
	}
	s.aliases[name] = aliasOf(def)
	return nil
}

func (h *Handler) removeAlias(r *request, target, names string) *esError {
	if s := h.streams[target]; s != nil {
		n := len(s.aliases)
		maps.DeleteFunc(s.aliases, func(a string, _ map[string]any) bool { return matchAny(names, a) })
		if len(s.aliases) == n {
			return &esError{status: 404, kind: "aliases_not_found_exception", reason: "aliases [" + names + "] missing",
				extra: obj{"resource.type", "aliases", "resource.id", names}}
		}
		return nil
	}
	list, e := h.expand(r, target, "open,closed,hidden")
	if e != nil {
		return e
	}
	found := false
	for _, ix := range list {
		if e := ix.blocked("metadata_write"); e != nil {
			return e
		}
		for a := range ix.aliases {
			if matchAny(names, a) {
				delete(ix.aliases, a)
				ix.version++
				found = true
			}
		}
	}
	if !found {
		return &esError{status: 404, kind: "aliases_not_found_exception", reason: "aliases [" + names + "] missing",
			extra: obj{"resource.type", "aliases", "resource.id", names}}
	}
	return nil
}

func (h *Handler) putAlias(r *request, target, name string) (*reply, *esError) {
	body, e := bodyObject(r.body)
	if e != nil {
		return nil, e
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.addAlias(r, target, name, body); e != nil {
		return nil, e
	}
	return ok("acknowledged", true, "errors", false), nil
}

func (h *Handler) deleteAlias(r *request, target, name string) (*reply, *esError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.removeAlias(r, target, name); e != nil {
		return nil, e
	}
	return ok("acknowledged", true, "errors", false), nil
}

func (h *Handler) postAliases(r *request) (*reply, *esError) {
	body, e := bodyObject(r.body)
	if e != nil {
		return nil, e
	}
	actions, _ := body["actions"].([]any)
	if len(actions) == 0 {
		return nil, illegal("No action specified")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	// All or nothing: the aliases of every index are put back if an action fails.
	streams := map[*stream]map[string]map[string]any{}
	for _, s := range h.streams {
		streams[s] = maps.Clone(s.aliases)
	}
	before := map[*index]map[string]map[string]any{}
	for _, ix := range h.indices {
		before[ix] = maps.Clone(ix.aliases)
	}
	drop := map[string]*index{}
	undo := func(e *esError) (*reply, *esError) {
		for n, ix := range drop {
			h.indices[n] = ix
		}
		for ix, as := range before {
			ix.aliases = as
		}
		for s, as := range streams {
			s.aliases = as
		}
		return nil, e
	}
	// An alias may take the name of an index that the same request removes.
	for _, a := range actions {
		m, _ := a.(map[string]any)
		def, _ := m["remove_index"].(map[string]any)
		for _, n := range list(def, "index", "indices") {
			if h.indices[n] == nil {
				return undo(noIndex(n))
			}
			drop[n] = h.indices[n]
		}
	}
	for n := range drop {
		delete(h.indices, n)
	}
	skipped := 0
	for _, a := range actions {
		m, _ := a.(map[string]any)
		for kind, v := range m {
			def, _ := v.(map[string]any)
			indices, aliases := list(def, "index", "indices"), list(def, "alias", "aliases")
			target := strings.Join(indices, ",")
			switch kind {
			case "add":
				for _, n := range aliases {
					if e = h.addAlias(r, target, n, def); e != nil {
						break
					}
				}
			case "remove":
				if e = h.removeAlias(r, target, strings.Join(aliases, ",")); e != nil && def["must_exist"] == false {
					if skipped++; skipped < len(actions) { // one action must find something
						e = nil
					}
				}
			case "remove_index":
			default:
				e = illegal("[aliases] unknown field [%s]", kind)
			}
			if e != nil {
				return undo(e)
			}
		}
	}
	return ok("acknowledged", true, "errors", false), nil
}

// list reads one or several names, whichever way they are given.
func list(m map[string]any, keys ...string) []string {
	var out []string
	for _, k := range keys {
		switch x := m[k].(type) {
		case string:
			out = append(out, x)
		case []any:
			for _, e := range x {
				if s, is := e.(string); is {
					out = append(out, s)
				}
			}
		}
	}
	return out
}

func (h *Handler) resolve(r *request, target string) (*reply, *esError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	found, e := h.expand(r, target, "open")
	if e != nil {
		return nil, e
	}
	all := r.q.Get("expand_wildcards")
	indices, aliases := []any{}, map[string][]any{}
	for _, ix := range found {
		attrs := []any{}
		if ix.closed {
			attrs = append(attrs, "closed")
		} else {
			attrs = append(attrs, "open")
		}
		if ix.hidden() {
			attrs = append([]any{"hidden"}, attrs...)
		}
		o := obj{"name", ix.name}
		if len(ix.aliases) > 0 {
			o = append(o, "aliases", slices.Sorted(maps.Keys(ix.aliases)))
		}
		o = append(o, "attributes", attrs)
		if ix.stream != nil {
			o = append(o, "data_stream", ix.stream.name)
		}
		if major, _ := versionOf(h.o.Version); major >= 9 {
			o = append(o, "mode", "standard")
		}
		for t := range strings.SplitSeq(target, ",") {
			if ix.stream != nil && strings.Contains(t, "*") && all != "all" && !strings.Contains(all, "hidden") {
				continue // found by its data stream
			}
			if t == "_all" || match(t, ix.name) || strings.HasPrefix(t, "-") { // one that was found by its alias is not named itself
				indices = append(indices, o)
				break
			}
		}
		for a, v := range ix.aliases {
			hid, _ := v["is_hidden"].(bool)
			if matchAny(target, a) && (!hid || strings.Contains(all, "hidden") || all == "all" || !strings.Contains(target, "*")) {
				aliases[a] = append(aliases[a], ix.name)
			}
		}
	}
	rows := []any{}
	for _, n := range slices.Sorted(maps.Keys(h.streams)) {
		s := h.streams[n]
		names := []any{}
		for _, ix := range s.indices {
			names = append(names, ix.name)
		}
		if matchAny(target, n) && (!s.hidden || all == "all" || strings.Contains(all, "hidden") || !strings.Contains(target, "*")) {
			rows = append(rows, obj{"name", n, "backing_indices", names, "timestamp_field", "@timestamp"})
		}
		for a := range s.aliases {
			if matchAny(target, a) {
				aliases[a] = append(aliases[a], names...)
			}
		}
	}
	shown := []any{}
	for _, a := range slices.Sorted(maps.Keys(aliases)) {
		shown = append(shown, obj{"name", a, "indices", aliases[a]})
	}
	return ok("indices", indices, "aliases", shown, "data_streams", rows), nil
}
