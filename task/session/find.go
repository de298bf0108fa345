package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
)

// RepositoryOf names the Repository of an invoker or a restore, with its namespace.
func RepositoryOf(o task.Object) task.ObjectReference {
	var ref task.ObjectReference
	switch b := o.(type) {
	case *task.BackupConfiguration:
		ref = b.Spec.Repository
	case *task.BackupBatch:
		ref = b.Spec.Repository
	case *task.RestoreSession:
		ref = b.Spec.Repository
	case *task.RestoreBatch:
		ref = b.Spec.Repository
	}
	ref.Namespace = namespace(ref.Namespace, o)
	return ref
}

// TargetsOf are what an invoker backs up, or a restore restores into, with their namespaces.
func TargetsOf(o task.Object) []task.TargetRef {
	var out []task.TargetRef
	add := func(t *task.RestoreTarget) {
		ref := task.TargetRef{}
		if t != nil {
			ref = t.Ref
			ref.Namespace = namespace(ref.Namespace, o)
		}
		out = append(out, ref)
	}
	switch r := o.(type) {
	case *task.RestoreSession:
		add(r.Spec.Target)
	case *task.RestoreBatch:
		for i := range r.Spec.Members {
			add(r.Spec.Members[i].Target)
		}
	default:
		return targets(o)
	}
	return out
}

// Find looks for what an invoker or a restore needs. What is not there is no error: a binding is nil then. NamespaceLabels are left to the
// caller.
func Find(ctx context.Context, store task.Store, o task.Object) (Found, []*appbinding.AppBinding, error) {
	fail := func(err error) (Found, []*appbinding.AppBinding, error) {
		return Found{}, nil, fmt.Errorf("find what %v needs: %w", o, err)
	}
	f, ref := Found{}, RepositoryOf(o)
	r := new(storage.Repository)
	err := store.Get(ctx, ref.Namespace, ref.Name, r)
	// One that is being deleted is as good as gone.
	if err == nil && r.DeletionTimestamp.IsZero() {
		f.Repository = r
		if name := r.Spec.Backend.StorageSecretName; name != "" {
			_, err = store.Secret(ctx, r.Namespace, name)
			f.Secret = err == nil
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	var bindings []*appbinding.AppBinding
	for _, t := range TargetsOf(o) {
		b := new(appbinding.AppBinding)
		if err := store.Get(ctx, t.Namespace, t.Name, b); err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				return fail(err)
			}
			b = nil
		}
		f.Targets, bindings = append(f.Targets, b != nil), append(bindings, b)
	}
	return f, bindings, nil
}
