package controller

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/escrow-backup/escrow/task"
)

// Function tells of one that cannot be used. Sessions that need it fail, and say so too: this is before.
func (o *Operator) Function(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	return o.checked(ctx, req, new(task.Function))
}

// Task tells of one that cannot be used.
func (o *Operator) Task(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	return o.checked(ctx, req, new(task.Task))
}

func (o *Operator) checked(ctx context.Context, req reconcile.Request, object task.Object) (reconcile.Result, error) {
	found, err := o.get(ctx, "", req.Name, object)
	if err == nil && found {
		if err := object.Validate(); err != nil {
			o.warn(object, "Invalid", "Validate", oneLine(err.Error()))
		}
	}
	return reconcile.Result{}, err
}
