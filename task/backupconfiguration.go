package task

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BackupConfiguration says what is backed up when.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=backupconfigurations,singular=backupconfiguration,shortName=bc,categories={stash,appscode,all}
// +kubebuilder:printcolumn:name="Task",type=string,JSONPath=`.spec.task.name`
// +kubebuilder:printcolumn:name="Schedule",type=string,JSONPath=`.spec.schedule`
// +kubebuilder:printcolumn:name="Paused",type=boolean,JSONPath=`.spec.paused`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type BackupConfiguration struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   BackupConfigurationSpec   `json:"spec,omitempty"`
	Status BackupConfigurationStatus `json:"status,omitempty"`
}

// BackupConfigurationList is a list of BackupConfigurations, as the API server returns it.
//
// +kubebuilder:object:root=true
type BackupConfigurationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []BackupConfiguration `json:"items"`
}

// BackupConfigurationSpec is the content of a BackupConfiguration.
type BackupConfigurationSpec struct {
	BackupTargetSpec `json:",inline"`
	BackupPolicy     `json:",inline"`

	// Repository is where to; of another namespace only if its usage policy allows that.
	Repository ObjectReference `json:"repository,omitempty"`
}

// BackupTargetSpec is what is backed up, and how. It is also one member of a BackupBatch.
type BackupTargetSpec struct {
	Task            TaskRef          `json:"task,omitempty"`
	Target          *BackupTarget    `json:"target,omitempty"`
	RuntimeSettings RuntimeSettings  `json:"runtimeSettings,omitempty"`
	TempDir         EmptyDirSettings `json:"tempDir,omitempty"`
	// InterimVolumeTemplate is a volume for data on its way. The Elasticsearch Functions of this project need none: with one,
	// they write the backup there too, and read it from there.
	InterimVolumeTemplate *PersistentVolumeClaim `json:"interimVolumeTemplate,omitempty"`
	Hooks                 *BackupHooks           `json:"hooks,omitempty"`
}

// BackupPolicy is when something is backed up, and what is kept.
type BackupPolicy struct {
	// Schedule is a cron expression of five fields, or such as "@daily"; "CRON_TZ=Europe/Berlin " before it gives a time zone.
	Schedule string `json:"schedule,omitempty"`
	// TimeZone of the schedule, such as "Europe/Berlin"; default: that of the cluster. Stash has no such field.
	TimeZone string `json:"timeZone,omitempty"`
	// +kubebuilder:default=Restic
	Driver          Driver          `json:"driver,omitempty"`
	RetentionPolicy RetentionPolicy `json:"retentionPolicy,omitempty"`
	// Paused makes no sessions. Instant backups are made all the same.
	Paused bool `json:"paused,omitempty"`
	// BackupHistoryLimit is how many finished BackupSessions are kept; default 1.
	//
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	BackupHistoryLimit *int32 `json:"backupHistoryLimit,omitempty"`
	// TimeOut bounds a session, such as "30m"; default: none.
	TimeOut     *metav1.Duration `json:"timeOut,omitempty"`
	RetryConfig *RetryConfig     `json:"retryConfig,omitempty"`
	// IntegrityCheck says how the repository is checked after a backup; default: its structure, after each. Stash has no such field.
	IntegrityCheck *IntegrityCheck `json:"integrityCheck,omitempty"`
}

// RetryConfig says how a failed backup is tried again.
type RetryConfig struct {
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	MaxRetry int32 `json:"maxRetry,omitempty"`
	// Delay between a failure and the next try, such as "5m".
	Delay metav1.Duration `json:"delay,omitempty"`
}

// IntegrityCheck says how a repository is checked after a backup.
type IntegrityCheck struct {
	// Every is how many backups are made for one check; 0 and 1: each; negative: none is checked.
	Every int32 `json:"every,omitempty"`
	// ReadData is how much of the stored data is read: "" (none), "all", "5%", "1/7" or a size such as "500M".
	ReadData string `json:"readData,omitempty"`
}

// RetentionPolicy says which snapshots are kept: each that one of the rules keeps; without a rule, all.
type RetentionPolicy struct {
	Name string `json:"name,omitempty"`
	// +kubebuilder:validation:Minimum=-1
	KeepLast int64 `json:"keepLast,omitempty"`
	// +kubebuilder:validation:Minimum=-1
	KeepHourly int64 `json:"keepHourly,omitempty"`
	// +kubebuilder:validation:Minimum=-1
	KeepDaily int64 `json:"keepDaily,omitempty"`
	// +kubebuilder:validation:Minimum=-1
	KeepWeekly int64 `json:"keepWeekly,omitempty"`
	// +kubebuilder:validation:Minimum=-1
	KeepMonthly int64 `json:"keepMonthly,omitempty"`
	// +kubebuilder:validation:Minimum=-1
	KeepYearly int64 `json:"keepYearly,omitempty"`
	// KeepTags are tags, or several with commas between them; a snapshot with all tags of one entry is kept.
	KeepTags []string `json:"keepTags,omitempty"`
	// Prune removes the data that only removed snapshots used.
	Prune bool `json:"prune,omitempty"`
	// DryRun says what would be removed, and removes nothing.
	DryRun bool `json:"dryRun,omitempty"`
}

// BackupTarget is what is backed up.
type BackupTarget struct {
	// Alias is the host name of the snapshots; default host-0. Members of a batch need different ones.
	Alias string    `json:"alias,omitempty"`
	Ref   TargetRef `json:"ref,omitempty"`
	Paths []string  `json:"paths,omitempty"`

	VolumeMounts            []corev1.VolumeMount `json:"volumeMounts,omitempty"`
	Replicas                *int32               `json:"replicas,omitempty"`
	VolumeSnapshotClassName string               `json:"snapshotClassName,omitempty"`
	// Exclude are patterns of what is left out.
	Exclude []string `json:"exclude,omitempty"`
	// Args are further ones for the driver.
	Args []string `json:"args,omitempty"`
}

// BackupConfigurationStatus is what was last seen of a BackupConfiguration.
type BackupConfigurationStatus struct {
	ObservedGeneration int64        `json:"observedGeneration,omitempty"`
	Phase              InvokerPhase `json:"phase,omitempty"`
	Conditions         []Condition  `json:"conditions,omitempty"`
}

// InvokerPhase of a BackupConfiguration or BackupBatch.
//
// +kubebuilder:validation:Enum=Invalid;Ready;NotReady
type InvokerPhase string

// The phases: Invalid is an object that cannot be used as it is, NotReady one that lacks something else.
const (
	InvokerInvalid  InvokerPhase = "Invalid"
	InvokerReady    InvokerPhase = "Ready"
	InvokerNotReady InvokerPhase = "NotReady"
)

// Conditions of a BackupConfiguration and a BackupBatch.
const (
	RepositoryFound    = "RepositoryFound"
	BackendSecretFound = "BackendSecretFound"
	BackupTargetFound  = "BackupTargetFound"
	CronJobCreated     = "CronJobCreated"
	ValidationPassed   = "ValidationPassed"
)
