package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

// OmissionError says that something could not be backed up completely. Nothing was kept.
type OmissionError struct {
	Omitted []layout.Omission
}

func (e *OmissionError) Error() string {
	var parts []string
	for _, o := range e.Omitted {
		parts = append(parts, o.What+": "+o.Why)
	}
	return "cannot be backed up: " + strings.Join(parts, "; ")
}

// job is one backup that runs.
type job struct {
	o        Options
	c        *elastic.Client
	log      *slog.Logger
	started  time.Time
	manifest *layout.Manifest
	names    []string
	streams  []dataStream
	chosen   []elastic.Chosen // sections
	kibana   *elastic.Client  // nil if there is none
	reading  elastic.ReadOptions
	parent   *parent // nil: nothing to reuse
	progress *reporter
	// searches bounds the segments in memory, over all shards: each is read, encoded and stored under one unit.
	searches *semaphore.Weighted
	// shards bounds the points in time that are open, over all indices.
	shards *semaphore.Weighted

	// verifying: what is taken over is read and compared as well.
	verifying bool

	mu    sync.Mutex // guards what follows, and manifest
	tally tally
}

// newJob asks the cluster who it is and which indices the selection holds.
func newJob(ctx context.Context, es elastictransport.Interface, o *Options) (*job, error) {
	j := &job{started: time.Now().UTC(), log: slog.New(slog.DiscardHandler)}
	if o != nil {
		j.o = *o
	}
	if j.o.Concurrency <= 0 {
		j.o.Concurrency = 4
	}
	if j.o.Logger != nil {
		j.log = j.o.Logger
	}
	j.c = elastic.New(es, &elastic.Options{Retries: j.o.Retries, Logger: j.o.Logger, Sleep: j.o.sleep, Shrink: j.o.shrink})
	j.reading = j.o.read()
	j.searches = semaphore.NewWeighted(int64(j.o.Concurrency))
	j.shards = semaphore.NewWeighted(int64(j.o.Concurrency))
	if j.o.Kibana != nil {
		j.kibana = elastic.New(j.o.Kibana, &elastic.Options{Retries: j.o.Retries, Logger: j.o.Logger, Sleep: j.o.sleep})
	}
	var err error
	if j.chosen, err = elastic.Choose(j.o.Sections, j.kibana != nil); err != nil {
		return nil, err
	}
	if err := j.o.Increment.valid(); err != nil {
		return nil, err
	}
	cluster, err := j.c.Info(ctx)
	if err != nil {
		return nil, err
	}
	j.manifest = &layout.Manifest{Format: layout.Format, Cluster: cluster, Started: j.started, Selection: selection(&j.o),
		Indices: []layout.Index{}, Omitted: []layout.Omission{}, Warnings: []string{}}
	sel, err := selectIndices(ctx, j.c, j.manifest.Selection)
	if err != nil {
		return nil, err
	}
	if err := j.dataStreams(ctx, sel); err != nil {
		return nil, err
	}
	j.names = sel.names
	j.manifest.Warnings = append(j.manifest.Warnings, sel.warnings...)
	if err := j.omit(sel.omitted...); err != nil {
		return nil, err
	}
	return j, nil
}

