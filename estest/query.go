package estest

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// env is what a query is read against: one index.
type env struct {
	ix *index
	h  *Handler
}

// candidate is a document with its fields, which are read from the source once and only if asked for.
type candidate struct {
	ix   *index
	d    *doc
	tree map[string]any
	read bool
}

func (c *candidate) values(name string) []any {
	switch name {
	case "_seq_no":
		return []any{c.d.seq}
	case "_id":
		return []any{c.d.id}
	case "_index":
		return []any{c.ix.name}
	case "_routing":
		if c.d.hasRouting {
			return []any{c.d.routing}
		}
		return nil
	case "_version":
		return []any{c.d.version}
	case "_primary_term":
		return []any{c.d.term}
	}
	if !c.read {
		_ = decode(c.d.source, &c.tree) // was valid when it was stored
		c.read = true
	}
	f := c.ix.fields.find(name)
	if f == nil {
		return nil
	}
	v := pick(c.tree, name)
	if v == nil {
		if i := strings.LastIndexByte(name, '.'); i > 0 && c.ix.fields.find(name[:i]) == f {
			v = pick(c.tree, name[:i])
		}
	}
	for i := range v {
		v[i] = f.typed(v[i])
	}
	return v
}

// typed is the value as doc values hold it: int64, float64 or string.
func (f *field) typed(v any) any {
	s := fmt.Sprint(v)
	switch f.kind {
	case "long", "integer", "short", "byte":
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n
		}
		x, _ := strconv.ParseFloat(s, 64)
		return int64(x)
	case "double", "float", "half_float", "scaled_float", "unsigned_long":
		x, _ := strconv.ParseFloat(s, 64)
		return x
	case "date", "date_nanos":
		n, _ := parseDate(s, f.format)
		return n
	case "boolean":
		if s == "true" {
			return int64(1)
		}
		return int64(0)
	}
	return s
}

func pick(v any, name string) []any {
	switch x := v.(type) {
	case map[string]any:
		var out []any
		if e, has := x[name]; has {
			out = append(out, leaves(e)...)
		}
		for i := 0; i < len(name); i++ {
			if name[i] == '.' {
				if e, has := x[name[:i]]; has {
					out = append(out, pick(e, name[i+1:])...)
				}
			}
		}
		return out
	case []any:
		var out []any
		for _, e := range x {
			out = append(out, pick(e, name)...)
		}
		return out
	}
	return nil
}

func leaves(v any) []any {
	switch x := v.(type) {
	case nil:
		return nil
	case []any:
		var out []any
		for _, e := range x {
			out = append(out, leaves(e)...)
		}
		return out
	case json.Number:
		return []any{x.String()}
	}
	return []any{v}
}

func less(a, b any) int {
	switch x := a.(type) {
	case int64:
		switch y := b.(type) {
		case int64:
			return cmpOrdered(x, y)
		case float64:
			return cmpOrdered(float64(x), y)
		}
	case float64:
		switch y := b.(type) {
		case float64:
			return cmpOrdered(x, y)
		case int64:
			return cmpOrdered(x, float64(y))
		}
	}
	return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
}

