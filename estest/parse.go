package estest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// parser walks a document against the mapping, as the server does when it indexes one. The bytes are valid JSON by then.
type parser struct {
	b    []byte
	i    int
	id   string
	root *field
}

// check validates a document. Newly seen fields come back as a mapping to merge.
func check(root *field, id string, src []byte) (map[string]any, *esError) {
	if !json.Valid(src) {
		var v any
		err := decode(src, &v)
		if err == nil {
			err = fmt.Errorf("trailing data")
		}
		cause := &esError{kind: "x_content_e_o_f_exception", reason: "[1:" + strconv.Itoa(len(src)+1) + "] " + err.Error()}
		return nil, &esError{status: 400, kind: "document_parsing_exception", reason: "[1:" + strconv.Itoa(len(src)) + "] failed to parse: " + cause.reason, cause: cause}
	}
	p := &parser{b: src, id: id, root: root}
	p.space()
	if p.b[p.i] != '{' {
		return nil, &esError{status: 500, kind: "not_x_content_exception", reason: "Compressor detection can only be called on some xcontent bytes or compressed xcontent bytes"}
	}
	if !root.enabled {
		return nil, nil
	}
	found, e := p.object(root, "", inherit(root, "true"))
	if e != nil || len(found) == 0 {
		return nil, e
	}
	return map[string]any{"properties": found}, nil
}

func inherit(f *field, d string) string {
	if f != nil && f.dynamic != "" {
		return f.dynamic
	}
	return d
}

func (p *parser) space() {
	for p.i < len(p.b) && (p.b[p.i] == ' ' || p.b[p.i] == '\n' || p.b[p.i] == '\t' || p.b[p.i] == '\r') {
		p.i++
	}
}

// text skips a string and returns it with its quotes.
func (p *parser) text() []byte {
	from := p.i
	for p.i++; p.b[p.i] != '"'; p.i++ {
		if p.b[p.i] == '\\' {
			p.i++
		}
	}
	p.i++
	return p.b[from:p.i]
}

func unquote(b []byte) string {
	if !bytes.ContainsRune(b, '\\') {
		return string(b[1 : len(b)-1])
	}
	var s string
	_ = json.Unmarshal(b, &s) // valid by then
	return s
}

// skip passes over one value.
func (p *parser) skip() {
	depth := 0
	for {
		p.space()
		switch c := p.b[p.i]; c {
		case '{', '[':
			depth++
			p.i++
		case '}', ']':
			depth--
			p.i++
		case ',', ':':
			p.i++
			continue
		case '"':
			p.text()
		default:
			for p.i < len(p.b) && !strings.ContainsRune(",:]} \n\r\t", rune(p.b[p.i])) {
				p.i++
			}
		}
		if depth == 0 {
			return
		}
	}
}

func (p *parser) pos(at int) string { // line and column as the server counts them
	line := 1 + bytes.Count(p.b[:at], []byte{'\n'})
	return fmt.Sprintf("[%d:%d]", line, at-bytes.LastIndexByte(p.b[:at], '\n'))
}

func (p *parser) object(f *field, path, dyn string) (map[string]any, *esError) {
	var found map[string]any
	p.i++
	for {
		p.space()
		if p.b[p.i] == '}' {
			p.i++
			return found, nil
		}
		if p.b[p.i] == ',' {
			p.i++
			p.space()
		}
		at := p.i
		key := unquote(p.text())
		if e := p.checkKey(path, key, at); e != nil {
			return nil, e
		}
		p.space()
		p.i++ // the colon
		p.space()
		owner, name := f, key
		for owner != nil { // a dotted key reaches into objects
			head, rest, dotted := strings.Cut(name, ".")
			if !dotted || owner.props[name] != nil || owner.props[head] == nil || owner.props[head].props == nil {
				break
			}
			owner, name = owner.props[head], rest
		}
		var c *field
		if owner != nil {
			c = owner.props[name]
		}
		def, e := p.value(c, path, key, inherit(owner, dyn))
		if e != nil {
			return nil, e
		}
		if def != nil {
			if found == nil {
				found = map[string]any{}
			}
			add := map[string]any{"properties": nest(key, def)}
			m, e := mergeMapping(map[string]any{"properties": found}, add, path)
			if e != nil {
				return nil, e
			}
			found = m["properties"].(map[string]any)
		}
	}
}

