package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/escrow-backup/escrow/layout"
)

// doc is a document with its _source parsed one level deep, once it is asked for.
type doc struct {
	*layout.Document
	top map[string]json.RawMessage
}

// any reports whether fn holds for one of the values of a field. null is none.
func (d *doc) any(field string, fn func(json.RawMessage) (bool, error)) (bool, error) {
	switch field {
	case "_id":
		return fn(layout.AppendString(nil, d.ID))
	case "_routing":
		if d.Routing == "" {
			return false, nil
		}
		return fn(layout.AppendString(nil, d.Routing))
	}
	if d.top == nil {
		if err := json.Unmarshal(d.Source, &d.top); err != nil {
			return false, fmt.Errorf("its _source: %w", err)
		}
	}
	ok, err := anyOf(d.top, field, fn)
	if err != nil {
		return false, fmt.Errorf("field %s: %w", field, err)
	}
	return ok, nil
}

// anyOf looks for a field under every way to cut its name at dots.
func anyOf(obj map[string]json.RawMessage, field string, fn func(json.RawMessage) (bool, error)) (bool, error) {
	for i := 0; i <= len(field); i++ {
		if i < len(field) && field[i] != '.' {
			continue
		}
		v, there := obj[field[:i]]
		if !there {
			continue
		}
		rest := ""
		if i < len(field) {
			rest = field[i+1:]
		}
		if ok, err := below(v, rest, fn); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// below takes arrays apart, and goes on in objects as long as something of the name is left.
func below(v json.RawMessage, rest string, fn func(json.RawMessage) (bool, error)) (bool, error) {
	switch {
	case len(v) == 0 || v[0] == 'n':
		return false, nil
	case v[0] == '[':
		var list []json.RawMessage
		if err := json.Unmarshal(v, &list); err != nil {
			return false, err
		}
		for _, e := range list {
			if ok, err := below(e, rest, fn); ok || err != nil {
				return ok, err
			}
		}
		return false, nil
	case rest == "":
		return fn(v)
	case v[0] != '{':
		return false, nil
	}
	var obj map[string]json.RawMessage
	if err := json.Unmarshal(v, &obj); err != nil {
		return false, err
	}
	return anyOf(obj, rest, fn)
}

// scalar is a text, number or boolean.
type scalar struct {
	text   string
	number bool
}

func scalarOf(v json.RawMessage) (scalar, bool) {
	v = bytes.TrimSpace(v)
	switch {
	case len(v) == 0 || v[0] == '{' || v[0] == '[' || v[0] == 'n':
		return scalar{}, false
	case v[0] == '"':
		var s string
		err := json.Unmarshal(v, &s)
		return scalar{text: s}, err == nil
	}
	return scalar{text: string(v), number: v[0] != 't' && v[0] != 'f'}, true
}

func (s scalar) equal(o scalar) bool {
	if s.text == o.text || !s.number || !o.number {
		return s.text == o.text
	}
	a, aerr := parseNumber(s.text)
	b, berr := parseNumber(o.text)
	return aerr == nil && berr == nil && a.Cmp(b) == 0
}

// parseNumber keeps more digits than any number of Elasticsearch has, whatever the exponent.
func parseNumber(text string) (*big.Float, error) {
	f, _, err := big.ParseFloat(text, 10, 256, big.ToNearestEven)
	if err != nil || f.IsInf() {
		return nil, fmt.Errorf("%q is no number", text)
	}
	return f, nil
}

// dates are the forms of a date, as in Elasticsearch's strict_date_optional_time.
var dates = []string{
	"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02T15Z07:00", "2006-01-02T15",
	"2006-01-02", "2006-01", "2006", "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05",
}

// ParseTime reads a date as the range query does, such as 2026-01-02 or 2026-01-02T15:04:05.999Z.
func ParseTime(s string) (time.Time, error) {
	for _, form := range dates {
		if t, err := time.Parse(form, s); err == nil { // fractions of a second are taken after any form with seconds
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no date such as 2026-01-02 or 2026-01-02T15:04:05Z", s)
}

// timeOf reads the value of a field of type date: milliseconds since 1970, or a date.
func timeOf(v json.RawMessage) (time.Time, error) {
	s, ok := scalarOf(v)
	if !ok {
		return time.Time{}, fmt.Errorf("%s is no time", clip(v))
	}
	if !s.number {
		if t, err := ParseTime(s.text); err == nil {
			return t, nil
		}
	}
	f, err := parseNumber(s.text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s is no time", clip(v))
	}
	ns, acc := new(big.Float).Mul(f, big.NewFloat(1e6)).Int64()
	if acc != big.Exact && (ns == -1<<63 || ns == 1<<63-1) {
		ms, _ := f.Int64()
		return time.UnixMilli(ms).UTC(), nil
	}
	return time.Unix(0, ns).UTC(), nil
}

// bound is one end of a range.
type bound struct {
	cmp    func(v json.RawMessage) (int, error) // the value against the bound
	accept func(c int) bool
}

func parseRange(raw json.RawMessage) (matcher, error) {
	field, body, err := one(raw)
	if err != nil {
		return nil, err
	}
	var ends map[string]json.RawMessage
	if err := json.Unmarshal(body, &ends); err != nil || len(ends) == 0 {
		return nil, fmt.Errorf("%s: want an object with gt, gte, lt or lte", field)
	}
	var bounds []bound
	for name, v := range ends {
		accept, ok := map[string]func(int) bool{
			"gt": func(c int) bool { return c > 0 }, "gte": func(c int) bool { return c >= 0 },
			"lt": func(c int) bool { return c < 0 }, "lte": func(c int) bool { return c <= 0 },
		}[name]
		if !ok {
			return nil, fmt.Errorf("%s: %s is not supported", field, name)
		}
		if string(bytes.TrimSpace(v)) == "null" {
			continue
		}
		cmp, err := comparison(v)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", field, name, err)
		}
		bounds = append(bounds, bound{cmp, accept})
	}
	return func(d *doc) (bool, error) {
		return d.any(field, func(v json.RawMessage) (bool, error) {
			for _, b := range bounds {
				c, err := b.cmp(v)
				if err != nil || !b.accept(c) {
					return false, err
				}
			}
			return true, nil
		})
	}, nil
}

// comparison compares values with a bound in the way that the bound calls for.
func comparison(limit json.RawMessage) (func(json.RawMessage) (int, error), error) {
	s, ok := scalarOf(limit)
	if !ok || string(limit) == "true" || string(limit) == "false" {
		return nil, fmt.Errorf("%s is no text or number", clip(limit))
	}
	if s.number {
		want, err := parseNumber(s.text)
		if err != nil {
			return nil, err
		}
		return func(v json.RawMessage) (int, error) {
			got, ok := scalarOf(v)
			if !ok {
				return 0, fmt.Errorf("%s is no number", clip(v))
			}
			f, err := parseNumber(got.text)
			if err != nil {
				return 0, err
			}
			return f.Cmp(want), nil
		}, nil
	}
	if strings.HasPrefix(s.text, "now") || strings.Contains(s.text, "||") {
		return nil, errors.New("date math is not supported: write the date " + strconv.Quote(s.text) + " stands for")
	}
	if want, err := ParseTime(s.text); err == nil {
		return func(v json.RawMessage) (int, error) {
			t, err := timeOf(v)
			return t.Compare(want), err
		}, nil
	}
	return func(v json.RawMessage) (int, error) {
		got, ok := scalarOf(v)
		if !ok || got.number {
			return 0, fmt.Errorf("%s is no text", clip(v))
		}
		return strings.Compare(got.text, s.text), nil
	}, nil
}
