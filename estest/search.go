package estest

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// searchShard is the refreshed state of one shard, as a search or a point in time sees it.
type searchShard struct {
	ix   *index
	n    int
	docs []*doc
}

// searchContext is an open point in time or scroll.
type searchContext struct {
	id      string
	shards  []searchShard
	expires time.Time
	keep    time.Duration
	scroll  *searchRequest // nil for a point in time
	offset  int
	gone    bool // an index of it was deleted
}

type searchRequest struct {
	Size, From     int
	Query          any
	Sort           []sortKey
	After          []any
	Track          int // hits to count exactly; -1 none
	Source         *sourceFilter
	NoStored       bool
	SeqNo, Version bool
	Aggs           map[string]any
	PIT            string
	inPIT          bool
	PITKeep        string
	SliceID        int
	SliceMax       int
	TrackScores    bool
	partial        bool
}

const maxTrack = int(^uint(0) >> 1)

func parseSearch(r *request) (*searchRequest, *esError) {
	s := &searchRequest{Size: 10, Track: 10000, Source: &sourceFilter{}, partial: true}
	var body map[string]json.RawMessage
	if len(r.body) > 0 {
		if err := decode(r.body, &body); err != nil {
			return nil, parseError("%s", err)
		}
	}
	var e *esError
	num := func(name string, b []byte, p *int) {
		n, err := strconv.Atoi(strings.Trim(string(b), `"`))
		if err != nil {
			e = parseError("Failed to parse [%s] value [%s]", name, b)
		}
		*p = n
	}
	for k, v := range body {
		switch k {
		case "size":
			num(k, v, &s.Size)
		case "from":
			num(k, v, &s.From)
		case "query":
			_ = decode(v, &s.Query) // the body was valid
		case "sort":
			var x any
			_ = decode(v, &x)
			s.Sort, e = parseSort(x)
		case "search_after":
			_ = decode(v, &s.After)
		case "track_total_hits":
			switch string(v) {
			case "true":
				s.Track = maxTrack
			case "false":
				s.Track = -1
			default:
				num(k, v, &s.Track)
			}
		case "_source":
			s.Source, e = newSourceFilter(v)
		case "stored_fields":
			s.NoStored = strings.Contains(string(v), "_none_")
			if !s.NoStored && body["_source"] == nil && !strings.Contains(string(v), "_source") {
				s.Source.off = true
			}
		case "seq_no_primary_term":
			s.SeqNo = string(v) == "true"
		case "version":
			s.Version = string(v) == "true"
		case "aggs", "aggregations":
			_ = decode(v, &s.Aggs)
		case "pit":
			var p struct {
				ID   string `json:"id"`
				Keep string `json:"keep_alive"`
			}
			_ = decode(v, &p)
			s.PIT, s.PITKeep, s.inPIT = p.ID, p.Keep, true
		case "slice":
			var p struct{ ID, Max int }
			_ = decode(v, &p)
			s.SliceID, s.SliceMax = p.ID, p.Max
			if p.Max < 2 || p.ID >= p.Max {
				e = illegal("max must be greater than 1 and greater than id")
			}
		case "timeout", "track_scores", "profile", "explain", "terminate_after", "docvalue_fields", "fields", "indices_boost", "min_score":
		default:
			return nil, parseError("Unknown key for a VALUE in [%s].", k)
		}
		if e != nil {
			return nil, e
		}
	}
	if v := r.q.Get("size"); v != "" {
		num("size", []byte(v), &s.Size)
	}
	if v := r.q.Get("from"); v != "" {
		num("from", []byte(v), &s.From)
	}
	if v := r.q.Get("sort"); v != "" {
		for p := range strings.SplitSeq(v, ",") {
			f, dir, _ := strings.Cut(p, ":")
			s.Sort = append(s.Sort, sortKey{field: f, desc: dir == "desc"})
		}
	}
	switch v := r.q.Get("track_total_hits"); v {
	case "":
	case "true":
		s.Track = maxTrack
	case "false":
		s.Track = -1
	default:
		num("track_total_hits", []byte(v), &s.Track)
	}
	if r.q.Has("_source") || r.q.Has("_source_includes") || r.q.Has("_source_excludes") || r.q.Has("_source_exclude_vectors") {
		if s.Source, e = sourceFromQuery(r); e != nil {
			return nil, e
		}
	}
	s.SeqNo = s.SeqNo || r.flag("seq_no_primary_term")
	s.Version = s.Version || r.flag("version")
	s.partial = r.q.Get("allow_partial_search_results") != "false"
	if e != nil {
		return nil, e
	}
	if s.From < 0 {
		return nil, illegal("[from] parameter cannot be negative, found [%d]", s.From)
	}
	if s.Size < 0 {
		return nil, illegal("[size] parameter cannot be negative, found [%d]", s.Size)
	}
	return s, nil
}

