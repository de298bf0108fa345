package repository_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/crypto"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

func optionsOfVersion(version int) *repository.Options {
	o := smallPacks()
	o.Version = version
	return o
}

// What is compressible stays as it is in a repository of version 1, and the entries of headers are short.
func TestVersionOneIsWritten(t *testing.T) {
	b := mem.New()
	r, err := repository.Init(t.Context(), b, repositorytest.Password, optionsOfVersion(1))
	require.NoError(t, err)
	defer r.Close()
	require.Equal(t, 1, r.Version())
	text := bytes.Repeat([]byte("compressible "), 1<<17)
	s, err := r.Write(t.Context(), repository.Header{Hostname: "h"}, func(_ context.Context, w *repository.Writer) error {
		return create(w, "dir/file", text)
	})
	require.NoError(t, err)
	require.Greater(t, s.Summary.DataAddedPacked, int64(len(text)))
	blobs := 0
	for _, h := range handlesOf(t, b, backend.Pack) {
		p := load(t, b, h)
		n := int(binary.LittleEndian.Uint32(p[len(p)-4:])) - crypto.Overhead
		require.Zero(t, n%37, "a header of version 1 has entries of 37 bytes")
		blobs += n / 37
	}
	require.Equal(t, int(s.Summary.DataBlobs+s.Summary.TreeBlobs), blobs)

	r = repositorytest.Reopen(t, b)
	require.Equal(t, 1, r.Version())
	require.NoError(t, verify(t.Context(), r, "latest", text))
	repositorytest.RequireClean(t, r)
	stats, err := r.Stats(t.Context(), s)
	require.NoError(t, err)
	require.Less(t, stats.CompressionRatio(), 1.0)

	// All that changes a repository leaves it one of version 1.
	forget(t, r, s.ID)
	prune(t, r, none())
	second, err := r.Write(t.Context(), repository.Header{}, func(_ context.Context, w *repository.Writer) error {
		return create(w, "dir/file", text)
	})
	require.NoError(t, err)
	_, err = r.Tag(t.Context(), repository.TagChange{Add: []string{"x"}}, nil)
	require.NoError(t, err)
	prune(t, r, none())
	requireNothingToPrune(t, r)
	require.NoError(t, verify(t.Context(), r, "latest", text))
	repositorytest.RequireClean(t, r)

	// Between the versions, a copy compresses and the way back expands.
	two, err := repository.Init(t.Context(), mem.New(), repositorytest.Password, optionsOfVersion(2))
	require.NoError(t, err)
	defer two.Close()
	latest, err := r.Snapshot(t.Context(), "latest")
	require.NoError(t, err)
	require.Equal(t, second.ID, *latest.Original)
	there, err := r.Copy(t.Context(), two, latest)
	require.NoError(t, err)
	require.Less(t, there.Stats.AddedBytes, int64(len(text)/10))
	forget(t, r, latest.ID)
	prune(t, r, none())
	back, err := two.Copy(t.Context(), r, there.Copied...)
	require.NoError(t, err)
	require.Greater(t, back.Stats.AddedBytes, int64(len(text)))
	require.NoError(t, verify(t.Context(), r, "latest", text))
	repositorytest.RequireClean(t, r)
	repositorytest.RequireClean(t, two)

	require.NoError(t, r.Migrate(t.Context(), func([]byte) error { return nil }))
	require.Equal(t, 2, repositorytest.Reopen(t, b).Version())
	repack := none()
	repack.RepackUncompressed = true
	prune(t, repositorytest.Reopen(t, b), repack)
	size := int64(0)
	for _, h := range handlesOf(t, b, backend.Pack) {
		size += int64(len(load(t, b, h)))
	}
	require.Less(t, size, int64(len(text)/10))
	repositorytest.RequireClean(t, repositorytest.Reopen(t, b))
}

func TestUnknownVersionIsRefused(t *testing.T) {
	for _, v := range []int{-1, 3} {
		_, err := repository.Init(t.Context(), mem.New(), repositorytest.Password, optionsOfVersion(v))
		require.ErrorContains(t, err, "not supported")
	}
}
