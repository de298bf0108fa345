package local

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What gives a file its name where the system cannot do it in one step: the file is there under that name only, and one that is there stays.
func TestMoveByLink(t *testing.T) {
	dir := t.TempDir()
	tmp, name := filepath.Join(dir, "tmp"), filepath.Join(dir, "name")
	require.NoError(t, os.WriteFile(tmp, []byte("one"), 0o600))
	require.NoError(t, moveByLink(tmp, name))
	require.NoFileExists(t, tmp)
	require.NoError(t, os.WriteFile(tmp, []byte("two"), 0o600))
	require.ErrorIs(t, moveByLink(tmp, name), fs.ErrExist)
	got, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "one", string(got))
	require.FileExists(t, tmp)
	require.ErrorIs(t, moveByLink(filepath.Join(dir, "none"), filepath.Join(dir, "other")), fs.ErrNotExist)
	require.NoFileExists(t, filepath.Join(dir, "other"))
}
