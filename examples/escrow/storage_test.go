package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

func TestPlacesAreShownWithoutPasswords(t *testing.T) {
	for url, want := range map[string]string{
		"/srv/a:b@c":                  "/srv/a:b@c",
		"./a:b@c":                     "./a:b@c",
		"local:/srv/a:b@c":            "local:/srv/a:b@c",
		"mem:":                        "mem:",
		"s3:https://host:9000/bucket": "s3:https://host:9000/bucket",
		"sftp:user@host:/path":        "sftp:user@host:/path",
		"sftp://user@host:22//path":   "sftp://user@host:22//path",
		"rest:https://user:secret@host:8000/path": "rest:https://user:***@host:8000/path",
		"rest:https://user:se/cr@et@host/path":    "rest:https://user:***@host/path",
		"rest:user:secret@host":                   "rest:user:***@host",
		"s3:https://id:secret@host/bucket":        "s3:https://id:***@host/bucket",
		"sftp://user:secret@host//path":           "sftp://user:***@host//path",
	} {
		require.Equal(t, want, (&place{url: url}).String())
	}
	require.Equal(t, "file", (&place{url: "rest:https://user:secret@host/", object: "file"}).String())
}

// Whatever goes wrong, with a password in the URL and in the environment.
func TestPasswordOfTheStorage(t *testing.T) {
	s := newShell(t)
	s.env["RESTIC_REST_PASSWORD"] = esPassword // one of those that shell looks for in all output
	for _, url := range []string{
		"rest:http://user:" + esPassword + "@127.0.0.1:1/", "rest:http://user:" + esPassword + "@127.0.0.1:1 /x", "rest:http://127.0.0.1:1/",
		"sftp://user:" + esPassword + "@127.0.0.1:1//x", "s3:http://id:" + esPassword + "@127.0.0.1:1/bucket",
	} {
		for _, command := range []string{"init", "snapshots", "check"} {
			s.fails(exitFailed, nil, command, "--repo", url, "--storage-retries", "0")
		}
	}
	s.fails(exitFailed, []string{"127.0.0.1:1", "connection refused"}, "snapshots", "--repo", "rest:http://u:"+esPassword+"@127.0.0.1:1/",
		"--storage-retries", "0")
	code, _, stderr := s.run("snapshots", "--quiet", "--repo", "rest:http://u:"+esPassword+"@127.0.0.1:1/", "--storage-retries", "1")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "after 2 tries")
}

func TestRepositoryObject(t *testing.T) {
	s := newShell(t)
	server, _ := s.cluster()
	repo := s.repo()
	s.init()
	dir := t.TempDir()
	object := filepath.Join(dir, "repository.yaml")
	write := func(name, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o700))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	}
	write(object, `apiVersion: stash.appscode.com/v1alpha1
kind: Repository
metadata: {name: shop, namespace: demo}
spec:
  backend:
    storageSecretName: shop-storage
    local: {hostPath: {path: /srv}, mountPath: "`+repo+`"}
`)
	delete(s.env, "RESTIC_REPOSITORY")
	delete(s.env, "RESTIC_PASSWORD")
	s.fails(exitFailed, []string{"storageSecretName: no source of secrets"}, "snapshots", "--repository", object)
	s.fails(exitFailed, []string{"shop-storage"}, "snapshots", "--repository", object, "--secrets", dir)
	write(filepath.Join(dir, "demo", "shop-storage", "OTHER"), "x")
	s.fails(exitFailed, []string{"RESTIC_PASSWORD"}, "snapshots", "--repository", object, "--secrets", dir)
	write(filepath.Join(dir, "demo", "shop-storage", "RESTIC_PASSWORD"), repoPassword)
	s.ok("backup", "--repository", object, "--secrets", dir, "--es", server.URL)
	require.Len(t, s.objects(exitDone, "snapshots", "--repository", object, "--secrets", dir), 1)
	s.ok("check", "--repository", object, "--secrets", dir, "--connections", "2", "--limit-download", "1000000", "--retry-lock", "1s")
	write(filepath.Join(dir, "demo", "shop-storage", "RESTIC_PASSWORD"), "wr0ng")
	s.fails(exitFailed, []string{"password"}, "snapshots", "--repository", object, "--secrets", dir)
	password := filepath.Join(dir, "password")
	write(password, repoPassword)
	s.ok("snapshots", "--repository", object, "--secrets", dir, "--password-file", password)

	write(object, "kind: Pod\n")
	s.fails(exitFailed, []string{object}, "snapshots", "--repository", object)
	write(object, "apiVersion: stash.appscode.com/v1alpha1\nkind: Repository\nmetadata: {name: shop}\nspec: {backend: {s3: {}}}\n")
	s.fails(exitFailed, []string{"spec.backend.s3.bucket"}, "snapshots", "--repository", object)
	s.fails(exitFailed, []string{"--repository"}, "snapshots", "--repository", filepath.Join(dir, "none"))
}

// What the flags say of rates, calls and waiting is what becomes of a storage.
func TestFlagsOfTheStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var warnings strings.Builder
		a := &app{stderr: &warnings, out: &output{}, warning: new(sync.Mutex)}
		a.place.storageFlags = storageFlags{connections: 3, retries: 1, stall: time.Minute, upload: 1, download: 2}
		faults := backendtest.NewFaults(mem.New())
		b := a.wrapped(faults)
		require.Equal(t, 3, backend.Connections(b))
		content := strings.Repeat("x", 100<<10)
		h := backendtest.HandleOf(backend.Pack, []byte(content))
		began := time.Now()
		require.NoError(t, b.Save(t.Context(), h, strings.NewReader(content), int64(len(content))))
		require.InDelta(t, 100, time.Since(began).Seconds(), 2)
		began = time.Now()
		r, err := b.Load(t.Context(), h, 0, -1)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.InDelta(t, 50, time.Since(began).Seconds(), 2)
		require.Empty(t, warnings.String())

		faults.Delay(backendtest.Stat, 0, 0, time.Hour)
		began = time.Now()
		_, err = b.Stat(t.Context(), h)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.InDelta(t, 120, time.Since(began).Seconds(), 1)
		require.Equal(t, 1, strings.Count(warnings.String(), "warning: stat pack "), "%s", &warnings)
		a.quiet = true
		_, err = b.Stat(t.Context(), h)
		require.Error(t, err)
		require.Equal(t, 1, strings.Count(warnings.String(), "\n"))
	})
}
