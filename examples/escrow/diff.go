package main

import (
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/repository"
)

type changeLine struct {
	MessageType string `json:"message_type"`
	Kind        string `json:"kind"`
	Path        string `json:"path"`
	Before      int64  `json:"bytes_before"`
	After       int64  `json:"bytes_after"`
}

type diffSummary struct {
	MessageType string `json:"message_type"`
	Added       int    `json:"added"`
	Removed     int    `json:"removed"`
	Changed     int    `json:"changed"`
}

// marks are those of restic's diff.
var marks = map[repository.ChangeKind]string{
	repository.Added: "+", repository.Removed: "-", repository.Modified: "M", repository.TypeChanged: "T", repository.Attributed: "U",
}

func (a *app) diffCommand() *cobra.Command {
	var o repository.DiffOptions
	cmd := &cobra.Command{
		Use:   "diff FROM TO",
		Short: "List what changed from one snapshot to another",
		Long: `diff lists the files and directories that were added (+), removed (-) or modified (M), those that are of another type (T), and
with --metadata those of which only mode, owner or time changed (U).

JSON: one {"message_type":"change","kind":"added", "removed", "modified", "type changed" or "attributes","path":...,
"bytes_before":n,"bytes_after":n} a change; last line {"message_type":"summary","added":n,"removed":n,"changed":n}.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.withRepo(ctx, func(repo *repository.Repo) error {
				both, err := snapshots(ctx, repo, args)
				if err != nil {
					return err
				}
				sum := diffSummary{MessageType: "summary"}
				for c, err := range repo.Diff(ctx, both[0], both[1], &o) {
					if err != nil {
						return err
					}
					switch c.Kind {
					case repository.Added:
						sum.Added++
					case repository.Removed:
						sum.Removed++
					default:
						sum.Changed++
					}
					a.out.object(changeLine{"change", string(c.Kind), c.Path, bytesOf(c.Before), bytesOf(c.After)})
					a.out.textf("%s  %s\n", marks[c.Kind], c.Path)
				}
				a.out.object(sum)
				if !a.quiet {
					a.out.textf("%d added, %d removed, %d changed\n", sum.Added, sum.Removed, sum.Changed)
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&o.Attributes, "metadata", false, "also list what has the same content but another mode, owner or time")
	return cmd
}

func bytesOf(fi fs.FileInfo) int64 {
	if fi == nil {
		return 0
	}
	return fi.Size()
}
