package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/repository"
)

type lockLine struct {
	MessageType string    `json:"message_type"`
	ID          string    `json:"id"`
	Time        time.Time `json:"time"`
	Exclusive   bool      `json:"exclusive"`
	Hostname    string    `json:"hostname"`
	Username    string    `json:"username"`
	PID         int       `json:"pid"`
	Reason      string    `json:"reason"`
}

type unlockSummary struct {
	MessageType string `json:"message_type"`
	DryRun      bool   `json:"dry_run"`
	Removed     int    `json:"removed"`
}

func (a *app) unlockCommand() *cobra.Command {
	var o repository.UnlockOptions
	cmd := &cobra.Command{
		Use:   "unlock",
		Short: "Remove locks that nobody holds any more",
		Long: `unlock removes the locks of which it is certain that nobody holds them: not refreshed for half an hour, or of a process of
this host that is gone. Other commands do so with a lock that is in their way, so it is seldom needed. --remove-all
removes every lock, also one that is held: for when you know that no program is at work.

JSON: one {"message_type":"lock","id":...,"time":...,"exclusive":b,"hostname":...,"username":...,"pid":n,"reason":...} a lock that is
removed; last line {"message_type":"summary","dry_run":b,"removed":n}.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return a.withRepo(ctx, func(repo *repository.Repo) error {
				removed, err := repo.Unlock(ctx, &o)
				for _, l := range removed {
					a.out.object(lockLine{"lock", l.ID.String(), l.Time, l.Exclusive, l.Hostname, l.Username, l.PID, l.Reason})
					if !a.quiet {
						a.out.textf("%v\n", l)
					}
				}
				if err != nil {
					return err
				}
				a.out.object(unlockSummary{"summary", o.DryRun, len(removed)})
				if !a.quiet {
					did := "removed"
					if o.DryRun {
						did = "would remove"
					}
					a.out.textf("%s %s\n", did, count(int64(len(removed)), "lock", "locks"))
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&o.All, "remove-all", false, "remove all locks, also those that are held")
	cmd.Flags().BoolVarP(&o.DryRun, "dry-run", "n", false, "print what would be removed, remove nothing")
	return cmd
}
