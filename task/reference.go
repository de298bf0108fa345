package task

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ObjectReference names an object, such as a Repository, by default one in the namespace of the object that has the reference.
type ObjectReference struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// TargetRef names what is backed up, such as an AppBinding.
type TargetRef struct {
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind,omitempty"`
	Name       string `json:"name,omitempty"`
	// Namespace; default: that of the object that has the reference.
	Namespace string `json:"namespace,omitempty"`
}

// BackupInvokerRef names what made a BackupSession: a BackupConfiguration or a BackupBatch in its namespace.
type BackupInvokerRef struct {
	APIGroup string `json:"apiGroup,omitempty"`
	Kind     string `json:"kind"`
	Name     string `json:"name"`
}

// Driver is how data is taken.
//
// +kubebuilder:validation:Enum=Restic;VolumeSnapshotter
type Driver string

// The drivers. Restic, the default, is a repository in the restic format; VolumeSnapshotter is known, but not implemented here.
const (
	DriverRestic            Driver = "Restic"
	DriverVolumeSnapshotter Driver = "VolumeSnapshotter"
)

// ExecutionOrder is how the members of a batch run.
//
// +kubebuilder:validation:Enum=Parallel;Sequential
type ExecutionOrder string

// The orders; Parallel is the default.
const (
	Parallel   ExecutionOrder = "Parallel"
	Sequential ExecutionOrder = "Sequential"
)

// Condition is one thing that is so or not, and since when. Severity is written by Stash.
type Condition struct {
	metav1.Condition `json:",inline"`

	// +optional
	Severity string `json:"severity,omitempty"`
}
