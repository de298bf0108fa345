package repository

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/escrow-backup/escrow/repository/backend"
)

var (
	// ErrPlanOutdated says that the repository has changed since a plan was made: make a new one.
	ErrPlanOutdated = errors.New("the repository has changed since the plan was made")

	// ErrRemovesAll says that a policy keeps nothing of a group of snapshots.
	ErrRemovesAll = errors.New("the policy removes all snapshots of a group")
)

// ForgetOptions of a plan; nil and the zero value work.
type ForgetOptions struct {
	Filter  Filter  // snapshots that it does not choose are not touched, and do not count
	GroupBy GroupBy // default: by host and paths, as restic

	// AllowRemoveAll lets a policy remove all snapshots of a group, which seldom is what was meant.
	AllowRemoveAll bool
}

// ForgetPlan is which snapshots to keep and which to remove. PlanForget makes it, Forget carries it out.
type ForgetPlan struct {
	Groups []ForgetGroup
}

// ForgetGroup is what a plan decides about a group.
type ForgetGroup struct {
	GroupKey
	Keep   []Kept // the newest first
	Remove []*Snapshot
}

// Kept is a snapshot, and the rules of the policy that keep it, in restic's words.
type Kept struct {
	*Snapshot
	Reasons []string
}

// Removes is how many snapshots the plan removes.
func (p *ForgetPlan) Removes() int {
	n := 0
	for _, g := range p.Groups {
		n += len(g.Remove)
	}
	return n
}

// String gives the plan in lines of text.
func (p *ForgetPlan) String() string {
	var b strings.Builder
	kept := 0
	for _, g := range p.Groups {
		fmt.Fprintf(&b, "group%v: keep %d, remove %d\n", g.GroupKey, len(g.Keep), len(g.Remove))
		for _, k := range g.Keep {
			fmt.Fprintf(&b, "  keep   %s: %s\n", describe(k.Snapshot), strings.Join(k.Reasons, ", "))
		}
		for _, s := range g.Remove {
			fmt.Fprintf(&b, "  remove %s\n", describe(s))
		}
		kept += len(g.Keep)
	}
	fmt.Fprintf(&b, "in all: keep %d, remove %d\n", kept, p.Removes())
	return b.String()
}

// describe gives a snapshot on one line. One that could not be read has an id alone.
func describe(s *Snapshot) string {
	if s.Time.IsZero() && s.Tree == (ID{}) {
		return s.ID.Short() + " (unreadable)"
	}
	return fmt.Sprintf("%s %s %q %q %q", s.ID.Short(), s.Time.Format("2006-01-02 15:04:05 -0700"), s.Hostname, s.Paths, s.Tags)
}

// PlanForget decides which snapshots to keep, and changes nothing. The error wraps ErrRemovesAll if nothing would be left of
// a group, unless that is allowed.
func (r *Repo) PlanForget(ctx context.Context, p Policy, o *ForgetOptions) (*ForgetPlan, error) {
	plan, err := r.planForget(ctx, p, o)
	if err != nil {
		return nil, fmt.Errorf("plan to forget: %w", err)
	}
	return plan, nil
}

func (r *Repo) planForget(ctx context.Context, p Policy, o *ForgetOptions) (*ForgetPlan, error) {
	var opt ForgetOptions
	if o != nil {
		opt = *o
	}
	if opt.GroupBy == 0 {
		opt.GroupBy = GroupByHost | GroupByPaths
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	found, err := r.loadSnapshots(ctx)
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(s *Snapshot) bool { return !opt.Filter.has(s) })
	slices.Reverse(found)
	plan := &ForgetPlan{}
	for _, of := range opt.GroupBy.Group(found) {
		group := ForgetGroup{GroupKey: of.GroupKey}
		reasons := p.apply(of.Snapshots, r.now())
		for i, s := range of.Snapshots {
			if len(reasons[i]) > 0 {
				group.Keep = append(group.Keep, Kept{s, reasons[i]})
			} else {
				group.Remove = append(group.Remove, s)
			}
		}
		if len(group.Keep) == 0 && !opt.AllowRemoveAll {
			return nil, fmt.Errorf("group%v of %d snapshots: %w", group.GroupKey, len(group.Remove), ErrRemovesAll)
		}
		plan.Groups = append(plan.Groups, group)
	}
	return plan, nil
}

