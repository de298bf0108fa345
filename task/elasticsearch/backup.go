package elasticsearch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
)

// backupArgs are those of elasticsearch-backup.
type backupArgs struct {
	*location
	retention      task.RetentionPolicy
	tags           string
	allowOmissions bool
	check          task.IntegrityCheck
	checkEvery     int
}

func parseBackup(args []string) (*backupArgs, error) {
	a := &backupArgs{location: newLocation("backup-es")}
	f := a.flags
	f.StringVar(&a.session, "backupsession", "", "the BackupSession")
	f.Bool("enable-dashboard-backup", false, "has no effect: Kibana's saved objects are asked of Kibana")
	keep := func(to *int64, name string) { f.Int64Var(to, "retention-keep-"+name, 0, "snapshots to keep") }
	keep(&a.retention.KeepLast, "last")
	keep(&a.retention.KeepHourly, "hourly")
	keep(&a.retention.KeepDaily, "daily")
	keep(&a.retention.KeepWeekly, "weekly")
	keep(&a.retention.KeepMonthly, "monthly")
	keep(&a.retention.KeepYearly, "yearly")
	f.StringVar(&a.tags, "retention-keep-tags", "", "keep snapshots with one of these tags")
	f.BoolVar(&a.retention.Prune, "retention-prune", false, "remove the data of removed snapshots")
	f.BoolVar(&a.retention.DryRun, "retention-dry-run", false, "remove nothing")
	f.IntVar(&a.checkEvery, "integrity-check-every", 1, "check the repository after every so many backups; negative: never")
	f.StringVar(&a.check.ReadData, "integrity-check-read-data", "", "how much of the data a check reads: all, 5%, 1/7, 500M")
	f.BoolVar(&a.allowOmissions, "allow-omissions", false, "name what cannot be backed up whole, and go on")
	return a, a.parse(args)
}

func (a *backupArgs) parse(args []string) error {
	// Without a policy there is nothing to keep: the arguments are given as 0, or empty.
	kept := slices.DeleteFunc(slices.Clone(args), func(s string) bool { return s == "--retention-prune=" || s == "--retention-dry-run=" })
	if err := parse(a.flags, kept); err != nil {
		return err
	}
	a.retention.KeepTags = list(a.tags)
	a.check.Every = int32(a.checkEvery)
	if _, err := a.check.Options(); err != nil {
		return usagef("backup-es: --integrity-check-read-data: %v", err)
	}
	return a.location.check()
}

// Backup is the Function elasticsearch-backup. Its arguments are without the command's name.
func (f *Functions) Backup(ctx context.Context, args []string) error {
	a, err := parseBackup(args)
	if err != nil {
		return err
	}
	out := &Output{Backup: &metrics.BackupHost{}}
	began := f.now()
	host := task.HostBackupStats{Hostname: a.hostname}
	err = f.backup(ctx, a, out, &host)
	if !out.Backup.Success {
		out.Backup.Duration = f.now().Sub(began)
	}
	host.Duration = f.now().Sub(began).Round(time.Millisecond).String()
	host.Phase = task.SessionSucceeded
	phase := task.SessionSucceeded
	if !out.Backup.Success {
		host.Phase = task.SessionFailed
	}
	if err != nil {
		host.Error = oneLine(err)
		phase = task.SessionFailed
	}
	one := int32(1)
	status := &task.BackupTargetStatus{TotalHosts: &one, Phase: phase, Stats: []task.HostBackupStats{host}}
	if out.BackupTargetStatus != nil {
		status.Conditions = out.BackupTargetStatus.Conditions
	}
	out.BackupTargetStatus = status
	for _, w := range out.Warnings {
		f.log().WarnContext(ctx, "elasticsearch-backup", "warning", w)
	}
	if werr := out.write(f.path(a.outputDir)); a.outputDir != "" && werr != nil {
		err = errors.Join(err, werr)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", BackupFunction, err)
	}
	return nil
}

// condition records one on the target.
func (o *Output) condition(now time.Time, kind string, ok bool, reason, message string) {
	if o.BackupTargetStatus == nil {
		o.BackupTargetStatus = &task.BackupTargetStatus{}
	}
	task.SetCondition(&o.BackupTargetStatus.Conditions, kind, ok, reason, message, now)
}

func (f *Functions) backup(ctx context.Context, a *backupArgs, out *Output, host *task.HostBackupStats) (err error) {
	dump, err := parseDumpArgs(a.esArgs)
	if err != nil {
		return err
	}
	out.Warnings = append(out.Warnings, dump.ignored...)
	es, err := f.connect(ctx, a.location)
	if err != nil {
		return err
	}
	store, err := f.open(ctx, a.location, true)
	if err != nil {
		out.condition(f.now(), task.BackendRepositoryInitialized, false, "FailedToInitializeBackendRepository", oneLine(err))
		return err
	}
	defer func() { err = errors.Join(err, store.close()) }()
	out.condition(f.now(), task.BackendRepositoryInitialized, true, "BackendRepositoryInitialized", "The repository is there.")

	o := &backup.Options{Host: a.hostname, Concurrency: dump.concurrency, AllowOmissions: a.allowOmissions, Sections: dump.sections(), Logger: f.Logger}
	if dump.match != "" {
		all, err := names(ctx, es)
		if err != nil {
			return err
		}
		if o.Indices, err = dump.choose(all); err != nil {
			return err
		}
	}
	began := f.now()
	if a.interimDir != "" {
		// A directory for each host: a dump that a killed run left is that of the same host.
		o.Interim = filepath.Join(f.path(a.interimDir), a.hostname)
		if err := os.MkdirAll(filepath.Dir(o.Interim), 0o755); err != nil {
			return err
		}
	}
	res, err := backup.Run(ctx, es, store.repo, o)
	if err != nil {
		return err
	}
	*out.Backup = res.Metrics()
	out.Backup.Success = true
	took := f.now().Sub(began)
	for _, om := range res.Omitted {
		out.Warnings = append(out.Warnings, fmt.Sprintf("left out: %s: %s", om.What, om.Why))
	}
	host.Snapshots = []task.SnapshotStats{stats(res.Snapshot, out.Backup, took)}
	return f.afterwards(ctx, a, store, res.Snapshot, out)
}

