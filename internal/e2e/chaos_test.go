package e2e_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/internal/e2e/esproxy"
	"github.com/escrow-backup/escrow/internal/e2e/esserver"
	"github.com/escrow-backup/escrow/restore"
)

const chaosIndex = "chaos"

// chaosNumber is a parameter of TestChaos.
func chaosNumber(t *testing.T, name string, otherwise uint64) uint64 {
	text := os.Getenv("ESCROW_CHAOS_" + name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err, "ESCROW_CHAOS_%s", name)
	return n
}

// TestChaos tries to refute the argument on which increments rest. Writers index, update and delete in an index of three nodes
// with two replicas; the node that holds a primary is killed, and started again, over and over; backups are made all the time, by
// logs and by segments. Each snapshot, restored elsewhere, has to equal a dump that the test took by itself of the very points in
// time that the backup read, and has to hold every write that was acknowledged before the backup began, or whose sequence number the
// checkpoint covers. ESCROW_CHAOS_KILLS and ESCROW_CHAOS_BACKUPS say how many of each there are at least, ESCROW_CHAOS_SEED repeats the
// random choices of a run, as far as a cluster can be repeated. With a number of kills it runs on all versions, without on the newest.
func TestChaos(t *testing.T) {
	t.Parallel()
	all := versions()
	if os.Getenv("ESCROW_CHAOS_KILLS") == "" {
		all = all[len(all)-1:]
	}
	for _, v := range all {
		t.Run(string(v), func(t *testing.T) { runChaos(t, v) })
	}
}

func runChaos(t *testing.T, v esserver.Version) {
	judge := server(t, v)
	c := &chaos{
		seed: chaosNumber(t, "SEED", uint64(time.Now().UnixNano())), began: time.Now(), writes: map[chaosKey][]chaosWrite{},
		pits: map[string]*chaosPIT{},
	}
	c.shardOf = func(k chaosKey) int { return estest.ShardOf(k.id, k.routing, 2) }
	if v == esserver.V9 {
		c.shardOf = func(k chaosKey) int { return estest.PlainShardOf(k.id, k.routing, 2) }
	}
	kills, backups := int(chaosNumber(t, "KILLS", 2)), int(chaosNumber(t, "BACKUPS", 4))
	t.Cleanup(func() {
		if t.Failed() || testing.Verbose() {
			t.Logf("seed %d; what happened:\n%s", c.seed, strings.Join(c.events, "\n"))
		}
	})
	c.cluster = startThree(t, v, nil)
	e := &es{url: c.cluster.Nodes[0].URL, version: v}
	e.do(t, "PUT", "/"+chaosIndex, `{"settings":{"number_of_shards":2,"number_of_replicas":2,"unassigned.node_left.delayed_timeout":"60s"},
		"mappings":{"dynamic":false}}`)
	e.do(t, "GET", "/_cluster/health/"+chaosIndex+"?wait_for_status=green&timeout=60s", "")
	c.seedDocuments(t, e)

	var addresses []*url.URL
	for _, n := range c.cluster.Nodes {
		proxy := esproxy.Start(t, n.URL, nil)
		proxy.Add(&esproxy.Rule{Match: method("POST", "/_pit"), Mutate: func(r *http.Request, status int, body []byte) (int, []byte) {
			c.opened(r, n.URL, status, body)
			return status, body
		}})
		u, err := url.Parse(proxy.URL)
		require.NoError(t, err)
		addresses = append(addresses, u)
	}
	client, err := elastictransport.NewClient(elastictransport.WithURLs(addresses...), elastictransport.WithDisableRetry())
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() { c.write(ctx, w) })
	}
	wg.Go(func() { c.kill(ctx, kills) })
	defer func() {
		cancel()
		wg.Wait()
	}()

	repo := newRepo(t, filepath.Join(t.TempDir(), "repo"))
	var reused, changed, unjudged, failed int64
	judged, sealed := 0, 0
	deadline := time.Now().Add(time.Duration(kills+backups) * time.Minute)
	for n := 0; judged < backups || c.killed() < kills; n++ {
		require.True(t, time.Now().Before(deadline), "%d kills, %d backups, %d failed", c.killed(), judged, failed)
		o := &backup.Options{Indices: []string{chaosIndex}, Sections: []string{"none"}, SealTimeout: 5 * time.Second}
		if n%3 == 2 {
			o.Increment = backup.IncrementSegments
		}
		acknowledged := c.begin()
		res, err := backup.Run(t.Context(), client, repo, o)
		if err != nil {
			c.event("backup %d failed: %v", n, err)
			failed++
			continue
		}
		reused += res.SegmentsReused
		changed += res.SegmentsChanged
		c.event("backup %d (%s): %d documents, %d read, %d of %d segments reused, %d changed, %v", n, o.Increment, res.Documents, res.DocumentsRead,
			res.SegmentsReused, res.Segments, res.SegmentsChanged, res.NotReused)
		want, seqs, err := c.dump(len(res.Manifest.Indices[0].Shards))
		if err != nil {
			c.event("backup %d is not judged: %v", n, err)
			unjudged++
			continue
		}
		back := fmt.Sprintf("chaos-back-%d", n)
		judge.removeLater(t, back)
		runRestore(t, judge, files(t, repo, res.Snapshot), &restore.Options{Rename: []restore.Rename{{From: chaosIndex, To: back}}})
		got := contents{}
		judge.read(t, got, false, back)
		judge.remove(t, back)
		same(t, want, got.renamed(func(string) string { return chaosIndex }))
		var checkpoints []int64
		for _, sh := range res.Manifest.Indices[0].Shards {
			checkpoints = append(checkpoints, sh.GlobalCheckpoint)
			if sh.Sealed {
				sealed++
			} else {
				c.event("shard %d is not sealed: %s", sh.Number, sh.Reason)
			}
		}
		c.acknowledged(t, want, seqs, acknowledged, checkpoints)
		judged++
	}
	c.mu.Lock()
	acked := 0
	for _, all := range c.writes {
		acked += len(all)
	}
	c.mu.Unlock()
	t.Logf("seed %d: %d kills, %d backups judged, %d failed, %d not judged, %d shards sealed; %d segments reused, %d of them changed; %d writes acknowledged; %s",
		c.seed, c.killed(), judged, failed, unjudged, sealed, reused, changed, acked, time.Since(c.began).Round(time.Second))
	require.Positive(t, reused, "nothing was reused: this shows nothing")
	require.Positive(t, changed, "no segment had lost documents: this shows nothing")
}

