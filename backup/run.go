package backup

import (
	"context"
	"slices"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"

	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository"
)

// Run backs up into a repository, as one new snapshot whose path is /elasticsearch/<cluster name>. es is any client with a
// Perform method, such as *elasticsearch.Client. When Run returns an error there is no snapshot; when ctx ends, the error is
// context.Cause(ctx).
//
// Segments that have not changed since the newest snapshot of the same cluster and selection are taken over from it, unread
// (see the package comment).
func Run(ctx context.Context, es elastictransport.Interface, repo *repository.Repo, o *Options) (*Result, error) {
	j, err := newJob(ctx, es, o)
	if err != nil {
		return nil, err
	}
	if j.o.Interim != "" {
		return j.runInterim(ctx, repo)
	}
	h := j.header(j.manifest)
	if j.parent, err = j.findParent(ctx, repo, h.Paths); err != nil {
		return nil, err
	}
	res := &Result{Manifest: j.manifest}
	if j.parent != nil {
		j.manifest.Increments = j.parent.manifest.Increments + 1
		if j.verifying = j.o.verifies(j.manifest.Increments); j.verifying {
			j.manifest.Increments = 0
		}
		h.Parent = &j.parent.snapshot.ID
		res.Parent = j.parent.snapshot
	}
	res.Snapshot, err = repo.Write(ctx, h, func(ctx context.Context, w *repository.Writer) error {
		if j.parent != nil {
			j.parent.hasBlob = w.HasBlob
		}
		if err := j.run(ctx, repoOutput{w}); err != nil {
			return err
		}
		res.BytesAdded = w.Stats().AddedBytes
		return nil
	})
	if err != nil {
		return nil, err
	}
	j.complete(res)
	return res, nil
}

// header describes the snapshot of what a manifest says.
func (j *job) header(m *layout.Manifest) repository.Header {
	return repository.Header{Time: m.Started, Hostname: j.o.Host, Tags: slices.Clone(j.o.Tags), Paths: []string{"/elasticsearch/" + m.Cluster.Name}}
}

// complete fills in the rest of a result, and says the last word of progress.
func (j *job) complete(res *Result) {
	for _, ix := range res.Manifest.Indices {
		res.Documents += ix.Docs
		res.Bytes += ix.Bytes
	}
	j.tally.result(res)
	res.Verified = j.verifying
	res.Requests, res.Retries = j.c.Requests()
	res.Omitted = res.Manifest.Omitted
	res.Duration = time.Since(j.started)
	j.progress.done()
}
