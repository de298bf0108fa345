// Operator runs backups and restores in a Kubernetes cluster: it is the operator, and what runs in the pods that the operator makes.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd := root()
	if err := cmd.ExecuteContext(ctx); err != nil {
		// On one line: it is what the operator finds in a pod that failed.
		fmt.Fprintln(os.Stderr, "operator:", strings.Join(strings.Fields(err.Error()), " "))
		return 1
	}
	return 0
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "operator",
		Short:         "Back up and restore Elasticsearch in a cluster, by the objects of Stash",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(managerCommand(), createSessionCommand(), runCommand())
	return cmd
}
