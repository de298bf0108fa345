package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/repository"
)

type migrateSummary struct {
	MessageType string `json:"message_type"`
	DryRun      bool   `json:"dry_run"`
	From        int    `json:"from"`
	To          int    `json:"to"`
}

func (a *app) migrateCommand() *cobra.Command {
	var keep string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Change a repository of version 1 to version 2, which compresses",
		Long: `migrate changes the repository's config to version 2. Data that is stored stays as it is; prune --repack-uncompressed compresses
it. The new config is first written to the file --keep-config, which must not exist: if the program is killed in the moment in
which the repository has no config, put that file into its place. Run check first.

JSON: one line {"message_type":"summary","dry_run":b,"from":n,"to":n}.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if keep == "" && !dryRun {
				return usagef("where to keep the new config? give --keep-config")
			}
			return a.withRepo(cmd.Context(), func(repo *repository.Repo) error {
				from := repo.Version()
				if from == 2 {
					a.out.textf("nothing to do: version 2\n")
				} else {
					a.out.textf("change the repository from version %d to version 2\n", from)
				}
				if !dryRun {
					err := repo.Migrate(cmd.Context(), func(config []byte) error { return writeNew(keep, config) })
					if err != nil {
						return err
					}
				}
				a.out.object(migrateSummary{"summary", dryRun, from, 2})
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&keep, "keep-config", "", "`FILE` to keep the new config in")
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "say what would be done, change nothing")
	return cmd
}

// writeNew writes a file that does not exist, and makes sure that it is on the disk.
func writeNew(name string, p []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(p)
	if err == nil {
		err = f.Sync()
	}
	if err = closed(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