// omit records omissions, or refuses them.
func (j *job) omit(oms ...layout.Omission) error {
	if len(oms) == 0 {
		return nil
	}
	if !j.o.AllowOmissions {
		return &OmissionError{Omitted: oms}
	}
	for _, om := range oms {
		j.log.Warn("omitted", "what", om.What, "why", om.Why)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.manifest.Omitted = append(j.manifest.Omitted, oms...)
	return nil
}

// omittable reports whether an index that failed with err may be left out: not where the place that the backup goes to, the
// connection, the credentials or the user's own function failed, since then it would not be the index that is missing.
func (j *job) omittable(err error) bool {
	var own *ownError
	var refused *OmissionError
	var status *elastic.Error
	return j.o.AllowOmissions && !errors.As(err, &own) && !errors.As(err, &refused) && !elastic.Broken(err) &&
		(!errors.As(err, &status) || status.Status != 401)
}

// ownError marks a failure on this side, of the target or of the user's function: no new attempt and no omission cures it.
type ownError struct{ err error }

func (e *ownError) Error() string { return e.err.Error() }
func (e *ownError) Unwrap() error { return e.err }

// run reads sections and indices into out, and writes the manifest last.
func (j *job) run(ctx context.Context, out output) error {
	j.progress = newReporter(j.o.Progress, j.started, len(j.names))
	if j.o.Progress != nil {
		counts, err := j.c.CountIndices(ctx)
		if err != nil {
			j.log.Debug("the time left will not be known", "error", err)
		}
		j.progress.expect(j.names, counts)
	}
	if err := j.sections(ctx, out); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(j.o.Concurrency)
	for _, name := range j.names {
		g.Go(func() error {
			if gctx.Err() != nil {
				return context.Cause(gctx)
			}
			err := j.index(gctx, out, name)
			if err == nil {
				j.progress.indexDone(name)
				return nil
			}
			if gctx.Err() != nil {
				return context.Cause(gctx)
			}
			if !j.omittable(err) {
				return fmt.Errorf("back up index %s: %w", name, err)
			}
			return j.omit(layout.Omission{What: "index " + name, Why: err.Error()})
		})
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	m := j.manifest
	if len(j.names) > 0 && len(m.Indices) == 0 {
		return &OmissionError{Omitted: m.Omitted}
	}
	slices.SortFunc(m.Indices, func(a, b layout.Index) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(m.Omitted, func(a, b layout.Omission) int { return strings.Compare(a.What, b.What) })
	slices.Sort(m.Warnings)
	m.Finished = time.Now().UTC()
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	if err := out.file(ctx, layout.ManifestPath, append(b, '\n')); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return nil
}

// index backs up one index: all of its shards and its description, or nothing.
func (j *job) index(ctx context.Context, out output, name string) error {
	ix, err := j.c.Index(ctx, j.manifest.Cluster, name)
	if err != nil {
		return err
	}
	shards := make([]*shardJob, ix.Shards)
	done := false
	defer func() {
		for _, s := range shards {
			if s != nil && !done {
				s.drop()
			}
		}
	}()
	g, gctx := errgroup.WithContext(ctx)
	for n := range ix.Shards {
		g.Go(func() error {
			s, err := j.shardWithRetry(gctx, out, ix, n)
			if err != nil {
				return fmt.Errorf("shard %d: %w", n, err)
			}
			shards[n] = s
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	// What the mapping grew by meanwhile may be in the documents. The other way round does no harm.
	if ix, err = j.c.Again(ctx, j.manifest.Cluster, ix); err != nil {
		return err
	}
	entry := layout.Index{Name: name, UUID: ix.UUID, AsOf: shards[0].asOf}
	stale := ""
	for _, s := range shards {
		if s.asOf.Before(entry.AsOf) {
			entry.AsOf = s.asOf
		}
		if s.stale != "" {
			stale = s.stale
		}
		entry.Docs += s.info.Docs
		entry.Bytes += s.info.Bytes
		entry.Shards = append(entry.Shards, s.info)
	}
	for _, why := range []string{stale, ix.Lacking} {
		if why == "" {
			continue
		}
		if err := j.omit(layout.Omission{What: "index " + name, Why: why}); err != nil {
			return err
		}
	}
	for n, s := range shards {
		if err := s.commit(ctx, out, name, n); err != nil {
			return &ownError{fmt.Errorf("shard %d: %w", n, err)}
		}
	}
	if err := out.file(ctx, layout.IndexPath(name), append(slices.Clone(ix.Raw), '\n')); err != nil {
		return &ownError{err}
	}
	done = true
	j.mu.Lock()
	defer j.mu.Unlock()
	j.manifest.Indices = append(j.manifest.Indices, entry)
	for _, s := range shards {
		for i := range s.tally.notReused {
			s.tally.notReused[i].Index, s.tally.notReused[i].Shard = name, s.info.Number
		}
		j.tally.add(&s.tally)
		if !s.info.Sealed {
			j.manifest.Warnings = append(j.manifest.Warnings,
				fmt.Sprintf("index %s shard %d: not sealed, the next backup reads it whole: %s", name, s.info.Number, s.info.Reason))
		}
	}
	return nil
}
