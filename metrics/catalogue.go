package metrics

import (
	"iter"
	"strings"
)

// Names says how the metrics that Stash has are named.
type Names int

// The names. Stash changed them: dashboards know one or the other.
const (
	// ShortNames are such as stash_backup_session_success.
	ShortNames Names = iota
	// LongNames are such as stash_appscode_com_backupsession_success.
	LongNames
)

var (
	sessionLabels    = []string{"invoker_kind", "invoker_name", "namespace", "driver", "repository"}
	targetLabels     = []string{"kind", "group", "name"}
	hostLabels       = []string{"kind", "group", "name", "hostname"}
	repositoryLabels = []string{"name", "namespace", "backend", "bucket", "prefix"}
)

// Catalogue is every metric. Those whose names begin with Own are escrow's, the others are those of Stash.
type Catalogue struct {
	BackupSuccess, BackupDuration, BackupTargets, BackupLastSuccess *Metric // of a session
	OwnBackupLastRun                                                *Metric

	TargetSuccess, TargetHosts, TargetLastSuccess *Metric // of a target

	HostSuccess, HostDuration, HostSize, HostUploaded, HostProcessing *Metric // of a host
	HostFiles, HostFilesNew, HostFilesModified, HostFilesUnmodified   *Metric
	OwnDocuments, OwnDocumentsRead, OwnSegments, OwnSegmentsReused    *Metric
	OwnRequests, OwnRetries, OwnOmissions, OwnThroughput, OwnStored   *Metric

	RestoreSuccess, RestoreDuration, RestoreTargets, OwnRestoreLastRun, OwnRestoreLastSuccess *Metric
	RestoreTargetSuccess, RestoreTargetHosts                                                  *Metric
	RestoreHostSuccess, RestoreHostDuration                                                   *Metric
	OwnRestoreDocuments, OwnRestoreRejected, OwnRestoreRetried, OwnRestoreThroughput          *Metric

	RepositoryIntegrity, RepositorySize, RepositorySnapshots, RepositoryCleaned *Metric
	OwnRepositoryDedup, OwnRepositoryProblems                                   *Metric

	all []*Metric
}

// All yields every metric.
func (c *Catalogue) All() iter.Seq[*Metric] {
	return func(yield func(*Metric) bool) {
		for _, m := range c.all {
			if !yield(m) {
				return
			}
		}
	}
}

