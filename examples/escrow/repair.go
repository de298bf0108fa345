package main

import (
	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/repository"
)

type repairIndexSummary struct {
	MessageType string `json:"message_type"`
	DryRun      bool   `json:"dry_run"`
	Damaged     int    `json:"damaged"`
	Missing     int    `json:"missing"`
	Reread      int    `json:"reread"`
	Broken      int    `json:"broken"`
}

type lossLine struct {
	MessageType string `json:"message_type"`
	SnapshotID  string `json:"snapshot_id"`
	Path        string `json:"path"`
	Dir         bool   `json:"dir"`
	Bytes       int64  `json:"bytes"`
}

type repairSnapshotsSummary struct {
	MessageType string   `json:"message_type"`
	DryRun      bool     `json:"dry_run"`
	Damaged     int      `json:"damaged"`
	Sound       int      `json:"sound"`
	Made        []string `json:"made"`
	Forgotten   int      `json:"forgotten"`
}

func (a *app) repairCommand() *cobra.Command {
	repair := &cobra.Command{
		Use:   "repair index | snapshots",
		Short: "Repair a damaged repository",
		Long: `repair makes a repository usable again after files of it were lost or damaged. First "repair index", then back up again what
still exists: data that comes back heals snapshots. Last "repair snapshots" gives up what is lost.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usagef("repair what? index or snapshots") },
	}
	repair.AddCommand(a.repairIndexCommand(), a.repairSnapshotsCommand())
	return repair
}

func (a *app) repairIndexCommand() *cobra.Command {
	var o repository.RepairIndexOptions
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "index",
		Short: "Make the index say what the packs hold",
		Long: `index compares the index with the packs, prints what is wrong, and corrects the index. It removes no pack.

JSON: one line {"message_type":"summary","dry_run":b,"damaged":n,"missing":n,"reread":n,"broken":n}: index files that cannot be
read, packs that are not there, packs whose headers were read, packs that cannot be read.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return a.withRepo(ctx, func(repo *repository.Repo) error {
				p, err := repo.PlanRepairIndex(ctx, &o)
				if err != nil {
					return err
				}
				a.out.textf("%v", p)
				if !dryRun {
					if err := repo.RepairIndex(ctx, p); err != nil {
						return err
					}
				}
				a.out.object(repairIndexSummary{"summary", dryRun, len(p.Damaged), len(p.Missing), len(p.Reread), len(p.Broken)})
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&o.ReadAll, "read-all-packs", false, "make all of the index anew")
	cmd.Flags().BoolVar(&o.ReadData, "read-data", false, "read every byte as well, and give up what is damaged: it is stored again with the next backup")
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "print the plan, change nothing")
	return cmd
}

func (a *app) repairSnapshotsCommand() *cobra.Command {
	var o repository.RepairSnapshotsOptions
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "snapshots [SNAPSHOT...]",
		Short: "Write damaged snapshots anew, without what is lost",
		Long: `snapshots finds which of the snapshots (default: all) need data that is not there, prints what they lost, and writes them anew
without it. The names of what lost something end in ".repaired". The damaged snapshots stay, unless --forget.

JSON: one {"message_type":"loss","snapshot_id":...,"path":...,"dir":b,"bytes":n} a loss; the path is "." if all is lost. Last
line {"message_type":"summary","dry_run":b,"damaged":n,"sound":n,"made":[...],"forgotten":n}.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.withRepo(ctx, func(repo *repository.Repo) error {
				all, err := snapshots(ctx, repo, args)
				if err != nil {
					return err
				}
				p := &repository.SnapshotsRepair{}
				if len(all) > 0 {
					if p, err = repo.PlanRepairSnapshots(ctx, all...); err != nil {
						return err
					}
				}
				sum := repairSnapshotsSummary{"summary", dryRun, len(p.Snapshots), p.Sound, []string{}, 0}
				for _, s := range p.Snapshots {
					if s.All {
						a.out.object(lossLine{"loss", s.Snapshot.ID.String(), ".", true, 0})
					}
					for _, l := range s.Lost {
						a.out.object(lossLine{"loss", s.Snapshot.ID.String(), l.Path, l.Dir, l.Bytes})
					}
				}
				a.out.textf("%v", p)
				if !dryRun && len(p.Snapshots) > 0 {
					made, err := repo.RepairSnapshots(ctx, p, &o)
					if err != nil {
						return err
					}
					for _, s := range made {
						sum.Made = append(sum.Made, s.ID.String())
						a.out.textf("made %s of %s\n", short(s.ID), short(*s.Original))
					}
					if o.Forget {
						sum.Forgotten = len(p.Snapshots)
					}
				}
				a.out.object(sum)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&o.Forget, "forget", false, "remove the damaged snapshots")
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "print the plan, change nothing")
	return cmd
}
