package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/escrow-backup/escrow/repository"
)

type pruneSummary struct {
	MessageType      string  `json:"message_type"`
	DryRun           bool    `json:"dry_run"`
	Snapshots        int     `json:"snapshots"`
	UsedBlobs        int64   `json:"used_blobs"`
	UsedBytes        int64   `json:"used_bytes"`
	DuplicateBlobs   int64   `json:"duplicate_blobs"`
	DuplicateBytes   int64   `json:"duplicate_bytes"`
	UnusedBlobs      int64   `json:"unused_blobs"`
	UnusedBytes      int64   `json:"unused_bytes"`
	PacksKept        int64   `json:"packs_kept"`
	PacksRepacked    int64   `json:"packs_repacked"`
	RepackedBytes    int64   `json:"repacked_bytes"`
	PacksRemoved     int64   `json:"packs_removed"`
	PacksUnindexed   int64   `json:"packs_unindexed"`
	PacksMissing     int     `json:"packs_missing"`
	IndexesRewritten int     `json:"indexes_rewritten"`
	FreedBytes       int64   `json:"freed_bytes"`
	UnusedAfter      int64   `json:"unused_bytes_after"`
	DurationSeconds  float64 `json:"duration_seconds"`
}

func (a *app) pruneCommand() *cobra.Command {
	var o repository.PruneOptions
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove data that no snapshot needs",
		Long: `prune removes packs of which nothing is used, and writes what is used of others to new packs, as far as the limits ask for
it. It prints the plan before it changes anything. If a snapshot needs what is missing, it removes nothing. Wherever it
is interrupted, nothing that a snapshot needs is lost; run it again.

JSON: one line {"message_type":"summary","dry_run":b,"snapshots":n,"used_blobs":n,"used_bytes":n,"duplicate_blobs":n,
"duplicate_bytes":n,"unused_blobs":n,"unused_bytes":n,"packs_kept":n,"packs_repacked":n,"repacked_bytes":n,
"packs_removed":n,"packs_unindexed":n,"packs_missing":n,"indexes_rewritten":n,"freed_bytes":n,"unused_bytes_after":n,
"duration_seconds":x}. Those in no index and those that are missing without need are removed from the repository and
from the index.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return a.withRepo(ctx, func(repo *repository.Repo) error { return a.prune(ctx, repo, &o, dryRun) })
		},
	}
	pruneFlags(cmd.Flags(), &o)
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "print the plan, change nothing")
	return cmd
}

func pruneFlags(f *pflag.FlagSet, o *repository.PruneOptions) {
	f.Var(&parsed{kind: "limit", value: o.MaxUnused.String(), set: o.MaxUnused.Set}, "max-unused",
		"unused data that may stay in packs in use: `LIMIT` in percent, in bytes with k, m, g or t, or unlimited")
	f.Var(&parsed{kind: "size", set: func(s string) (err error) {
		o.MaxRepackSize, err = repository.ParseSize(s)
		return err
	}}, "max-repack-size", "write at most `SIZE` anew, the next prune goes on (default: no limit)")
	f.BoolVar(&o.RepackSmall, "repack-small", false, "join small packs")
	f.BoolVar(&o.RepackUncompressed, "repack-uncompressed", false, "compress what is not compressed")
}

// prune prints the plan, and carries it out unless it is a dry run.
func (a *app) prune(ctx context.Context, repo *repository.Repo, o *repository.PruneOptions, dryRun bool) error {
	began := time.Now()
	plan, err := repo.PlanPrune(ctx, o)
	if err != nil {
		return err
	}
	if !a.quiet {
		a.out.textf("%v", plan)
	}
	if !dryRun {
		if err := repo.Prune(ctx, plan); err != nil {
			return err
		}
	}
	a.out.object(pruneSummary{"summary", dryRun, plan.Snapshots, plan.Used.Count, plan.Used.Bytes, plan.Duplicate.Count,
		plan.Duplicate.Bytes, plan.Unused.Count, plan.Unused.Bytes, plan.Keep.Count, plan.Repack.Count, plan.Repack.Bytes,
		plan.Remove.Count, plan.Unknown.Count, len(plan.Gone), plan.RewriteIndexes, plan.Freed, plan.UnusedAfter,
		time.Since(began).Seconds()})
	if !a.quiet {
		switch {
		case plan.Empty():
			a.out.textf("nothing to do\n")
		case dryRun:
			a.out.textf("would free %s\n", size(plan.Freed))
		default:
			a.out.textf("freed %s\n", size(plan.Freed))
		}
	}
	return nil
}
