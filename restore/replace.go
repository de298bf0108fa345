package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"

	"github.com/escrow-backup/escrow/internal/elastic"
)

// replace loads beside the index that is there and swaps the two once the new one is whole. Until the swap a failure leaves the
// old index as it was. After it the loaded index is kept until a clone of it has taken the name; whatever becomes of the two, a restore that
// resumes this one makes the index of the backup.
func (p *Plan) replace(ctx context.Context, x *PlannedIndex, r *Result, t *tracker) error {
	temp, err := p.build(ctx, x, x.To+copyInfix+random(), r, t)
	if err == nil {
		err = p.putSettings(ctx, temp.name, map[string]json.RawMessage{"index.blocks.write": json.RawMessage("true")})
	}
	if err == nil {
		err = p.sameOld(ctx, x)
	}
	if err != nil {
		return p.discard(ctx, temp, err)
	}
	// From here on an interruption would leave the cluster without the index: what follows runs to its end.
	ctx = context.WithoutCancel(ctx)
	if err := p.swap(ctx, x, temp); err != nil {
		if lost, lerr := p.lost(ctx, x.To+","+temp.name); lerr == nil && len(lost) > 0 {
			i := max(slices.IndexFunc(lost, hasLeft), 0)
			err = fmt.Errorf("%s: %w", &lost[i], err)
		}
		return fmt.Errorf("%w (the old index is gone, or may be; what was loaded is in index %s, and Resume makes the index of the backup)", err, temp.name)
	}
	if err := p.remove(ctx, temp); err != nil {
		return fmt.Errorf("it is complete, but the copy %s could not be deleted: %w", temp.name, err)
	}
	return nil
}

// sameOld checks that the index to be replaced is still the one that was planned to be.
func (p *Plan) sameOld(ctx context.Context, x *PlannedIndex) error {
	there, err := lookup(ctx, p.c, x.To)
	if err != nil {
		return err
	}
	if there != nil && there.text("uuid") != x.oldUUID {
		return errors.New("another index has taken its name since the plan was made")
	}
	return nil
}

func (p *Plan) swap(ctx context.Context, x *PlannedIndex, temp *made) error {
	if err := p.delete(ctx, x.To); err != nil {
		return fmt.Errorf("delete the old index: %w", err)
	}
	ix, err := p.clone(ctx, x, temp)
	if err != nil {
		return fmt.Errorf("clone: %w", err)
	}
	n, err := p.count(ctx, x.To)
	if err != nil {
		return err
	}
	if n != temp.docs {
		return fmt.Errorf("the clone holds %d documents, want %d", n, temp.docs)
	}
	return p.finish(ctx, x, ix)
}

// clone makes a writable copy of temp under the final name and waits until its shards are there.
func (p *Plan) clone(ctx context.Context, x *PlannedIndex, temp *made) (*made, error) {
	ix := &made{name: x.To, mark: UnfinishedPrefix + random()}
	body, err := json.Marshal(map[string]any{
		"settings": map[string]any{
			"index.blocks.write": nil, "index.number_of_replicas": "0", "index.auto_expand_replicas": "false",
		},
		"aliases": map[string]any{ix.mark: map[string]any{"is_hidden": true}},
	})
	if err != nil {
		return nil, err
	}
	_, cerr := p.c.Do(ctx, elastic.Request{
		Method: "PUT", Path: "/" + elastic.PathEscape(temp.name) + "/_clone/" + elastic.PathEscape(x.To),
		Query: url.Values{"wait_for_active_shards": {"0"}, "timeout": {"60s"}}, Body: body,
	})
	if cerr != nil && !errors.Is(cerr, fs.ErrExist) {
		return nil, cerr
	}
	there, err := lookup(ctx, p.c, x.To)
	if err != nil {
		return nil, err
	}
	if there == nil || there.aliases[ix.mark] == nil {
		return nil, errors.Join(errors.New("another index has taken its name meanwhile"), cerr)
	}
	ix.uuid = there.text("uuid")
	if err := p.active(ctx, x.To, temp); err != nil {
		return nil, err
	}
	// The null above leaves the setting behind with no value.
	return ix, p.putSettings(ctx, x.To, map[string]json.RawMessage{"index.blocks.write": null})
}

// activeAttempts is how often active asks, which the server answers after shardTimeout at the latest.
const activeAttempts = 12

// active waits until every primary of a clone is allocated: it has no replicas, and is yellow while they are being so. Where a shard of it, or
// of its source, was on a node that is gone, it waits as long as a document for its shard: see Options.Retries.
func (p *Plan) active(ctx context.Context, clone string, source *made) error {
	for attempt := 1; ; attempt++ {
		var health struct {
			TimedOut bool   `json:"timed_out"`
			Status   string `json:"status"`
		}
		err := p.c.JSON(ctx, elastic.Request{
			Method: "GET", Path: "/_cluster/health/" + elastic.PathEscape(clone),
			Query: url.Values{"wait_for_status": {"green"}, "timeout": {shardTimeout}}, Accept: []int{408},
		}, &health)
		if err != nil {
			return err
		}
		if !health.TimedOut && health.Status == "green" {
			return nil
		}
		lost, err := p.lost(ctx, clone+","+source.name)
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		if slices.ContainsFunc(lost, hasLeft) && attempt > p.o.Retries || attempt >= activeAttempts {
			return fmt.Errorf("its shards are not allocated after %d times %s (health %s)", attempt, shardTimeout, health.Status)
		}
	}
}
