package task

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The kinds of this package.
const (
	KindFunction            = "Function"
	KindTask                = "Task"
	KindBackupConfiguration = "BackupConfiguration"
	KindBackupSession       = "BackupSession"
	KindRestoreSession      = "RestoreSession"
	KindBackupBlueprint     = "BackupBlueprint"
	KindBackupBatch         = "BackupBatch"
	KindRestoreBatch        = "RestoreBatch"
)

// GroupVersion is the API group and version of this package's objects.
var GroupVersion = schema.GroupVersion{Group: "stash.appscode.com", Version: "v1beta1"}

// Resource gives the group's name for a resource, such as "backupsessions".
func Resource(resource string) schema.GroupResource {
	return GroupVersion.WithResource(resource).GroupResource()
}

// AddToScheme makes the types known to a scheme, so that clients of Kubernetes can read and write them.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&Function{}, &FunctionList{}, &Task{}, &TaskList{},
		&BackupConfiguration{}, &BackupConfigurationList{}, &BackupSession{}, &BackupSessionList{},
		&RestoreSession{}, &RestoreSessionList{}, &BackupBlueprint{}, &BackupBlueprintList{},
		&BackupBatch{}, &BackupBatchList{}, &RestoreBatch{}, &RestoreBatchList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
