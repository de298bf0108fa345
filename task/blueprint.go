package task

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/escrow-backup/escrow/storage"
)

// BackupBlueprint makes a Repository and a BackupConfiguration for every target that asks for it by an annotation. Its strings may hold
// variables such as ${TARGET_NAME}.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=backupblueprints,singular=backupblueprint,scope=Cluster,categories={stash,appscode,all}
// +kubebuilder:printcolumn:name="Task",type=string,JSONPath=`.spec.task.name`
// +kubebuilder:printcolumn:name="Schedule",type=string,JSONPath=`.spec.schedule`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type BackupBlueprint struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec BackupBlueprintSpec `json:"spec,omitempty"`
}

// BackupBlueprintList is a list of BackupBlueprints, as the API server returns it.
//
// +kubebuilder:object:root=true
type BackupBlueprintList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []BackupBlueprint `json:"items"`
}

// BackupBlueprintSpec is the content of a BackupBlueprint: a Repository, and a BackupConfiguration without a target.
type BackupBlueprintSpec struct {
	storage.RepositorySpec `json:",inline"`
	BackupTargetSpec       `json:",inline"`
	BackupPolicy           `json:",inline"`

	// RepoNamespace is where the Repository is made; default: the namespace of the target.
	RepoNamespace string `json:"repoNamespace,omitempty"`
	// BackupNamespace is where the BackupConfiguration is made; default: the namespace of the target.
	BackupNamespace string `json:"backupNamespace,omitempty"`
}

// Annotations of a target.
const (
	// AnnotationBlueprint names the blueprints, with commas between them.
	AnnotationBlueprint = "stash.appscode.com/backup-blueprint"
	// AnnotationSchedule is used instead of the blueprint's schedule.
	AnnotationSchedule = "stash.appscode.com/schedule"
	// AnnotationParams begins the names of annotations that give a parameter of the Task.
	AnnotationParams = "params.stash.appscode.com/"
)
