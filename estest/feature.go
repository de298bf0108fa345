package estest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// feature answers what lies outside indices and templates: stored scripts, snapshot policies, enrich policies, transforms, watches
// and security. Objects are stored and shown in the server's shapes, with what a server adds to them; nothing acts on them.
func (h *Handler) feature(r *request, kind string, rest []string) (*reply, *esError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	name := ""
	if len(rest) > 1 {
		name = strings.Join(rest[1:], "/")
	}
	first := ""
	if len(rest) > 0 {
		first = rest[0]
	}
	switch {
	case kind == "scripts" && first != "":
		return h.script(r, strings.Join(rest, "/"))
	case kind == "slm" && first == "policy":
		return h.snapshotPolicy(r, name)
	case kind == "enrich" && first == "policy":
		return h.enrich(r, name)
	case kind == "transform":
		return h.transform(r, strings.Join(rest, "/"))
	case kind == "watcher" && first == "watch" && name != "":
		return h.watch(r, name)
	case kind == "watcher" && first == "_query":
		return h.watches(r)
	case kind == "security" && (first == "role" || first == "role_mapping" || first == "user"):
		return h.security(r, first, name)
	}
	return nil, badMethod(r, "POST")
}

// kept stores, removes or finds the object of a request, and says what is there of its name or pattern. Written is true where there
// is nothing more to show.
func (h *Handler) kept(r *request, kind, name string) (found []string, written bool, e *esError) {
	at := h.store(kind)
	switch r.method {
	case "PUT", "POST":
		body, e := bodyObject(r.body)
		if e != nil {
			return nil, false, e
		}
		at[name] = body
		return nil, true, nil
	case "DELETE":
		if at[name] == nil {
			return nil, false, notFound("%s [%s] does not exist", kind, name)
		}
		delete(at, name)
		return nil, true, nil
	}
	for _, n := range slices.Sorted(maps.Keys(at)) {
		if name == "" || name == "_all" || matchAny(name, n) {
			found = append(found, n)
		}
	}
	if len(found) == 0 && name != "" && !strings.Contains(name, "*") {
		return nil, false, notFound("%s [%s] does not exist", kind, name)
	}
	return found, false, nil
}

func (h *Handler) script(r *request, name string) (*reply, *esError) {
	if r.method == "PUT" || r.method == "POST" {
		body, e := bodyObject(r.body)
		if e != nil {
			return nil, e
		}
		s, is := body["script"].(map[string]any)
		if !is || s["lang"] == nil || s["source"] == nil {
			return nil, illegal("must specify lang and source of the stored script")
		}
		h.store("script")[name] = s
		return ok("acknowledged", true), nil
	}
	if r.method == "GET" && h.store("script")[name] == nil {
		return nil, &esError{status: 404, bare: obj{"_id", name, "found", false}}
	}
	_, written, e := h.kept(r, "script", name)
	if e != nil || written {
		return ok("acknowledged", true), e
	}
	return ok("_id", name, "found", true, "script", clone(h.store("script")[name])), nil
}

// modified is when everything was last changed.
const modified = "2025-01-01T00:00:00.000Z"

func (h *Handler) snapshotPolicy(r *request, name string) (*reply, *esError) {
	found, written, e := h.kept(r, "slm", name)
	if e != nil || written {
		return ok("acknowledged", true), e
	}
	out := obj{}
	for _, n := range found {
		out = append(out, n, obj{"version", 1, "modified_date_millis", h.o.Now().UnixMilli(), "policy", clone(h.store("slm")[n]),
			"next_execution_millis", h.o.Now().UnixMilli(), "stats", obj{"policy", n, "snapshots_taken", 0}})
	}
	return &reply{status: 200, v: out}, nil
}

