package metrics

import (
	"context"
	"errors"
	"time"
)

// Invoker is what the sessions of which are measured.
type Invoker struct {
	Kind, Namespace, Name string // such as BackupConfiguration
	Driver                string // such as Restic
	Repository            string // its name
}

// Group names its series; see [Deleter].
func (i Invoker) Group() string { return Group(i.Kind, i.Namespace, i.Name) }

func (i Invoker) labels() []string {
	return []string{i.Kind, i.Name, i.Namespace, i.Driver, i.Repository}
}

// Target is what was backed up or restored, such as an AppBinding.
type Target struct{ Group, Kind, Name string }

func (t Target) labels(i Invoker) []string {
	return append(i.labels(), t.Kind, t.Group, t.Name)
}

// recorder gives values to a Sink and keeps the errors.
type recorder struct {
	ctx  context.Context
	sink Sink
	errs []error
}

func (r *recorder) set(m *Metric, v float64, labels []string) {
	r.errs = append(r.errs, r.sink.Record(r.ctx, m, v, labels...))
}

func (r *recorder) err() error { return errors.Join(r.errs...) }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// rate is n per second; 0 if it took no time.
func rate(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// BackupSession is what came of a session as a whole.
type BackupSession struct {
	Invoker  Invoker
	Success  bool
	Targets  int
	Duration time.Duration
	End      time.Time
}

// Record gives the values to the sink.
func (s *BackupSession) Record(ctx context.Context, c *Catalogue, sink Sink) error {
	r := &recorder{ctx: ctx, sink: sink}
	l := s.Invoker.labels()
	r.set(c.BackupSuccess, truth(s.Success), l)
	r.set(c.BackupDuration, s.Duration.Seconds(), l)
	r.set(c.BackupTargets, float64(s.Targets), l)
	r.set(c.OwnBackupLastRun, seconds(s.End), l)
	if s.Success {
		r.set(c.BackupLastSuccess, seconds(s.End), l)
	}
	return r.err()
}

// BackupTarget is what came of a target of a session.
type BackupTarget struct {
	Invoker Invoker
	Target  Target
	Success bool
	Hosts   int
	End     time.Time
}

// Record gives the values to the sink.
func (t *BackupTarget) Record(ctx context.Context, c *Catalogue, sink Sink) error {
	r := &recorder{ctx: ctx, sink: sink}
	l := t.Target.labels(t.Invoker)
	r.set(c.TargetSuccess, truth(t.Success), l)
	r.set(c.TargetHosts, float64(t.Hosts), l)
	if t.Success {
		r.set(c.TargetLastSuccess, seconds(t.End), l)
	}
	return r.err()
}

// BackupHost is what came of one backup. After a failure only what was measured until then counts.
type BackupHost struct {
	Success  bool
	Duration time.Duration

	Bytes, Stored                                      int64 // of documents, and what was added to the repository
	Files, FilesNew, FilesModified, FilesUnmodified    int64
	Documents, DocumentsRead, Segments, SegmentsReused int64
	Requests, Retries, Omissions                       int64
}

// Record gives the values to the sink. After a failure that is the failure and its duration.
func (h *BackupHost) Record(ctx context.Context, c *Catalogue, sink Sink, i Invoker, t Target, hostname string) error {
	r := &recorder{ctx: ctx, sink: sink}
	l := append(t.labels(i), hostname)
	r.set(c.HostSuccess, truth(h.Success), l)
	r.set(c.HostDuration, h.Duration.Seconds(), l)
	if !h.Success {
		return r.err()
	}
	r.set(c.HostProcessing, h.Duration.Seconds(), l)
	r.set(c.OwnThroughput, rate(h.Bytes, h.Duration), l)
	for _, v := range []struct {
		m *Metric
		n int64
	}{
		{c.HostSize, h.Bytes}, {c.HostUploaded, h.Stored}, {c.OwnStored, h.Stored},
		{c.HostFiles, h.Files}, {c.HostFilesNew, h.FilesNew}, {c.HostFilesModified, h.FilesModified}, {c.HostFilesUnmodified, h.FilesUnmodified},
		{c.OwnDocuments, h.Documents}, {c.OwnDocumentsRead, h.DocumentsRead},
		{c.OwnSegments, h.Segments}, {c.OwnSegmentsReused, h.SegmentsReused},
		{c.OwnRequests, h.Requests}, {c.OwnRetries, h.Retries}, {c.OwnOmissions, h.Omissions},
	} {
		r.set(v.m, float64(v.n), l)
	}
	return r.err()
}

// RestoreSession is what came of a restore as a whole.
type RestoreSession struct {
	Invoker  Invoker
	Success  bool
	Targets  int
	Duration time.Duration
	End      time.Time
}

// Record gives the values to the sink.
func (s *RestoreSession) Record(ctx context.Context, c *Catalogue, sink Sink) error {
	r := &recorder{ctx: ctx, sink: sink}
	l := s.Invoker.labels()
	r.set(c.RestoreSuccess, truth(s.Success), l)
	r.set(c.RestoreDuration, s.Duration.Seconds(), l)
	r.set(c.RestoreTargets, float64(s.Targets), l)
	r.set(c.OwnRestoreLastRun, seconds(s.End), l)
	if s.Success {
		r.set(c.OwnRestoreLastSuccess, seconds(s.End), l)
	}
	return r.err()
}

// RestoreTarget is what came of a target of a restore.
type RestoreTarget struct {
	Invoker Invoker
	Target  Target
	Success bool
	Hosts   int
}

// Record gives the values to the sink.
func (t *RestoreTarget) Record(ctx context.Context, c *Catalogue, sink Sink) error {
	r := &recorder{ctx: ctx, sink: sink}
	l := t.Target.labels(t.Invoker)
	r.set(c.RestoreTargetSuccess, truth(t.Success), l)
	r.set(c.RestoreTargetHosts, float64(t.Hosts), l)
	return r.err()
}

// RestoreHost is what came of one restore, a failed one included: how far it came.
type RestoreHost struct {
	Success                             bool
	Duration                            time.Duration
	Documents, Bytes, Rejected, Retried int64
}

// Record gives the values to the sink.
func (h *RestoreHost) Record(ctx context.Context, c *Catalogue, sink Sink, i Invoker, t Target, hostname string) error {
	r := &recorder{ctx: ctx, sink: sink}
	l := append(t.labels(i), hostname)
	r.set(c.RestoreHostSuccess, truth(h.Success), l)
	r.set(c.RestoreHostDuration, h.Duration.Seconds(), l)
	r.set(c.OwnRestoreDocuments, float64(h.Documents), l)
	r.set(c.OwnRestoreRejected, float64(h.Rejected), l)
	r.set(c.OwnRestoreRetried, float64(h.Retried), l)
	r.set(c.OwnRestoreThroughput, rate(h.Bytes, h.Duration), l)
	return r.err()
}

// Repository is what was last seen of a repository.
type Repository struct {
	Namespace, Name         string
	Backend, Bucket, Prefix string // such as s3
	Size                    int64  // of its files
	Snapshots, Cleaned      int64
	// Checked is whether it was checked, and Problems what was found.
	Checked  bool
	Problems int64
	// Dedup is the size of the files of all snapshots by what is stored of them; 0: not measured.
	Dedup float64
}

// Group names its series; see [Deleter].
func (p *Repository) Group() string { return Group("repository", p.Namespace, p.Name) }

// Record gives the values to the sink.
func (p *Repository) Record(ctx context.Context, c *Catalogue, sink Sink) error {
	r := &recorder{ctx: ctx, sink: sink}
	l := []string{p.Name, p.Namespace, p.Backend, p.Bucket, p.Prefix}
	r.set(c.RepositorySize, float64(p.Size), l)
	r.set(c.RepositorySnapshots, float64(p.Snapshots), l)
	r.set(c.RepositoryCleaned, float64(p.Cleaned), l)
	if p.Checked {
		r.set(c.RepositoryIntegrity, truth(p.Problems == 0), l)
		r.set(c.OwnRepositoryProblems, float64(p.Problems), l)
	}
	if p.Dedup > 0 {
		r.set(c.OwnRepositoryDedup, p.Dedup, l)
	}
	return r.err()
}
