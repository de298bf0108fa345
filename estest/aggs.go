package estest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"strconv"
)

// aggGroup is the matching documents of one shard.
type aggGroup struct {
	sh   searchShard
	docs []*doc
}

const maxBuckets = 65536

func tooManyBuckets() *esError {
	c := &esError{kind: "too_many_buckets_exception", reason: "Trying to create too many buckets. Must be less than or equal to: [65536] but this number of buckets was exceeded. This limit can be set by changing the [search.max_buckets] cluster level setting.",
		extra: obj{"max_buckets", maxBuckets}}
	return &esError{status: 400, whole: obj{"root_cause", []any{}, "type", "search_phase_execution_exception", "reason", "", "phase", "fetch", "grouped", true,
		"failed_shards", []any{}, "caused_by", c.detail()}}
}

func (h *Handler) aggregate(aggs map[string]any, groups []aggGroup) (obj, *esError) {
	out := obj{}
	for _, name := range slices.Sorted(maps.Keys(aggs)) {
		def, _ := aggs[name].(map[string]any)
		subs, _ := def["aggs"].(map[string]any)
		if subs == nil {
			subs, _ = def["aggregations"].(map[string]any)
		}
		var v any
		var e *esError
		for kind, a := range def {
			if kind == "aggs" || kind == "aggregations" || kind == "meta" {
				continue
			}
			arg, _ := a.(map[string]any)
			v, e = h.aggregateOne(name, kind, arg, subs, groups)
		}
		if e != nil {
			return nil, e
		}
		out = append(out, name, v)
	}
	return out, nil
}

// each calls fn with every value of a field; documents without one are left out.
func each(groups []aggGroup, name string, fn func(g int, d *doc, v any)) {
	for i, g := range groups {
		for _, d := range g.docs {
			if name == "_seq_no" {
				fn(i, d, d.seq)
				continue
			}
			c := candidate{ix: g.sh.ix, d: d}
			for _, v := range c.values(name) {
				fn(i, d, v)
			}
		}
	}
}

func toFloat(v any) float64 {
	switch x := v.(type) {
	case int64:
		return float64(x)
	case float64:
		return x
	}
	f, _ := strconv.ParseFloat(fmt.Sprint(v), 64)
	return f
}

func (h *Handler) aggregateOne(name, kind string, arg, subs map[string]any, groups []aggGroup) (any, *esError) {
	f, _ := arg["field"].(string)
	bucket := func(part []aggGroup) (int, obj, *esError) {
		n := 0
		for _, g := range part {
			n += len(g.docs)
		}
		if len(subs) == 0 {
			return n, nil, nil
		}
		o, e := h.aggregate(subs, part)
		return n, o, e
	}
	split := func(keep func(aggGroup) ([]*doc, *esError)) ([]aggGroup, *esError) {
		part := make([]aggGroup, len(groups))
		for i, g := range groups {
			d, e := keep(g)
			if e != nil {
				return nil, e
			}
			part[i] = aggGroup{g.sh, d}
		}
		return part, nil
	}
	filter := func(q any) (obj, *esError) {
		part, e := split(func(g aggGroup) ([]*doc, *esError) {
			c, e := compileQuery(q, &env{g.sh.ix, h})
			if e != nil {
				return nil, e
			}
			return keep(g.sh, narrow(g.docs, c), c), nil
		})
		if e != nil {
			return nil, e
		}
		n, sub, e := bucket(part)
		return obj{"doc_count", n}.with(sub...), e
	}
	switch kind {
	case "sum", "min", "max", "avg", "value_count", "stats":
		var s stats
		each(groups, f, func(_ int, _ *doc, v any) { s.add(toFloat(v)) })
		return s.show(kind), nil
	case "filter":
		return filter(arg)
	case "filters":
		switch fs := arg["filters"].(type) {
		case map[string]any:
			o := obj{}
			for _, k := range slices.Sorted(maps.Keys(fs)) {
				b, e := filter(fs[k])
				if e != nil {
					return nil, e
				}
				o = append(o, k, b)
			}
			return obj{"buckets", o}, nil
		case []any:
			l := []any{}
			for _, q := range fs {
				b, e := filter(q)
				if e != nil {
					return nil, e
				}
				l = append(l, b)
			}
			return obj{"buckets", l}, nil
		}
	case "histogram":
		return h.histogram(name, arg, groups, bucket)
	case "range":
		return h.ranges(arg, groups, bucket)
	case "terms":
		return h.terms(arg, groups, bucket)
	}
	return nil, &esError{status: 400, kind: "parsing_exception", reason: "Unknown aggregation type [" + kind + "]", extra: obj{"line", 1, "col", 1},
		cause: &esError{kind: "named_object_not_found_exception", reason: "[1:1] unknown field [" + kind + "]"}}
}

