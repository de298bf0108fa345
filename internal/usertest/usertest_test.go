//go:build unix

package usertest_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/usertest"
)

func TestUnprivileged(t *testing.T) {
	usertest.Unprivileged(t, func(t *testing.T) {
		require.NotZero(t, os.Geteuid())
		require.NotZero(t, os.Getegid())
		name := filepath.Join(t.TempDir(), "locked")
		require.NoError(t, os.WriteFile(name, nil, 0))
		_, err := os.ReadFile(name)
		require.ErrorIs(t, err, fs.ErrPermission)
	})
}