// nest spreads a dotted name over objects.
func nest(key string, def map[string]any) map[string]any {
	head, rest, dotted := strings.Cut(key, ".")
	if !dotted || head == "" || rest == "" {
		return map[string]any{key: def}
	}
	return map[string]any{head: map[string]any{"properties": nest(rest, def)}}
}

// value checks one value of the field c (nil: unknown) and returns a definition if the mapping is to learn one.
func (p *parser) value(c *field, path, key, dyn string) (map[string]any, *esError) {
	at := p.i
	if c == nil {
		switch dyn {
		case "strict":
			if p.b[p.i] == 'n' {
				p.skip()
				return nil, nil
			}
			in := strings.TrimSuffix(path, ".")
			if in == "" {
				in = "_doc"
			}
			return nil, &esError{status: 400, kind: "strict_dynamic_mapping_exception",
				reason: p.pos(at) + " mapping set to strict, dynamic introduction of [" + key + "] within [" + in + "] is not allowed"}
		case "false", "runtime":
			p.skip()
			return nil, nil
		}
	}
	if c != nil && !c.enabled {
		p.skip()
		return nil, nil
	}
	switch p.b[p.i] {
	case '[':
		if c != nil && c.kind == "dense_vector" {
			return nil, p.vector(c, path+key)
		}
		if c != nil && opaque[c.kind] {
			p.skip()
			return nil, nil
		}
		var def map[string]any
		p.i++
		for {
			p.space()
			switch p.b[p.i] {
			case ']':
				p.i++
				return def, nil
			case ',':
				p.i++
				continue
			}
			d, e := p.value(c, path, key, dyn)
			if e != nil {
				return nil, e
			}
			switch {
			case d == nil:
			case def == nil:
				def = d
			default:
				if typeOf(def) == "object" && typeOf(d) == "object" {
					m, e := mergeMapping(def, d, path+key+".")
					if e != nil {
						return nil, e
					}
					def = m
				}
			}
		}
	case '{':
		if c == nil {
			f, e := p.object(&field{kind: "object", props: map[string]*field{}, dates: true, enabled: true}, path+key+".", dyn)
			if e != nil {
				return nil, e
			}
			def := map[string]any{"properties": f}
			if len(f) == 0 {
				def = map[string]any{"type": "object"}
			}
			return def, nil
		}
		if c.props != nil {
			f, e := p.object(c, path+key+".", dyn)
			if e != nil || len(f) == 0 {
				return nil, e
			}
			return map[string]any{"properties": f}, nil
		}
		p.skip()
		if opaque[c.kind] {
			return nil, nil
		}
		var v any
		_ = decode(p.b[at:p.i], &v) // valid by then
		cause := &esError{kind: "illegal_argument_exception", reason: "Expected text at 1:" + strconv.Itoa(at+1) + " but found START_OBJECT"}
		if numeric[c.kind] {
			cause.reason = "Cannot parse object as number"
		}
		if c.malformed && numeric[c.kind] {
			return nil, nil
		}
		return nil, p.failed(c, path+key, p.i-1, preview(v), cause)
	case '"':
		s := unquote(p.text())
		if c == nil {
			return guess(s, p.root.dates), nil
		}
		return nil, p.scalar(c, path+key, s, at, true)
	}
	p.skip()
	lit := string(bytes.TrimRight(p.b[at:p.i], " \n\r\t"))
	if lit == "null" {
		return nil, nil
	}
	if c != nil {
		return nil, p.scalar(c, path+key, lit, at, false)
	}
	kind := "boolean"
	if lit != "true" && lit != "false" {
		kind = "long"
		if strings.ContainsAny(lit, ".eE") {
			kind = "float"
		} else if _, err := strconv.ParseInt(lit, 10, 64); err != nil {
			return nil, p.scalar(&field{kind: "long"}, path+key, lit, at, false)
		}
	}
	return map[string]any{"type": kind}, nil
}

func preview(v any) string {
	switch x := v.(type) {
	case map[string]any:
		var s []string
		for k, e := range x {
			s = append(s, k+"="+preview(e))
		}
		return "{" + strings.Join(s, ", ") + "}"
	}
	return fmt.Sprint(v)
}

// opaque types take objects and arrays of their own shape, which are not looked into.
var opaque = words(`flattened geo_point geo_shape point shape sparse_vector rank_feature rank_features completion integer_range long_range float_range
 double_range date_range ip_range percolator join semantic_text histogram aggregate_metric_double`)