// PlanForgetIDs plans to remove the given snapshots, even damaged ones. The error wraps fs.ErrNotExist if one is not there.
func (r *Repo) PlanForgetIDs(ctx context.Context, ids ...ID) (*ForgetPlan, error) {
	var g ForgetGroup
	for _, id := range ids {
		if slices.ContainsFunc(g.Remove, func(s *Snapshot) bool { return s.ID == id }) {
			continue
		}
		s, err := r.loadSnapshot(withoutCache(ctx), backend.Handle{Type: backend.Snapshot, Name: id.String()})
		switch {
		case err == nil:
		case ctx.Err() != nil, errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("plan to forget: %w", err)
		default:
			r.opt.Logger.Warn("snapshot cannot be read", "snapshot", id, "error", err)
			s = &Snapshot{ID: id}
		}
		g.Remove = append(g.Remove, s)
	}
	slices.SortFunc(g.Remove, func(a, b *Snapshot) int {
		return cmp.Or(b.Time.Compare(a.Time), strings.Compare(b.ID.String(), a.ID.String()))
	})
	return &ForgetPlan{Groups: []ForgetGroup{g}}, nil
}

// Forget removes the snapshots that the plan removes; what they alone need stays until Prune. It holds an exclusive lock.
//
// If a snapshot that the plan keeps is gone, it removes nothing and the error wraps ErrPlanOutdated: another plan may have
// removed it because of those that this one removes. New snapshots do not matter, nor does it if some of those to be
// removed are gone.
func (r *Repo) Forget(ctx context.Context, p *ForgetPlan) error {
	if p.Removes() == 0 {
		return nil
	}
	if err := r.locked(ctx, true, func(ctx context.Context, lock *heldLock) error { return r.forget(ctx, lock, p) }); err != nil {
		return fmt.Errorf("forget: %w", err)
	}
	return nil
}

func (r *Repo) forget(ctx context.Context, lock *heldLock, p *ForgetPlan) error {
	stored, err := r.names(ctx, backend.Snapshot)
	if err != nil {
		return err
	}
	for _, g := range p.Groups {
		for _, k := range g.Keep {
			if _, ok := stored[k.ID]; !ok {
				return fmt.Errorf("snapshot %s, which was to be kept, is gone: %w", k.ID.Short(), ErrPlanOutdated)
			}
		}
	}
	var ids []ID
	for _, g := range p.Groups {
		for _, s := range g.Remove {
			if _, ok := stored[s.ID]; ok {
				ids = append(ids, s.ID)
			}
		}
	}
	return r.removeAll(ctx, lock, backend.Snapshot, ids)
}

// names gives the stored files of a type, with their sizes.
func (r *Repo) names(ctx context.Context, t backend.FileType) (map[ID]int64, error) {
	found := map[ID]int64{}
	for fi, err := range r.be.List(ctx, t) {
		if err != nil {
			return nil, err
		}
		id, err := ParseID(fi.Handle.Name)
		if err != nil {
			return nil, err
		}
		found[id] = fi.Size
	}
	return found, nil
}

// removals is how many files are removed between two looks at whether the lock still holds.
const removals = 256

// removeAll removes files, several at once. Those that are gone already do not matter.
func (r *Repo) removeAll(ctx context.Context, lock *heldLock, t backend.FileType, ids []ID) error {
	for part := range slices.Chunk(ids, removals) {
		if err := lock.held(ctx); err != nil {
			return err
		}
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(loaders)
		for _, id := range part {
			g.Go(func() error {
				err := r.be.Remove(gctx, backend.Handle{Type: t, Name: id.String()})
				if backend.IsNotExist(err) {
					return nil
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return nil
}
