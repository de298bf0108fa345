package repository_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

func TestRestoreGivesNobodyOursToRunAs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make files of others")
	}
	from, to := t.TempDir(), t.TempDir()
	for name, owner := range map[string]int{"theirs": 12345, "ours": 0} {
		p := filepath.Join(from, name)
		require.NoError(t, os.WriteFile(p, []byte("x"), 0o600))
		require.NoError(t, os.Chown(p, owner, owner))
		require.NoError(t, os.Chmod(p, 0o755|fs.ModeSetuid|fs.ModeSetgid))
	}
	r := repositorytest.New(t)
	s := addDir(t, r, from, repository.Header{}, nil)
	_, err := r.RestoreDir(t.Context(), s, to, &repository.RestoreOptions{NoOwner: true})
	require.NoError(t, err)
	for name, want := range map[string]fs.FileMode{"theirs": 0o755, "ours": 0o755 | fs.ModeSetuid | fs.ModeSetgid} {
		fi, err := os.Stat(filepath.Join(to, name))
		require.NoError(t, err)
		require.Equal(t, want, fi.Mode(), name)
	}
}
