package controller

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/session"
)

const annotationHash = "escrow.dev/spec-hash"

// BackupConfiguration reconciles one.
func (o *Operator) BackupConfiguration(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	return settle(o.invoker(ctx, req, task.KindBackupConfiguration))
}

// BackupBatch reconciles one.
func (o *Operator) BackupBatch(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	return settle(o.invoker(ctx, req, task.KindBackupBatch))
}

// newInvoker is an empty one of the kind, and its status.
func newInvoker(kind string) (task.Object, *task.BackupConfigurationStatus, error) {
	switch kind {
	case task.KindBackupConfiguration:
		b := new(task.BackupConfiguration)
		return b, &b.Status, nil
	case task.KindBackupBatch:
		b := new(task.BackupBatch)
		return b, &b.Status, nil
	}
	return nil, nil, fmt.Errorf("a %s is no invoker", kind)
}

func (o *Operator) invoker(ctx context.Context, req reconcile.Request, kind string) (reconcile.Result, error) {
	invoker, status, err := newInvoker(kind)
	if err != nil {
		return reconcile.Result{}, err
	}
	if found, err := o.get(ctx, req.Namespace, req.Name, invoker); err != nil || !found {
		return reconcile.Result{}, err
	}
	if !invoker.GetDeletionTimestamp().IsZero() {
		return o.endInvoker(ctx, invoker, kind)
	}
	if err := o.finalize(ctx, invoker, o.Config.Pushgateway != ""); err != nil {
		return reconcile.Result{}, err
	}
	before := status.DeepCopy()
	found, _, err := o.find(ctx, invoker)
	if err != nil {
		return reconcile.Result{}, err
	}
	phase, err := session.ValidateBackup(invoker, found, o.now())
	if err != nil {
		return reconcile.Result{}, err
	}
	var failed error
	if phase != task.InvokerInvalid {
		failed = o.schedule(ctx, invoker, kind, status, phase)
	}
	if err := o.save(ctx, invoker, before, status); err != nil {
		return reconcile.Result{}, err
	}
	if failed != nil {
		return reconcile.Result{}, failed
	}
	if phase == task.InvokerReady {
		return reconcile.Result{RequeueAfter: resync}, nil
	}
	return reconcile.Result{RequeueAfter: waiting}, nil
}

// schedule sees to the CronJob. It is made once all is there; what goes missing later does not end it, so that sessions show that backups fail.
func (o *Operator) schedule(ctx context.Context, invoker task.Object, kind string, status *task.BackupConfigurationStatus, phase task.InvokerPhase) error {
	policy, err := session.Policy(invoker)
	if err != nil {
		return err
	}
	var there batchv1.CronJob
	found, err := o.get(ctx, invoker.GetNamespace(), cronJobName(invoker, kind), &there)
	if err != nil {
		return err
	}
	if found && !metav1.IsControlledBy(&there, invoker) {
		err := &foreignError{&there}
		task.SetCondition(&status.Conditions, task.CronJobCreated, false, "CronJobCreationFailed", err.Error(), o.now())
		return nil
	}
	if policy.Schedule == "" {
		status.Conditions = slices.DeleteFunc(status.Conditions, func(c task.Condition) bool { return c.Type == task.CronJobCreated })
		if found {
			return o.remove(ctx, &there)
		}
		return nil
	}
	if !found && phase != task.InvokerReady {
		return nil
	}
	err = o.ensureCronJob(ctx, invoker, kind, policy, &there, found)
	if err != nil {
		task.SetCondition(&status.Conditions, task.CronJobCreated, false, "CronJobCreationFailed", err.Error(), o.now())
		return err
	}
	task.SetCondition(&status.Conditions, task.CronJobCreated, true, "CronJobCreationSucceeded", "The CronJob is there.", o.now())
	return nil
}

func (o *Operator) ensureCronJob(ctx context.Context, invoker task.Object, kind string, policy *task.BackupPolicy, there *batchv1.CronJob, found bool) error {
	ns, account := invoker.GetNamespace(), cmp.Or(o.Config.CreatorAccount, CreatorRole)
	if err := o.access(ctx, CreatorRole, ns, account, true, ns); err != nil {
		return err
	}
	wanted, err := o.cronJob(invoker, kind, policy, account)
	if err != nil {
		return err
	}
	if err := controllerutil.SetControllerReference(invoker, wanted, o.Client.Scheme()); err != nil {
		return err
	}
	if !found {
		return o.create(ctx, wanted, invoker)
	}
	// The server fills in defaults: what is not wanted is not compared, and what was wanted before is known by its hash.
	if there.Annotations[annotationHash] == wanted.Annotations[annotationHash] && equality.Semantic.DeepDerivative(wanted.Spec, there.Spec) {
		return nil
	}
	there.Spec = wanted.Spec
	if there.Annotations == nil {
		there.Annotations = map[string]string{}
	}
	there.Annotations[annotationHash] = wanted.Annotations[annotationHash]
	return o.Client.Update(ctx, there)
}

