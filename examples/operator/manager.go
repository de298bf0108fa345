package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/escrow-backup/escrow/examples/operator/controller"
	"github.com/escrow-backup/escrow/examples/operator/kube"
	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/metrics/push"
)

type managerFlags struct {
	kubeconfig, metricsAddress, probeAddress string
	leaderElect                              bool
	leaderNamespace, watch                   string
	debug, longNames                         bool
	config                                   controller.Config
}

func managerCommand() *cobra.Command {
	f := &managerFlags{}
	cmd := &cobra.Command{
		Use:   "manager",
		Short: "Watch the objects and make of them what has to be there",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return manage(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", kubeconfigUsage)
	flags.StringVar(&f.metricsAddress, "metrics-bind-address", ":8080", "`ADDRESS` of the operator's own metrics; 0: none")
	flags.StringVar(&f.probeAddress, "health-probe-bind-address", ":8081", "`ADDRESS` of /healthz and /readyz; 0: none")
	flags.BoolVar(&f.leaderElect, "leader-elect", false, "work only while no other replica does")
	flags.StringVar(&f.leaderNamespace, "namespace", "", "`NAMESPACE` of the operator, for the lease of the leader (default: the pod's own)")
	flags.StringVar(&f.watch, "watch-namespace", "", "`NAMESPACE` to work in (default: all)")
	flags.StringVar(&f.config.Image, "image", "", "`IMAGE` of Jobs: that of this program")
	flags.StringVar(&f.config.Program, "runner-command", "/operator", "`PATH` of this program in that image")
	flags.StringVar(&f.config.Pushgateway, "pushgateway-url", "", "`URL` of a Pushgateway for metrics (default: none are pushed)")
	flags.BoolVar(&f.longNames, "long-metric-names", false, "names of metrics as newer versions of Stash have them")
	flags.BoolVar(&f.config.EphemeralVolumes, "ephemeral-interim-volumes", false, "make interim volumes parts of the pods")
	flags.StringVar(&f.config.RunnerAccount, "runner-account", controller.RunnerRole, "`NAME` of the service account of backups and restores")
	flags.StringVar(&f.config.CreatorAccount, "session-creator-account", controller.CreatorRole, "`NAME` of the service account of schedules")
	flags.BoolVar(&f.debug, "debug", false, "log more")
	return cmd
}

func manage(ctx context.Context, f *managerFlags) error {
	if f.config.Image == "" {
		return fmt.Errorf("manager: --image is required")
	}
	if f.longNames {
		f.config.Names = metrics.LongNames
	}
	level := slog.LevelInfo
	if f.debug {
		level = slog.LevelDebug
	}
	logger := logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)
	config, err := restConfig(f.kubeconfig)
	if err != nil {
		return fmt.Errorf("manager: %w", err)
	}
	m, err := newManager(config, f, logger)
	if err != nil {
		return fmt.Errorf("manager: %w", err)
	}
	if err := m.Start(ctx); err != nil {
		return fmt.Errorf("manager: %w", err)
	}
	return nil
}

func newManager(config *rest.Config, f *managerFlags, logger logr.Logger) (manager.Manager, error) {
	scheme, err := kube.Scheme()
	if err != nil {
		return nil, err
	}
	o := ctrl.Options{
		Scheme: scheme, Logger: logger,
		Metrics:                metricsserver.Options{BindAddress: f.metricsAddress},
		HealthProbeBindAddress: f.probeAddress,
		LeaderElection:         f.leaderElect, LeaderElectionID: "escrow-operator", LeaderElectionNamespace: f.leaderNamespace,
		// It ends when the lease is given back, and nothing of it may go on.
		LeaderElectionReleaseOnCancel: true,
		// Decisions are made on what is there, not on what was: caches only tell when to look. They hold no secrets, which are not watched.
		NewClient: func(config *rest.Config, o client.Options) (client.Client, error) {
			o.Cache = nil
			return client.New(config, o)
		},
		Cache: cache.Options{ReaderFailOnMissingInformer: true},
	}
	if f.watch != "" {
		o.Cache.DefaultNamespaces = map[string]cache.Config{f.watch: {}}
	}
	m, err := ctrl.NewManager(config, o)
	if err != nil {
		return nil, err
	}
	op := &controller.Operator{Client: m.GetClient(), Config: f.config, Mux: drivers(), Events: m.GetEventRecorder("escrow-operator")}
	if url := f.config.Pushgateway; url != "" {
		if _, err := push.New(url, nil); err != nil {
			return nil, fmt.Errorf("--pushgateway-url: %w", err)
		}
		op.Metrics = func() (metrics.Sink, error) { return push.New(url, nil) }
	}
	if err := op.Setup(m); err != nil {
		return nil, err
	}
	for _, add := range []func(string, healthz.Checker) error{m.AddHealthzCheck, m.AddReadyzCheck} {
		if err := add("ping", healthz.Ping); err != nil {
			return nil, err
		}
	}
	return m, nil
}
