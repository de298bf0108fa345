package elasticsearch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
)

// statusArgs are those of update-status.
type statusArgs struct {
	namespace, backup, restore, restoreBatch string
	repository, repositoryNamespace          string
	outputDir, hostname                      string
	targetKind, targetName, targetNamespace  string
	invokerKind, invokerName                 string
}

func parseStatus(args []string) (*statusArgs, error) {
	a := &statusArgs{}
	f := newFlags(task.StatusFunction)
	f.StringVar(&a.namespace, "namespace", "default", "namespace of the session")
	for _, name := range []string{"backupsession", "backup-session"} {
		f.StringVar(&a.backup, name, "", "the BackupSession")
	}
	for _, name := range []string{"restoresession", "restore-session"} {
		f.StringVar(&a.restore, name, "", "the RestoreSession")
	}
	f.StringVar(&a.restoreBatch, "restorebatch", "", "the RestoreBatch")
	f.StringVar(&a.repository, "repository", "", "the Repository")
	f.StringVar(&a.repositoryNamespace, "repository-namespace", "", "its namespace")
	f.StringVar(&a.outputDir, "output-dir", "", "directory with output.json")
	f.StringVar(&a.hostname, "hostname", "", "host of the target")
	f.StringVar(&a.targetKind, "target-kind", "", "kind of the target")
	f.StringVar(&a.targetName, "target-name", "", "name of the target")
	f.StringVar(&a.targetNamespace, "target-namespace", "", "its namespace")
	f.StringVar(&a.invokerKind, "invoker-kind", "", "kind of what made the session")
	f.StringVar(&a.invokerName, "invoker-name", "", "its name")
	f.Bool("metrics-enabled", true, "metrics go where the program was told")
	f.Bool("enable-status-subresource", true, "has no effect")
	for _, name := range []string{"metrics-pushgateway-url", "prom-job-name", "license-apiservice", "metrics-dir", "metrics-labels"} {
		f.String(name, "", "has no effect here")
	}
	if err := parse(f, args); err != nil {
		return nil, err
	}
	n := 0
	for _, s := range []string{a.backup, a.restore, a.restoreBatch} {
		if s != "" {
			n++
		}
	}
	if n != 1 {
		return nil, usagef("update-status: one of --backupsession, --restoresession and --restorebatch is required")
	}
	if a.outputDir == "" {
		return nil, usagef("update-status: --output-dir is required")
	}
	a.repositoryNamespace = cmp.Or(a.repositoryNamespace, a.namespace)
	return a, nil
}

// UpdateStatus is the Function update-status. Its arguments are without the command's name. It sets the status of one target of the session
// and of the Repository, and records their metrics; whether the session as a whole is over decides package session.
func (f *Functions) UpdateStatus(ctx context.Context, args []string) error {
	return f.updateStatus(ctx, args, nil)
}

// updateStatus knows what failed before, if it is told in the process.
func (f *Functions) updateStatus(ctx context.Context, args []string, failed error) error {
	a, err := parseStatus(args)
	if err != nil {
		return err
	}
	if err := f.setStatus(ctx, a, failed); err != nil {
		return fmt.Errorf("%s: %w", task.StatusFunction, err)
	}
	return nil
}

func (f *Functions) setStatus(ctx context.Context, a *statusArgs, failed error) error {
	out, err := readOutput(f.path(a.outputDir))
	if failed != nil && errors.Is(err, fs.ErrNotExist) {
		// What failed came before there was anything to tell.
		out, err = failure(a, failed), nil
	}
	if err != nil {
		return err
	}
	r, err := f.repositoryStatus(ctx, a, out)
	if err != nil {
		return err
	}
	invoker, target, err := f.sessionStatus(ctx, a, out)
	if err != nil {
		return err
	}
	if r != nil {
		invoker.Repository = r.Name
	}
	return f.record(ctx, out, invoker, target, r)
}

