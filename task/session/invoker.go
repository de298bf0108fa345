package session

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
)

// Policy is when an invoker, a *task.BackupConfiguration or *task.BackupBatch, backs up.
func Policy(invoker task.Object) (*task.BackupPolicy, error) {
	switch b := invoker.(type) {
	case *task.BackupConfiguration:
		return &b.Spec.BackupPolicy, nil
	case *task.BackupBatch:
		return &b.Spec.BackupPolicy, nil
	}
	return nil, fmt.Errorf("a %T is no invoker of backups", invoker)
}

// targets are what an invoker backs up.
func targets(invoker task.Object) []task.TargetRef {
	ref := func(t *task.BackupTarget) task.TargetRef {
		if t == nil {
			return task.TargetRef{}
		}
		r := t.Ref
		if r.Namespace == "" {
			r.Namespace = invoker.GetNamespace()
		}
		return r
	}
	switch b := invoker.(type) {
	case *task.BackupConfiguration:
		return []task.TargetRef{ref(b.Spec.Target)}
	case *task.BackupBatch:
		var out []task.TargetRef
		for i := range b.Spec.Members {
			out = append(out, ref(b.Spec.Members[i].Target))
		}
		return out
	}
	return nil
}

func kind(invoker task.Object) string {
	if _, ok := invoker.(*task.BackupBatch); ok {
		return task.KindBackupBatch
	}
	return task.KindBackupConfiguration
}

// Found is what an invoker or a restore needs, as far as it is there.
type Found struct {
	// Repository is nil if there is none.
	Repository *storage.Repository
	// NamespaceLabels are those of the invoker's namespace, for the Repository's usage policy.
	NamespaceLabels map[string]string
	// Secret is whether the Repository's secret is there; one is not needed where none is named.
	Secret bool
	// Targets are which of the targets are there, in order.
	Targets []bool
}

// ValidateBackup sets the status of an invoker: the phase Invalid for what cannot be used as it is, NotReady while something is missing, else Ready; and
// the conditions that tell why.
func ValidateBackup(invoker task.Object, f Found, now time.Time) (task.InvokerPhase, error) {
	var status *task.BackupConfigurationStatus
	var repo task.ObjectReference
	switch b := invoker.(type) {
	case *task.BackupConfiguration:
		status, repo = &b.Status, b.Spec.Repository
	case *task.BackupBatch:
		status, repo = &b.Status, b.Spec.Repository
	default:
		return "", fmt.Errorf("a %T is no invoker of backups", invoker)
	}
	set := func(kind string, ok bool, reason, message string) {
		task.SetCondition(&status.Conditions, kind, ok, reason, message, now)
	}
	status.ObservedGeneration = invoker.GetGeneration()
	err := invoker.Validate()
	if err == nil && f.Repository != nil {
		err = allowed(invoker.GetNamespace(), f)
	}
	if err != nil {
		set(task.ValidationPassed, false, "ResourceValidationFailed", err.Error())
		status.Phase = task.InvokerInvalid
		return status.Phase, nil
	}
	set(task.ValidationPassed, true, "ResourceValidationPassed", "The object can be used.")
	ready := true
	if f.Repository == nil {
		set(task.RepositoryFound, false, "RepositoryNotAvailable", fmt.Sprintf("There is no Repository %s/%s.", namespace(repo.Namespace, invoker), repo.Name))
		ready = false
	} else {
		set(task.RepositoryFound, true, "RepositoryAvailable", fmt.Sprintf("The Repository %s/%s is there.", f.Repository.Namespace, f.Repository.Name))
		name := f.Repository.Spec.Backend.StorageSecretName
		found := f.Secret || name == ""
		reason, message := "BackendSecretAvailable", "The storage secret is there."
		if !found {
			reason, message = "BackendSecretNotAvailable", fmt.Sprintf("There is no secret %s/%s.", f.Repository.Namespace, name)
		}
		set(task.BackendSecretFound, found, reason, message)
		ready = ready && found
	}
	missing := ""
	for i, t := range targets(invoker) {
		if t.Name != "" && (i >= len(f.Targets) || !f.Targets[i]) && missing == "" {
			missing = fmt.Sprintf("There is no %s %s/%s.", t.Kind, t.Namespace, t.Name)
		}
	}
	if missing != "" {
		set(task.BackupTargetFound, false, "TargetNotAvailable", missing)
		ready = false
	} else {
		set(task.BackupTargetFound, true, "TargetAvailable", "The targets are there.")
	}
	status.Phase = task.InvokerNotReady
	if ready {
		status.Phase = task.InvokerReady
	}
	return status.Phase, nil
}

func namespace(given string, o metav1.Object) string {
	if given != "" {
		return given
	}
	return o.GetNamespace()
}

// allowed says whether the usage policy of the Repository lets objects of the namespace use it.
func allowed(ns string, f Found) error {
	ok, err := f.Repository.Allows(ns, f.NamespaceLabels)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("spec.repository: %v may not be used from namespace %s: its usage policy does not allow that", f.Repository, ns)
	}
	return nil
}

// Due is the first time after last at which the invoker is due; zero if never: it has no schedule, or is paused.
func Due(invoker task.Object, last time.Time) (time.Time, error) {
	p, err := Policy(invoker)
	if err != nil || p.Paused || p.Schedule == "" {
		return time.Time{}, err
	}
	s, err := task.ParseSchedule(p.Schedule, p.TimeZone)
	if err != nil {
		return time.Time{}, fmt.Errorf("%v: spec.schedule: %w", invoker, err)
	}
	return s.Next(last), nil
}

// AnnotationInstant marks a session that was made by hand: it runs also while the invoker is paused.
const AnnotationInstant = "escrow.dev/instant-backup"

// New makes a BackupSession for an invoker. Its name has the second in it, so that making it twice gives one.
func New(invoker task.Object, at time.Time, instant bool) (*task.BackupSession, error) {
	p, err := Policy(invoker)
	if err != nil {
		return nil, err
	}
	s := &task.BackupSession{TypeMeta: metav1.TypeMeta{APIVersion: task.GroupVersion.String(), Kind: task.KindBackupSession}}
	s.Name, s.Namespace = fmt.Sprintf("%s-%d", invoker.GetName(), at.Unix()), invoker.GetNamespace()
	s.Labels = map[string]string{task.LabelManagedBy: "stash.appscode.com", task.LabelInvokerKind: kind(invoker), task.LabelInvokerName: label(invoker.GetName())}
	s.CreationTimestamp = metav1.NewTime(at.Truncate(time.Second))
	if instant {
		s.Annotations = map[string]string{AnnotationInstant: "true"}
	}
	if invoker.GetUID() != "" {
		s.OwnerReferences = []metav1.OwnerReference{{APIVersion: task.GroupVersion.String(), Kind: kind(invoker), Name: invoker.GetName(),
			UID: invoker.GetUID(), Controller: ptr.To(true), BlockOwnerDeletion: ptr.To(true)}}
	}
	s.Spec.Invoker = task.BackupInvokerRef{APIGroup: task.GroupVersion.Group, Kind: kind(invoker), Name: invoker.GetName()}
	if p.RetryConfig != nil {
		s.Spec.RetryLeft = p.RetryConfig.MaxRetry
	}
	return s, nil
}

func label(s string) string { return s[:min(len(s), 63)] }
