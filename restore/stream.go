package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

// PlannedStream is one data stream of a Plan.
type PlannedStream struct {
	From, To string
	Action   string         // "create", "skip", "replace"; "resume" with one that an interrupted restore made
	Docs     int64          // in the backup, of all its indices
	Indices  []PlannedIndex // backing indices, oldest first; then those of the failure store

	failure   int                 // how many of Indices are of the failure store
	there     *elastic.DataStream // that an interrupted restore left; nil: it made none
	filler    string              // that it left in it
	stream    *layout.Stream
	described elastic.DataStream
}

// planStreams decides about the data streams, and returns those that exist.
func (p *Plan) planStreams(ctx context.Context, chosen []streamChoice, left *leftovers) (exist []string, err error) {
	if len(chosen) == 0 {
		return nil, nil
	}
	if p.o.DocumentsOnly {
		return nil, fmt.Errorf("data stream %s: its documents cannot be restored alone, since its older indices take none; restore it "+
			"whole, under another name if need be", chosen[0].stream.Name)
	}
	templates, err := p.templates(ctx)
	if err != nil {
		return nil, err
	}
	for _, ch := range chosen {
		s := PlannedStream{From: ch.stream.Name, To: ch.to, Action: "create", failure: ch.failure}
		if s.stream, err = readStream(p.src, p.Manifest, s.From, &s.described); err != nil {
			return nil, err
		}
		if err := p.o.adaptStream(s.stream); err != nil {
			return nil, fmt.Errorf("data stream %s: %w", s.From, err)
		}
		there, err := p.c.DataStream(ctx, s.To)
		if err != nil {
			return nil, fmt.Errorf("data stream %s: %w", s.To, err)
		}
		for _, c := range ch.members {
			if err := p.takeCopies(left, c.to); err != nil {
				return nil, fmt.Errorf("data stream %s: %w", s.To, err)
			}
		}
		unlike := ""
		if p.o.Resume {
			if unlike, err = p.resumeStream(ctx, &s, &ch, there, left); err != nil {
				return nil, fmt.Errorf("data stream %s: %w", s.To, err)
			}
			if unlike == "" {
				if err := makesStream(templates, s.To); err != nil {
					return nil, err
				}
				p.DataStreams = append(p.DataStreams, s)
				continue
			}
			s.Action, s.Indices, s.Docs = "create", nil, 0
			unlike = " (not one that an interrupted restore left: " + unlike + ")"
		} else if len(left.fillers[s.To]) > 0 {
			return nil, fmt.Errorf("data stream %s: index %s was left by a restore that was interrupted; Resume goes on with it: %w", s.To,
				left.fillers[s.To][0].name, fs.ErrExist)
		}
		if there != nil {
			if p.o.MetadataOnly && p.o.Conflict == Replace {
				return nil, fmt.Errorf("data stream %s: replacing it by its metadata alone would lose its documents", s.To)
			}
			switch p.o.Conflict {
			case Fail:
				exist = append(exist, "data stream "+s.To+unlike)
			case Merge:
				return nil, fmt.Errorf("data stream %s exists, and cannot be merged with: it takes new documents only. "+
					"Restore it under another name, skip or replace it: %w", s.To, fs.ErrExist)
			}
			if s.Action = string(p.o.Conflict); p.o.Conflict == Fail {
				continue
			}
		} else if found, err := resolve(ctx, p.c, s.To); err != nil || len(found) > 0 {
			return nil, fmt.Errorf("data stream %s: %w", s.To, errors.Join(err, fmt.Errorf("an index or alias has its name%s: %w", p.interrupted(found, &ch, unlike), fs.ErrExist)))
		}
		for _, c := range ch.members {
			x, taken, err := p.member(ctx, c, &s)
			if err != nil {
				return nil, fmt.Errorf("data stream %s: index %s: %w", s.To, c.to, err)
			}
			if taken != "" {
				exist = append(exist, taken)
			}
			s.Docs += x.Docs
			s.Indices = append(s.Indices, *x)
		}
		if s.Action != "skip" {
			if err := makesStream(templates, s.To); err != nil {
				return nil, err
			}
		}
		p.DataStreams = append(p.DataStreams, s)
	}
	return exist, nil
}