type chaosKey struct{ id, routing string }

// chaosWrite is a write of a document: what the server said of it, or that it said nothing.
type chaosWrite struct {
	at      time.Time // of the answer
	shard   int       // -1: nobody knows whether it was done
	seq     int64
	deleted bool
	hash    [32]byte // of the source; zero where the server made it
}

// chaosPIT is a point in time that a backup opened, and what the test itself read of it.
type chaosPIT struct {
	docs contents
	seqs map[chaosKey]int64
	err  error
}

type chaos struct {
	shardOf func(k chaosKey) int
	seed    uint64
	began   time.Time
	cluster *esserver.Cluster

	mu     sync.Mutex
	events []string
	kills  int
	writes map[chaosKey][]chaosWrite // of one document by one writer, in order
	pits   map[string]*chaosPIT      // the last that was opened, by shard
}

func (c *chaos) event(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, fmt.Sprintf("%8.3fs ", time.Since(c.began).Seconds())+fmt.Sprintf(format, args...))
}

func (c *chaos) killed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kills
}

// begin forgets the points in time of earlier backups, and says when this one begins.
func (c *chaos) begin() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.pits)
	return time.Now()
}

var chaosClient = &http.Client{Timeout: 20 * time.Second}

// ask sends a request to a node, which may die over it.
func (c *chaos) ask(ctx context.Context, method, address, body string, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := chaosClient.Do(req)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %.300s", res.Status, b)
	}
	return json.Unmarshal(b, out)
}

// opened reads all of a point in time that a backup is just being given.
func (c *chaos) opened(r *http.Request, node string, status int, body []byte) {
	shard := strings.TrimPrefix(r.URL.Query().Get("preference"), "_shards:")
	p := &chaosPIT{docs: contents{}, seqs: map[chaosKey]int64{}}
	var pit struct{ ID string }
	if err := json.Unmarshal(body, &pit); status == http.StatusOK && err == nil {
		p.err = p.read(context.WithoutCancel(r.Context()), c, node, pit.ID)
		c.event("point in time on shard %s: %d documents, %v", shard, len(p.docs), p.err)
	} else {
		p.err = fmt.Errorf("point in time on shard %s: status %d", shard, status)
	}
	c.mu.Lock()
	c.pits[shard] = p
	c.mu.Unlock()
}

