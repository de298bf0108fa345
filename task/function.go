package task

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Function is one container of a Task: what it runs, with variables such as ${TARGET_NAME} in any of its strings.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=functions,singular=function,scope=Cluster,categories={stash,appscode,all}
// +kubebuilder:printcolumn:name="Image",type=string,JSONPath=`.spec.image`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Function struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec FunctionSpec `json:"spec,omitempty"`
}

// FunctionList is a list of Functions, as the API server returns it.
//
// +kubebuilder:object:root=true
type FunctionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Function `json:"items"`
}

// FunctionSpec is the content of a Function.
type FunctionSpec struct {
	Image         string                 `json:"image,omitempty"`
	Command       []string               `json:"command,omitempty"`
	Args          []string               `json:"args,omitempty"`
	WorkingDir    string                 `json:"workingDir,omitempty"`
	Ports         []corev1.ContainerPort `json:"ports,omitempty"`
	VolumeMounts  []corev1.VolumeMount   `json:"volumeMounts,omitempty"`
	VolumeDevices []corev1.VolumeDevice  `json:"volumeDevices,omitempty"`
	// RuntimeSettings of the container; those of the BackupConfiguration come before them.
	RuntimeSettings *ContainerRuntimeSettings `json:"runtimeSettings,omitempty"`
	// PodSecurityPolicyName has no effect: Kubernetes has no such policies any more.
	PodSecurityPolicyName string `json:"podSecurityPolicyName,omitempty"`
}

// Task is a list of Functions that make up a backup or a restore.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=tasks,singular=task,scope=Cluster,categories={stash,appscode,all}
// +kubebuilder:printcolumn:name="Steps",type=string,JSONPath=`.spec.steps[*].name`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Task struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec TaskSpec `json:"spec,omitempty"`
}

// TaskList is a list of Tasks, as the API server returns it.
//
// +kubebuilder:object:root=true
type TaskList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Task `json:"items"`
}

// TaskSpec is the content of a Task.
type TaskSpec struct {
	// Steps run in order.
	Steps []FunctionRef `json:"steps,omitempty"`
	// Volumes of the pod, which the Functions mount.
	Volumes []corev1.Volume `json:"volumes,omitempty"`
}

// FunctionRef is one step of a Task.
type FunctionRef struct {
	Name   string  `json:"name"`
	Params []Param `json:"params,omitempty"`
}

// TaskRef names a Task, and gives variables that come before all others.
type TaskRef struct {
	Name   string  `json:"name,omitempty"`
	Params []Param `json:"params,omitempty"`
}

// Param is the value of a variable.
type Param struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}