// member plans an index of a data stream; taken says that its name is not free, and must be.
func (p *Plan) member(ctx context.Context, c choice, s *PlannedStream) (x *PlannedIndex, taken string, err error) {
	if x, err = p.newMember(ctx, c); err != nil {
		return nil, "", err
	}
	x.Action = s.Action
	if s.Action == "skip" {
		return x, "", nil
	}
	there, err := lookup(ctx, p.c, x.To)
	if err != nil || there == nil {
		return x, "", err
	}
	if there.stream != "" && there.stream != s.To {
		return nil, "", fmt.Errorf("it belongs to data stream %s: %w", there.stream, fs.ErrExist)
	}
	if p.o.Conflict == Skip || p.o.Conflict == Merge {
		return nil, "", fmt.Errorf("there is an index %s, and no data stream that it belongs to: %w", x.exists(there), fs.ErrExist)
	}
	if p.o.Conflict == Fail {
		taken = x.exists(there)
	}
	return x, taken, nil
}

// newMember is an index of a data stream that is to be made.
func (p *Plan) newMember(ctx context.Context, c choice) (*PlannedIndex, error) {
	x := &PlannedIndex{From: c.index.Name, To: c.to, Docs: c.index.Docs, index: c.index, Action: "create"}
	meta, err := p.metadata(ctx, x)
	if err != nil {
		return nil, err
	}
	x.make = newCreation(meta)
	x.make.setAside("index.lifecycle.name")
	x.Removed = append(x.make.removed, x.Removed...)
	return x, nil
}

// interrupted says more of an alias that has the name of a data stream, where it is what an interrupted restore leaves.
func (p *Plan) interrupted(found map[string]*metadata, ch *streamChoice, unlike string) string {
	for _, c := range ch.members {
		if found[c.to] != nil && !p.o.Resume {
			return ", as an interrupted restore leaves it, which Resume goes on with"
		}
	}
	return unlike
}

// readStream reads what a backup keeps of a data stream.
func readStream(src fs.FS, m *layout.Manifest, name string, d *elastic.DataStream) (*layout.Stream, error) {
	all, err := layout.ReadSection(src, m, layout.DataStreams)
	if err != nil {
		return nil, fmt.Errorf("data stream %s: %w", name, err)
	}
	s := &layout.Stream{}
	err = json.Unmarshal(all[name], s)
	if err == nil {
		err = json.Unmarshal(s.DataStream, d)
	}
	if err != nil {
		return nil, fmt.Errorf("data stream %s: read %s: %w", name, layout.SectionPath(layout.DataStreams), err)
	}
	return s, nil
}

// template is what matters of an index template here.
type template struct {
	Patterns   []string         `json:"index_patterns"`
	Priority   int64            `json:"priority"`
	DataStream *json.RawMessage `json:"data_stream"`
}

// templates are the index templates that the cluster will have when data streams are made.
func (p *Plan) templates(ctx context.Context) (map[string]template, error) {
	i := slices.IndexFunc(elastic.Sections(), func(s *elastic.Section) bool { return s.Name == "index_templates" })
	raw, err := p.c.Objects(ctx, elastic.Sections()[i])
	if err != nil {
		return nil, fmt.Errorf("index templates: %w", err)
	}
	for i := range p.Objects {
		if x := &p.Objects[i]; x.Section == "index_templates" && x.writes() {
			raw[x.Name] = x.raw
		}
	}
	all := map[string]template{}
	for name, r := range raw {
		var t template
		if err := json.Unmarshal(r, &t); err != nil {
			return nil, fmt.Errorf("index template %s: %w", name, err)
		}
		all[name] = t
	}
	return all, nil
}

