package storage_test

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/resticcli"
	"github.com/escrow-backup/escrow/internal/e2e/servers"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/sftp"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// openSFTP opens a repository below the server's directory, as a program would by its URL.
func openSFTP(t testing.TB, s *servers.SSHD, place string) backend.Backend {
	t.Helper()
	var m backend.Mux
	m.Handle("sftp", sftp.Opener)
	b, err := m.Open(t.Context(), s.URL(filepath.Join(s.Dir, place)), s.Settings())
	require.NoError(t, err)
	return b
}

func TestSFTPConformance(t *testing.T) {
	for name, c := range map[string]struct {
		denied  []string
		options backendtest.Options
	}{
		"openssh": {nil, backendtest.Options{ListEntries: 2000}}, // each is synced
		"plain":   {[]string{"hardlink", "fsync", "posix-rename"}, backendtest.Options{ListEntries: 200}},
	} {
		t.Run(name, func(t *testing.T) {
			s := servers.OpenSSH(t, c.denied...)
			n := 0
			backendtest.Run(t, func(t *testing.T) backend.Backend {
				n++
				return openSFTP(t, s, fmt.Sprint("repo-", n))
			}, &c.options)
		})
	}
}

func TestSFTPRestic(t *testing.T) {
	s := servers.OpenSSH(t)
	for name, initialise := range map[string]func(t testing.TB, b backend.Backend, restic *resticcli.CLI){
		"ours": initOurs, "theirs": initTheirs,
	} {
		t.Run(name, func(t *testing.T) {
			b := openSFTP(t, s, name)
			t.Cleanup(func() { require.NoError(t, b.Close()) })
			restic := resticcli.New(t, s.URL(filepath.Join(s.Dir, name)), string(repositorytest.Password))
			restic.Args = []string{"-o", "sftp.command=" + s.Command(t)}
			initialise(t, b, restic)
			resticAgrees(t, b, restic)
		})
	}
}

// Nobody is believed to be the server who does not have its key, and nobody gets in without ours.
func TestSFTPRefused(t *testing.T) {
	s, other := servers.OpenSSH(t), servers.OpenSSH(t)
	try := func(change func(key string) string) error {
		set := s.Settings()
		set.Lookup = func(key string) (string, bool) { return change(key), true }
		b, err := sftp.Opener(t.Context(), "//"+s.User+"@"+s.Addr+"/"+s.Dir, set)
		if err == nil {
			require.NoError(t, b.Close())
		}
		return err
	}
	own := func(key string) string { v, _ := s.Settings().Lookup(key); return v }
	require.NoError(t, try(own))
	err := try(func(key string) string {
		if key == "SSH_PRIVATE_KEY" {
			return string(other.PrivateKey)
		}
		return own(key)
	})
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "unable to authenticate")
	err = try(func(key string) string {
		if key == "SSH_KNOWN_HOSTS" {
			return string(other.KnownHosts)
		}
		return own(key)
	})
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "not in known_hosts")
	s.Kill()
	require.ErrorContains(t, try(own), "connection refused")
}
