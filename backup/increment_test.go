package backup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/repositorytest"
	"github.com/escrow-backup/escrow/restore"
)

// small is a backup in which no segment is joined with the next.
var small = &Options{Sections: []string{"none"}, SealTimeout: time.Millisecond, small: 1}

func runSmall(t *testing.T, es elastictransport.Interface, repo *repository.Repo, change func(o *Options)) *Result {
	t.Helper()
	o := *small
	if change != nil {
		change(&o)
	}
	res, err := Run(t.Context(), es, repo, &o)
	require.NoError(t, err)
	return res
}

// churn does random things to an index: what is done to one document is never undone but by failover.
type churn struct {
	r  *rand.Rand
	h  *estest.Handler
	es elastictransport.Interface
	n  int
}

// write sends about n operations.
func (c *churn) write(t *testing.T, n int) {
	t.Helper()
	var b strings.Builder
	for range n {
		id := c.r.IntN(max(c.n, 1))
		if c.r.IntN(3) == 0 {
			id = c.n
			c.n++
		}
		// An id has one routing of two, which it changes at times: into another shard, or in the same one.
		meta := fmt.Sprintf(`"_id":"id-%d"`, id)
		if id%5 == 0 {
			meta += fmt.Sprintf(`,"routing":"r%d"`, c.r.IntN(3))
		}
		if c.r.IntN(4) == 0 {
			fmt.Fprintf(&b, "{\"delete\":{%s}}\n", meta)
		} else {
			fmt.Fprintf(&b, "{\"index\":{%s}}\n{\"v\":%d,\"one\": 1.0}\n", meta, c.r.Uint32())
		}
	}
	if n > 0 {
		send(t, c.es, "POST", "/i/_bulk", b.String())
	}
}

func (c *churn) shards(t *testing.T, do func(n int) error) {
	t.Helper()
	for n := range 2 {
		require.NoError(t, do(n))
	}
}

// TestLogsHoldWhatTheClusterHeld tries to refute the argument for increments by logs: whatever happens to an index, every snapshot
// holds exactly what the cluster held, by its sidecars and by its lines in order.
func TestLogsHoldWhatTheClusterHeld(t *testing.T) {
	rounds := 80
	if testing.Short() {
		rounds = 30
	}
	for _, seed := range []uint64{1, 2, uint64(time.Now().UnixNano())} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			c := &churn{r: rand.New(rand.NewPCG(seed, 7)), h: estest.NewHandler(nil)}
			c.es = c.h.Transport()
			create(t, c.es, "i", 2)
			repo := repositorytest.New(t)
			type held struct {
				res   *Result
				truth map[string]string
			}
			var all []held
			var changed, compacted, dead, deletes, reused int64
			for round := range rounds {
				var o func(o *Options)
				if c.r.IntN(4) > 0 { // else nothing happens, but for failovers
					c.write(t, c.r.IntN(60))
				}
				switch c.r.IntN(14) {
				case 0: // what was written is not on all copies when the backup looks, and a failover undoes it
					c.shards(t, func(n int) error { return c.h.SetGlobalCheckpoint("i", n, int64(c.r.IntN(c.n+1))) })
					c.write(t, 1+c.r.IntN(60))
				case 1: // the same, undone before the backup looks
					c.shards(t, func(n int) error { return c.h.SetGlobalCheckpoint("i", n, int64(c.r.IntN(2*c.n+1))) })
					c.write(t, 1+c.r.IntN(60))
					send(t, c.es, "POST", "/i/_refresh", "")
					c.shards(t, func(n int) error { _, err := c.h.Failover("i", n); return err })
				case 2:
					c.shards(t, func(n int) error { return c.h.NewHistory("i", n) })
				case 3:
					o = func(o *Options) { o.Increment = IncrementSegments }
				case 4:
					o = func(o *Options) { o.VerifyEvery = 1 }
				case 5: // many at once, so that segments become mostly dead
					c.write(t, 300)
				case 6:
					o = func(o *Options) { o.small = 0 }
				}
				res := runSmall(t, c.es, repo, o)
				truth := live(t, c.es, "i")
				got := contents(t, repoFiles(t, repo, res.Snapshot), res.Manifest)["i"]
				require.True(t, maps.Equal(truth, got), "round %d", round)
				require.Equal(t, res.Documents, res.DocumentsReused+res.DocumentsRead-res.verified())
				all = append(all, held{res, truth})
				changed += res.SegmentsChanged
				reused += res.SegmentsReused
				for _, why := range res.NotReused {
					if strings.Contains(why.Why, "written anew") {
						compacted += why.Segments
					}
				}
				for _, sh := range res.Manifest.Indices[0].Shards {
					dead, deletes = dead+sh.Dead, deletes+sh.Deletes
				}
				if c.r.IntN(2) == 0 {
					c.shards(t, func(n int) error { return c.h.ReleaseGlobalCheckpoint("i", n) })
				} else {
					c.shards(t, func(n int) error { _, err := c.h.Failover("i", n); return err })
				}
			}
			for _, n := range []int64{changed, compacted, dead, deletes, reused} {
				require.Positive(t, n)
			}
			for i, s := range all {
				if i%10 == 0 || i == len(all)-1 {
					src := mustFS(t, repo, s.res.Snapshot)
					for how, load := range loaders {
						require.True(t, maps.Equal(s.truth, load(t, src)), "round %d, loaded %s", i, how)
					}
				}
			}
		})
	}
}

