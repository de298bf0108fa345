package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/escrow-backup/escrow/layout"
)

// Query is a condition on documents. It may be used concurrently.
type Query struct{ match matcher }

// matcher judges one document, whose _source it is given in parsed form.
type matcher func(d *doc) (bool, error)

// Parse reads a query. An error names the part that is not understood.
func Parse(text []byte) (*Query, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	var raw json.RawMessage
	err := dec.Decode(&raw)
	if err == nil && dec.Decode(new(json.RawMessage)) != io.EOF {
		err = errors.New("something follows it")
	}
	var m matcher
	if err == nil {
		m, err = parse(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	return &Query{m}, nil
}

// Between is a query for documents whose field holds a time of from or later, and before to. A zero time is no bound.
func Between(field string, from, to time.Time) *Query {
	return &Query{func(d *doc) (bool, error) {
		return d.any(field, func(v json.RawMessage) (bool, error) {
			t, err := timeOf(v)
			return err == nil && !t.Before(from) && (to.IsZero() || t.Before(to)), err
		})
	}}
}

// IDs is a query for documents of these ids.
func IDs(ids ...string) *Query {
	set := map[string]bool{}
	for _, id := range ids {
		set[id] = true
	}
	return &Query{func(d *doc) (bool, error) { return set[d.ID], nil }}
}

// Match reports whether a document is one that the query is for. An error names the document, and what could not be understood.
func (q *Query) Match(d *layout.Document) (bool, error) {
	ok, err := q.match(&doc{Document: d})
	if err != nil {
		return false, fmt.Errorf("index %s: document %q: %w", d.Index, d.ID, err)
	}
	return ok, nil
}

// one gives the only member of an object.
func one(raw json.RawMessage) (string, json.RawMessage, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil || len(m) != 1 {
		return "", nil, fmt.Errorf("%s: want an object with one member", clip(raw))
	}
	for k, v := range m {
		return k, v, nil
	}
	return "", nil, nil
}

func clip(raw []byte) string {
	if len(raw) > 80 {
		return string(raw[:77]) + "..."
	}
	return string(raw)
}

func parse(raw json.RawMessage) (matcher, error) {
	kind, body, err := one(raw)
	if err != nil {
		return nil, err
	}
	var m matcher
	switch kind {
	case "match_all":
		var none map[string]json.RawMessage
		if json.Unmarshal(body, &none) != nil || len(none) > 0 {
			return nil, errors.New("match_all: want {}")
		}
		return func(*doc) (bool, error) { return true, nil }, nil
	case "ids":
		m, err = parseIDs(body)
	case "term", "prefix", "terms":
		m, err = parseTerm(kind, body)
	case "exists":
		m, err = parseExists(body)
	case "range":
		m, err = parseRange(body)
	case "bool":
		m, err = parseBool(body)
	default:
		err = errors.New("it is none of match_all, ids, term, terms, prefix, exists, range and bool")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	return m, nil
}

// strict decodes into a struct, and refuses members that it lacks.
func strict(raw json.RawMessage, into any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}

func parseIDs(raw json.RawMessage) (matcher, error) {
	var b struct {
		Values []string `json:"values"`
	}
	if err := strict(raw, &b); err != nil {
		return nil, err
	}
	return IDs(b.Values...).match, nil
}

func parseExists(raw json.RawMessage) (matcher, error) {
	var b struct {
		Field string `json:"field"`
	}
	if err := strict(raw, &b); err != nil {
		return nil, err
	}
	if b.Field == "" {
		return nil, errors.New("no field")
	}
	return func(d *doc) (bool, error) {
		return d.any(b.Field, func(json.RawMessage) (bool, error) { return true, nil })
	}, nil
}

func parseTerm(kind string, raw json.RawMessage) (matcher, error) {
	field, v, err := one(raw)
	if err != nil {
		return nil, err
	}
	wanted := []json.RawMessage{v}
	if kind == "terms" {
		err = json.Unmarshal(v, &wanted)
	} else if bytes.HasPrefix(v, []byte{'{'}) {
		var b struct {
			Value json.RawMessage `json:"value"`
		}
		err = strict(v, &b)
		wanted[0] = b.Value
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	var scalars []scalar
	for _, w := range wanted {
		s, ok := scalarOf(w)
		if !ok {
			return nil, fmt.Errorf("%s: %s is no text, number or boolean", field, clip(w))
		}
		scalars = append(scalars, s)
	}
	return func(d *doc) (bool, error) {
		return d.any(field, func(v json.RawMessage) (bool, error) {
			s, ok := scalarOf(v)
			return ok && slices.ContainsFunc(scalars, func(w scalar) bool {
				if kind == "prefix" {
					return strings.HasPrefix(s.text, w.text)
				}
				return s.equal(w)
			}), nil
		})
	}, nil
}

func parseBool(raw json.RawMessage) (matcher, error) {
	var clauses map[string]json.RawMessage
	if err := json.Unmarshal(raw, &clauses); err != nil {
		return nil, err
	}
	parts := map[string][]matcher{}
	for _, name := range slices.Sorted(maps.Keys(clauses)) {
		if !slices.Contains([]string{"must", "filter", "should", "must_not"}, name) {
			return nil, fmt.Errorf("%s is not supported", name)
		}
		list := []json.RawMessage{clauses[name]}
		if bytes.HasPrefix(list[0], []byte{'['}) {
			if err := json.Unmarshal(clauses[name], &list); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		for _, c := range list {
			m, err := parse(c)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			parts[name] = append(parts[name], m)
		}
	}
	all := slices.Concat(parts["must"], parts["filter"])
	should := parts["should"]
	if len(all) > 0 {
		should = nil
	}
	return func(d *doc) (bool, error) {
		for _, m := range all {
			if ok, err := m(d); !ok || err != nil {
				return false, err
			}
		}
		for _, m := range parts["must_not"] {
			if ok, err := m(d); ok || err != nil {
				return false, err
			}
		}
		for _, m := range should {
			if ok, err := m(d); ok || err != nil {
				return ok, err
			}
		}
		return len(should) == 0, nil
	}, nil
}
