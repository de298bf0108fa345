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
}

func (a *app) snapshotsCommand() *cobra.Command {
	var filter repository.Filter
	cmd := &cobra.Command{
		Use:   "snapshots",
		Short: "List the snapshots, oldest first",
		Long: `snapshots lists the snapshots of the repository, oldest first: escrow's own and those of restic.

JSON: one {"message_type":"snapshot","snapshot_id":...,"short_id":...,"time":...,"hostname":...,"username":...,
"tags":[...],"paths":[...],"parent":...,"tree":...,"bytes":n} a snapshot; no summary. "bytes" is 0 where the program that
made the snapshot did not say.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return a.withRepo(ctx, func(repo *repository.Repo) error {
				table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
				n := 0
				for sn, err := range repo.Snapshots(ctx, filter) {
					if err != nil {
						return err
					}
					parent := ""
					if sn.Parent != nil {
						parent = sn.Parent.String()
					}
					a.out.object(snapshotLine{"snapshot", sn.ID.String(), short(sn.ID), sn.Time, sn.Hostname, sn.Username,
						list(sn.Tags), list(sn.Paths), parent, sn.Tree.String(), total(sn)})
					if a.out.json {
						continue
					}
					if n++; n == 1 && !a.quiet {
						fmt.Fprintln(table, "ID\tTIME\tHOST\tTAGS\tPATHS\tSIZE")
					}
					fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", short(sn.ID), sn.Time.Local().Format(time.DateTime),
						sn.Hostname, strings.Join(sn.Tags, ","), strings.Join(sn.Paths, ","), size(total(sn)))
				}
				if err := table.Flush(); err != nil {
					return fmt.Errorf("write to standard output: %w", err)
				}
				if !a.quiet {
					a.out.textf("%s\n", count(int64(n), "snapshot", "snapshots"))
				}
				return nil
			})
		},
	}
	cmd.Flags().StringArrayVar(&filter.Tags, "tag", nil, "only snapshots with this `TAG`; repeated: with all of them")
	cmd.Flags().StringVar(&filter.Hostname, "host", "", "only snapshots of this `HOST`")
	return cmd
}

// total is the size of the files in a snapshot, 0 if it does not say.
func total(sn *repository.Snapshot) int64 {
	if sn.Summary == nil {
		return 0
	}
	return sn.Summary.TotalBytesProcessed
}
