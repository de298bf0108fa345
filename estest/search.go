package estest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sort"
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

type sortKey struct {
	field string
	desc  bool
	first bool // missing values first
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

func parseSort(v any) ([]sortKey, *esError) {
	l, is := v.([]any)
	if !is {
		l = []any{v}
	}
	var out []sortKey
	for _, x := range l {
		switch y := x.(type) {
		case string:
			f, dir, _ := strings.Cut(y, ":")
			out = append(out, sortKey{field: f, desc: dir == "desc" || f == "_score" && dir != "asc"})
		case map[string]any:
			for f, o := range y {
				k := sortKey{field: f}
				switch z := o.(type) {
				case string:
					k.desc = z == "desc"
				case map[string]any:
					k.desc = z["order"] == "desc"
					k.first = z["missing"] == "_first"
				default:
					return nil, parseError("Illegal sort value of [%s]", f)
				}
				out = append(out, k)
			}
		}
	}
	return out, nil
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

// hit is one match: which shard of the search, which document, and its sort values.
type hit struct {
	shard int
	d     *doc
	sort  []any
}

// run searches the shards and returns the answer and how many hits, counted from the first, were passed.
func (h *Handler) run(r *request, s *searchRequest, shards []searchShard, from int) (obj, int, *esError) {
	node := h.node
	everyShard := func(e *esError) *esError {
		var ns []int
		name := ""
		for _, sh := range shards {
			ns, name = append(ns, sh.n), sh.ix.name
		}
		if len(ns) > 1 {
			ns = ns[:1]
		}
		return allShardsFailed(400, name, node, e, ns)
	}
	window := 10000
	for _, sh := range shards {
		if v, err := strconv.Atoi(sh.ix.setting("index.max_result_window")); err == nil {
			window = v
		}
	}
	if len(shards) > 0 && s.scrollable(from) > window {
		return nil, 0, everyShard(illegal("Result window is too large, from + size must be less than or equal to: [%d] but was [%d]. See the scroll api for a more efficient way to request large data sets. This limit can be set by changing the [index.max_result_window] index level setting.", window, s.scrollable(from)))
	}
	keys := s.Sort
	if s.inPIT && len(keys) > 0 && (len(s.After) == 0 || len(s.After) != len(keys)) && !slices.ContainsFunc(keys, func(k sortKey) bool { return k.field == "_shard_doc" }) {
		keys = append(keys[:len(keys):len(keys)], sortKey{field: "_shard_doc"})
	}
	if len(s.After) > 0 && len(s.After) != len(keys) && len(s.After) != len(s.Sort) {
		return nil, 0, everyShard(illegal("search_after has %d value(s) but sort has %d.", len(s.After), len(s.Sort)))
	}
	if len(s.After) > 0 && from > 0 {
		return nil, 0, invalid("`from` parameter must be set to 0 when `search_after` is used")
	}
	after, e := afterValues(s.After)
	if e != nil {
		return nil, 0, everyShard(e)
	}
	for _, sh := range shards {
		if e := checkSort(sh.ix, keys, after); e != nil {
			return nil, 0, everyShard(e)
		}
		if e := checkAggs(sh.ix, s.Aggs); e != nil {
			return nil, 0, everyShard(e)
		}
	}
	fails, good := []any{}, 0
	total := int64(0)
	var hits []hit
	var groups []aggGroup
	want := from + s.Size
	for i, sh := range shards {
		if r.fx.shardFails(sh.n) {
			fails = append(fails, r.fx.failure(sh.ix.name, sh.n, node))
			continue
		}
		good++
		q, e := compileQuery(s.Query, &env{sh.ix, h})
		if e != nil && e.shard {
			e = everyShard(e)
		}
		if e != nil {
			return nil, 0, e
		}
		docs := keep(sh, narrow(sh.docs, q), q)
		if s.SliceMax > 0 {
			docs = slices.DeleteFunc(slices.Clone(docs), func(d *doc) bool { return int(uint32(murmur3(d.id))%uint32(s.SliceMax)) != s.SliceID })
		}
		if r.fx.timeout {
			docs = docs[:len(docs)/2] // what was collected until the time was up
		}
		total += int64(len(docs))
		if s.Aggs != nil {
			groups = append(groups, aggGroup{sh, docs})
		}
		hits = append(hits, top(sh, i, docs, keys, after, want)...)
	}
	if (len(fails) > 0 || r.fx.timeout) && !s.partial && !r.fx.forced {
		return nil, 0, r.fx.partialError(fails)
	}
	if len(fails) > 0 && good == 0 {
		return nil, 0, r.fx.partialError(fails)
	}
	if len(keys) > 0 {
		sort.SliceStable(hits, func(a, b int) bool { return compareHits(keys, hits[a].sort, hits[b].sort) < 0 })
	}
	passed := min(want, len(hits))
	hits = hits[min(from, len(hits)):passed]
	sh := obj{"total", len(shards), "successful", good, "skipped", 0, "failed", len(fails)}
	if len(fails) > 0 {
		sh = append(sh, "failures", fails)
	}
	var maxScore any
	if len(keys) == 0 && len(hits) > 0 {
		maxScore = dbl(1)
	} else if len(shards) == 0 {
		maxScore = dbl(0)
	}
	hh := obj{}
	if s.Track >= 0 {
		n, rel := total, "eq"
		if total > int64(s.Track) {
			n, rel = int64(s.Track), "gte"
		}
		hh = append(hh, "total", obj{"value", n, "relation", rel})
	}
	var b bytes.Buffer
	b.WriteByte('[')
	for i, x := range hits {
		if i > 0 {
			b.WriteByte(',')
		}
		h.writeHit(&b, s, shards[x.shard], x)
	}
	b.WriteByte(']')
	hh = append(hh, "max_score", maxScore, "hits", raw(b.Bytes()))
	out := obj{"took", 1, "timed_out", r.fx.timeout, "_shards", sh, "hits", hh}
	if s.Aggs != nil && len(shards) > 0 {
		aggs, e := h.aggregate(s.Aggs, groups)
		if e != nil {
			return nil, 0, e
		}
		out = append(out, "aggregations", aggs)
	}
	return out, passed, nil
}

func (s *searchRequest) scrollable(from int) int {
	if from > s.From { // a scroll walks on without a limit
		return s.Size
	}
	return from + s.Size
}

// narrow returns the documents that match; without further conditions that is a part of the slice itself.
func narrow(docs []*doc, q *query) []*doc {
	lo := sort.Search(len(docs), func(i int) bool { return docs[i].seq >= q.lo })
	hi := sort.Search(len(docs), func(i int) bool { return docs[i].seq > q.hi })
	if lo >= hi {
		return nil
	}
	docs = docs[lo:hi:hi]
	return docs
}

func keep(sh searchShard, docs []*doc, q *query) []*doc {
	if q.test == nil {
		return docs
	}
	var out []*doc
	for _, d := range docs {
		if q.test(&candidate{ix: sh.ix, d: d}) {
			out = append(out, d)
		}
	}
	return out
}

func afterValues(in []any) ([]any, *esError) {
	var out []any
	for _, v := range in {
		if n, is := v.(json.Number); is {
			if x, err := n.Int64(); err == nil {
				out = append(out, x)
				continue
			}
			f, _ := n.Float64()
			out = append(out, f)
			continue
		}
		switch v.(type) {
		case string, nil:
			out = append(out, v)
		case bool:
			out = append(out, fmt.Sprint(v))
		default:
			return nil, illegal("Can't handle search_after field value of type [%T]", v)
		}
	}
	return out, nil
}

func sortValues(sh searchShard, i int, d *doc, keys []sortKey) []any {
	out := make([]any, len(keys))
	var c *candidate
	for n, k := range keys {
		switch k.field {
		case "_seq_no":
			out[n] = d.seq
		case "_doc":
			out[n] = d.ord
		case "_shard_doc":
			out[n] = int64(i)<<32 | d.ord
		case "_score":
			out[n] = float64(1)
		default:
			if c == nil {
				c = &candidate{ix: sh.ix, d: d}
			}
			for _, v := range c.values(k.field) {
				if o := less(v, out[n]); out[n] == nil || !k.desc && o < 0 || k.desc && o > 0 {
					out[n] = v
				}
			}
			if out[n] == nil {
				out[n] = c.ix.fields.find(k.field).missing(k)
			}
		}
	}
	return out
}

func compareHits(keys []sortKey, a, b []any) int {
	for i, k := range keys {
		if i >= len(a) || i >= len(b) {
			return 0
		}
		x, y := a[i], b[i]
		switch {
		case x == nil && y == nil:
			continue
		case x == nil || y == nil:
			if (x == nil) == k.first {
				return -1
			}
			return 1
		}
		if o := less(x, y); o != 0 {
			if k.desc {
				return -o
			}
			return o
		}
	}
	return 0
}

// top returns the first n hits of a shard after the given values. Documents lie in the order of their sequence numbers and of
// their document numbers, so those orders need no sorting.
func top(sh searchShard, i int, docs []*doc, keys []sortKey, after []any, n int) []hit {
	one := func(d *doc) hit { return hit{i, d, sortValues(sh, i, d, keys)} }
	var out []hit
	ordered := len(keys) == 0 || keys[0].field == "_seq_no" || keys[0].field == "_doc" || keys[0].field == "_shard_doc"
	for _, k := range keys {
		ordered = ordered && strings.HasPrefix(k.field, "_") && k.field != "_id" && k.desc == keys[0].desc
	}
	if ordered {
		at := func(j int) *doc {
			if len(keys) > 0 && keys[0].desc {
				return docs[len(docs)-1-j]
			}
			return docs[j]
		}
		from := 0
		if len(after) > 0 {
			from = sort.Search(len(docs), func(j int) bool { return compareHits(keys, one(at(j)).sort, after) > 0 })
		}
		for j := from; j < len(docs) && len(out) < n; j++ {
			out = append(out, one(at(j)))
		}
		return out
	}
	for _, d := range docs {
		x := one(d)
		if len(after) == 0 || compareHits(keys, x.sort, after) > 0 {
			out = append(out, x)
		}
	}
	slices.SortStableFunc(out, func(a, b hit) int { return cmp.Or(compareHits(keys, a.sort, b.sort), cmp.Compare(a.d.ord, b.d.ord)) })
	return out[:min(n, len(out))]
}

func (h *Handler) writeHit(b *bytes.Buffer, s *searchRequest, sh searchShard, x hit) {
	o := obj{"_index", sh.ix.name}
	if !s.NoStored {
		o = append(o, "_id", x.d.id)
	}
	if s.Version {
		o = append(o, "_version", x.d.version)
	}
	if s.SeqNo {
		o = append(o, "_seq_no", x.d.seq, "_primary_term", x.d.term)
	}
	if len(x.sort) > 0 {
		o = append(o, "_score", nil)
	} else {
		o = append(o, "_score", dbl(1))
	}
	if !s.NoStored {
		if x.d.hasRouting {
			o = append(o, "_routing", x.d.routing)
		}
		if src := s.Source.apply(h, sh.ix, x.d); src != nil {
			o = append(o, "_source", raw(src))
		}
	}
	if len(x.sort) > 0 {
		vals := make([]any, len(x.sort))
		for i, v := range x.sort {
			if f, is := v.(float64); is {
				v = dbl(f)
			}
			vals[i] = v
		}
		o = append(o, "sort", vals)
	}
	writeJSON(b, o)
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

// missing is the sort value of a document without the field: numbers have one, the last or the first of their kind.
func (f *field) missing(k sortKey) any {
	if f == nil {
		return nil
	}
	low := k.first != k.desc
	switch f.kind {
	case "long", "integer", "short", "byte", "date", "date_nanos", "boolean":
		if low {
			return int64(math.MinInt64)
		}
		return int64(math.MaxInt64)
	case "double", "float", "half_float", "scaled_float":
		if low {
			return math.Inf(-1)
		}
		return math.Inf(1)
	}
	return nil
}

// checkSort refuses sorts that an index cannot do.
func checkSort(ix *index, keys []sortKey, after []any) *esError {
	for i, k := range keys {
		f := ix.fields.find(k.field)
		switch {
		case strings.HasPrefix(k.field, "_"):
			continue
		case f == nil:
			return &esError{shard: true, status: 400, kind: "query_shard_exception", reason: "No mapping found for [" + k.field + "] in order to sort on",
				extra: obj{"index_uuid", ix.uuid, "index", ix.name}}
		case f.analyzed(k.field):
			return fielddata(k.field)
		}
		if i < len(after) {
			s, is := after[i].(string)
			if _, err := strconv.ParseFloat(s, 64); is && err != nil && (f.kind == "long" || f.kind == "integer" || f.kind == "short" || f.kind == "byte" || f.kind == "double" || f.kind == "float") {
				e := illegal("Failed to parse search_after value for field [%s].", k.field)
				e.cause = &esError{kind: "number_format_exception", reason: "For input string: \"" + s + "\""}
				return e
			}
		}
	}
	return nil
}

func fielddata(name string) *esError {
	return illegal("Fielddata is disabled on [%s] in [_all]. Text fields are not optimised for operations that require per-document field data like aggregations and sorting, so these operations are disabled by default.", name)
}

// analyzed says whether a name stands for the words of a text, not for a multi-field of it.
func (f *field) analyzed(name string) bool {
	return f.kind == "text" && !f.subs[name[strings.LastIndexByte(name, '.')+1:]]
}
