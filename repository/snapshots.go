package repository

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/escrow-backup/escrow/repository/backend"
)

// Snapshots yields the snapshots that f chooses, the oldest first. Those that disappear while it reads are left out.
func (r *Repo) Snapshots(ctx context.Context, f Filter) iter.Seq2[*Snapshot, error] {
	return func(yield func(*Snapshot, error) bool) {
		all, err := r.loadSnapshots(ctx)
		if err != nil {
			yield(nil, fmt.Errorf("list snapshots: %w", err))
			return
		}
		for _, s := range all {
			if f.has(s) && !yield(s, nil) {
				return
			}
		}
	}
}

// Snapshot finds one snapshot: by its id, by a prefix of it that no other has, as "latest", or as "latest~2", the second
// before the latest. The error wraps fs.ErrNotExist if there is none.
func (r *Repo) Snapshot(ctx context.Context, ref string) (*Snapshot, error) {
	s, err := r.findSnapshot(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("find snapshot %q: %w", ref, err)
	}
	return s, nil
}

func (r *Repo) findSnapshot(ctx context.Context, ref string) (*Snapshot, error) {
	if rest, ok := strings.CutPrefix(ref, "latest"); ok {
		back := 0
		if rest != "" {
			n, err := strconv.ParseUint(strings.TrimPrefix(rest, "~"), 10, 31)
			if err != nil || rest[0] != '~' {
				return nil, fmt.Errorf("not an id nor \"latest\" nor \"latest~2\": %w", fs.ErrNotExist)
			}
			back = int(n)
		}
		all, err := r.loadSnapshots(ctx)
		if err != nil {
			return nil, err
		}
		if back >= len(all) {
			return nil, fmt.Errorf("there are %d snapshots: %w", len(all), fs.ErrNotExist)
		}
		return all[len(all)-1-back], nil
	}
	ref = strings.ToLower(ref)
	if ref == "" || len(ref) > 64 || strings.Trim(ref, "0123456789abcdef") != "" {
		return nil, fmt.Errorf("not an id nor \"latest\" nor \"latest~2\": %w", fs.ErrNotExist)
	}
	if len(ref) == 64 {
		return r.loadSnapshot(withoutCache(ctx), backend.Handle{Type: backend.Snapshot, Name: ref}) // it may have been removed
	}
	var found []string
	for fi, err := range r.be.List(ctx, backend.Snapshot) {
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(fi.Handle.Name, ref) {
			found = append(found, fi.Handle.Name)
		}
	}
	slices.Sort(found)
	switch found = slices.Compact(found); len(found) {
	case 0:
		return nil, fmt.Errorf("no snapshot has this id: %w", fs.ErrNotExist)
	case 1:
		return r.loadSnapshot(ctx, backend.Handle{Type: backend.Snapshot, Name: found[0]})
	}
	const show = 8
	names := strings.Join(found[:min(len(found), show)], ", ")
	if len(found) > show {
		names += ", ..."
	}
	return nil, fmt.Errorf("%d snapshots begin so: %s", len(found), names)
}

func (r *Repo) loadSnapshot(ctx context.Context, h backend.Handle) (*Snapshot, error) {
	text, err := r.loadFile(ctx, h)
	if err != nil {
		return nil, err
	}
	id, err := ParseID(h.Name)
	if err != nil {
		return nil, err
	}
	s, err := decodeSnapshot(text, id)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", h, err)
	}
	return s, nil
}

// loadSnapshots gives all snapshots, the oldest first.
func (r *Repo) loadSnapshots(ctx context.Context) ([]*Snapshot, error) {
	var handles []backend.Handle
	for fi, err := range r.be.List(ctx, backend.Snapshot) {
		if err != nil {
			return nil, err
		}
		handles = append(handles, fi.Handle)
	}
	all := make([]*Snapshot, len(handles))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(loaders)
	for i, h := range handles {
		g.Go(func() (err error) {
			all[i], err = r.loadSnapshot(ctx, h)
			if backend.IsNotExist(err) {
				return nil // forgotten since it was listed
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(s *Snapshot) bool { return s == nil })
	slices.SortFunc(all, func(a, b *Snapshot) int {
		return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.ID.String(), b.ID.String()))
	})
	return all, nil
}
