package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/repository"
)

type keyLine struct {
	MessageType string    `json:"message_type"`
	ID          string    `json:"id"`
	InUse       bool      `json:"in_use"`
	Created     time.Time `json:"created"`
	Hostname    string    `json:"hostname"`
	Username    string    `json:"username"`
	Error       string    `json:"error"`
}

type keySummary struct {
	MessageType string `json:"message_type"`
	Action      string `json:"action"`
	ID          string `json:"id"`
}

func (a *app) keyCommand() *cobra.Command {
	key := &cobra.Command{
		Use:   "key list | add | remove | passwd",
		Short: "List, add and remove keys, and change the password",
		Long: `key manages the keys of the repository. Each is opened by its own password; all open the same data.

JSON: list gives one {"message_type":"key","id":...,"in_use":b,"created":...,"hostname":...,"username":...,"error":...} a key;
the others one line {"message_type":"summary","action":"added", "removed", "would be removed" or "changed","id":...}.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usagef("key what? list, add, remove or passwd") },
	}
	key.AddCommand(a.keyListCommand(), a.keyRemoveCommand())
	for _, c := range []struct{ use, action, help, long string }{
		{"add", "added", "Add a key that another password opens", "add makes a key that the password in --new-password-file opens."},
		{"passwd", "changed", "Change the password", `passwd adds a key that the password in --new-password-file opens, and then removes the one that the present password
opened. Whoever has a copy of the old key file and its password can still read the repository.`},
	} {
		var file string
		var o repository.KeyOptions
		cmd := &cobra.Command{
			Use: c.use, Short: c.help, Long: c.long, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				if file == "" {
					return usagef("no new password: give --new-password-file")
				}
				return a.withRepo(cmd.Context(), func(repo *repository.Repo) error {
					pw, err := a.passwordIn(file)
					if err != nil {
						return err
					}
					do := repo.AddKey
					if c.action == "changed" {
						do = repo.ChangePassword
					}
					id, err := do(cmd.Context(), pw, &o)
					if err != nil {
						return err
					}
					a.keyDone(c.action, id.String())
					return nil
				})
			},
		}
		cmd.Flags().StringVar(&file, "new-password-file", "", "`FILE` with the new password, - for standard input")
		cmd.Flags().StringVar(&o.Hostname, "host", "", "`HOST` that the key is noted to be of (default: this one)")
		cmd.Flags().StringVar(&o.Username, "user", "", "`USER` that the key is noted to be of (default: $USER)")
		key.AddCommand(cmd)
	}
	return key
}

// passwordIn reads a further password, as --password-file does.
func (a *app) passwordIn(file string) (repository.Password, error) {
	b := *a
	b.passwordFile = file
	return b.password()
}

func (a *app) keyDone(action, id string) {
	a.out.object(keySummary{"summary", action, id})
	if !a.quiet {
		a.out.textf("%s key %.8s\n", action, id)
	}
}

func (a *app) keyListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the keys", Args: cobra.NoArgs,
		Long: "list lists the keys; the one that the given password opened is marked with a star.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withRepo(cmd.Context(), func(repo *repository.Repo) error {
				table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
				if !a.quiet && !a.out.json {
					fmt.Fprintln(table, " ID\tCREATED\tHOST\tUSER")
				}
				for k, err := range repo.Keys(cmd.Context()) {
					if err != nil {
						return err
					}
					line := keyLine{"key", k.ID.String(), k.InUse, k.Created, k.Hostname, k.Username, ""}
					if k.Err != nil {
						line.Error = oneLine(k.Err)
					}
					a.out.object(line)
					mark := " "
					if k.InUse {
						mark = "*"
					}
					created := k.Created.Local().Format(time.DateTime)
					if k.Err != nil {
						created = "damaged"
					}
					if !a.out.json {
						fmt.Fprintf(table, "%s%s\t%s\t%s\t%s\n", mark, short(k.ID), created, k.Hostname, k.Username)
					}
				}
				if err := table.Flush(); err != nil {
					return fmt.Errorf("write to standard output: %w", err)
				}
				return nil
			})
		},
	}
}

func (a *app) keyRemoveCommand() *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use: "remove ID", Short: "Remove a key", Args: cobra.ExactArgs(1),
		Long: `remove removes a key, named by its id or the beginning of it, and says before whose it is. It refuses the one that the given
password opened.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.withRepo(ctx, func(repo *repository.Repo) error {
				k, err := repo.Key(ctx, args[0])
				if err != nil {
					return err
				}
				if !a.quiet {
					a.out.textf("key %s, made by %q on %q at %s\n", short(k.ID), k.Username, k.Hostname, k.Created.Local().Format(time.DateTime))
				}
				action := "would be removed"
				switch {
				case !dryRun:
					action = "removed"
					err = repo.RemoveKey(ctx, k.ID.String())
				case k.InUse:
					err = fmt.Errorf("remove key %s: the repository was opened with it", short(k.ID))
				}
				if err != nil {
					return err
				}
				a.keyDone(action, k.ID.String())
				return nil
			})
		},
	}
	cmd.Flags().BoolVarP(&dryRun, "dry-run", "n", false, "say which key it is, remove nothing")
	return cmd
}
