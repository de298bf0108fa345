package storage

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Repository names a place for backups.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=repositories,singular=repository,shortName=repo,categories={stash,appscode,all}
// +kubebuilder:printcolumn:name="Integrity",type=boolean,JSONPath=`.status.integrity`
// +kubebuilder:printcolumn:name="Size",type=string,JSONPath=`.status.totalSize`
// +kubebuilder:printcolumn:name="Snapshot-Count",type=integer,JSONPath=`.status.snapshotCount`
// +kubebuilder:printcolumn:name="Last-Successful-Backup",type=date,JSONPath=`.status.lastBackupTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Repository struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   RepositorySpec   `json:"spec,omitempty"`
	Status RepositoryStatus `json:"status,omitempty"`
}

// RepositoryList is a list of Repositories, as the API server returns it.
//
// +kubebuilder:object:root=true
type RepositoryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Repository `json:"items"`
}

// RepositorySpec is the content of a Repository.
type RepositorySpec struct {
	Backend Backend `json:"backend,omitempty"`
	// WipeOut deletes all that is stored when the object is deleted.
	WipeOut bool `json:"wipeOut,omitempty"`
	// UsagePolicy says who may use the Repository; default: its own namespace.
	UsagePolicy *UsagePolicy `json:"usagePolicy,omitempty"`
}

// Backend is where the files lie. Exactly one of the places is set.
type Backend struct {
	// StorageSecretName names a secret in the namespace of the Repository with the credentials, the password of the repository
	// (RESTIC_PASSWORD), and a CA certificate (CA_CERT_DATA) where the place needs it.
	StorageSecretName string `json:"storageSecretName,omitempty"`

	Local *LocalSpec `json:"local,omitempty"`
	S3    *S3Spec    `json:"s3,omitempty"`
	GCS   *GCSSpec   `json:"gcs,omitempty"`
	Azure *AzureSpec `json:"azure,omitempty"`
	Swift *SwiftSpec `json:"swift,omitempty"`
	B2    *B2Spec    `json:"b2,omitempty"`
	Rest  *RestSpec  `json:"rest,omitempty"`
	SFTP  *SFTPSpec  `json:"sftp,omitempty"` // Stash has no such place
}

// LocalSpec is a volume that is mounted where the backup runs.
type LocalSpec struct {
	corev1.VolumeSource `json:",inline"`
	// MountPath is where the volume is mounted: the directory of the repository.
	MountPath string `json:"mountPath,omitempty"`
	// SubPath is the part of the volume that is mounted there; default: all of it.
	SubPath string `json:"subPath,omitempty"`
}

// S3Spec is a bucket of a service with Amazon's S3 API.
type S3Spec struct {
	// Endpoint is a host, or the URL of one; default s3.amazonaws.com.
	Endpoint string `json:"endpoint,omitempty"`
	Bucket   string `json:"bucket,omitempty"`
	Prefix   string `json:"prefix,omitempty"`
	Region   string `json:"region,omitempty"`
	// InsecureTLS accepts any certificate.
	InsecureTLS bool `json:"insecureTLS,omitempty"`
}

// GCSSpec is a bucket of Google Cloud Storage.
type GCSSpec struct {
	Bucket         string `json:"bucket,omitempty"`
	Prefix         string `json:"prefix,omitempty"`
	MaxConnections int64  `json:"maxConnections,omitempty"`
}

// AzureSpec is a container of Azure Blob Storage.
type AzureSpec struct {
	Container      string `json:"container,omitempty"`
	Prefix         string `json:"prefix,omitempty"`
	MaxConnections int64  `json:"maxConnections,omitempty"`
}

// SwiftSpec is a container of OpenStack Swift.
type SwiftSpec struct {
	Container string `json:"container,omitempty"`
	Prefix    string `json:"prefix,omitempty"`
}

// B2Spec is a bucket of Backblaze B2.
type B2Spec struct {
	Bucket         string `json:"bucket,omitempty"`
	Prefix         string `json:"prefix,omitempty"`
	MaxConnections int64  `json:"maxConnections,omitempty"`
}

// RestSpec is a server with restic's REST protocol.
type RestSpec struct {
	URL string `json:"url,omitempty"`
}

// SFTPSpec is a directory on a host that is reached through SSH.
type SFTPSpec struct {
	Host string `json:"host,omitempty"`
	Port int32  `json:"port,omitempty"` // default 22
	User string `json:"user,omitempty"`
	// Path is absolute, or relative to the user's home.
	Path string `json:"path,omitempty"`
}

// UsagePolicy says who may use a Repository.
type UsagePolicy struct {
	AllowedNamespaces AllowedNamespaces `json:"allowedNamespaces,omitempty"`
}

// AllowedNamespaces are the namespaces whose objects may refer to a Repository.
type AllowedNamespaces struct {
	// From is All, Same or Selector; default Same.
	From *FromNamespaces `json:"from,omitempty"`
	// Selector chooses namespaces by their labels, where From is Selector.
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// FromNamespaces is a way to choose namespaces.
//
// +kubebuilder:validation:Enum=All;Selector;Same
type FromNamespaces string

// The ways to choose namespaces.
const (
	NamespacesFromAll      FromNamespaces = "All"
	NamespacesFromSelector FromNamespaces = "Selector"
	NamespacesFromSame     FromNamespaces = "Same"
)

// RepositoryStatus is what was last seen of a repository.
type RepositoryStatus struct {
	ObservedGeneration int64        `json:"observedGeneration,omitempty"`
	FirstBackupTime    *metav1.Time `json:"firstBackupTime,omitempty"`
	LastBackupTime     *metav1.Time `json:"lastBackupTime,omitempty"`
	// Integrity is whether the last check found no problem; nil if there was none.
	Integrity *bool `json:"integrity,omitempty"`
	// TotalSize is what all files take, such as "1.207 GiB".
	TotalSize     string `json:"totalSize,omitempty"`
	SnapshotCount int64  `json:"snapshotCount,omitempty"`
	// SnapshotsRemovedOnLastCleanup is how many snapshots the retention policy removed last.
	SnapshotsRemovedOnLastCleanup int64 `json:"snapshotsRemovedOnLastCleanup,omitempty"`
	// References are the objects that use the Repository.
	References []ObjectReference `json:"references,omitempty"`
}

// ObjectReference names an object of any kind.
type ObjectReference struct {
	APIGroup  string `json:"apiGroup,omitempty"`
	Kind      string `json:"kind,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
}

// String names the object: "repository namespace/name".
func (r *Repository) String() string {
	if r.Namespace == "" {
		return "repository " + r.Name
	}
	return "repository " + r.Namespace + "/" + r.Name
}
