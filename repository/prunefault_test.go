package repository_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// copyOf gives a store with the same files.
func copyOf(t *testing.T, b backend.Backend) *mem.Backend {
	t.Helper()
	c := mem.New()
	for _, typ := range backend.FileTypes {
		for fi, err := range b.List(t.Context(), typ) {
			require.NoError(t, err)
			rc, err := b.Load(t.Context(), fi.Handle, 0, -1)
			require.NoError(t, err)
			p := make([]byte, fi.Size)
			_, err = io.ReadFull(rc, p)
			require.NoError(t, err)
			require.NoError(t, rc.Close())
			require.NoError(t, c.Save(t.Context(), fi.Handle, bytes.NewReader(p), fi.Size))
		}
	}
	return c
}

// tidyUp tags, forgets and prunes as a nightly job would.
func tidyUp(ctx context.Context, b backend.Backend) (err error) {
	r, err := repository.Open(ctx, b, repositorytest.Password, smallPacks())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if _, err := r.Tag(ctx, repository.TagChange{Add: []string{"seen"}}, nil); err != nil {
		return err
	}
	plan, err := r.PlanForget(ctx, repository.Policy{Last: 1}, nil)
	if err != nil {
		return err
	}
	if err := r.Forget(ctx, plan); err != nil {
		return err
	}
	work, err := r.PlanPrune(ctx, none())
	if err != nil {
		return err
	}
	return r.Prune(ctx, work)
}

func TestFaultAtEveryCallOfPrune(t *testing.T) {
	start := initialized(t)
	r := open4(t, start)
	mustPieces(t, r, map[string][]int{"old/a": upTo(0, 3)})
	kept := map[string][]int{"b": upTo(2, 4), "c/d": {4}}
	mustPieces(t, r, kept)

	good := copyOf(t, start)
	trace := backendtest.NewFaults(good)
	require.NoError(t, tidyUp(t.Context(), trace))
	calls := trace.Calls()
	require.Greater(t, calls, 50)
	requireNothingToPrune(t, open4(t, good))
	for name, rule := range map[string]func(f *backendtest.Faults, n int){
		"fail":     func(f *backendtest.Faults, n int) { f.Fail("", 0, n, errBoom) },
		"lost ack": func(f *backendtest.Faults, n int) { f.LoseAck("", 0, n, errBoom) },
		"short":    func(f *backendtest.Faults, n int) { f.ShortRead(0, n) },
		"flipped":  func(f *backendtest.Faults, n int) { f.FlipByte(0, n) },
		"killed":   func(f *backendtest.Faults, n int) { f.StopAfter(n) },
		"killed after": func(f *backendtest.Faults, n int) {
			f.StopAfter(n).LoseAck("", 0, n, errBoom)
		},
	} {
		t.Run(name, func(t *testing.T) {
			failed := 0
			for n := 1; n <= calls; n++ {
				b := copyOf(t, start)
				f := backendtest.NewFaults(b)
				rule(f, n)
				if err := tidyUp(t.Context(), f); err != nil {
					failed++
				}
				r := open4(t, b)
				_, err := r.Unlock(t.Context(), &repository.UnlockOptions{All: true})
				require.NoError(t, err)
				requirePieces(t, r, mustLatest(t, r), kept)
				repositorytest.RequireClean(t, r)
				require.NoError(t, tidyUp(t.Context(), b), "after a fault at call %d", n)
				r = open4(t, b)
				requirePieces(t, r, mustLatest(t, r), kept)
				requireNothingToPrune(t, r)
				repositorytest.RequireClean(t, r)
			}
			require.Positive(t, failed)
		})
	}
}

// model is what a repository must hold: the files of each snapshot, by a tag that names it for good.
type model map[string]map[string][]int

// machine is a repository that random things happen to.
type machine struct {
	t    *testing.T
	rand *rand.Rand
	b    *mem.Backend
	m    model
	next int
	when time.Time

	maybe model // a snapshot that a killed write may have made
	going []string
}

// TestRandomOperations writes, tags, forgets and prunes at random, with a crash at a random call now and then. What is not
// forgotten must be there to the byte, and check must find nothing.
func TestRandomOperations(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			x := &machine{t: t, rand: rand.New(rand.NewPCG(seed, 1)), b: initialized(t), m: model{},
				when: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
			for range 40 {
				x.step()
			}
			x.clean()
		})
	}
}

func (x *machine) step() {
	x.maybe, x.going = model{}, nil
	f := backendtest.NewFaults(x.b)
	if x.rand.IntN(2) == 0 {
		n := x.rand.IntN(60)
		f.StopAfter(n)
		if x.rand.IntN(2) == 0 {
			f.LoseAck("", 0, n, errBoom)
		}
	}
	err := func() (err error) {
		r, err := repository.Open(x.t.Context(), f, repositorytest.Password, smallPacks())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.Close()) }()
		ops := []func(*repository.Repo) error{x.write, x.write, x.tag, x.forget, x.policy, x.prune, x.prune}
		return ops[x.rand.IntN(len(ops))](r)
	}()
	crashed := err != nil
	if crashed {
		require.True(x.t, errors.Is(err, backendtest.ErrStopped) || errors.Is(err, errBoom), "%v", err)
	}
	// Also an operation that was done may have left its lock.
	_, err = open4(x.t, x.b).Unlock(x.t.Context(), &repository.UnlockOptions{All: true})
	require.NoError(x.t, err)
	x.compare(crashed)
}

