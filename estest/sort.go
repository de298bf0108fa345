package estest

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

type sortKey struct {
	field string
	desc  bool
	first bool // missing values first
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