// failure is the output of a Function that did not come to write one.
func failure(a *statusArgs, err error) *Output {
	one := int32(1)
	if a.backup != "" {
		return &Output{Backup: &metrics.BackupHost{}, BackupTargetStatus: &task.BackupTargetStatus{TotalHosts: &one, Phase: task.SessionFailed,
			Stats: []task.HostBackupStats{{Hostname: task.Host(a.hostname), Phase: task.SessionFailed, Error: oneLine(err)}}}}
	}
	return &Output{Restore: &metrics.RestoreHost{}, RestoreTargetStatus: &task.RestoreMemberStatus{TotalHosts: &one, Phase: task.SessionFailed,
		Stats: []task.HostRestoreStats{{Hostname: task.Host(a.hostname), Phase: task.SessionFailed, Error: oneLine(err)}}}}
}

func (f *Functions) repositoryStatus(ctx context.Context, a *statusArgs, out *Output) (*storage.Repository, error) {
	if a.repository == "" {
		return nil, nil
	}
	r := new(storage.Repository)
	if out.Repository == nil {
		return r, f.Store.Get(ctx, a.repositoryNamespace, a.repository, r)
	}
	now := metav1.NewTime(f.now().UTC().Truncate(1e9))
	err := f.Store.UpdateStatus(ctx, a.repositoryNamespace, a.repository, r, func() error {
		s := &r.Status
		s.ObservedGeneration = r.Generation
		if s.FirstBackupTime == nil {
			s.FirstBackupTime = &now
		}
		s.LastBackupTime = &now
		s.TotalSize, s.SnapshotCount = out.Repository.Size, out.Repository.SnapshotCount
		s.SnapshotsRemovedOnLastCleanup = out.Repository.SnapshotsRemovedOnLastCleanup
		if out.Repository.Integrity != nil {
			s.Integrity = out.Repository.Integrity
		}
		return nil
	})
	return r, err
}

// sessionStatus puts what is in the output into the session, for the target that is meant.
func (f *Functions) sessionStatus(ctx context.Context, a *statusArgs, out *Output) (metrics.Invoker, task.TargetRef, error) {
	i := metrics.Invoker{Kind: a.invokerKind, Namespace: a.namespace, Name: a.invokerName, Driver: string(task.DriverRestic)}
	same := func(r task.TargetRef) bool {
		return (a.targetKind == "" || a.targetKind == r.Kind) && (a.targetName == "" || a.targetName == r.Name) &&
			(a.targetNamespace == "" || cmp.Or(r.Namespace, a.namespace) == a.targetNamespace)
	}
	given := task.TargetRef{Kind: a.targetKind, Name: a.targetName, Namespace: a.targetNamespace}
	if a.backup != "" {
		if out.BackupTargetStatus == nil {
			return i, given, fmt.Errorf("%s is not that of a backup", OutputFile)
		}
		s := new(task.BackupSession)
		ref := given
		err := f.Store.UpdateStatus(ctx, a.namespace, a.backup, s, func() error {
			t, err := backupTarget(&s.Status, same, given)
			if err != nil {
				return err
			}
			t.Phase, t.TotalHosts, t.Stats = out.BackupTargetStatus.Phase, out.BackupTargetStatus.TotalHosts, out.BackupTargetStatus.Stats
			for _, c := range out.BackupTargetStatus.Conditions {
				task.SetCondition(&t.Conditions, c.Type, c.Status == metav1.ConditionTrue, c.Reason, c.Message, c.LastTransitionTime.Time)
			}
			ref = t.Ref
			return nil
		})
		i.Kind, i.Name = cmp.Or(i.Kind, s.Spec.Invoker.Kind), cmp.Or(i.Name, s.Spec.Invoker.Name)
		return i, ref, err
	}
	if out.RestoreTargetStatus == nil {
		return i, given, fmt.Errorf("%s is not that of a restore", OutputFile)
	}
	if a.restore != "" {
		s := new(task.RestoreSession)
		err := f.Store.UpdateStatus(ctx, a.namespace, a.restore, s, func() error {
			s.Status.TotalHosts, s.Status.Stats = out.RestoreTargetStatus.TotalHosts, out.RestoreTargetStatus.Stats
			if s.Spec.Target != nil {
				given = s.Spec.Target.Ref
			}
			return nil
		})
		i.Kind, i.Name = cmp.Or(i.Kind, task.KindRestoreSession), cmp.Or(i.Name, a.restore)
		return i, given, err
	}
	b := new(task.RestoreBatch)
	err := f.Store.UpdateStatus(ctx, a.namespace, a.restoreBatch, b, func() error {
		for n := range b.Status.Members {
			m := &b.Status.Members[n]
			if same(m.Ref) {
				m.Phase, m.TotalHosts, m.Stats = out.RestoreTargetStatus.Phase, out.RestoreTargetStatus.TotalHosts, out.RestoreTargetStatus.Stats
				given = m.Ref
				return nil
			}
		}
		return fmt.Errorf("%v has no member %s %s", b, a.targetKind, a.targetName)
	})
	i.Kind, i.Name = cmp.Or(i.Kind, task.KindRestoreBatch), cmp.Or(i.Name, a.restoreBatch)
	return i, given, err
}

