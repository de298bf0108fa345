package repository_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

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

	passwords []repository.Password // one of them opens it
	version   int                   // of its format

	dirs map[string]bool // snapshots whose files were cut by their content

	other  *mem.Backend // where copies go
	copies model        // what it holds

	maybe model // snapshots that a killed operation may have made
	going []string
	after func() // what a person would do after a crash
}

// fromEnv gives a number that the environment sets, for longer runs or the same one again.
func fromEnv(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 10, 64)
	require.NoError(t, err, name)
	return n
}

// TestRandomOperations writes (also several at once), adds directories, tags, forgets, prunes, copies to another repository and back,
// changes keys, and repairs at random, with a crash at a random call now and then. What is not forgotten must be there to the byte,
// and check must find nothing. The name of a failed subtest is its seed: ESCROW_RANDOM_SEED=4 ESCROW_RANDOM_RUNS=1 repeats it as far
// as goroutines allow. ESCROW_RANDOM_RUNS=1000 is a long run.
func TestRandomOperations(t *testing.T) {
	runs := uint64(6)
	if testing.Short() {
		runs = 2
	}
	first := fromEnv(t, "ESCROW_RANDOM_SEED", 0)
	for seed := first; seed < first+fromEnv(t, "ESCROW_RANDOM_RUNS", runs); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			x := &machine{t: t, rand: rand.New(rand.NewPCG(seed, 1)), b: mem.New(), m: model{}, other: initialized(t), copies: model{}, dirs: map[string]bool{},
				passwords: []repository.Password{repositorytest.Password}, version: 1 + int(seed%2),
				when: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
			o := smallPacks()
			o.Version = x.version
			r, err := repository.Init(t.Context(), x.b, repositorytest.Password, o)
			require.NoError(t, err)
			require.NoError(t, r.Close())
			for range 40 {
				x.step()
			}
			x.clean()
		})
	}
}

// open opens the repository with what is known to open it.
func (x *machine) open() *repository.Repo {
	x.t.Helper()
	for _, pw := range x.passwords {
		r, err := repository.Open(x.t.Context(), x.b, pw, smallPacks())
		if errors.Is(err, repository.ErrWrongPassword) {
			continue
		}
		require.NoError(x.t, err)
		x.passwords = []repository.Password{pw}
		x.t.Cleanup(func() { require.NoError(x.t, r.Close()) })
		return r
	}
	require.Fail(x.t, "no password opens the repository any more")
	return nil
}

func (x *machine) step() {
	x.maybe, x.going, x.after = model{}, nil, nil
	f := backendtest.NewFaults(x.b)
	if x.rand.IntN(2) == 0 {
		n := x.rand.IntN(60)
		f.StopAfter(n)
		if x.rand.IntN(2) == 0 {
			f.LoseAck("", 0, n, errBoom)
		}
	}
	err := func() (err error) {
		r, err := repository.Open(x.t.Context(), f, x.passwords[0], smallPacks())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.Close()) }()
		ops := []func(*repository.Repo) error{x.write, x.write, x.together, x.directory, x.tag, x.forget, x.policy, x.prune, x.prune,
			x.copy, x.back, x.password, x.keys, x.repair}
		op := ops[x.rand.IntN(len(ops))]
		if x.rand.IntN(40) == 0 && x.version == 1 {
			op = x.migrate
		}
		return op(r)
	}()
	crashed := err != nil
	if crashed {
		require.True(x.t, errors.Is(err, backendtest.ErrStopped) || errors.Is(err, errBoom), "%v", err)
	}
	// Also an operation that was done may have left its lock.
	_, err = x.open().Unlock(x.t.Context(), &repository.UnlockOptions{All: true})
	require.NoError(x.t, err)
	if crashed && x.after != nil {
		x.after()
	}
	x.compare(crashed)
}

// invent gives a new snapshot: its header and its files.
func (x *machine) invent() (repository.Header, map[string][]int) {
	x.next++
	x.when = x.when.Add(time.Duration(1+x.rand.IntN(30)) * time.Hour)
	name := fmt.Sprint("s", x.next)
	files := map[string][]int{}
	for range 1 + x.rand.IntN(3) {
		from := x.rand.IntN(80)
		files[fmt.Sprintf("d%d/f%d", x.rand.IntN(3), x.rand.IntN(3))] = upTo(from, from+x.rand.IntN(15))
	}
	x.maybe[name] = files
	return repository.Header{Hostname: "h", Time: x.when, Tags: []string{name}}, files
}

func (x *machine) write(r *repository.Repo) error {
	h, files := x.invent()
	_, err := pieces(x.t.Context(), r, h, files)
	if err == nil {
		x.m[h.Tags[0]] = files
	}
	return err
}

// together writes several snapshots at once.
func (x *machine) together(r *repository.Repo) error {
	errs := make([]error, 3)
	headers, files := make([]repository.Header, len(errs)), make([]map[string][]int, len(errs))
	var wg sync.WaitGroup
	for i := range errs {
		headers[i], files[i] = x.invent()
		wg.Go(func() { _, errs[i] = pieces(x.t.Context(), r, headers[i], files[i]) })
	}
	wg.Wait()
	for i, err := range errs {
		if err == nil {
			x.m[headers[i].Tags[0]] = files[i]
		}
	}
	return errors.Join(errs...)
}

