package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/escrow-backup/escrow/examples/operator/controller"
	"github.com/escrow-backup/escrow/examples/operator/kube"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/session"
)

func createSessionCommand() *cobra.Command {
	var kubeconfig, namespace, kind, name string
	cmd := &cobra.Command{
		Use:   "create-session",
		Short: "Make a BackupSession: what a schedule does when it is due",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, c, err := connect(kubeconfig)
			if err != nil {
				return fmt.Errorf("create-session: %w", err)
			}
			s, err := createSession(cmd.Context(), c, namespace, kind, name, due(os.Getenv(controller.EnvJobName), time.Now()))
			if err != nil {
				return fmt.Errorf("create-session: %w", err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), s)
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&kubeconfig, "kubeconfig", "", kubeconfigUsage)
	flags.StringVar(&namespace, "namespace", "default", "`NAMESPACE` of the invoker")
	flags.StringVar(&kind, "invoker-kind", task.KindBackupConfiguration, "`KIND` of the invoker, or BackupBatch")
	flags.StringVar(&name, "invoker-name", "", "`NAME` of the invoker")
	return cmd
}

// due is when the Job of a CronJob was due: its name ends in the minute. So a pod that is tried again makes no second session. Another Job, made by
// hand, is due now.
func due(job string, now time.Time) time.Time {
	minutes, err := strconv.ParseInt(job[strings.LastIndex(job, "-")+1:], 10, 64)
	at := time.Unix(minutes*60, 0)
	if err != nil || now.Sub(at).Abs() > 24*time.Hour {
		return now
	}
	return at
}

func createSession(ctx context.Context, c client.Client, namespace, kind, name string, at time.Time) (*task.BackupSession, error) {
	var invoker task.Object
	switch kind {
	case task.KindBackupConfiguration:
		invoker = new(task.BackupConfiguration)
	case task.KindBackupBatch:
		invoker = new(task.BackupBatch)
	default:
		return nil, fmt.Errorf("--invoker-kind %q is neither %s nor %s", kind, task.KindBackupConfiguration, task.KindBackupBatch)
	}
	if err := (&kube.Store{Client: c}).Get(ctx, namespace, name, invoker); err != nil {
		return nil, err
	}
	s, err := session.New(invoker, at, false)
	if err != nil {
		return nil, err
	}
	return s, client.IgnoreAlreadyExists(c.Create(ctx, s))
}
