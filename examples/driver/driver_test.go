package driver_test

import (
	"context"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/examples/driver"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

func open(t *testing.T, path string) backend.Backend {
	t.Helper()
	b, err := driver.Open(path)
	require.NoError(t, err)
	return b
}

func TestConformance(t *testing.T) {
	dir := t.TempDir()
	path := func(t *testing.T) string { return filepath.Join(dir, filepath.Base(t.Name())) }
	backendtest.Run(t, func(t *testing.T) backend.Backend { return open(t, path(t)) }, &backendtest.Options{
		ListEntries: 1000, // each transaction is synced
		Reopen:      func(t *testing.T, _ backend.Backend) backend.Backend { return open(t, path(t)) },
	})
}

func TestBackup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "backups.db")
	b := open(t, path)
	want := map[string]string{"indices/logs/shard-0.ndjson": "{}\n", "empty": ""}
	s := repositorytest.Write(t, repositorytest.Init(t, b), want)
	require.NoError(t, b.Close())
	require.ErrorIs(t, b.Close(), fs.ErrClosed)
	_, err := b.Stat(t.Context(), backend.Handle{Type: backend.Config})
	require.ErrorIs(t, err, fs.ErrClosed)

	b = open(t, path)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	r := repositorytest.Reopen(t, b)
	files, err := r.FS(t.Context(), s)
	require.NoError(t, err)
	for name, content := range want {
		got, err := fs.ReadFile(files, name)
		require.NoError(t, err)
		require.Equal(t, content, string(got))
	}
	repositorytest.RequireClean(t, r)
}

func TestOpenFails(t *testing.T) {
	b, err := driver.Opener(t.Context(), filepath.Join(t.TempDir(), "no", "such", "directory"), nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Nil(t, b)
}

// A program hands the driver to a Mux, and never names it again.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var m backend.Mux
	m.Handle("bolt", driver.Opener)
	b, err := m.Open(ctx, "bolt:"+filepath.Join(dir, "backups.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	repo, err := repository.Init(ctx, b, "correct horse battery staple", nil)
	if err != nil {
		log.Fatal(err)
	}
	snapshot, err := repo.Write(ctx, repository.Header{}, func(ctx context.Context, w *repository.Writer) error {
		f, err := w.Create("greeting")
		if err != nil {
			return err
		}
		if _, err := f.Write([]byte("hello")); err != nil {
			return err
		}
		return f.Close()
	})
	if err != nil {
		log.Fatal(err)
	}
	files, err := repo.FS(ctx, snapshot)
	if err != nil {
		log.Fatal(err)
	}
	text, err := fs.ReadFile(files, "greeting")
	fmt.Println(string(text), err, repo.Close())
	// Output: hello <nil> <nil>
}
