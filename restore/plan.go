package restore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"golang.org/x/sync/semaphore"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

// Plan is what a restore will do. Its String lists it for a person. A plan is run once, soon after it is made.
type Plan struct {
	Manifest    *layout.Manifest
	Indices     []PlannedIndex  // in the order of the backup; those of data streams are not here
	DataStreams []PlannedStream // in the order of the backup
	Objects     []PlannedObject // of sections, in the order of restoring

	src    fs.FS
	es     elastictransport.Interface
	c      *elastic.Client
	kibana *elastic.Client // nil if there is none
	o      Options

	version  string              // of the cluster, where it is asked for
	known    map[string]bool     // settings that were asked about
	stale    []*made             // what an interrupted restore left, to be taken away first
	rejected atomic.Int64        // documents so far, of those that may be
	slots    *semaphore.Weighted // for bulk requests of small indices
	beside   *semaphore.Weighted // for small indices of data streams
}

// PlannedIndex is one index of a Plan.
type PlannedIndex struct {
	From, To string // name in the backup, and in the cluster
	// Action is "create", "skip", "replace", "merge"; "load" into an index that is there and empty; "complete" what an interrupted
	// restore has loaded.
	Action  string
	Docs    int64    // in the backup
	Removed []string // settings that are not restored, and why

	index   *layout.Index
	make    *creation
	oldUUID string    // of the index that is replaced
	last    bool      // only once the others have given up the aliases that it writes to
	unlike  string    // with Resume, how the index that is there differs from what is restored
	there   *metadata // of an index to be completed; nil: nothing was put back yet
	kept    *made     // of a data stream: loaded by the interrupted restore
}

// NewPlan reads a backup's manifest and metadata, looks at the cluster, and decides what to do; it writes nothing. With
// conflict mode Fail one error, which matches fs.ErrExist, names every index and data stream that exists, and every object of a
// section that exists and is not the same.
func NewPlan(ctx context.Context, src fs.FS, es elastictransport.Interface, o *Options) (*Plan, error) {
	p := &Plan{src: src, es: es, o: o.withDefaults(), known: map[string]bool{}}
	p.o.Rejected = serial(p.o.Rejected)
	p.slots = semaphore.NewWeighted(int64(p.o.Concurrency))
	p.beside = semaphore.NewWeighted(int64(p.o.IndicesAtOnce))
	p.c = elastic.New(es, p.o.elastic(p.o.Retries))
	p.kibana = p.o.kibana(p.o.Retries)
	if err := p.plan(ctx); err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	return p, nil
}

func (p *Plan) plan(ctx context.Context) error {
	switch p.o.Conflict {
	case Fail, Skip, Replace, Merge:
	default:
		return fmt.Errorf("conflict mode %q: want fail, skip, replace or merge", p.o.Conflict)
	}
	m, err := layout.ReadManifest(p.src)
	if err != nil {
		return err
	}
	p.Manifest = m
	if m.Cluster.Version != "" {
		info, err := p.c.Info(ctx)
		if err != nil {
			return err
		}
		p.version = info.Version
	}
	chosen, streams, err := choose(p.src, m, &p.o)
	if err != nil {
		return err
	}
	left, err := p.leftBehind(ctx)
	if err != nil {
		return err
	}
	var exist []string
	for _, ch := range chosen {
		x := PlannedIndex{From: ch.index.Name, To: ch.to, Docs: ch.index.Docs, index: ch.index, Action: "create"}
		meta, err := p.metadata(ctx, &x)
		if err != nil {
			return err
		}
		x.make = newCreation(meta)
		there, err := lookup(ctx, p.c, x.To)
		if err != nil {
			return fmt.Errorf("index %s: %w", x.To, err)
		}
		if err := p.takeCopies(left, x.To); err != nil {
			return err
		}
		if p.o.Resume && there != nil {
			if there, err = p.resume(ctx, &x, there); err != nil {
				return fmt.Errorf("index %s: %w", x.To, err)
			}
		}
		switch {
		case p.o.DocumentsOnly:
			full, err := p.documentsOnly(ctx, &x, there)
			if err != nil {
				return fmt.Errorf("index %s: %w", x.To, err)
			}
			if full {
				exist = append(exist, x.To+" (it holds documents)")
				continue
			}
		case there != nil:
			if p.o.Conflict == Fail || p.o.Conflict == Skip && there.unfinished() {
				exist = append(exist, x.exists(there))
				continue
			}
			if err := p.conflict(&x, there); err != nil {
				return fmt.Errorf("index %s: %w", x.To, err)
			}
		}
		if x.Action == "create" || x.Action == "replace" || x.Action == "complete" {
			x.Removed = append(x.make.removed, x.Removed...)
		}
		p.Indices = append(p.Indices, x)
	}
	refs, err := newReferences(p.src, m, &p.o, chosen, streams)
	if err != nil {
		return err
	}
	objects, err := p.planSections(ctx, refs)
	if err != nil {
		return err
	}
	more, err := p.planStreams(ctx, streams, left)
	if err != nil {
		return err
	}
	exist = append(exist, more...)
	if err := p.refusals(ctx); err != nil {
		return err
	}
	switch {
	case len(objects) > 0 && len(exist) > 0:
		return fmt.Errorf("these indices exist already: %s, and of sections, with other contents: %s: %w", strings.Join(exist, ", "),
			strings.Join(objects, ", "), fs.ErrExist)
	case len(objects) > 0:
		return fmt.Errorf("these exist already, with other contents: %s: %w", strings.Join(objects, ", "), fs.ErrExist)
	case len(exist) > 0:
		return fmt.Errorf("these indices exist already: %s: %w", strings.Join(exist, ", "), fs.ErrExist)
	}
	if p.o.DocumentsOnly {
		return nil
	}
	return p.checkAliases(ctx)
}

