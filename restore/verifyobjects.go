package restore

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

// comparedOfStream are the members of a data stream's description that a restore brings back.
var comparedOfStream = []string{
	"timestamp_field", "generation", "hidden", "system", "allow_custom_routing", "replicated", "template", "ilm_policy", "prefer_ilm",
	"next_generation_managed_by", "index_mode", "_meta",
}

// stream compares one data stream, its documents apart.
func (v *verifier) stream(ctx context.Context, m *layout.Manifest, ch streamChoice) error {
	x := ObjectDiff{Name: "data stream " + ch.to}
	var backup elastic.DataStream
	want, err := readStream(v.src, m, ch.stream.Name, &backup)
	if err == nil {
		err = v.o.adaptStream(want)
	}
	if err != nil {
		return err
	}
	there, err := v.c.DataStream(ctx, ch.to)
	if err != nil {
		return err
	}
	if there == nil {
		x.Missing = true
		v.diff.Objects = append(v.diff.Objects, x)
		return nil
	}
	have, err := v.c.Stream(ctx, there)
	if err != nil {
		return err
	}
	a, err := streamLeaves(want.DataStream)
	if err != nil {
		return err
	}
	b, err := streamLeaves(have.DataStream)
	if err != nil {
		return err
	}
	n := len(ch.members) - ch.failure
	for _, part := range []struct {
		name    string
		members []choice
		have    []elastic.StreamIndex
	}{{"indices", ch.members[:n], there.Indices}, {"failure_store.indices", ch.members[n:], there.Failure}} {
		var names []string
		for _, c := range part.members {
			names = append(names, c.to)
		}
		addNames(a, part.name, names)
		addNames(b, part.name, elastic.Names(part.have))
	}
	x.Metadata = compareFlat("data stream", a, b)
	for _, part := range append([]streamPart{{name: "aliases", of: func(s *layout.Stream) json.RawMessage { return s.Aliases }}}, streamParts...) {
		diffs, err := comparePart(part.name, part.of(want), part.of(have))
		if err != nil {
			return err
		}
		x.Metadata = append(x.Metadata, diffs...)
	}
	if len(x.Metadata) > 0 {
		v.diff.Objects = append(v.diff.Objects, x)
	}
	return nil
}

func streamLeaves(raw json.RawMessage) (map[string]string, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	maps.DeleteFunc(m, func(k string, _ json.RawMessage) bool { return !slices.Contains(comparedOfStream, k) })
	return leaves(m)
}

func addNames(into map[string]string, name string, names []string) {
	b, err := json.Marshal(names)
	if err != nil { // strings always have a form
		b = []byte(err.Error())
	}
	into[name] = string(b)
}

// sections compares the objects that a restore would write or has written. Those that the cluster keeps itself may differ.
func (v *verifier) sections(ctx context.Context, m *layout.Manifest, refs *references) error {
	kibana := v.o.kibana(v.o.Retries)
	return chosenObjects(v.src, m, &v.o, func(ch *elastic.Chosen, objects map[string]json.RawMessage) error {
		c := v.c
		if ch.Kibana {
			c = kibana
		}
		there, err := c.Objects(ctx, ch.Section)
		var absent *elastic.AbsentError
		if err != nil && !errors.As(err, &absent) {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(objects)) {
			if ch.Builtin(objects[name]) || !v.o.Managed && ch.Managed(name, objects[name]) {
				continue
			}
			x := ObjectDiff{Name: ch.Name + "/" + name, Missing: there[name] == nil}
			if !x.Missing {
				want, err := objectFor(v.cluster.Version, ch.Name, objects[name])
				if err == nil {
					want, _, err = refs.follow(ch.Name, want)
				}
				if err == nil {
					x.Metadata, err = compareObjects(ch.Section, want, there[name])
				}
				if err != nil {
					return err
				}
			}
			if x.Missing || len(x.Metadata) > 0 {
				v.diff.Objects = append(v.diff.Objects, x)
			}
		}
		return nil
	})
}
