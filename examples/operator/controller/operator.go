package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/examples/operator/kube"
	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/session"
)

// Finalizer is on objects that leave something to do when they are deleted: metrics, or what a Repository holds.
const Finalizer = "escrow.dev/cleanup"

// The ClusterRoles that pods get, in the namespaces that they need, by RoleBindings.
const (
	RunnerRole  = "escrow-runner"
	ExecRole    = "escrow-runner-exec"
	CreatorRole = "escrow-session-creator"
)

// How often what no watch tells of is looked at: secrets, and what an invoker waits for.
const (
	waiting = 10 * time.Second
	resync  = 2 * time.Minute
	polling = 30 * time.Second
)

// Config is how an operator is set up. Image is required.
type Config struct {
	// Image of Jobs: ADDON_IMAGE.
	Image string
	// Program in the image, which has the subcommands run and create-session. It is the command of containers whose Function names none and whose
	// image is Image. Default: "/operator".
	Program string
	// Pushgateway is the URL for metrics; default: none are pushed.
	Pushgateway string
	Names       metrics.Names
	// RunnerAccount and CreatorAccount are the ServiceAccounts of Jobs, made where they are needed. Default: RunnerRole and CreatorRole.
	RunnerAccount, CreatorAccount string
	// EphemeralVolumes makes interim volumes part of the pods.
	EphemeralVolumes bool
}

// Operator reconciles. Client, which is not to answer from a cache, and Mux are required.
type Operator struct {
	Client client.Client
	Config Config
	// Mux opens the backends of Repositories to empty.
	Mux *backend.Mux
	// Events takes what the user should know; default: nobody.
	Events events.EventRecorder
	// Metrics makes a sink for what is pushed at once; default: none is.
	Metrics func() (metrics.Sink, error)
	Now     func() time.Time // default: time.Now
}

func (o *Operator) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

func (o *Operator) store() *kube.Store { return &kube.Store{Client: o.Client} }

func (o *Operator) sink() (metrics.Sink, error) {
	if o.Metrics == nil {
		return metrics.Discard, nil
	}
	return o.Metrics()
}

func (o *Operator) catalogue() *metrics.Catalogue { return metrics.NewCatalogue(o.Config.Names) }

// warn tells the user of the object. Events are repeated by those who show them, so that it may be said again.
func (o *Operator) warn(about client.Object, reason, action, note string) {
	if o.Events != nil {
		o.Events.Eventf(about, nil, corev1.EventTypeWarning, reason, action, "%s", note[:min(len(note), 1000)])
	}
}

// get reads an object; found is false if there is none.
func (o *Operator) get(ctx context.Context, namespace, name string, into client.Object) (found bool, err error) {
	err = o.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, into)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// remove deletes the object if it is still the one that was read, and what it owns with it, in the background.
func (o *Operator) remove(ctx context.Context, object client.Object) error {
	if !object.GetDeletionTimestamp().IsZero() {
		return nil
	}
	uid := object.GetUID()
	return client.IgnoreNotFound(o.Client.Delete(ctx, object, client.PropagationPolicy(metav1.DeletePropagationBackground),
		client.Preconditions{UID: &uid}))
}

// create makes the object. One that is there already is as good if owner controls it.
func (o *Operator) create(ctx context.Context, object client.Object, owner client.Object) error {
	err := o.Client.Create(ctx, object)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	found, err := o.get(ctx, object.GetNamespace(), object.GetName(), object)
	if err == nil && found && !metav1.IsControlledBy(object, owner) {
		err = &foreignError{object}
	}
	return err
}

// foreignError says that a name is taken.
type foreignError struct{ object client.Object }

func (e *foreignError) Error() string {
	return fmt.Sprintf("%T %s/%s is there, and belongs to something else", e.object, e.object.GetNamespace(), e.object.GetName())
}

// find is session.Find, with the labels of the namespace where the Repository's usage policy asks for them.
func (o *Operator) find(ctx context.Context, object task.Object) (session.Found, []*appbinding.AppBinding, error) {
	f, bindings, err := session.Find(ctx, o.store(), object)
	if err != nil || f.Repository == nil || !selects(f.Repository) {
		return f, bindings, err
	}
	var ns corev1.Namespace
	if _, err := o.get(ctx, "", object.GetNamespace(), &ns); err != nil {
		return f, nil, err
	}
	f.NamespaceLabels = ns.Labels
	return f, bindings, nil
}

func selects(r *storage.Repository) bool {
	p := r.Spec.UsagePolicy
	return p != nil && p.AllowedNamespaces.From != nil && *p.AllowedNamespaces.From == storage.NamespacesFromSelector
}

// save stores the status if it is not what it was.
func (o *Operator) save(ctx context.Context, object client.Object, before, after any) error {
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	return o.Client.Status().Update(ctx, object)
}

// finalize puts the finalizer on the object if it is needed.
func (o *Operator) finalize(ctx context.Context, object client.Object, needed bool) error {
	if needed && !controllerutil.AddFinalizer(object, Finalizer) || !needed && !controllerutil.RemoveFinalizer(object, Finalizer) {
		return nil
	}
	return o.Client.Update(ctx, object)
}

// forget removes the metrics of a group and then the finalizer of the object that they told of. A Pushgateway that cannot be reached does not hold the object
// for longer than a few minutes.
func (o *Operator) forget(ctx context.Context, object client.Object, group string) error {
	if !controllerutil.ContainsFinalizer(object, Finalizer) {
		return nil
	}
	sink, err := o.sink()
	if d, ok := sink.(metrics.Deleter); ok && err == nil {
		err = d.Delete(ctx, group)
	}
	if err != nil {
		if o.now().Sub(object.GetDeletionTimestamp().Time) < 5*time.Minute {
			return err
		}
		o.warn(object, "MetricsNotDeleted", "Delete", err.Error())
	}
	return client.IgnoreNotFound(o.finalize(ctx, object, false))
}

// settle makes of an error that only says that somebody else was faster a reason to look again.
func settle(r reconcile.Result, err error) (reconcile.Result, error) {
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: 100 * time.Millisecond}, nil
	}
	return r, err
}

// sooner is the shorter of two waits, of which 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a <= 0 || b > 0 && b < a {
		return b
	}
	return a
}

// until is how long to wait for a time; at least a moment.
func until(now time.Time, t *metav1.Time) time.Duration {
	if t == nil {
		return 0
	}
	return max(t.Sub(now), 10*time.Millisecond)
}

func passed(now time.Time, t *metav1.Time) bool { return t != nil && !now.Before(t.Time) }

// denied reports whether an error of the API says that what was asked for cannot be had as it is.
func denied(err error) bool {
	var foreign *foreignError
	return errors.As(err, &foreign) || apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err)
}
