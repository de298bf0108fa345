package e2e_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/esserver"
	"github.com/escrow-backup/escrow/internal/e2e/resticcli"
	"github.com/escrow-backup/escrow/internal/e2e/servers"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/azure"
	"github.com/escrow-backup/escrow/repository/backend/b2"
	"github.com/escrow-backup/escrow/repository/backend/gcs"
	"github.com/escrow-backup/escrow/repository/backend/local"
	"github.com/escrow-backup/escrow/repository/backend/rest"
	"github.com/escrow-backup/escrow/repository/backend/s3"
	"github.com/escrow-backup/escrow/repository/backend/sftp"
	"github.com/escrow-backup/escrow/repository/backend/swift"
	"github.com/escrow-backup/escrow/repository/backend/wrap"
	"github.com/escrow-backup/escrow/restore"
)

// place is somewhere that a driver can keep a repository.
type place struct {
	backend backend.Backend
	restic  *resticcli.CLI // on the same place; nil: restic cannot be sent there, and judges a copy
}

// opened opens a URL as a program would.
func opened(t testing.TB, scheme string, o backend.Opener, location string, s *backend.Settings) backend.Backend {
	t.Helper()
	var m backend.Mux
	m.Handle(scheme, o)
	b, err := m.Open(t.Context(), scheme+":"+location, s)
	require.NoError(t, err)
	return b
}

var places = map[string]func(t testing.TB) place{
	"local": func(t testing.TB) place {
		dir := filepath.Join(t.TempDir(), "repo")
		return place{opened(t, "local", local.Opener, dir, nil), resticcli.New(t, dir, password)}
	},
	"s3": func(t testing.TB) place {
		s := servers.MinIO(t, false)
		restic := resticcli.New(t, "s3:"+s.URL+"/bucket/repo", password)
		restic.Env = s.Env()
		return place{opened(t, "s3", s3.Opener, s.URL+"/bucket/repo", s.Settings()), restic}
	},
	"rest": func(t testing.TB) place {
		s := servers.Rclone(t, servers.RcloneOptions{Login: true})
		at := strings.Replace(s.URL, "://", "://"+url.UserPassword(s.Username, s.Password).String()+"@", 1) + "/repo/"
		return place{opened(t, "rest", rest.Opener, at, nil), resticcli.New(t, "rest:"+at, password)}
	},
	"sftp": func(t testing.TB) place {
		s := servers.OpenSSH(t)
		at := s.URL(filepath.Join(s.Dir, "repo"))
		restic := resticcli.New(t, at, password)
		restic.Args = []string{"-o", "sftp.command=" + s.Command(t)}
		return place{opened(t, "sftp", sftp.Opener, strings.TrimPrefix(at, "sftp:"), s.Settings()), restic}
	},
	"azure": func(t testing.TB) place {
		s := servers.Azurite(t, false)
		return place{backend: opened(t, "azure", azure.Opener, "container:/repo", s.Settings())}
	},
	"gs": func(t testing.TB) place {
		s := servers.FakeGCS(t)
		return place{backend: opened(t, "gs", gcs.Opener, "bucket:/repo", s.Settings())}
	},
	"swift": func(t testing.TB) place {
		s := servers.StartSwift(t)
		restic := resticcli.New(t, "swift:container:/repo", password)
		restic.Env = s.Env()
		return place{opened(t, "swift", swift.Opener, "container:/repo", s.Settings(s.User, s.Password)), restic}
	},
	"b2": func(t testing.TB) place {
		s := servers.B2(t)
		b, err := b2.Open(t.Context(), b2.Config{Bucket: s.Bucket, Prefix: "repo", Endpoint: s.Authority, Settings: s.Settings()})
		require.NoError(t, err)
		return place{backend: b}
	},
}

// TestPlaces backs up into every kind of storage and restores from there. Both are compared with the cluster, and restic reads
// the same.
func TestPlaces(t *testing.T) {
	e := server(t, esserver.V8)
	logs(t, e, "place-logs", 2, 4_000)
	e.create(t, "place-odd", fidBodies[fidOdd])
	l := e.loader(t)
	for i, id := range oddIDs() {
		l.index("place-odd", id, "", fmt.Appendf(nil, `{"k":%q,"v":%s}`, fmt.Sprint(i), values[i%len(values)]))
	}
	l.flush()
	for name, start := range places {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			t.Cleanup(func() { require.NoError(t, p.backend.Close()) })
			b := wrap.Timeout(p.backend, &wrap.TimeoutOptions{Stall: time.Minute})
			b = wrap.Retry(wrap.Connections(b, max(backend.Connections(b), 1)), nil)
			repo, err := repository.Init(t.Context(), b, password, &repository.Options{ScryptN: 1 << 10})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, repo.Close()) })

			first := runBackup(t, e, repo, "place-*")
			require.Greater(t, first.Documents, int64(4_000))
			again := runBackup(t, e, repo, "place-*")
			require.Zero(t, again.DocumentsRead)

			repo, err = repository.Open(t.Context(), b, password, nil)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, repo.Close()) })
			src := files(t, repo, again.Snapshot)
			o := &restore.Options{Rename: []restore.Rename{{From: "place-*", To: name + "-place-*"}}}
			e.removeLater(t, name+"-place-logs", name+"-place-odd")
			res := runRestore(t, e, src, o)
			require.Equal(t, first.Documents, res.Documents)
			require.Zero(t, res.Rejected)
			require.True(t, verify(t, e, src, nil).Identical())
			require.True(t, verify(t, e, src, o).Identical())
			for problem, err := range repo.Check(t.Context(), &repository.CheckOptions{ReadData: true}) {
				require.NoError(t, err)
				require.Fail(t, "the repository is damaged", "%v", problem)
			}
			resticReads(t, p, again.Snapshot, src)
		})
	}
}

// resticReads has restic check everything and dump every file of the snapshot, from the same place or from a copy of it.
func resticReads(t *testing.T, p place, s *repository.Snapshot, src fs.FS) {
	t.Helper()
	restic := p.restic
	if restic == nil {
		dir := filepath.Join(t.TempDir(), "copy")
		b, err := local.New(dir)
		require.NoError(t, err)
		servers.Copy(t, b, p.backend)
		require.NoError(t, b.Close())
		restic = resticcli.New(t, dir, password)
	}
	restic.Check(t)
	n := 0
	require.NoError(t, fs.WalkDir(src, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Dir(name) == "cluster" {
			return err
		}
		want, err := fs.ReadFile(src, name)
		if err != nil {
			return err
		}
		require.True(t, bytes.Equal(want, restic.Dump(t, s.ID.String(), "/"+name)), name)
		n++
		return nil
	}))
	require.Greater(t, n, 5)
}
