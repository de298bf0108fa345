package restore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

const (
	// wholePrefix begins the mark of an index that is loaded, and waits for the others of its data stream.
	wholePrefix  = UnfinishedPrefix + "whole-"
	copyInfix    = "-escrow-"       // between the name of an index and the random end of a copy's
	fillerPrefix = "escrow-filler-" // see assemble
	// fillerFor is the member of _meta in which a filler's mapping names its data stream.
	fillerFor = "escrow_data_stream"
)

var copyName = regexp.MustCompile(`^(.+)` + copyInfix + `[a-z2-7]{10}$`)

func (m *metadata) whole() bool {
	return slices.ContainsFunc(keysOf(m.aliases), func(a string) bool { return strings.HasPrefix(a, wholePrefix) })
}

// found is an index of the cluster as what a run goes on with, or takes away.
func found(name string, m *metadata) *made {
	ix := &made{name: name, uuid: m.text("uuid")}
	for _, a := range keysOf(m.aliases) {
		if strings.HasPrefix(a, UnfinishedPrefix) {
			ix.mark = a
		}
	}
	return ix
}

// leftovers are the copies and fillers that interrupted restores left behind.
type leftovers struct {
	copies  map[string][]*made // by the name that the copy was for
	fillers map[string][]*made // by data stream
}

// leftBehind asks the cluster for what interrupted restores left.
func (p *Plan) leftBehind(ctx context.Context) (*leftovers, error) {
	l := &leftovers{copies: map[string][]*made{}, fillers: map[string][]*made{}}
	var all map[string]*metadata
	err := p.c.JSON(ctx, elastic.Request{Method: "GET", Path: "/" + elastic.PathEscape(UnfinishedPrefix+"*,"+fillerPrefix+"*"),
		Query: map[string][]string{"expand_wildcards": {"all"}}}, &all)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for what an interrupted restore left: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		m := all[name]
		if c := copyName.FindStringSubmatch(name); c != nil && m.unfinished() {
			l.copies[c[1]] = append(l.copies[c[1]], found(name, m))
		}
		var mapping struct {
			Meta map[string]json.RawMessage `json:"_meta"`
		}
		if err := json.Unmarshal(m.mappings, &mapping); err == nil && strings.HasPrefix(name, fillerPrefix) && mapping.Meta[fillerFor] != nil {
			of := text(mapping.Meta[fillerFor])
			l.fillers[of] = append(l.fillers[of], found(name, m))
		}
	}
	return l, nil
}

// takeCopies decides about the copies of an index: with Resume they go, else they are an error.
func (p *Plan) takeCopies(left *leftovers, name string) error {
	if !p.o.Resume && len(left.copies[name]) > 0 {
		return fmt.Errorf("index %s: the copy %s was left by a restore that was interrupted; Resume takes it away and goes on: %w", name,
			left.copies[name][0].name, fs.ErrExist)
	}
	p.stale = append(p.stale, left.copies[name]...)
	return nil
}

// resume decides about an index that exists. It returns nil if that is one that an interrupted restore made, and else what is there.
func (p *Plan) resume(ctx context.Context, x *PlannedIndex, there *metadata) (*metadata, error) {
	if there.unfinished() {
		p.stale = append(p.stale, found(x.To, there))
		return nil, nil
	}
	if err := p.compare(ctx, x, there, ""); err != nil || x.unlike != "" {
		return there, err
	}
	x.Action, x.there = "complete", there
	return nil, nil
}

