package repository

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Snapshot is the root of one backup, as restic stores it.
type Snapshot struct {
	ID             ID        `json:"-"`
	Time           time.Time `json:"time"`
	Parent         *ID       `json:"parent,omitempty"`
	Tree           ID        `json:"tree"`
	Paths          []string  `json:"paths"`
	Hostname       string    `json:"hostname,omitempty"`
	Username       string    `json:"username,omitempty"`
	UID            uint32    `json:"uid,omitempty"`
	GID            uint32    `json:"gid,omitempty"`
	Excludes       []string  `json:"excludes,omitempty"`
	Tags           []string  `json:"tags,omitempty"`
	Original       *ID       `json:"original,omitempty"`
	ProgramVersion string    `json:"program_version,omitempty"`
	Summary        *Summary  `json:"summary,omitempty"`

	unknown map[string]json.RawMessage // fields of other programs
}

// Summary is what a backup did. Programs older than restic 0.17 do not write it. Files and directories are compared with
// those of the parent: an unmodified file has the same blobs.
type Summary struct {
	BackupStart         time.Time `json:"backup_start"`
	BackupEnd           time.Time `json:"backup_end"`
	FilesNew            int64     `json:"files_new"`
	FilesChanged        int64     `json:"files_changed"`
	FilesUnmodified     int64     `json:"files_unmodified"`
	DirsNew             int64     `json:"dirs_new"`
	DirsChanged         int64     `json:"dirs_changed"`
	DirsUnmodified      int64     `json:"dirs_unmodified"`
	DataBlobs           int64     `json:"data_blobs"`        // new ones
	TreeBlobs           int64     `json:"tree_blobs"`        // new ones
	DataAdded           int64     `json:"data_added"`        // bytes of the new blobs
	DataAddedPacked     int64     `json:"data_added_packed"` // what they take in the repository
	TotalFilesProcessed int64     `json:"total_files_processed"`
	TotalBytesProcessed int64     `json:"total_bytes_processed"`

	unknown map[string]json.RawMessage
}

type (
	plainSnapshot Snapshot
	plainSummary  Summary
)

var (
	snapshotFields = []string{"time", "parent", "tree", "paths", "hostname", "username", "uid", "gid", "excludes", "tags",
		"original", "program_version", "summary"}
	summaryFields = []string{"backup_start", "backup_end", "files_new", "files_changed", "files_unmodified", "dirs_new",
		"dirs_changed", "dirs_unmodified", "data_blobs", "tree_blobs", "data_added", "data_added_packed",
		"total_files_processed", "total_bytes_processed"}
)

// MarshalJSON gives what restic stores, with the unknown fields that were read behind the known ones.
func (s Snapshot) MarshalJSON() ([]byte, error) { return marshalWith(plainSnapshot(s), s.unknown) }

// UnmarshalJSON keeps fields that it does not know for MarshalJSON.
func (s *Snapshot) UnmarshalJSON(b []byte) error {
	unknown, err := unmarshalWith(b, (*plainSnapshot)(s), snapshotFields)
	s.unknown = unknown
	return err
}

// MarshalJSON gives what restic stores, with the unknown fields that were read behind the known ones.
func (s Summary) MarshalJSON() ([]byte, error) { return marshalWith(plainSummary(s), s.unknown) }

// UnmarshalJSON keeps fields that it does not know for MarshalJSON.
func (s *Summary) UnmarshalJSON(b []byte) error {
	unknown, err := unmarshalWith(b, (*plainSummary)(s), summaryFields)
	s.unknown = unknown
	return err
}

// marshalWith encodes the struct v and adds the fields of unknown.
func marshalWith(v any, unknown map[string]json.RawMessage) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil || len(unknown) == 0 {
		return b, err
	}
	buf := bytes.NewBuffer(b[:len(b)-1])
	for _, name := range slices.Sorted(maps.Keys(unknown)) {
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		if buf.Len() > 1 {
			buf.WriteByte(',')
		}
		buf.Write(key)
		buf.WriteByte(':')
		buf.Write(unknown[name])
	}
	buf.WriteByte('}')
	return buf.Bytes(), nil
}

// unmarshalWith decodes into v and gives the fields that are not known.
func unmarshalWith(b []byte, v any, known []string) (map[string]json.RawMessage, error) {
	if err := json.Unmarshal(b, v); err != nil {
		return nil, err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool {
		// As encoding/json does, so that no field is written twice.
		return slices.ContainsFunc(known, func(k string) bool { return foldEqual(k, name) })
	})
	if len(all) == 0 {
		return nil, nil
	}
	return all, nil
}

func foldEqual(a, b string) bool { return bytes.EqualFold([]byte(a), []byte(b)) }

func decodeSnapshot(text []byte, id ID) (*Snapshot, error) {
	s := &Snapshot{ID: id}
	if err := json.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("decode snapshot: %w: %w", ErrDamaged, err)
	}
	if s.Tree == (ID{}) {
		return nil, fmt.Errorf("decode snapshot: %w: no tree", ErrDamaged)
	}
	return s, nil
}
