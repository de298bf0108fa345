package repository_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// operation is something to do with an open repository. What it gives tells all of its outcome.
type operation struct {
	name string
	do   func(ctx context.Context, r *repository.Repo) (string, error)
}

// twoSnapshots gives the snapshots of faultyBase.
func twoSnapshots(ctx context.Context, r *repository.Repo) (all []*repository.Snapshot, err error) {
	for s, err := range r.Snapshots(ctx, repository.Filter{}) {
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if len(all) != 2 {
		return nil, fmt.Errorf("WRONG: %d snapshots", len(all))
	}
	return all, nil
}

// operations are those that have no test of their own with a fault at every call.
func operations() []operation {
	return []operation{
		{"snapshots", func(ctx context.Context, r *repository.Repo) (string, error) {
			all, err := twoSnapshots(ctx, r)
			return fmt.Sprint(len(all)), err
		}},
		{"resolve", func(ctx context.Context, r *repository.Repo) (string, error) {
			s, name, err := r.Resolve(ctx, "latest~1:/d")
			if err != nil {
				return "", err
			}
			return s.ID.String() + name, nil
		}},
		{"check", func(ctx context.Context, r *repository.Repo) (string, error) {
			var errs []error
			for p, err := range r.Check(ctx, &repository.CheckOptions{ReadData: true}) {
				if err == nil {
					err = errors.New(p.String()) // what cannot be read may well be called damaged
				}
				errs = append(errs, err)
			}
			return "clean", errors.Join(errs...)
		}},
		{"stats", func(ctx context.Context, r *repository.Repo) (string, error) {
			all, err := twoSnapshots(ctx, r)
			if err != nil {
				return "", err
			}
			s, err := r.Stats(ctx, all...)
			return fmt.Sprintf("%+v", s), err
		}},
		{"diff", func(ctx context.Context, r *repository.Repo) (string, error) {
			all, err := twoSnapshots(ctx, r)
			if err != nil {
				return "", err
			}
			var changes []string
			for c, err := range r.Diff(ctx, all[0], all[1], nil) {
				if err != nil {
					return "", err
				}
				changes = append(changes, string(c.Kind)+" "+c.Path)
			}
			return strings.Join(changes, ", "), nil
		}},
		{"keys", func(ctx context.Context, r *repository.Repo) (string, error) {
			var all []string
			for k, err := range r.Keys(ctx) {
				if err == nil {
					err = k.Err
				}
				if err != nil {
					return "", err
				}
				all = append(all, k.ID.String())
			}
			slices.Sort(all)
			return strings.Join(all, " "), nil
		}},
		{"add key", func(ctx context.Context, r *repository.Repo) (string, error) {
			_, err := r.AddKey(ctx, "another", nil)
			return "added", err
		}},
		{"remove key", func(ctx context.Context, r *repository.Repo) (string, error) {
			for k, err := range r.Keys(ctx) {
				if err != nil {
					return "", err
				}
				if !k.InUse {
					return "removed", r.RemoveKey(ctx, k.ID.String())
				}
			}
			return "", errors.New("there is no other key")
		}},
		{"unlock", func(ctx context.Context, r *repository.Repo) (string, error) {
			_, err := r.Unlock(ctx, &repository.UnlockOptions{All: true})
			return "unlocked", err
		}},
		{"plans", func(ctx context.Context, r *repository.Repo) (string, error) {
			f, err := r.PlanForget(ctx, repository.Policy{Last: 1}, nil)
			if err != nil {
				return "", err
			}
			p, err := r.PlanPrune(ctx, nil)
			if err != nil {
				return "", err
			}
			ix, err := r.PlanRepairIndex(ctx, &repository.RepairIndexOptions{ReadData: true})
			if err != nil {
				return "", err
			}
			if len(ix.Broken)+len(ix.Damaged)+len(ix.Missing) > 0 {
				return "", fmt.Errorf("seems to be damaged: %v", ix)
			}
			s, err := r.PlanRepairSnapshots(ctx)
			if err != nil {
				return "", err
			}
			if len(s.Snapshots) > 0 {
				return "", fmt.Errorf("seems to be damaged: %v", s)
			}
			return fmt.Sprint(f, p, ix), nil
		}},
	}
}

// TestFaultAtEveryCallOf puts each kind of fault at each call of each operation, with and without a cache: an error or the right
// result, a repository in which nothing is lost, and the operation succeeds the next time. A delay changes nothing.
func TestFaultAtEveryCallOf(t *testing.T) {
	base := mem.New()
	first := repositorytest.Init(t, base)
	texts := []map[string]string{{"d/a": "1", "d/b": string(random(81, 9000))}, {"d/a": "2", "c": string(random(82, 9000))}}
	repositorytest.Write(t, first, texts[0])
	repositorytest.Write(t, first, texts[1])
	_, err := first.AddKey(t.Context(), "second", nil)
	require.NoError(t, err)
	for _, cache := range []bool{false, true} {
		if cache && testing.Short() {
			continue
		}
		for _, op := range operations() {
			t.Run(fmt.Sprintf("%s, cache %v", op.name, cache), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				run := func(b backend.Backend) (got string, err error) {
					o := smallPacks()
					if cache {
						o.Cache = dir
					}
					r, err := repository.Open(t.Context(), b, repositorytest.Password, o)
					if err != nil {
						return "", err
					}
					defer func() { err = errors.Join(err, r.Close()) }()
					return op.do(t.Context(), r)
				}
				trace := backendtest.NewFaults(clone(t, base))
				want, err := run(trace)
				require.NoError(t, err)
				require.NotEmpty(t, want)
				rules := map[string]func(f *backendtest.Faults, n int){
					"fail":     func(f *backendtest.Faults, n int) { f.Fail("", 0, n, errBoom) },
					"lost ack": func(f *backendtest.Faults, n int) { f.LoseAck("", 0, n, errBoom) },
					"short":    func(f *backendtest.Faults, n int) { f.ShortRead(0, n) },
					"flipped":  func(f *backendtest.Faults, n int) { f.FlipByte(0, n) },
					"killed":   func(f *backendtest.Faults, n int) { f.StopAfter(n) },
					"delay":    func(f *backendtest.Faults, n int) { f.Delay("", 0, n, 3*time.Millisecond) },
				}
				failed := 0
				for n := 1; n <= trace.Calls(); n++ {
					for name, rule := range rules {
						if cache {
							dir = t.TempDir()
						}
						b := clone(t, base)
						f := backendtest.NewFaults(b)
						rule(f, n)
						got, err := run(f)
						if err != nil {
							require.NotContains(t, err.Error(), "WRONG")
							require.NotEqual(t, "delay", name)
							failed++
						} else {
							require.Equal(t, want, got, "%s at call %d of %v", name, n, f.Trace())
						}
						unlockAll(t, b)
						r := repositorytest.Reopen(t, b)
						repositorytest.RequireClean(t, r)
						requireTexts(t, r, texts)
						if name == "killed" || name == "lost ack" {
							if got, err := run(b); err == nil { // to remove what is removed already may fail
								require.Equal(t, want, got, "after %s at call %d", name, n)
							} else {
								require.Equal(t, "remove key", op.name, "%v", err)
							}
						}
					}
				}
				require.Positive(t, failed)
			})
		}
	}
}

