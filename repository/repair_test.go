package repository_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

func load(t *testing.T, b backend.Backend, h backend.Handle) []byte {
	t.Helper()
	rc, err := b.Load(t.Context(), h, 0, -1)
	require.NoError(t, err)
	defer rc.Close()
	p, err := io.ReadAll(rc)
	require.NoError(t, err)
	return p
}

func handlesOf(t *testing.T, b backend.Backend, typ backend.FileType) (all []backend.Handle) {
	t.Helper()
	for fi, err := range b.List(t.Context(), typ) {
		require.NoError(t, err)
		all = append(all, fi.Handle)
	}
	return all
}

func put(t *testing.T, b backend.Backend, h backend.Handle, p []byte) {
	t.Helper()
	require.NoError(t, b.Save(t.Context(), h, bytes.NewReader(p), int64(len(p))))
}

func replace(t *testing.T, b backend.Backend, h backend.Handle, change func([]byte) []byte) {
	t.Helper()
	p := change(load(t, b, h))
	require.NoError(t, b.Remove(t.Context(), h))
	put(t, b, h, p)
}

// clone gives an independent copy.
func clone(t *testing.T, b backend.Backend) *mem.Backend {
	t.Helper()
	c := mem.New()
	for _, typ := range backend.FileTypes {
		for _, h := range handlesOf(t, b, typ) {
			put(t, c, h, load(t, b, h))
		}
	}
	return c
}

func repairIndex(t *testing.T, b backend.Backend, o *repository.RepairIndexOptions) (*repository.IndexRepair, error) {
	r, err := repository.Open(t.Context(), b, repositorytest.Password, smallPacks())
	if err != nil {
		return nil, err
	}
	defer r.Close()
	p, err := r.PlanRepairIndex(t.Context(), o)
	if err != nil {
		return nil, err
	}
	require.NotEmpty(t, p.String())
	return p, r.RepairIndex(t.Context(), p)
}

func kinds(t *testing.T, b backend.Backend) (all []repository.ProblemKind) {
	t.Helper()
	for p, err := range repositorytest.Reopen(t, b).Check(t.Context(), &repository.CheckOptions{ReadData: true}) {
		require.NoError(t, err)
		all = append(all, p.Kind)
	}
	return all
}

