package estest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// obj is an object whose fields keep their order: name, value, name, value. Elasticsearch answers in a fixed order, and a
// reader that streams (sort values after the source) depends on it.
type obj []any

// raw is written as it is; json.Marshal would compact it, and stored sources must come back byte for byte.
type raw []byte

// dbl is written as Java writes a double: 3.0, 1.0E7.
type dbl float64

func (o obj) with(kv ...any) obj { return append(o[:len(o):len(o)], kv...) }

func writeJSON(b *bytes.Buffer, v any) {
	switch x := v.(type) {
	case obj:
		b.WriteByte('{')
		for i := 0; i+1 < len(x); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			writeString(b, x[i].(string))
			b.WriteByte(':')
			writeJSON(b, x[i+1])
		}
		b.WriteByte('}')
	case raw:
		b.Write(x)
	case dbl:
		b.WriteString(javaDouble(float64(x)))
	case []any:
		b.WriteByte('[')
		for i, e := range x {
			if i > 0 {
				b.WriteByte(',')
			}
			writeJSON(b, e)
		}
		b.WriteByte(']')
	case map[string]any: // values may be of the kinds above, which encoding/json does not know
		b.WriteByte('{')
		for i, k := range slices.Sorted(maps.Keys(x)) {
			if i > 0 {
				b.WriteByte(',')
			}
			writeString(b, k)
			b.WriteByte(':')
			writeJSON(b, x[k])
		}
		b.WriteByte('}')
	case []obj:
		b.WriteByte('[')
		for i, e := range x {
			if i > 0 {
				b.WriteByte(',')
			}
			writeJSON(b, e)
		}
		b.WriteByte(']')
	case string:
		writeString(b, x)
	case int:
		b.WriteString(strconv.Itoa(x))
	case int64:
		b.WriteString(strconv.FormatInt(x, 10))
	case bool:
		b.WriteString(strconv.FormatBool(x))
	case nil:
		b.WriteString("null")
	default:
		e := json.NewEncoder(b)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			panic(fmt.Sprintf("estest: encode %T: %v", v, err)) // only values made here get here
		}
		b.Truncate(b.Len() - 1) // Encode ends with a newline
	}
}

func writeString(b *bytes.Buffer, s string) {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			e := json.NewEncoder(b)
			e.SetEscapeHTML(false)
			_ = e.Encode(s) // a string always encodes
			b.Truncate(b.Len() - 1)
			return
		}
	}
	b.WriteByte('"')
	b.WriteString(s)
	b.WriteByte('"')
}

func encode(v any) []byte {
	var b bytes.Buffer
	writeJSON(&b, v)
	return b.Bytes()
}

func javaDouble(f float64) string {
	switch {
	case math.IsNaN(f):
		return `"NaN"`
	case math.IsInf(f, 1):
		return `"Infinity"`
	case math.IsInf(f, -1):
		return `"-Infinity"`
	}
	if a := math.Abs(f); f == 0 || (a >= 1e-3 && a < 1e7) {
		s := strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	s := strconv.FormatFloat(f, 'E', -1, 64)
	m, e, _ := strings.Cut(s, "E")
	if !strings.Contains(m, ".") {
		m += ".0"
	}
	n, _ := strconv.Atoi(e)
	return m + "E" + strconv.Itoa(n)
}

// decode reads one JSON value and keeps numbers as written.
func decode(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return err
	}
	return nil
}

func clone(v any) any {
	switch x := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(x))
		for k, e := range x {
			m[k] = clone(e)
		}
		return m
	case []any:
		s := make([]any, len(x))
		for i, e := range x {
			s[i] = clone(e)
		}
		return s
	}
	return v
}

// filterPath keeps what the comma separated dotted patterns name; "-pattern" leaves out; "*" is part of one step, "**" any steps.
func filterPath(v any, patterns string) any {
	var in, out [][]string
	for p := range strings.SplitSeq(patterns, ",") {
		if rest, ok := strings.CutPrefix(p, "-"); ok {
			out = append(out, strings.Split(rest, "."))
		} else if p != "" {
			in = append(in, strings.Split(p, "."))
		}
	}
	if len(in) > 0 {
		v, _ = keepPaths(v, in)
	}
	if len(out) > 0 {
		v = dropPaths(v, out)
	}
	if v == nil {
		return obj{}
	}
	return v
}

// plain returns v, or if it is of a kind that is not looked into what its text says.
func plain(v any) any {
	switch v.(type) {
	case obj, map[string]any, []any, string, int, int64, bool, dbl, nil, json.Number:
		return v
	}
	var p any
	_ = decode(encode(v), &p) // an answer or a part of one
	return p
}

// step is what is left of the patterns below the field k; full says that one of them ends here.
func step(ps [][]string, k string) (rest [][]string, full bool) {
	for _, p := range ps {
		switch {
		case p[0] == "**":
			rest = append(rest, p)
			if len(p) == 1 {
				full = true
			} else if match(p[1], k) {
				if len(p) == 2 {
					full = true
				} else {
					rest = append(rest, p[2:])
				}
			}
		case match(p[0], k):
			if len(p) == 1 {
				full = true
			} else {
				rest = append(rest, p[1:])
			}
		}
	}
	return rest, full
}

func keepPaths(v any, ps [][]string) (any, bool) {
	one := func(k string, e any) (any, bool) {
		rest, full := step(ps, k)
		if full || len(rest) == 0 {
			return e, full
		}
		return keepPaths(e, rest)
	}
	switch x := plain(v).(type) {
	case obj:
		o := obj{}
		for i := 0; i+1 < len(x); i += 2 {
			if c, ok := one(x[i].(string), x[i+1]); ok {
				o = append(o, x[i], c)
			}
		}
		return o, len(o) > 0
	case map[string]any:
		m := map[string]any{}
		for k, e := range x {
			if c, ok := one(k, e); ok {
				m[k] = c
			}
		}
		return m, len(m) > 0
	case []any:
		var s []any
		for _, e := range x {
			if c, ok := keepPaths(e, ps); ok {
				s = append(s, c)
			}
		}
		return s, len(s) > 0
	}
	return nil, false
}

func dropPaths(v any, ps [][]string) any {
	if len(ps) == 0 {
		return v
	}
	switch x := plain(v).(type) {
	case obj:
		o := obj{}
		for i := 0; i+1 < len(x); i += 2 {
			if rest, full := step(ps, x[i].(string)); !full {
				o = append(o, x[i], dropPaths(x[i+1], rest))
			}
		}
		return o
	case map[string]any:
		m := map[string]any{}
		for k, e := range x {
			if rest, full := step(ps, k); !full {
				m[k] = dropPaths(e, rest)
			}
		}
		return m
	case []any:
		s := make([]any, len(x))
		for i, e := range x {
			s[i] = dropPaths(e, ps)
		}
		return s
	}
	return v
}

// match compares a name with a pattern in which "*" stands for any characters.
func match(pattern, s string) bool {
	if !strings.Contains(pattern, "*") {
		return pattern == s
	}
	parts := strings.Split(pattern, "*")
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}