// makesStream checks that the template which counts for a name is one for data streams: the server makes none otherwise.
func makesStream(templates map[string]template, name string) error {
	var best *template
	by := ""
	for n, t := range templates {
		if elastic.Match(t.Patterns, name) && (best == nil || t.Priority > best.Priority) {
			best, by = &t, n
		}
	}
	switch {
	case best == nil:
		return fmt.Errorf("data stream %s: the cluster has no index template for this name; restore the sections component_templates and "+
			"index_templates as well, or make one: %w", name, fs.ErrNotExist)
	case best.DataStream == nil:
		return fmt.Errorf("data stream %s: index template %s, which is the one for this name, makes no data streams", name, by)
	}
	return nil
}

// restoreStream loads all indices of a data stream, and makes it of them once each is whole. Until then a failure leaves the
// cluster as it was.
func (p *Plan) restoreStream(ctx context.Context, s *PlannedStream, r *Result, t *tracker) error {
	built := make([]*made, len(s.Indices))
	fail := func(err error) error {
		for _, ix := range built {
			err = p.discard(ctx, ix, err)
		}
		return err
	}
	var units []unit
	for i := range s.Indices {
		x := &s.Indices[i]
		small := x.small(&p.o)
		units = append(units, unit{what: "index " + x.To, small: small, do: func(ctx context.Context, r *Result) (err error) {
			if small {
				if err := p.beside.Acquire(ctx, 1); err != nil {
					return context.Cause(ctx)
				}
				defer p.beside.Release(1)
			}
			if built[i], err = p.buildMember(ctx, s, x, r, t); err == nil {
				t.update(func(q *Progress) { q.Index, q.IndicesDone = x.To, q.IndicesDone+1 })
			}
			return err
		}})
	}
	if err := p.carryOut(ctx, units, r); err != nil {
		return fail(err)
	}
	if ctx.Err() != nil {
		return fail(context.Cause(ctx))
	}
	if s.Action == "replace" {
		// The first of them were loaded long ago, and have no replicas.
		for i, ix := range built {
			n, err := p.count(ctx, ix.name)
			if err == nil && n != ix.docs {
				err = fmt.Errorf("%d documents, want %d", n, ix.docs)
			}
			if err != nil {
				return fail(fmt.Errorf("index %s: look at its copy again: %w", s.Indices[i].To, err))
			}
		}
	}
	// From here on an interruption would leave indices without their data stream: what follows runs to its end.
	ctx = context.WithoutCancel(ctx)
	final := built
	if s.Action == "replace" {
		var err error
		if final, err = p.swapStream(ctx, s, built); err != nil {
			return fmt.Errorf("%w (the old data stream is gone, or may be; what was loaded is in indices whose names end with -escrow- and a random text, and Resume makes the data stream of the backup)", err)
		}
	}
	if err := p.assemble(ctx, s, final); err != nil {
		return fmt.Errorf("%w (its indices are whole)", err)
	}
	if s.Action == "replace" {
		for _, ix := range built {
			if err := p.remove(ctx, ix); err != nil {
				return fmt.Errorf("it is complete, but the copy %s could not be deleted: %w", ix.name, err)
			}
		}
	}
	return nil
}

// buildMember builds an index of a data stream, under a name of its own if it is to take another's place.
func (p *Plan) buildMember(ctx context.Context, s *PlannedStream, x *PlannedIndex, r *Result, t *tracker) (*made, error) {
	if x.kept != nil {
		return x.kept, nil
	}
	name := x.To
	if s.Action == "replace" {
		name += copyInfix + random()
	}
	ix, err := p.build(ctx, x, name, r, t)
	switch {
	case err != nil:
	case s.Action == "replace":
		err = p.putSettings(ctx, name, map[string]json.RawMessage{"index.blocks.write": json.RawMessage("true")})
	default:
		err = p.markWhole(ctx, ix)
	}
	return ix, err
}

