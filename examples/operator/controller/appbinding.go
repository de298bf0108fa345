package controller

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/session"
)

// labelBlueprint is on what was made of a blueprint.
const labelBlueprint = "stash.appscode.com/blueprint"

// AppBinding reconciles one: what its annotations ask for is there, and what they do not ask for any more is not. A Repository stays: backups outlive
// what was backed up.
func (o *Operator) AppBinding(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	return settle(reconcile.Result{}, o.blueprints(ctx, req))
}

func (o *Operator) blueprints(ctx context.Context, req reconcile.Request) error {
	b := new(appbinding.AppBinding)
	found, err := o.get(ctx, req.Namespace, req.Name, b)
	if err != nil {
		return err
	}
	wanted := map[string]bool{} // namespace/name of BackupConfigurations
	complete := true
	if found && b.DeletionTimestamp.IsZero() {
		for _, name := range session.Blueprints(b) {
			key, err := o.blueprint(ctx, b, name)
			if err != nil {
				o.warn(b, "AutoBackupFailed", "AutoBackup", oneLine(err.Error()))
				return err
			}
			complete = complete && key != ""
			wanted[key] = true
		}
	}
	if !complete {
		return nil // what is there is left alone while it is not known what should be
	}
	var confs task.BackupConfigurationList
	if err := o.Client.List(ctx, &confs, client.HasLabels{labelBlueprint}); err != nil {
		return err
	}
	for i := range confs.Items {
		c := &confs.Items[i]
		targets := session.TargetsOf(c)
		of := slices.ContainsFunc(targets, func(r task.TargetRef) bool {
			return r.Kind == appbinding.Kind && r.Namespace == req.Namespace && r.Name == req.Name
		})
		if of && !wanted[c.Namespace+"/"+c.Name] {
			if err := o.remove(ctx, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// blueprint makes what one blueprint says, and gives the name of the BackupConfiguration; empty if it cannot be made as things are, which the user
// is told.
func (o *Operator) blueprint(ctx context.Context, b *appbinding.AppBinding, name string) (string, error) {
	bp := new(task.BackupBlueprint)
	found, err := o.get(ctx, "", name, bp)
	if err != nil {
		return "", err
	}
	if !found {
		o.warn(b, "AutoBackupFailed", "AutoBackup", "There is no BackupBlueprint "+name+".")
		return "", nil
	}
	repo, conf, err := session.FromBlueprint(bp, b)
	if err != nil {
		o.warn(b, "AutoBackupFailed", "AutoBackup", oneLine(err.Error()))
		return "", nil
	}
	if conf.Namespace == b.Namespace {
		if err := controllerutil.SetControllerReference(b, conf, o.Client.Scheme()); err != nil {
			return "", err
		}
	}
	there := new(storage.Repository)
	spec := repo.Spec
	if err := o.made(ctx, repo, there, func() bool {
		same := equality.Semantic.DeepEqual(there.Spec, spec)
		there.Spec = spec
		return same
	}); err != nil {
		return "", err
	}
	before := new(task.BackupConfiguration)
	wanted := conf.Spec
	key := conf.Namespace + "/" + conf.Name
	return key, o.made(ctx, conf, before, func() bool {
		same := equality.Semantic.DeepDerivative(wanted, before.Spec) // the server has filled in defaults
		before.Spec = wanted
		return same
	})
}

// made sees to it that what follows from a blueprint is there. What has its name and follows from none is the user's, and left alone.
func (o *Operator) made(ctx context.Context, wanted, there client.Object, change func() (same bool)) error {
	hash, err := hashOf(wanted)
	if err != nil {
		return err
	}
	wanted.SetAnnotations(map[string]string{annotationHash: hash})
	found, err := o.get(ctx, wanted.GetNamespace(), wanted.GetName(), there)
	if err != nil {
		return err
	}
	if !found {
		return o.Client.Create(ctx, wanted)
	}
	if there.GetLabels()[labelBlueprint] == "" {
		return &foreignError{there}
	}
	if change() && there.GetAnnotations()[annotationHash] == hash {
		return nil
	}
	annotations := there.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[annotationHash] = hash
	there.SetAnnotations(annotations)
	return o.Client.Update(ctx, there)
}