func TestRepairIndex(t *testing.T) {
	base := mem.New()
	r := repositorytest.Init(t, base)
	one := repositorytest.Write(t, r, map[string]string{"d/a": "1", "d/b": string(random(41, 9000))})
	two := repositorytest.Write(t, r, map[string]string{"d/a": "1", "d/c": string(random(42, 9000))})
	readable := func(t *testing.T, b backend.Backend) {
		t.Helper()
		c := repositorytest.Reopen(t, b)
		for _, s := range []*repository.Snapshot{one, two} {
			sameFiles(t, r, c, s, s)
		}
	}
	p, err := repairIndex(t, base, nil)
	require.NoError(t, err)
	require.True(t, p.Empty())
	for name, damage := range map[string]func(b backend.Backend){
		"no index": func(b backend.Backend) {
			for _, h := range handlesOf(t, b, backend.Index) {
				require.NoError(t, b.Remove(t.Context(), h))
			}
		},
		"one index gone": func(b backend.Backend) { require.NoError(t, b.Remove(t.Context(), handlesOf(t, b, backend.Index)[0])) },
		"flipped":        func(b backend.Backend) { replace(t, b, handlesOf(t, b, backend.Index)[0], flipMiddle) },
		"empty": func(b backend.Backend) {
			replace(t, b, handlesOf(t, b, backend.Index)[1], func([]byte) []byte { return nil })
		},
		"foreign": func(b backend.Backend) {
			put(t, b, backend.Handle{Type: backend.Index, Name: repository.Hash([]byte("x")).String()}, []byte("x"))
		},
		"as it was": func(backend.Backend) {},
	} {
		t.Run(name, func(t *testing.T) {
			b := clone(t, base)
			damage(b)
			p, err := repairIndex(t, b, nil)
			require.NoError(t, err)
			require.Equal(t, name == "as it was", p.Empty())
			require.Empty(t, kinds(t, b))
			readable(t, b)
			p, err = repairIndex(t, b, nil)
			require.NoError(t, err)
			require.True(t, p.Empty(), p)
			_, err = repairIndex(t, b, &repository.RepairIndexOptions{ReadAll: true})
			require.NoError(t, err)
			require.Empty(t, kinds(t, b))
			require.Len(t, handlesOf(t, b, backend.Index), 1)
		})
	}
	t.Run("missing pack", func(t *testing.T) {
		b := clone(t, base)
		require.NoError(t, b.Remove(t.Context(), handlesOf(t, b, backend.Pack)[0]))
		p, err := repairIndex(t, b, nil)
		require.NoError(t, err)
		require.Len(t, p.Missing, 1)
		for _, k := range kinds(t, b) {
			require.Equal(t, repository.BlobMissing, k)
		}
	})
	t.Run("broken header, all can be saved", func(t *testing.T) {
		b := clone(t, base)
		for _, h := range handlesOf(t, b, backend.Pack) {
			replace(t, b, h, func(p []byte) []byte { return p[:len(p)-1] })
		}
		p, err := repairIndex(t, b, nil)
		require.NoError(t, err)
		require.Len(t, p.Broken, 4)
		readable(t, b)
		for _, k := range kinds(t, b) {
			require.Contains(t, []repository.ProblemKind{repository.PackUnindexed, repository.PackDamaged}, k)
		}
	})
	t.Run("plan outdated", func(t *testing.T) {
		b := clone(t, base)
		require.NoError(t, b.Remove(t.Context(), handlesOf(t, b, backend.Index)[0]))
		r := repositorytest.Reopen(t, b)
		p, err := r.PlanRepairIndex(t.Context(), nil)
		require.NoError(t, err)
		repositorytest.Write(t, repositorytest.Reopen(t, b), map[string]string{"x": "new"})
		before := handlesOf(t, b, backend.Index)
		require.ErrorIs(t, r.RepairIndex(t.Context(), p), repository.ErrPlanOutdated)
		require.ElementsMatch(t, before, handlesOf(t, b, backend.Index))
	})
}

func flipMiddle(p []byte) []byte { p[len(p)/2] ^= 1; return p }

// Whatever call fails or is the last, repairing again makes everything readable: nothing is removed too early.
func TestRepairIndexSurvivesFaults(t *testing.T) {
	base := mem.New()
	r := repositorytest.Init(t, base)
	s := repositorytest.Write(t, r, map[string]string{"d/a": "1"})
	repositorytest.Write(t, r, map[string]string{"d/a": "2"})
	replace(t, base, handlesOf(t, base, backend.Index)[0], flipMiddle)
	packs := handlesOf(t, base, backend.Pack)
	replace(t, base, packs[0], func(p []byte) []byte { return p[:len(p)-1] })
	whole := clone(t, base)
	_, err := repairIndex(t, whole, nil)
	require.NoError(t, err)
	want := outcome(t, whole)
	trace := backendtest.NewFaults(clone(t, base))
	_, err = repairIndex(t, trace, nil)
	require.NoError(t, err)
	everyFault(t, trace.Calls(), func(name string, rule func(*backendtest.Faults)) {
		b := clone(t, base)
		f := backendtest.NewFaults(b)
		rule(f)
		if _, err := repairIndex(t, f, nil); err == nil {
			require.Equal(t, want, outcome(t, b), "%s: %v", name, f.Trace())
		}
		unlockAll(t, b)
		_, err := repairIndex(t, b, nil)
		require.NoError(t, err, name)
		require.Subset(t, outcome(t, b), want, name)
	})
	require.NotEmpty(t, s.ID)
}