var numeric = words(`long integer short byte double float half_float scaled_float unsigned_long`)

func guess(s string, dates bool) map[string]any {
	if dates {
		if _, ok := parseDate(s, ""); ok && strings.Contains(s, "-") {
			return map[string]any{"type": "date"}
		}
		if _, err := time.Parse("2006/01/02", s); err == nil {
			return map[string]any{"type": "date", "format": "yyyy/MM/dd HH:mm:ss||yyyy/MM/dd||epoch_millis"}
		}
	}
	return map[string]any{"type": "text", "fields": map[string]any{"keyword": map[string]any{"type": "keyword", "ignore_above": json.Number("256")}}}
}

func (p *parser) failed(c *field, name string, at int, shown string, cause *esError) *esError {
	return &esError{status: 400, kind: "document_parsing_exception", cause: cause,
		reason: fmt.Sprintf("%s failed to parse field [%s] of type [%s] in document with id '%s'. Preview of field's value: '%s'", p.pos(at), name, c.kind, p.id, shown)}
}

func (p *parser) vector(c *field, name string) *esError {
	n := 0
	for p.i++; ; {
		p.space()
		switch p.b[p.i] {
		case ']':
			at := p.i
			p.i++
			if c.dims > 0 && n != c.dims {
				cause := &esError{kind: "illegal_argument_exception", reason: fmt.Sprintf(
					"The [dense_vector] field [%s] in doc [document with id '%s'] has a different number of dimensions [%d] than defined in the mapping [%d]", name, p.id, n, c.dims)}
				return &esError{status: 400, kind: "document_parsing_exception", reason: p.pos(at) + " failed to parse: " + cause.reason, cause: cause}
			}
			return nil
		case ',':
			p.i++
		case '"', '{', '[', 't', 'f', 'n':
			cause := &esError{kind: "parsing_exception", reason: "Failed to parse object: expecting token of type [VALUE_NUMBER] but found [VALUE_STRING]"}
			return &esError{status: 400, kind: "document_parsing_exception", reason: p.pos(p.i) + " failed to parse: " + cause.reason, cause: cause}
		default:
			p.skip()
			n++
		}
	}
}

// scalar checks a string or a literal.
func (p *parser) scalar(c *field, name, s string, at int, quoted bool) *esError {
	arg := func(f string, a ...any) *esError {
		if c.malformed {
			return nil
		}
		return p.failed(c, name, at, s, &esError{kind: "illegal_argument_exception", reason: fmt.Sprintf(f, a...)})
	}
	// token is for values that the server's JSON parser refuses, before the field does.
	token := func(kind, f string, a ...any) *esError {
		reason := fmt.Sprintf(f, a...)
		e := arg("%s", reason)
		if e != nil {
			e.cause = &esError{kind: "x_content_parse_exception", reason: p.pos(at) + " " + reason, cause: &esError{kind: kind, reason: reason}}
		}
		return e
	}
	switch c.kind {
	case "object", "nested":
		return &esError{status: 400, kind: "document_parsing_exception",
			reason: p.pos(at) + " object mapping for [" + name + "] tried to parse field [" + name + "] as object, but found a concrete value"}
	case "long", "integer", "short", "byte", "unsigned_long":
		if quoted && s == "" {
			return nil
		}
		limit := map[string][2]float64{"long": {-0x1p63, 0x1p63}, "integer": {math.MinInt32, math.MaxInt32 + 1}, "short": {-32768, 32768},
			"byte": {-128, 128}, "unsigned_long": {0, 0x1p64}}[c.kind]
		f, err := strconv.ParseFloat(s, 64)
		if !quoted && (s == "true" || s == "false") {
			return token("json_parse_exception", "Current token (VALUE_%s) not numeric, can not use numeric value accessors", strings.ToUpper(s))
		}
		if err != nil && !strings.Contains(err.Error(), "range") || s == "true" || s == "false" {
			return arg("For input string: \"%s\"", s)
		}
		if _, err := strconv.ParseInt(s, 10, 64); err == nil && c.kind == "long" {
			return nil // exact, where the float is not
		}
		if f < limit[0] || f >= limit[1] {
			if c.kind == "byte" || c.kind == "short" {
				return arg("Value [%s] is out of range for a %s", s, c.kind)
			}
			if !quoted && c.kind != "unsigned_long" {
				return token("input_coercion_exception", "Numeric value (%s) out of range of %s", s, strings.TrimSuffix(c.kind, "eger"))
			}
			return arg("Numeric value (%s) out of range of %s", s, strings.TrimSuffix(c.kind, "eger"))
		}
	case "double", "float", "half_float", "scaled_float":
		if quoted && s == "" {
			return nil
		}
		f, err := strconv.ParseFloat(s, 64)
		if err != nil && !strings.Contains(err.Error(), "range") || s == "true" || s == "false" {
			if c.malformed {
				return nil
			}
			return p.failed(c, name, at, s, &esError{kind: "number_format_exception", reason: "For input string: \"" + s + "\""})
		}
		if math.IsInf(f, 0) || math.IsNaN(f) || c.kind == "float" && math.Abs(f) > math.MaxFloat32 || c.kind == "half_float" && math.Abs(f) >= 65520 {
			return arg("[%s] supports only finite values, but got [%s]", c.kind, s)
		}
	case "boolean":
		if !quoted && s != "true" && s != "false" {
			return token("json_parse_exception", "Current token (VALUE_NUMBER) not of boolean type")
		}
		if s != "true" && s != "false" && (!quoted || s != "") {
			return arg("Failed to parse value [%s] as only [true] or [false] are allowed.", s)
		}
	case "ip":
		if _, err := netip.ParseAddr(s); err != nil {
			return arg("'%s' is not an IP string literal.", s)
		}
	case "date", "date_nanos":
		if _, ok := parseDate(s, c.format); !ok && !c.malformed {
			format := c.format
			if format == "" {
				format = "strict_date_optional_time||epoch_millis"
			}
			return p.failed(c, name, at, s, &esError{kind: "illegal_argument_exception", reason: "failed to parse date field [" + s + "] with format [" + format + "]",
				cause: &esError{kind: "date_time_parse_exception", reason: "Failed to parse with all enclosed parsers"}})
		}
	case "dense_vector":
		cause := &esError{kind: "parsing_exception", reason: "Failed to parse object: expecting token of type [VALUE_NUMBER] but found [END_OBJECT]"}
		return &esError{status: 400, kind: "document_parsing_exception", reason: p.pos(at) + " failed to parse: " + cause.reason, cause: cause}
	}
	return nil
}