func (h *Handler) enrich(r *request, name string) (*reply, *esError) {
	name, execute := strings.CutSuffix(name, "/_execute")
	at := h.store("enrich")
	switch {
	case execute && at[name] == nil:
		return nil, notFound("policy [%s] not found", name)
	case execute:
		h.store("enriched")[name] = map[string]any{}
		return ok("status", obj{"phase", "COMPLETE"}), nil
	case r.method == "PUT":
		if at[name] != nil {
			return nil, &esError{status: 400, kind: "resource_already_exists_exception", reason: "policy [" + name + "] already exists"}
		}
		body, e := bodyObject(r.body)
		if e != nil {
			return nil, e
		}
		for kind, v := range body {
			def, _ := v.(map[string]any)
			if len(body) != 1 || def["match_field"] == nil || def["enrich_fields"] == nil || def["name"] != nil || len(list(def, "indices")) == 0 {
				return nil, &esError{status: 400, kind: "x_content_parse_exception", reason: "[1:1] [policy] failed to parse [" + kind + "]"}
			}
			if found, e := h.expand(r, strings.Join(list(def, "indices"), ","), "open"); e != nil || len(found) == 0 {
				return nil, e
			}
		}
	case r.method == "DELETE":
		for n, p := range h.store("pipeline") {
			if slices.Contains(policies(p), name) {
				return nil, &esError{status: 409, kind: "status_exception",
					reason: "Could not delete policy [" + name + "] because a pipeline is referencing it [" + n + "]"}
			}
		}
		delete(h.store("enriched"), name)
	}
	found, written, e := h.kept(r, "enrich", name)
	if e != nil || written {
		return ok("acknowledged", true), e
	}
	rows := []any{}
	for _, n := range found {
		config := clone(at[n]).(map[string]any)
		for _, def := range config {
			def.(map[string]any)["name"] = n
		}
		rows = append(rows, obj{"config", config})
	}
	return ok("policies", rows), nil
}

// policies are the enrich policies that a pipeline's processors name.
func policies(v any) (names []string) {
	switch v := v.(type) {
	case map[string]any:
		if p, is := v["enrich"].(map[string]any); is && p["policy_name"] != nil {
			names = append(names, fmt.Sprint(p["policy_name"]))
		}
		for _, e := range v {
			names = append(names, policies(e)...)
		}
	case []any:
		for _, e := range v {
			names = append(names, policies(e)...)
		}
	}
	return names
}

// page cuts a list as from and size of the request say.
func page[T any](all []T, from, size string, most int) []T {
	a, _ := strconv.Atoi(from)
	n, err := strconv.Atoi(size)
	if err != nil {
		n = most
	}
	a = min(max(a, 0), len(all))
	return all[a:min(a+n, len(all))]
}

func (h *Handler) transform(r *request, name string) (*reply, *esError) {
	at := h.store("transform")
	if r.method == "PUT" {
		if at[name] != nil {
			return nil, &esError{status: 400, kind: "resource_already_exists_exception", reason: "Transform with id [" + name + "] already exists"}
		}
		body, e := bodyObject(r.body)
		if e != nil {
			return nil, e
		}
		for _, k := range []string{"create_time", "version", "authorization"} {
			if body[k] != nil {
				return nil, &esError{status: 400, kind: "x_content_parse_exception", reason: "Found [" + k + "], not allowed for strict parsing"}
			}
		}
		src, _ := body["source"].(map[string]any)
		if !r.flag("defer_validation") {
			if _, e := h.expand(r, strings.Join(list(src, "index"), ","), "open"); e != nil {
				return nil, e
			}
		}
	}
	found, written, e := h.kept(r, "transform", name)
	if e != nil || written {
		return ok("acknowledged", true), e
	}
	rows := []any{}
	for _, n := range page(found, r.q.Get("from"), r.q.Get("size"), 100) {
		rows = append(rows, obj{"id", n, "authorization", obj{"roles", []any{"superuser"}}, "version", "10.0.0", "create_time", h.o.Now().UnixMilli()}.
			with(sortedObj(clone(at[n]).(map[string]any))...))
	}
	return ok("count", len(found), "transforms", rows), nil
}

func sortedObj(m map[string]any) obj {
	o := obj{}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		o = append(o, k, m[k])
	}
	return o
}

func (h *Handler) watch(r *request, name string) (*reply, *esError) {
	if r.method == "PUT" || r.method == "POST" {
		body, e := bodyObject(r.body)
		if e != nil {
			return nil, e
		}
		if body["trigger"] == nil {
			return nil, &esError{status: 400, kind: "parse_exception", reason: "could not parse watch [" + name + "]. missing required field [trigger]"}
		}
		h.store("watch")[name] = map[string]any{"watch": body, "active": r.q.Get("active") != "false"}
		return ok("_id", name, "_version", 1, "_seq_no", 0, "_primary_term", 1, "created", true), nil
	}
	if h.store("watch")[name] == nil {
		return nil, &esError{status: 404, bare: obj{"_id", name, "found", false}}
	}
	if r.method == "DELETE" {
		delete(h.store("watch"), name)
		return ok("_id", name, "_version", 2, "found", true), nil
	}
	return ok(append(obj{"found", true}, h.shownWatch(name)...)...), nil
}

