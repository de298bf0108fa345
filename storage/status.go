package storage

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
)

// ObserveOptions of Observe; nil and the zero value work.
type ObserveOptions struct {
	// Check is how the repository is checked for Status.Integrity. Default: not, and Integrity is left as it is.
	Check *repository.CheckOptions
}

// Observe computes the status from the opened repository: counts, times and sizes, and the integrity if o says to check. The
// rest of the status is left as it is; after an error, all of it. The problems that a check finds are returned.
func (r *Repository) Observe(ctx context.Context, b backend.Backend, repo *repository.Repo, o *ObserveOptions) ([]repository.Problem, error) {
	status := *r.Status.deepCopy()
	status.ObservedGeneration = r.Generation
	status.SnapshotCount, status.FirstBackupTime, status.LastBackupTime = 0, nil, nil
	for s, err := range repo.Snapshots(ctx, repository.Filter{}) {
		if err != nil {
			return nil, fmt.Errorf("observe %v: %w", r, err)
		}
		status.SnapshotCount++
		t := metav1.NewTime(s.Time)
		if status.FirstBackupTime == nil || t.Before(status.FirstBackupTime) {
			status.FirstBackupTime = t.DeepCopy()
		}
		if status.LastBackupTime == nil || status.LastBackupTime.Before(&t) {
			status.LastBackupTime = t.DeepCopy()
		}
	}
	var size int64
	for _, t := range backend.FileTypes {
		for fi, err := range b.List(ctx, t) {
			if err != nil {
				return nil, fmt.Errorf("observe %v: %w", r, err)
			}
			size += fi.Size
		}
	}
	status.TotalSize = FormatSize(size)
	var problems []repository.Problem
	if o != nil && o.Check != nil {
		for p, err := range repo.Check(ctx, o.Check) {
			if err != nil {
				return nil, fmt.Errorf("observe %v: %w", r, err)
			}
			problems = append(problems, p)
		}
		whole := len(problems) == 0
		status.Integrity = &whole
	}
	r.Status = status
	return problems, nil
}

func (s *RepositoryStatus) deepCopy() *RepositoryStatus {
	out := new(RepositoryStatus)
	s.DeepCopyInto(out)
	return out
}

// FormatSize gives bytes as Stash's statuses have them: three digits after the point, in binary units.
func FormatSize(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size {
			return fmt.Sprintf("%.3f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
