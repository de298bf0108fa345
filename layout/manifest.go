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
	// Increments is how many backups, this one included, were made since everything was last read.
	Increments int `json:"increments,omitempty"`

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
	Bytes            int64  `json:"bytes"`  // length of the documents file, with what is dead in it
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
	// Where the documents file is a log: how many documents it holds that are dead, and how many pairs of delete lines.
	Dead    int64 `json:"dead,omitempty"`
	Deletes int64 `json:"deletes,omitempty"`
}

// Omission names something that a backup left out.
type Omission struct {
	What string `json:"what"` // such as "index logs-1" or "section watches"
	Why  string `json:"why"`
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
