package session

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
)

// Blueprints are the names of the blueprints that the AppBinding asks for by its annotation.
func Blueprints(b *appbinding.AppBinding) []string {
	var out []string
	for name := range strings.SplitSeq(b.Annotations[task.AnnotationBlueprint], ",") {
		if name = strings.TrimSpace(name); name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// FromBlueprint makes the Repository and the BackupConfiguration for an AppBinding, with the variables of the blueprint replaced: TARGET_API_VERSION,
// TARGET_KIND, TARGET_RESOURCE, TARGET_NAMESPACE, TARGET_NAME and TARGET_APP_*. The AppBinding's annotations may give another schedule, and
// parameters of the Task. Both are named "app-" and the name of the AppBinding, and where it asks for several blueprints, that of the blueprint. All
// undefined variables are reported at once.
func FromBlueprint(bp *task.BackupBlueprint, b *appbinding.AppBinding) (*storage.Repository, *task.BackupConfiguration, error) {
	fail := func(err error) (*storage.Repository, *task.BackupConfiguration, error) {
		return nil, nil, fmt.Errorf("%v for %v: %w", bp, b, err)
	}
	if err := bp.Validate(); err != nil {
		return fail(err)
	}
	vars := task.AppVariables(b)
	vars["TARGET_API_VERSION"], vars["TARGET_KIND"], vars["TARGET_RESOURCE"] = appbinding.GroupVersion.String(), appbinding.Kind, "appbindings"
	vars["TARGET_NAMESPACE"], vars["TARGET_NAME"] = b.Namespace, b.Name
	spec, err := task.Expand("spec", &bp.Spec, vars)
	if err != nil {
		return fail(err)
	}
	name := "app-" + b.Name
	if len(Blueprints(b)) > 1 {
		name += "-" + bp.Name
	}
	labels := map[string]string{task.LabelManagedBy: "stash.appscode.com", "stash.appscode.com/blueprint": label(bp.Name)}
	repo := &storage.Repository{TypeMeta: metav1.TypeMeta{APIVersion: storage.GroupVersion.String(), Kind: storage.Kind}, Spec: spec.RepositorySpec}
	repo.Name, repo.Namespace, repo.Labels = name, namespace(spec.RepoNamespace, b), labels
	conf := &task.BackupConfiguration{TypeMeta: metav1.TypeMeta{APIVersion: task.GroupVersion.String(), Kind: task.KindBackupConfiguration}}
	conf.Name, conf.Namespace, conf.Labels = name, namespace(spec.BackupNamespace, b), labels
	conf.Spec = task.BackupConfigurationSpec{BackupTargetSpec: spec.BackupTargetSpec, BackupPolicy: spec.BackupPolicy,
		Repository: task.ObjectReference{Namespace: repo.Namespace, Name: repo.Name}}
	conf.Spec.Target = &task.BackupTarget{Ref: task.TargetRef{APIVersion: appbinding.GroupVersion.String(), Kind: appbinding.Kind, Name: b.Name, Namespace: b.Namespace}}
	if s := b.Annotations[task.AnnotationSchedule]; s != "" {
		conf.Spec.Schedule = s
	}
	for _, key := range slices.Sorted(annotated(b)) {
		param := task.Param{Name: strings.TrimPrefix(key, task.AnnotationParams), Value: b.Annotations[key]}
		params := &conf.Spec.Task.Params
		if i := slices.IndexFunc(*params, func(p task.Param) bool { return p.Name == param.Name }); i >= 0 {
			(*params)[i] = param
		} else {
			*params = append(*params, param)
		}
	}
	if err := repo.Validate(); err != nil {
		return fail(err)
	}
	if err := conf.Validate(); err != nil {
		return fail(err)
	}
	return repo, conf, nil
}

func annotated(b *appbinding.AppBinding) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for key := range b.Annotations {
			if strings.HasPrefix(key, task.AnnotationParams) && !yield(key) {
				return
			}
		}
	}
}