// verified is how many documents were read only to compare them.
func (r *Result) verified() int64 {
	if r.Verified {
		return r.DocumentsReused
	}
	return 0
}

// loaders bring index i back into a new cluster.
var loaders = map[string]func(t *testing.T, src fs.FS) map[string]string{
	"by the sidecar": load,
	"without a sidecar": func(t *testing.T, src fs.FS) map[string]string {
		files := readAll(t, src)
		maps.DeleteFunc(files, func(name string, _ []byte) bool { return strings.HasSuffix(name, ".segments.json") })
		return load(t, fsOf(files))
	},
	"by hand": func(t *testing.T, src fs.FS) map[string]string {
		es := estest.NewHandler(nil).Transport()
		create(t, es, "i", 2)
		for name, b := range readAll(t, src) {
			if !strings.HasSuffix(name, ".ndjson") {
				continue
			}
			lines := bytes.SplitAfter(b, []byte{'\n'})
			for part := range slices.Chunk(lines[:len(lines)-1], 14) { // any even number of lines
				r, err := http.NewRequestWithContext(t.Context(), "POST", "/i/_bulk?pipeline=_none", bytes.NewReader(bytes.Join(part, nil)))
				require.NoError(t, err)
				r.Header.Set("Content-Type", "application/x-ndjson")
				res, err := es.Perform(r)
				require.NoError(t, err)
				require.Equal(t, 200, res.StatusCode)
				require.NoError(t, res.Body.Close())
			}
		}
		return live(t, es, "i")
	},
}

func load(t *testing.T, src fs.FS) map[string]string {
	t.Helper()
	es := estest.NewHandler(nil).Transport()
	p, err := restore.NewPlan(t.Context(), src, es, nil)
	require.NoError(t, err)
	res, err := p.Run(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, res.Documents, p.Manifest.Indices[0].Docs) // in order, what is dead is loaded too
	diff, err := restore.Verify(t.Context(), src, es, nil)
	require.NoError(t, err)
	require.True(t, diff.Identical(), diff.String())
	return live(t, es, "i")
}

// A shrunk index holds one sequence number twice: a segment of such is never a log.
func TestLogOfAShrunkIndex(t *testing.T) {
	es := &counter{next: estest.NewHandler(nil).Transport()}
	create(t, es, "wide", 2)
	index(t, es, "wide", 0, 1500, strings.Repeat("y", 500))
	send(t, es, "PUT", "/wide/_settings", `{"index.blocks.write":true}`)
	send(t, es, "POST", "/wide/_shrink/i", `{"settings":{"index.number_of_shards":1,"index.blocks.write":null}}`)
	repo := repositorytest.New(t)
	o := func(o *Options) { o.Indices, o.shrink = []string{"i"}, 8 }
	first := runSmall(t, es, repo, o)
	for _, id := range []int{1401, 1433, 1450} {
		send(t, es, "DELETE", fmt.Sprintf("/i/_doc/id-%d", id), "")
	}
	index(t, es, "i", 1480, 1490, "new")
	res := runSmall(t, es, repo, o)
	require.EqualValues(t, 1500-3, res.Documents)
	require.Len(t, contents(t, repoFiles(t, repo, res.Snapshot), res.Manifest)["i"], 1500-3)
	require.Equal(t, first.Snapshot.ID, res.Parent.ID)
	require.Positive(t, res.SegmentsReused, "%v", res.NotReused)
	require.Zero(t, res.SegmentsChanged)
	require.Len(t, res.NotReused, 1)
	require.Contains(t, res.NotReused[0].Why, "stand for several documents")
	require.Zero(t, es.ids) // two documents of a shard could have one
}