// outcome gives the files of all snapshots that can be read.
func outcome(t *testing.T, b backend.Backend) (all []string) {
	t.Helper()
	r := repositorytest.Reopen(t, b)
	for s, err := range r.Snapshots(t.Context(), repository.Filter{}) {
		require.NoError(t, err)
		fsys, err := r.FS(t.Context(), s)
		if err != nil {
			continue
		}
		_ = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				if p, err := fs.ReadFile(fsys, name); err == nil {
					all = append(all, s.Tree.Short()+" "+name+" "+repository.Hash(p).Short())
				}
			}
			return nil
		})
	}
	slices.Sort(all)
	return all
}

// contents leaves out which snapshot a file is of.
func contents(outcome []string) (all []string) {
	for _, s := range outcome {
		_, file, _ := strings.Cut(s, " ")
		all = append(all, file)
	}
	return all
}

// unlockAll removes what a killed process leaves behind: it seems to live on, since it is this one.
func unlockAll(t *testing.T, b backend.Backend) {
	t.Helper()
	for _, h := range handlesOf(t, b, backend.Lock) {
		require.NoError(t, b.Remove(t.Context(), h))
	}
}

// everyFault calls run with each fault at each of the calls.
func everyFault(t *testing.T, calls int, run func(name string, rule func(*backendtest.Faults))) {
	t.Helper()
	require.Greater(t, calls, 10)
	for n := 1; n <= calls; n++ {
		for name, rule := range map[string]func(f *backendtest.Faults){
			"fail":     func(f *backendtest.Faults) { f.Fail("", 0, n, errBoom) },
			"lost ack": func(f *backendtest.Faults) { f.LoseAck("", 0, n, errBoom) },
			"short":    func(f *backendtest.Faults) { f.ShortRead(0, n) },
			"flipped":  func(f *backendtest.Faults) { f.FlipByte(0, n) },
			"killed":   func(f *backendtest.Faults) { f.StopAfter(n) },
		} {
			run(fmt.Sprintf("%s at call %d", name, n), rule)
		}
	}
}

// Whatever call fails or is the last, what was sound stays, and a damaged snapshot goes only when its successor is there.
func TestRepairSnapshotsSurvivesFaults(t *testing.T) {
	base := mem.New()
	r := repositorytest.Init(t, base)
	repositorytest.Write(t, r, map[string]string{"d/a": "old"})
	before := handlesOf(t, base, backend.Pack)
	repositorytest.Write(t, r, map[string]string{"d/a": "old", "d/b": "lost"})
	repair := func(b backend.Backend) error {
		r, err := repository.Open(t.Context(), b, repositorytest.Password, smallPacks())
		if err != nil {
			return err
		}
		defer r.Close()
		p, err := r.PlanRepairSnapshots(t.Context())
		if err != nil {
			return err
		}
		_, err = r.RepairSnapshots(t.Context(), p, &repository.RepairSnapshotsOptions{Forget: true})
		return err
	}
	for _, h := range handlesOf(t, base, backend.Pack) {
		b := clone(t, base)
		if slices.Contains(before, h) {
			continue
		}
		require.NoError(t, b.Remove(t.Context(), h))
		_, err := repairIndex(t, b, nil)
		require.NoError(t, err)
		good := contents(outcome(t, b))
		trace := backendtest.NewFaults(clone(t, b))
		require.NoError(t, repair(trace))
		everyFault(t, trace.Calls(), func(name string, rule func(*backendtest.Faults)) {
			c := clone(t, b)
			f := backendtest.NewFaults(c)
			rule(f)
			_ = repair(f) // an error or not: what counts is what is there
			require.Subset(t, contents(outcome(t, c)), good, name)
			unlockAll(t, c)
			require.NoError(t, repair(c), name)
			require.Empty(t, slices.DeleteFunc(kinds(t, c), repository.ProblemKind.Harmless), name)
		})
	}
}