// swapStream removes the data stream that is there, and clones what was loaded to the names that it had.
func (p *Plan) swapStream(ctx context.Context, s *PlannedStream, temps []*made) ([]*made, error) {
	err := p.acknowledged(ctx, elastic.Request{Method: "DELETE", Path: "/_data_stream/" + elastic.PathEscape(s.To)})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("delete the old data stream: %w", err)
	}
	var final []*made
	for i := range s.Indices {
		x := &s.Indices[i]
		if err := p.delete(ctx, x.To); err != nil {
			return nil, fmt.Errorf("delete the old index %s: %w", x.To, err)
		}
		ix, err := p.clone(ctx, x, temps[i])
		if err != nil {
			return nil, fmt.Errorf("clone %s: %w", x.To, err)
		}
		n, err := p.count(ctx, x.To)
		if err == nil && n != temps[i].docs {
			err = fmt.Errorf("the clone holds %d documents, want %d", n, temps[i].docs)
		}
		if err != nil {
			return nil, fmt.Errorf("index %s: %w", x.To, err)
		}
		final = append(final, ix)
	}
	return final, nil
}

// assemble makes a data stream of indices that are whole: the one that is written to becomes a data stream of its own, and the
// others are put before it. The generation cannot be set; every index that is put in or taken out raises it by one.
func (p *Plan) assemble(ctx context.Context, s *PlannedStream, indices []*made) error {
	backing, filler := s.backing(), s.filler
	need := s.described.Generation - int64(len(s.Indices)) // one for the data stream, and one for every index but the first
	if s.there != nil {
		missing := len(s.Indices) - len(s.there.Indices) - len(s.there.Failure)
		need = s.described.Generation - s.there.Generation - int64(missing)
		if filler == "" && need == 1 {
			need = 0 // one goes in and out
		}
	}
	if need > 0 && filler == "" {
		filler = fillerPrefix + random()
		body := fmt.Sprintf(`{"settings":{"index.number_of_shards":1,"index.number_of_replicas":0,"index.hidden":true},`+
			`"mappings":{"_meta":{%q:%s},"properties":{"@timestamp":{"type":"date"}}}}`, fillerFor, layout.AppendString(nil, s.To))
		if _, err := p.c.Do(ctx, elastic.Request{Method: "PUT", Path: "/" + filler, Body: []byte(body)}); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("create: %w", err)
		}
	}
	err := p.arrange(ctx, s, backing, indices, filler, need%2 != 0)
	if filler != "" {
		if derr := p.delete(ctx, filler); err == nil && derr != nil {
			err = fmt.Errorf("delete %s: %w", filler, derr)
		}
	}
	if err != nil {
		return err
	}
	if err := p.dress(ctx, s); err != nil {
		return err
	}
	for i := range s.Indices {
		x := &s.Indices[i]
		for _, settings := range []map[string]json.RawMessage{x.make.aside, x.make.blocks} {
			if err := p.putMissing(ctx, x, settings); err != nil {
				return fmt.Errorf("index %s: put settings back: %w", x.To, err)
			}
		}
	}
	return nil
}

