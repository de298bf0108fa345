package elasticsearch

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/task"
)

// OutputFile is the name of the file in the output directory.
const OutputFile = "output.json"

// Output is what a backup or a restore leaves in output.json for update-status. The first three fields are those of Stash.
type Output struct {
	BackupTargetStatus  *task.BackupTargetStatus  `json:"backupTargetStatus,omitempty"`
	RestoreTargetStatus *task.RestoreMemberStatus `json:"restoreTargetStatus,omitempty"`
	Repository          *RepositoryStats          `json:"repository,omitempty"`

	Backup  *metrics.BackupHost  `json:"backup,omitempty"`
	Restore *metrics.RestoreHost `json:"restore,omitempty"`
	// Problems are what the check of the repository found; at most 20.
	Problems []string `json:"problems,omitempty"`
	// Warnings are arguments without effect, and what was left out.
	Warnings []string `json:"warnings,omitempty"`
}

// RepositoryStats is what was seen of the repository after a backup.
type RepositoryStats struct {
	Integrity                     *bool  `json:"integrity,omitempty"`
	Size                          string `json:"size,omitempty"`
	SnapshotCount                 int64  `json:"snapshotCount,omitempty"`
	SnapshotsRemovedOnLastCleanup int64  `json:"snapshotsRemovedOnLastCleanup,omitempty"`

	Bytes    int64   `json:"bytes,omitempty"`
	Dedup    float64 `json:"dedupRatio,omitempty"`
	Problems int64   `json:"problems,omitempty"`
}

// write stores the file, whole or not at all. Without a directory there is nothing to write.
func (o *Output) write(dir string) error {
	if dir == "" {
		return nil
	}
	data, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", OutputFile, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write %s: %w", OutputFile, err)
	}
	file := filepath.Join(dir, OutputFile)
	if err := os.WriteFile(file+".new", data, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", OutputFile, err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("write %s: %w", OutputFile, err)
	}
	return nil
}

// readOutput reads what write stored.
func readOutput(dir string) (*Output, error) {
	data, err := os.ReadFile(filepath.Join(dir, OutputFile))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", OutputFile, err)
	}
	o := new(Output)
	if err := json.Unmarshal(data, o); err != nil {
		return nil, fmt.Errorf("read %s: %w", OutputFile, err)
	}
	return o, nil
}

// clock gives a time as Stash's statuses have it: hours if any, minutes, seconds.
func clock(d time.Duration) string {
	s := int64(d.Round(time.Second) / time.Second)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// oneLine gives an error on one line, as statuses show it.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
