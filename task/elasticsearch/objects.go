package elasticsearch

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/escrow-backup/escrow/task"
)

// The names of the Functions, and of the Tasks that use them.
const (
	BackupFunction  = "elasticsearch-backup"
	RestoreFunction = "elasticsearch-restore"
)

// Objects are the Tasks elasticsearch-backup and elasticsearch-restore and their Functions, to be applied or put into a task.Catalog. With a
// version, such as "8.2.0", the Tasks and the first Function of each have it behind their names, as Stash's have.
func Objects(version string) []task.Object {
	suffix := ""
	if version != "" {
		suffix = "-" + version
	}
	common := []string{
		"--provider=${REPOSITORY_PROVIDER:=}", "--bucket=${REPOSITORY_BUCKET:=}", "--endpoint=${REPOSITORY_ENDPOINT:=}",
		"--insecure-tls=${REPOSITORY_INSECURE_TLS:=false}", "--region=${REPOSITORY_REGION:=}", "--path=${REPOSITORY_PREFIX:=}",
		"--storage-secret-name=${REPOSITORY_SECRET_NAME:=}", "--storage-secret-namespace=${REPOSITORY_SECRET_NAMESPACE:=}",
		"--repository=${REPOSITORY_NAME:=}", "--repository-namespace=${REPOSITORY_NAMESPACE:=}",
		"--scratch-dir=${scratchDir:=" + task.TempDir + "}", "--enable-cache=${ENABLE_CACHE:=true}", "--max-connections=${MAX_CONNECTIONS:=0}",
		"--wait-timeout=${waitTimeout:=300}", "--hostname=${HOSTNAME:=}", "--interim-data-dir=${INTERIM_DATA_DIR:=}",
		"--namespace=${NAMESPACE:=default}", "--appbinding=${TARGET_NAME:=}", "--appbinding-namespace=${TARGET_NAMESPACE:=}",
		"--es-args=${args:=}", "--output-dir=${outputDir:=" + task.OutputDir + "}",
	}
	backupArgs := append(append([]string{"backup-es"}, common...),
		"--backupsession=${BACKUP_SESSION:=}",
		"--retention-keep-last=${RETENTION_KEEP_LAST:=0}", "--retention-keep-hourly=${RETENTION_KEEP_HOURLY:=0}",
		"--retention-keep-daily=${RETENTION_KEEP_DAILY:=0}", "--retention-keep-weekly=${RETENTION_KEEP_WEEKLY:=0}",
		"--retention-keep-monthly=${RETENTION_KEEP_MONTHLY:=0}", "--retention-keep-yearly=${RETENTION_KEEP_YEARLY:=0}",
		"--retention-keep-tags=${RETENTION_KEEP_TAGS:=}", "--retention-prune=${RETENTION_PRUNE:=false}", "--retention-dry-run=${RETENTION_DRY_RUN:=false}",
		"--integrity-check-every=${INTEGRITY_CHECK_EVERY:=1}", "--integrity-check-read-data=${INTEGRITY_CHECK_READ_DATA:=}",
		"--allow-omissions=${allowOmissions:=false}")
	restoreArgs := append(append([]string{"restore-es"}, common...),
		"--source-hostname=${SOURCE_HOSTNAME:=}", "--snapshot=${RESTORE_SNAPSHOTS:=}", "--include=${INCLUDE_PATTERNS:=}",
		"--exclude=${EXCLUDE_PATTERNS:=}", "--conflict=${conflict:=fail}")
	statusArgs := []string{"update-status", "--namespace=${NAMESPACE:=default}", "--backupsession=${BACKUP_SESSION:=}",
		"--restoresession=${RESTORE_SESSION:=}", "--restorebatch=${RESTORE_BATCH:=}", "--repository=${REPOSITORY_NAME:=}", "--repository-namespace=${REPOSITORY_NAMESPACE:=}",
		"--invoker-kind=${INVOKER_KIND:=}", "--invoker-name=${INVOKER_NAME:=}", "--target-kind=${TARGET_KIND:=}", "--target-name=${TARGET_NAME:=}",
		"--target-namespace=${TARGET_NAMESPACE:=}", "--hostname=${HOSTNAME:=}", "--output-dir=${outputDir:=" + task.OutputDir + "}",
		"--metrics-pushgateway-url=${PROMETHEUS_PUSHGATEWAY_URL:=}", "--prom-job-name=${PROMETHEUS_JOB_NAME:=}"}
	function := func(name string, args []string) *task.Function {
		return &task.Function{TypeMeta: kind(task.KindFunction), ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: task.FunctionSpec{Image: "${ADDON_IMAGE:=}", Args: args}}
	}
	steps := func(name string) *task.Task {
		return &task.Task{TypeMeta: kind(task.KindTask), ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: task.TaskSpec{Steps: []task.FunctionRef{{Name: name}, {Name: task.StatusFunction}}}}
	}
	return []task.Object{
		function(BackupFunction+suffix, backupArgs), function(RestoreFunction+suffix, restoreArgs), function(task.StatusFunction, statusArgs),
		steps(BackupFunction + suffix), steps(RestoreFunction + suffix),
	}
}

func kind(name string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: task.GroupVersion.String(), Kind: name}
}