// directory adds a file system, with a parent if there is one. Its pieces are cut anew by their content.
func (x *machine) directory(r *repository.Repo) error {
	h, files := x.invent()
	x.dirs[h.Tags[0]] = true
	if s, err := r.Snapshot(x.t.Context(), "latest"); err == nil {
		h.Parent = &s.ID
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	m := fstest.MapFS{}
	for name, numbers := range files {
		f := &fstest.MapFile{ModTime: x.when, Mode: 0o640}
		for _, n := range numbers {
			f.Data = append(f.Data, random(uint64(n), pieceSize)...)
		}
		m[name] = f
	}
	_, err := r.Write(x.t.Context(), h, func(ctx context.Context, w *repository.Writer) error { return w.AddFS(ctx, m, nil) })
	if err == nil {
		x.m[h.Tags[0]] = files
	}
	return err
}

// copy copies everything that the other repository does not have.
func (x *machine) copy(r *repository.Repo) error {
	dst := open4(x.t, x.other)
	var all []*repository.Snapshot
	for s, err := range r.Snapshots(x.t.Context(), repository.Filter{}) {
		if err != nil {
			return err
		}
		if x.copies[s.Tags[0]] == nil {
			all = append(all, s)
		}
	}
	res, err := r.Copy(x.t.Context(), dst, all...)
	for _, s := range res.Copied {
		x.copies[s.Tags[0]] = x.m[s.Tags[0]]
	}
	for s, serr := range open4(x.t, x.other).Snapshots(x.t.Context(), repository.Filter{}) {
		require.NoError(x.t, serr)
		requirePieces(x.t, dst, s, x.copies[s.Tags[0]])
	}
	return err
}

// back copies what was forgotten from the other repository.
func (x *machine) back(r *repository.Repo) error {
	var all []*repository.Snapshot
	src := open4(x.t, x.other)
	for s, err := range src.Snapshots(x.t.Context(), repository.Filter{}) {
		require.NoError(x.t, err)
		if name := s.Tags[0]; x.m[name] == nil {
			x.maybe[name] = x.copies[name]
			all = append(all, s)
		}
	}
	res, err := src.Copy(x.t.Context(), r, all...)
	for _, s := range res.Copied {
		x.m[s.Tags[0]] = x.copies[s.Tags[0]]
	}
	return err
}

func (x *machine) password(r *repository.Repo) error {
	x.next++
	pw := repository.Password(fmt.Sprint("password ", x.next))
	x.passwords = append(x.passwords, pw)
	_, err := r.ChangePassword(x.t.Context(), pw, nil)
	if err == nil {
		x.passwords = []repository.Password{pw}
	}
	return err
}

// keys adds a key, uses it, and removes it.
func (x *machine) keys(r *repository.Repo) error {
	id, err := r.AddKey(x.t.Context(), "second", nil)
	if err != nil {
		return err
	}
	second, err := repository.Open(x.t.Context(), x.b, "second", smallPacks())
	require.NoError(x.t, err)
	require.NoError(x.t, second.Close())
	return r.RemoveKey(x.t.Context(), id.String())
}

// repair makes the index anew, now and then after it lost a part.
func (x *machine) repair(r *repository.Repo) error {
	if all := handlesOf(x.t, x.b, backend.Index); len(all) > 0 && x.rand.IntN(2) == 0 {
		slices.SortFunc(all, func(a, b backend.Handle) int { return strings.Compare(a.Name, b.Name) })
		require.NoError(x.t, x.b.Remove(x.t.Context(), all[x.rand.IntN(len(all))]))
	}
	o := &repository.RepairIndexOptions{ReadAll: x.rand.IntN(2) == 0, ReadData: x.rand.IntN(4) == 0}
	do := func(r *repository.Repo) error {
		p, err := r.PlanRepairIndex(x.t.Context(), o)
		if err != nil {
			return err
		}
		require.Empty(x.t, p.Broken)
		return r.RepairIndex(x.t.Context(), p)
	}
	x.after = func() { require.NoError(x.t, do(x.open())) }
	return do(r)
}

// migrate keeps the config, which is the only copy if the process dies in the moment between.
func (x *machine) migrate(r *repository.Repo) error {
	var kept []byte
	err := r.Migrate(x.t.Context(), func(p []byte) error { kept = p; return nil })
	h := backend.Handle{Type: backend.Config}
	if _, serr := x.b.Stat(x.t.Context(), h); backend.IsNotExist(serr) {
		put(x.t, x.b, h, kept)
	}
	x.version = x.open().Version()
	if err == nil {
		require.Equal(x.t, 2, x.version)
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
	r := x.open()
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
	r := x.open()
	prune(x.t, r, none())
	requireNothingToPrune(x.t, r)
	repositorytest.RequireClean(x.t, r)
	used, cut := map[int]bool{}, 0
	for name, files := range x.m {
		for _, n := range slices.Concat(slices.Collect(maps.Values(files))...) {
			if x.dirs[name] {
				cut++
			} else {
				used[n] = true
			}
		}
	}
	got, slack := total(sizes(x.t, x.b, backend.Pack)), int64(len(used)*200+len(x.m)*6000)
	require.GreaterOrEqual(x.t, got, int64(len(used)*pieceSize))
	require.LessOrEqual(x.t, got, int64((len(used)+cut)*pieceSize)+slack)
}
