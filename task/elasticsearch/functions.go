package elasticsearch

import (
	"context"
	"log/slog"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/task"
)

// Functions are the Functions, and what they need. Store and Mux are required.
type Functions struct {
	// Store has the AppBinding, the Repository, their secrets and the session.
	Store task.Store
	// Mux opens the backend of the repository.
	Mux *backend.Mux

	// Connect makes a client of the cluster. Default: as the AppBinding says.
	Connect func(context.Context, *appbinding.AppBinding) (elastictransport.Interface, error)
	// Metrics takes what is measured; default: nobody. Names are those of the metrics.
	Metrics metrics.Sink
	Names   metrics.Names
	// Repository are options of the repository; its Cache is set from the arguments.
	Repository repository.Options
	// Path says where a path in the arguments lies on this machine; default: there.
	Path   func(string) string
	Now    func() time.Time // default: time.Now
	Logger *slog.Logger     // default: none
}

func (f *Functions) path(p string) string {
	if f.Path != nil {
		return f.Path(p)
	}
	return p
}

func (f *Functions) now() time.Time {
	if f.Now != nil {
		return f.Now()
	}
	return time.Now()
}

func (f *Functions) log() *slog.Logger {
	if f.Logger != nil {
		return f.Logger
	}
	return slog.New(slog.DiscardHandler)
}

func (f *Functions) sink() metrics.Sink {
	if f.Metrics != nil {
		return f.Metrics
	}
	return metrics.Discard
}

// Bind is what a task.Runner needs to run the Tasks of this package in the process.
func (f *Functions) Bind() map[string]task.Func {
	bind := func(run func(*Functions, context.Context, []string) error) task.Func {
		return func(ctx context.Context, c *task.Call) error {
			here := *f
			here.Path = c.Path
			return run(&here, ctx, c.Args[min(1, len(c.Args)):])
		}
	}
	return map[string]task.Func{
		BackupFunction:  bind((*Functions).Backup),
		RestoreFunction: bind((*Functions).Restore),
		task.StatusFunction: func(ctx context.Context, c *task.Call) error {
			here := *f
			here.Path = c.Path
			return here.updateStatus(ctx, c.Args[min(1, len(c.Args)):], c.Failed)
		},
	}
}

func (f *Functions) connect(ctx context.Context, a *location) (elastictransport.Interface, error) {
	b := new(appbinding.AppBinding)
	if err := f.Store.Get(ctx, a.bindingNamespace, a.binding, b); err != nil {
		return nil, err
	}
	if f.Connect != nil {
		return f.Connect(ctx, b)
	}
	return b.Connect(ctx, f.Store, &appbinding.ConnectOptions{WaitTimeout: time.Duration(a.waitTimeout) * time.Second})
}
