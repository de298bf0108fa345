package estest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"time"
)

const contextPrefix = "estest-context-"

func parseDuration(s string) (time.Duration, bool) {
	units := []struct {
		suffix string
		d      time.Duration
	}{{"nanos", 1}, {"micros", time.Microsecond}, {"ms", time.Millisecond}, {"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}, {"d", 24 * time.Hour}}
	for _, u := range units {
		if len(s) > len(u.suffix) && s[len(s)-len(u.suffix):] == u.suffix {
			if n, err := strconv.ParseFloat(s[:len(s)-len(u.suffix)], 64); err == nil && n >= 0 {
				return time.Duration(n * float64(u.d)), true
			}
		}
	}
	return 0, false
}

// newContext opens a point in time or a scroll. The lock is held.
func (h *Handler) newContext(shards []searchShard, keep string, scroll *searchRequest) (*searchContext, *esError) {
	d, good := parseDuration(keep)
	if !good {
		return nil, illegal("failed to parse setting [keep_alive] with value [%s] as a time value: unit is missing or unrecognized", keep)
	}
	if d > 24*time.Hour {
		e := illegal("Keep alive for request (%s) is too large. It must be less than (1d). This limit can be set by changing the [search.max_keep_alive] cluster level setting.", keep)
		return nil, phaseFailed(400, "all shards failed", shardName(shards), h.node, e, []int{0})
	}
	c := &searchContext{shards: shards, keep: d, expires: h.o.Now().Add(d), scroll: scroll}
	h.nextID++
	c.id = base64.URLEncoding.EncodeToString(fmt.Appendf(nil, contextPrefix+"%s-%06d-%d", h.node, h.nextID, len(shards)))
	h.contexts[c.id] = c
	return c, nil
}

func shardName(shards []searchShard) string {
	if len(shards) == 0 {
		return ""
	}
	return shards[0].ix.name
}

// context finds an open context and keeps it alive. The lock is held.
func (h *Handler) context(id, keep string) (*searchContext, *esError) {
	c := h.contexts[id]
	if c != nil && h.o.Now().After(c.expires) {
		delete(h.contexts, id)
		c = nil
	}
	if c == nil {
		b, err := base64.URLEncoding.DecodeString(id)
		if err != nil || !bytes.HasPrefix(b, []byte(contextPrefix)) {
			e := illegal("java.io.EOFException")
			e.cause = &esError{kind: "e_o_f_exception", reason: "null"}
			return nil, e
		}
		shards, _ := strconv.Atoi(string(b[bytes.LastIndexByte(b, '-')+1:]))
		e := &esError{kind: "search_context_missing_exception", reason: "No search context found for id [" + strconv.FormatInt(h.nextID+1, 10) + "]"}
		return nil, allShardsFailed(404, "", h.node, e, make([]int, shards))
	}
	if c.gone {
		return nil, allShardsFailed(503, "", h.node, &esError{kind: "no_shard_available_action_exception", reason: "no shard available: the index was deleted"}, make([]int, 1))
	}
	if keep != "" {
		d, good := parseDuration(keep)
		if !good || d > 24*time.Hour {
			return nil, illegal("Keep alive for request (%s) is too large. It must be less than (1d). This limit can be set by changing the [search.max_keep_alive] cluster level setting.", keep)
		}
		c.keep = max(c.keep, d)
	}
	c.expires = h.o.Now().Add(c.keep)
	return c, nil
}

func (h *Handler) openPIT(r *request, target string) (*reply, *esError) {
	keep := r.q.Get("keep_alive")
	if keep == "" {
		return nil, invalid("[keep_alive] is not specified")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	shards, e := h.searchShards(r, target)
	if e != nil {
		return nil, e
	}
	var fails []any
	for _, s := range shards {
		if r.fx.shardFails(s.n) {
			fails = append(fails, r.fx.failure(s.ix.name, s.n, h.node))
		}
	}
	if len(fails) > 0 && (r.q.Get("allow_partial_search_results") != "true" || len(fails) == len(shards)) {
		return nil, r.fx.partialError(fails)
	}
	c, e := h.newContext(shards, keep, nil)
	if e != nil {
		return nil, e
	}
	return ok("id", c.id, "_shards", obj{"total", len(shards), "successful", len(shards) - len(fails), "skipped", 0, "failed", len(fails)}), nil
}

func (h *Handler) closePIT(r *request) (*reply, *esError) {
	var body struct {
		ID string `json:"id"`
	}
	if err := decode(r.body, &body); err != nil {
		return nil, parseError("%s", err)
	}
	return h.free([]string{body.ID}), nil
}

func (h *Handler) free(ids []string) *reply {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, id := range ids {
		if c := h.contexts[id]; c != nil && !c.gone && !h.o.Now().After(c.expires) {
			n += len(c.shards)
		}
		delete(h.contexts, id)
	}
	status := 200
	if n == 0 {
		status = 404
	}
	return &reply{status: status, v: obj{"succeeded", n > 0, "num_freed", n}}
}

func (h *Handler) scroll(r *request, rest []string) (*reply, *esError) {
	var body struct {
		Scroll string `json:"scroll"`
		ID     any    `json:"scroll_id"`
	}
	if len(r.body) > 0 {
		if err := decode(r.body, &body); err != nil {
			return nil, parseError("%s", err)
		}
	}
	ids := list(map[string]any{"v": body.ID}, "v")
	if len(ids) == 0 && r.q.Get("scroll_id") != "" {
		ids = []string{r.q.Get("scroll_id")}
	}
	if len(ids) == 0 && len(rest) > 0 {
		ids = rest
	}
	if r.method == "DELETE" {
		if len(ids) == 1 && ids[0] == "_all" {
			ids = nil
			h.mu.Lock()
			for id, c := range h.contexts {
				if c.scroll != nil {
					ids = append(ids, id)
				}
			}
			h.mu.Unlock()
		}
		rep := h.free(ids)
		rep.v = obj{"succeeded", true}.with(rep.v.(obj)[2:]...) // of scrolls, also if there was none
		return rep, nil
	}
	if len(ids) != 1 {
		return nil, invalid("scrollId is missing")
	}
	if body.Scroll == "" {
		body.Scroll = r.q.Get("scroll")
	}
	h.mu.Lock()
	c, e := h.context(ids[0], body.Scroll)
	from := 0
	if e == nil {
		from = c.offset
	}
	h.mu.Unlock()
	if e != nil && e.whole != nil {
		e.whole = e.whole.with("caused_by", obj{"type", "search_context_missing_exception", "reason", "No search context found"})
	}
	if e != nil {
		return nil, e
	}
	if c.scroll == nil {
		return nil, illegal("the id is not of a scroll")
	}
	s := *c.scroll
	s.Aggs = nil
	rep, n, e := h.run(r, &s, c.shards, from)
	if e != nil {
		return nil, e
	}
	h.mu.Lock()
	c.offset = n // moved on even if the answer never arrives, as the real one
	h.mu.Unlock()
	return &reply{status: 200, v: obj{"_scroll_id", c.id}.with(rep...)}, nil
}