type stats struct {
	n             int64
	sum, min, max float64
	carry         float64
}

// add sums with compensation, as the server does: integers up to 2^53 come out exact whatever the order.
func (s *stats) add(v float64) {
	if s.n == 0 || v < s.min {
		s.min = v
	}
	if s.n == 0 || v > s.max {
		s.max = v
	}
	s.n++
	y := v - s.carry
	t := s.sum + y
	s.carry = (t - s.sum) - y
	s.sum = t
}

func (s *stats) show(kind string) obj {
	opt := func(v float64) any {
		if s.n == 0 {
			return nil
		}
		return dbl(v)
	}
	switch kind {
	case "sum":
		return obj{"value", dbl(s.sum)}
	case "min":
		return obj{"value", opt(s.min)}
	case "max":
		return obj{"value", opt(s.max)}
	case "avg":
		return obj{"value", opt(s.sum / float64(s.n))}
	case "value_count":
		return obj{"value", s.n}
	}
	return obj{"count", s.n, "min", opt(s.min), "max", opt(s.max), "avg", opt(s.sum / float64(s.n)), "sum", dbl(s.sum)}
}

type bucketFunc func([]aggGroup) (int, obj, *esError)

// put adds a document to its shard's part of a bucket; a document with several equal keys counts once.
func put(parts []aggGroup, groups []aggGroup, g int, d *doc) []aggGroup {
	if parts == nil {
		parts = make([]aggGroup, len(groups))
		for i := range groups {
			parts[i].sh = groups[i].sh
		}
	}
	if l := parts[g].docs; len(l) == 0 || l[len(l)-1] != d {
		parts[g].docs = append(l, d)
	}
	return parts
}

func (h *Handler) histogram(name string, arg map[string]any, groups []aggGroup, bucket bucketFunc) (any, *esError) {
	f, _ := arg["field"].(string)
	num := func(k string, d float64) float64 {
		if arg[k] == nil {
			return d
		}
		return toFloat(fmt.Sprint(arg[k]))
	}
	interval, offset, least := num("interval", 0), num("offset", 0), int(num("min_doc_count", 0))
	if interval <= 0 {
		return nil, &esError{status: 400, kind: "x_content_parse_exception", reason: "[1:1] [histogram] failed to parse field [interval]",
			cause: &esError{kind: "illegal_argument_exception", reason: "[interval] must be >0 for histogram aggregation [" + name + "]"}}
	}
	parts := map[float64][]aggGroup{}
	each(groups, f, func(g int, d *doc, v any) {
		k := math.Floor((toFloat(v) - offset) / interval)
		parts[k] = put(parts[k], groups, g, d)
	})
	keys := slices.Sorted(maps.Keys(parts))
	if least == 0 && len(keys) > 0 {
		if keys[len(keys)-1]-keys[0] > maxBuckets {
			return nil, tooManyBuckets()
		}
		all := []float64{}
		for k := keys[0]; k <= keys[len(keys)-1]; k++ {
			all = append(all, k)
		}
		keys = all
	}
	out := []any{}
	for _, k := range keys {
		p := parts[k]
		if p == nil {
			p = []aggGroup{}
		}
		n, sub, e := bucket(p)
		if e != nil {
			return nil, e
		}
		if n >= least {
			out = append(out, obj{"key", dbl(k*interval + offset), "doc_count", n}.with(sub...))
		}
	}
	if len(out) > maxBuckets {
		return nil, tooManyBuckets()
	}
	return keyed(arg, out), nil
}

