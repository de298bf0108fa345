package layout

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// Format is the version of the layout that this package describes.
const Format = 1

// ManifestPath is the manifest's name.
const ManifestPath = "manifest.json"

// IndexPath is the name of an index's settings, mappings and aliases.
func IndexPath(index string) string { return "indices/" + index + "/index.json" }

// DocumentsPath is the name of a shard's documents file.
func DocumentsPath(index string, shard int) string { return shardPath(index, shard) + ".ndjson" }

// SidecarPath is the name of a shard's sidecar.
func SidecarPath(index string, shard int) string { return shardPath(index, shard) + ".segments.json" }

// IDsPath is the name of a shard's ids file.
func IDsPath(index string, shard int) string { return shardPath(index, shard) + ".ids" }

func shardPath(index string, shard int) string {
	return "indices/" + index + "/shard-" + strconv.Itoa(shard)
}

// Manifest says what a backup holds. It is written last.
type Manifest struct {
	Format    int        `json:"format"`
	Cluster   Cluster    `json:"cluster"`
	Started   time.Time  `json:"started"`
	Finished  time.Time  `json:"finished"`
	Selection Selection  `json:"selection"`
	Indices   []Index    `json:"indices"` // ascending by name
	Omitted   []Omission `json:"omitted"` // what was asked for and is not here, or not whole
	Warnings  []string   `json:"warnings"`

	// Backups of before there were sections and data streams have neither.
	Sections    []Section    `json:"sections,omitempty"`     // those that were asked for, in the order of restoring
	DataStreams []DataStream `json:"data_streams,omitempty"` // ascending by name
}

// Cluster identifies the cluster a backup was taken from.
type Cluster struct {
	Name    string `json:"name"`
	UUID    string `json:"uuid"`
	Version string `json:"version"`
}

// Selection is what a backup was asked for. Increments build on a parent with an equal one.
type Selection struct {
	Indices     []string `json:"indices"`
	Exclude     []string `json:"exclude,omitempty"`
	Transformed bool     `json:"transformed,omitempty"` // the documents passed through a user's function
	// Sections are those asked for, where they were named. Increments do not ask.
	Sections []string `json:"sections,omitempty"`
	Versions bool     `json:"versions,omitempty"` // the documents' versions stand on their action lines
}

// Index is one index of a Manifest.
type Index struct {
	Name   string    `json:"name"`
	UUID   string    `json:"uuid"`
	AsOf   time.Time `json:"as_of"` // the documents are those of this moment or a little later
	Docs   int64     `json:"docs"`
	Bytes  int64     `json:"bytes"` // sum of the shards' Bytes
	Shards []Shard   `json:"shards"`
}

// Shard is one shard of an Index: what was read, and how far that was final.
type Shard struct {
	Number           int    `json:"number"`
	Docs             int64  `json:"docs"`   // live documents
	Bytes            int64  `json:"bytes"`  // length of the documents file
	Digest           Digest `json:"digest"` // of the live documents
	HistoryUUID      string `json:"history_uuid,omitempty"`
	PrimaryTerm      int64  `json:"primary_term,omitempty"`
	GlobalCheckpoint int64  `json:"global_checkpoint"` // read before the point in time; -1 if none
	MaxSeqNo         int64  `json:"max_seq_no"`        // read after the point in time; -1 if none
	// Sealed: everything that the point in time showed is on all in-sync copies and cannot be rolled back. Only then may
	// the next backup reuse this one's segments.
	Sealed bool `json:"sealed"`
	// Reason says why the shard is not sealed.
	Reason string `json:"reason,omitempty"`
}

// Omission names something that a backup left out.
type Omission struct {
	What string `json:"what"` // such as "index logs-1" or "section watches"
	Why  string `json:"why"`
}

// Sidecar describes the segments of one shard's documents file and ids file, in their order.
type Sidecar struct {
	Format   int       `json:"format"`
	Segments []Segment `json:"segments"`
}

// Segment is a range of sequence numbers of a shard. A shard read without sequence numbers is one segment with From and To
// of -1.
type Segment struct {
	From     int64  `json:"from"`      // first sequence number of the range
	To       int64  `json:"to"`        // first one after the range
	Docs     int64  `json:"docs"`      // live documents in the range
	Sum      int64  `json:"sum"`       // of their sequence numbers
	Bytes    int64  `json:"bytes"`     // in the documents file
	IDsBytes int64  `json:"ids_bytes"` // in the ids file
	Blobs    int    `json:"blobs"`     // in the documents file; 0 where it was not written to a repository
	IDsBlobs int    `json:"ids_blobs"` // in the ids file; likewise
	Digest   Digest `json:"digest"`
	// Final: the whole range lay at or below the global checkpoint of a sealed shard.
	Final bool `json:"final"`
}

// ReadManifest reads the manifest of a backup and checks its format. An error wraps fs.ErrNotExist where src holds no
// backup.
func ReadManifest(src fs.FS) (*Manifest, error) {
	m := &Manifest{}
	if err := readJSON(src, ManifestPath, m); err != nil {
		return nil, err
	}
	if m.Format != Format {
		return nil, fmt.Errorf("%s: format %d, this program reads format %d", ManifestPath, m.Format, Format)
	}
	seen := map[string]bool{}
	for _, ix := range m.Indices {
		if ix.Name == "" || strings.Contains(ix.Name, "/") || !fs.ValidPath(ix.Name) || seen[ix.Name] {
			return nil, fmt.Errorf("%s: index name %q is not valid or stands twice", ManifestPath, ix.Name)
		}
		seen[ix.Name] = true
	}
	for _, s := range m.Sections {
		if p := SectionPath(s.Name); s.Name == "" || strings.Contains(s.Name, "/") || !fs.ValidPath(p) || s.Objects < 0 {
			return nil, fmt.Errorf("%s: section %q is not valid", ManifestPath, s.Name)
		}
	}
	return m, nil
}

// ReadSidecar reads a shard's sidecar.
func ReadSidecar(src fs.FS, index string, shard int) (*Sidecar, error) {
	s, name := &Sidecar{}, SidecarPath(index, shard)
	if err := readJSON(src, name, s); err != nil {
		return nil, err
	}
	if s.Format != Format {
		return nil, fmt.Errorf("%s: format %d, this program reads format %d", name, s.Format, Format)
	}
	return s, nil
}

func readJSON(src fs.FS, name string, v any) error {
	b, err := fs.ReadFile(src, name)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// Valid checks that the segments ascend and do not overlap, and that their numbers are possible.
func (s *Sidecar) Valid() error {
	last := int64(-1)
	for i, g := range s.Segments {
		if g.Docs < 0 || g.Sum < 0 || g.Bytes < 0 || g.IDsBytes < 0 || g.Blobs < 0 || g.IDsBlobs < 0 || g.To < g.From {
			return fmt.Errorf("segment %d: negative number or empty range", i)
		}
		if g.From >= 0 && g.From < last {
			return fmt.Errorf("segment %d: it overlaps the one before", i)
		}
		last = g.To
	}
	return nil
}
