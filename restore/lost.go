package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"slices"
	"strconv"

	"github.com/escrow-backup/escrow/internal/elastic"
)

// buildAttempts is how often an index is made whose shards go with nodes.
const buildAttempts = 3

// lostShard is a shard that no node serves: its primary is nowhere, or only being looked for.
type lostShard struct {
	index  string
	number int
	left   bool // it went with a node
}

func hasLeft(l lostShard) bool { return l.left }

func (l *lostShard) String() string {
	if l.left {
		return fmt.Sprintf("index %s: shard %d was on a node that is gone, and no other has a copy", l.index, l.number)
	}
	return fmt.Sprintf("index %s: shard %d has no primary", l.index, l.number)
}

// lost returns the shards of an index that no node serves, or of all indices if it is empty. By index and number.
func (p *Plan) lost(ctx context.Context, index string) ([]lostShard, error) {
	var out struct {
		Table struct {
			Indices map[string]struct {
				Shards map[string][]struct {
					State      string
					Primary    bool
					Unassigned struct{ Reason string } `json:"unassigned_info"`
				}
			}
		} `json:"routing_table"`
	}
	err := p.c.JSON(ctx, elastic.Request{Method: "GET", Path: "/_cluster/state/routing_table/" + elastic.PathEscape(cmp.Or(index, "*")),
		Query: url.Values{"expand_wildcards": {"all"}, "filter_path": {"routing_table.indices.*.shards.*.state,routing_table.indices.*.shards.*.primary," +
			"routing_table.indices.*.shards.*.unassigned_info.reason"}}}, &out)
	if err != nil {
		return nil, err
	}
	var all []lostShard
	for name, ix := range out.Table.Indices {
		for number, copies := range ix.Shards {
			n, err := strconv.Atoi(number)
			if err != nil {
				return nil, fmt.Errorf("index %s: shard number %q", name, number)
			}
			for _, c := range copies {
				if c.Primary && c.State != "STARTED" && c.State != "RELOCATING" {
					all = append(all, lostShard{name, n, c.Unassigned.Reason == "NODE_LEFT"})
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b lostShard) int {
		return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(a.number, b.number))
	})
	return all, nil
}

// build makes an index and loads it. When it returns nil the index holds every document. A made that is not nil is to be
// discarded after an error. While it is loaded it has no replicas: where a node is lost with a shard of it, it is made anew on the others.
func (p *Plan) build(ctx context.Context, x *PlannedIndex, name string, r *Result, t *tracker) (*made, error) {
	for attempt := 1; ; attempt++ {
		before := *r
		ix, err := p.buildOnce(ctx, x, name, r, t)
		if err == nil || ix == nil || ctx.Err() != nil {
			return ix, err
		}
		lost, lerr := p.lost(ctx, name)
		if lerr != nil || len(lost) == 0 {
			return ix, err // which says what is the matter
		}
		err = fmt.Errorf("%s: %w", &lost[0], err)
		if attempt == buildAttempts || !slices.ContainsFunc(lost, hasLeft) {
			return ix, err
		}
		p.o.Logger.LogAttrs(ctx, slog.LevelWarn, "make index anew", slog.String("index", name), slog.Any("error", err))
		if rerr := p.remove(ctx, ix); rerr != nil {
			return ix, errors.Join(err, rerr)
		}
		docs, bytes := r.Documents-before.Documents, r.Bytes-before.Bytes
		t.docs(x.To, -docs, -bytes)
		p.rejected.Add(before.Rejected - r.Rejected)
		*r = before
	}
}

// present checks that what was loaded is still there at the end, for the first indices had no replicas, or got them only just now, when
// a node was lost over the later ones. A node that starts again is waited for. That the user may not ask is logged.
func (p *Plan) present(ctx context.Context) error {
	loaded := map[string]bool{}
	for x := range p.all() {
		loaded[x.To] = x.Action != "skip"
	}
	if p.o.MetadataOnly || len(loaded) == 0 {
		return nil
	}
	query := url.Values{}
	for attempt := 0; ; attempt++ {
		lost, err := p.lostIfRed(ctx, query)
		if errors.Is(err, fs.ErrPermission) {
			p.o.Logger.Warn("no right to ask whether all shards are there", "error", err)
			return nil
		}
		if err != nil {
			return fmt.Errorf("restore: ask whether all shards are there: %w", err)
		}
		i := slices.IndexFunc(lost, func(l lostShard) bool { return loaded[l.index] })
		if i < 0 {
			return nil
		}
		if attempt >= p.o.Retries {
			return fmt.Errorf("restore: %s (it was loaded whole before)", &lost[i])
		}
		query = url.Values{"wait_for_status": {"yellow"}, "timeout": {shardTimeout}}
		if err := p.c.Sleep(ctx, elastic.Backoff(attempt)); err != nil {
			return err
		}
	}
}

// lostIfRed is lost for all indices of the cluster, whose health is asked first: that is little, and in general it says that nothing is lost.
func (p *Plan) lostIfRed(ctx context.Context, query url.Values) ([]lostShard, error) {
	var health struct{ Status string }
	err := p.c.JSON(ctx, elastic.Request{Method: "GET", Path: "/_cluster/health", Query: query, Accept: []int{408}}, &health)
	if err != nil || health.Status != "red" {
		return nil, err
	}
	return p.lost(ctx, "")
}
