package elastic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"

	"github.com/escrow-backup/escrow/layout"
)

// DataStream is a data stream as the server describes it.
type DataStream struct {
	Name       string
	Generation int64
	Indices    []StreamIndex // oldest first; the last is written to
	Failure    []StreamIndex // of the failure store, likewise
	Hidden     bool
	System     bool
	Replicated bool
	Raw        json.RawMessage
}

// StreamIndex is an index of a data stream.
type StreamIndex struct {
	Name string `json:"index_name"`
	UUID string `json:"index_uuid"`
}

// UnmarshalJSON reads an element of GET /_data_stream.
func (d *DataStream) UnmarshalJSON(b []byte) error {
	var w struct {
		Name       string        `json:"name"`
		Generation int64         `json:"generation"`
		Indices    []StreamIndex `json:"indices"`
		Hidden     bool          `json:"hidden"`
		System     bool          `json:"system"`
		Replicated bool          `json:"replicated"`
		Failure    struct {
			Indices []StreamIndex `json:"indices"`
		} `json:"failure_store"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	if w.Name == "" || len(w.Indices) == 0 {
		return errors.New("a data stream without a name or without backing indices")
	}
	*d = DataStream{w.Name, w.Generation, w.Indices, w.Failure.Indices, w.Hidden, w.System, w.Replicated, append(json.RawMessage(nil), b...)}
	return nil
}

// Names are the names of indices.
func Names(indices []StreamIndex) []string {
	var out []string
	for _, x := range indices {
		out = append(out, x.Name)
	}
	return out
}

// DataStreams lists the data streams by name. A server without them gives an *AbsentError.
func (c *Client) DataStreams(ctx context.Context) (map[string]*DataStream, error) {
	var out struct {
		Streams *[]*DataStream `json:"data_streams"`
	}
	err := c.JSON(ctx, Request{Method: "GET", Path: "/_data_stream", Query: url.Values{"expand_wildcards": {"all"}}}, &out)
	if err != nil {
		return nil, (&Section{Name: layout.DataStreams, absent: none}).absence(err)
	}
	if out.Streams == nil {
		return nil, errors.New("GET /_data_stream: the answer has no data_streams")
	}
	all := map[string]*DataStream{}
	for _, d := range *out.Streams {
		all[d.Name] = d
	}
	return all, nil
}

// DataStream reads one data stream, nil if there is none of that name.
func (c *Client) DataStream(ctx context.Context, name string) (*DataStream, error) {
	var out struct {
		Streams []*DataStream `json:"data_streams"`
	}
	err := c.JSON(ctx, Request{Method: "GET", Path: "/_data_stream/" + PathEscape(name), Query: url.Values{"expand_wildcards": {"all"}}}, &out)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(out.Streams) != 1 || out.Streams[0].Name != name {
		return nil, fmt.Errorf("GET /_data_stream/%s: the answer describes %d data streams", PathEscape(name), len(out.Streams))
	}
	return out.Streams[0], nil
}

// streamParts are what further requests tell of a data stream. A server that does not know one says so.
var streamParts = []struct {
	path string
	at   string
	part func(s *layout.Stream) *json.RawMessage
}{
	{"_lifecycle", "lifecycle", func(s *layout.Stream) *json.RawMessage { return &s.Lifecycle }},
	{"_options", "options", func(s *layout.Stream) *json.RawMessage { return &s.Options }},
	{"_settings", "settings", func(s *layout.Stream) *json.RawMessage { return &s.Settings }},
	{"_mappings", "mappings", func(s *layout.Stream) *json.RawMessage { return &s.Mappings }},
}

// Stream reads what a backup keeps of a data stream.
func (c *Client) Stream(ctx context.Context, d *DataStream) (*layout.Stream, error) {
	s := &layout.Stream{DataStream: d.Raw}
	name := PathEscape(d.Name)
	var aliases map[string]struct {
		Aliases json.RawMessage `json:"aliases"`
	}
	if err := c.JSON(ctx, Request{Method: "GET", Path: "/" + name + "/_alias", Query: url.Values{"expand_wildcards": {"all"}}}, &aliases); err != nil {
		return nil, err
	}
	if a := aliases[d.Name].Aliases; len(a) > 2 {
		s.Aliases = a
	}
	for _, p := range streamParts {
		var out struct {
			Streams []map[string]json.RawMessage `json:"data_streams"`
		}
		err := c.JSON(ctx, Request{Method: "GET", Path: "/_data_stream/" + name + "/" + p.path}, &out)
		var e *Error
		if errors.As(err, &e) && (e.Status == 400 || e.Status == 404 || e.Status == 405) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(out.Streams) == 1 && len(out.Streams[0][p.at]) > 2 {
			*p.part(s) = out.Streams[0][p.at]
		}
	}
	return s, nil
}
