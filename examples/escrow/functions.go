package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/metrics/push"
	"github.com/escrow-backup/escrow/secret"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/elasticsearch"
	"github.com/escrow-backup/escrow/task/session"
)

// cut takes --name=value and --name value out of args. The last one counts.
func cut(args []string, name, value string) (string, []string) {
	var rest []string
	for i := 0; i < len(args); i++ {
		v, found := strings.CutPrefix(args[i], "--"+name+"=")
		switch {
		case found:
			value = v
		case args[i] == "--"+name && i+1 < len(args):
			i++
			value = args[i]
		default:
			rest = append(rest, args[i])
		}
	}
	return value, rest
}

// function is a command that takes the arguments of one of Stash's Functions.
func (a *app) function(use, short, about string, run func(*elasticsearch.Functions, context.Context, []string) error) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Long: about + `

It takes the arguments of Stash's Function of this name, and besides
  --objects DIR   the AppBinding, Repository and session that the arguments name, a YAML file each (default $ESCROW_OBJECTS)
  --secrets DIR   the secrets that these name: DIR/NAMESPACE/NAME/KEY or DIR/NAME/KEY (default $ESCROW_SECRETS)

Everything that the command says goes to standard error. The exit code is 0 only if all succeeded.`,
		DisableFlagParsing: true, // Stash's arguments are not those of the other commands
		RunE: func(cmd *cobra.Command, args []string) error {
			objects, args := cut(args, "objects", a.env("ESCROW_OBJECTS"))
			secrets, args := cut(args, "secrets", a.env("ESCROW_SECRETS"))
			gateway, _ := cut(args, "metrics-pushgateway-url", "")
			for _, arg := range args {
				if arg == "--help" || arg == "-h" {
					return cmd.Help()
				}
			}
			if objects == "" || secrets == "" {
				return usagef("--objects and --secrets are required")
			}
			f := &elasticsearch.Functions{Store: task.NewDirStore(objects, secret.Dir(secrets)), Mux: a.drivers(),
				Logger: slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
			if gateway != "" {
				g, err := push.New(gateway, nil)
				if err != nil {
					return usagef("--metrics-pushgateway-url: %v", err)
				}
				f.Metrics = g
			}
			err := run(f, cmd.Context(), args)
			var usage *elasticsearch.UsageError
			if errors.As(err, &usage) {
				return usagef("%v", usage)
			}
			return err
		},
	}
}

func (a *app) backupESCommand() *cobra.Command {
	return a.function("backup-es", "Back up as Stash's Function elasticsearch-backup",
		`backup-es backs up the cluster of an AppBinding into a repository, which it makes if there is none, applies the retention policy and checks the
repository. It writes output.json into --output-dir for update-status, also when it fails.

Of --es-args, what is for multielasticdump, --match, --ignoreType=template, --includeType and --concurrency mean something; arguments without
effect are named, and those that would back up a part of the documents are refused.`, (*elasticsearch.Functions).Backup)
}

func (a *app) restoreESCommand() *cobra.Command {
	return a.function("restore-es", "Restore as Stash's Function elasticsearch-restore",
		`restore-es brings snapshots back into the cluster of an AppBinding: those of --snapshot, or the latest of --source-hostname. What exists is left
alone, and an error, unless --conflict says skip, replace or merge; --include and --exclude choose indices. It writes output.json.`, (*elasticsearch.Functions).Restore)
}

func (a *app) updateStatusCommand() *cobra.Command {
	return a.function("update-status", "Set the status of a session as Stash's Function of this name",
		`update-status reads output.json in --output-dir, sets the status of the session and of the Repository, and pushes metrics to
--metrics-pushgateway-url.`, (*elasticsearch.Functions).UpdateStatus)
}

func (a *app) runHookCommand() *cobra.Command {
	return a.function("run-hook", "Execute the hooks of a session",
		`run-hook executes those hooks of a session that run before its Functions (--hook-type preBackup, preRestore) or after them (postBackup,
postRestore): HTTP requests and TCP connections. Commands in the target's containers need a program that is let into them.`,
		func(f *elasticsearch.Functions, ctx context.Context, args []string) error {
			return new(session.Hooks).RunHook(ctx, f.Store, args)
		})
}
