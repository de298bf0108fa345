package kube

import (
	"context"
	"errors"
	"io/fs"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/elasticsearch"
)

// Lookup finds Tasks and Functions in the cluster. Where it has none of the name, the one without the version at the end of the name is as good, such
// as elasticsearch-backup for elasticsearch-backup-8.2.0: one program does for all versions. What nobody has installed is built in.
type Lookup struct {
	Client client.Client
}

var _ task.Lookup = (*Lookup)(nil)

// Task implements task.Lookup.
func (l *Lookup) Task(ctx context.Context, name string) (*task.Task, error) {
	return find(ctx, l, name, new(task.Task), (*task.Catalog).Task)
}

// Function implements task.Lookup.
func (l *Lookup) Function(ctx context.Context, name string) (*task.Function, error) {
	return find(ctx, l, name, new(task.Function), (*task.Catalog).Function)
}

func find[T task.Object](ctx context.Context, l *Lookup, name string, into T, builtIn func(*task.Catalog, context.Context, string) (T, error)) (T, error) {
	store := &Store{Client: l.Client}
	first := store.Get(ctx, "", name, into)
	if first == nil || !errors.Is(first, fs.ErrNotExist) {
		return into, first
	}
	short := task.WithoutVersion(name)
	if short != name {
		if err := store.Get(ctx, "", short, into); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return into, err
		}
	}
	if o, err := builtIn(task.NewCatalog(elasticsearch.Objects("")...), ctx, short); err == nil {
		return o, nil
	}
	return into, first
}