// compare finds out whether an index of the cluster is what this restore makes, and else sets x.unlike. What is done last may be missing.
// alias is one that it may have besides.
func (p *Plan) compare(ctx context.Context, x *PlannedIndex, there *metadata, alias string) (err error) {
	want := maps.Clone(x.make.settings)
	for _, name := range []string{"number_of_replicas", "auto_expand_replicas", "write.wait_for_active_shards", "default_pipeline", "final_pipeline"} {
		delete(want, "index."+name) // as they are while it is loaded
	}
	whole := there.whole()
	if !whole {
		maps.Copy(want, x.make.later)
	}
	x.unlike = ""
	if there.text("verified_before_close") == "true" {
		x.unlike = "it is closed"
		return nil
	}
	for _, name := range keysOf(want) {
		if v := want[name]; string(v) != string(null) && text(v) != there.text(strings.TrimPrefix(name, "index.")) {
			x.unlike = fmt.Sprintf("setting %s is %q, and would be %q", name, there.text(strings.TrimPrefix(name, "index.")), text(v))
			return nil
		}
	}
	parts := []struct {
		name       string
		want, have any
		exact      bool
	}{{"mapping", x.make.mappings, there.mappings, false}}
	if !whole {
		have := maps.Clone(there.aliases)
		delete(have, alias)
		parts = append(parts, struct {
			name       string
			want, have any
			exact      bool
		}{"aliases", x.make.aliases, have, true})
	}
	for _, part := range parts {
		if x.unlike, err = unlike(part.name, part.want, part.have, part.exact); err != nil || x.unlike != "" {
			return err
		}
	}
	n, err := p.count(ctx, x.To)
	if err != nil {
		return err
	}
	if keep := p.o.keeper(); keep == nil && n != x.Docs || n > x.Docs {
		x.unlike = fmt.Sprintf("it holds %d documents, and the backup %d", n, x.Docs)
		return nil
	}
	if x.Docs == 0 {
		return nil
	}
	v := &verifier{src: p.src, o: p.o, c: p.c, diff: &Diff{}, t: newTracker(nil, 0, 0)}
	if v.cluster, err = p.c.Info(ctx); err != nil {
		return err
	}
	same, err := v.same(ctx, choice{index: x.index, to: x.To})
	if err == nil && !same {
		x.unlike = "its documents are others"
	}
	return err
}

