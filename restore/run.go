package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/escrow-backup/escrow/internal/elastic"
)

// Run carries the plan out, in the order that the package comment gives, and stops at the first error, which names the index, data stream
// or object. What was done before is complete. The Result is never nil.
func (p *Plan) Run(ctx context.Context) (*Result, error) {
	start := time.Now()
	r := &Result{}
	var docs int64
	indices := 0
	for x := range p.all() {
		indices++
		if x.loads() {
			docs += x.Docs
		}
	}
	t := newTracker(p.o.Progress, indices, docs)
	defer t.done()
	defer func() { r.Duration = time.Since(start) }()
	if err := p.removeStale(ctx); err != nil {
		return r, err
	}
	if err := p.writeObjects(ctx, false, r); err != nil {
		return r, err
	}
	if err := p.carryOut(ctx, p.indexUnits(t), r); err != nil {
		return r, err
	}
	if err := p.carryOut(ctx, p.streamUnits(t), r); err != nil {
		return r, err
	}
	if err := p.writeObjects(ctx, true, r); err != nil {
		return r, err
	}
	return r, p.present(ctx)
}

// all are the indices of the plan, those of data streams too.
func (p *Plan) all() iter.Seq[*PlannedIndex] {
	return func(yield func(*PlannedIndex) bool) {
		for i := range p.Indices {
			if !yield(&p.Indices[i]) {
				return
			}
		}
		for _, s := range p.DataStreams {
			for i := range s.Indices {
				if !yield(&s.Indices[i]) {
					return
				}
			}
		}
	}
}

func (r *Result) add(x *PlannedIndex) {
	if x.Action == "complete" {
		r.Kept++
	} else {
		r.Indices++
	}
}

func (p *Plan) restore(ctx context.Context, x *PlannedIndex, r *Result, t *tracker) error {
	switch x.Action {
	case "complete":
		return p.complete(ctx, x)
	case "merge":
		if _, err := p.load(ctx, x, x.To, "", false, r, t); err != nil {
			return err
		}
		return p.c.Refresh(ctx, x.To)
	case "load":
		l, err := p.load(ctx, x, x.To, "", true, r, t)
		if err != nil {
			return fmt.Errorf("%w (what was loaded until then is in it)", err)
		}
		_, err = p.counted(ctx, x.To, l)
		return err
	case "replace":
		return p.replace(ctx, x, r, t)
	}
	ix, err := p.build(ctx, x, x.To, r, t)
	if err == nil {
		err = p.finish(ctx, x, ix)
	}
	if err != nil {
		return p.discard(ctx, ix, err)
	}
	return nil
}

// made is an index that this run created.
type made struct {
	name, uuid, mark string
	docs             int64                      // that it holds, once it is loaded
	extra            map[string]json.RawMessage // settings that a template of the cluster added, nulled
}

func (p *Plan) buildOnce(ctx context.Context, x *PlannedIndex, name string, r *Result, t *tracker) (*made, error) {
	ix, err := p.create(ctx, x, name)
	if err != nil {
		return ix, fmt.Errorf("create: %w", err)
	}
	l, err := p.load(ctx, x, name, ix.mark, true, r, t)
	if err != nil {
		return ix, err
	}
	ix.docs, err = p.counted(ctx, name, l)
	return ix, err
}

// loaded is what was sent to an index.
type loaded struct {
	docs      int64 // of the backup that the index is to hold
	rejected  int64 // of them, or of earlier ones of the same id, at most
	overwrote int64
}

// counted checks that an index which was empty holds what was loaded.
func (p *Plan) counted(ctx context.Context, name string, l *loaded) (int64, error) {
	n, err := p.count(ctx, name)
	if err != nil {
		return 0, err
	}
	if n > l.docs || n < l.docs-l.rejected {
		err := fmt.Errorf("it holds %d documents after loading %d", n, l.docs-l.rejected)
		if l.overwrote > 0 {
			err = fmt.Errorf("%w: %d ids existed already", err, l.overwrote)
		}
		return 0, err
	}
	return n, nil
}

