package layout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// AppendID appends a document's line of the ids file: delta is the distance of its sequence number from the document before, low
// the lower half of its digest.
func AppendID(dst []byte, delta int64, low uint64, d *Document) []byte {
	dst = append(dst, '[')
	dst = strconv.AppendInt(dst, delta, 10)
	dst = append(dst, ',')
	dst = strconv.AppendUint(dst, low, 10)
	dst = append(dst, ',')
	dst = AppendString(dst, d.ID)
	if d.Routing != "" || d.Versioned {
		dst = append(dst, ',')
		dst = AppendString(dst, d.Routing)
	}
	if d.Versioned {
		dst = append(dst, ',')
		dst = strconv.AppendInt(dst, d.Version, 10)
	}
	return append(dst, "]\n"...)
}

// IDLine is a line of the ids file.
type IDLine struct {
	SeqNo     int64
	Low       uint64 // the lower half of the document's digest
	HasDigest bool   // files of the first format have none
	names     []byte // the rest of the line
}

// ID returns the document's id as AppendString writes it, nil if there is none.
func (l *IDLine) ID() []byte {
	for i := 1; i < len(l.names) && l.names[0] == '"'; i++ {
		switch l.names[i] {
		case '"':
			return l.names[:i+1]
		case '\\':
			i++
		}
	}
	return nil
}

// Document decodes the rest of the line: id and routing, as those of a document that is deleted.
func (l *IDLine) Document() (Document, error) {
	var all []any
	d := Document{SeqNo: l.SeqNo, Deleted: true}
	if err := json.Unmarshal(append([]byte{'['}, l.names...), &all); err != nil || len(all) < 1 || len(all) > 3 {
		return d, errors.New("ids: a line is no array of id, routing and version")
	}
	ok := false
	if d.ID, ok = all[0].(string); !ok {
		return d, errors.New("ids: an id is no text")
	}
	if len(all) > 1 {
		if d.Routing, ok = all[1].(string); !ok {
			return d, errors.New("ids: a routing is no text")
		}
	}
	return d, nil
}

// ReadIDs calls fn for every line of a segment's part of the ids file; from is where the segment begins. What fn gets is good
// until it returns.
func ReadIDs(b []byte, from int64, fn func(l *IDLine) error) error {
	l := &IDLine{SeqNo: max(from, 0)}
	for n := 0; len(b) > 0; n++ {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		delta, names, ok := bytes.Cut(bytes.TrimPrefix(line, []byte{'['}), []byte{','})
		d, err := strconv.ParseInt(string(delta), 10, 64)
		if !whole || !ok || err != nil || d < 0 || len(names) == 0 {
			return fmt.Errorf("ids: line %d is no array that begins with a distance", n)
		}
		l.SeqNo, l.Low, l.HasDigest = l.SeqNo+d, 0, names[0] != '"'
		if l.HasDigest {
			low, after, ok := bytes.Cut(names, []byte{','})
			if l.Low, err = strconv.ParseUint(string(low), 10, 64); err != nil || !ok {
				return fmt.Errorf("ids: line %d: its digest is no number", n)
			}
			names = after
		}
		l.names, b = names, rest
		if err := fn(l); err != nil {
			return err
		}
	}
	return nil
}
