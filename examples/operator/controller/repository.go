package controller

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/session"
)

// Repository reconciles one: its status says who uses it, and when it is deleted, its metrics go, and with wipeOut all that it holds.
func (o *Operator) Repository(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	return settle(o.repository(ctx, req))
}

func (o *Operator) repository(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	r := new(storage.Repository)
	if found, err := o.get(ctx, req.Namespace, req.Name, r); err != nil || !found {
		return reconcile.Result{}, err
	}
	if !r.DeletionTimestamp.IsZero() {
		return o.endRepository(ctx, r)
	}
	if err := o.finalize(ctx, r, r.Spec.WipeOut || o.Config.Pushgateway != ""); err != nil {
		return reconcile.Result{}, err
	}
	users, err := o.users(ctx, r)
	if err != nil {
		return reconcile.Result{}, err
	}
	before := r.Status.References
	r.Status.References = users
	return reconcile.Result{}, o.save(ctx, r, before, users)
}

// invokers are all of the cluster.
func (o *Operator) invokers(ctx context.Context) ([]task.Object, error) {
	var confs task.BackupConfigurationList
	if err := o.Client.List(ctx, &confs); err != nil {
		return nil, err
	}
	var batches task.BackupBatchList
	if err := o.Client.List(ctx, &batches); err != nil {
		return nil, err
	}
	var out []task.Object
	for i := range confs.Items {
		out = append(out, &confs.Items[i])
	}
	for i := range batches.Items {
		out = append(out, &batches.Items[i])
	}
	return out, nil
}

func kindOf(invoker task.Object) string {
	if _, ok := invoker.(*task.BackupBatch); ok {
		return task.KindBackupBatch
	}
	return task.KindBackupConfiguration
}

func uses(object task.Object, r *storage.Repository) bool {
	return session.RepositoryOf(object) == task.ObjectReference{Namespace: r.Namespace, Name: r.Name}
}

// users are the invokers that name the Repository, in the order of their names.
func (o *Operator) users(ctx context.Context, r *storage.Repository) ([]storage.ObjectReference, error) {
	all, err := o.invokers(ctx)
	if err != nil {
		return nil, fmt.Errorf("who uses %v: %w", r, err)
	}
	var out []storage.ObjectReference
	for _, i := range all {
		if uses(i, r) && i.GetDeletionTimestamp().IsZero() {
			out = append(out, storage.ObjectReference{APIGroup: task.GroupVersion.Group, Kind: kindOf(i), Namespace: i.GetNamespace(), Name: i.GetName()})
		}
	}
	slices.SortFunc(out, func(a, b storage.ObjectReference) int {
		return strings.Compare(a.Namespace+"/"+a.Name+"/"+a.Kind, b.Namespace+"/"+b.Name+"/"+b.Kind)
	})
	return out, nil
}

// busy names a session that works on the Repository now; empty if there is none.
func (o *Operator) busy(ctx context.Context, r *storage.Repository) (string, error) {
	invokers, err := o.invokers(ctx)
	if err != nil {
		return "", err
	}
	var backups task.BackupSessionList
	if err := o.Client.List(ctx, &backups); err != nil {
		return "", err
	}
	for i := range backups.Items {
		s := &backups.Items[i]
		of := func(o task.Object) bool {
			return o.GetNamespace() == s.Namespace && o.GetName() == s.Spec.Invoker.Name && kindOf(o) == s.Spec.Invoker.Kind && uses(o, r)
		}
		if s.Status.Phase == task.SessionRunning && slices.ContainsFunc(invokers, of) {
			return s.String(), nil
		}
	}
	var restores task.RestoreSessionList
	if err := o.Client.List(ctx, &restores); err != nil {
		return "", err
	}
	for i := range restores.Items {
		if s := &restores.Items[i]; s.Status.Phase == task.SessionRunning && uses(s, r) {
			return s.String(), nil
		}
	}
	var batches task.RestoreBatchList
	if err := o.Client.List(ctx, &batches); err != nil {
		return "", err
	}
	for i := range batches.Items {
		if b := &batches.Items[i]; b.Status.Phase == task.SessionRunning && uses(b, r) {
			return b.String(), nil
		}
	}
	return "", nil
}

func (o *Operator) endRepository(ctx context.Context, r *storage.Repository) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(r, Finalizer) {
		return reconcile.Result{}, nil
	}
	if r.Spec.WipeOut {
		who, err := o.busy(ctx, r)
		if err != nil {
			return reconcile.Result{}, err
		}
		if who != "" {
			o.warn(r, "StillInUse", "WipeOut", who+" is still running.")
			return reconcile.Result{RequeueAfter: waiting}, nil
		}
		if err := o.wipe(ctx, r); err != nil {
			o.warn(r, "NotWipedOut", "WipeOut", oneLine(err.Error()))
			return reconcile.Result{}, err
		}
	}
	return reconcile.Result{}, o.forget(ctx, r, metrics.Group("repository", r.Namespace, r.Name))
}

// wipe removes the files of the repository, and nothing else that lies there: the keys last, so that what is left of it when this
// is interrupted can still be opened.
func (o *Operator) wipe(ctx context.Context, r *storage.Repository) (err error) {
	if r.Spec.Backend.Local != nil {
		// The volume is known to pods only. To hold the object for ever would help nobody.
		o.warn(r, "NotWipedOut", "WipeOut", "What lies on a volume cannot be removed from here.")
		return nil
	}
	files, err := r.Backend(ctx, o.Mux, o.store())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("wipe out %v: %w; without its secret it stays, unless spec.wipeOut is taken back", r, err)
	}
	if err != nil {
		return fmt.Errorf("wipe out %v: %w", r, err)
	}
	defer func() { err = errors.Join(err, files.Close()) }()
	for _, t := range []backend.FileType{backend.Snapshot, backend.Index, backend.Pack, backend.Lock, backend.Config, backend.Key} {
		var handles []backend.Handle
		for f, err := range files.List(ctx, t) {
			if err != nil {
				return fmt.Errorf("wipe out %v: %w", r, err)
			}
			handles = append(handles, f.Handle)
		}
		for _, h := range handles {
			if err := files.Remove(ctx, h); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("wipe out %v: %w", r, err)
			}
		}
	}
	return nil
}
