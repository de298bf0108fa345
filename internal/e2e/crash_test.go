package e2e_test

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/resticcli"
)

// TestKilledBackup ends backups with SIGKILL at random moments. Whatever the moment, the repository is whole, holds complete
// snapshots only, and the next backup succeeds.
func TestKilledBackup(t *testing.T) {
	e := server(t, versions()[0])
	const index = "killed"
	logs(t, e, index, 2, 60_000)

	// How long an undisturbed run takes says where the random moments have to lie.
	c := newCLI(t)
	c.init(t)
	began := time.Now()
	c.ok(t, "backup", "--es", e.url, "--index", index)
	whole := time.Since(began)

	c = newCLI(t)
	c.init(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, an undisturbed backup took %s", seed, whole)
	r := rand.New(rand.NewPCG(seed, 0))
	var complete []string
	killed := 0
	for i := range 10 {
		if i%2 == 1 {
			// Every other time something has changed since the last backup.
			l := e.loader(t)
			for n := range 3_000 {
				l.index(index, "later", "", logLine(r, n))
			}
			l.flush()
		}
		cmd := c.command(t, "backup", "--es", e.url, "--index", index, "--full", "--quiet")
		require.NoError(t, cmd.Start())
		time.Sleep(time.Duration(r.Int64N(int64(whole))))
		require.NoError(t, cmd.Process.Signal(syscall.SIGKILL))
		if cmd.Wait() != nil {
			killed++
		}
		now := c.snapshots(t)
		require.Subset(t, now, complete)
		require.LessOrEqual(t, len(now), len(complete)+1)
		if len(now) > len(complete) {
			// It was killed after its last write, or had ended: then everything is there.
			c.identical(t, e, "--index", index)
		}
		complete = now
		c.clean(t)
		if i%3 == 2 {
			c.ok(t, "backup", "--es", e.url, "--index", index)
			c.identical(t, e, "--index", index)
			complete = c.snapshots(t)
			c.clean(t)
		}
	}
	require.Positive(t, killed)
	c.ok(t, "backup", "--es", e.url, "--index", index)
	c.identical(t, e, "--index", index)
	restic := resticcli.New(t, c.repo, password)
	// The killed processes' locks stand in nobody's way but restic's, whose check wants to be alone. This removes locks only
	// whose process is gone.
	restic.Run(t, "unlock")
	restic.Check(t)
	require.Len(t, restic.Snapshots(t), len(complete)+1)
}
