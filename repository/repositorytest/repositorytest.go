// Package repositorytest gives tests a repository to throw away. Production code must not import it: its keys are cheap
// to guess.
package repositorytest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

// Password opens the repositories of this package.
const Password = repository.Password("correct horse battery staple")

// Options make the key cheap and locks quick.
func Options() *repository.Options {
	return &repository.Options{ScryptN: 1 << 4, LockSettle: time.Millisecond}
}

// New gives an empty repository in memory, which is closed when t ends.
func New(t testing.TB) *repository.Repo {
	t.Helper()
	return Init(t, mem.New())
}

// Init makes a repository in b.
func Init(t testing.TB, b backend.Backend) *repository.Repo {
	t.Helper()
	r, err := repository.Init(t.Context(), b, Password, Options())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// Reopen opens the repository in b as another process would.
func Reopen(t testing.TB, b backend.Backend) *repository.Repo {
	t.Helper()
	r, err := repository.Open(t.Context(), b, Password, Options())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// Write stores files, by name, as a snapshot.
func Write(t testing.TB, r *repository.Repo, files map[string]string) *repository.Snapshot {
	t.Helper()
	s, err := r.Write(t.Context(), repository.Header{Hostname: "test"},
		func(_ context.Context, w *repository.Writer) error {
			for name, text := range files {
				f, err := w.Create(name)
				if err != nil {
					return err
				}
				if _, err := f.Write([]byte(text)); err != nil {
					return err
				}
				if err := f.Close(); err != nil {
					return err
				}
			}
			return nil
		})
	require.NoError(t, err)
	return s
}

// RequireClean checks all of the repository, data included.
func RequireClean(t testing.TB, r *repository.Repo) {
	t.Helper()
	for p, err := range r.Check(t.Context(), &repository.CheckOptions{ReadData: true}) {
		require.NoError(t, err)
		require.Fail(t, "the repository is damaged", "%v", p)
	}
}
