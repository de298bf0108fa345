package controller

import (
	"context"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/session"
)

// Watched are the kinds that Setup has watched.
func Watched() []client.Object {
	return []client.Object{&task.BackupConfiguration{}, &task.BackupBatch{}, &task.BackupSession{}, &task.RestoreSession{}, &task.RestoreBatch{},
		&task.BackupBlueprint{}, &task.Function{}, &task.Task{}, &storage.Repository{}, &appbinding.AppBinding{}, &batchv1.Job{}, &batchv1.CronJob{}}
}

// Setup adds the controllers to a manager. Each reconciles one object at a time: of two sessions that begin at once, one sees the other.
func (o *Operator) Setup(m manager.Manager) error {
	changed := builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))
	on := func(name string, fn func(context.Context, reconcile.Request) (reconcile.Result, error), object client.Object,
		more func(*builder.Builder) *builder.Builder, options ...builder.ForOption) error {
		b := builder.ControllerManagedBy(m).Named(name).For(object, options...)
		if more != nil {
			b = more(b)
		}
		return b.Complete(reconcile.Func(fn))
	}
	invoker := func(kind string) func(b *builder.Builder) *builder.Builder {
		return func(b *builder.Builder) *builder.Builder {
			return b.Owns(&batchv1.CronJob{}, changed).
				Watches(&storage.Repository{}, handler.EnqueueRequestsFromMapFunc(o.invokersOf(kind)), changed).
				Watches(&appbinding.AppBinding{}, handler.EnqueueRequestsFromMapFunc(o.invokersOf(kind)), changed)
		}
	}
	jobs := func(b *builder.Builder) *builder.Builder { return b.Owns(&batchv1.Job{}) }
	backups := func(b *builder.Builder) *builder.Builder {
		return jobs(b).Watches(&task.BackupConfiguration{}, handler.EnqueueRequestsFromMapFunc(o.waitingFor)).
			Watches(&task.BackupBatch{}, handler.EnqueueRequestsFromMapFunc(o.waitingFor))
	}
	repositories := func(b *builder.Builder) *builder.Builder {
		return b.Watches(&task.BackupConfiguration{}, handler.EnqueueRequestsFromMapFunc(repositoryOf), changed).
			Watches(&task.BackupBatch{}, handler.EnqueueRequestsFromMapFunc(repositoryOf), changed)
	}
	bindings := func(b *builder.Builder) *builder.Builder {
		return b.Watches(&task.BackupBlueprint{}, handler.EnqueueRequestsFromMapFunc(o.askingFor), changed).
			Owns(&task.BackupConfiguration{}, changed)
	}
	for _, add := range []func() error{
		func() error {
			return on("backupconfiguration", o.BackupConfiguration, &task.BackupConfiguration{}, invoker(task.KindBackupConfiguration))
		},
		func() error {
			return on("backupbatch", o.BackupBatch, &task.BackupBatch{}, invoker(task.KindBackupBatch))
		},
		func() error { return on("backupsession", o.BackupSession, &task.BackupSession{}, backups) },
		func() error { return on("restoresession", o.RestoreSession, &task.RestoreSession{}, jobs) },
		func() error { return on("restorebatch", o.RestoreBatch, &task.RestoreBatch{}, jobs) },
		func() error { return on("repository", o.Repository, &storage.Repository{}, repositories, changed) },
		func() error { return on("appbinding", o.AppBinding, &appbinding.AppBinding{}, bindings, changed) },
		func() error { return on("function", o.Function, &task.Function{}, nil, changed) },
		func() error { return on("task", o.Task, &task.Task{}, nil, changed) },
	} {
		if err := add(); err != nil {
			return err
		}
	}
	return nil
}

func request(o client.Object) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}}
}

// invokersOf are those of a kind that need a Repository or an AppBinding.
func (o *Operator) invokersOf(kind string) handler.MapFunc {
	return func(ctx context.Context, changed client.Object) []reconcile.Request {
		all, err := o.invokers(ctx)
		if err != nil {
			log.FromContext(ctx).Error(err, "invokers are not told of a change: they will see it at their next turn")
			return nil
		}
		var out []reconcile.Request
		for _, i := range all {
			needs := false
			switch c := changed.(type) {
			case *storage.Repository:
				needs = uses(i, c)
			case *appbinding.AppBinding:
				needs = slices.ContainsFunc(session.TargetsOf(i), func(r task.TargetRef) bool {
					return r.Kind == appbinding.Kind && r.Namespace == c.Namespace && r.Name == c.Name
				})
			}
			if needs && kindOf(i) == kind {
				out = append(out, request(i))
			}
		}
		return out
	}
}

// waitingFor are the sessions of an invoker that are not over.
func (o *Operator) waitingFor(ctx context.Context, changed client.Object) []reconcile.Request {
	invoker, ok := changed.(task.Object)
	if !ok {
		return nil
	}
	all, err := o.sessions(ctx, invoker.GetNamespace(), kindOf(invoker), invoker.GetName())
	if err != nil {
		log.FromContext(ctx).Error(err, "sessions are not told of a change: they will see it at their next turn")
		return nil
	}
	var out []reconcile.Request
	for i := range all {
		if !all[i].Status.Phase.Final() {
			out = append(out, request(&all[i]))
		}
	}
	return out
}

func repositoryOf(_ context.Context, changed client.Object) []reconcile.Request {
	invoker, ok := changed.(task.Object)
	if !ok {
		return nil
	}
	ref := session.RepositoryOf(invoker)
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}}}
}

// askingFor are the AppBindings that ask for a blueprint.
func (o *Operator) askingFor(ctx context.Context, changed client.Object) []reconcile.Request {
	var all appbinding.AppBindingList
	if err := o.Client.List(ctx, &all); err != nil {
		log.FromContext(ctx).Error(err, "AppBindings are not told of a change of a blueprint")
		return nil
	}
	var out []reconcile.Request
	for i := range all.Items {
		if slices.Contains(session.Blueprints(&all.Items[i]), changed.GetName()) {
			out = append(out, request(&all.Items[i]))
		}
	}
	return out
}
