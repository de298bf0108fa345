package estest

import "strings"

// route finds what a path asks for. The lock is held by what changes or reads the cluster, never while a search runs.
func (h *Handler) route(r *request) (*reply, *esError) {
	if len(r.path) == 0 {
		if r.method != "GET" && r.method != "HEAD" {
			return nil, badMethod(r, "GET, HEAD")
		}
		return h.info(), nil
	}
	if !strings.HasPrefix(r.path[0], "_") || r.path[0] == "_all" {
		return h.routeIndex(r, r.path[0], r.path[1:])
	}
	rest := r.path[1:]
	first := ""
	if len(rest) > 0 {
		first = rest[0]
	}
	switch r.path[0] {
	case "_cluster":
		return h.cluster(r, rest)
	case "_nodes":
		return h.nodes(), nil
	case "_cat":
		if first == "indices" {
			return h.catIndices(r, strings.Join(rest[1:], ","))
		}
	case "_aliases":
		if r.method == "POST" {
			return h.postAliases(r)
		}
	case "_resolve":
		if first == "index" && len(rest) == 2 {
			return h.resolve(r, rest[1])
		}
	case "_search":
		if first == "scroll" {
			return h.scroll(r, rest[1:])
		}
		return h.search(r, "")
	case "_pit":
		if r.method == "DELETE" {
			return h.closePIT(r)
		}
		return nil, badMethod(r, "DELETE")
	case "_mget":
		return h.mget(r, "")
	case "_index_template", "_component_template", "_template", "_ilm":
		return h.templates(r, rest)
	case "_ingest":
		if first == "pipeline" {
			return h.pipelines(r, rest[1:])
		}
	case "_data_stream":
		return h.dataStreams(r, rest)
	case "_scripts", "_slm", "_enrich", "_transform", "_watcher", "_security":
		return h.feature(r, r.path[0][1:], rest)
	case "_bulk", "_refresh", "_flush", "_forcemerge", "_stats", "_count", "_settings", "_mapping", "_mappings", "_alias":
		return h.routeIndex(r, "", r.path)
	}
	return nil, &esError{status: 400, kind: "invalid_index_name_exception",
		reason: "Invalid index name [" + r.path[0] + "], must not start with '_'.", extra: obj{"index_uuid", "_na_", "index", r.path[0]}}
}

func (h *Handler) routeIndex(r *request, target string, rest []string) (*reply, *esError) {
	m := r.method
	get, write := m == "GET" || m == "HEAD", m == "PUT" || m == "POST"
	if len(rest) == 0 {
		switch m {
		case "GET", "HEAD":
			return h.getIndex(r, target)
		case "PUT":
			return h.createIndex(r, target)
		case "DELETE":
			return h.deleteIndex(r, target)
		}
		return nil, badMethod(r, "GET, PUT, DELETE, HEAD")
	}
	arg := ""
	if len(rest) > 1 {
		arg = strings.Join(rest[1:], "/")
	}
	switch rest[0] {
	case "_doc", "_create", "_source":
		return h.document(r, target, rest[0], arg)
	case "_update":
		if m == "POST" && arg != "" {
			return h.updateDocument(r, target, arg)
		}
	case "_mget":
		return h.mget(r, target)
	case "_bulk":
		if write {
			return h.bulk(r, target)
		}
		return nil, badMethod(r, "POST, PUT")
	case "_search":
		if target == ".security" && h.indices[target] == nil {
			return h.searchSecurity(r)
		}
		if get || m == "POST" {
			return h.search(r, target)
		}
	case "_count":
		return h.count(r, target)
	case "_pit":
		if m == "POST" {
			return h.openPIT(r, target)
		}
	case "_refresh", "_flush", "_forcemerge":
		if m == "POST" || m == "GET" && rest[0] != "_forcemerge" {
			return h.broadcast(r, target, rest[0])
		}
		return nil, badMethod(r, "GET, POST")
	case "_stats":
		return h.stats(r, target, arg)
	case "_settings":
		if get {
			return h.getSettings(r, target, arg)
		} else if m == "PUT" {
			return h.putSettings(r, target)
		}
	case "_mapping", "_mappings":
		if get {
			return h.getMapping(r, target)
		} else if write {
			return h.putMapping(r, target)
		}
	case "_alias", "_aliases":
		if get {
			return h.getAlias(r, target, arg)
		} else if write {
			return h.putAlias(r, target, arg)
		} else if m == "DELETE" {
			return h.deleteAlias(r, target, arg)
		}
	case "_rollover":
		if m == "POST" && arg == "" {
			return h.rollover(target)
		}
	case "_open", "_close":
		if m == "POST" {
			return h.openClose(r, target, rest[0] == "_open")
		}
	case "_clone", "_shrink":
		if write && arg != "" {
			return h.resize(r, target, arg, rest[0])
		}
	case "_block":
		if m == "PUT" && arg != "" {
			return h.addBlock(r, target, arg)
		}
	}
	return nil, badMethod(r, "POST")
}
