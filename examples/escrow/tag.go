package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/repository"
)

type tagLine struct {
	MessageType string   `json:"message_type"`
	OldID       string   `json:"old_snapshot_id"`
	NewID       string   `json:"new_snapshot_id"`
	OldTags     []string `json:"old_tags"`
	NewTags     []string `json:"new_tags"`
}

type tagSummary struct {
	MessageType string `json:"message_type"`
	DryRun      bool   `json:"dry_run"`
	Changed     int    `json:"changed"`
}

func (a *app) tagCommand() *cobra.Command {
	var change repository.TagChange
	var o repository.TagOptions
	cmd := &cobra.Command{
		Use:   "tag [ID...]",
		Short: "Change the tags of snapshots",
		Long: `tag adds, removes or sets tags: of the named snapshots, or of all that the filters choose. A snapshot gets a new id with
its new tags, and keeps the id of the first in "original". With --set "" a snapshot has no tags.

JSON: one {"message_type":"tag","old_snapshot_id":...,"new_snapshot_id":...,"old_tags":[...],"new_tags":[...]} a snapshot that
changes; last line {"message_type":"summary","dry_run":b,"changed":n}. A dry run knows no new ids.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			split(&change.Add, cmd.Flags().Changed("add"))
			split(&change.Remove, cmd.Flags().Changed("remove"))
			split(&change.Set, cmd.Flags().Changed("set"))
			switch {
			case change.Set != nil && len(change.Add)+len(change.Remove) > 0:
				return usagef("--set excludes --add and --remove")
			case change.Set == nil && len(change.Add)+len(change.Remove) == 0:
				return usagef("nothing to change: give --add, --remove or --set")
			}
			return a.withRepo(ctx, func(repo *repository.Repo) (err error) {
				if len(args) > 0 {
					if o.Snapshots, err = snapshotIDs(ctx, repo, args); err != nil {
						return err
					}
				}
				changed, err := repo.Tag(ctx, change, &o)
				for _, c := range changed {
					id := ""
					if !o.DryRun {
						id = c.New.ID.String()
					}
					a.out.object(tagLine{"tag", c.Old.ID.String(), id, list(c.Old.Tags), list(c.New.Tags)})
					if !a.quiet {
						a.out.textf("%s %q -> %.8s %q\n", short(c.Old.ID), c.Old.Tags, id, c.New.Tags)
					}
				}
				if err != nil {
					return err
				}
				a.out.object(tagSummary{"summary", o.DryRun, len(changed)})
				if !a.quiet {
					did := "changed"
					if o.DryRun {
						did = "would change"
					}
					a.out.textf("%s %s\n", did, count(int64(len(changed)), "snapshot", "snapshots"))
				}
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&change.Add, "add", nil, "add these `TAGS`, commas between them; repeatable")
	f.StringArrayVar(&change.Remove, "remove", nil, "remove these `TAGS`")
	f.StringArrayVar(&change.Set, "set", nil, "have these `TAGS` and no others")
	filterFlags(f, &o.Filter)
	f.BoolVarP(&o.DryRun, "dry-run", "n", false, "print what would change, change nothing")
	return cmd
}

// split cuts the values of a flag at their commas. The result is nil if the flag was not given.
func split(values *[]string, given bool) {
	if !given {
		*values = nil
		return
	}
	all := []string{}
	for _, v := range *values {
		for tag := range strings.SplitSeq(v, ",") {
			if tag = strings.TrimSpace(tag); tag != "" {
				all = append(all, tag)
			}
		}
	}
	*values = all
}
