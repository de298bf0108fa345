package session

import (
	"context"
	"errors"
	"time"

	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/task"
)

// took is how long a session took, from its status.
func took(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0 // not ended yet
	}
	return d
}

// RecordBackup gives the metrics of a session that has ended to the sink, and flushes it: the session as a whole, and for targets that failed
// without a Function of theirs telling so, their failure. A skipped session records nothing: what ran before counts.
func RecordBackup(ctx context.Context, c *metrics.Catalogue, sink metrics.Sink, s *task.BackupSession, invoker task.Object, end time.Time) error {
	if s.Status.Phase == task.SessionSkipped {
		return nil
	}
	i := metrics.Invoker{Kind: s.Spec.Invoker.Kind, Namespace: s.Namespace, Name: s.Spec.Invoker.Name, Driver: string(task.DriverRestic)}
	switch b := invoker.(type) {
	case *task.BackupConfiguration:
		i.Repository = b.Spec.Repository.Name
	case *task.BackupBatch:
		i.Repository = b.Spec.Repository.Name
	}
	m := &metrics.BackupSession{Invoker: i, Success: s.Status.Phase == task.SessionSucceeded, Targets: len(s.Status.Targets),
		Duration: took(s.Status.SessionDuration), End: end}
	errs := []error{m.Record(ctx, c, sink)}
	for _, t := range s.Status.Targets {
		if t.Phase != task.SessionFailed {
			continue
		}
		target := t.Ref.Measured()
		errs = append(errs, (&metrics.BackupTarget{Invoker: i, Target: target, Hosts: len(t.Stats), End: end}).Record(ctx, c, sink))
		for _, h := range t.Stats {
			if h.Phase == task.SessionFailed {
				errs = append(errs, (&metrics.BackupHost{Duration: took(h.Duration)}).Record(ctx, c, sink, i, target, h.Hostname))
			}
		}
	}
	return errors.Join(append(errs, metrics.Flush(ctx, sink))...)
}

// RecordRestore gives the metrics of a restore that has ended to the sink, and flushes it.
func RecordRestore(ctx context.Context, c *metrics.Catalogue, sink metrics.Sink, s *task.RestoreSession, end time.Time) error {
	i := metrics.Invoker{Kind: task.KindRestoreSession, Namespace: s.Namespace, Name: s.Name, Driver: string(task.DriverRestic), Repository: s.Spec.Repository.Name}
	success := s.Status.Phase == task.SessionSucceeded
	m := &metrics.RestoreSession{Invoker: i, Success: success, Targets: 1, Duration: took(s.Status.SessionDuration), End: end}
	errs := []error{m.Record(ctx, c, sink)}
	if !success && s.Spec.Target != nil {
		target := s.Spec.Target.Ref.Measured()
		errs = append(errs, (&metrics.RestoreTarget{Invoker: i, Target: target, Hosts: len(s.Status.Stats)}).Record(ctx, c, sink))
	}
	return errors.Join(append(errs, metrics.Flush(ctx, sink))...)
}