// exists names an index whose name is taken.
func (x *PlannedIndex) exists(there *metadata) string {
	switch {
	case there.unfinished():
		return x.To + " (left unfinished by a restore that was interrupted; Resume goes on with it)"
	case x.unlike != "":
		return x.To + " (not one that an interrupted restore left: " + x.unlike + ")"
	}
	return x.To
}

// documentsOnly decides about an index that documents alone are loaded into; full says that it must be empty, and is not.
func (p *Plan) documentsOnly(ctx context.Context, x *PlannedIndex, there *metadata) (full bool, err error) {
	x.Removed = nil
	if there == nil {
		return false, fmt.Errorf("it does not exist, and documents alone are to be restored: %w", fs.ErrNotExist)
	}
	x.Action = "merge"
	if err := p.writable(there); err != nil || p.o.Conflict == Merge {
		return false, err
	}
	n, err := p.count(ctx, x.To)
	switch {
	case err != nil:
		return false, err
	case n == 0:
		x.Action = "load"
	case p.o.Conflict == Skip:
		x.Action = "skip"
	default:
		return true, nil
	}
	return false, nil
}

// conflict decides about an index that exists.
func (p *Plan) conflict(x *PlannedIndex, there *metadata) error {
	x.Action = string(p.o.Conflict)
	switch p.o.Conflict {
	case Replace:
		if p.o.MetadataOnly {
			return errors.New("replacing it by its metadata alone would lose its documents")
		}
		x.oldUUID = there.text("uuid")
		if b := there.blocked("read_only", "metadata"); b != "" {
			return fmt.Errorf("it cannot be replaced: %s is set", b)
		}
	case Merge:
		if p.o.MetadataOnly {
			return errors.New("it exists: there are no documents to merge into it")
		}
		return p.writable(there)
	}
	return nil
}

// writable finds what would stand in the way of documents on their way into an index.
func (p *Plan) writable(there *metadata) error {
	if there.unfinished() {
		return errors.New("it was left unfinished by a restore that was interrupted; Resume goes on with it, or replace it")
	}
	if b := there.blocked("read_only", "write", "read_only_allow_delete"); b != "" {
		return fmt.Errorf("it cannot be written to: %s is set", b)
	}
	if f := there.text("final_pipeline"); f != "" && f != "_none" {
		return fmt.Errorf("its final_pipeline %q would alter the documents; take it off, or restore under another name", f)
	}
	return nil
}

// lookup returns what the cluster has under a name: nil if nothing, an error if it is no index.
func lookup(ctx context.Context, c *elastic.Client, name string) (*metadata, error) {
	found, err := resolve(ctx, c, name)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	if m, ok := found[name]; ok {
		return m, nil
	}
	at := slices.Sorted(maps.Keys(found))
	return nil, fmt.Errorf("the name is taken by an alias or a data stream of %s: %w", strings.Join(at, ", "), fs.ErrExist)
}

