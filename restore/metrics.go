package restore

import "github.com/escrow-backup/escrow/metrics"

// Metrics are what to record of a restore, of a failed one how far it came; whether it succeeded is for the caller to say.
func (r *Result) Metrics() metrics.RestoreHost {
	return metrics.RestoreHost{Duration: r.Duration, Documents: r.Documents, Bytes: r.Bytes, Rejected: r.Rejected, Retried: r.Retried}
}
