package task

import (
	"strings"

	"github.com/escrow-backup/escrow/metrics"
)

// Measured is how metrics name the target.
func (r TargetRef) Measured() metrics.Target {
	group, _, found := strings.Cut(r.APIVersion, "/")
	if !found {
		group = ""
	}
	return metrics.Target{Group: group, Kind: r.Kind, Name: r.Name}
}
