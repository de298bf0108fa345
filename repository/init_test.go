package repository

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/crypto"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

// Two processes that init the same place at once store a key each, but one config. The key of the one that was too late opens
// with the password, too.
func TestOpenSkipsKeysOfAnotherMaster(t *testing.T) {
	b := mem.New()
	for range 8 {
		_, err := addKey(t.Context(), b, crypto.NewKey(), "pw", crypto.Params{N: 16, R: 8, P: 1}, keyFile{Created: time.Now()})
		require.NoError(t, err)
	}
	_, err := Init(t.Context(), b, "pw", &Options{ScryptN: 16})
	require.ErrorContains(t, err, "there is no config, but key")
	b2 := mem.New()
	testRepo(t, b2, Options{})
	for range 8 {
		_, err := addKey(t.Context(), b2, crypto.NewKey(), "pw", crypto.Params{N: 16, R: 8, P: 1}, keyFile{Created: time.Now()})
		require.NoError(t, err)
	}
	r, err := Open(t.Context(), b2, "pw", nil)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	_, err = Open(t.Context(), b2, "other", nil)
	require.ErrorIs(t, err, ErrWrongPassword)
}
