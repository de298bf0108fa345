package task

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// BackupHooks run before and after a backup. PreBackup and PostBackup are Stash's; Before and After may have more than one hook, and run
// after PreBackup and before PostBackup, in order.
type BackupHooks struct {
	PreBackup  *Handler  `json:"preBackup,omitempty"`
	PostBackup *PostHook `json:"postBackup,omitempty"`

	Before []Hook `json:"before,omitempty"`
	After  []Hook `json:"after,omitempty"`
}

// RestoreHooks run before and after a restore, as BackupHooks.
type RestoreHooks struct {
	PreRestore  *Handler  `json:"preRestore,omitempty"`
	PostRestore *PostHook `json:"postRestore,omitempty"`

	Before []Hook `json:"before,omitempty"`
	After  []Hook `json:"after,omitempty"`
}

// PostHook is a hook that runs afterwards.
type PostHook struct {
	Handler `json:",inline"`
	// ExecutionPolicy; default Always.
	ExecutionPolicy HookExecutionPolicy `json:"executionPolicy,omitempty"`
}

// Hook is one of a list.
type Hook struct {
	Handler `json:",inline"`
	// Name is for messages and statuses; default: the position.
	Name string `json:"name,omitempty"`
	// ExecutionPolicy of a hook that runs afterwards; default Always.
	ExecutionPolicy HookExecutionPolicy `json:"executionPolicy,omitempty"`
	// TimeoutSeconds bounds one execution; default 300.
	//
	// +kubebuilder:validation:Minimum=0
	TimeoutSeconds int32 `json:"timeoutSeconds,omitempty"`
}

// Handler is what a hook does: exactly one of Exec, HTTPGet, HTTPPost and TCPSocket is set. Its strings may hold templates (text/template),
// such as {{ .Status.Phase }}; see package session for what they see.
type Handler struct {
	// Exec runs a command in a container of the target's pods.
	Exec *corev1.ExecAction `json:"exec,omitempty"`
	// HTTPGet sends a GET request. Any status from 200 to 399 is a success.
	HTTPGet *corev1.HTTPGetAction `json:"httpGet,omitempty"`
	// HTTPPost sends a POST request.
	HTTPPost *HTTPPostAction `json:"httpPost,omitempty"`
	// TCPSocket opens a connection.
	TCPSocket *corev1.TCPSocketAction `json:"tcpSocket,omitempty"`
	// ContainerName is the container for Exec, and the one whose named ports are meant; default: the first.
	ContainerName string `json:"containerName,omitempty"`
}

// HTTPPostAction is a POST request.
type HTTPPostAction struct {
	Path   string             `json:"path,omitempty"`
	Port   intstr.IntOrString `json:"port"`
	Host   string             `json:"host,omitempty"`
	Scheme corev1.URIScheme   `json:"scheme,omitempty"`

	HTTPHeaders []corev1.HTTPHeader `json:"httpHeaders,omitempty"`
	// Body is sent as it is; Form, where it is set, as application/x-www-form-urlencoded instead.
	Body string      `json:"body,omitempty"`
	Form []FormEntry `json:"form,omitempty"`
}

// FormEntry is one field of a form.
type FormEntry struct {
	Key    string   `json:"key"`
	Values []string `json:"values,omitempty"`
}

// HookExecutionPolicy says when a hook that runs afterwards is executed.
//
// +kubebuilder:validation:Enum=Always;OnSuccess;OnFailure
type HookExecutionPolicy string

// The policies.
const (
	ExecuteAlways    HookExecutionPolicy = "Always"
	ExecuteOnSuccess HookExecutionPolicy = "OnSuccess"
	ExecuteOnFailure HookExecutionPolicy = "OnFailure"
)