// create makes the index, and takes away what a template added to it that would get in the way.
func (p *Plan) create(ctx context.Context, x *PlannedIndex, name string) (*made, error) {
	ix := &made{name: name, mark: UnfinishedPrefix + random(), extra: map[string]json.RawMessage{}}
	body, err := x.make.body(ix.mark)
	if err != nil {
		return nil, err
	}
	path := "/" + elastic.PathEscape(name)
	// A connection that broke may have left the index behind: then the alias tells that it is ours. So too after a broken
	// last attempt, which is why every error but a clear refusal looks.
	_, cerr := p.c.Do(ctx, elastic.Request{Method: "PUT", Path: path, Body: body})
	lctx, cancel := detached(ctx)
	defer cancel()
	there, err := lookup(lctx, p.c, name)
	if err != nil || there == nil || there.aliases[ix.mark] == nil {
		if cerr == nil {
			cerr = errors.Join(errors.New("the index is not there, or another one is"), err)
			if there != nil {
				cerr = errors.New("there is an index of its name now that was not made as it was asked for; the server makes system indices so, as it sees fit: " +
					"restore the documents alone, into that")
			}
		}
		return nil, cerr
	}
	ix.uuid = there.text("uuid")
	if cerr != nil && !errors.Is(cerr, fs.ErrExist) {
		return ix, cerr
	}
	var actions []any
	for alias := range there.aliases {
		if alias != ix.mark {
			actions = append(actions, map[string]any{"remove": map[string]string{"index": name, "alias": alias}})
		}
	}
	if len(actions) > 0 {
		if err := p.putAliases(ctx, actions); err != nil {
			return ix, err
		}
	}
	for s := range there.settings {
		_, wanted := x.make.later["index."+s]
		if strings.HasPrefix(s, "blocks.") {
			ix.extra["index."+s] = null
		} else if elastic.Match(deferred, s) && !wanted && s != "number_of_replicas" && s != "routing.allocation.include._tier_preference" {
			ix.extra["index."+s] = null
		}
	}
	if len(ix.extra) > 0 {
		return ix, p.putSettings(ctx, name, ix.extra)
	}
	return ix, nil
}

// load sends all shards of an index. Everything is acknowledged, or refused and may be, when it returns nil. mark is the alias of an
// index that this run made, empty for one that existed; fresh says that it is empty.
func (p *Plan) load(ctx context.Context, x *PlannedIndex, name, mark string, fresh bool, r *Result, t *tracker) (*loaded, error) {
	if p.o.MetadataOnly {
		return &loaded{}, nil
	}
	s := newSender(p.es, &p.o, fresh)
	s.alias = mark
	s.progress = func(_ string, docs, bytes int64) { t.docs(x.To, docs, bytes) }
	var sources []iter.Seq2[Document, error]
	var docs int64
	var kept atomic.Int64
	src := newLargeReads(ctx, p.src, s.large)
	for i := range x.index.Shards {
		sh := &x.index.Shards[i]
		docs += sh.Docs
		sources = append(sources, shardDocuments(ctx, src, x.From, sh, name, p.o.keeper(), &kept))
	}
	if docs != x.Docs {
		return nil, fmt.Errorf("manifest: %w: %d documents, its shards hold %d", ErrDamaged, x.Docs, docs)
	}
	if x.small(&p.o) {
		s.lanes = 1
		if err := p.slots.Acquire(ctx, 1); err != nil {
			return nil, context.Cause(ctx)
		}
		defer p.slots.Release(1)
	}
	err := s.load(ctx, sources)
	s.addTo(r)
	// A refusal tells more than what it led to.
	if refused := s.rej.err(); refused != nil {
		if all := p.rejected.Add(s.rejected.Load()); err != nil || p.o.MaxRejects >= 0 && all > p.o.MaxRejects {
			return nil, errors.Join(refused, err)
		}
	}
	r.LeftOut += docs - kept.Load()
	return &loaded{docs: kept.Load(), rejected: s.rejected.Load(), overwrote: s.overwrote.Load()}, err
}

// count refreshes an index and counts its documents.
func (p *Plan) count(ctx context.Context, index string) (int64, error) {
	if err := p.c.Refresh(ctx, index); err != nil {
		return 0, err
	}
	var out struct{ Count *int64 }
	err := p.c.Sharded(ctx, elastic.Request{Method: "GET", Path: "/" + elastic.PathEscape(index) + "/_count"}, &out)
	if err == nil && out.Count == nil {
		err = errors.New("count: the answer has none")
	}
	if err != nil {
		return 0, err
	}
	return *out.Count, nil
}

