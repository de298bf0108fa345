package estest

import (
	"bytes"
	"cmp"
	"slices"
	"sort"
	"strconv"
	"strings"
)

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
	out := obj{"took", h.took(s, hits), "timed_out", r.fx.timeout, "_shards", sh, "hits", hh}
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

// took is how many milliseconds a page is said to take.
func (h *Handler) took(s *searchRequest, hits []hit) int {
	if h.o.Writers < 2 || s.NoStored || len(hits) == 0 {
		return 1
	}
	first, last := hits[0].d.ord, hits[0].d.ord
	for _, x := range hits {
		first, last = min(first, x.d.ord), max(last, x.d.ord)
	}
	if last-first == int64(len(hits)-1) {
		return 1 + len(hits)/200
	}
	return 1 + len(hits)/10
}

// top returns the first n hits of a shard after the given values. Documents are in the order of their sequence numbers, which needs no sorting.
func top(sh searchShard, i int, docs []*doc, keys []sortKey, after []any, n int) []hit {
	one := func(d *doc) hit { return hit{i, d, sortValues(sh, i, d, keys)} }
	var out []hit
	ordered := len(keys) == 0 || keys[0].field == "_seq_no" ||
		(keys[0].field == "_doc" || keys[0].field == "_shard_doc") && slices.IsSortedFunc(docs, func(a, b *doc) int { return cmp.Compare(a.ord, b.ord) })
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
