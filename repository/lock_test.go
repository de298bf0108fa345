package repository

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

func testRepo(t *testing.T, b backend.Backend, o Options) *Repo {
	t.Helper()
	o.ScryptN = 16
	r, err := Init(t.Context(), b, "pw", &o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func locks(t *testing.T, b backend.Backend) (names []string) {
	t.Helper()
	for fi, err := range b.List(t.Context(), backend.Lock) {
		require.NoError(t, err)
		names = append(names, fi.Handle.Name)
	}
	return names
}

func putLock(t *testing.T, r *Repo, l lockFile) {
	t.Helper()
	text, err := json.Marshal(l)
	require.NoError(t, err)
	_, err = r.saveFile(t.Context(), backend.Lock, text)
	require.NoError(t, err)
}

func TestLocksConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mem.New()
		r := testRepo(t, b, Options{})
		_, free, err := r.lock(t.Context(), false)
		require.NoError(t, err)
		_, free2, err := r.lock(t.Context(), false)
		require.NoError(t, err, "shared locks do not conflict")
		require.NoError(t, free2.release(t.Context()))

		_, _, err = r.lock(t.Context(), true)
		var locked *LockedError
		require.ErrorAs(t, err, &locked)
		require.ErrorIs(t, err, ErrLocked)
		require.Equal(t, os.Getpid(), locked.PID)
		require.Equal(t, hostname(), locked.Hostname)
		require.False(t, locked.Exclusive)
		require.Len(t, locks(t, b), 1)
		require.NoError(t, free.release(t.Context()))

		_, free, err = r.lock(t.Context(), true)
		require.NoError(t, err)
		_, _, err = r.lock(t.Context(), false)
		require.ErrorContains(t, err, "exclusive")
		require.NoError(t, free.release(t.Context()))
		require.Empty(t, locks(t, b))
	})
}

func TestLockWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mem.New()
		r := testRepo(t, b, Options{LockTimeout: time.Minute})
		_, free, err := r.lock(t.Context(), true)
		require.NoError(t, err)
		time.AfterFunc(30*time.Second, func() { _ = free.release(t.Context()) })
		_, free2, err := r.lock(t.Context(), false)
		require.NoError(t, err)
		require.NoError(t, free2.release(t.Context()))

		_, free, err = r.lock(t.Context(), true)
		require.NoError(t, err)
		start := time.Now()
		_, _, err = r.lock(t.Context(), false)
		require.ErrorIs(t, err, ErrLocked)
		require.GreaterOrEqual(t, time.Since(start), time.Minute)
		require.NoError(t, free.release(t.Context()))
	})
}

func TestLockIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mem.New()
		r := testRepo(t, b, Options{})
		ctx, free, err := r.lock(t.Context(), false)
		require.NoError(t, err)
		first := locks(t, b)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		require.NoError(t, ctx.Err())
		require.Len(t, locks(t, b), 1)
		require.NotEqual(t, first, locks(t, b))
		_, _, err = r.lock(t.Context(), true)
		require.ErrorIs(t, err, ErrLocked, "after hours it still holds")
		require.NoError(t, free.release(t.Context()))
		require.Empty(t, locks(t, b))
	})
}

func TestLockThatCannotBeRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := backendtest.NewFaults(mem.New())
		r := testRepo(t, f, Options{})
		_, err := r.Write(t.Context(), Header{}, func(ctx context.Context, w *Writer) error {
			f.Fail(backendtest.Save, backend.Lock, 0, errors.New("read-only now"))
			start := time.Now()
			<-ctx.Done()
			require.InDelta(t, 22.5, time.Since(start).Minutes(), 1)
			return ctx.Err()
		})
		require.ErrorIs(t, err, ErrLockLost)
		require.Empty(t, locks(t, f), "the lock is removed")
	})
}

func TestLockIsRemovedAfterCancellation(t *testing.T) {
	b := mem.New()
	r := testRepo(t, b, Options{LockSettle: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	_, err := r.Write(ctx, Header{}, func(context.Context, *Writer) error {
		require.Len(t, locks(t, b), 1)
		cancel()
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, locks(t, b))
}

func TestStaleLocksAreRemoved(t *testing.T) {
	gone := exec.Command("true")
	require.NoError(t, gone.Run())
	now := time.Now()
	missed := now.Add(-11 * time.Minute)
	for name, c := range map[string]struct {
		lock  lockFile
		stale bool
	}{
		"old":             {lockFile{Time: now.Add(-31 * time.Minute), Hostname: "elsewhere", PID: 1}, true},
		"process is gone": {lockFile{Time: missed, Hostname: hostname(), PID: gone.Process.Pid}, true},
		"process runs":    {lockFile{Time: missed, Hostname: hostname(), PID: os.Getpid()}, false},
		"other host":      {lockFile{Time: missed, Hostname: "elsewhere", PID: gone.Process.Pid}, false},
		"no pid":          {lockFile{Time: missed, Hostname: hostname()}, false},
		// A container of the same host name, whose processes we do not see, is at work.
		"other container": {lockFile{Time: now.Add(-6 * time.Minute), Hostname: hostname(), PID: gone.Process.Pid}, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := mem.New()
			r := testRepo(t, b, Options{LockSettle: time.Millisecond})
			c.lock.Exclusive = true
			putLock(t, r, c.lock)
			_, free, err := r.lock(t.Context(), false)
			if !c.stale {
				require.ErrorIs(t, err, ErrLocked)
				require.Len(t, locks(t, b), 1)
				return
			}
			require.NoError(t, err)
			require.NoError(t, free.release(t.Context()))
			require.Empty(t, locks(t, b))
		})
	}
}