func TestRepairSnapshots(t *testing.T) {
	base := mem.New()
	r := repositorytest.Init(t, base)
	sound := repositorytest.Write(t, r, map[string]string{"d/a": "old"})
	before := handlesOf(t, base, backend.Pack)
	hurt := repositorytest.Write(t, r, map[string]string{"d/a": "old", "d/b": "lost", "e": "lost too", "e.repaired": "old"})
	kindsOfLoss := 0
	for _, h := range handlesOf(t, base, backend.Pack) {
		if slices.Contains(before, h) {
			continue
		}
		b := clone(t, base)
		require.NoError(t, b.Remove(t.Context(), h))
		_, err := repairIndex(t, b, nil)
		require.NoError(t, err)
		c := repositorytest.Reopen(t, b)
		p, err := c.PlanRepairSnapshots(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, p.Sound)
		require.Len(t, p.Snapshots, 1)
		require.Equal(t, hurt.ID, p.Snapshots[0].Snapshot.ID)
		require.Len(t, handlesOf(t, b, backend.Snapshot), 2, "a plan changes nothing")
		if p.Snapshots[0].All {
			kindsOfLoss |= 1
			made, err := c.RepairSnapshots(t.Context(), p, &repository.RepairSnapshotsOptions{Forget: true})
			require.NoError(t, err)
			require.Empty(t, made)
			require.Len(t, handlesOf(t, b, backend.Snapshot), 1)
			require.Empty(t, kinds(t, b))
			continue
		}
		kindsOfLoss |= 2
		require.Equal(t, []repository.Loss{{Path: "d/b", Bytes: 4}, {Path: "e", Bytes: 8}}, p.Snapshots[0].Lost)
		require.Contains(t, p.String(), `file "d/b": 4 bytes`)
		made, err := c.RepairSnapshots(t.Context(), p, nil)
		require.NoError(t, err)
		require.Len(t, made, 1)
		require.Equal(t, hurt.ID, *made[0].Original)
		fsys, err := c.FS(t.Context(), made[0])
		require.NoError(t, err)
		for name, want := range map[string]string{"d/a": "old", "d/b.repaired": "", "e.repaired.repaired": "", "e.repaired": "old"} {
			got, err := fs.ReadFile(fsys, name)
			require.NoError(t, err, name)
			require.Equal(t, want, string(got))
		}
		_, err = fs.Stat(fsys, "e")
		require.ErrorIs(t, err, fs.ErrNotExist)
		// Again, now without the damaged one: what was made is sound.
		p, err = c.PlanRepairSnapshots(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, p.Sound)
		_, err = c.RepairSnapshots(t.Context(), p, &repository.RepairSnapshotsOptions{Forget: true})
		require.NoError(t, err)
		require.Empty(t, kinds(t, b))
	}
	require.Equal(t, 3, kindsOfLoss)
	require.NotNil(t, sound)
}

// A blob that is damaged counts as stored, so a backup of the same file does not store it again, until a repair has read it.
func TestRepairOfDataLetsBackupsHeal(t *testing.T) {
	b := mem.New()
	r := repositorytest.Init(t, b)
	files := map[string]string{"a": string(random(71, 9000)), "b": "b"}
	s := repositorytest.Write(t, r, files)
	for _, h := range handlesOf(t, b, backend.Pack) {
		if p := load(t, b, h); len(p) > 9000 {
			replace(t, b, h, flipMiddle)
		}
	}
	repositorytest.Write(t, repositorytest.Reopen(t, b), files)
	require.Contains(t, kinds(t, b), repository.BlobDamaged)
	_, err := repairIndex(t, b, &repository.RepairIndexOptions{ReadAll: true})
	require.NoError(t, err)
	require.Contains(t, kinds(t, b), repository.BlobDamaged, "headers say nothing about it")

	p, err := repairIndex(t, b, &repository.RepairIndexOptions{ReadData: true})
	require.NoError(t, err)
	require.Len(t, p.Broken, 1)
	for _, k := range kinds(t, b) {
		require.Equal(t, repository.BlobMissing, k)
	}
	repositorytest.Write(t, repositorytest.Reopen(t, b), files)
	healed := repositorytest.Reopen(t, b)
	repositorytest.RequireClean(t, healed)
	fsys, err := healed.FS(t.Context(), s)
	require.NoError(t, err)
	got, err := fs.ReadFile(fsys, "a")
	require.NoError(t, err)
	require.Equal(t, files["a"], string(got))
}
