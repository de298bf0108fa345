package backup

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// A shard that nothing was done to is taken over without a point in time, and only such a shard.
func TestResting(t *testing.T) {
	h := estest.NewHandler(nil)
	es := h.Transport()
	create(t, es, "i", 2)
	for n := range 50 {
		send(t, es, "POST", "/i/_bulk", fmt.Sprintf("{\"index\":{\"_id\":\"%d\"}}\n{\"n\":%d}\n", n, n))
	}
	send(t, es, "POST", "/i/_bulk", "{\"delete\":{\"_id\":\"7\"}}\n")
	repo := repositorytest.New(t)
	first := runSmall(t, es, repo, nil)
	require.EqualValues(t, 49, first.DocumentsRead)

	var opened, refreshed, requests int
	w := &wire{next: es, at: -1, each: func(r *http.Request) {
		requests++
		if r.Method == "POST" && strings.HasSuffix(r.URL.Path, "/_pit") {
			opened++
		}
		if strings.HasSuffix(r.URL.Path, "/_refresh") {
			refreshed++
		}
	}}
	again := func(change func(o *Options)) *Result {
		opened, refreshed, requests = 0, 0, 0
		res := runSmall(t, w, repo, change)
		require.Zero(t, h.OpenContexts())
		requireSame(t, es, repo, res, "i")
		return res
	}
	one := func(o *Options) { o.Concurrency = 1 } // requests are counted
	res := again(one)
	require.Zero(t, opened)
	require.LessOrEqual(t, requests, 12)
	require.Zero(t, res.DocumentsRead)
	require.EqualValues(t, 49, res.DocumentsReused)
	require.Equal(t, first.Segments, res.SegmentsReused)
	require.Zero(t, res.SegmentsChanged)
	require.Empty(t, res.NotReused)
	for n, sh := range res.Manifest.Indices[0].Shards {
		require.Equal(t, first.Manifest.Indices[0].Shards[n], sh)
	}

	send(t, es, "POST", "/i/_bulk", "{\"delete\":{\"_id\":\"8\"}}\n")
	res = again(one)
	require.Equal(t, 1, opened, "the other shard is at rest")
	require.Equal(t, 2, refreshed, "each shard is prepared once")
	require.EqualValues(t, 48, res.Documents)
	again(one)
	require.Zero(t, opened, "also where the parent is a log with dead documents")
	again(func(o *Options) { o.Concurrency, o.Increment = 1, IncrementSegments })
	require.Equal(t, 1, opened, "unless they are to go")

	_, err := h.Failover("i", 0)
	require.NoError(t, err)
	again(one)
	require.Equal(t, 1, opened, "the primary term of one is another")
	again(one)
	require.Zero(t, opened)

	require.NoError(t, h.SetGlobalCheckpoint("i", 1, 3))
	send(t, es, "POST", "/i/_bulk", "{\"index\":{\"_id\":\"new\"}}\n{}\n{\"index\":{\"_id\":\"newer\"}}\n{}\n{\"index\":{\"_id\":\"newest\"}}\n{}\n")
	again(one)
	again(one)
	require.Positive(t, opened, "the parent was not sealed")
	require.NoError(t, h.ReleaseGlobalCheckpoint("i", 1))

	again(one)
	again(func(o *Options) { o.Concurrency, o.VerifyEvery = 1, 1 })
	require.Equal(t, 2, opened)
	again(func(o *Options) { o.Concurrency, o.Full = 1, true })
	require.Equal(t, 2, opened)
}

// The same sequence numbers in the same primary term stand for another document: the disk was put back, and what was done then was
// done again otherwise.
func TestRestingPutBack(t *testing.T) {
	h := estest.NewHandler(nil)
	es := h.Transport()
	create(t, es, "i", 1)
	bulk := func(id string) { send(t, es, "POST", "/i/_bulk", fmt.Sprintf("{\"index\":{\"_id\":%q}}\n{}\n", id)) }
	bulk("a")
	bulk("b")
	_, err := h.Failover("i", 0)
	require.NoError(t, err)
	repo := repositorytest.New(t)
	before := runSmall(t, es, repo, nil).Manifest.Indices[0].Shards[0]
	require.NoError(t, h.PutBack("i", 0, 0))
	bulk("c")
	res := runSmall(t, es, repo, nil)
	requireSame(t, es, repo, res, "i")
	now := res.Manifest.Indices[0].Shards[0]
	require.Equal(t, before.MaxSeqNo, now.MaxSeqNo)
	require.Equal(t, before.PrimaryTerm, now.PrimaryTerm)
	require.Equal(t, before.HistoryUUID, now.HistoryUUID)
	require.EqualValues(t, 2, res.DocumentsRead)
}

// The same, but that the parent's last operations were deletes: the new documents stand where it held none.
func TestRestingPutBackOverDeletes(t *testing.T) {
	for _, again := range []int{2, 1} { // as many documents, or fewer
		h := estest.NewHandler(nil)
		es := h.Transport()
		create(t, es, "i", 1)
		do := func(lines ...string) {
			for _, l := range lines {
				send(t, es, "POST", "/i/_bulk", l+"\n")
			}
		}
		do("{\"index\":{\"_id\":\"a\"}}\n{}", "{\"index\":{\"_id\":\"b\"}}\n{}", "{\"delete\":{\"_id\":\"b\"}}", "{\"delete\":{\"_id\":\"x\"}}")
		_, err := h.Failover("i", 0)
		require.NoError(t, err)
		repo := repositorytest.New(t)
		before := runSmall(t, es, repo, nil).Manifest.Indices[0].Shards[0]
		require.NoError(t, h.PutBack("i", 0, 0))
		do("{\"delete\":{\"_id\":\"y\"}}", "{\"index\":{\"_id\":\"c\"}}\n{}")
		if again == 2 {
			do("{\"delete\":{\"_id\":\"a\"}}")
		} else {
			do("{\"index\":{\"_id\":\"d\"}}\n{}")
		}
		res := runSmall(t, es, repo, nil)
		requireSame(t, es, repo, res, "i")
		now := res.Manifest.Indices[0].Shards[0]
		require.Equal(t, before.MaxSeqNo, now.MaxSeqNo)
		require.Equal(t, before.PrimaryTerm, now.PrimaryTerm)
	}
}
