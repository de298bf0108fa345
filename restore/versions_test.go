package restore

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func versioned(id string, version int64) Document {
	return Document{ID: id, Source: []byte(`{"n":1}`), Versioned: true, Version: version}
}

func TestVersionsAreKept(t *testing.T) {
	es := cluster(t)
	b := newBackup().add(t, "t-one", plainMeta, []Document{versioned("a", 5), versioned("zero", 0),
		{ID: "a", Versioned: true, Version: 5, Deleted: true}, versioned("a", 6)})
	_, err := runPlan(t.Context(), b, es, fast(Options{}))
	require.NoError(t, err)
	version := func(id string) any { return call(t, es, "GET", "/t-one/_doc/"+id, "")["_version"] }
	require.EqualValues(t, 6, version("a"))
	require.EqualValues(t, 0, version("zero"))
	identical(t, b, es, Options{})

	// Merged, what is newer in the cluster is not overwritten, and is named.
	call(t, es, "PUT", "/t-one/_doc/a?refresh=true", `{"n":2}`)
	var refused []Rejection
	o := fast(Options{Conflict: Merge})
	o.Rejected = func(r Rejection) { refused = append(refused, r) }
	_, err = runPlan(t.Context(), b, es, o)
	var load *LoadError
	require.ErrorAs(t, err, &load)
	require.Contains(t, load.ByType, "version_conflict_engine_exception")
	require.NotEmpty(t, refused)
	require.Equal(t, "a", refused[0].Document.ID)
	require.True(t, refused[0].Document.Versioned)
	require.EqualValues(t, 7, version("a"))
}

// Documents that the mapping took once and would refuse now are in the backup. A restore that brings the mapping along fails, names them, and
// leaves no index; into an index with another mapping they go.
func TestMappingRefusesOldDocuments(t *testing.T) {
	es := cluster(t)
	meta := `{"mappings":{"dynamic":"strict","properties":{"n":{"type":"long"}}},"settings":{"index":{"number_of_shards":"1","number_of_replicas":"0"}}}`
	b := newBackup().add(t, "t-one", meta, []Document{{ID: "new", Source: []byte(`{"n":1}`)}, {ID: "old", Source: []byte(`{"n":2,"gone":true}`)}})
	_, err := runPlan(t.Context(), b, es, fast(Options{}))
	var load *LoadError
	require.ErrorAs(t, err, &load)
	require.EqualValues(t, 1, load.Count)
	require.Equal(t, "old", load.Rejections[0].Document.ID)
	require.Equal(t, "strict_dynamic_mapping_exception", load.Rejections[0].Type)
	require.False(t, exists(t, es, "t-one"))

	call(t, es, "PUT", "/t-one", `{"mappings":{"dynamic":false,"properties":{"n":{"type":"long"}}}}`)
	_, err = runPlan(t.Context(), b, es, fast(Options{Conflict: Merge}))
	require.NoError(t, err)
	require.Len(t, contents(t, es, "t-one"), 2)
}
