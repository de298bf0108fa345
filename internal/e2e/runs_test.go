package e2e_test

import (
	"bytes"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/internal/e2e/esserver"
)

// byWay counts the searches for documents in the order in which they lie.
type byWay struct {
	next elastictransport.Interface
	n    atomic.Int64
}

func (w *byWay) Perform(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/_search" {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(b))
		if bytes.Contains(b, []byte(`"sort":[{"_shard_doc":"asc"}]`)) {
			w.n.Add(1)
		}
	}
	return w.next.Perform(r)
}

// TestSortedIndex backs up an index that keeps its documents in an order of its own, and on version 8 in large blocks: they are read where they
// lie, before and after some of them were updated and deleted.
func TestSortedIndex(t *testing.T) {
	onEach(t, func(t *testing.T, e *es) {
		const index, docs = "sorted", 40_000
		codec := "best_compression"
		if e.version == esserver.V9 {
			codec = "default" // the other takes a native library there that does not come with the jars
		}
		e.create(t, index, `{"settings":{"number_of_shards":1,"number_of_replicas":0,"refresh_interval":"-1","codec":"`+codec+`","sort.field":"level"},
			"mappings":{"dynamic":false,"properties":{"level":{"type":"keyword"}}}}`)
		r, l := seeded(docs), e.loader(t)
		for i := range docs {
			l.index(index, strconv.Itoa(i), "", logLine(r, i))
		}
		l.flush()
		e.do(t, "POST", "/"+index+"/_forcemerge?max_num_segments=1", "")
		repo := newRepo(t, filepath.Join(t.TempDir(), "repo"))
		o := &backup.Options{Indices: []string{index}, Sections: []string{"none"}}
		for n := range 2 {
			e.do(t, "POST", "/"+index+"/_refresh", "")
			want := contents{}
			e.read(t, want, false, index)
			o.Full = n > 0
			w := &byWay{next: e.transport(t)}
			res, err := backup.Run(t.Context(), w, repo, o)
			require.NoError(t, err)
			require.EqualValues(t, len(want), res.Documents)
			require.Greater(t, w.n.Load(), int64(3))
			src := files(t, repo, res.Snapshot)
			require.True(t, verify(t, e, src, nil).Identical())
			if n == 0 {
				for i := range docs / 200 {
					l.index(index, strconv.Itoa(i*190), "", logLine(r, i))
					l.delete(index, strconv.Itoa(i*190+7), "")
				}
				l.flush()
				continue
			}
			e.remove(t, index)
			runRestore(t, e, src, nil)
			got := contents{}
			e.read(t, got, false, index)
			same(t, want, got)
		}
		require.Zero(t, e.openContexts(t, index))
	})
}