func (h *Handler) shownWatch(name string) obj {
	w := h.store("watch")[name]
	return obj{"_id", name, "watch", clone(w["watch"]), "status", obj{"state", obj{"active", w["active"], "timestamp", modified}, "version", 1}, "_seq_no", 0, "_primary_term", 1}
}

func (h *Handler) watches(r *request) (*reply, *esError) {
	body, e := bodyObject(r.body)
	if e != nil {
		return nil, e
	}
	all := slices.Sorted(maps.Keys(h.store("watch")))
	rows := []any{}
	text := func(k string) string {
		if body[k] == nil {
			return ""
		}
		return fmt.Sprint(body[k])
	}
	for _, n := range page(all, text("from"), text("size"), 10) {
		rows = append(rows, h.shownWatch(n))
	}
	return ok("count", len(all), "watches", rows), nil
}

// security keeps roles, role mappings and users. One role and one user are built in; passwords are never shown.
func (h *Handler) security(r *request, kind, name string) (*reply, *esError) {
	at := h.store(kind)
	reserved := map[string]any{"_reserved": true}
	if kind == "role" && at["superuser"] == nil {
		at["superuser"] = map[string]any{"cluster": []any{"all"}, "metadata": reserved}
	}
	if kind == "user" && at["elastic"] == nil {
		at["elastic"] = map[string]any{"roles": []any{"superuser"}, "full_name": nil, "email": nil, "enabled": true, "metadata": reserved}
	}
	if r.method == "PUT" || r.method == "POST" || r.method == "DELETE" {
		if m, is := at[name]["metadata"].(map[string]any); is && m["_reserved"] == true {
			return nil, &esError{status: 400, kind: "action_request_validation_exception", reason: "Validation Failed: 1: " + kind + " [" + name + "] is reserved and may not be used.;"}
		}
	}
	switch r.method {
	case "PUT", "POST":
		body, e := bodyObject(r.body)
		if e != nil {
			return nil, e
		}
		if body["metadata"] == nil {
			body["metadata"] = map[string]any{}
		}
		_, exists := at[name]
		if kind == "user" {
			hash := body["password_hash"]
			if p := body["password"]; p != nil {
				hash = "$2a$10$" + fmt.Sprintf("%x", fmt.Sprint(p)) // made up, and telling: it is for tests
			}
			if hash == nil && !exists {
				return nil, invalid("password must be specified unless you are updating an existing user")
			}
			if hash != nil {
				h.store("hash")[name] = map[string]any{"password": hash}
			}
			delete(body, "password")
			delete(body, "password_hash")
			for k, v := range map[string]any{"full_name": nil, "email": nil, "enabled": true} {
				if _, has := body[k]; !has {
					body[k] = v
				}
			}
		}
		at[name] = body
		if kind == "user" {
			return ok("created", !exists), nil
		}
		return ok(kind, obj{"created", !exists}), nil
	case "DELETE":
		if at[name] == nil {
			return nil, &esError{status: 404, bare: obj{"found", false}}
		}
		delete(at, name)
		return ok("found", true), nil
	}
	out := obj{}
	for _, n := range slices.Sorted(maps.Keys(at)) {
		if name != "" && !matchAny(name, n) {
			continue
		}
		o := obj{}
		if kind == "user" {
			o = obj{"username", n}
		}
		o = o.with(sortedObj(clone(at[n]).(map[string]any))...)
		if kind == "role" {
			o = append(o, "transient_metadata", obj{"enabled", true})
		}
		out = append(out, n, o)
	}
	if name != "" && len(out) == 0 {
		return nil, &esError{status: 404, bare: obj{}}
	}
	return &reply{status: 200, v: out}, nil
}

// searchSecurity finds the users in the index that holds them, whatever the query.
func (h *Handler) searchSecurity(*request) (*reply, *esError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	hits := []any{}
	for _, n := range slices.Sorted(maps.Keys(h.store("user"))) {
		if p := h.store("hash")[n]; p != nil {
			hits = append(hits, obj{"_index", ".security-7", "_id", "user-" + n, "_score", 1.0, "_source", obj{"username", n, "password", p["password"], "type", "user"}})
		}
	}
	return ok("took", 1, "timed_out", false, "_shards", obj{"total", 1, "successful", 1, "skipped", 0, "failed", 0},
		"hits", obj{"total", obj{"value", len(hits), "relation", "eq"}, "max_score", 1.0, "hits", hits}), nil
}