func (h *Handler) search(r *request, target string) (*reply, *esError) {
	s, e := parseSearch(r)
	if e != nil {
		return nil, e
	}
	keep := r.q.Get("scroll")
	h.mu.Lock()
	var shards []searchShard
	var ctx *searchContext
	if s.inPIT {
		for _, k := range []string{"preference", "routing"} {
			if r.q.Get(k) != "" {
				h.mu.Unlock()
				return nil, invalid("[" + k + "] cannot be used with point in time")
			}
		}
		if target != "" {
			h.mu.Unlock()
			return nil, invalid("[indices] cannot be used with point in time. Do not specify any index with point in time.")
		}
		ctx, e = h.context(s.PIT, s.PITKeep)
		if e == nil {
			shards = ctx.shards
		}
	} else {
		shards, e = h.searchShards(r, target)
	}
	if e == nil && keep != "" {
		if s.Track == -1 {
			e = invalid("disabling [track_total_hits] is not allowed in a scroll context")
		} else if s.Size == 0 {
			e = invalid("[size] cannot be [0] in a scroll context")
		} else if s.From > 0 {
			e = invalid("using [from] is not allowed in a scroll context")
		} else if len(s.After) > 0 {
			e = invalid("`search_after` cannot be used in a scroll context.")
		} else {
			s.Track = maxTrack
			ctx, e = h.newContext(shards, keep, s)
		}
	}
	h.mu.Unlock() // views are immutable: searching needs no lock
	if e != nil {
		return nil, e
	}
	from := s.From
	rep, n, e := h.run(r, s, shards, from)
	if e != nil {
		return nil, e
	}
	switch {
	case keep != "":
		h.mu.Lock()
		ctx.offset = n
		h.mu.Unlock()
		rep = obj{"_scroll_id", ctx.id}.with(rep...)
	case ctx != nil:
		rep = obj{"pit_id", ctx.id}.with(rep...)
	}
	return &reply{status: 200, v: rep}, nil
}

// searchShards lists the shards to search now. The lock is held.
func (h *Handler) searchShards(r *request, target string) ([]searchShard, *esError) {
	found, e := h.expand(r, target, "open")
	if e != nil {
		return nil, e
	}
	only := map[int]bool{}
	if p, is := strings.CutPrefix(r.q.Get("preference"), "_shards:"); is {
		p, _, _ = strings.Cut(p, "|")
		for v := range strings.SplitSeq(p, ",") {
			n, err := strconv.Atoi(v)
			if err != nil {
				return nil, &esError{status: 400, kind: "number_format_exception", reason: "For input string: \"" + v + "\""}
			}
			only[n] = true
		}
	}
	var out []searchShard
	for _, ix := range found {
		if ix.closed {
			if r.flag("ignore_unavailable") {
				continue
			}
			return nil, ix.closedError()
		}
		if e := ix.blocked("read"); e != nil {
			return nil, e
		}
		routed := map[int]bool{}
		if v := r.q.Get("routing"); v != "" {
			for p := range strings.SplitSeq(v, ",") {
				routed[ix.shardFor("", p, true)] = true
			}
		}
		for n, sh := range ix.shards {
			if len(only) > 0 && !only[n] || len(routed) > 0 && !routed[n] {
				continue
			}
			out = append(out, searchShard{ix, n, sh.view})
		}
	}
	// Aliases narrow what is seen.
	for t := range strings.SplitSeq(target, ",") {
		for i, s := range out {
			if a := s.ix.aliases[t]; a != nil && h.indices[t] == nil && a["filter"] != nil {
				h.mu.Unlock()
				q, e := compileQuery(a["filter"], &env{s.ix, h})
				h.mu.Lock()
				if e != nil {
					return nil, e
				}
				var kept []*doc
				for _, d := range s.docs {
					if q.match(&candidate{ix: s.ix, d: d}) {
						kept = append(kept, d)
					}
				}
				out[i].docs = kept
			}
		}
	}
	return out, nil
}

func (h *Handler) count(r *request, target string) (*reply, *esError) {
	body, e := bodyObject(r.body)
	if e != nil {
		return nil, e
	}
	for k := range body {
		if k != "query" {
			return nil, parseError("request does not support [%s]", k)
		}
	}
	h.mu.Lock()
	shards, e := h.searchShards(r, target)
	h.mu.Unlock()
	if e != nil {
		return nil, e
	}
	n, fails := 0, []any{}
	for _, sh := range shards {
		if r.fx.shardFails(sh.n) {
			fails = append(fails, r.fx.failure(sh.ix.name, sh.n, h.node))
			continue
		}
		q, e := compileQuery(body["query"], &env{sh.ix, h})
		if e != nil {
			return nil, e
		}
		n += len(keep(sh, narrow(sh.docs, q), q))
	}
	s := obj{"total", len(shards), "successful", len(shards) - len(fails), "skipped", 0, "failed", len(fails)}
	if len(fails) > 0 {
		s = append(s, "failures", fails)
	}
	return ok("count", n, "_shards", s), nil
}
