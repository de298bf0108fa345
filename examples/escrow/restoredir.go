package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository"
)

type plannedFile struct {
	MessageType string `json:"message_type"`
	Path        string `json:"path"`
	Action      string `json:"action"`
	Size        int64  `json:"size"`
}

type dirRestoreSummary struct {
	MessageType     string            `json:"message_type"`
	SnapshotID      string            `json:"snapshot_id"`
	DryRun          bool              `json:"dry_run"`
	Files           int64             `json:"files"`
	Links           int64             `json:"links"`
	Dirs            int64             `json:"dirs"`
	Others          int64             `json:"others"`
	Bytes           int64             `json:"bytes"`
	DurationSeconds float64           `json:"duration_seconds"`
	Omitted         []layout.Omission `json:"omitted"`
}

func (a *app) restoreDirCommand() *cobra.Command {
	var o repository.RestoreOptions
	var exclude []string
	var allow, dryRun bool
	cmd := &cobra.Command{
		Use:   "restore-dir SNAPSHOT[:PATH] DIRECTORY",
		Short: "Restore the files of a snapshot into a directory",
		Long: `restore-dir writes the files of a snapshot, or of a directory in it, into a directory of this machine, which it makes if
need be, with modes, times, links, extended attributes and, as root, owners. Nothing outside of the directory is touched. Files
that are there are an error, unless --overwrite; what the snapshot does not have stays.

With --dry-run it prints what it would create and replace, and writes nothing. With --allow-omissions, what cannot be restored
is named in the output, and the exit code is 3.

JSON, last line: {"message_type":"summary","snapshot_id":...,"dry_run":b,"files":n,"links":n,"dirs":n,"others":n,"bytes":n,
"duration_seconds":x,"omitted":[{"what":...,"why":...}]}. A dry run prints {"message_type":"planned","path":...,
"action":"create", "replace" or "conflict","size":n} a file before it.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			skip, err := excluder(exclude)
			if err != nil {
				return err
			}
			if skip != nil {
				o.Exclude = func(name string, _ fs.FileInfo) bool { return skip(name) }
			}
			var left omissions
			if allow {
				o.OnError = left.note
			}
			return a.withRepo(ctx, func(repo *repository.Repo) error {
				began := time.Now()
				sn, name, err := repo.Resolve(ctx, args[0])
				if err != nil {
					return err
				}
				o.Path = name
				var res *repository.RestoreResult
				if dryRun {
					res, err = a.planRestoreDir(ctx, repo, sn, args[1], &o)
				} else {
					res, err = repo.RestoreDir(ctx, sn, args[1], &o)
				}
				if err != nil {
					return err
				}
				sum := dirRestoreSummary{"summary", sn.ID.String(), dryRun, res.Files, res.Links, res.Dirs, res.Others, res.Bytes,
					time.Since(began).Seconds(), left.sorted()}
				a.out.object(sum)
				if !a.quiet {
					did := "restored"
					if dryRun {
						did = "would restore"
					}
					a.out.textf("%s %s of snapshot %s, %s\n", did, count(res.Files+res.Links, "file", "files"), short(sn.ID), size(res.Bytes))
				}
				a.out.omitted(sum.Omitted)
				if len(left.list) > 0 {
					return errOmitted
				}
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.Overwrite, "overwrite", false, "replace files that are there")
	f.BoolVar(&o.Verify, "verify", false, "read every file back and compare it")
	f.BoolVar(&o.Sparse, "sparse", false, "leave holes where files have blocks of zeros")
	f.BoolVar(&o.NoOwner, "no-owner", false, "do not restore user and group")
	f.StringArrayVar(&exclude, "exclude", nil, excludeUsage)
	f.BoolVar(&allow, "allow-omissions", false, "name what cannot be restored, and go on")
	f.BoolVarP(&dryRun, "dry-run", "n", false, "print what would be written, write nothing")
	return cmd
}

// planRestoreDir prints what a restore would do, and counts it.
func (a *app) planRestoreDir(ctx context.Context, repo *repository.Repo, sn *repository.Snapshot, dir string, o *repository.RestoreOptions) (
	*repository.RestoreResult, error) {
	files, err := repo.FS(ctx, sn)
	if err != nil {
		return nil, err
	}
	res := &repository.RestoreResult{}
	return res, fs.WalkDir(files, o.Path, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == o.Path {
			return err
		}
		name = strings.TrimPrefix(name, o.Path+"/")
		fi, err := d.Info()
		if err != nil {
			return err
		}
		if o.Exclude != nil && o.Exclude(name, fi) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		switch {
		case d.IsDir():
			res.Dirs++
			return nil
		case d.Type().IsRegular():
			res.Files++
			res.Bytes += fi.Size()
		default:
			res.Others++
		}
		p := plannedFile{"planned", name, "create", fi.Size()}
		if _, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(name))); err == nil {
			p.Action = "conflict"
			if o.Overwrite {
				p.Action = "replace"
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		a.out.object(p)
		if !a.quiet {
			a.out.textf("%-8s %s\n", p.Action, name)
		}
		return nil
	})
}