// finish puts what was set aside: settings, then aliases and with them the end of the unfinished state, then blocks, which would
// forbid the others.
func (p *Plan) finish(ctx context.Context, x *PlannedIndex, ix *made) error {
	if err := p.putSettings(ctx, x.To, x.make.later); err != nil {
		return fmt.Errorf("put settings back: %w", err)
	}
	var actions []any
	for alias, def := range x.make.aliases {
		add := map[string]any{}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(def, &fields); err != nil {
			return fmt.Errorf("alias %s: %w", alias, err)
		}
		for k, v := range fields {
			add[k] = v
		}
		add["index"], add["alias"] = x.To, alias
		actions = append(actions, map[string]any{"add": add})
	}
	actions = append(actions, map[string]any{"remove": map[string]any{"index": x.To, "alias": ix.mark}})
	if err := p.putAliases(ctx, actions); err != nil && !p.marked(ctx, x, ix, err) {
		return fmt.Errorf("put aliases: %w", err)
	}
	if len(x.make.blocks) > 0 {
		if err := p.putSettings(ctx, x.To, x.make.blocks); err != nil {
			return fmt.Errorf("put blocks back: %w", err)
		}
	}
	return nil
}

// marked reports whether the aliases were put in spite of err: a repeated request finds the mark gone.
func (p *Plan) marked(ctx context.Context, x *PlannedIndex, ix *made, err error) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	there, lerr := lookup(ctx, p.c, x.To)
	if lerr != nil || there == nil || there.text("uuid") != ix.uuid || there.aliases[ix.mark] != nil {
		return false
	}
	for alias := range x.make.aliases {
		if there.aliases[alias] == nil {
			return false
		}
	}
	return true
}

func (p *Plan) putAliases(ctx context.Context, actions []any) error {
	body, err := json.Marshal(map[string]any{"actions": actions})
	if err != nil {
		return err
	}
	return p.acknowledged(ctx, elastic.Request{Method: "POST", Path: "/_aliases", Body: body})
}

func (p *Plan) putSettings(ctx context.Context, index string, settings map[string]json.RawMessage) error {
	if len(settings) == 0 {
		return nil
	}
	body, err := json.Marshal(maps.Clone(settings))
	if err != nil {
		return err
	}
	return p.acknowledged(ctx, elastic.Request{Method: "PUT", Path: "/" + elastic.PathEscape(index) + "/_settings", Body: body})
}

// acknowledged sends a change of the cluster state. One that not every node confirmed in time is an error.
func (p *Plan) acknowledged(ctx context.Context, r elastic.Request) error {
	var out struct{ Acknowledged bool }
	if r.Query == nil {
		r.Query = url.Values{}
	}
	r.Query.Set("timeout", "60s")
	if err := p.c.JSON(ctx, r, &out); err != nil {
		return err
	}
	if !out.Acknowledged {
		return fmt.Errorf("%s %s: not acknowledged within 60 s", r.Method, r.Path)
	}
	return nil
}

// detached is for what must be tidied up, also when ctx has ended.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
}

var errLeft = errors.New("could not be deleted")

// discard deletes an index that this run made and did not complete, and only that. It returns the cause, and what became of
// the index.
func (p *Plan) discard(ctx context.Context, ix *made, cause error) error {
	if ix == nil {
		return cause
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	err := p.remove(ctx, ix)
	if err != nil {
		return fmt.Errorf("%w (the unfinished index %s %w: %w)", cause, ix.name, errLeft, err)
	}
	return fmt.Errorf("%w (the unfinished index %s was deleted again)", cause, ix.name)
}

// remove deletes ix, if it is still the index of that name.
func (p *Plan) remove(ctx context.Context, ix *made) error {
	there, err := lookup(ctx, p.c, ix.name)
	if err != nil || there == nil {
		return err
	}
	if there.text("uuid") != ix.uuid {
		return errors.New("another index has its name now")
	}
	if there.blocked("read_only", "metadata") != "" {
		err := p.putSettings(ctx, ix.name, map[string]json.RawMessage{"index.blocks.read_only": null, "index.blocks.metadata": null})
		if err != nil {
			return err
		}
	}
	return p.delete(ctx, ix.name)
}

// delete deletes an index; that it is gone already is no error.
func (p *Plan) delete(ctx context.Context, name string) error {
	err := p.acknowledged(ctx, elastic.Request{Method: "DELETE", Path: "/" + elastic.PathEscape(name)})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