// arrange makes the data stream and gives it its indices. odd says that the filler is in it from the beginning.
func (p *Plan) arrange(ctx context.Context, s *PlannedStream, backing []PlannedIndex, indices []*made, filler string, odd bool) error {
	var actions []any
	for i := range s.Indices {
		x := &s.Indices[i]
		if err := p.putMissing(ctx, x, x.make.later); err != nil {
			return fmt.Errorf("index %s: put settings back: %w", x.To, err)
		}
		if indices[i].mark != "" {
			actions = append(actions, map[string]any{"remove": map[string]any{"index": x.To, "alias": indices[i].mark, "must_exist": false}})
		}
	}
	write := backing[len(backing)-1].To
	if s.there == nil {
		actions = append(actions, map[string]any{"add": map[string]any{"index": write, "alias": s.To, "is_write_index": true}})
		if filler != "" && odd {
			actions = append(actions, map[string]any{"add": map[string]any{"index": filler, "alias": s.To}})
		}
	}
	if len(actions) > 0 {
		if err := p.putAliases(ctx, actions); err != nil {
			return fmt.Errorf("put the alias that becomes the data stream: %w", err)
		}
	}
	var merr error
	if s.there == nil {
		// Where it was done and the answer lost, a second one is refused: what counts is that the data stream is there.
		merr = p.acknowledged(ctx, elastic.Request{Method: "POST", Path: "/_data_stream/_migrate/" + elastic.PathEscape(s.To)})
	}
	for tries := 0; ; tries++ {
		d, err := p.c.DataStream(ctx, s.To)
		if err == nil && d == nil {
			err = errors.Join(errors.New("it was not made"), merr)
		}
		if err != nil {
			return err
		}
		steps, err := s.steps(d, backing, filler)
		if err != nil || len(steps) == 0 {
			return err
		}
		body, err := json.Marshal(map[string]any{"actions": steps})
		if err != nil {
			return err
		}
		err = p.acknowledged(ctx, elastic.Request{Method: "POST", Path: "/_data_stream/_modify", Body: body, Once: true})
		if err != nil && (tries >= p.o.Retries || !elastic.Retryable(err)) {
			return fmt.Errorf("put its indices into it: %w", err)
		}
		if err == nil {
			tries = -1
		} else if err := p.c.Sleep(ctx, elastic.Backoff(tries)); err != nil {
			return err
		}
	}
}

// backing are the indices that are not of the failure store.
func (s *PlannedStream) backing() []PlannedIndex { return s.Indices[:len(s.Indices)-s.failure] }

// maxSteps bounds one request.
const maxSteps = 100

// steps are what is still to be done to a data stream as the server describes it.
func (s *PlannedStream) steps(d *elastic.DataStream, backing []PlannedIndex, filler string) ([]any, error) {
	var steps []any
	step := func(kind, index string, failure bool) {
		a := map[string]any{"data_stream": s.To, "index": index}
		if failure {
			a["failure_store"] = true
		}
		steps = append(steps, map[string]any{kind: a})
	}
	in := false
	for _, part := range []struct {
		want    []PlannedIndex
		have    []elastic.StreamIndex
		failure bool
	}{{backing, d.Indices, false}, {s.Indices[len(backing):], d.Failure, true}} {
		var have, want []string
		for _, x := range part.have {
			if x.Name == filler {
				in = true
			} else {
				have = append(have, x.Name)
			}
		}
		for _, x := range part.want {
			want = append(want, x.To)
		}
		first := len(want) - len(have)
		if first < 0 || !slices.Equal(want[first:], have) {
			return nil, fmt.Errorf("it holds %s, want %s: something else changed it", strings.Join(have, ", "), strings.Join(want, ", "))
		}
		for first > 0 {
			first-- // what is added becomes the oldest
			step("add_backing_index", want[first], part.failure)
		}
	}
	left := s.described.Generation - d.Generation - int64(len(steps))
	for filler != "" && len(steps) < maxSteps && (in || left >= 2) {
		if in {
			step("remove_backing_index", filler, false)
		} else {
			step("add_backing_index", filler, false)
		}
		in = !in
		left--
	}
	return steps, nil
}

