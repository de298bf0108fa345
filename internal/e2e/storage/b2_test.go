package storage_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/resticcli"
	"github.com/escrow-backup/escrow/internal/e2e/servers"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/b2"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/local"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

func openB2(t testing.TB, s *servers.Backblaze, prefix string) backend.Backend {
	t.Helper()
	b, err := b2.Open(t.Context(), b2.Config{Bucket: s.Bucket, Prefix: prefix, Endpoint: s.Authority, Settings: s.Settings()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() }) // the conformance suite has closed it
	return b
}

func TestB2Conformance(t *testing.T) {
	s := servers.B2(t)
	n := 0
	backendtest.Run(t, func(t *testing.T) backend.Backend {
		n++
		return openB2(t, s, fmt.Sprintf("prefix/%d", n))
	}, &backendtest.Options{ListEntries: 1100}) // more than a page
}

func TestB2RemoveFreesTheSpace(t *testing.T) {
	s := servers.B2(t)
	c := s.Client(t)
	b := openB2(t, s, "p")
	h := s3Put(t, b, backend.Pack, "content")
	hidden := s3Put(t, b, backend.Pack, "hidden")
	require.NoError(t, c.RemoveObject(t.Context(), "bucket", "p/"+hidden.Path(), minio.RemoveObjectOptions{})) // as others may do
	require.ErrorIs(t, b.Remove(t.Context(), hidden), fs.ErrNotExist)
	s3Put(t, b, backend.Pack, "hidden")
	require.Len(t, s3Versions(t, c, "p/"+hidden.Path()), 3)
	require.NoError(t, b.Remove(t.Context(), h))
	require.NoError(t, b.Remove(t.Context(), hidden))
	require.Empty(t, s3Versions(t, c, ""))
}

func TestB2Restic(t *testing.T) {
	s := servers.B2(t)
	resticJudgesCopy(t, openB2(t, s, "ours"), openB2(t, s, "theirs"))
}

// resticJudgesCopy has restic check and read a copy of a repository that we make in ours, and has us read a copy in theirs of one
// that restic made. restic of this version has no setting for another endpoint of B2, Azure or Google.
func resticJudgesCopy(t *testing.T, ours, theirs backend.Backend) {
	t.Helper()
	want := ourFiles()
	snapshot := repositorytest.Write(t, repositorytest.Init(t, ours), want)
	dir := t.TempDir()
	servers.Copy(t, openLocal(t, dir), ours)
	restic := resticcli.New(t, dir, string(repositorytest.Password))
	restic.Check(t)
	for name, content := range want {
		require.True(t, content == string(restic.Dump(t, snapshot.ID.String(), "/"+name)), name)
	}

	dir = t.TempDir()
	restic = resticcli.New(t, dir, string(repositorytest.Password))
	restic.Init(t)
	cmd := restic.Command(t, "backup", "--stdin", "--stdin-filename", "theirs")
	cmd.Stdin = bytes.NewReader([]byte(want["ours/large"]))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	servers.Copy(t, theirs, openLocal(t, dir))
	r := repositorytest.Reopen(t, theirs)
	latest, err := r.Snapshot(t.Context(), "latest")
	require.NoError(t, err)
	fsys, err := r.FS(t.Context(), latest)
	require.NoError(t, err)
	got, err := fs.ReadFile(fsys, "theirs")
	require.NoError(t, err)
	require.True(t, want["ours/large"] == string(got))
	repositorytest.RequireClean(t, r)
}

func openLocal(t testing.TB, dir string) backend.Backend {
	t.Helper()
	b, err := local.New(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}
