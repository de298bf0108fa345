package repository

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

func TestUnlock(t *testing.T) {
	gone := exec.Command("true")
	require.NoError(t, gone.Run())
	b := mem.New()
	r := testRepo(t, b, Options{LockSettle: time.Millisecond})
	now := time.Now()
	putLock(t, r, lockFile{Time: now.Add(-time.Hour), Hostname: "elsewhere", PID: 1, Username: "kim"})
	putLock(t, r, lockFile{Time: now.Add(-20 * time.Minute), Hostname: hostname(), PID: gone.Process.Pid, Exclusive: true})
	putLock(t, r, lockFile{Time: now.Add(-20 * time.Minute), Hostname: hostname(), PID: os.Getpid()})
	for _, text := range []string{"", "rubbish"} {
		h := backend.Handle{Type: backend.Lock, Name: Hash([]byte(text)).String()}
		require.NoError(t, b.Save(t.Context(), h, strings.NewReader(text), int64(len(text))))
	}

	would, err := r.Unlock(t.Context(), &UnlockOptions{DryRun: true})
	require.NoError(t, err)
	require.Len(t, locks(t, b), 5)
	removed, err := r.Unlock(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, would, removed)
	require.Len(t, removed, 3)
	var all strings.Builder
	for _, l := range removed {
		require.NotEmpty(t, l.Reason)
		all.WriteString(l.String() + "\n")
	}
	require.Contains(t, all.String(), "of kim on elsewhere")
	require.Contains(t, all.String(), "is gone")
	require.Contains(t, all.String(), "empty")
	require.Len(t, locks(t, b), 2)

	removed, err = r.Unlock(t.Context(), &UnlockOptions{All: true})
	require.NoError(t, err)
	require.Len(t, removed, 2)
	require.Empty(t, locks(t, b))
}
