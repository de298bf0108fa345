package secret_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/secret"
)

const hidden = "s3cr3t"

func TestDir(t *testing.T) {
	dir := t.TempDir()
	write := func(path, content string) {
		path = filepath.Join(dir, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	// As Kubernetes mounts it.
	write("auth/..2026_01/username", "u")
	write("auth/..2026_01/password", hidden)
	require.NoError(t, os.Symlink("..2026_01", filepath.Join(dir, "auth/..data")))
	for _, k := range []string{"username", "password"} {
		require.NoError(t, os.Symlink("..data/"+k, filepath.Join(dir, "auth", k)))
	}
	write("prod/plain/key", "in prod")
	write("plain/key", "everywhere")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "empty"), 0o700))
	write("../outside", hidden)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "leak"), 0o700))
	require.NoError(t, os.Symlink("../../outside", filepath.Join(dir, "leak", "key")))

	s := secret.Dir(dir)
	for at, want := range map[[2]string]secret.Data{
		{"prod", "auth"}:   {"username": []byte("u"), "password": []byte(hidden)},
		{"", "auth"}:       {"username": []byte("u"), "password": []byte(hidden)},
		{"prod", "plain"}:  {"key": []byte("in prod")},
		{"other", "plain"}: {"key": []byte("everywhere")},
	} {
		d, err := s.Secret(t.Context(), at[0], at[1])
		require.NoError(t, err)
		require.True(t, reflect.DeepEqual(want, d), "%v", at)
	}
	for _, name := range []string{"absent", "empty", "prod"} {
		_, err := s.Secret(t.Context(), "prod", name)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.ErrorContains(t, err, "secret prod/"+name)
	}
	for _, name := range []string{"", ".", "..", "../auth", "a/b", `a\b`} {
		_, err := s.Secret(t.Context(), "prod", name)
		require.ErrorIs(t, err, fs.ErrInvalid)
	}
	_, err := s.Secret(t.Context(), "prod", "leak")
	require.Error(t, err)
	require.NotContains(t, err.Error(), hidden)
}

func TestMap(t *testing.T) {
	m := secret.Map{"prod/a": {"k": []byte(hidden)}, "a": {"k": []byte("x")}}
	d, err := m.Secret(t.Context(), "prod", "a")
	require.NoError(t, err)
	require.Equal(t, hidden, string(d["k"]))
	d, err = m.Secret(t.Context(), "other", "a")
	require.NoError(t, err)
	require.Equal(t, "x", string(d["k"]))
	_, err = m.Secret(t.Context(), "other", "b")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v %s %q", m, m, m, m, d), hidden)
}
