package task

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// BackupSession is one run of a BackupConfiguration or BackupBatch.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=backupsessions,singular=backupsession,shortName=bs,categories={stash,appscode,all}
// +kubebuilder:printcolumn:name="Invoker-Type",type=string,JSONPath=`.spec.invoker.kind`
// +kubebuilder:printcolumn:name="Invoker-Name",type=string,JSONPath=`.spec.invoker.name`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Duration",type=string,JSONPath=`.status.sessionDuration`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type BackupSession struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   BackupSessionSpec   `json:"spec,omitempty"`
	Status BackupSessionStatus `json:"status,omitempty"`
}

// BackupSessionList is a list of BackupSessions, as the API server returns it.
//
// +kubebuilder:object:root=true
type BackupSessionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []BackupSession `json:"items"`
}

// BackupSessionSpec is the content of a BackupSession.
type BackupSessionSpec struct {
	Invoker BackupInvokerRef `json:"invoker,omitempty"`
	// RetryLeft is how often a failure may be tried again.
	RetryLeft int32 `json:"retryLeft,omitempty"`
}

// BackupSessionStatus is how far a BackupSession is.
type BackupSessionStatus struct {
	ObservedGeneration int64        `json:"observedGeneration,omitempty"`
	Phase              SessionPhase `json:"phase,omitempty"`
	// SessionDuration is such as "1m2s".
	SessionDuration string       `json:"sessionDuration,omitempty"`
	SessionDeadline *metav1.Time `json:"sessionDeadline,omitempty"`
	// Retried is whether another session was made to try this failed one again; NextRetry is when one will be.
	Retried    *bool                `json:"retried,omitempty"`
	NextRetry  *metav1.Time         `json:"nextRetry,omitempty"`
	Targets    []BackupTargetStatus `json:"targets,omitempty"`
	Conditions []Condition          `json:"conditions,omitempty"`
}

// SessionPhase of a session, or of a target in it.
//
// +kubebuilder:validation:Enum=Pending;Skipped;Running;Succeeded;Failed;Unknown;Invalid
type SessionPhase string

// The phases. Skipped is of backups only, Invalid of restores.
const (
	SessionPending   SessionPhase = "Pending"
	SessionSkipped   SessionPhase = "Skipped"
	SessionRunning   SessionPhase = "Running"
	SessionSucceeded SessionPhase = "Succeeded"
	SessionFailed    SessionPhase = "Failed"
	SessionUnknown   SessionPhase = "Unknown"
	SessionInvalid   SessionPhase = "Invalid"
)

// Final reports whether a session in the phase is over.
func (p SessionPhase) Final() bool {
	switch p {
	case SessionSkipped, SessionSucceeded, SessionFailed, SessionUnknown, SessionInvalid:
		return true
	}
	return false
}

// BackupTargetStatus is how far one target is.
type BackupTargetStatus struct {
	Ref        TargetRef    `json:"ref,omitempty"`
	TotalHosts *int32       `json:"totalHosts,omitempty"`
	Phase      SessionPhase `json:"phase,omitempty"`
	// PreBackupActions and PostBackupActions are what is done once for a batch, such as "InitializeBackendRepository".
	PreBackupActions  []string          `json:"preBackupActions,omitempty"`
	PostBackupActions []string          `json:"postBackupActions,omitempty"`
	Stats             []HostBackupStats `json:"stats,omitempty"`
	Conditions        []Condition       `json:"conditions,omitempty"`
}

// HostBackupStats is what came of one host.
type HostBackupStats struct {
	Hostname  string          `json:"hostname,omitempty"`
	Phase     SessionPhase    `json:"phase,omitempty"`
	Snapshots []SnapshotStats `json:"snapshots,omitempty"`
	Duration  string          `json:"duration,omitempty"`
	Error     string          `json:"error,omitempty"`
}

// SnapshotStats tell of one snapshot. Sizes are such as "1.207 GiB", times such as "0:05" (minutes, seconds).
type SnapshotStats struct {
	Name           string    `json:"name,omitempty"`
	Path           string    `json:"path,omitempty"`
	TotalSize      string    `json:"totalSize,omitempty"`
	Uploaded       string    `json:"uploaded,omitempty"`
	ProcessingTime string    `json:"processingTime,omitempty"`
	FileStats      FileStats `json:"fileStats,omitempty"`
}

// FileStats count files. For Elasticsearch a file is what a backup holds: see package layout.
type FileStats struct {
	TotalFiles      *int64 `json:"totalFiles,omitempty"`
	NewFiles        *int64 `json:"newFiles,omitempty"`
	ModifiedFiles   *int64 `json:"modifiedFiles,omitempty"`
	UnmodifiedFiles *int64 `json:"unmodifiedFiles,omitempty"`
}

// Conditions of a BackupSession, or of its targets.
const (
	BackendRepositoryInitialized     = "BackendRepositoryInitialized"
	BackupExecutorEnsured            = "BackupExecutorEnsured"
	PreBackupHookExecutionSucceeded  = "PreBackupHookExecutionSucceeded"
	PostBackupHookExecutionSucceeded = "PostBackupHookExecutionSucceeded"
	RetentionPolicyApplied           = "RetentionPolicyApplied"
	RepositoryIntegrityVerified      = "RepositoryIntegrityVerified"
	RepositoryMetricsPushed          = "RepositoryMetricsPushed"
	BackupHistoryCleaned             = "BackupHistoryCleaned"
	BackupSkipped                    = "BackupSkipped"
	DeadlineExceeded                 = "DeadlineExceeded"
	BackupDisrupted                  = "BackupDisrupted"
	GlobalPreBackupHookSucceeded     = "GlobalPreBackupHookSucceeded"
	GlobalPostBackupHookSucceeded    = "GlobalPostBackupHookSucceeded"
)
