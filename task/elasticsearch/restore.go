package elasticsearch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"

	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/restore"
	"github.com/escrow-backup/escrow/task"
)

// restoreArgs are those of elasticsearch-restore.
type restoreArgs struct {
	*location
	sourceHost       string
	snapshot         string
	include, exclude string
	conflict         string
}

func parseRestore(args []string) (*restoreArgs, error) {
	a := &restoreArgs{location: newLocation("restore-es")}
	f := a.flags
	f.StringVar(&a.session, "restoresession", "", "the RestoreSession")
	f.StringVar(&a.sourceHost, "source-hostname", "", "host that was backed up; default: --hostname")
	f.StringVar(&a.snapshot, "snapshot", "", "snapshots, with commas between them; default: the latest of the host")
	f.Bool("enable-dashboard-restore", false, "has no effect: Kibana's saved objects are asked of Kibana")
	f.StringVar(&a.include, "include", "", "patterns of indices and data streams to restore, with commas between them; default: all")
	f.StringVar(&a.exclude, "exclude", "", "patterns of indices and data streams to leave out")
	f.StringVar(&a.conflict, "conflict", string(restore.Fail), "what to do with an index that exists: fail, skip, replace or merge")
	if err := parse(f, args); err != nil {
		return nil, err
	}
	modes := []restore.Conflict{restore.Fail, restore.Skip, restore.Replace, restore.Merge}
	if !slices.Contains(modes, restore.Conflict(a.conflict)) {
		return nil, usagef("restore-es: --conflict %q is none of %v", a.conflict, modes)
	}
	if err := a.check(); err != nil {
		return nil, err
	}
	if a.sourceHost == "" {
		a.sourceHost = a.hostname
	}
	return a, nil
}

// Restore is the Function elasticsearch-restore. Its arguments are without the command's name.
func (f *Functions) Restore(ctx context.Context, args []string) error {
	a, err := parseRestore(args)
	if err != nil {
		return err
	}
	out := &Output{Restore: &metrics.RestoreHost{}}
	began := f.now()
	err = f.restore(ctx, a, out)
	out.Restore.Duration, out.Restore.Success = f.now().Sub(began), err == nil
	host := task.HostRestoreStats{Hostname: a.hostname, Phase: task.SessionSucceeded, Duration: out.Restore.Duration.Round(time.Millisecond).String()}
	if err != nil {
		host.Phase, host.Error = task.SessionFailed, oneLine(err)
	}
	one := int32(1)
	out.RestoreTargetStatus = &task.RestoreMemberStatus{TotalHosts: &one, Phase: host.Phase, Stats: []task.HostRestoreStats{host}}
	for _, w := range out.Warnings {
		f.log().WarnContext(ctx, "elasticsearch-restore", "warning", w)
	}
	if a.outputDir != "" {
		err = errors.Join(err, out.write(f.path(a.outputDir)))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", RestoreFunction, err)
	}
	return nil
}

func (f *Functions) restore(ctx context.Context, a *restoreArgs, out *Output) (err error) {
	dump, err := parseDumpArgs(a.esArgs)
	if err != nil {
		return err
	}
	out.Warnings = append(out.Warnings, dump.ignored...)
	es, err := f.connect(ctx, a.location)
	if err != nil {
		return err
	}
	store, err := f.open(ctx, a.location, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.close()) }()
	chosen, err := f.chosen(ctx, store.repo, a)
	if err != nil {
		return err
	}
	for _, s := range chosen {
		if err := f.restoreSnapshot(ctx, es, store.repo, s, a, dump, out.Restore); err != nil {
			return fmt.Errorf("snapshot %s: %w", s.ID.Short(), err)
		}
	}
	return nil
}

// chosen are the snapshots to restore. The latest is that of the source host: another host's is never taken for it.
func (f *Functions) chosen(ctx context.Context, repo *repository.Repo, a *restoreArgs) ([]*repository.Snapshot, error) {
	refs := list(a.snapshot)
	if len(refs) == 0 {
		refs = []string{"latest"}
	}
	var out []*repository.Snapshot
	for _, ref := range refs {
		if ref != "latest" {
			s, err := repo.Snapshot(ctx, ref)
			if err != nil {
				return nil, err
			}
			out = append(out, s)
			continue
		}
		var latest *repository.Snapshot
		for s, err := range repo.Snapshots(ctx, repository.Filter{Hostname: a.sourceHost}) {
			if err != nil {
				return nil, err
			}
			if latest == nil || s.Time.After(latest.Time) {
				latest = s
			}
		}
		if latest == nil {
			return nil, fmt.Errorf("no snapshot of host %s in the repository: %w", a.sourceHost, fs.ErrNotExist)
		}
		out = append(out, latest)
	}
	return out, nil
}

func (f *Functions) restoreSnapshot(ctx context.Context, es elastictransport.Interface, repo *repository.Repo, s *repository.Snapshot, a *restoreArgs, dump *dumpArgs,
	m *metrics.RestoreHost) (err error) {
	files, err := repo.FS(ctx, s)
	if err != nil {
		return err
	}
	if a.interimDir != "" {
		dir := f.path(a.interimDir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if dir, err = os.MkdirTemp(dir, "restore-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		if _, err := repo.RestoreDir(ctx, s, dir, nil); err != nil {
			return err
		}
		files = os.DirFS(dir)
	}
	o := &restore.Options{Indices: list(a.include), Exclude: list(a.exclude), Conflict: restore.Conflict(a.conflict), Concurrency: dump.concurrency, Logger: f.Logger}
	if dump.match != "" {
		if o.Indices, err = dump.choose(held(files)); err != nil {
			return err
		}
		if len(list(a.include)) > 0 {
			return usagef("restore-es: --include and --match in --es-args exclude each other")
		}
	}
	if !dump.templates {
		o.Sections = dump.sections()
	}
	plan, err := restore.NewPlan(ctx, files, es, o)
	if err != nil {
		return err
	}
	if len(plan.Indices)+len(plan.DataStreams) == 0 && (len(o.Indices) > 0 || len(o.Exclude) > 0) {
		return errors.New("nothing in it is chosen")
	}
	res, err := plan.Run(ctx)
	if res != nil {
		r := res.Metrics()
		m.Documents += r.Documents
		m.Bytes += r.Bytes
		m.Rejected += r.Rejected
		m.Retried += r.Retried
	}
	return err
}

// held are the indices and data streams of a backup. What cannot be read is told when the restore is planned.
func held(files fs.FS) []string {
	manifest, err := layout.ReadManifest(files)
	if err != nil {
		return nil
	}
	var out []string
	inStream := map[string]bool{}
	for _, d := range manifest.DataStreams {
		out = append(out, d.Name)
		for _, i := range slices.Concat(d.Indices, d.Failure) {
			inStream[i] = true
		}
	}
	for _, i := range manifest.Indices {
		if !inStream[i.Name] {
			out = append(out, i.Name)
		}
	}
	return out
}
