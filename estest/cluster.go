package estest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

func (h *Handler) info() *reply {
	return ok("name", h.o.NodeName, "cluster_name", h.o.ClusterName, "cluster_uuid", h.uuid, "version", obj{"number", h.o.Version,
		"build_flavor", "default", "build_type", "docker", "build_hash", "0000000000000000000000000000000000000000", "build_date", "2025-01-01T00:00:00.000Z",
		"build_snapshot", false, "lucene_version", "9.12.2", "minimum_wire_compatibility_version", "7.17.0",
		"minimum_index_compatibility_version", "7.0.0"}, "tagline", "You Know, for Search")
}

func (h *Handler) cluster(r *request, rest []string) (*reply, *esError) {
	if len(rest) == 0 {
		return nil, badMethod(r, "GET")
	}
	switch rest[0] {
	case "health":
		return h.health(r, strings.Join(rest[1:], ","))
	case "state":
		target := ""
		if len(rest) > 2 {
			target = rest[2]
		}
		return h.state(r, target)
	case "settings":
		if r.method == "PUT" {
			return h.putClusterSettings(r)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		return ok("persistent", shown(h.persistent, r), "transient", shown(h.transient, r)), nil
	}
	return nil, badMethod(r, "POST")
}

func shown(m map[string]any, r *request) any {
	return (&index{settings: maps.Clone(m)}).showSettings(r.flag("flat_settings"))
}

var clusterPrefixes = []string{"action.", "cluster.", "indices.", "search.", "ingest.", "logger.", "xpack.", "script.", "persistent_tasks.", "snapshot.", "slm.", "logsdb.", "thread_pool.", "network.", "node.", "stack.", "http.", "data_streams."}

func (h *Handler) putClusterSettings(r *request) (*reply, *esError) {
	body, e := bodyObject(r.body)
	if e != nil {
		return nil, e
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	out := obj{"acknowledged", true}
	for _, kind := range []string{"persistent", "transient"} {
		m, _ := body[kind].(map[string]any)
		set := map[string]any{}
		for k, v := range flatten(m) {
			k = strings.TrimPrefix(k, "index.")
			if !slices.ContainsFunc(clusterPrefixes, func(p string) bool { return strings.HasPrefix(k, p) }) {
				return nil, illegal("%s setting [%s], not recognized", kind, k)
			}
			set[k] = v
		}
		at := h.persistent
		if kind == "transient" {
			at = h.transient
		}
		for k, v := range set {
			if v == nil {
				for have := range at {
					if match(k, have) {
						delete(at, have)
					}
				}
				delete(set, k)
			} else {
				at[k] = v
			}
		}
		out = append(out, kind, shown(set, r))
	}
	return &reply{status: 200, v: out}, nil
}

func (h *Handler) health(r *request, target string) (*reply, *esError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	found, e := h.expand(r, target, "open,closed,hidden")
	status, code, timed := "green", 200, false
	if e != nil { // the real server waits until the index is there, up to the timeout
		status, code, timed, found = "red", 408, true, nil
	}
	active, missing := 0, 0
	for _, ix := range found {
		active += len(ix.shards)
		missing += len(ix.shards) * ix.replicas()
	}
	if missing > 0 && status == "green" {
		status = "yellow"
	}
	if w := r.q.Get("wait_for_status"); w == "green" && status == "yellow" {
		code, timed = 408, true
	}
	percent := 100.0
	if active+missing > 0 {
		percent = 100 * float64(active) / float64(active+missing)
	}
	return &reply{status: code, v: obj{"cluster_name", h.o.ClusterName, "status", status, "timed_out", timed, "number_of_nodes", 1, "number_of_data_nodes", 1,
		"active_primary_shards", active, "active_shards", active, "relocating_shards", 0, "initializing_shards", 0, "unassigned_shards", missing,
		"unassigned_primary_shards", 0, "delayed_unassigned_shards", 0, "number_of_pending_tasks", 0, "number_of_in_flight_fetch", 0,
		"task_max_waiting_in_queue_millis", 0, "active_shards_percent_as_number", dbl(percent)}}, nil
}

func (h *Handler) state(r *request, target string) (*reply, *esError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.q.Set("ignore_unavailable", "true") // a name that is not there is left out
	found, e := h.expand(r, target, "open,closed,hidden")
	if e != nil {
		return nil, e
	}
	indices := obj{}
	for _, ix := range found {
		state := "open"
		if ix.closed {
			state = "close"
		}
		terms, sync := obj{}, obj{}
		for n, s := range ix.shards {
			terms = append(terms, strconv.Itoa(n), s.term)
			sync = append(sync, strconv.Itoa(n), []any{fmt.Sprintf("%s-%d", ix.uuid[:8], n)})
		}
		indices = append(indices, ix.name, obj{"version", ix.version, "mapping_version", ix.version, "settings_version", ix.version, "aliases_version", ix.version,
			"routing_num_shards", ix.routing, "state", state, "settings", ix.showSettings(r.flag("flat_settings")), "mappings", obj{"_doc", clone(ix.mapping)},
			"aliases", append([]string{}, slices.Sorted(maps.Keys(ix.aliases))...), "primary_terms", terms, "in_sync_allocations", sync, "rollover_info", obj{}, "system", false,
			"timestamp_range", obj{"unknown", true}, "event_ingested_range", obj{"unknown", true}})
	}
	metadata := obj{"cluster_uuid", h.uuid, "cluster_uuid_committed", true,
		"templates", obj{}, "indices", indices, "index-graveyard", obj{"tombstones", []any{}}, "reserved_state", obj{}}
	if s := h.store("script"); len(s) > 0 {
		metadata = append(metadata, "stored_scripts", anyMap(s))
	}
	return ok("cluster_name", h.o.ClusterName, "cluster_uuid", h.uuid, "metadata", metadata), nil
}

func (h *Handler) nodes() *reply {
	return ok("_nodes", obj{"total", 1, "successful", 1, "failed", 0}, "cluster_name", h.o.ClusterName, "nodes", obj{h.node, obj{"name", h.o.NodeName,
		"transport_address", "127.0.0.1:9300", "host", "127.0.0.1", "ip", "127.0.0.1", "version", h.o.Version,
		"roles", []any{"data", "data_content", "data_hot", "ingest", "master", "transform"}}})
}

func (h *Handler) catIndices(r *request, target string) (*reply, *esError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	found, e := h.expand(r, target, "open,closed")
	if e != nil {
		return nil, e
	}
	rows, text := []any{}, ""
	for _, ix := range found {
		health, status, docs, size := "green", "open", 0, int64(0)
		if ix.replicas() > 0 {
			health = "yellow"
		}
		if ix.closed {
			status = "close"
		}
		for _, s := range ix.shards {
			docs += len(s.view)
			size += s.bytes()
		}
		sz := fmt.Sprintf("%db", size)
		rows = append(rows, obj{"health", health, "status", status, "index", ix.name, "uuid", ix.uuid, "pri", strconv.Itoa(len(ix.shards)),
			"rep", strconv.Itoa(ix.replicas()), "docs.count", strconv.Itoa(docs), "docs.deleted", "0", "store.size", sz, "pri.store.size", sz, "dataset.size", sz})
		text += fmt.Sprintf("%s %s %s %s %d %d %d 0 %s %s %s\n", health, status, ix.name, ix.uuid, len(ix.shards), ix.replicas(), docs, sz, sz, sz)
	}
	if r.q.Get("format") != "json" {
		return &reply{status: 200, text: text}, nil
	}
	return &reply{status: 200, v: rows}, nil
}

func (s *shard) bytes() (n int64) {
	for _, d := range s.view {
		n += int64(len(d.source)) + 60 // what a stored document weighs besides its source
	}
	return n
}

func (h *Handler) stats(r *request, target, metrics string) (*reply, *esError) {
	show := map[string]bool{}
	for m := range strings.SplitSeq(metrics, ",") {
		switch m {
		case "", "_all":
			show["docs"], show["store"] = true, true
		case "docs", "store", "indexing", "get", "search", "merge", "refresh", "flush", "segments", "translog", "bulk", "shard_stats", "mappings":
			show[m] = true
		default:
			return nil, illegal("request [%s] contains unrecognized metric: [%s]", strings.Split(r.uri, "?")[0], m)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	found, e := h.expand(r, target, "open")
	if e != nil {
		return nil, e
	}
	part := func(docs, dead, size int64) obj {
		o := obj{}
		if show["docs"] {
			o = append(o, "docs", obj{"count", docs, "deleted", dead, "total_size_in_bytes", size})
		}
		if show["store"] {
			o = append(o, "store", obj{"size_in_bytes", size, "total_data_set_size_in_bytes", size, "reserved_in_bytes", 0})
		}
		return o
	}
	indices, total, good, fails := obj{}, 0, 0, []any{}
	var allDocs, allDead, allSize int64
	for _, ix := range found {
		if ix.closed {
			return nil, ix.closedError()
		}
		var docs, dead, size int64
		shards := obj{}
		for n, s := range ix.shards {
			total += 1 + ix.replicas()
			if r.fx.shardFails(n) {
				fails = append(fails, r.fx.failure(ix.name, n, h.node))
				continue
			}
			good++
			d, x, b := int64(len(s.view)), int64(s.deaths), s.bytes()
			docs, dead, size = docs+d, dead+x, size+b
			one := obj{"routing", obj{"state", "STARTED", "primary", true, "node", h.node, "relocating_node", nil}}.with(part(d, x, b)...)
			one = append(one, "commit", obj{"id", s.history, "generation", 2, "user_data", obj{"history_uuid", s.history, "max_unsafe_auto_id_timestamp", "-1",
				"local_checkpoint", strconv.FormatInt(s.maxSeq, 10), "max_seq_no", strconv.FormatInt(s.maxSeq, 10)}, "num_docs", d},
				"seq_no", obj{"max_seq_no", s.maxSeq, "local_checkpoint", s.maxSeq, "global_checkpoint", s.globalCheckpoint()},
				"retention_leases", obj{"primary_term", s.term, "version", 1, "leases", []any{}})
			shards = append(shards, strconv.Itoa(n), []any{one})
		}
		health, status := "green", "open"
		if ix.replicas() > 0 {
			health = "yellow"
		}
		if ix.closed {
			status = "close"
		}
		o := obj{"uuid", ix.uuid, "health", health, "status", status, "primaries", part(docs, dead, size), "total", part(docs, dead, size)}
		if r.q.Get("level") == "shards" {
			o = append(o, "shards", shards)
		}
		indices = append(indices, ix.name, o)
		allDocs, allDead, allSize = allDocs+docs, allDead+dead, allSize+size
	}
	sh := obj{"total", total, "successful", good, "failed", len(fails)}
	if len(fails) > 0 {
		sh = append(sh, "failures", fails)
	}
	return ok("_shards", sh, "_all", obj{"primaries", part(allDocs, allDead, allSize), "total", part(allDocs, allDead, allSize)}, "indices", indices), nil
}