// requireTexts reads all files of all snapshots.
func requireTexts(t *testing.T, r *repository.Repo, texts []map[string]string) {
	t.Helper()
	all, err := twoSnapshots(t.Context(), r)
	require.NoError(t, err)
	for i, s := range all {
		fsys, err := r.FS(t.Context(), s)
		require.NoError(t, err)
		for name, want := range texts[i] {
			got, err := fs.ReadFile(fsys, name)
			require.NoError(t, err)
			require.True(t, want == string(got), "%s: WRONG BYTES", name)
		}
	}
}

// After a fault at any call of Init there is a repository that the password opens, or none: never one that cannot be opened.
func TestInitSurvivesFaults(t *testing.T) {
	run := func(b backend.Backend) error {
		r, err := repository.Init(t.Context(), b, repositorytest.Password, smallPacks())
		if err != nil {
			return err
		}
		return r.Close()
	}
	trace := backendtest.NewFaults(mem.New())
	require.NoError(t, run(trace))
	require.Equal(t, 4, trace.Calls())
	for n := 1; n <= trace.Calls(); n++ {
		for name, rule := range map[string]func(f *backendtest.Faults){
			"fail":     func(f *backendtest.Faults) { f.Fail("", 0, n, errBoom) },
			"lost ack": func(f *backendtest.Faults) { f.LoseAck("", 0, n, errBoom) },
			"killed":   func(f *backendtest.Faults) { f.StopAfter(n) },
			"delay":    func(f *backendtest.Faults) { f.Delay("", 0, n, time.Millisecond) },
		} {
			b := mem.New()
			f := backendtest.NewFaults(b)
			rule(f)
			err := run(f)
			r, oerr := repository.Open(t.Context(), b, repositorytest.Password, smallPacks())
			if err == nil {
				require.NoError(t, oerr, "%s at call %d", name, n)
			}
			if oerr != nil {
				require.ErrorIs(t, oerr, fs.ErrNotExist, "%s at call %d", name, n)
				continue
			}
			repositorytest.Write(t, r, map[string]string{"a": "1"})
			repositorytest.RequireClean(t, r)
			require.NoError(t, r.Close())
		}
	}
}
