package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"

	"github.com/escrow-backup/escrow/internal/elastic"
)

// replace loads beside the index that is there and swaps the two once the new one is whole. Until the swap a failure leaves the
// old index as it was. After it the loaded index is kept until a clone of it has taken the name.
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
		return fmt.Errorf("%w (all documents of the backup are in index %s)", err, temp.name)
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
		Query: url.Values{"wait_for_active_shards": {"all"}, "timeout": {"60s"}}, Body: body,
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
	if err := p.active(ctx, x.To); err != nil {
		return nil, err
	}
	// The null above leaves the setting behind with no value.
	return ix, p.putSettings(ctx, x.To, map[string]json.RawMessage{"index.blocks.write": null})
}

// active waits until every primary of an index without replicas is allocated.
func (p *Plan) active(ctx context.Context, index string) error {
	var out struct {
		TimedOut bool   `json:"timed_out"`
		Status   string `json:"status"`
	}
	err := p.c.JSON(ctx, elastic.Request{
		Method: "GET", Path: "/_cluster/health/" + elastic.PathEscape(index),
		Query: url.Values{"wait_for_status": {"yellow"}, "timeout": {"120s"}}, Accept: []int{408},
	}, &out)
	if err != nil {
		return err
	}
	if out.TimedOut || out.Status == "red" {
		return fmt.Errorf("its shards are not allocated after 120 s (health %s)", out.Status)
	}
	return nil
}
