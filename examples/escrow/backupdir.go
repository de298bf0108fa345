package main

import (
	"context"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository"
)

type dirBackupSummary struct {
	MessageType     string            `json:"message_type"`
	SnapshotID      string            `json:"snapshot_id"`
	Parent          string            `json:"parent"`
	FilesNew        int64             `json:"files_new"`
	FilesChanged    int64             `json:"files_changed"`
	FilesUnmodified int64             `json:"files_unmodified"`
	Dirs            int64             `json:"dirs"`
	Bytes           int64             `json:"bytes"`
	BytesAdded      int64             `json:"bytes_added"`
	DurationSeconds float64           `json:"duration_seconds"`
	Omitted         []layout.Omission `json:"omitted"`
}

// omissions are files that were left out, noted from several goroutines.
type omissions struct {
	mu   sync.Mutex
	list []layout.Omission
}

func (o *omissions) note(name string, err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list, layout.Omission{What: "file " + name, Why: oneLine(err)})
	return nil
}

func (o *omissions) sorted() []layout.Omission {
	slices.SortFunc(o.list, func(a, b layout.Omission) int {
		if a.What < b.What {
			return -1
		}
		return 1
	})
	return list(o.list)
}

func (a *app) backupDirCommand() *cobra.Command {
	var h repository.Header
	var exclude []string
	var full, allow bool
	cmd := &cobra.Command{
		Use:   "backup-dir DIRECTORY",
		Short: "Back up a directory into a new snapshot",
		Long: `backup-dir stores the files of a directory in a new snapshot, with modes, times, owners, links and extended attributes. Its
entries are at the root of the snapshot. Files that did not change since the last snapshot of the same directory and host are
not read again. There is a snapshot only if it is complete.

With --allow-omissions, files that cannot be read are named in the output, and the exit code is 3.

JSON, last line: {"message_type":"summary","snapshot_id":...,"parent":...,"files_new":n,"files_changed":n,
"files_unmodified":n,"dirs":n,"bytes":n,"bytes_added":n,"duration_seconds":x,"omitted":[{"what":...,"why":...}]}.
With --quiet and without --json it prints the snapshot's id alone.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			skip, err := excluder(exclude)
			if err != nil {
				return err
			}
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			if h.Hostname == "" {
				if h.Hostname, err = os.Hostname(); err != nil {
					return err
				}
			}
			h.Paths = []string{dir}
			d, err := repository.OpenDirFS(dir)
			if err != nil {
				return err
			}
			defer func() { _ = d.Close() }() // read only
			var left omissions
			o := &repository.AddOptions{Full: full}
			if skip != nil {
				o.Exclude = func(name string, _ fs.DirEntry) bool { return skip(name) }
			}
			if allow {
				o.OnError = left.note
			}
			return a.withRepo(ctx, func(repo *repository.Repo) error {
				began := time.Now()
				if h.Parent, err = lastOf(ctx, repo, h); err != nil {
					return err
				}
				sn, err := repo.Write(ctx, h, func(ctx context.Context, w *repository.Writer) error { return w.AddFS(ctx, d, o) })
				if err != nil {
					return err
				}
				a.dirBackedUp(sn, time.Since(began), left.sorted())
				if len(left.list) > 0 {
					return errOmitted
				}
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&h.Tags, "tag", nil, "`TAG` of the snapshot, repeatable")
	f.StringVar(&h.Hostname, "host", "", "`HOST` of the snapshot (default: this one's name)")
	f.StringArrayVar(&exclude, "exclude", nil, excludeUsage)
	f.BoolVar(&full, "full", false, "read every file again")
	f.BoolVar(&allow, "allow-omissions", false, "name what cannot be read, and go on")
	return cmd
}

// lastOf gives the last snapshot of the same host and paths, nil if there is none.
func lastOf(ctx context.Context, repo *repository.Repo, h repository.Header) (*repository.ID, error) {
	var last *repository.ID
	for sn, err := range repo.Snapshots(ctx, repository.Filter{Hostname: h.Hostname, Paths: h.Paths}) {
		if err != nil {
			return nil, err
		}
		if len(sn.Paths) == len(h.Paths) {
			last = &sn.ID
		}
	}
	return last, nil
}

func (a *app) dirBackedUp(sn *repository.Snapshot, d time.Duration, omitted []layout.Omission) {
	s := sn.Summary
	sum := dirBackupSummary{
		"summary", sn.ID.String(), "", s.FilesNew, s.FilesChanged, s.FilesUnmodified, s.DirsNew + s.DirsChanged + s.DirsUnmodified,
		s.TotalBytesProcessed, s.DataAddedPacked, d.Seconds(), omitted,
	}
	if sn.Parent != nil {
		sum.Parent = sn.Parent.String()
	}
	a.out.object(sum)
	if a.quiet {
		a.out.textf("%s\n", sum.SnapshotID)
	} else {
		a.out.textf("snapshot %s saved in %s\n", short(sn.ID), took(d))
		a.out.textf("  holds  %s: %s new, %s changed, %s unmodified; %s\n", count(s.TotalFilesProcessed, "file", "files"),
			thousands(s.FilesNew), thousands(s.FilesChanged), thousands(s.FilesUnmodified), size(s.TotalBytesProcessed))
		a.out.textf("  added  %s to the repository\n", size(s.DataAddedPacked))
	}
	a.out.omitted(omitted)
}

const excludeUsage = "`PATTERN` of what to leave out, repeatable: * and ? as in a shell; without a slash it is for names anywhere, " +
	"else for whole paths in the directory"

// excluder gives what says whether a file is left out, nil if none is.
func excluder(patterns []string) (func(name string) bool, error) {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			return nil, usagef("--exclude %q is not a pattern", p)
		}
	}
	if len(patterns) == 0 {
		return nil, nil
	}
	return func(name string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool {
			whole, _ := path.Match(p, name) // patterns were checked above
			base, _ := path.Match(p, path.Base(name))
			return whole || base
		})
	}, nil
}