// parseDate reads the default formats; a mapping with formats of its own takes any of those and anything that looks like digits and dashes.
func parseDate(s, format string) (int64, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && (len(s) > 4 || format != "" && strings.Contains(format, "epoch")) {
		if strings.Contains(format, "epoch_second") {
			n *= 1000
		}
		return n, true
	}
	for _, l := range []string{"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999",
		"2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02", "2006-01", "2006"} {
		if t, err := time.Parse(l, s); err == nil {
			return t.UnixMilli(), true
		}
	}
	if format != "" && !strings.HasPrefix(format, "strict_date_optional_time") {
		for _, l := range []string{"2006-01-02 15:04:05", "2006/01/02 15:04:05", "2006/01/02", "20060102", "02/Jan/2006:15:04:05 -0700", "2006-01-02 15:04:05.999"} {
			if t, err := time.Parse(l, s); err == nil {
				return t.UnixMilli(), true
			}
		}
		if _, err := strconv.ParseFloat(s, 64); err == nil {
			return 0, true
		}
	}
	return 0, false
}

// checkKey refuses names that no field can have.
func (p *parser) checkKey(path, key string, at int) *esError {
	reason, kind := "", "illegal_argument_exception"
	switch {
	case path == "" && metadata[key]:
		kind = "document_parsing_exception"
		reason = "Field [" + key + "] is a metadata field and cannot be added inside a document. Use the index API request parameters."
	case key == "":
		reason = "field name cannot be an empty string"
	case strings.TrimSpace(key) == "":
		reason = "field name cannot contain only whitespace"
	case strings.Trim(key, ".") == "":
		reason = "field name cannot contain only dots"
	default:
		for part := range strings.SplitSeq(key, ".") {
			if strings.TrimSpace(part) == "" {
				reason = "field name starting or ending with a [.] makes object resolution ambiguous: [" + key + "]"
			}
		}
	}
	if reason == "" {
		return nil
	}
	return &esError{status: 400, kind: "document_parsing_exception", reason: p.pos(at) + " failed to parse: " + reason,
		cause: &esError{kind: kind, reason: reason}}
}

var metadata = words("_id _index _routing _source _version _seq_no _primary_term _field_names _ignored _tier")
