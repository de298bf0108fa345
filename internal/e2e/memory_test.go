package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/internal/e2e/esserver"
)

// TestMemory backs up and restores an index of a million documents, 800 MB, and one of a quarter of that, by the command
// line. Neither may take much memory, and the larger not more than the smaller.
func TestMemory(t *testing.T) {
	v := versions()[0]
	if len(versions()) > 1 {
		v = esserver.V9 // one version says enough
	}
	e := server(t, v)
	const limit = 256 << 20
	type peaks struct {
		backup  []int64
		restore int64
	}
	measure := func(index string, docs int) (p peaks) {
		wide(t, e, index, docs)
		c := newCLI(t)
		c.init(t)
		// A million documents' garbage, which depends on the moments at which it is collected, moves a peak by some tens of MiB.
		// So the limit is that of an ordinary run, and the growth that of runs which keep little garbage.
		tidy := c.with("GOGC=20")
		backup := []string{"backup", "--full", "--es", e.url, "--index", index, "--quiet"}
		load := []string{"restore", "--es", e.url, "--quiet"}
		r, peak := c.measured(t, backup...)
		require.Zero(t, r.code, r.stderr)
		require.Less(t, peak, int64(limit))
		for range 2 {
			r, again := tidy.measured(t, backup...)
			require.Zero(t, r.code, r.stderr)
			p.backup = append(p.backup, again)
		}
		e.remove(t, index)
		r, p.restore = tidy.measured(t, load...)
		require.Zero(t, r.code, r.stderr)
		require.EqualValues(t, docs, e.count(t, index))
		c.identical(t, e)
		e.remove(t, index)
		r, loading := c.measured(t, load...)
		require.Zero(t, r.code, r.stderr)
		require.Less(t, loading, int64(limit))
		e.remove(t, index)
		t.Logf("%d documents: backup %d MiB, %d and %d with little garbage; restore %d and %d",
			docs, peak>>20, p.backup[0]>>20, p.backup[1]>>20, loading>>20, p.restore>>20)
		return p
	}
	quarter := measure("memory-quarter", 250_000)
	whole := measure("memory-whole", 1_000_000)
	// Now and then a short run stays far below the others, a long one does not.
	require.Less(t, slices.Min(whole.backup), slices.Max(quarter.backup)*12/10)
	require.Less(t, whole.restore, quarter.restore*12/10)
}

// wide makes an index of documents of 800 bytes.
func wide(t *testing.T, e *es, index string, n int) {
	t.Helper()
	e.create(t, index, `{"settings":{"number_of_shards":2,"number_of_replicas":0,"refresh_interval":"-1","translog.durability":"async"},
		"mappings":{"dynamic":false,"properties":{"level":{"type":"keyword"}}}}`)
	r, l := seeded(9), e.loader(t)
	words := strings.Fields("request to the upstream service timed out while waiting for an answer from shard primary replica and was sent again")
	for i := range n {
		var b strings.Builder
		fmt.Fprintf(&b, `{"n":%d,"level":"INFO","trace":"%016x%016x","message":"`, i, r.Uint64(), r.Uint64())
		for b.Len() < 780 {
			b.WriteString(words[r.IntN(len(words))])
			b.WriteByte(' ')
		}
		b.WriteString(`"}`)
		l.index(index, fmt.Sprint(i), "", []byte(b.String()))
	}
	l.flush()
	e.do(t, "POST", "/"+index+"/_refresh", "")
}

// TestMemoryOfLargeDocuments backs up and restores documents of 50 MB by the command line, from and to servers in this process.
func TestMemoryOfLargeDocuments(t *testing.T) {
	server := estest.New(t, nil)
	(&es{url: server.URL}).do(t, "PUT", "/large", `{"settings":{"number_of_shards":2}}`)
	for n := range 5 { // more than are read at once
		require.NoError(t, server.Index("large", estest.Doc{ID: fmt.Sprint(n), Source: largeDocument(n)}))
	}
	require.NoError(t, server.Refresh("large"))
	c := newCLI(t)
	c.init(t)
	r, peak := c.measured(t, "backup", "--es", server.URL, "--quiet")
	require.Zero(t, r.code, r.stderr)
	target := estest.New(t, nil)
	r, restore := c.measured(t, "restore", "--es", target.URL, "--quiet")
	require.Zero(t, r.code, r.stderr)
	r, verify := c.measured(t, "verify", "--es", target.URL, "--quiet")
	require.Zero(t, r.code, r.stderr)
	t.Logf("backup: %d MiB, restore: %d, verify: %d", peak>>20, restore>>20, verify>>20)
	require.Less(t, peak, int64(256<<20))
	require.Less(t, restore, int64(256<<20))
	require.Less(t, verify, int64(256<<20))
	c.identical(t, &es{url: server.URL})
	c.identical(t, &es{url: target.URL})
}

// largeDocument is a source of 50 MB.
func largeDocument(n int) []byte {
	raw := make([]byte, 25_000_000)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(raw) // it never fails
	return fmt.Appendf(nil, `{"n":%d,"text":"%x"}`, n, raw)
}

// TestMemoryOfManyIndices backs up and restores 5,000 indices.
func TestMemoryOfManyIndices(t *testing.T) {
	server := estest.New(t, nil)
	const indices = 5_000
	for n := range indices {
		require.NoError(t, server.Index(fmt.Sprintf("many-%04d", n), estest.Doc{ID: "1", Source: fmt.Appendf(nil, `{"n":%d}`, n)}))
	}
	c := newCLI(t)
	c.init(t)
	r, peak := c.measured(t, "backup", "--es", server.URL, "--quiet")
	require.Zero(t, r.code, r.stderr)
	r, again := c.measured(t, "backup", "--es", server.URL, "--quiet")
	require.Zero(t, r.code, r.stderr)
	target := estest.New(t, nil)
	r, restore := c.measured(t, "restore", "--es", target.URL, "--quiet")
	require.Zero(t, r.code, r.stderr)
	t.Logf("backup %d MiB, again %d, restore %d", peak>>20, again>>20, restore>>20)
	for _, peak := range []int64{peak, again, restore} {
		require.Less(t, peak, int64(256<<20))
	}
	for n := range indices {
		require.Equal(t, 1, target.Count(fmt.Sprintf("many-%04d", n)))
	}
	require.Zero(t, server.OpenContexts())
}
