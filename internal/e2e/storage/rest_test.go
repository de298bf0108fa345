package storage_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/resticcli"
	"github.com/escrow-backup/escrow/internal/e2e/servers"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/rest"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// openRest opens a repository of the server, as a program would by its URL.
func openRest(t testing.TB, s *servers.REST, place string) backend.Backend {
	t.Helper()
	var m backend.Mux
	m.Handle("rest", rest.Opener)
	b, err := m.Open(t.Context(), "rest:"+s.URL+"/"+place+"/", s.Settings())
	require.NoError(t, err)
	return b
}

func TestRESTConformance(t *testing.T) {
	for name, o := range map[string]servers.RcloneOptions{"plain": {}, "tls": {TLS: true, Login: true}} {
		t.Run(name, func(t *testing.T) {
			s := servers.Rclone(t, o)
			n := 0
			var opts *backendtest.Options
			if o.TLS {
				opts = &backendtest.Options{ListEntries: 100} // the long list once will do
			}
			backendtest.Run(t, func(t *testing.T) backend.Backend {
				n++
				return openRest(t, s, fmt.Sprint("repo-", n))
			}, opts)
		})
	}
}

// An append-only server takes backups, and lets nobody remove or replace them.
func TestRESTAppendOnly(t *testing.T) {
	s := servers.Rclone(t, servers.RcloneOptions{AppendOnly: true})
	b := openRest(t, s, "repo")
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	repositorytest.Init(t, b)
	r := repositorytest.Reopen(t, b)
	want := ourFiles()
	ours := repositorytest.Write(t, r, want)
	repositorytest.RequireClean(t, r)
	for _, typ := range backend.FileTypes {
		for fi, err := range b.List(t.Context(), typ) {
			require.NoError(t, err)
			require.ErrorIs(t, b.Save(t.Context(), fi.Handle, strings.NewReader("x"), 1), fs.ErrExist)
			require.ErrorIs(t, b.Remove(t.Context(), fi.Handle), fs.ErrPermission)
			got, err := b.Stat(t.Context(), fi.Handle)
			require.NoError(t, err)
			require.Equal(t, fi, got)
		}
	}
	lock := backendtest.HandleOf(backend.Lock, []byte("lock"))
	require.NoError(t, b.Save(t.Context(), lock, strings.NewReader("lock"), 4))
	require.NoError(t, b.Remove(t.Context(), lock), "locks come and go")

	restic := resticcli.New(t, "rest:"+s.URL+"/repo/", string(repositorytest.Password))
	restic.Check(t)
	require.True(t, want["ours/large"] == string(restic.Dump(t, ours.ID.String(), "/ours/large")))
	_, err := b.Stat(t.Context(), backendtest.HandleOf(backend.Pack, nil))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestRESTRestic(t *testing.T) {
	s := servers.Rclone(t, servers.RcloneOptions{Login: true, TLS: true})
	at := strings.Replace(s.URL, "https://", "https://"+url.UserPassword(s.Username, s.Password).String()+"@", 1)
	for name, initialise := range map[string]func(t testing.TB, b backend.Backend, restic *resticcli.CLI){
		"ours": initOurs, "theirs": initTheirs,
	} {
		t.Run(name, func(t *testing.T) {
			b := openRest(t, s, name)
			t.Cleanup(func() { require.NoError(t, b.Close()) })
			restic := resticcli.New(t, "rest:"+at+"/"+name+"/", string(repositorytest.Password))
			restic.Args = s.Args(t)
			initialise(t, b, restic)
			resticAgrees(t, b, restic)
		})
	}
}

func TestRESTRefused(t *testing.T) {
	s := servers.Rclone(t, servers.RcloneOptions{Login: true, TLS: true})
	h := backend.Handle{Type: backend.Config}
	with := s.Settings()
	with.Lookup = func(key string) (string, bool) {
		if key == "RESTIC_REST_PASSWORD" {
			return "wr0ng", true
		}
		return s.Settings().Lookup(key)
	}
	b, err := rest.Opener(t.Context(), s.URL+"/repo/", with)
	require.NoError(t, err)
	_, err = b.Stat(t.Context(), h)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.NotContains(t, err.Error(), "wr0ng")
	require.ErrorIs(t, b.Save(t.Context(), h, strings.NewReader("x"), 1), fs.ErrPermission)
	require.NoError(t, b.Close())

	b = openRest(t, &servers.REST{URL: s.URL, Username: s.Username, Password: s.Password}, "repo")
	_, err = b.Stat(t.Context(), h)
	require.ErrorContains(t, err, "certificate")
	require.NoError(t, b.Close())

	b = openRest(t, s, "repo")
	s.Kill()
	content := []byte("content")
	p := backendtest.HandleOf(backend.Pack, content)
	require.ErrorContains(t, b.Save(t.Context(), p, bytes.NewReader(content), int64(len(content))), "connection refused")
	require.NoError(t, b.Close())
}