// backupTarget is the target that is meant. A session whose status nobody has begun gets it.
func backupTarget(s *task.BackupSessionStatus, same func(task.TargetRef) bool, given task.TargetRef) (*task.BackupTargetStatus, error) {
	if len(s.Targets) == 0 {
		s.Targets = []task.BackupTargetStatus{{Ref: given}}
		return &s.Targets[0], nil
	}
	for i := range s.Targets {
		if same(s.Targets[i].Ref) {
			return &s.Targets[i], nil
		}
	}
	return nil, fmt.Errorf("the session has no target %s %s", given.Kind, given.Name)
}

func (f *Functions) record(ctx context.Context, out *Output, i metrics.Invoker, ref task.TargetRef, r *storage.Repository) error {
	c, sink := metrics.NewCatalogue(f.Names), f.sink()
	t := ref.Measured()
	var errs []error
	switch {
	case out.Backup != nil && out.BackupTargetStatus != nil:
		s := out.BackupTargetStatus
		for _, h := range s.Stats {
			errs = append(errs, out.Backup.Record(ctx, c, sink, i, t, h.Hostname))
		}
		errs = append(errs, (&metrics.BackupTarget{Invoker: i, Target: t, Success: s.Phase == task.SessionSucceeded, Hosts: len(s.Stats), End: f.now()}).
			Record(ctx, c, sink))
	case out.Restore != nil && out.RestoreTargetStatus != nil:
		s := out.RestoreTargetStatus
		for _, h := range s.Stats {
			errs = append(errs, out.Restore.Record(ctx, c, sink, i, t, h.Hostname))
		}
		errs = append(errs, (&metrics.RestoreTarget{Invoker: i, Target: t, Success: s.Phase == task.SessionSucceeded, Hosts: len(s.Stats)}).
			Record(ctx, c, sink))
	}
	if r != nil && out.Repository != nil {
		m := &metrics.Repository{Namespace: r.Namespace, Name: r.Name, Backend: r.Spec.Backend.Provider(), Size: out.Repository.Bytes,
			Snapshots: out.Repository.SnapshotCount, Cleaned: out.Repository.SnapshotsRemovedOnLastCleanup,
			Checked: out.Repository.Integrity != nil, Problems: out.Repository.Problems, Dedup: out.Repository.Dedup}
		m.Bucket, m.Prefix = r.Spec.Backend.Location()
		errs = append(errs, m.Record(ctx, c, sink))
	}
	errs = append(errs, metrics.Flush(ctx, sink))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}
