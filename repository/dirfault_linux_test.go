package repository_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// A fault at any call of a directory backup with a parent, and of the restore after it: an error, or what was there.
func TestDirectorySurvivesFaults(t *testing.T) {
	from := t.TempDir()
	for name, text := range map[string]string{"a/one": "1", "a/b/two": string(random(51, 20_000)), "three": "3"} {
		name = filepath.Join(from, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o640))
	}
	require.NoError(t, os.Symlink("a/one", filepath.Join(from, "link")))
	want := describe(t, from)
	base := mem.New()
	first := addDir(t, repositorytest.Init(t, base), from, repository.Header{}, nil)
	run := func(b backend.Backend, to string) error {
		r, err := repository.Open(t.Context(), b, repositorytest.Password, smallPacks())
		if err != nil {
			return err
		}
		defer r.Close()
		d, err := repository.OpenDirFS(from)
		require.NoError(t, err)
		defer d.Close()
		s, err := r.Write(t.Context(), repository.Header{Parent: &first.ID}, func(ctx context.Context, w *repository.Writer) error {
			if err := create(w, "besides", []byte("b")); err != nil {
				return err
			}
			return w.AddFS(ctx, d, &repository.AddOptions{Dir: "x"})
		})
		if err != nil {
			return err
		}
		_, err = r.RestoreDir(t.Context(), s, to, &repository.RestoreOptions{Path: "x", Verify: true})
		return err
	}
	trace := backendtest.NewFaults(clone(t, base))
	require.NoError(t, run(trace, t.TempDir()))
	everyFault(t, trace.Calls(), func(name string, rule func(*backendtest.Faults)) {
		b, to := clone(t, base), t.TempDir()
		f := backendtest.NewFaults(b)
		rule(f)
		if err := run(f, to); err == nil {
			require.Equal(t, want, describe(t, to), name)
		} else {
			for rel, line := range describe(t, to) { // what is there is whole; directories may be half filled
				if fi, err := os.Lstat(filepath.Join(to, rel)); err == nil && !fi.IsDir() {
					require.Equal(t, want[rel], line, name)
				}
			}
		}
		r := repositorytest.Reopen(t, b)
		repositorytest.RequireClean(t, r)
		for s, err := range r.Snapshots(t.Context(), repository.Filter{}) {
			require.NoError(t, err)
			o := &repository.RestoreOptions{}
			if s.ID != first.ID {
				o.Path = "x"
			}
			back := t.TempDir()
			_, err = r.RestoreDir(t.Context(), s, back, o)
			require.NoError(t, err, name)
			require.Equal(t, want, describe(t, back), name)
		}
	})
}

// Both end soon after their context: also while a file is read that never ends.
func TestDirectoriesEndWithTheContext(t *testing.T) {
	r := repositorytest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := r.Write(ctx, repository.Header{}, func(ctx context.Context, w *repository.Writer) error {
		return w.AddFS(ctx, endless{fstest.MapFS{"f": {Data: []byte("x"), ModTime: time.Now()}}, cancel}, nil)
	})
	require.ErrorIs(t, err, context.Canceled)
	s := repositorytest.Write(t, r, map[string]string{"a": "1", "b/c": "2"})
	_, err = r.RestoreDir(ctx, s, t.TempDir(), nil)
	require.ErrorIs(t, err, context.Canceled)
}

// endless is a file system whose files do not end; the reader's context ends after some bytes.
type endless struct {
	fstest.MapFS
	cancel context.CancelFunc
}

func (e endless) Open(name string) (fs.File, error) {
	f, err := e.MapFS.Open(name)
	if err == nil && name == "f" {
		return &endlessFile{f, e.cancel, 0}, nil
	}
	return f, err
}

type endlessFile struct {
	fs.File
	cancel context.CancelFunc
	n      int
}

func (f *endlessFile) Read(p []byte) (int, error) {
	if f.n += len(p); f.n > 10<<20 {
		f.cancel()
	}
	return len(p), nil
}
