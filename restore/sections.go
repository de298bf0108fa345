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

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

// PlannedObject is one object of a section, such as an ingest pipeline.
type PlannedObject struct {
	Section, Name string
	// Action is "create", "replace", "equal" (it is there already), "skip" (it is there, and another), "managed" (the
	// cluster's own is left) or "builtin" (it cannot be written).
	Action string
	Note   string // what a person should know, empty in general

	section *elastic.Section
	raw     json.RawMessage
	exists  bool
	rank    int
	late    bool
}

func (x *PlannedObject) writes() bool { return x.Action == "create" || x.Action == "replace" }

// sectionEntries are the sections that a restore or a verification is asked for.
func (o *Options) sectionEntries() []string {
	if o.DocumentsOnly || len(o.Sections) == 0 && len(o.Indices) > 0 {
		return []string{"none"}
	}
	return o.Sections
}

func (o *Options) kibana(retries int) *elastic.Client {
	if o.Kibana == nil {
		return nil
	}
	return elastic.New(o.Kibana, o.elastic(retries))
}

// chosenObjects calls fn for every section that is asked for and in the backup, with the objects asked for.
func chosenObjects(src fs.FS, m *layout.Manifest, o *Options, fn func(ch *elastic.Chosen, objects map[string]json.RawMessage) error) error {
	entries := o.sectionEntries()
	chosen, err := elastic.Choose(entries, o.Kibana != nil)
	if err != nil {
		return err
	}
	for i := range chosen {
		ch := &chosen[i]
		there := slices.ContainsFunc(m.Sections, func(s layout.Section) bool { return s.Name == ch.Name })
		if !there && slices.ContainsFunc(entries, func(e string) bool { e, _, _ = strings.Cut(e, "/"); return e == ch.Name }) {
			return fmt.Errorf("section %s is not in the backup: %w", ch.Name, fs.ErrNotExist)
		}
		objects, err := layout.ReadSection(src, m, ch.Name)
		if err != nil {
			return fmt.Errorf("section %s: %w", ch.Name, err)
		}
		for _, e := range entries {
			name, object, part := strings.Cut(e, "/")
			if part && name == ch.Name && !strings.Contains(object, "*") && objects[object] == nil {
				return fmt.Errorf("section %s: %s is not in the backup: %w", ch.Name, object, fs.ErrNotExist)
			}
		}
		maps.DeleteFunc(objects, func(name string, _ json.RawMessage) bool { return !ch.Has(name) })
		if len(objects) == 0 {
			continue
		}
		if err := fn(ch, objects); err != nil {
			return fmt.Errorf("section %s: %w", ch.Name, err)
		}
	}
	return nil
}

// client is the one that a section is asked of.
func (p *Plan) client(s *elastic.Section) *elastic.Client {
	if s.Kibana {
		return p.kibana
	}
	return p.c
}

// planSections decides about every object, and returns those that exist and are other ones.
func (p *Plan) planSections(ctx context.Context, refs *references) (exist []string, err error) {
	err = chosenObjects(p.src, p.Manifest, &p.o, func(ch *elastic.Chosen, objects map[string]json.RawMessage) error {
		there, err := p.client(ch.Section).Objects(ctx, ch.Section)
		var absent *elastic.AbsentError
		if errors.As(err, &absent) {
			there, err = nil, nil
		}
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(objects)) {
			x := PlannedObject{Section: ch.Name, Name: name, section: ch.Section}
			var left []string
			raw, err := objectFor(p.version, ch.Name, objects[name])
			if err == nil {
				x.raw, left, err = refs.follow(ch.Name, raw)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			x.Note = strings.Join(left, "; ")
			x.rank, x.late = ch.Rank(x.raw)
			if err := p.decide(&x, there[name]); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if absent != nil && x.writes() {
				if !ch.Managed(name, x.raw) {
					return fmt.Errorf("%s cannot be restored; leave the section out: %w", name, absent)
				}
				x.Action, x.Note = "managed", "the cluster has no such feature"
			}
			if x.Action == string(Fail) {
				exist = append(exist, x.Section+"/"+x.Name)
			}
			p.Objects = append(p.Objects, x)
		}
		return nil
	})
	slices.SortStableFunc(p.Objects, func(a, b PlannedObject) int { return a.rank - b.rank })
	return exist, err
}

