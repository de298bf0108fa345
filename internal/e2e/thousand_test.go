package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/restore"
)

// TestThousandIndices backs up 1,000 small indices, on one version, and restores every tenth: a server is slow to make them. 5,000 are
// restored in TestMemoryOfManyIndices.
func TestThousandIndices(t *testing.T) {
	const indices = 1_000
	e := server(t, versions()[0])
	settings := func(shards string) string {
		return `{"persistent":{"cluster.max_shards_per_node":` + shards + `}}`
	}
	e.do(t, "PUT", "/_cluster/settings", settings("3000"))
	t.Cleanup(func() { e.afterwards(t, "PUT", "/_cluster/settings", settings("null")) })
	e.later(t, "/_index_template/thousand")
	e.do(t, "PUT", "/_index_template/thousand", `{"index_patterns":["thousand-*"],"template":{"settings":{"number_of_replicas":0},"mappings":{"dynamic":false,"properties":{"n":{"type":"long"}}}}}`)
	var names []string
	for n := range indices {
		names = append(names, fmt.Sprintf("thousand-%03d", n))
	}
	remove := func() {
		for some := range slices.Chunk(names, 100) {
			e.afterwards(t, "DELETE", "/"+strings.Join(some, ",")+"?ignore_unavailable=true", "")
		}
	}
	t.Cleanup(remove)
	for some := range slices.Chunk(names, 100) { // one change of the cluster's state makes all of them
		var b strings.Builder
		for _, name := range some {
			for id := range 3 {
				fmt.Fprintf(&b, "{\"index\":{\"_index\":%q,\"_id\":\"%d\"}}\n{\"n\":%d,\"of\":%q}\n", name, id, id, name)
			}
		}
		require.Contains(t, string(e.do(t, "POST", "/_bulk?refresh=true", b.String())), `"errors":false`)
	}
	e.do(t, "DELETE", "/_index_template/thousand", "")
	src, m := e.dumped(t, &backup.Options{Indices: []string{"thousand-*"}, Sections: []string{"none"}})
	require.Len(t, m.Indices, indices)
	var docs int64
	for _, ix := range m.Indices {
		docs += ix.Docs
	}
	require.EqualValues(t, 3*indices, docs)
	require.Empty(t, m.Omitted)
	noContexts(t, e, "thousand-*")
	remove()
	require.False(t, e.exists(t, names[0]))
	o := &restore.Options{Indices: []string{"thousand-*7"}}
	r := e.restored(t, src, o)
	require.Equal(t, indices/10, r.Indices)
	require.EqualValues(t, 3*indices/10, r.Documents)
	d, err := restore.Verify(t.Context(), src, e.transport(t), o)
	require.NoError(t, err)
	require.True(t, d.Identical(), d.String())
}
