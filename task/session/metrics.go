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
	r := restored{task.KindRestoreSession, s, s.Status.Phase, s.Status.SessionDuration, nil}
	if s.Spec.Target != nil {
		phase := s.Status.Phase
		r.members = []task.RestoreMemberStatus{{Ref: s.Spec.Target.Ref, Phase: phase, Stats: s.Status.Stats}}
	}
	return r.record(ctx, c, sink, end)
}

// RecordRestoreBatch does the same for a batch.
func RecordRestoreBatch(ctx context.Context, c *metrics.Catalogue, sink metrics.Sink, b *task.RestoreBatch, end time.Time) error {
	r := restored{task.KindRestoreBatch, b, b.Status.Phase, b.Status.SessionDuration, b.Status.Members}
	return r.record(ctx, c, sink, end)
}

// restored is a restore that has ended.
type restored struct {
	kind     string
	object   task.Object
	phase    task.SessionPhase
	duration string
	members  []task.RestoreMemberStatus
}

func (r *restored) record(ctx context.Context, c *metrics.Catalogue, sink metrics.Sink, end time.Time) error {
	i := metrics.Invoker{Kind: r.kind, Namespace: r.object.GetNamespace(), Name: r.object.GetName(), Driver: string(task.DriverRestic),
		Repository: RepositoryOf(r.object).Name}
	m := &metrics.RestoreSession{Invoker: i, Success: r.phase == task.SessionSucceeded, Targets: len(r.members), Duration: took(r.duration), End: end}
	errs := []error{m.Record(ctx, c, sink)}
	for _, t := range r.members {
		if t.Phase != task.SessionSucceeded && t.Phase != task.SessionSkipped {
			errs = append(errs, (&metrics.RestoreTarget{Invoker: i, Target: t.Ref.Measured(), Hosts: len(t.Stats)}).Record(ctx, c, sink))
		}
	}
	return errors.Join(append(errs, metrics.Flush(ctx, sink))...)
}
