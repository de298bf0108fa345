package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/elastic/go-elasticsearch/v8"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend/local"
	"github.com/escrow-backup/escrow/restore"
)

// password of the repository. It protects invented data in a temporary folder.
const password = "quickstart"

// What happens in the shop between the two backups.
const (
	newLogs   = 2_000
	paid      = 200
	cancelled = 25
)

// demo is one run of the program.
type demo struct {
	screen *screen
	env    func(string) string
	url    string
	keep   bool
	shop   []index
	opts   *repository.Options // tests only

	es      *elasticsearch.Client
	prefix  string   // of the indices' names
	created []string // the indices to remove at the end
	repo    *repository.Repo
	first   *backup.Result
}

func (d *demo) run(ctx context.Context) (err error) {
	started := time.Now()
	stop, err := d.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	for _, name := range d.names() {
		d.screen.width = max(d.screen.width, len(name))
	}

	dir, err := os.MkdirTemp("", "escrow-quickstart-")
	if err != nil {
		return err
	}
	if !d.keep {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	path := filepath.Join(dir, "repository")
	store, err := local.New(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()

	d.screen.title("escrow: back up and restore Elasticsearch")
	if err := d.fill(ctx); err != nil {
		return err
	}
	if d.repo, err = repository.Init(ctx, store, password, d.opts); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.repo.Close()) }()

	for _, step := range []func(context.Context) error{d.backUp, d.change, d.backUpAgain, d.remove, d.restore, d.verify} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	d.screen.done(time.Since(started))
	if d.keep {
		d.screen.restic(path, d.prefix)
	}
	return nil
}

// names are the cluster's names of the shop's indices.
func (d *demo) names() []string {
	names := make([]string, len(d.shop))
	for i, ix := range d.shop {
		names[i] = d.prefix + ix.name
	}
	return names
}

func (d *demo) fill(ctx context.Context) error {
	where := "in memory"
	if d.url != "" {
		where = "at " + redacted(d.url)
	}
	s := d.screen.step("Fill an Elasticsearch %s", where)
	total := int64(0)
	for _, ix := range d.shop {
		name := d.prefix + ix.name
		if err := d.create(ctx, name, fmt.Sprintf(ix.body, d.prefix)); err != nil {
			return err
		}
		// Load is half of what restore is made of: it takes documents from anywhere.
		bar := s.bar("loading " + ix.name)
		res, err := restore.Load(ctx, d.es, documents(ix, name, 0, ix.docs), &restore.Options{
			Progress: func(p restore.Progress) { bar.set(p.DocsDone, int64(ix.docs)) },
		})
		bar.close()
		if err != nil {
			return err
		}
		s.row(name, fmt.Sprintf("%7s documents   %s", thousands(res.Documents), ix.about))
		total += res.Documents
	}
	s.end(total)
	return nil
}

func (d *demo) backUp(ctx context.Context) error {
	s := d.screen.step("Back it up into a new repository")
	res, err := d.backupRun(ctx, s)
	if err != nil {
		return err
	}
	d.first = res
	s.row("holds", fmt.Sprintf("%s documents, %s", thousands(res.Documents), size(res.Bytes)))
	s.row("stored", fmt.Sprintf("%s, compressed %.1f to 1 and encrypted", size(res.BytesAdded),
		float64(res.Bytes)/float64(max(res.BytesAdded, 1))))
	s.row("snapshot", res.Snapshot.ID.String()[:8])
	s.end(res.Documents)
	return nil
}

func (d *demo) backupRun(ctx context.Context, s *step) (*backup.Result, error) {
	bar := s.bar("reading")
	defer bar.close()
	return backup.Run(ctx, d.es, d.repo, &backup.Options{
		Indices:  d.names(),
		Host:     "quickstart",
		Progress: func(p backup.Progress) { bar.set(p.DocsDone, p.Docs) },
	})
}

