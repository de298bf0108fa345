package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/examples/operator/kube"
	"github.com/escrow-backup/escrow/metrics/push"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/elasticsearch"
	"github.com/escrow-backup/escrow/task/session"
)

// runner is what runs in the pods: the Functions of package task/elasticsearch on the API.
type runner struct {
	functions *elasticsearch.Functions
	hooks     *session.Hooks
}

// commands are what a Function's first argument can be.
func (r *runner) commands() map[string]func(context.Context, []string) error {
	return map[string]func(context.Context, []string) error{
		"backup-es":         r.functions.Backup,
		"restore-es":        r.functions.Restore,
		task.StatusFunction: r.functions.UpdateStatus,
		task.HookFunction: func(ctx context.Context, args []string) error {
			return r.hooks.RunHook(ctx, r.functions.Store, args)
		},
	}
}

func runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run {backup-es|restore-es|update-status|run-hook} [argument ...]",
		Short: "Run a Function in a pod, with the arguments of Stash's Function of this name",
		Long: `run is what the containers of Jobs do. AppBinding, Repository, session and secrets are read from the API, by the account of the pod or $KUBECONFIG, and
the statuses are stored there. The exit code is 0 only if all succeeded; the last line that is printed says why it did not.`,
		DisableFlagParsing: true, // the arguments are the Function's
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "--help" || args[0] == "-h" {
				return cmd.Help()
			}
			config, c, err := connect("")
			if err != nil {
				return fmt.Errorf("run: %w", err)
			}
			exec := &kube.Exec{Client: c, Config: config}
			r := &runner{
				functions: &elasticsearch.Functions{Store: &kube.Store{Client: c}, Mux: drivers(),
					Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))},
				hooks: &session.Hooks{Exec: exec.Run, HostOf: exec.Host},
			}
			return r.run(cmd.Context(), args)
		},
	}
}

func (r *runner) run(ctx context.Context, args []string) error {
	command := r.commands()[args[0]]
	if command == nil {
		return fmt.Errorf("run: %q is none of backup-es, restore-es, update-status, run-hook", args[0])
	}
	if url := pushgateway(args); url != "" {
		g, err := push.New(url, nil)
		if err != nil {
			return fmt.Errorf("--metrics-pushgateway-url: %w", err)
		}
		r.functions.Metrics = g
	}
	return command(ctx, args[1:])
}

// pushgateway is the URL that the arguments give.
func pushgateway(args []string) string {
	const flag = "--metrics-pushgateway-url"
	url := ""
	for i, arg := range args {
		if v, found := strings.CutPrefix(arg, flag+"="); found {
			url = v
		} else if arg == flag && i+1 < len(args) {
			url = args[i+1]
		}
	}
	return url
}
