package backup

import (
	"testing"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// A parent is the newest snapshot of the same cluster and the same selection, whatever else is in the repository, and whatever else is equal.
func TestParentIsOfTheSameClusterAndSelection(t *testing.T) {
	repo := repositorytest.New(t)
	one, two := estest.NewHandler(nil).Transport(), estest.NewHandler(nil).Transport()
	for _, es := range []elastictransport.Interface{one, two} {
		create(t, es, "i", 1)
		index(t, es, "i", 0, 100, "v")
	}
	first, err := Run(t.Context(), one, repo, nil)
	require.NoError(t, err)
	require.Nil(t, first.Parent)
	other, err := Run(t.Context(), two, repo, nil)
	require.NoError(t, err)
	require.Nil(t, other.Parent, "it is of another cluster")
	require.EqualValues(t, 100, other.DocumentsRead)
	require.NotEqual(t, first.Manifest.Cluster.UUID, other.Manifest.Cluster.UUID)

	second, err := Run(t.Context(), one, repo, nil)
	require.NoError(t, err)
	require.Equal(t, first.Snapshot.ID, second.Parent.ID)
	for _, o := range []*Options{{Indices: []string{"i"}}, {Exclude: []string{"none"}}, {Versions: true}} {
		res, err := Run(t.Context(), one, repo, o)
		require.NoError(t, err)
		require.Nil(t, res.Parent, "it is of another selection")
		again, err := Run(t.Context(), one, repo, o)
		require.NoError(t, err)
		require.Equal(t, res.Snapshot.ID, again.Parent.ID)
	}
	third, err := Run(t.Context(), one, repo, nil)
	require.NoError(t, err)
	require.Equal(t, second.Snapshot.ID, third.Parent.ID, "the newest of them")
	require.Zero(t, third.DocumentsRead)
	full, err := Run(t.Context(), one, repo, &Options{Full: true})
	require.NoError(t, err)
	require.Nil(t, full.Parent)
	require.EqualValues(t, 100, full.DocumentsRead)
}
