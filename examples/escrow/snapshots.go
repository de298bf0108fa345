package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/repository"
)

type snapshotLine struct {
	MessageType string    `json:"message_type"`
	SnapshotID  string    `json:"snapshot_id"`
	ShortID     string    `json:"short_id"`
	Time        time.Time `json:"time"`
	Hostname    string    `json:"hostname"`
	Username    string    `json:"username"`
	Tags        []string  `json:"tags"`
	Paths       []string  `json:"paths"`
	Parent      string    `json:"parent"`
	Tree        string    `json:"tree"`
	Bytes       int64     `json:"bytes"`
	Group       int       `json:"group"`
}

func (a *app) snapshotsCommand() *cobra.Command {
	var filter repository.Filter
	var groupBy string
	cmd := &cobra.Command{
		Use:   "snapshots",
		Short: "List the snapshots, oldest first",
		Long: `snapshots lists the snapshots of the repository, oldest first: escrow's own and those of restic. With --group-by, those that
have something in common stand together.

JSON: one {"message_type":"snapshot","snapshot_id":...,"short_id":...,"time":...,"hostname":...,"username":...,
"tags":[...],"paths":[...],"parent":...,"tree":...,"bytes":n,"group":n} a snapshot; no summary. "bytes" is 0 where the program
that made the snapshot did not say.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			g, err := repository.ParseGroupBy(groupBy)
			if err != nil {
				return usagef("--group-by: %v", err)
			}
			return a.withRepo(ctx, func(repo *repository.Repo) error {
				var all []*repository.Snapshot
				for sn, err := range repo.Snapshots(ctx, filter) {
					if err != nil {
						return err
					}
					all = append(all, sn)
				}
				for i, group := range g.Group(all) {
					if groupBy != "" && !a.quiet {
						if i > 0 {
							a.out.textf("\n")
						}
						a.out.textf("group%v\n", group.GroupKey)
					}
					if err := a.listSnapshots(i, group.Snapshots); err != nil {
						return err
					}
				}
				if !a.quiet {
					a.out.textf("%s\n", count(int64(len(all)), "snapshot", "snapshots"))
				}
				return nil
			})
		},
	}
	f := cmd.Flags()
	filterFlags(f, &filter)
	moment(f, &filter.Since, "since", "only snapshots made at this `TIME` or later, such as 2026-01-31 or 2026-01-31T12:00:00Z")
	moment(f, &filter.Until, "until", "only snapshots made before this `TIME`")
	f.StringVarP(&groupBy, "group-by", "g", "", "`WHAT` makes a group: host, paths, tags, with commas (default: no groups)")
	return cmd
}

// listSnapshots prints a table, or an object for each.
func (a *app) listSnapshots(group int, all []*repository.Snapshot) error {
	table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	if !a.out.json && !a.quiet {
		fmt.Fprintln(table, "ID\tTIME\tHOST\tTAGS\tPATHS\tSIZE")
	}
	for _, sn := range all {
		parent := ""
		if sn.Parent != nil {
			parent = sn.Parent.String()
		}
		a.out.object(snapshotLine{"snapshot", sn.ID.String(), short(sn.ID), sn.Time, sn.Hostname, sn.Username, list(sn.Tags),
			list(sn.Paths), parent, sn.Tree.String(), total(sn), group})
		if !a.out.json {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", short(sn.ID), sn.Time.Local().Format(time.DateTime),
				sn.Hostname, strings.Join(sn.Tags, ","), strings.Join(sn.Paths, ","), size(total(sn)))
		}
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	return nil
}

// total is the size of the files in a snapshot, 0 if it does not say.
func total(sn *repository.Snapshot) int64 {
	if sn.Summary == nil {
		return 0
	}
	return sn.Summary.TotalBytesProcessed
}