func cmpOrdered[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// query is a compiled query: a range of sequence numbers [lo,hi] that can be searched for, and what else must hold (nil: nothing).
type query struct {
	lo, hi int64
	test   func(*candidate) bool
}

func everything() *query { return &query{lo: 0, hi: math.MaxInt64} }

func (q *query) match(c *candidate) bool {
	if c.d.seq < q.lo || c.d.seq > q.hi {
		return false
	}
	return q.test == nil || q.test(c)
}

func (q *query) and(o *query) {
	q.lo, q.hi = max(q.lo, o.lo), min(q.hi, o.hi)
	if t, u := q.test, o.test; t == nil {
		q.test = u
	} else if u != nil {
		q.test = func(c *candidate) bool { return t(c) && u(c) }
	}
}

func compileQuery(v any, ev *env) (*query, *esError) {
	q := everything()
	if v == nil {
		return q, nil
	}
	m, is := v.(map[string]any)
	if !is || len(m) != 1 {
		if is && len(m) == 0 {
			return nil, illegal("query malformed, empty clause found")
		}
		return nil, parseError("[_na] query malformed, no start_object after query name")
	}
	for kind, arg := range m {
		a, _ := arg.(map[string]any)
		switch kind {
		case "match_all":
		case "match_none":
			q.lo, q.hi = 1, 0
		case "ids":
			want := map[string]bool{}
			for _, id := range list(a, "values") {
				want[id] = true
			}
			q.test = func(c *candidate) bool { return want[c.d.id] }
		case "exists":
			f := fmt.Sprint(a["field"])
			q.test = func(c *candidate) bool { return len(c.values(f)) > 0 || objectExists(c, f) }
		case "term", "match", "terms":
			for f, x := range a {
				if f == "boost" {
					continue
				}
				if xm, is := x.(map[string]any); is {
					if x = xm["value"]; kind == "match" {
						x = xm["query"]
					}
				}
				vals, is := x.([]any)
				if !is {
					vals = []any{x}
				}
				if kind == "terms" {
					if e := checkTerms(ev.ix, len(vals)); e != nil {
						return nil, e
					}
				}
				if fd := ev.ix.fields.find(f); fd != nil {
					for _, v := range vals {
						if e := fd.checkNumber(ev.ix, f, fmt.Sprint(v)); e != nil {
							return nil, e
						}
					}
					if kind == "match" && fd.analyzed(f) {
						var words []any
						for w := range strings.FieldsSeq(strings.ToLower(fmt.Sprint(vals[0]))) {
							words = append(words, w)
						}
						vals = words
					}
				}
				q.test = termTest(ev, f, vals)
			}
		case "prefix", "wildcard":
			for f, x := range a {
				if xm, is := x.(map[string]any); is {
					x = xm["value"]
				}
				p := fmt.Sprint(x)
				if kind == "prefix" {
					p += "*"
				}
				q.test = func(c *candidate) bool {
					for _, v := range c.values(f) {
						if match(p, fmt.Sprint(v)) {
							return true
						}
					}
					return false
				}
			}
		case "range":
			for f, x := range a {
				xm, _ := x.(map[string]any)
				r, e := rangeQuery(ev, f, xm)
				if e != nil {
					return nil, e
				}
				q.and(r)
			}
		case "constant_score":
			return compileQuery(a["filter"], ev)
		case "bool":
			return boolQuery(a, ev)
		default:
			return nil, &esError{status: 400, kind: "parsing_exception", reason: "unknown query [" + kind + "]", extra: obj{"line", 1, "col", 17},
				cause: &esError{kind: "named_object_not_found_exception", reason: "[1:17] unknown field [" + kind + "]"}}
		}
	}
	return q, nil
}

func objectExists(c *candidate, name string) bool {
	f := c.ix.fields.find(name)
	return f != nil && f.props != nil && len(pick(c.tree, name)) > 0
}

func boolQuery(a map[string]any, ev *env) (*query, *esError) {
	q := everything()
	clauses := func(k string) (out []*query, e *esError) {
		l, is := a[k].([]any)
		if !is && a[k] != nil {
			l = []any{a[k]}
		}
		for _, c := range l {
			s, e := compileQuery(c, ev)
			if e != nil {
				return nil, e
			}
			out = append(out, s)
		}
		return out, nil
	}
	positive := 0
	for _, k := range []string{"filter", "must"} {
		cs, e := clauses(k)
		if e != nil {
			return nil, e
		}
		positive += len(cs)
		for _, c := range cs {
			q.and(c)
		}
	}
	not, e := clauses("must_not")
	if e != nil {
		return nil, e
	}
	for _, n := range not {
		q.and(&query{lo: 0, hi: math.MaxInt64, test: func(c *candidate) bool { return !n.match(c) }})
	}
	should, e := clauses("should")
	if e != nil {
		return nil, e
	}
	least := 0
	if len(should) > 0 && positive == 0 {
		least = 1
	}
	if v := a["minimum_should_match"]; v != nil {
		least, _ = strconv.Atoi(fmt.Sprint(v))
	}
	if least > 0 {
		q.and(&query{lo: 0, hi: math.MaxInt64, test: func(c *candidate) bool {
			n := 0
			for _, s := range should {
				if s.match(c) {
					n++
				}
			}
			return n >= least
		}})
	}
	return q, nil
}

func termTest(ev *env, f string, vals []any) func(*candidate) bool {
	fd := ev.ix.fields.find(f)
	want := map[any]bool{}
	for _, v := range vals {
		switch {
		case f == "_seq_no":
			n, _ := strconv.ParseInt(fmt.Sprint(v), 10, 64)
			want[n] = true
		case fd != nil:
			want[fd.typed(v)] = true
		default:
			want[fmt.Sprint(v)] = true
		}
	}
	analyzed := fd != nil && fd.analyzed(f)
	return func(c *candidate) bool {
		for _, v := range c.values(f) {
			if want[v] {
				return true
			}
			if analyzed {
				for w := range strings.FieldsSeq(strings.ToLower(fmt.Sprint(v))) {
					if want[w] {
						return true
					}
				}
			}
		}
		return false
	}
}

func rangeQuery(ev *env, f string, m map[string]any) (*query, *esError) {
	q := everything()
	for _, k := range []string{"gt", "gte", "lt", "lte"} {
		if m[k] == nil {
			continue
		}
		s := fmt.Sprint(m[k])
		if f == "_seq_no" {
			x, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				fl, err := strconv.ParseFloat(s, 64)
				if err != nil {
					return nil, illegal("For input string: \"%s\"", s)
				}
				// As the server does: whole part, and the bound moves towards the numbers that can match.
				x = int64(math.Floor(fl))
				if k == "gte" && fl != math.Floor(fl) {
					x++
				}
				if k == "lt" && fl != math.Floor(fl) {
					x++
				}
			}
			switch k {
			case "gt":
				if x == math.MaxInt64 {
					q.lo, q.hi = 1, 0
				} else {
					q.lo = max(q.lo, x+1)
				}
			case "gte":
				q.lo = max(q.lo, x)
			case "lt":
				q.hi = min(q.hi, x-1)
			case "lte":
				q.hi = min(q.hi, x)
			}
			continue
		}
		fd := ev.ix.fields.find(f)
		var bound any = s
		if fd != nil {
			switch fd.kind {
			case "date", "date_nanos":
				n, good := parseDate(s, fd.format)
				if !good {
					return nil, &esError{shard: true, status: 400, kind: "parse_exception", reason: "failed to parse date field [" + s + "] with format [strict_date_optional_time||epoch_millis]"}
				}
				bound = n
			case "long", "integer", "short", "byte":
				if n, err := strconv.ParseInt(s, 10, 64); err == nil {
					bound = n
				} else if x, err := strconv.ParseFloat(s, 64); err == nil {
					bound = x
				} else {
					return nil, fd.checkNumber(ev.ix, f, s)
				}
			default:
				bound = fd.typed(m[k])
			}
		}
		ip, _ := netip.ParseAddr(s)
		q.and(&query{lo: 0, hi: math.MaxInt64, test: func(c *candidate) bool {
			for _, v := range c.values(f) {
				n := less(v, bound)
				if fd != nil && fd.kind == "ip" {
					a, _ := netip.ParseAddr(fmt.Sprint(v))
					n = a.Compare(ip)
				}
				if k == "gt" && n > 0 || k == "gte" && n >= 0 || k == "lt" && n < 0 || k == "lte" && n <= 0 {
					return true
				}
			}
			return false
		}})
	}
	return q, nil
}

// checkNumber refuses what a numeric field cannot be compared with.
func (f *field) checkNumber(ix *index, name, s string) *esError {
	switch f.kind {
	case "long", "integer", "short", "byte", "double", "float", "half_float", "scaled_float":
		if _, err := strconv.ParseFloat(s, 64); err != nil {
			return notCreated(ix, &esError{kind: "number_format_exception", reason: "For input string: \"" + s + "\""})
		}
	}
	return nil
}

// checkTerms refuses a query that names too many values.
func checkTerms(ix *index, n int) *esError {
	most, err := strconv.Atoi(ix.setting("index.max_terms_count"))
	if err != nil {
		most = 65536
	}
	if n <= most {
		return nil
	}
	return notCreated(ix, illegal("The number of terms [%d] used in the Terms Query request has exceeded the allowed maximum of [%d]. "+
		"This maximum can be set by changing the [index.max_terms_count] index level setting.", n, most))
}

// notCreated is what a shard says of a query that cannot be.
func notCreated(ix *index, cause *esError) *esError {
	return &esError{shard: true, status: 400, kind: "query_shard_exception", reason: "failed to create query: " + cause.reason,
		extra: obj{"index_uuid", ix.uuid, "index", ix.name}, cause: cause}
}
