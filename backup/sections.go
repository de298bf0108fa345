package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

// sections reads the sections that were asked for, and the data streams of the selection, into out.
func (j *job) sections(ctx context.Context, out output) error {
	for i := range j.chosen {
		ch := &j.chosen[i]
		objects, err := j.section(ctx, ch)
		var absent *elastic.AbsentError
		switch {
		case errors.As(err, &absent):
			j.manifest.Sections = append(j.manifest.Sections, layout.Section{Name: ch.Name, Absent: absent.Answer})
			continue
		case elastic.Forbidden(err):
			if err := j.omit(layout.Omission{What: "section " + ch.Name, Why: err.Error()}); err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("back up section %s: %w", ch.Name, err)
		}
		j.manifest.Sections = append(j.manifest.Sections, layout.Section{Name: ch.Name, Objects: len(objects)})
		if len(objects) == 0 {
			continue
		}
		if err := out.file(ctx, layout.SectionPath(ch.Name), layout.AppendSection(nil, objects)); err != nil {
			return fmt.Errorf("write section %s: %w", ch.Name, err)
		}
	}
	streams := map[string]json.RawMessage{}
	for _, d := range j.streams {
		streams[d.Name] = layout.AppendStream(nil, d.stream)
		j.manifest.DataStreams = append(j.manifest.DataStreams,
			layout.DataStream{Name: d.Name, Indices: elastic.Names(d.Indices), Failure: elastic.Names(d.Failure)})
	}
	if len(streams) == 0 {
		return nil
	}
	if err := out.file(ctx, layout.SectionPath(layout.DataStreams), layout.AppendSection(nil, streams)); err != nil {
		return fmt.Errorf("write data streams: %w", err)
	}
	return nil
}

// section lists the objects of a section that were asked for. What the server hides a part of is an omission.
func (j *job) section(ctx context.Context, ch *elastic.Chosen) (map[string]json.RawMessage, error) {
	c := j.c
	if ch.Kibana {
		c = j.kibana
	}
	objects, err := c.Objects(ctx, ch.Section)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(objects, func(name string, _ json.RawMessage) bool { return !ch.Has(name) })
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		if !ch.Hidden(objects[name]) {
			continue
		}
		err := j.omit(layout.Omission{What: "section " + ch.Name + ": " + name, Why: "the server hides a secret in it"})
		if err != nil {
			return nil, err
		}
		delete(objects, name)
	}
	return objects, nil
}

// dataStream is a data stream of the selection.
type dataStream struct {
	*elastic.DataStream
	stream *layout.Stream
}

// dataStreams reads the data streams of a selection, and adds their indices to it. One that cannot be described is
// an omission, and so is a closed index.
func (j *job) dataStreams(ctx context.Context, sel *selected) error {
	if len(sel.streams) == 0 {
		return nil
	}
	all, err := j.c.DataStreams(ctx)
	var absent *elastic.AbsentError
	if errors.As(err, &absent) || elastic.Forbidden(err) {
		for _, name := range sel.streams {
			sel.omitted = append(sel.omitted, layout.Omission{What: "data stream " + name, Why: err.Error()})
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("list data streams: %w", err)
	}
	for _, name := range sel.streams {
		d := all[name]
		if d == nil {
			return fmt.Errorf("data stream %s: it was listed, and then was not there any more", name)
		}
		s, err := j.c.Stream(ctx, d)
		if elastic.Forbidden(err) {
			sel.omitted = append(sel.omitted, layout.Omission{What: "data stream " + name, Why: err.Error()})
			continue
		}
		if err != nil {
			return fmt.Errorf("data stream %s: %w", name, err)
		}
		j.streams = append(j.streams, dataStream{d, s})
		for _, x := range slices.Concat(d.Indices, d.Failure) {
			switch {
			case elastic.Match(j.manifest.Selection.Exclude, x.Name):
			case sel.closed[x.Name]:
				sel.omitted = append(sel.omitted, layout.Omission{What: "index " + x.Name, Why: "it is closed"})
			case !slices.Contains(sel.names, x.Name):
				sel.names = append(sel.names, x.Name)
			}
		}
	}
	slices.Sort(sel.names)
	return nil
}