// stats tells of the snapshot, and puts the numbers of its files into m.
func stats(s *repository.Snapshot, m *metrics.BackupHost, took time.Duration) task.SnapshotStats {
	out := task.SnapshotStats{Name: s.ID.Short(), TotalSize: storage.FormatSize(m.Bytes), Uploaded: storage.FormatSize(m.Stored), ProcessingTime: clock(took)}
	if len(s.Paths) > 0 {
		out.Path = s.Paths[0]
	}
	if sum := s.Summary; sum != nil {
		m.Files, m.FilesNew, m.FilesModified, m.FilesUnmodified = sum.TotalFilesProcessed, sum.FilesNew, sum.FilesChanged, sum.FilesUnmodified
		out.FileStats = task.FileStats{TotalFiles: &m.Files, NewFiles: &m.FilesNew, ModifiedFiles: &m.FilesModified, UnmodifiedFiles: &m.FilesUnmodified}
	}
	return out
}

// afterwards applies the retention policy, checks the repository and measures it.
func (f *Functions) afterwards(ctx context.Context, a *backupArgs, store *opened, s *repository.Snapshot, out *Output) error {
	var errs []error
	removed := 0
	if policy := a.retention.Policy(); !policy.Empty() {
		var err error
		if removed, err = f.retain(ctx, store.repo, policy, &a.retention, s); err != nil {
			errs = append(errs, fmt.Errorf("retention policy: %w", err))
			out.condition(f.now(), task.RetentionPolicyApplied, false, "FailedToApplyRetentionPolicy", oneLine(err))
		} else {
			out.condition(f.now(), task.RetentionPolicyApplied, true, "SuccessfullyAppliedRetentionPolicy", fmt.Sprintf("%d snapshots removed.", removed))
		}
	}
	count := int64(0)
	for _, err := range store.repo.Snapshots(ctx, repository.Filter{}) {
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		count++
	}
	o := &storage.ObserveOptions{}
	if a.check.Due(count) {
		var err error
		if o.Check, err = a.check.Options(); err != nil {
			return err
		}
	}
	problems, err := store.object.Observe(ctx, store.files, store.repo, o)
	if err != nil {
		errs = append(errs, err)
		out.condition(f.now(), task.RepositoryIntegrityVerified, false, "FailedToVerifyRepositoryIntegrity", oneLine(err))
		return errors.Join(errs...)
	}
	status := store.object.Status
	r := &RepositoryStats{Size: status.TotalSize, SnapshotCount: status.SnapshotCount, SnapshotsRemovedOnLastCleanup: int64(removed)}
	out.Repository = r
	if o.Check != nil {
		r.Integrity, r.Problems = status.Integrity, int64(len(problems))
		for _, p := range problems[:min(20, len(problems))] {
			out.Problems = append(out.Problems, p.String())
		}
		if len(problems) > 0 {
			err := fmt.Errorf("the repository is damaged: %d problems, the first: %v", len(problems), problems[0])
			errs = append(errs, err)
			out.condition(f.now(), task.RepositoryIntegrityVerified, false, "RepositoryIntegrityVerificationFailed", oneLine(err))
		} else {
			out.condition(f.now(), task.RepositoryIntegrityVerified, true, "RepositoryIntegrityVerified", "The repository has no problem.")
		}
	}
	for _, t := range backend.FileTypes {
		for file, err := range store.files.List(ctx, t) {
			if err != nil {
				return errors.Join(append(errs, err)...)
			}
			r.Bytes += file.Size
		}
	}
	if len(problems) == 0 {
		all, err := snapshots(ctx, store.repo)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		usage, err := store.repo.Stats(ctx, all...)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		r.Dedup = usage.DedupRatio()
	}
	return errors.Join(errs...)
}

// retain removes what the policy does not keep of the snapshots of the same host and cluster.
func (f *Functions) retain(ctx context.Context, repo *repository.Repo, policy repository.Policy, p *task.RetentionPolicy, s *repository.Snapshot) (int, error) {
	plan, err := repo.PlanForget(ctx, policy, &repository.ForgetOptions{Filter: repository.Filter{Hostname: s.Hostname, Paths: s.Paths}})
	if err != nil {
		return 0, err
	}
	if p.DryRun {
		f.log().InfoContext(ctx, "retention policy, nothing is removed", "plan", slog.StringValue(plan.String()))
		return 0, nil
	}
	if plan.Removes() > 0 {
		if err := repo.Forget(ctx, plan); err != nil {
			return 0, err
		}
	}
	if !p.Prune {
		return plan.Removes(), nil
	}
	prune, err := repo.PlanPrune(ctx, nil)
	if err != nil {
		return plan.Removes(), err
	}
	if prune.Empty() {
		return plan.Removes(), nil
	}
	return plan.Removes(), repo.Prune(ctx, prune)
}

func snapshots(ctx context.Context, repo *repository.Repo) ([]*repository.Snapshot, error) {
	var out []*repository.Snapshot
	for s, err := range repo.Snapshots(ctx, repository.Filter{}) {
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}
