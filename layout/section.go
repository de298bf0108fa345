package layout

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
)

// DataStreams is the name of the section file that describes the data streams of Manifest.DataStreams.
const DataStreams = "data_streams"

// SectionPath is the name of a section's file.
func SectionPath(section string) string { return "cluster/" + section + ".json" }

// Section is one section of a Manifest: a kind of things that a cluster holds beside its indices, such as
// "ingest_pipelines".
type Section struct {
	Name    string `json:"name"`
	Objects int    `json:"objects"` // in the file; there is none if 0
	// Absent says how the cluster answered that it has no such feature. The section is then empty.
	Absent string `json:"absent,omitempty"`
}

// DataStream is one data stream of a Manifest. Its indices are among the manifest's, except those that were omitted or
// excluded.
type DataStream struct {
	Name    string   `json:"name"`
	Indices []string `json:"indices"`           // backing indices, oldest first; the last is written to
	Failure []string `json:"failure,omitempty"` // indices of the failure store, likewise
}

// Stream is what a backup keeps of one data stream: the object of this name in the file of section DataStreams. What the
// server does not have is left out. Fields hold the server's own bytes.
type Stream struct {
	DataStream json.RawMessage `json:"data_stream"`         // its element of GET /_data_stream
	Aliases    json.RawMessage `json:"aliases,omitempty"`   // by name, as GET /<data stream>/_alias shows them
	Lifecycle  json.RawMessage `json:"lifecycle,omitempty"` // of GET /_data_stream/<name>/_lifecycle
	Options    json.RawMessage `json:"options,omitempty"`   // of GET /_data_stream/<name>/_options
	Settings   json.RawMessage `json:"settings,omitempty"`  // of GET /_data_stream/<name>/_settings
	Mappings   json.RawMessage `json:"mappings,omitempty"`  // of GET /_data_stream/<name>/_mappings
}

// AppendStream appends s as a JSON object, the bytes of its fields as they are.
func AppendStream(dst []byte, s *Stream) []byte {
	dst = append(dst, '{')
	for i, f := range []struct {
		name string
		raw  json.RawMessage
	}{
		{"data_stream", s.DataStream}, {"aliases", s.Aliases}, {"lifecycle", s.Lifecycle},
		{"options", s.Options}, {"settings", s.Settings}, {"mappings", s.Mappings},
	} {
		if len(f.raw) == 0 {
			continue
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, f.name)
		dst = append(dst, ':')
		dst = append(dst, f.raw...)
	}
	return append(dst, '}')
}

// AppendSection appends a section's file: one JSON object, an object of the cluster a line, ascending by name, each with
// its bytes as they are.
func AppendSection(dst []byte, objects map[string]json.RawMessage) []byte {
	dst = append(dst, '{')
	for i, name := range slices.Sorted(maps.Keys(objects)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '\n')
		dst = AppendString(dst, name)
		dst = append(dst, ':')
		dst = append(dst, objects[name]...)
	}
	return append(dst, "\n}\n"...)
}

// ReadSection reads the objects of a section by name. A section that the manifest does not name has none.
func ReadSection(src fs.FS, m *Manifest, section string) (map[string]json.RawMessage, error) {
	objects, want := map[string]json.RawMessage{}, 0
	if section == DataStreams {
		want = len(m.DataStreams)
	}
	for _, s := range m.Sections {
		if s.Name == section {
			want = s.Objects
		}
	}
	if want == 0 {
		return objects, nil
	}
	if err := readJSON(src, SectionPath(section), &objects); err != nil {
		return nil, err
	}
	if len(objects) != want {
		return nil, fmt.Errorf("read %s: it holds %d objects, the manifest says %d", SectionPath(section), len(objects), want)
	}
	return objects, nil
}
