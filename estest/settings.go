package estest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// private settings are made by the server and refused from a request.
var private = map[string]bool{"index.uuid": true, "index.creation_date": true, "index.provided_name": true, "index.version.created": true,
	"index.version.upgraded": true, "index.resize.source.uuid": true, "index.resize.source.name": true, "index.history.uuid": true}

// static settings cannot be changed while the index is open; those in final never.
var static = words(`index.number_of_shards index.number_of_routing_shards index.routing_partition_size index.codec index.mode
 index.soft_deletes.enabled index.load_fixed_bitset_filters_eagerly index.shard.check_on_startup index.store.type index.time_series.start_time
 index.routing_path index.mapping.source.mode index.sort.field index.sort.order index.sort.mode index.sort.missing index.hidden_static
 index.seq_no.index_options index.disable_sequence_numbers index.data_path index.merge_static index.mapping.coerce index.mapping.ignore_malformed
 index.mapping.synthetic_source_keep index.mapping.exclude_source_vectors`)

var dynamic = words(`index.number_of_replicas index.auto_expand_replicas index.refresh_interval index.max_result_window index.max_inner_result_window
 index.max_rescore_window index.max_docvalue_fields_search index.max_script_fields index.max_ngram_diff index.max_shingle_diff
 index.max_refresh_listeners index.max_terms_count index.max_regex_length index.gc_deletes index.default_pipeline index.final_pipeline
 index.hidden index.priority index.query.default_field index.highlight.max_analyzed_offset index.max_slices_per_scroll index.max_slices_per_pit
 index.write.wait_for_active_shards index.blocks.read_only index.blocks.read_only_allow_delete index.blocks.read index.blocks.write
 index.blocks.metadata index.flush_after_merge index.dense_vector.hnsw_early_termination index.warmer.enabled index.requests.cache.enable
 index.queries.cache.enabled index.compound_format index.lifecycle.name index.lifecycle.rollover_alias index.lifecycle.parse_origination_date
 index.lifecycle.origination_date index.lifecycle.indexing_complete index.lifecycle.step.wait_time_threshold index.lifecycle.prefer_ilm
 index.time_series.end_time index.look_ahead_time index.allocation.max_retries index.logsdb.route_on_sort_fields`)

var prefixes = []string{"index.routing.", "index.analysis.", "index.similarity.", "index.mapping.", "index.translog.", "index.search.",
	"index.indexing.", "index.merge.", "index.unassigned.", "index.soft_deletes.", "index.sort.", "index.store.", "index.bloom_filter_for_id_field.", "index.recovery."}

func words(s string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(s) {
		m[w] = true
	}
	return m
}

// flatten turns nested settings into dotted names that begin with "index.", values into strings.
func flatten(in map[string]any) map[string]any {
	out := map[string]any{}
	var walk func(p string, v any)
	walk = func(p string, v any) {
		switch x := v.(type) {
		case map[string]any:
			for k, e := range x {
				walk(p+"."+k, e)
			}
		case []any:
			var l []any
			for _, e := range x {
				l = append(l, fmt.Sprint(e))
			}
			out[p] = l
		case nil:
			out[p] = nil
		case json.Number:
			out[p] = x.String()
		default:
			out[p] = fmt.Sprint(x)
		}
	}
	for k, v := range in {
		switch {
		case k == "index":
			if m, is := v.(map[string]any); is {
				for kk, e := range m {
					walk("index."+kk, e)
				}
			}
		case strings.HasPrefix(k, "index."):
			walk(k, v)
		default:
			walk("index."+k, v)
		}
	}
	return out
}

func checkSettings(flat map[string]any) *esError {
	for _, k := range slices.Sorted(maps.Keys(flat)) {
		known := static[k] || dynamic[k]
		for _, p := range prefixes {
			known = known || strings.HasPrefix(k, p)
		}
		if !known || private[k] {
			return illegal("unknown setting [%s] please check that any required plugins are installed, or check the breaking changes documentation for removed settings", k)
		}
		v, is := flat[k].(string)
		if !is {
			continue
		}
		switch k {
		case "index.number_of_shards", "index.number_of_replicas", "index.max_result_window", "index.number_of_routing_shards":
			least := 1
			if k == "index.number_of_replicas" {
				least = 0
			}
			n, err := strconv.Atoi(v)
			if err != nil {
				e := illegal("Failed to parse value [%s] for setting [%s]", v, k)
				e.cause = &esError{kind: "number_format_exception", reason: "For input string: \"" + v + "\""}
				return e
			}
			if n < least {
				return illegal("Failed to parse value [%s] for setting [%s] must be >= %d", v, k, least)
			}
			if k == "index.number_of_shards" && n > 1024 {
				return illegal("Failed to parse value [%s] for setting [%s] must be <= 1024", v, k)
			}
		}
		if strings.HasPrefix(k, "index.blocks.") || k == "index.hidden" {
			if v != "true" && v != "false" {
				return illegal("Failed to parse value [%s] as only [true] or [false] are allowed.", v)
			}
		}
	}
	return nil
}

func (ix *index) showSettings(flat bool) any {
	if flat {
		return maps.Clone(ix.settings)
	}
	root := map[string]any{}
	for _, k := range slices.Sorted(maps.Keys(ix.settings)) {
		m, parts := root, strings.Split(k, ".")
		for i, p := range parts[:len(parts)-1] {
			next, is := m[p].(map[string]any)
			if !is {
				if m[p] != nil { // both a.b and a.b.c are set
					m[strings.Join(parts[i:], ".")] = ix.settings[k]
					m = nil
					break
				}
				next = map[string]any{}
				m[p] = next
			}
			m = next
		}
		if m != nil {
			m[parts[len(parts)-1]] = ix.settings[k]
		}
	}
	return root
}

