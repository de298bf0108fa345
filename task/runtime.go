package task

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RuntimeSettings are what a Job gets beside the Functions.
type RuntimeSettings struct {
	Pod       *PodRuntimeSettings       `json:"pod,omitempty"`
	Container *ContainerRuntimeSettings `json:"container,omitempty"`
}

// PodRuntimeSettings go into the pod of a Job.
type PodRuntimeSettings struct {
	PodLabels                    map[string]string                 `json:"podLabels,omitempty"`
	PodAnnotations               map[string]string                 `json:"podAnnotations,omitempty"`
	NodeSelector                 map[string]string                 `json:"nodeSelector,omitempty"`
	ServiceAccountName           string                            `json:"serviceAccountName,omitempty"`
	ServiceAccountAnnotations    map[string]string                 `json:"serviceAccountAnnotations,omitempty"`
	AutomountServiceAccountToken *bool                             `json:"automountServiceAccountToken,omitempty"`
	NodeName                     string                            `json:"nodeName,omitempty"`
	SecurityContext              *corev1.PodSecurityContext        `json:"securityContext,omitempty"`
	ImagePullSecrets             []corev1.LocalObjectReference     `json:"imagePullSecrets,omitempty"`
	Affinity                     *corev1.Affinity                  `json:"affinity,omitempty"`
	SchedulerName                string                            `json:"schedulerName,omitempty"`
	Tolerations                  []corev1.Toleration               `json:"tolerations,omitempty"`
	PriorityClassName            string                            `json:"priorityClassName,omitempty"`
	Priority                     *int32                            `json:"priority,omitempty"`
	ReadinessGates               []corev1.PodReadinessGate         `json:"readinessGates,omitempty"`
	RuntimeClassName             *string                           `json:"runtimeClassName,omitempty"`
	EnableServiceLinks           *bool                             `json:"enableServiceLinks,omitempty"`
	TopologySpreadConstraints    []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`
}

// ContainerRuntimeSettings go into each container of a Job.
type ContainerRuntimeSettings struct {
	Resources       corev1.ResourceRequirements `json:"resources,omitempty"`
	LivenessProbe   *corev1.Probe               `json:"livenessProbe,omitempty"`
	ReadinessProbe  *corev1.Probe               `json:"readinessProbe,omitempty"`
	Lifecycle       *corev1.Lifecycle           `json:"lifecycle,omitempty"`
	SecurityContext *corev1.SecurityContext     `json:"securityContext,omitempty"`
	// Nice and IONice lower the priority of the process; they reach it as NICE_ADJUSTMENT, IONICE_CLASS and IONICE_CLASS_DATA.
	Nice    *NiceSettings          `json:"nice,omitempty"`
	IONice  *IONiceSettings        `json:"ionice,omitempty"`
	Env     []corev1.EnvVar        `json:"env,omitempty"`
	EnvFrom []corev1.EnvFromSource `json:"envFrom,omitempty"`
}

// NiceSettings are those of nice(1).
type NiceSettings struct {
	Adjustment *int32 `json:"adjustment,omitempty"`
}

// IONiceSettings are those of ionice(1).
type IONiceSettings struct {
	Class     *int32 `json:"class,omitempty"`
	ClassData *int32 `json:"classData,omitempty"`
}

// EmptyDirSettings are how the scratch directory of a Job is made.
type EmptyDirSettings struct {
	// Medium is "" (the node's disk) or "Memory".
	Medium    corev1.StorageMedium `json:"medium,omitempty"`
	SizeLimit *resource.Quantity   `json:"sizeLimit,omitempty"`
	// DisableCaching keeps no copy of the repository's metadata there.
	DisableCaching bool `json:"disableCaching,omitempty"`
}

// PersistentVolumeClaim is a template of one.
type PersistentVolumeClaim struct {
	PartialObjectMeta `json:"metadata,omitempty"`

	Spec corev1.PersistentVolumeClaimSpec `json:"spec,omitempty"`
}

// PartialObjectMeta is the part of an object's metadata that a template has.
type PartialObjectMeta struct {
	Name            string                  `json:"name,omitempty"`
	GenerateName    string                  `json:"generateName,omitempty"`
	Namespace       string                  `json:"namespace,omitempty"`
	Labels          map[string]string       `json:"labels,omitempty"`
	Annotations     map[string]string       `json:"annotations,omitempty"`
	OwnerReferences []metav1.OwnerReference `json:"ownerReferences,omitempty"`
}
