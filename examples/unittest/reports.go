// Package reports is somebody else's small program: it keeps reports in Elasticsearch, and saves them before it throws old ones away. It
// shows how a program that embeds escrow tests itself: without a cluster, without storage, in less than a second.
package reports

import (
	"context"
	"errors"
	"fmt"

	"github.com/elastic/go-elasticsearch/v8"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/restore"
)

// ErrNotSaved says that nothing was thrown away.
var ErrNotSaved = errors.New("not saved")

// Purge deletes an index of reports after it has been saved, and gives the snapshot that it is in.
func Purge(ctx context.Context, es *elasticsearch.Client, repo *repository.Repo, index string) (*repository.Snapshot, error) {
	res, err := backup.Run(ctx, es, repo, &backup.Options{Indices: []string{index}, Sections: []string{"none"}, Tags: []string{"purge"}})
	if err != nil {
		return nil, fmt.Errorf("purge %s: %w: %w", index, ErrNotSaved, err)
	}
	// What is thrown away is compared with what was saved first.
	files, err := repo.FS(ctx, res.Snapshot)
	if err != nil {
		return nil, fmt.Errorf("purge %s: %w: %w", index, ErrNotSaved, err)
	}
	diff, err := restore.Verify(ctx, files, es, nil)
	if err != nil {
		return nil, fmt.Errorf("purge %s: %w: %w", index, ErrNotSaved, err)
	}
	if !diff.Identical() {
		return nil, fmt.Errorf("purge %s: %w: %v", index, ErrNotSaved, diff)
	}
	deleted, err := es.Indices.Delete([]string{index}, es.Indices.Delete.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("purge %s: %w", index, err)
	}
	defer func() { _ = deleted.Body.Close() }() // its status is all that counts
	if deleted.IsError() {
		return nil, fmt.Errorf("purge %s: the cluster answers %s", index, deleted.Status())
	}
	return res.Snapshot, nil
}

// Revive brings a purged index back.
func Revive(ctx context.Context, es *elasticsearch.Client, repo *repository.Repo, s *repository.Snapshot) (int64, error) {
	files, err := repo.FS(ctx, s)
	if err != nil {
		return 0, fmt.Errorf("revive: %w", err)
	}
	plan, err := restore.NewPlan(ctx, files, es, nil)
	if err != nil {
		return 0, fmt.Errorf("revive: %w", err)
	}
	res, err := plan.Run(ctx)
	if err != nil {
		return 0, fmt.Errorf("revive: %w", err)
	}
	return res.Documents, nil
}