func (h *Handler) getSettings(r *request, target, names string) (*reply, *esError) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list, e := h.described(r, target, "open")
	if e != nil {
		return nil, e
	}
	out := obj{}
	for _, ix := range list {
		show := *ix
		if names != "" {
			show.settings = map[string]any{}
			for k, v := range ix.settings {
				for p := range strings.SplitSeq(names, ",") {
					if match(p, k) {
						show.settings[k] = v
					}
				}
			}
		}
		o := obj{"settings", show.showSettings(r.flag("flat_settings"))}
		if r.flag("include_defaults") {
			d := &index{settings: map[string]any{"index.max_result_window": "10000", "index.refresh_interval": "1s", "index.hidden": "false",
				"index.translog.durability": "REQUEST", "index.number_of_routing_shards": ix.setting("index.number_of_shards")}}
			for k := range d.settings {
				if ix.settings[k] != nil {
					delete(d.settings, k)
				}
			}
			o = append(o, "defaults", d.showSettings(r.flag("flat_settings")))
		}
		out = append(out, ix.name, o)
	}
	return &reply{status: 200, v: out}, nil
}

func (h *Handler) putSettings(r *request, target string) (*reply, *esError) {
	body, e := bodyObject(r.body)
	if e != nil {
		return nil, e
	}
	if s, is := body["settings"].(map[string]any); is {
		if len(body) > 1 {
			return nil, &esError{status: 400, kind: "parse_exception", reason: "mix of settings map and top-level properties"}
		}
		body = s
	}
	flat := flatten(body)
	if e := checkSettings(flat); e != nil {
		return nil, e
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	list, e := h.expand(r, target, "open,closed")
	if e != nil {
		return nil, e
	}
	blocksOnly := true
	for k := range flat {
		blocksOnly = blocksOnly && strings.HasPrefix(k, "index.blocks.")
	}
	for _, ix := range list {
		// Blocks can be lifted from a blocked index, as long as nothing else is changed with them.
		if !blocksOnly || len(flat) > 1 {
			if e := ix.blocked("metadata_write"); e != nil {
				return nil, e
			}
		}
		for _, k := range slices.Sorted(maps.Keys(flat)) {
			if k == "index.number_of_shards" && ix.closed {
				return nil, illegal("final %s setting [%s], not updateable", ix.name, k)
			}
			fixed := static[k] || strings.HasPrefix(k, "index.sort.") || strings.HasPrefix(k, "index.analysis.")
			if fixed && !ix.closed && !r.flag("reopen") {
				return nil, illegal("Can't update non dynamic settings [[%s]] for open indices [[%s/%s]] unless the `reopen` query parameter is set to true. Alternatively, close the indices, apply the settings changes, and reopen the indices", k, ix.name, ix.uuid)
			}
		}
	}
	for _, ix := range list {
		for k, v := range flat {
			switch {
			case r.flag("preserve_existing") && ix.settings[k] != nil:
			case v == nil && k == "index.number_of_replicas":
				ix.settings[k] = "1"
			case v == nil:
				for have := range ix.settings {
					if match(k, have) && !private[have] {
						if have == "index.blocks.write" {
							delete(ix.settings, "index.verified_read_only")
						}
						delete(ix.settings, have)
					}
				}
			default:
				ix.settings[k] = v
				if k == "index.blocks.write" && v == "false" {
					delete(ix.settings, "index.verified_read_only")
				}
			}
		}
		ix.version++
	}
	return ok("acknowledged", true), nil
}

func (h *Handler) addBlock(r *request, target, block string) (*reply, *esError) {
	if !dynamic["index.blocks."+block] || block == "read_only_allow_delete" {
		return nil, illegal("No block found with name %s", block)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	list, e := h.expand(r, target, "open")
	if e != nil {
		return nil, e
	}
	var shown []any
	for _, ix := range list {
		if e := ix.blocked("metadata_write"); e != nil {
			return nil, e
		}
		ix.settings["index.blocks."+block] = "true"
		if block == "write" {
			ix.settings["index.verified_read_only"] = "true"
		}
		shown = append(shown, obj{"name", ix.name, "blocked", true})
	}
	return ok("acknowledged", true, "shards_acknowledged", true, "indices", shown), nil
}

// blocked says whether a block of the index forbids "write", "delete" (of the index), "read", "metadata" (reading it) or "metadata_write".
func (ix *index) blocked(what string) *esError {
	on := func(b string) bool { return ix.setting("index.blocks."+b) == "true" }
	fail := func(status int, text string) *esError {
		return &esError{status: status, kind: "cluster_block_exception", reason: "index [" + ix.name + "] blocked by: [" + text + "];"}
	}
	switch {
	case on("read_only") && what != "metadata" && what != "read":
		return fail(403, "FORBIDDEN/5/index read-only (api)")
	case on("write") && what == "write":
		return fail(403, "FORBIDDEN/8/index write (api)")
	case on("read") && what == "read":
		return fail(403, "FORBIDDEN/7/index read (api)")
	case on("metadata") && (what == "metadata" || what == "metadata_write" || what == "delete"):
		return fail(403, "FORBIDDEN/9/index metadata (api)")
	case on("read_only_allow_delete") && what == "write":
		return fail(429, "TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block; "+
			"for more information, see https://www.elastic.co/guide/en/elasticsearch/reference/8.19/fix-watermark-errors.html")
	}
	return nil
}
