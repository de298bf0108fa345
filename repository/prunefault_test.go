package repository_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

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

	good := clone(t, start)
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
		"delay":    func(f *backendtest.Faults, n int) { f.Delay("", 0, n, time.Millisecond) },
		"killed after": func(f *backendtest.Faults, n int) {
			f.StopAfter(n).LoseAck("", 0, n, errBoom)
		},
	} {
		t.Run(name, func(t *testing.T) {
			failed := 0
			for n := 1; n <= calls; n++ {
				b := clone(t, start)
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
			if name == "delay" {
				require.Zero(t, failed)
			} else {
				require.Positive(t, failed)
			}
		})
	}
}