func (x *machine) write(r *repository.Repo) error {
	x.next++
	x.when = x.when.Add(time.Duration(1+x.rand.IntN(30)) * time.Hour)
	name := fmt.Sprint("s", x.next)
	files := map[string][]int{}
	for range 1 + x.rand.IntN(3) {
		from := x.rand.IntN(80)
		files[fmt.Sprintf("d%d/f%d", x.rand.IntN(3), x.rand.IntN(3))] = upTo(from, from+x.rand.IntN(15))
	}
	x.maybe[name] = files
	_, err := pieces(x.t.Context(), r, repository.Header{Hostname: "h", Time: x.when, Tags: []string{name}}, files)
	if err == nil {
		x.m[name] = files
	}
	return err
}

func (x *machine) tag(r *repository.Repo) error {
	change := repository.TagChange{Add: []string{fmt.Sprint("extra", x.rand.IntN(3))}}
	if x.rand.IntN(2) == 0 {
		change = repository.TagChange{Remove: change.Add}
	}
	_, err := r.Tag(x.t.Context(), change, nil)
	return err
}

func (x *machine) forget(r *repository.Repo) error {
	var ids []repository.ID
	for s, err := range r.Snapshots(x.t.Context(), repository.Filter{}) {
		if err != nil {
			return err
		}
		if x.rand.IntN(3) == 0 {
			ids = append(ids, s.ID)
			x.going = append(x.going, s.Tags[0])
		}
	}
	plan, err := r.PlanForgetIDs(x.t.Context(), ids...)
	if err != nil {
		return err
	}
	return x.carryOut(r, plan)
}

func (x *machine) policy(r *repository.Repo) error {
	plan, err := r.PlanForget(x.t.Context(), repository.Policy{Last: 1 + x.rand.IntN(3), Daily: x.rand.IntN(5)},
		&repository.ForgetOptions{GroupBy: repository.GroupTogether})
	if err != nil {
		return err
	}
	for _, g := range plan.Groups {
		for _, s := range g.Remove {
			x.going = append(x.going, s.Tags[0])
		}
	}
	return x.carryOut(r, plan)
}

func (x *machine) carryOut(r *repository.Repo, plan *repository.ForgetPlan) error {
	if err := r.Forget(x.t.Context(), plan); err != nil {
		return err
	}
	for _, name := range x.going {
		delete(x.m, name)
	}
	x.going = nil
	return nil
}

func (x *machine) prune(r *repository.Repo) error {
	o := &repository.PruneOptions{RepackSmall: x.rand.IntN(2) == 0, RepackUncompressed: x.rand.IntN(4) == 0}
	if x.rand.IntN(2) == 0 {
		o.MaxUnused = repository.UnusedPercent(float64(x.rand.IntN(50)))
	}
	if x.rand.IntN(3) == 0 {
		o.MaxRepackSize = int64(1+x.rand.IntN(8)) << 20
	}
	plan, err := r.PlanPrune(x.t.Context(), o)
	if err != nil {
		return err
	}
	return r.Prune(x.t.Context(), plan)
}

// compare holds the repository to the model. After a crash, the operation may be done wholly, in part or not at all.
func (x *machine) compare(crashed bool) {
	t := x.t
	r := open4(t, x.b)
	found := map[string]bool{}
	for s, err := range r.Snapshots(t.Context(), repository.Filter{}) {
		require.NoError(t, err)
		require.NotEmpty(t, s.Tags)
		name := s.Tags[0]
		require.True(t, crashed || !found[name], "%s is there twice", name)
		found[name] = true
		want, ok := x.m[name]
		if !ok && crashed {
			want, ok = x.maybe[name]
			x.m[name] = want
		}
		require.True(t, ok, "%s should not be there", name)
		requirePieces(t, r, s, want)
	}
	for name := range x.m {
		if !found[name] {
			require.True(t, crashed && slices.Contains(x.going, name), "%s is lost", name)
			delete(x.m, name)
		}
	}
	if crashed { // a tag that was interrupted leaves a snapshot twice: the older goes
		x.dropTwins(r)
	}
	for p, err := range r.Check(t.Context(), nil) {
		require.NoError(t, err)
		require.True(t, p.Kind.Harmless(), "%v", p)
	}
}

func (x *machine) dropTwins(r *repository.Repo) {
	first := map[string]repository.ID{}
	for s, err := range r.Snapshots(x.t.Context(), repository.Filter{}) {
		require.NoError(x.t, err)
		if _, twin := first[s.Tags[0]]; twin {
			forget(x.t, r, s.ID)
			continue
		}
		first[s.Tags[0]] = s.ID
	}
}

// clean prunes for the last time: nothing but what the model needs is left.
func (x *machine) clean() {
	r := open4(x.t, x.b)
	prune(x.t, r, none())
	requireNothingToPrune(x.t, r)
	repositorytest.RequireClean(x.t, r)
	used := map[int]bool{}
	for _, files := range x.m {
		for _, n := range slices.Concat(slices.Collect(maps.Values(files))...) {
			used[n] = true
		}
	}
	require.InDelta(x.t, len(used)*pieceSize, total(sizes(x.t, x.b, backend.Pack)), float64(len(used)*200+len(x.m)*6000))
}