// NewCatalogue makes the metrics, under the names that are wanted for those of Stash.
func NewCatalogue(names Names) *Catalogue {
	c := &Catalogue{}
	add := func(prefix string, s Source, name, help string) *Metric {
		m := &Metric{Name: prefix + name, Help: help, Source: s, Labels: sessionLabels}
		switch s {
		case OfTarget:
			m.Labels = append(append([]string{}, sessionLabels...), targetLabels...)
		case OfHost:
			m.Labels = append(append([]string{}, sessionLabels...), hostLabels...)
		case OfRepository:
			m.Labels = repositoryLabels
		}
		c.all = append(c.all, m)
		return m
	}
	stash := func(short, long string) func(s Source, name, help string) *Metric {
		return func(s Source, name, help string) *Metric {
			if names == LongNames {
				return add(long, s, strings.TrimPrefix(name, "session_"), help)
			}
			return add(short, s, name, help)
		}
	}
	b := stash("stash_backup_", "stash_appscode_com_backupsession_")
	c.BackupSuccess = b(OfSession, "session_success", "Whether the last backup session succeeded, 1 or 0.")
	c.BackupDuration = b(OfSession, "session_duration_seconds", "How long the last backup session took.")
	c.BackupTargets = b(OfSession, "target_count_total", "Number of targets of the last backup session.")
	c.BackupLastSuccess = b(OfSession, "last_success_time_seconds", "When a backup session last succeeded, in seconds since 1970.")
	c.TargetSuccess = b(OfTarget, "target_success", "Whether the last backup of the target succeeded, 1 or 0.")
	c.TargetHosts = b(OfTarget, "target_host_count_total", "Number of hosts of the target.")
	c.TargetLastSuccess = b(OfTarget, "target_last_success_time_seconds", "When a backup of the target last succeeded, in seconds since 1970.")
	c.HostSuccess = b(OfHost, "host_backup_success", "Whether the last backup of the host succeeded, 1 or 0.")
	c.HostDuration = b(OfHost, "host_backup_duration_seconds", "How long the last backup of the host took.")
	c.HostSize = b(OfHost, "host_data_size_bytes", "Size of what the last backup of the host holds.")
	c.HostUploaded = b(OfHost, "host_data_uploaded_bytes", "What the last backup of the host added to the repository.")
	c.HostProcessing = b(OfHost, "host_data_processing_time_seconds", "How long reading and storing took in the last backup of the host.")
	c.HostFiles = b(OfHost, "host_files_total", "Number of files in the last backup of the host.")
	c.HostFilesNew = b(OfHost, "host_files_new", "Number of files in the last backup of the host that were not in the one before.")
	c.HostFilesModified = b(OfHost, "host_files_modified", "Number of files in the last backup of the host that changed since the one before.")
	c.HostFilesUnmodified = b(OfHost, "host_files_unmodified", "Number of files in the last backup of the host that are those of the one before.")

	r := stash("stash_restore_", "stash_appscode_com_restoresession_")
	c.RestoreSuccess = r(OfSession, "session_success", "Whether the restore session succeeded, 1 or 0.")
	c.RestoreDuration = r(OfSession, "session_duration_seconds", "How long the restore session took.")
	c.RestoreTargets = r(OfSession, "target_count_total", "Number of targets of the restore session.")
	c.RestoreTargetSuccess = r(OfTarget, "target_success", "Whether the restore of the target succeeded, 1 or 0.")
	c.RestoreTargetHosts = r(OfTarget, "target_host_count_total", "Number of hosts of the target that was restored.")
	c.RestoreHostSuccess = r(OfHost, "host_restore_success", "Whether the restore of the host succeeded, 1 or 0.")
	c.RestoreHostDuration = r(OfHost, "host_restore_duration_seconds", "How long the restore of the host took.")

	p := stash("stash_repository_", "stash_appscode_com_repository_")
	c.RepositoryIntegrity = p(OfRepository, "integrity", "Whether the last check of the repository found no problem, 1 or 0.")
	c.RepositorySize = p(OfRepository, "size_bytes", "What the files of the repository take.")
	c.RepositorySnapshots = p(OfRepository, "snapshot_count", "Number of snapshots in the repository.")
	c.RepositoryCleaned = p(OfRepository, "snapshot_cleaned", "Number of snapshots that the retention policy removed last.")

	own := func(s Source, name, help string) *Metric { return add("escrow_", s, name, help) }
	c.OwnBackupLastRun = own(OfSession, "backup_last_run_time_seconds", "When the last backup session ended, however it did, in seconds since 1970.")
	c.OwnDocuments = own(OfHost, "backup_documents", "Number of documents in the last backup.")
	c.OwnDocumentsRead = own(OfHost, "backup_documents_read", "Number of documents that the last backup read from the cluster.")
	c.OwnSegments = own(OfHost, "backup_segments", "Number of segments in the last backup.")
	c.OwnSegmentsReused = own(OfHost, "backup_segments_reused", "Number of segments that the last backup took over from the one before, unread.")
	c.OwnRequests = own(OfHost, "backup_requests", "Number of requests that the last backup sent to the cluster.")
	c.OwnRetries = own(OfHost, "backup_retries", "Number of requests that the last backup had to send again.")
	c.OwnOmissions = own(OfHost, "backup_omissions", "Number of things that the last backup left out, and named.")
	c.OwnThroughput = own(OfHost, "backup_throughput_bytes_per_second", "Bytes of documents in the last backup by the seconds that it took.")
	c.OwnStored = own(OfHost, "backup_stored_bytes", "What the last backup added to the repository, compressed and encrypted.")
	c.OwnRestoreLastRun = own(OfSession, "restore_last_run_time_seconds", "When the last restore session ended, however it did, in seconds since 1970.")
	c.OwnRestoreLastSuccess = own(OfSession, "restore_last_success_time_seconds", "When a restore session last succeeded, in seconds since 1970.")
	c.OwnRestoreDocuments = own(OfHost, "restore_documents", "Number of documents that the last restore wrote.")
	c.OwnRestoreRejected = own(OfHost, "restore_rejected_documents", "Number of documents that the cluster refused for good in the last restore.")
	c.OwnRestoreRetried = own(OfHost, "restore_retried_documents", "Number of documents that the last restore had to send again.")
	c.OwnRestoreThroughput = own(OfHost, "restore_throughput_bytes_per_second", "Bytes of documents in the last restore by the seconds that it took.")
	c.OwnRepositoryDedup = own(OfRepository, "repository_dedup_ratio", "What the files of all snapshots would take without deduplication, by what is stored of it, uncompressed.")
	c.OwnRepositoryProblems = own(OfRepository, "repository_problems", "Number of problems that the last check of the repository found.")
	return c
}
