package task

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RestoreSession brings a backup back, once.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=restoresessions,singular=restoresession,shortName=restore,categories={stash,appscode,all}
// +kubebuilder:printcolumn:name="Repository",type=string,JSONPath=`.spec.repository.name`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Duration",type=string,JSONPath=`.status.sessionDuration`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type RestoreSession struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   RestoreSessionSpec   `json:"spec,omitempty"`
	Status RestoreSessionStatus `json:"status,omitempty"`
}

// RestoreSessionList is a list of RestoreSessions, as the API server returns it.
//
// +kubebuilder:object:root=true
type RestoreSessionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []RestoreSession `json:"items"`
}

// RestoreSessionSpec is the content of a RestoreSession.
type RestoreSessionSpec struct {
	RestoreTargetSpec `json:",inline"`

	// +kubebuilder:default=Restic
	Driver     Driver          `json:"driver,omitempty"`
	Repository ObjectReference `json:"repository,omitempty"`
	// TimeOut bounds the session, such as "30m"; default: none.
	TimeOut *metav1.Duration `json:"timeOut,omitempty"`
}

// RestoreTargetSpec is what is restored, and how. It is also one member of a RestoreBatch.
type RestoreTargetSpec struct {
	Task                  TaskRef                `json:"task,omitempty"`
	Target                *RestoreTarget         `json:"target,omitempty"`
	RuntimeSettings       RuntimeSettings        `json:"runtimeSettings,omitempty"`
	TempDir               EmptyDirSettings       `json:"tempDir,omitempty"`
	InterimVolumeTemplate *PersistentVolumeClaim `json:"interimVolumeTemplate,omitempty"`
	Hooks                 *RestoreHooks          `json:"hooks,omitempty"`
}

// RestoreTarget is what is restored into.
type RestoreTarget struct {
	// Alias is the host whose snapshots are restored where no rule says another; default host-0.
	Alias string    `json:"alias,omitempty"`
	Ref   TargetRef `json:"ref,omitempty"`

	VolumeMounts         []corev1.VolumeMount    `json:"volumeMounts,omitempty"`
	Replicas             *int32                  `json:"replicas,omitempty"`
	VolumeClaimTemplates []PersistentVolumeClaim `json:"volumeClaimTemplates,omitempty"`
	// Rules say what to restore; the first one that fits the host is used. Without rules, its latest snapshot.
	Rules []Rule   `json:"rules,omitempty"`
	Args  []string `json:"args,omitempty"`
}

// Rule says what of which snapshots is restored into which hosts.
type Rule struct {
	// TargetHosts that it holds for; none: all that no other rule names.
	TargetHosts []string `json:"targetHosts,omitempty"`
	// SourceHost is the host that was backed up; default: the target host.
	SourceHost string `json:"sourceHost,omitempty"`
	// Snapshots are ids, or "latest"; without any, the latest of the source host.
	Snapshots []string `json:"snapshots,omitempty"`
	Paths     []string `json:"paths,omitempty"`
	// Include and Exclude are patterns of what is restored of it: for Elasticsearch of indices and data streams.
	Include []string `json:"include,omitempty"`
	Exclude []string `json:"exclude,omitempty"`
}

// RestoreSessionStatus is how far a RestoreSession is.
type RestoreSessionStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Phase              SessionPhase       `json:"phase,omitempty"`
	TotalHosts         *int32             `json:"totalHosts,omitempty"`
	SessionDuration    string             `json:"sessionDuration,omitempty"`
	SessionDeadline    *metav1.Time       `json:"sessionDeadline,omitempty"`
	Stats              []HostRestoreStats `json:"stats,omitempty"`
	Conditions         []Condition        `json:"conditions,omitempty"`
}

// HostRestoreStats is what came of one host.
type HostRestoreStats struct {
	Hostname string       `json:"hostname,omitempty"`
	Phase    SessionPhase `json:"phase,omitempty"`
	Duration string       `json:"duration,omitempty"`
	Error    string       `json:"error,omitempty"`
}

// Conditions of a RestoreSession.
const (
	RestoreTargetFound                = "RestoreTargetFound"
	RestoreJobCreated                 = "RestoreJobCreated"
	RestoreExecutorEnsured            = "RestoreExecutorEnsured"
	RestoreCompleted                  = "RestoreCompleted"
	MetricsPushed                     = "MetricsPushed"
	PreRestoreHookExecutionSucceeded  = "PreRestoreHookExecutionSucceeded"
	PostRestoreHookExecutionSucceeded = "PostRestoreHookExecutionSucceeded"
	GlobalPreRestoreHookSucceeded     = "GlobalPreRestoreHookSucceeded"
	GlobalPostRestoreHookSucceeded    = "GlobalPostRestoreHookSucceeded"
)