// dress gives a data stream its aliases, its lifecycle and its options.
func (p *Plan) dress(ctx context.Context, s *PlannedStream) error {
	d, err := p.c.DataStream(ctx, s.To)
	if err == nil && d == nil {
		err = errors.New("it is not there any more")
	}
	if err != nil {
		return err
	}
	now, err := p.c.Stream(ctx, d)
	if err != nil {
		return err
	}
	var have, want map[string]map[string]json.RawMessage
	for raw, into := range map[*json.RawMessage]*map[string]map[string]json.RawMessage{&now.Aliases: &have, &s.stream.Aliases: &want} {
		if len(*raw) == 0 {
			continue
		}
		if err := json.Unmarshal(*raw, into); err != nil {
			return fmt.Errorf("aliases: %w", err)
		}
	}
	var actions []any
	for alias := range have {
		if want[alias] == nil {
			actions = append(actions, map[string]any{"remove": map[string]any{"index": s.To, "alias": alias, "must_exist": false}})
		}
	}
	for alias, def := range want {
		add := map[string]any{"index": s.To, "alias": alias}
		if diff, err := unlike("alias", def, have[alias], true); err != nil || diff == "" && have[alias] != nil {
			if err != nil {
				return fmt.Errorf("alias %s: %w", alias, err)
			}
			continue
		}
		for k, v := range def {
			add[k] = v
		}
		actions = append(actions, map[string]any{"add": add})
	}
	if len(actions) > 0 {
		if err := p.putAliases(ctx, actions); err != nil {
			return fmt.Errorf("put aliases: %w", err)
		}
	}
	for _, part := range streamParts {
		if err := p.putPart(ctx, s, part, part.of(s.stream), part.of(now)); err != nil {
			return fmt.Errorf("put %s: %w", part.name, err)
		}
	}
	return nil
}

// streamPart is something of a data stream that has a request of its own.
type streamPart struct {
	name   string
	delete bool // it can be taken away
	of     func(*layout.Stream) json.RawMessage
}

var streamParts = []streamPart{
	{"lifecycle", true, func(s *layout.Stream) json.RawMessage { return s.Lifecycle }},
	{"options", true, func(s *layout.Stream) json.RawMessage { return s.Options }},
	{"settings", false, func(s *layout.Stream) json.RawMessage { return s.Settings }},
	{"mappings", false, func(s *layout.Stream) json.RawMessage { return s.Mappings }},
}

// computed are members that the server works out by itself.
var computed = []string{"effective_retention", "retention_determined_by"}

func (p *Plan) putPart(ctx context.Context, s *PlannedStream, part streamPart, want, have json.RawMessage) error {
	diffs, err := comparePart(part.name, want, have)
	if err != nil || len(diffs) == 0 {
		return err
	}
	path := "/_data_stream/" + elastic.PathEscape(s.To) + "/_" + part.name
	if len(want) == 0 {
		if !part.delete {
			return nil
		}
		return p.acknowledged(ctx, elastic.Request{Method: "DELETE", Path: path})
	}
	body, err := dropComputed(want)
	if err != nil {
		return err
	}
	if part.delete {
		return p.acknowledged(ctx, elastic.Request{Method: "PUT", Path: path, Body: body})
	}
	var out struct {
		Streams []struct {
			Applied bool   `json:"applied_to_data_stream"`
			Error   string `json:"error"`
		} `json:"data_streams"`
	}
	if err := p.c.JSON(ctx, elastic.Request{Method: "PUT", Path: path, Body: body}, &out); err != nil {
		return err
	}
	if len(out.Streams) != 1 || !out.Streams[0].Applied {
		return fmt.Errorf("PUT %s: it was not applied: %v", path, out.Streams)
	}
	return nil
}

func comparePart(name string, want, have json.RawMessage) ([]string, error) {
	var flat [2]map[string]string
	for i, raw := range []json.RawMessage{want, have} {
		if len(raw) == 0 {
			raw = json.RawMessage("{}")
		}
		b, err := dropComputed(raw)
		if err != nil {
			return nil, err
		}
		if flat[i], err = leaves(b); err != nil {
			return nil, err
		}
	}
	return compareFlat(name, flat[0], flat[1]), nil
}

// dropComputed removes what the server works out, at any depth.
func dropComputed(raw json.RawMessage) (json.RawMessage, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	for k, v := range m {
		if slices.Contains(computed, k) {
			delete(m, k)
		} else if len(v) > 0 && v[0] == '{' {
			w, err := dropComputed(v)
			if err != nil {
				return nil, err
			}
			m[k] = w
		}
	}
	return json.Marshal(m)
}