// change does what a shop does: the log grows, open orders are paid or cancelled.
func (d *demo) change(ctx context.Context) error {
	s := d.screen.step("Go on using it")
	logs, orders := d.shop[0], d.shop[1]
	name := d.prefix + logs.name
	if _, err := restore.Load(ctx, d.es, documents(logs, name, logs.docs, logs.docs+newLogs), nil); err != nil {
		return err
	}
	var b bulk
	for doc := range documents(orders, "", orders.docs-paid-cancelled, orders.docs) {
		if b.items < paid {
			if err := b.index(doc, `"status":"open"`, `"status":"paid"`); err != nil {
				return err
			}
			continue
		}
		b.remove(doc)
	}
	if err := d.send(ctx, d.prefix+orders.name, &b); err != nil {
		return err
	}
	s.row(name, thousands(newLogs)+" new lines")
	s.row(d.prefix+orders.name, fmt.Sprintf("%d paid (updated), %d cancelled (deleted)", paid, cancelled))
	s.row(d.prefix+d.shop[2].name, "as they were")
	s.end(0)
	return nil
}

func (d *demo) backUpAgain(ctx context.Context) error {
	s := d.screen.step("Back it up again")
	res, err := d.backupRun(ctx, s)
	if err != nil {
		return err
	}
	if res.Parent == nil {
		return errors.New("back up again: the first snapshot was not used")
	}
	s.row("holds", fmt.Sprintf("%s documents, %s", thousands(res.Documents), size(res.Bytes)))
	s.row("read", fmt.Sprintf("%s documents (%s); %s of %s segments reused", thousands(res.DocumentsRead),
		percent(res.DocumentsRead, res.Documents), thousands(res.SegmentsReused), thousands(res.Segments)))
	s.row("stored", fmt.Sprintf("%s, %s of the first time", size(res.BytesAdded),
		percent(res.BytesAdded, d.first.BytesAdded)))
	s.row("snapshot", res.Snapshot.ID.String()[:8])
	s.end(0)
	return nil
}

func (d *demo) remove(ctx context.Context) error {
	s := d.screen.step("Lose everything")
	if err := d.drop(ctx, d.names()); err != nil {
		return err
	}
	s.row("deleted", "all "+fmt.Sprint(len(d.shop))+" indices")
	s.end(0)
	return nil
}

func (d *demo) restore(ctx context.Context) error {
	s := d.screen.step("Restore the latest snapshot")
	bar := s.bar("restoring")
	defer bar.close()
	sn, err := d.repo.Snapshot(ctx, "latest")
	if err != nil {
		return err
	}
	files, err := d.repo.FS(ctx, sn)
	if err != nil {
		return err
	}
	plan, err := restore.NewPlan(ctx, files, d.es, &restore.Options{
		Progress: func(p restore.Progress) { bar.set(p.DocsDone, p.Docs) },
	})
	if err != nil {
		return err
	}
	res, err := plan.Run(ctx)
	bar.close()
	if err != nil {
		return err
	}
	s.row("restored", fmt.Sprintf("%s documents into %d indices", thousands(res.Documents), res.Indices))
	s.end(res.Documents)
	return nil
}

func (d *demo) verify(ctx context.Context) error {
	s := d.screen.step("Compare every document, setting, mapping and alias with the snapshot")
	bar := s.bar("comparing")
	defer bar.close()
	sn, err := d.repo.Snapshot(ctx, "latest")
	if err != nil {
		return err
	}
	files, err := d.repo.FS(ctx, sn)
	if err != nil {
		return err
	}
	diff, err := restore.Verify(ctx, files, d.es, &restore.Options{
		Progress: func(p restore.Progress) { bar.set(p.DocsDone, p.Docs) },
	})
	bar.close()
	if err != nil {
		return err
	}
	if !diff.Identical() {
		return fmt.Errorf("verify: the restored indices differ: %s", diff)
	}
	s.row("identical", fmt.Sprintf("%s documents in %d indices, byte for byte", thousands(diff.Documents), diff.Checked))
	s.end(diff.Documents)
	return nil
}
