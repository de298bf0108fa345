package elasticdump

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/escrow-backup/escrow/layout"
)

// documents reads a file of hits. An error names the file and the line.
func documents(ctx context.Context, src fs.FS, name, index string) iter.Seq2[layout.Document, error] {
	return func(yield func(layout.Document, error) bool) {
		fail := func(line int, err error) {
			if line > 0 {
				err = fmt.Errorf("line %d: %w", line, err)
			}
			yield(layout.Document{}, fmt.Errorf("%s: %w", name, err))
		}
		f, err := open(src, name)
		if err != nil {
			fail(0, err)
			return
		}
		defer f.Close()
		r := bufio.NewReaderSize(f, 1<<20)
		for line := 1; ; line++ {
			text, err := r.ReadBytes('\n')
			if err != nil && err != io.EOF {
				fail(line, err)
				return
			}
			last := err == io.EOF
			if text = bytes.TrimSpace(text); len(text) > 0 {
				d, err := parseHit(text)
				if err == nil && d.Index != index {
					err = fmt.Errorf("a document of index %q in the file of %q", d.Index, index)
				}
				if err == nil {
					err = ctx.Err()
				}
				if err != nil {
					fail(line, err)
					return
				}
				if !yield(d, nil) {
					return
				}
			}
			if last {
				return
			}
		}
	}
}

// open opens a file, compressed or not.
func open(src fs.FS, name string) (io.ReadCloser, error) {
	f, err := src.Open(name)
	if err != nil || !strings.HasSuffix(name, ".gz") {
		return f, err
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<16))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{z, f}, nil
}

var errCut = errors.New("it is no whole JSON object: the line is cut off or damaged")

// parseHit takes a search hit apart without looking into its _source.
func parseHit(line []byte) (layout.Document, error) {
	d := layout.Document{SeqNo: -1}
	seen := map[string]bool{}
	var fields, routing json.RawMessage
	for key, value := range members(line) {
		if key == nil {
			return d, errCut
		}
		var name string
		if err := json.Unmarshal(key, &name); err != nil {
			return d, errCut
		}
		var err error
		switch name {
		case "_index", "_id", "_source", "_routing", "routing", "fields":
			if seen[name] {
				return d, fmt.Errorf("%s stands twice", name)
			}
			seen[name] = true
		}
		switch name {
		case "_index":
			err = json.Unmarshal(value, &d.Index)
		case "_id":
			err = json.Unmarshal(value, &d.ID)
		case "_source":
			d.Source = value
		case "_routing", "routing":
			routing = value
		case "fields":
			fields = value
		}
		if err != nil {
			return d, fmt.Errorf("%s: %w", name, err)
		}
	}
	if d.Index == "" || d.ID == "" {
		return d, errors.New("it has no _index or no _id")
	}
	if len(d.Source) < 2 || d.Source[0] != '{' {
		return d, fmt.Errorf("document %q has no _source", d.ID)
	}
	if !utf8.Valid(d.Source) {
		return d, fmt.Errorf("document %q: its _source is no valid UTF-8", d.ID)
	}
	if routing == nil && fields != nil {
		var f struct {
			Routing json.RawMessage `json:"_routing"`
		}
		if err := json.Unmarshal(fields, &f); err != nil {
			return d, fmt.Errorf("fields: %w", err)
		}
		routing = f.Routing
	}
	if routing != nil {
		err := json.Unmarshal(routing, &d.Routing)
		if list := []string(nil); err != nil && json.Unmarshal(routing, &list) == nil && len(list) == 1 {
			d.Routing, err = list[0], nil
		}
		if err != nil {
			return d, fmt.Errorf("document %q: routing: %w", d.ID, err)
		}
	}
	return d, nil
}

// members gives the keys, quotes included, and the values of an object, as they stand. A nil key says that the text is no object.
func members(text []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		i := space(text, 0)
		if i == len(text) || text[i] != '{' {
			yield(nil, nil)
			return
		}
		for first := true; ; first = false {
			i = space(text, i+1)
			if first && i < len(text) && text[i] == '}' {
				break
			}
			end := value(text, i)
			if end < 0 || text[i] != '"' {
				yield(nil, nil)
				return
			}
			key := text[i:end]
			if i = space(text, end); i == len(text) || text[i] != ':' {
				yield(nil, nil)
				return
			}
			i = space(text, i+1)
			if end = value(text, i); end < 0 {
				yield(nil, nil)
				return
			}
			v := text[i:end]
			i = space(text, end)
			if i == len(text) || text[i] != ',' && text[i] != '}' {
				yield(nil, nil)
				return
			}
			if !yield(key, v) {
				return
			}
			if text[i] == '}' {
				break
			}
		}
		if space(text, i+1) != len(text) {
			yield(nil, nil)
		}
	}
}

func space(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\r' || text[i] == '\n') {
		i++
	}
	return i
}

// value returns the end of the value that begins at i, -1 if it has none.
func value(text []byte, i int) int {
	start := i
	var open []byte
	for i < len(text) {
		switch c := text[i]; c {
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			if i >= len(text) {
				return -1
			}
		case '{', '[':
			open = append(open, c+2) // '}' and ']' stand two after
		case '}', ']':
			if len(open) == 0 {
				if i == start {
					return -1
				}
				return i
			}
			if open[len(open)-1] != c {
				return -1
			}
			open = open[:len(open)-1]
		case ',', ' ', '\t', ':':
			if len(open) == 0 {
				if i == start {
					return -1
				}
				return i
			}
			i++
			continue
		default:
			i++
			continue
		}
		i++
		if len(open) == 0 {
			return i
		}
	}
	return -1
}
