package resticcli_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/resticcli"
)

func TestRoundTrip(t *testing.T) {
	c := resticcli.New(t, filepath.Join(t.TempDir(), "repo"), "secret")
	c.Init(t)
	data := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(data, "a.txt"), []byte("hello"), 0o600))
	c.Run(t, "backup", "--tag", "one", data)
	c.Check(t)
	s := c.Snapshots(t)
	require.Len(t, s, 1)
	require.Equal(t, []string{"one"}, s[0].Tags)
	require.Contains(t, c.Ls(t, "latest"), resticcli.Node{Path: data + "/a.txt", Type: "file", Size: 5})
	require.Equal(t, "hello", string(c.Dump(t, "latest", data+"/a.txt")))
}
