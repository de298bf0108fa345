package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/repository"
)

type forgetLine struct {
	MessageType string    `json:"message_type"`
	Action      string    `json:"action"`
	SnapshotID  string    `json:"snapshot_id"`
	ShortID     string    `json:"short_id"`
	Time        time.Time `json:"time"`
	Hostname    string    `json:"hostname"`
	Tags        []string  `json:"tags"`
	Paths       []string  `json:"paths"`
	Reasons     []string  `json:"reasons"`
	Group       int       `json:"group"`
}

type forgetSummary struct {
	MessageType     string  `json:"message_type"`
	DryRun          bool    `json:"dry_run"`
	Kept            int     `json:"kept"`
	Removed         int     `json:"removed"`
	DurationSeconds float64 `json:"duration_seconds"`
}

func (a *app) forgetCommand() *cobra.Command {
	var policy repository.Policy
	var o repository.ForgetOptions
	var po repository.PruneOptions
	var dryRun, thenPrune bool
	groupBy := "host,paths"
	cmd := &cobra.Command{
		Use:   "forget [ID...]",
		Short: "Remove snapshots, by a policy or by name",
		Long: `forget removes snapshots: those that a policy of --keep flags does not keep, or those that are named. Each group of
snapshots has the policy applied by itself; every snapshot that any --keep flag keeps stays. It prints the plan, and why
each snapshot is kept, before it removes anything. A group that would lose all its snapshots is an error, unless that is
allowed. The data stays until prune, which --prune runs at the end.

JSON: one {"message_type":"forget","action":"keep" or "remove","snapshot_id":...,"short_id":...,"time":...,"hostname":...,
"tags":[...],"paths":[...],"reasons":[...],"group":n} a snapshot; last line {"message_type":"summary","dry_run":b,"kept":n,
"removed":n,"duration_seconds":x}. With --prune, what prune prints follows.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			byName := len(args) > 0
			switch {
			case byName && !policy.Empty():
				return usagef("give IDs or --keep flags, not both")
			case !byName && policy.Empty():
				return usagef("forget what? give --keep flags or IDs")
			}
			g, err := repository.ParseGroupBy(groupBy)
			if err != nil {
				return usagef("--group-by: %v", err)
			}
			o.GroupBy = g
			return a.withRepo(ctx, func(repo *repository.Repo) error {
				began := time.Now()
				plan, err := planForget(ctx, repo, args, policy, &o)
				if errors.Is(err, repository.ErrRemovesAll) {
					return fmt.Errorf("%w: allow it with --unsafe-allow-remove-all", err)
				}
				if err != nil {
					return err
				}
				a.showForget(plan)
				if !dryRun {
					if err := repo.Forget(ctx, plan); err != nil {
						return err
					}
				}
				kept := 0
				for _, g := range plan.Groups {
					kept += len(g.Keep)
				}
				a.out.object(forgetSummary{"summary", dryRun, kept, plan.Removes(), time.Since(began).Seconds()})
				if !a.quiet {
					did := "removed"
					if dryRun {
						did = "would remove"
					}
					a.out.textf("%s %s\n", did, count(int64(plan.Removes()), "snapshot", "snapshots"))
				}
				if !thenPrune || plan.Removes() == 0 {
					return nil
				}
				if dryRun {
					a.out.textf("what prune would do is known only after the snapshots are removed\n")
					return nil
				}
				return a.prune(ctx, repo, &po, false)
			})
		},
	}
	f := cmd.Flags()
	policyFlags(f, &policy)
	filterFlags(f, &o.Filter)
	f.StringVarP(&groupBy, "group-by", "g", groupBy, "`WHAT` makes a group: host, paths, tags, with commas; empty for one group")
	f.BoolVar(&o.AllowRemoveAll, "unsafe-allow-remove-all", false, "let a policy remove all snapshots of a group")
	f.BoolVarP(&dryRun, "dry-run", "n", false, "print the plan, remove nothing")
	f.BoolVar(&thenPrune, "prune", false, "then run prune, if snapshots were removed")
	pruneFlags(f, &po)
	return cmd
}

func planForget(ctx context.Context, repo *repository.Repo, refs []string, p repository.Policy, o *repository.ForgetOptions) (
	*repository.ForgetPlan, error) {
	if len(refs) == 0 {
		return repo.PlanForget(ctx, p, o)
	}
	ids, err := snapshotIDs(ctx, repo, refs)
	if err != nil {
		return nil, err
	}
	return repo.PlanForgetIDs(ctx, ids...)
}

// snapshotIDs resolves all before anything is done. A whole id is taken as it is: the snapshot may be unreadable.
func snapshotIDs(ctx context.Context, repo *repository.Repo, refs []string) ([]repository.ID, error) {
	var ids []repository.ID
	for _, ref := range refs {
		id, err := repository.ParseID(strings.ToLower(ref))
		if err != nil {
			sn, err := repo.Snapshot(ctx, ref)
			if err != nil {
				return nil, err
			}
			id = sn.ID
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// showForget prints the plan.
func (a *app) showForget(plan *repository.ForgetPlan) {
	if !a.quiet {
		a.out.textf("%v", plan)
	}
	line := func(group int, action string, sn *repository.Snapshot, reasons []string) {
		a.out.object(forgetLine{"forget", action, sn.ID.String(), short(sn.ID), sn.Time, sn.Hostname, list(sn.Tags), list(sn.Paths),
			list(reasons), group})
	}
	for i, g := range plan.Groups {
		for _, k := range g.Keep {
			line(i, "keep", k.Snapshot, k.Reasons)
		}
		for _, sn := range g.Remove {
			line(i, "remove", sn, nil)
		}
	}
}