// A shard that cannot be asked for sequence numbers, and does not say so before, is read whole each time.
func TestUnnumberedIndex(t *testing.T) {
	_, direct := one(t)
	es := &wire{next: direct, stays: true, do: func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
		if r.URL.Path == "/_search" {
			b, err := io.ReadAll(r.Body)
			if err != nil || bytes.Contains(b, []byte("_seq_no\"")) {
				return answer(400, `{"error":{"type":"illegal_argument_exception","reason":"cannot load _seq_no"},"status":400}`)
			}
			r.Body = io.NopCloser(bytes.NewReader(b))
		}
		return next.Perform(r)
	}}
	repo := repositorytest.New(t)
	for n, change := range []bool{false, false, true} {
		if change {
			index(t, direct, "i", 5, 12, "new")
		}
		res := runSmall(t, es, repo, nil)
		requireSame(t, direct, repo, res, "i")
		require.Equal(t, res.Documents, res.DocumentsRead)
		require.Equal(t, n > 0, len(res.NotReused) > 0)
		for _, why := range res.NotReused {
			require.Equal(t, unnumbered, why.Why)
		}
	}
}

// What an older program wrote can be restored and built upon, by whole segments.
func TestParentOfTheFirstFormat(t *testing.T) {
	es := estest.NewHandler(nil).Transport()
	create(t, es, "i", 1)
	index(t, es, "i", 0, 300, "v")
	repo := repositorytest.New(t)
	now := runSmall(t, es, repo, nil)
	old := altered(t, repo, now.Snapshot, func(side *layout.Sidecar, ids [][]byte) {
		side.Format = 1
		for i := range ids {
			var b []byte
			for line := range bytes.Lines(ids[i]) {
				var v []any
				require.NoError(t, json.Unmarshal(line, &v))
				b = append(b, fmt.Sprintf("[%v,%q]\n", v[0], v[2])...)
			}
			ids[i] = b
		}
	})
	require.Equal(t, live(t, es, "i"), load(t, mustFS(t, repo, old)))

	send(t, es, "DELETE", "/i/_doc/id-5", "")
	res := runSmall(t, es, repo, nil)
	require.Equal(t, old.ID, res.Parent.ID)
	requireSame(t, es, repo, res, "i")
	require.Positive(t, res.SegmentsReused)
	require.Zero(t, res.SegmentsChanged)
	require.Equal(t, []NotReused{{Index: "i", Segments: 1, Why: "they are of an older program, which kept no digests of single documents"}}, res.NotReused)

	// The segment that was read has digests now; one that was taken over has none.
	send(t, es, "DELETE", "/i/_doc/id-6", "")
	res = runSmall(t, es, repo, nil)
	requireSame(t, es, repo, res, "i")
	require.EqualValues(t, 1, res.SegmentsChanged)
	require.Empty(t, res.NotReused)
}

// A snapshot that holds other bytes than the cluster, with the same counts, is found by the verification and by nothing else.
func TestVerifyEvery(t *testing.T) {
	_, es := one(t)
	lying := onRequests(es, "/_search", edited(func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`"n":7,`), []byte(`"n":8,`)) }, nil))
	repo := repositorytest.New(t)
	runSmall(t, lying, repo, nil)
	every := func(o *Options) { o.VerifyEvery, o.AllowOmissions = 3, true }
	for n := range 2 {
		res := runSmall(t, es, repo, every)
		require.False(t, res.Verified)
		require.Equal(t, n+1, res.Manifest.Increments)
	}
	o := *small
	every(&o)
	_, err := Run(t.Context(), es, repo, &o)
	var differ *DifferenceError
	require.ErrorAs(t, err, &differ)
	require.Equal(t, "i", differ.Index)
	require.ErrorContains(t, err, "back up index i: shard 0: index i shard 0: sequence numbers [0,10): the earlier snapshots do not hold what the cluster does")
	full := runSmall(t, es, repo, func(o *Options) { o.Full = true })
	require.Zero(t, full.Manifest.Increments)
	for _, verified := range []bool{false, false, true, false, false, true} {
		res := runSmall(t, es, repo, every)
		require.Equal(t, verified, res.Verified)
		require.Equal(t, res.Verified, res.DocumentsRead == res.Documents)
		require.Equal(t, res.Documents, res.DocumentsReused)
	}
}

func TestIncrementOption(t *testing.T) {
	_, es := one(t)
	_, err := Run(t.Context(), es, repositorytest.New(t), &Options{Increment: "x"})
	require.EqualError(t, err, `options: increment "x": want "log" or "segments"`)
}