func (p *chaosPIT) read(ctx context.Context, c *chaos, node, id string) error {
	after := ""
	for {
		var page struct {
			ID       string `json:"pit_id"`
			TimedOut bool   `json:"timed_out"`
			Shards   struct{ Failed int }
			Hits     struct {
				Hits []struct {
					ID      string          `json:"_id"`
					Routing string          `json:"_routing"`
					SeqNo   int64           `json:"_seq_no"`
					Source  json.RawMessage `json:"_source"`
					Sort    json.RawMessage `json:"sort"`
				}
			}
		}
		body := fmt.Sprintf(`{"size":3000,"track_total_hits":false,"seq_no_primary_term":true,"sort":[{"_shard_doc":"asc"}],"pit":{"id":%q,"keep_alive":"1m"}%s}`, id, after)
		if err := c.ask(ctx, "POST", node+"/_search?allow_partial_search_results=false", body, &page); err != nil {
			return err
		}
		if page.TimedOut || page.Shards.Failed > 0 {
			return errors.New("a page is not complete")
		}
		for _, h := range page.Hits.Hits {
			p.docs[key{chaosIndex, h.ID, h.Routing}] = sha256.Sum256(h.Source)
			p.seqs[chaosKey{h.ID, h.Routing}] = h.SeqNo
		}
		if len(page.Hits.Hits) == 0 {
			return nil
		}
		id = page.ID
		after = fmt.Sprintf(`,"search_after":%s`, page.Hits.Hits[len(page.Hits.Hits)-1].Sort)
	}
}

// dump is what the test read of the points in time of the last backup.
func (c *chaos) dump(shards int) (contents, map[chaosKey]int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	docs, seqs := contents{}, map[chaosKey]int64{}
	for n := range shards {
		p := c.pits[strconv.Itoa(n)]
		if p == nil || p.err != nil {
			return nil, nil, fmt.Errorf("shard %d: %+v", n, p)
		}
		for k, h := range p.docs {
			docs[k] = h
		}
		for k, s := range p.seqs {
			seqs[k] = s
		}
	}
	return docs, seqs, nil
}

// acknowledged requires of every document that the snapshot holds its last write that was acknowledged before the backup, or that
// the checkpoint covers, or a later one.
func (c *chaos) acknowledged(t *testing.T, docs contents, seqs map[chaosKey]int64, before time.Time, checkpoints []int64) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var bad []string
	for k, all := range c.writes {
		last := -1
		for i, w := range all {
			if w.shard >= 0 && (w.at.Before(before) || w.seq <= checkpoints[w.shard]) {
				last = i
			}
		}
		if last < 0 {
			continue
		}
		w := all[last]
		seq, there := seqs[k]
		switch {
		case there && seq < w.seq:
			bad = append(bad, fmt.Sprintf("%v: the snapshot has sequence number %d, acknowledged was %+v", k, seq, w))
		case there && seq == w.seq && (w.deleted || w.hash != [32]byte{} && w.hash != docs[key{chaosIndex, k.id, k.routing}]):
			bad = append(bad, fmt.Sprintf("%v: the snapshot has another document, acknowledged was %+v", k, w))
		case !there && !w.deleted && !slices.ContainsFunc(all, func(x chaosWrite) bool { return x.deleted && (x.shard < 0 || x.seq > w.seq) }):
			bad = append(bad, fmt.Sprintf("%v: the snapshot does not have it, acknowledged was %+v", k, w))
		}
	}
	require.Empty(t, bad[:min(len(bad), 20)], "%d documents; checkpoints %v", len(bad), checkpoints)
}

