package repository_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/backendtest"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

func opens(t *testing.T, b backend.Backend, pw repository.Password) bool {
	t.Helper()
	r, err := repository.Open(t.Context(), b, pw, repositorytest.Options())
	if err == nil {
		require.NoError(t, r.Close())
		return true
	}
	require.ErrorIs(t, err, repository.ErrWrongPassword)
	return false
}

func keys(t *testing.T, r *repository.Repo) (all []*repository.KeyInfo) {
	t.Helper()
	for k, err := range r.Keys(t.Context()) {
		require.NoError(t, err)
		all = append(all, k)
	}
	return all
}

func TestKeys(t *testing.T) {
	b := mem.New()
	r := repositorytest.Init(t, b)
	first := keys(t, r)
	require.Len(t, first, 1)
	require.True(t, first[0].InUse)
	require.False(t, first[0].Created.IsZero())

	id, err := r.AddKey(t.Context(), "second", &repository.KeyOptions{Hostname: "h", Username: "u"})
	require.NoError(t, err)
	require.True(t, opens(t, b, "second"))
	for _, k := range keys(t, r) {
		require.Equal(t, k.ID != id, k.InUse)
		if k.ID == id {
			require.Equal(t, []string{"h", "u"}, []string{k.Hostname, k.Username})
		}
	}
	_, err = r.AddKey(t.Context(), "", nil)
	require.ErrorIs(t, err, fs.ErrInvalid)

	k, err := r.Key(t.Context(), id.Short())
	require.NoError(t, err)
	require.Equal(t, []any{id, "h", "u", false}, []any{k.ID, k.Hostname, k.Username, k.InUse})
	for ref, want := range map[string]error{"": fs.ErrInvalid, "zz": fs.ErrNotExist} {
		_, err = r.Key(t.Context(), ref)
		require.ErrorIs(t, err, want)
	}
	require.ErrorIs(t, r.RemoveKey(t.Context(), first[0].ID.String()), fs.ErrPermission)
	require.ErrorIs(t, r.RemoveKey(t.Context(), ""), fs.ErrInvalid)
	require.ErrorIs(t, r.RemoveKey(t.Context(), "zz"), fs.ErrNotExist)
	require.NoError(t, r.RemoveKey(t.Context(), id.Short()))
	require.False(t, opens(t, b, "second"))

	id, err = r.ChangePassword(t.Context(), "third", nil)
	require.NoError(t, err)
	require.True(t, opens(t, b, "third"))
	require.False(t, opens(t, b, repositorytest.Password))
	require.ErrorIs(t, r.RemoveKey(t.Context(), id.String()), fs.ErrPermission)
	_, err = r.ChangePassword(t.Context(), "fourth", nil)
	require.NoError(t, err)
	require.Len(t, keys(t, r), 1)
	require.True(t, opens(t, b, "fourth"))
}

// Two processes that opened the repository with different keys must not leave it without one.
func TestProcessesDoNotRemoveEachOthersKeys(t *testing.T) {
	b := mem.New()
	one := repositorytest.Init(t, b)
	id, err := one.AddKey(t.Context(), "two", nil)
	require.NoError(t, err)
	two, err := repository.Open(t.Context(), b, "two", repositorytest.Options())
	require.NoError(t, err)
	defer two.Close()
	require.NoError(t, one.RemoveKey(t.Context(), id.String()))
	require.ErrorIs(t, two.RemoveKey(t.Context(), keys(t, one)[0].ID.String()), fs.ErrNotExist)
	require.True(t, opens(t, b, repositorytest.Password))
}

func TestDamagedKeyIsListedAndRemovable(t *testing.T) {
	b := mem.New()
	r := repositorytest.Init(t, b)
	id, err := r.AddKey(t.Context(), "second", nil)
	require.NoError(t, err)
	h := backend.Handle{Type: backend.Key, Name: id.String()}
	require.NoError(t, b.Remove(t.Context(), h))
	require.NoError(t, b.Save(t.Context(), h, emptyBody{}, 0))
	found := false
	for _, k := range keys(t, r) {
		if k.ID == id {
			found = true
			require.ErrorIs(t, k.Err, repository.ErrDamaged)
		}
	}
	require.True(t, found)
	require.NoError(t, r.RemoveKey(t.Context(), id.String()))
}

type emptyBody struct{}

func (emptyBody) ReadAt([]byte, int64) (int, error) { return 0, errors.New("has no bytes") }

// Whatever call fails or is the last, a password opens the repository: the old one, or the new one, or both.
func TestChangePasswordSurvivesFaults(t *testing.T) {
	change := func(b backend.Backend) error {
		r, err := repository.Open(t.Context(), b, repositorytest.Password, repositorytest.Options())
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = r.ChangePassword(t.Context(), "new", nil)
		return err
	}
	prepare := func() *mem.Backend {
		b := mem.New()
		repositorytest.Init(t, b)
		return b
	}
	trace := backendtest.NewFaults(prepare())
	require.NoError(t, change(trace))
	require.Greater(t, trace.Calls(), 8)
	for n := 1; n <= trace.Calls(); n++ {
		for name, rule := range map[string]func(f *backendtest.Faults){
			"fail":     func(f *backendtest.Faults) { f.Fail("", 0, n, errBoom) },
			"lost ack": func(f *backendtest.Faults) { f.LoseAck("", 0, n, errBoom) },
			"short":    func(f *backendtest.Faults) { f.ShortRead(0, n) },
			"flipped":  func(f *backendtest.Faults) { f.FlipByte(0, n) },
			"killed":   func(f *backendtest.Faults) { f.StopAfter(n) },
		} {
			b := prepare()
			f := backendtest.NewFaults(b)
			rule(f)
			err := change(f)
			before, after := opens(t, b, repositorytest.Password), opens(t, b, "new")
			require.True(t, before || after, "%s at call %d", name, n)
			if err == nil {
				require.True(t, after && !before, "%s at call %d", name, n)
			}
		}
	}
}
