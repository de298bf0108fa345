package backup

import "github.com/escrow-backup/escrow/metrics"

// Metrics are what to record of a backup that succeeded.
func (r *Result) Metrics() metrics.BackupHost {
	m := metrics.BackupHost{
		Success: true, Duration: r.Duration, Bytes: r.Bytes, Stored: r.BytesAdded, Documents: r.Documents, DocumentsRead: r.DocumentsRead,
		Segments: r.Segments, SegmentsReused: r.SegmentsReused, Requests: r.Requests, Retries: r.Retries, Omissions: int64(len(r.Omitted)),
	}
	if r.Snapshot != nil && r.Snapshot.Summary != nil {
		s := r.Snapshot.Summary
		m.Files, m.FilesNew, m.FilesModified, m.FilesUnmodified = s.TotalFilesProcessed, s.FilesNew, s.FilesChanged, s.FilesUnmodified
	}
	return m
}
