package rusticcli_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/rusticcli"
)

func TestRoundTrip(t *testing.T) {
	c := rusticcli.New(t, filepath.Join(t.TempDir(), "repo"), "secret")
	c.Init(t)
	data := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(data, "a.txt"), []byte("hello"), 0o600))
	s := c.Backup(t, data)
	require.Equal(t, int64(1), s.Summary.DataBlobs)
	c.Check(t)
	require.Equal(t, "rustic", c.Snapshots(t)[s.ID].Hostname)
	require.Equal(t, "a.txt\n", c.Ls(t, s.ID))
	require.Equal(t, "hello", string(c.Dump(t, s.ID, "a.txt")))
	back := t.TempDir()
	c.Restore(t, s.ID, back)
	got, err := os.ReadFile(filepath.Join(back, "a.txt"))
	require.NoError(t, err)
	require.Equal(t, "hello", string(got))
}