// kill ends the node of a primary and starts it again, times times and then as long as ctx lives.
func (c *chaos) kill(ctx context.Context, times int) {
	r := rand.New(rand.NewPCG(c.seed, 1))
	for n := 0; n < times; n++ {
		if sleepFor(ctx, time.Duration(1000+r.IntN(4000))*time.Millisecond) != nil {
			return
		}
		var shards []struct{ Shard, Prirep, Node string }
		victim := -1
		want := fmt.Sprint(r.IntN(2))
		if err := c.ask(ctx, "GET", c.cluster.URL()+"/_cat/shards/"+chaosIndex+"?format=json", "", &shards); err == nil {
			for _, s := range shards {
				for i, node := range c.cluster.Nodes {
					if s.Prirep == "p" && s.Shard == want && s.Node == node.Name {
						victim = i
					}
				}
			}
		}
		if victim < 0 {
			n--
			continue
		}
		c.event("kill %s, the primary of shard %s", c.cluster.Nodes[victim].Name, want)
		c.cluster.Kill(victim)
		c.mu.Lock()
		c.kills++
		c.mu.Unlock()
		if sleepFor(ctx, time.Duration(r.IntN(3000))*time.Millisecond) != nil {
			return
		}
		if err := c.cluster.Begin(victim); err != nil {
			c.event("start %s: %v", c.cluster.Nodes[victim].Name, err)
			return
		}
		// The next may die only when a copy of everything is on every node again.
		for {
			var health struct {
				TimedOut bool `json:"timed_out"`
			}
			err := c.ask(ctx, "GET", c.cluster.Nodes[victim].URL+"/_cluster/health/"+chaosIndex+"?wait_for_nodes=3&wait_for_status=green&timeout=5s", "", &health)
			if err == nil && !health.TimedOut {
				break
			}
			if sleepFor(ctx, 300*time.Millisecond) != nil {
				return
			}
		}
		c.event("%s is back", c.cluster.Nodes[victim].Name)
	}
}

func sleepFor(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// seedDocuments makes an index with something below its checkpoint to take over.
func (c *chaos) seedDocuments(t *testing.T, e *es) {
	l, r := e.loader(t), rand.New(rand.NewPCG(c.seed, 2))
	for n := range 20_000 {
		l.index(chaosIndex, fmt.Sprintf("old-%d", n), "", logLine(r, n))
	}
	l.flush()
}

// write is a writer: it alone touches its documents.
func (c *chaos) write(ctx context.Context, writer int) {
	r := rand.New(rand.NewPCG(c.seed, 10+uint64(writer)))
	made := 0
	for ctx.Err() == nil {
		var body bytes.Buffer
		var keys []chaosKey
		var sent []chaosWrite
		for range 1 + r.IntN(40) {
			w := chaosWrite{shard: -1}
			n := r.IntN(made + 1)
			if r.IntN(3) == 0 {
				made++
				n = made
			}
			k := chaosKey{id: fmt.Sprintf("w%d-%d", writer, n)}
			if r.IntN(8) == 0 {
				k.id = fmt.Sprintf("old-%d", 3*r.IntN(20_000/3)+writer) // of the documents that were there before
			} else if n%7 == 0 {
				k.routing = fmt.Sprintf("r%d", n%3)
			}
			if slices.Contains(keys, k) {
				continue
			}
			meta, err := json.Marshal(map[string]string{"_id": k.id, "routing": k.routing})
			if err != nil {
				c.event("writer %d: %v", writer, err)
				return
			}
			if k.routing == "" {
				meta = fmt.Appendf(nil, `{"_id":%q}`, k.id)
			}
			source := logLine(r, n)
			switch r.IntN(6) {
			case 0:
				w.deleted = true
				fmt.Fprintf(&body, "{\"delete\":%s}\n", meta)
			case 1:
				fmt.Fprintf(&body, "{\"update\":%s}\n{\"doc\":{\"updated\":%d},\"doc_as_upsert\":true}\n", meta, r.Uint32())
			default:
				w.hash = sha256.Sum256(source)
				fmt.Fprintf(&body, "{\"index\":%s}\n%s\n", meta, source)
			}
			keys, sent = append(keys, k), append(sent, w)
		}
		var answer struct {
			Items []map[string]struct {
				Status int
				SeqNo  *int64              `json:"_seq_no"`
				Shards struct{ Total int } `json:"_shards"`
			}
		}
		node := c.cluster.Nodes[r.IntN(len(c.cluster.Nodes))]
		err := c.ask(ctx, "POST", node.URL+"/"+chaosIndex+"/_bulk", body.String(), &answer)
		now := time.Now()
		c.mu.Lock()
		for i, k := range keys {
			w := sent[i]
			w.at = now
			if err == nil && i < len(answer.Items) {
				for _, item := range answer.Items[i] {
					if item.SeqNo != nil && item.Status < 500 {
						w.seq, w.shard = *item.SeqNo, c.shardOf(k)
					}
				}
			}
			c.writes[k] = append(c.writes[k], w)
		}
		c.mu.Unlock()
		if sleepFor(ctx, time.Duration(100+r.IntN(300))*time.Millisecond) != nil {
			return
		}
	}
}
