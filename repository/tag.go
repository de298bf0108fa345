package repository

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/escrow-backup/escrow/repository/backend"
)

// TagChange says how to change the tags of a snapshot.
type TagChange struct {
	Set    []string // the new tags instead of all others; empty but not nil: none. Excludes Add and Remove
	Add    []string
	Remove []string
}

// apply gives the new tags, and whether they differ.
func (c TagChange) apply(old []string) ([]string, bool) {
	tags := slices.Clone(old)
	if c.Set != nil {
		tags = nil
	}
	for _, t := range slices.Concat(c.Set, c.Add) {
		if !slices.Contains(tags, t) {
			tags = append(tags, t)
		}
	}
	tags = slices.DeleteFunc(tags, func(t string) bool { return slices.Contains(c.Remove, t) })
	return tags, !slices.Equal(tags, old)
}

func (c TagChange) check() error {
	switch {
	case c.Set != nil && len(c.Add)+len(c.Remove) > 0:
		return errors.New("change: set excludes add and remove")
	case c.Set == nil && len(c.Add)+len(c.Remove) == 0:
		return errors.New("change: nothing to set, add or remove")
	case slices.Contains(slices.Concat(c.Set, c.Add), ""):
		return errors.New("change: a tag is empty")
	}
	return nil
}

// TagOptions of a change; nil and the zero value work: then it is for all snapshots.
type TagOptions struct {
	Filter    Filter
	Snapshots []ID // these alone, as far as Filter chooses them
	DryRun    bool // change nothing, only say what would be; the new snapshots have no id then
}

// Retagged is a snapshot whose tags were changed.
type Retagged struct {
	Old *Snapshot
	New *Snapshot // with another id; Original is that of the first
}

// Tag changes the tags of snapshots. A snapshot file cannot be changed, so each gets a new one with all that the old one
// said, also in fields that are not known here, and then the old one is removed. It holds an exclusive lock. Snapshots that
// have the wanted tags already stay as they are.
//
// If it fails, the result says what was done before; a snapshot may then be there twice, with its old and its new tags.
func (r *Repo) Tag(ctx context.Context, c TagChange, o *TagOptions) (done []Retagged, err error) {
	var opt TagOptions
	if o != nil {
		opt = *o
	}
	if err = c.check(); err == nil {
		if opt.DryRun {
			done, err = r.planTags(ctx, c, opt)
		} else {
			err = r.locked(ctx, true, func(ctx context.Context, lock *heldLock) (err error) {
				done, err = r.tag(ctx, lock, c, opt)
				return err
			})
		}
	}
	if err != nil {
		err = fmt.Errorf("tag snapshots: %w", err)
	}
	return done, err
}

// planTags gives the snapshots that the change changes.
func (r *Repo) planTags(ctx context.Context, c TagChange, opt TagOptions) ([]Retagged, error) {
	found, err := r.loadSnapshots(ctx)
	if err != nil {
		return nil, err
	}
	var all []Retagged
	for _, s := range found {
		if !opt.Filter.has(s) || opt.Snapshots != nil && !slices.Contains(opt.Snapshots, s.ID) {
			continue
		}
		tags, changed := c.apply(s.Tags)
		if !changed {
			continue
		}
		n := *s
		n.ID, n.Tags = ID{}, tags
		if n.Original == nil {
			n.Original = &s.ID
		}
		all = append(all, Retagged{s, &n})
	}
	return all, nil
}

func (r *Repo) tag(ctx context.Context, lock *heldLock, c TagChange, opt TagOptions) ([]Retagged, error) {
	all, err := r.planTags(ctx, c, opt)
	if err != nil {
		return nil, err
	}
	for i, t := range all {
		text, err := json.Marshal(t.New)
		if err != nil {
			return all[:i], fmt.Errorf("encode snapshot: %w", err)
		}
		if err := lock.held(ctx); err != nil {
			return all[:i], err
		}
		if t.New.ID, err = r.saveFile(ctx, backend.Snapshot, text); err != nil {
			return all[:i], err
		}
		if err := r.removeAll(ctx, lock, backend.Snapshot, []ID{t.Old.ID}); err != nil {
			return all[:i], err
		}
	}
	return all, nil
}