func (h *Handler) ranges(arg map[string]any, groups []aggGroup, bucket bucketFunc) (any, *esError) {
	f, _ := arg["field"].(string)
	type span struct {
		key      string
		from, to float64
		parts    []aggGroup
	}
	var spans []*span
	rs, _ := arg["ranges"].([]any)
	for _, r := range rs {
		m, _ := r.(map[string]any)
		s := &span{from: math.Inf(-1), to: math.Inf(1)}
		text := func(k string, v *float64) string {
			if m[k] == nil {
				return "*"
			}
			*v = toFloat(fmt.Sprint(m[k]))
			return javaDouble(*v)
		}
		a, b := text("from", &s.from), text("to", &s.to)
		if s.key, _ = m["key"].(string); s.key == "" {
			s.key = a + "-" + b
		}
		spans = append(spans, s)
	}
	sort.SliceStable(spans, func(i, j int) bool {
		if spans[i].from != spans[j].from {
			return spans[i].from < spans[j].from
		}
		return spans[i].to < spans[j].to
	})
	// Ranges are mostly disjoint: stop looking where no earlier one reaches this far.
	reach := make([]float64, len(spans))
	for i, s := range spans {
		reach[i] = s.to
		if i > 0 {
			reach[i] = max(reach[i-1], s.to)
		}
	}
	each(groups, f, func(g int, d *doc, v any) {
		x := toFloat(v)
		last := sort.Search(len(spans), func(i int) bool { return spans[i].from > x })
		for i := last - 1; i >= 0; i-- {
			if x < spans[i].to {
				spans[i].parts = put(spans[i].parts, groups, g, d)
			}
			if i > 0 && reach[i-1] <= x {
				break
			}
		}
	})
	out := []any{}
	for _, s := range spans {
		if s.parts == nil {
			s.parts = []aggGroup{}
		}
		n, sub, e := bucket(s.parts)
		if e != nil {
			return nil, e
		}
		o := obj{"key", s.key}
		if !math.IsInf(s.from, 0) {
			o = append(o, "from", dbl(s.from))
		}
		if !math.IsInf(s.to, 0) {
			o = append(o, "to", dbl(s.to))
		}
		out = append(out, append(o, "doc_count", n).with(sub...))
	}
	return keyed(arg, out), nil
}

func (h *Handler) terms(arg map[string]any, groups []aggGroup, bucket bucketFunc) (any, *esError) {
	f, _ := arg["field"].(string)
	size := 10
	if arg["size"] != nil {
		size, _ = strconv.Atoi(fmt.Sprint(arg["size"]))
	}
	parts, counts := map[any][]aggGroup{}, map[any]int{}
	each(groups, f, func(g int, d *doc, v any) {
		parts[v] = put(parts[v], groups, g, d)
	})
	keys := slices.Collect(maps.Keys(parts))
	for k, p := range parts {
		for _, g := range p {
			counts[k] += len(g.docs)
		}
	}
	sort.Slice(keys, func(i, j int) bool {
		if a, b := counts[keys[i]], counts[keys[j]]; a != b {
			return a > b
		}
		return less(keys[i], keys[j]) < 0
	})
	kind := ""
	for _, g := range groups {
		if fd := g.sh.ix.fields.find(f); fd != nil {
			kind = fd.kind
		}
	}
	out, other := []any{}, 0
	for i, k := range keys {
		if i >= size {
			other += counts[k]
			continue
		}
		n, sub, e := bucket(parts[k])
		if e != nil {
			return nil, e
		}
		shown := k
		if x, is := k.(float64); is {
			shown = dbl(x)
		}
		b := obj{"key", shown}
		if kind == "boolean" {
			b = append(b, "key_as_string", strconv.FormatBool(k == int64(1)))
		}
		out = append(out, append(b, "doc_count", n).with(sub...))
	}
	return obj{"doc_count_error_upper_bound", 0, "sum_other_doc_count", other, "buckets", out}, nil
}

// keyed shows buckets as an object if that was asked for.
func keyed(arg map[string]any, buckets []any) obj {
	if arg["keyed"] != true {
		return obj{"buckets", buckets}
	}
	o := obj{}
	for _, b := range buckets {
		x := b.(obj)
		switch k := x[1].(type) {
		case string: // of a range, which is not repeated inside
			o = append(o, k, x[2:])
		case dbl:
			o = append(o, javaDouble(float64(k)), x)
		}
	}
	return obj{"buckets", o}
}

// checkAggs refuses aggregations that an index cannot do.
func checkAggs(ix *index, aggs map[string]any) *esError {
	for name, v := range aggs {
		def, _ := v.(map[string]any)
		for kind, a := range def {
			arg, _ := a.(map[string]any)
			if kind == "aggs" || kind == "aggregations" {
				if e := checkAggs(ix, arg); e != nil {
					return e
				}
				continue
			}
			on, _ := arg["field"].(string)
			f := ix.fields.find(on)
			switch kind {
			case "range":
				if l, is := arg["ranges"].([]any); is && len(l) == 0 {
					return illegal("No [ranges] specified for the [%s] aggregation", name)
				}
				fallthrough
			case "sum", "min", "max", "avg", "stats", "histogram":
				if f != nil && f.kind == "keyword" {
					return illegal("Field [%s] of type [keyword] is not supported for aggregation [%s]", on, kind)
				}
				fallthrough
			case "terms", "value_count":
				if f != nil && f.analyzed(on) {
					return fielddata(on)
				}
			}
		}
	}
	return nil
}
