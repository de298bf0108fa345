package task

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// BackupBatch backs up several targets in one session.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=backupbatches,singular=backupbatch,categories={stash,appscode,all}
// +kubebuilder:printcolumn:name="Schedule",type=string,JSONPath=`.spec.schedule`
// +kubebuilder:printcolumn:name="Paused",type=boolean,JSONPath=`.spec.paused`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type BackupBatch struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   BackupBatchSpec           `json:"spec,omitempty"`
	Status BackupConfigurationStatus `json:"status,omitempty"`
}

// BackupBatchList is a list of BackupBatches, as the API server returns it.
//
// +kubebuilder:object:root=true
type BackupBatchList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []BackupBatch `json:"items"`
}

// BackupBatchSpec is the content of a BackupBatch.
type BackupBatchSpec struct {
	BackupPolicy `json:",inline"`

	Members    []BackupTargetSpec `json:"members,omitempty"`
	Repository ObjectReference    `json:"repository,omitempty"`
	// ExecutionOrder of the members. With Sequential the first failure ends the session.
	//
	// +kubebuilder:default=Parallel
	ExecutionOrder ExecutionOrder `json:"executionOrder,omitempty"`
	// Hooks run before and after all members.
	Hooks *BackupHooks `json:"hooks,omitempty"`
}

// RestoreBatch restores several targets in one session.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=restorebatches,singular=restorebatch,categories={stash,appscode,all}
// +kubebuilder:printcolumn:name="Repository",type=string,JSONPath=`.spec.repository.name`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Duration",type=string,JSONPath=`.status.sessionDuration`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RestoreBatch struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   RestoreBatchSpec   `json:"spec,omitempty"`
	Status RestoreBatchStatus `json:"status,omitempty"`
}

// RestoreBatchList is a list of RestoreBatches, as the API server returns it.
//
// +kubebuilder:object:root=true
type RestoreBatchList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []RestoreBatch `json:"items"`
}

// RestoreBatchSpec is the content of a RestoreBatch.
type RestoreBatchSpec struct {
	// +kubebuilder:default=Restic
	Driver     Driver              `json:"driver,omitempty"`
	Repository ObjectReference     `json:"repository,omitempty"`
	Members    []RestoreTargetSpec `json:"members,omitempty"`
	// ExecutionOrder of the members. With Sequential the first failure ends the session.
	//
	// +kubebuilder:default=Parallel
	ExecutionOrder ExecutionOrder `json:"executionOrder,omitempty"`
	// Hooks run before and after all members.
	Hooks   *RestoreHooks    `json:"hooks,omitempty"`
	TimeOut *metav1.Duration `json:"timeOut,omitempty"`
}

// RestoreBatchStatus is how far a RestoreBatch is.
type RestoreBatchStatus struct {
	ObservedGeneration int64                 `json:"observedGeneration,omitempty"`
	Phase              SessionPhase          `json:"phase,omitempty"`
	SessionDuration    string                `json:"sessionDuration,omitempty"`
	SessionDeadline    *metav1.Time          `json:"sessionDeadline,omitempty"`
	Members            []RestoreMemberStatus `json:"members,omitempty"`
	Conditions         []Condition           `json:"conditions,omitempty"`
}

// RestoreMemberStatus is how far one member is.
type RestoreMemberStatus struct {
	Ref        TargetRef          `json:"ref,omitempty"`
	TotalHosts *int32             `json:"totalHosts,omitempty"`
	Phase      SessionPhase       `json:"phase,omitempty"`
	Stats      []HostRestoreStats `json:"stats,omitempty"`
	Conditions []Condition        `json:"conditions,omitempty"`
}