// decide sets what is done with an object; there is what the cluster has of its name, nil if nothing.
func (p *Plan) decide(x *PlannedObject, there json.RawMessage) error {
	x.exists = there != nil
	same := false
	if x.exists {
		diffs, err := compareObjects(x.section, x.raw, there)
		if err != nil {
			return err
		}
		same = len(diffs) == 0
	}
	switch {
	case x.section.Builtin(x.raw) || x.exists && x.section.Builtin(there):
		x.Action = "builtin"
	case same:
		x.Action = "equal"
	case !x.exists:
		x.Action = "create"
		return x.needPassword()
	case !p.o.Managed && x.section.Managed(x.Name, x.raw):
		x.Action = "managed"
	case p.o.Conflict == Fail || p.o.Conflict == Skip:
		x.Action = string(p.o.Conflict)
	default:
		x.Action = "replace"
	}
	return nil
}

// needPassword gives a user who has no password in the backup one that nobody knows: the server makes none without.
func (x *PlannedObject) needPassword() error {
	if x.Section != "security_users" {
		return nil
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(x.raw, &m); err != nil {
		return err
	}
	if m["password_hash"] != nil {
		return nil
	}
	var err error
	if m["password"], err = json.Marshal(rand.Text()); err != nil {
		return err
	}
	x.Note = "its password is not in the backup: set a new one"
	x.raw, err = json.Marshal(m)
	return err
}

// compareObjects lists how two objects differ in what counts.
func compareObjects(s *elastic.Section, backup, cluster json.RawMessage) ([]string, error) {
	var flat [2]map[string]string
	for i, raw := range []json.RawMessage{backup, cluster} {
		content, err := s.Content(raw)
		if err != nil {
			return nil, err
		}
		if flat[i], err = leaves(content); err != nil {
			return nil, err
		}
		if a := s.Active(raw); a != "" {
			flat[i]["(active)"] = a
		}
	}
	return compareFlat(s.Name, flat[0], flat[1]), nil
}

// writeObjects writes the objects that come before the indices, or those that come after them.
func (p *Plan) writeObjects(ctx context.Context, late bool, r *Result) error {
	// A policy that is there may never have been executed, which the pipelines that wait for it need.
	waited := map[string]bool{}
	for i := range p.Objects {
		if x := &p.Objects[i]; x.writes() && x.late {
			waited[x.section.After(x.raw)] = true
		}
	}
	saved := map[string]json.RawMessage{}
	for i := range p.Objects {
		x := &p.Objects[i]
		if x.late != late {
			continue
		}
		if !x.writes() {
			r.ObjectsLeft++
			if x.Action == "equal" && p.o.Resume || waited[x.Section] && (x.Action == "equal" || x.Action == "skip") {
				if err := p.c.Follow(ctx, x.section, x.Name); err != nil {
					return fmt.Errorf("restore: section %s: %s: %w", x.Section, x.Name, err)
				}
			}
			continue
		}
		if x.Section == elastic.KibanaObjects {
			saved[x.Name] = x.raw
			continue
		}
		if err := p.client(x.section).PutObject(ctx, x.section, x.Name, x.raw, x.exists); err != nil {
			return fmt.Errorf("restore: section %s: %s: %w", x.Section, x.Name, err)
		}
		r.Objects++
	}
	if len(saved) > 0 {
		if err := p.kibana.ImportObjects(ctx, saved); err != nil {
			return fmt.Errorf("restore: section %s: %w", elastic.KibanaObjects, err)
		}
		r.Objects += len(saved)
	}
	return nil
}

// objectLines lists what is written, an object a line, and counts what is not.
func (p *Plan) objectLines(b *strings.Builder) {
	left := map[string]int{}
	wrote := 0
	for i := range p.Objects {
		x := &p.Objects[i]
		if !x.writes() && x.Action != "skip" {
			left[x.Action]++
			continue
		}
		fmt.Fprintf(b, "%-8s %s/%s", x.Action, x.Section, x.Name)
		if x.Note != "" {
			fmt.Fprintf(b, ": %s", x.Note)
		}
		b.WriteByte('\n')
		if x.writes() {
			wrote++
		}
	}
	if len(p.Objects) > 0 {
		fmt.Fprintf(b, "%d objects of sections to write; %d are equal, %d are kept by the cluster itself\n", wrote, left["equal"], left["managed"]+left["builtin"])
	}
}
