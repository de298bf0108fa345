package repository

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
)

// quoted gives a name as trees store it.
func quoted(name string) string {
	q := strconv.Quote(name)
	return q[1 : len(q)-1]
}

// setFields gives a JSON object with some fields set, and the others as they were, in their order. New ones come last.
func setFields(object []byte, fields map[string]any) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.Join(errors.New("not a JSON object"), err)
	}
	left := maps.Clone(fields)
	buf := bytes.NewBufferString("{")
	put := func(name string, value any) error {
		if buf.Len() > 1 {
			buf.WriteByte(',')
		}
		for i, v := range []any{name, value} {
			if i > 0 {
				buf.WriteByte(':')
			}
			b, err := json.Marshal(v)
			if err != nil {
				return err
			}
			buf.Write(b)
		}
		return nil
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, ok := t.(string)
		if !ok {
			return nil, errors.New("not a JSON object")
		}
		var old json.RawMessage
		if err := d.Decode(&old); err != nil {
			return nil, err
		}
		var value any = old
		if v, ok := fields[name]; ok {
			value = v
			delete(left, name)
		}
		if err := put(name, value); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		if err := put(name, left[name]); err != nil {
			return nil, err
		}
	}
	buf.WriteByte('}')
	return buf.Bytes(), nil
}