// Few documents are updated or deleted among many: what that costs is in proportion, also on the wire.
func TestChangesCostInProportion(t *testing.T) {
	es := &counter{next: estest.NewHandler(nil).Transport()}
	create(t, es, "i", 1)
	index(t, es, "i", 0, 8000, "v")
	repo := repositorytest.New(t)
	smaller := func(o *Options) { o.shrink = 4 }
	first := runSmall(t, es, repo, smaller)
	for n := range 9 {
		update, remove := n%3 != 1, n%3 != 0
		for k := range 8 {
			if update {
				index(t, es, "i", k*1000+n, k*1000+n+1, "updated")
			}
			if remove {
				send(t, es, "DELETE", fmt.Sprintf("/i/_doc/id-%d", k*1000+500+n), "")
			}
		}
		before := [...]int{es.places, es.ranges, es.ids}
		res := runSmall(t, es, repo, smaller)
		requireSame(t, es, repo, res, "i")
		require.EqualValues(t, map[bool]int{true: 8}[update], res.DocumentsRead)
		require.Less(t, res.BytesAdded, first.BytesAdded/5)
		require.Empty(t, res.NotReused)
		// New documents tell of updates, sums of deletes: those are looked at once more.
		require.Equal(t, map[bool]int{true: 1}[update], es.ids-before[2])
		require.Equal(t, map[bool]int{true: 1}[remove], es.places-before[0])
		require.Less(t, es.ranges-before[1], 4*8+int(res.Segments)+12)
	}
}

// Many documents die at random and in rows, with and without new ones of their ids.
func TestManyDie(t *testing.T) {
	const docs = 5000
	r := rand.New(rand.NewPCG(5, 6))
	es := &counter{next: estest.NewHandler(nil).Transport()}
	create(t, es, "i", 2)
	index(t, es, "i", 0, docs, "v")
	repo := repositorytest.New(t)
	runSmall(t, es, repo, nil)
	for range 25 {
		var b strings.Builder
		deleted := r.Float64()
		for range []int{1, 3, 10, 40, 100}[r.IntN(5)] {
			row := 1
			if r.IntN(5) == 0 {
				row += r.IntN(60)
			}
			for id := r.IntN(docs); row > 0; row, id = row-1, id+1 {
				if r.Float64() < deleted {
					fmt.Fprintf(&b, "{\"delete\":{\"_id\":\"id-%d\"}}\n", id)
				} else {
					fmt.Fprintf(&b, "{\"index\":{\"_id\":\"id-%d\"}}\n{\"n\":%d}\n", id, r.Uint32())
				}
			}
		}
		send(t, es, "POST", "/i/_bulk", b.String())
		res := runSmall(t, es, repo, nil)
		require.NotNil(t, res.Parent)
		requireSame(t, es, repo, res, "i")
	}
	require.Greater(t, es.ranges, 1000)
	require.Greater(t, es.places, 30)
	require.Greater(t, es.ids, 10)
}

func TestDamagedLogIsRefused(t *testing.T) {
	es := estest.NewHandler(nil).Transport()
	create(t, es, "i", 1)
	index(t, es, "i", 0, 100, "v")
	repo := repositorytest.New(t)
	runSmall(t, es, repo, nil)
	send(t, es, "DELETE", "/i/_doc/id-5", "")
	res := runSmall(t, es, repo, nil)
	require.EqualValues(t, 1, res.Manifest.Indices[0].Shards[0].Dead)
	for from, to := range map[string]string{
		`"dead":[5]`: `"dead":[6]`, `"deletes":1`: `"deletes":2`, `,"dead":[5]`: ``, `"docs":63`: `"docs":62`, `{"format":2`: `{"format":3`,
	} {
		files := repoFiles(t, repo, res.Snapshot)
		name := layout.SidecarPath("i", 0)
		require.Contains(t, string(files[name]), from)
		files[name] = bytes.Replace(files[name], []byte(from), []byte(to), 1)
		p, err := restore.NewPlan(t.Context(), fsOf(files), estest.NewHandler(nil).Transport(), nil)
		require.NoError(t, err)
		_, err = p.Run(t.Context())
		require.Error(t, err, "%s for %s", to, from)
	}
}

// The digest of a document that is stored piece by piece is kept like any other's.
func TestLargeDocumentDies(t *testing.T) {
	es := estest.NewHandler(nil).Transport()
	create(t, es, "i", 1)
	index(t, es, "i", 0, 10, "v")
	send(t, es, "PUT", "/i/_doc/huge", `{"big":"`+strings.Repeat("z", 9<<20)+`"}`)
	index(t, es, "i", 10, 20, "v")
	repo := repositorytest.New(t)
	runSmall(t, es, repo, nil)
	send(t, es, "DELETE", "/i/_doc/huge", "")
	res := runSmall(t, es, repo, nil)
	require.EqualValues(t, 1, res.SegmentsChanged)
	requireSame(t, es, repo, res, "i")
	require.Equal(t, live(t, es, "i"), load(t, mustFS(t, repo, res.Snapshot)))
}

// Without a word every 30th increment verifies; a negative number is never.
func TestVerifyEveryDefault(t *testing.T) {
	_, es := one(t)
	for every, verified := range map[int]int{0: 30, -1: 0} {
		repo := repositorytest.New(t)
		for n := range 32 {
			res := runSmall(t, es, repo, func(o *Options) { o.VerifyEvery = every })
			require.Equal(t, n > 0 && n == verified, res.Verified, "increment %d of %d", n, every)
		}
	}
}