// unlike says what of want is not in have, and if they are to be exactly the same, what of have is not in want.
func unlike(name string, want, have any, exact bool) (string, error) {
	var flat [2]map[string]string
	for i, v := range []any{want, have} {
		if raw, ok := v.(json.RawMessage); ok && len(raw) == 0 {
			v = struct{}{}
		}
		var err error
		if flat[i], err = leaves(v); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	if !exact {
		maps.DeleteFunc(flat[1], func(k, _ string) bool { _, asked := flat[0][k]; return !asked })
	}
	if diffs := compareFlat(name, flat[0], flat[1]); len(diffs) > 0 {
		return diffs[0], nil
	}
	return "", nil
}

// complete does what may be left to do to an index that is loaded.
func (p *Plan) complete(ctx context.Context, x *PlannedIndex) error {
	if err := p.putMissing(ctx, x, x.make.blocks); err != nil {
		return fmt.Errorf("put blocks back: %w", err)
	}
	return nil
}

// putMissing puts those of the settings that an index does not have. One with a block could refuse those that it has.
func (p *Plan) putMissing(ctx context.Context, x *PlannedIndex, settings map[string]json.RawMessage) error {
	if x.there != nil {
		settings = maps.Clone(settings)
		maps.DeleteFunc(settings, func(name string, v json.RawMessage) bool {
			have := x.there.settings[strings.TrimPrefix(name, "index.")]
			return have == nil && string(v) == string(null) || have != nil && text(have) == text(v)
		})
	}
	return p.putSettings(ctx, x.To, settings)
}

// resumeStream looks whether a data stream, or what is to become one, was left by an interrupted restore, and takes down what to go on
// with. It returns the reason if it is another one.
func (p *Plan) resumeStream(ctx context.Context, s *PlannedStream, ch *streamChoice, there *elastic.DataStream, left *leftovers) (reason string, err error) {
	var stale []*made
	s.Indices, s.Docs = nil, 0
	for _, c := range ch.members {
		x, err := p.newMember(ctx, c)
		if err != nil {
			return "", fmt.Errorf("index %s: %w", c.to, err)
		}
		at, err := lookup(ctx, p.c, x.To)
		if err != nil {
			return "", fmt.Errorf("index %s: %w", c.to, err)
		}
		if at != nil && (at.whole() || !at.unfinished()) {
			if err := p.compare(ctx, x, at, s.To); err != nil {
				return "", fmt.Errorf("index %s: %w", c.to, err)
			}
		}
		switch {
		case at == nil:
		case at.stream != "" && at.stream != s.To:
			return "index " + x.To + ": it belongs to data stream " + at.stream, nil
		case at.unfinished() && (x.unlike != "" || !at.whole()):
			stale = append(stale, found(x.To, at))
		case x.unlike != "":
			return "index " + x.To + ": " + x.unlike, nil
		default:
			x.Action, x.kept = "complete", found(x.To, at)
			x.kept.docs = x.Docs
			if !at.whole() {
				x.there = at
			}
		}
		s.Docs += x.Docs
		s.Indices = append(s.Indices, *x)
	}
	s.Action = "create"
	fillers := left.fillers[s.To]
	if there != nil {
		for _, f := range fillers {
			if slices.ContainsFunc(there.Indices, func(i elastic.StreamIndex) bool { return i.Name == f.name }) {
				s.filler = f.name
			}
		}
		if _, err := s.steps(there, s.backing(), s.filler); err != nil {
			return err.Error(), nil
		}
		s.Action, s.there = "resume", there
	} else if by, err := resolve(ctx, p.c, s.To); err != nil {
		return "", err
	} else {
		for name := range by {
			if !slices.ContainsFunc(s.Indices, func(x PlannedIndex) bool { return x.To == name }) &&
				!slices.ContainsFunc(fillers, func(f *made) bool { return f.name == name }) {
				return "index or alias " + name + " has its name", nil
			}
		}
	}
	for _, f := range fillers {
		if f.name != s.filler {
			stale = append(stale, f)
		}
	}
	p.stale = append(p.stale, stale...)
	return "", nil
}

// markWhole changes the mark of an index so that a run which resumes this one can tell that it is loaded.
func (p *Plan) markWhole(ctx context.Context, ix *made) error {
	mark := wholePrefix + random()
	err := p.putAliases(ctx, []any{
		map[string]any{"add": map[string]any{"index": ix.name, "alias": mark, "is_hidden": true}},
		map[string]any{"remove": map[string]any{"index": ix.name, "alias": ix.mark, "must_exist": false}},
	})
	if err == nil {
		ix.mark = mark
	}
	return err
}

// removeStale takes away what an interrupted restore left and this one cannot use.
func (p *Plan) removeStale(ctx context.Context) error {
	for _, ix := range p.stale {
		if err := p.remove(ctx, ix); err != nil {
			return fmt.Errorf("restore: index %s, which an interrupted restore left: %w", ix.name, err)
		}
	}
	return nil
}

// same reports whether an index of the cluster holds the documents that are restored from the backup, and no others.
func (v *verifier) same(ctx context.Context, ch choice) (bool, error) {
	if v.o.keeper() != nil {
		x := &IndexDiff{}
		err := v.byID(ctx, ch, x, ch.index.Docs)
		return x.DocsMissing+x.DocsExtra+x.DocsChanged == 0, err
	}
	var want layout.Digest
	for i := range ch.index.Shards {
		want.AddDigest(ch.index.Shards[i].Digest)
	}
	got, _, err := v.digest(ctx, ch.to)
	return err == nil && got.Equal(want), err
}

// digest reads all documents of an index of the cluster.
func (v *verifier) digest(ctx context.Context, index string) (sum layout.Digest, docs int64, err error) {
	var lines []byte
	for d, err := range v.live(ctx, index) {
		if err == nil {
			lines, err = sum.AddWith(&d, lines)
		}
		if err != nil {
			return sum, 0, err
		}
		docs++
		v.t.docs(index, 1, int64(len(d.Source)))
	}
	return sum, docs, nil
}