// cronJobName leaves room for what Kubernetes puts behind it: a CronJob's name has at most 52 characters.
func cronJobName(invoker task.Object, kind string) string {
	prefix := "stash-trigger-"
	if kind == task.KindBackupBatch {
		prefix = "stash-trigger-batch-"
	}
	return shorten(prefix+invoker.GetName(), 52)
}

func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return s[:most-9] + "-" + hex.EncodeToString(sum[:4])
}

// EnvJobName tells create-session the name of its Job, which has the minute in it.
const EnvJobName = "JOB_NAME"

// cronJob makes sessions: its name and its arguments say of what.
func (o *Operator) cronJob(invoker task.Object, kind string, policy *task.BackupPolicy, account string) (*batchv1.CronJob, error) {
	schedule, err := task.ParseSchedule(policy.Schedule, policy.TimeZone)
	if err != nil {
		return nil, err
	}
	labels := map[string]string{task.LabelManagedBy: "stash.appscode.com", task.LabelInvokerKind: kind, task.LabelInvokerName: shorten(invoker.GetName(), 63)}
	c := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: invoker.GetNamespace(), Name: cronJobName(invoker, kind), Labels: labels}}
	c.Spec = batchv1.CronJobSpec{
		Schedule:                   schedule.Expression,
		Suspend:                    ptr.To(policy.Paused),
		ConcurrencyPolicy:          batchv1.ForbidConcurrent,
		SuccessfulJobsHistoryLimit: ptr.To[int32](1),
		FailedJobsHistoryLimit:     ptr.To[int32](1),
		JobTemplate: batchv1.JobTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec: batchv1.JobSpec{
				BackoffLimit: ptr.To[int32](3),
				Template: corev1.PodTemplateSpec{
					ObjectMeta: metav1.ObjectMeta{Labels: labels},
					Spec: corev1.PodSpec{
						RestartPolicy:      corev1.RestartPolicyNever,
						ServiceAccountName: account,
						SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](65534),
							SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
						Containers: []corev1.Container{{
							Name: "create-session", Image: o.Config.Image, Command: []string{o.program(), "create-session"},
							Args: []string{"--namespace=" + invoker.GetNamespace(), "--invoker-kind=" + kind, "--invoker-name=" + invoker.GetName()},
							Env: []corev1.EnvVar{{Name: EnvJobName, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{
								APIVersion: "v1", FieldPath: "metadata.labels['" + batchv1.JobNameLabel + "']"}}}},
							TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
							SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: ptr.To(false), ReadOnlyRootFilesystem: ptr.To(true),
								Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
						}},
					},
				},
			},
		},
	}
	if schedule.TimeZone != "" {
		c.Spec.TimeZone = &schedule.TimeZone
	}
	hash, err := hashOf(c)
	if err != nil {
		return nil, err
	}
	c.Annotations = map[string]string{annotationHash: hash}
	return c, nil
}

// hashOf tells whether what is wanted is what was wanted before.
func hashOf(object any) (string, error) {
	data, err := json.Marshal(object)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8]), nil
}

func (o *Operator) program() string { return cmp.Or(o.Config.Program, "/operator") }

// endInvoker lets go of an invoker that is being deleted, once nothing of it can push metrics any more. Kubernetes removes what it owns.
func (o *Operator) endInvoker(ctx context.Context, invoker task.Object, kind string) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(invoker, Finalizer) {
		return reconcile.Result{}, nil
	}
	var cron batchv1.CronJob
	found, err := o.get(ctx, invoker.GetNamespace(), cronJobName(invoker, kind), &cron)
	if err != nil {
		return reconcile.Result{}, err
	}
	if found && metav1.IsControlledBy(&cron, invoker) {
		if err := o.remove(ctx, &cron); err != nil {
			return reconcile.Result{}, err
		}
	}
	all, err := o.sessions(ctx, invoker.GetNamespace(), kind, invoker.GetName())
	if err != nil {
		return reconcile.Result{}, err
	}
	for i := range all {
		s := &all[i]
		if !s.DeletionTimestamp.IsZero() {
			continue
		}
		// In the foreground: its Jobs are gone before it is.
		if err := o.Client.Delete(ctx, s, client.PropagationPolicy(metav1.DeletePropagationForeground)); client.IgnoreNotFound(err) != nil {
			return reconcile.Result{}, err
		}
	}
	if len(all) > 0 {
		return reconcile.Result{RequeueAfter: time.Second}, nil
	}
	return reconcile.Result{}, o.forget(ctx, invoker, metrics.Group(kind, invoker.GetNamespace(), invoker.GetName()))
}

// sessions are all those of an invoker.
func (o *Operator) sessions(ctx context.Context, namespace, kind, name string) ([]task.BackupSession, error) {
	var list task.BackupSessionList
	if err := o.Client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("sessions of %s %s/%s: %w", kind, namespace, name, err)
	}
	return slices.DeleteFunc(list.Items, func(s task.BackupSession) bool {
		return s.Spec.Invoker.Kind != kind || s.Spec.Invoker.Name != name
	}), nil
}