// resolve returns the indices that a name without wildcards stands for: itself, or those of an alias or data stream.
func resolve(ctx context.Context, c *elastic.Client, name string) (map[string]*metadata, error) {
	var found map[string]*metadata
	err := c.JSON(ctx, elastic.Request{Method: "GET", Path: "/" + elastic.PathEscape(name)}, &found)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && len(found) == 0 && !strings.Contains(name, "*") {
		err = errors.New("the server describes no index and no error")
	}
	return found, err
}

// checkAliases finds aliases that could not be put once everything is loaded.
func (p *Plan) checkAliases(ctx context.Context) error {
	targets := map[string]bool{} // whether what is there, if anything, goes with its aliases
	for _, x := range p.Indices {
		targets[x.To] = x.Action == "create" || x.Action == "replace"
	}
	seen := map[string]map[string]*metadata{}
	writers := map[string]string{}
	for i := range p.Indices {
		x := &p.Indices[i]
		if x.Action == "skip" || x.Action == "merge" || x.Action == "complete" {
			continue
		}
		for alias, def := range x.make.aliases {
			if _, restored := targets[alias]; restored {
				return fmt.Errorf("index %s: its alias %q is the name of an index that is restored", x.To, alias)
			}
			found, ok := seen[alias]
			if !ok {
				var err error
				if found, err = resolve(ctx, p.c, alias); err != nil {
					return fmt.Errorf("alias %s: %w", alias, err)
				}
				seen[alias] = found
			}
			if _, isIndex := found[alias]; isIndex {
				return fmt.Errorf("index %s: its alias %q is the name of an index in the cluster: %w", x.To, alias, fs.ErrExist)
			}
			if !writes(def) {
				continue
			}
			if w, ok := writers[alias]; ok {
				return fmt.Errorf("alias %s: indices %s and %s would both be its write index", alias, w, x.To)
			}
			writers[alias] = x.To
			for name, m := range found {
				if name == x.To || !writes(m.aliases[alias]) {
					continue
				}
				if !targets[name] {
					return fmt.Errorf("index %s: alias %q has a write index in the cluster already: %s", x.To, alias, name)
				}
				x.last = true
			}
		}
	}
	return nil
}

func writes(alias json.RawMessage) bool {
	var a struct {
		Write bool `json:"is_write_index"`
	}
	return json.Unmarshal(alias, &a) == nil && a.Write
}

// random returns text that makes names unique.
func random() string { return strings.ToLower(rand.Text()[:10]) }

// loads reports whether documents are sent.
func (x *PlannedIndex) loads() bool { return x.Action != "skip" && x.Action != "complete" }

// String lists what the plan does, an index a line.
func (p *Plan) String() string {
	var b strings.Builder
	var docs int64
	indices := p.Indices
	for _, s := range p.DataStreams {
		fmt.Fprintf(&b, "%-8s data stream %s", s.Action, s.To)
		if s.From != s.To {
			fmt.Fprintf(&b, " (from %s)", s.From)
		}
		fmt.Fprintf(&b, " of %d indices\n", len(s.Indices))
		indices = append(slices.Clip(indices), s.Indices...)
	}
	for _, ix := range p.stale {
		fmt.Fprintf(&b, "%-8s %s, which an interrupted restore left\n", "delete", ix.name)
	}
	for _, x := range indices {
		fmt.Fprintf(&b, "%-8s %s", x.Action, x.To)
		if x.From != x.To {
			fmt.Fprintf(&b, " (from %s)", x.From)
		}
		fmt.Fprintf(&b, ": %d documents", x.Docs)
		if x.loads() {
			docs += x.Docs
		}
		if len(x.Removed) > 0 {
			short := make([]string, len(x.Removed))
			for i, r := range x.Removed {
				short[i], _, _ = strings.Cut(r, ":")
			}
			fmt.Fprintf(&b, "; not restored: %s", strings.Join(short, ", "))
		}
		b.WriteByte('\n')
	}
	p.objectLines(&b)
	fmt.Fprintf(&b, "%d indices, %d documents to load\n", len(indices), docs)
	return b.String()
}
