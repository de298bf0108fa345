package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
)

// many are the small indices, of perIndex documents each.
const (
	many     = "many-*"
	perIndex = 10
)

// manyIndices backs up many small indices, again without a change, and restores them one after the other and several at once, beside the
// server's own snapshot of them.
func (b *bench) manyIndices(ctx context.Context) error {
	limit := fmt.Sprintf(`{"persistent":{"cluster.max_shards_per_node":%d}}`, b.indices+1000)
	if err := call(ctx, "PUT", b.s.url+"/_cluster/settings", limit, nil); err != nil {
		return err
	}
	if err := b.fillMany(ctx); err != nil {
		return err
	}
	taken := map[string][]cost{}
	for range loads(b.rounds) {
		if err := os.RemoveAll(b.repo("many")); err != nil {
			return err
		}
		for _, name := range []string{"backup", "unchanged"} {
			o, err := b.do(ctx, task{Do: "backup", Index: many, Repo: b.repo("many"), Concurrency: b.concurrency, Method: "-many-" + name})
			if err != nil {
				return err
			}
			if want := map[string]int{"backup": b.indices * perIndex}[name]; o.Docs != int64(want) {
				return fmt.Errorf("%s: %d documents were read, want %d", name, o.Docs, want)
			}
			taken[name] = append(taken[name], o.Cost)
		}
	}
	repo := b.s.url + "/_snapshot/many"
	if err := call(ctx, "PUT", repo, `{"type":"fs","settings":{"location":"many","max_restore_bytes_per_sec":"0","max_snapshot_bytes_per_sec":"0"}}`, nil); err != nil {
		return err
	}
	c, err := b.native(ctx, "PUT", repo+"/s")
	if err != nil {
		return err
	}
	taken["snapshot"] = append(taken["snapshot"], c)
	for round := range loads(b.rounds) {
		// At a time; 0: as many as if nothing is said. The server compiles what it runs often: not while that is measured.
		order := []int{1, 0}
		if round == 0 {
			order = []int{0, 1, 0}
		}
		for i, n := range order {
			if err := b.removeMany(ctx); err != nil {
				return err
			}
			o, err := b.do(ctx, task{Do: "restore", Index: many, To: many, Repo: b.repo("many"), AtOnce: n, Method: fmt.Sprintf("-many-%d", n)})
			if err != nil {
				return err
			}
			if err := b.checkMany(ctx); err != nil {
				return err
			}
			if i >= len(order)-2 {
				name := fmt.Sprint("restore ", n)
				taken[name] = append(taken[name], o.Cost)
			}
		}
		if err := b.removeMany(ctx); err != nil {
			return err
		}
		c, err := b.native(ctx, "POST", repo+"/s/_restore")
		if err != nil {
			return err
		}
		if err := b.checkMany(ctx); err != nil {
			return err
		}
		taken["native"] = append(taken["native"], c)
	}
	fmt.Printf("Elasticsearch %s, %d indices of %d documents in a shard each\n\n", b.version, b.indices, perIndex)
	t := table{indices: true}
	of := func(name string) cost { return median(taken[name]) }
	for _, row := range []struct{ name, key string }{
		{"escrow, full backup", "backup"},
		{"escrow, increment without a change", "unchanged"},
		{"the server's snapshot into a file system", "snapshot"},
		{"escrow, restore, one at a time", "restore 1"},
		{"escrow, restore", "restore 0"},
		{"the server's restore of its snapshot", "native"},
	} {
		t.method(row.name, b.indices, of(row.key))
	}
	t.ratio("restore: times the throughput of one at a time", of("restore 1").Wall/of("restore 0").Wall, true, 0)
	t.ratio("restore: server CPU beside one at a time", of("restore 0").Server/of("restore 1").Server, false, 0)
	t.ratio("restore: time beside the server's own", of("restore 0").Wall/of("native").Wall, false, 0)
	t.ratio("full backup: time beside the server's own", of("backup").Wall/of("snapshot").Wall, false, 0)
	t.ratio("unchanged: time, % of the full backup's", 100*of("unchanged").Wall/of("backup").Wall, false, 0)
	t.print()
	fmt.Println()
	return b.removeMany(ctx)
}

func (b *bench) manyNames() []string {
	var names []string
	for n := range b.indices {
		names = append(names, fmt.Sprintf("many-%05d", n))
	}
	return names
}

// fillMany makes the small indices, of one shard each.
func (b *bench) fillMany(ctx context.Context) error {
	template := b.s.url + "/_index_template/many"
	err := call(ctx, "PUT", template, `{"index_patterns":["`+many+`"],"template":{"settings":{"number_of_shards":1,"number_of_replicas":0},"mappings":{
		"dynamic_templates":[{"texts":{"match_mapping_type":"string","mapping":{"type":"keyword"}}}],
		"properties":{"@timestamp":{"type":"date"},"message":{"type":"text"},"client":{"properties":{"ip":{"type":"ip"}}}}}}}`, nil)
	if err != nil {
		return err
	}
	log := newLogger(11, false)
	var line []byte
	for some := range slices.Chunk(b.manyNames(), 100) { // one change of the cluster's state makes all of them
		var body []byte
		for _, name := range some {
			for n := range perIndex {
				line = log.append(line[:0])
				body = fmt.Appendf(body, `{"index":{"_index":%q,"_id":%q}}`+"\n", name, id(n))
				body = append(append(body, line...), '\n')
			}
		}
		if err := bulk(ctx, b.s.url, body); err != nil {
			return err
		}
	}
	if err := call(ctx, "DELETE", template, "", nil); err != nil {
		return err
	}
	return call(ctx, "POST", b.s.url+"/"+many+"/_refresh", "", nil)
}

func (b *bench) checkMany(ctx context.Context) error {
	n, err := b.s.count(ctx, many)
	if err == nil && n != b.indices*perIndex {
		err = fmt.Errorf("%d documents of %d indices were restored", n, b.indices)
	}
	return err
}

func (b *bench) removeMany(ctx context.Context) error {
	for some := range slices.Chunk(b.manyNames(), 100) {
		if err := b.s.remove(ctx, strings.Join(some, ",")); err != nil {
			return err
		}
	}
	return nil
}

// native is a request that has the server make or restore a snapshot of the small indices.
func (b *bench) native(ctx context.Context, method, url string) (cost, error) {
	if err := b.s.settle(ctx); err != nil {
		return cost{}, err
	}
	var out struct {
		Snapshot struct {
			Shards struct{ Total, Successful int }
		}
	}
	c, err := timed(b.s.pid, func() error {
		return call(ctx, method, url+"?wait_for_completion=true", `{"indices":"`+many+`","include_global_state":false}`, &out)
	})
	if s := out.Snapshot.Shards; err == nil && (s.Total != b.indices || s.Successful != s.Total) {
		err = fmt.Errorf("%s %s: %d of %d shards", method, url, s.Successful, s.Total)
	}
	c.CPU = 0
	return c, err
}
