package restore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

// Override changes the metadata of indices on their way into the cluster.
type Override struct {
	Indices []string // patterns of names in the backup; default all
	// Settings are merged into those of the backup: a JSON object, nested or with dotted names, with or without "index" before
	// them. null takes a setting away, with all below it. Another number of shards takes number_of_routing_shards away, and
	// another number of replicas auto_expand_replicas, unless they are given as well.
	Settings json.RawMessage
	// Mappings are merged into those of the backup as RFC 7386 says: objects member by member, null takes a member away, all else
	// is replaced.
	Mappings json.RawMessage
}

// adapt changes what a backup says of an index into what is wanted of it in the cluster.
func (o *Options) adapt(m *metadata, from string) error {
	for i := range o.Overrides {
		v := &o.Overrides[i]
		if len(v.Indices) > 0 && !elastic.Match(v.Indices, from) {
			continue
		}
		if err := m.override(v); err != nil {
			return fmt.Errorf("override: %w", err)
		}
	}
	aliases, err := o.adaptAliases(m.aliases)
	if err != nil {
		return err
	}
	m.aliases = aliases
	if name := m.text("lifecycle.rollover_alias"); name != "" {
		if to := rename(o.RenameAliases, name); to != name {
			m.settings["lifecycle.rollover_alias"] = layout.AppendString(nil, to)
		}
	}
	return nil
}

// adaptAliases leaves aliases out and gives the others their new names.
func (o *Options) adaptAliases(aliases map[string]json.RawMessage) (map[string]json.RawMessage, error) {
	out, from := map[string]json.RawMessage{}, map[string]string{}
	for _, name := range keysOf(aliases) {
		if elastic.Match(o.ExcludeAliases, name) {
			continue
		}
		to := rename(o.RenameAliases, name)
		if other, twice := from[to]; twice {
			return nil, fmt.Errorf("aliases %q and %q would both be called %q", other, name, to)
		}
		from[to], out[to] = name, aliases[name]
	}
	return out, nil
}

func keysOf(m map[string]json.RawMessage) []string { return slices.Sorted(maps.Keys(m)) }

// aliasesOf are the aliases of a data stream of a backup, or of the cluster.
func aliasesOf(s *layout.Stream) (map[string]json.RawMessage, error) {
	var aliases map[string]json.RawMessage
	if len(s.Aliases) == 0 {
		return aliases, nil
	}
	return aliases, json.Unmarshal(s.Aliases, &aliases)
}

// adaptStream does to a data stream what adapt does to an index.
func (o *Options) adaptStream(s *layout.Stream) error {
	aliases, err := aliasesOf(s)
	if err == nil && len(aliases) > 0 {
		if aliases, err = o.adaptAliases(aliases); err == nil {
			s.Aliases, err = json.Marshal(aliases)
		}
	}
	if err != nil {
		return fmt.Errorf("aliases: %w", err)
	}
	return nil
}

func (m *metadata) override(v *Override) error {
	if len(v.Settings) > 0 {
		flat := map[string]json.RawMessage{}
		if err := flatten("", v.Settings, flat); err != nil {
			return fmt.Errorf("settings: %w", err)
		}
		given := map[string]bool{}
		for _, name := range keysOf(flat) {
			key := strings.TrimPrefix(name, "index.")
			if elastic.Match(private, key) {
				return fmt.Errorf("settings: %s: the server makes it itself", key)
			}
			given[key] = true
			maps.DeleteFunc(m.settings, func(k string, _ json.RawMessage) bool { return k == key || strings.HasPrefix(k, key+".") })
			if !bytes.Equal(bytes.TrimSpace(flat[name]), null) {
				m.settings[key] = flat[name]
			}
		}
		for of, follows := range map[string]string{"number_of_shards": "number_of_routing_shards", "number_of_replicas": "auto_expand_replicas"} {
			if given[of] && !given[follows] {
				delete(m.settings, follows)
			}
		}
	}
	if len(v.Mappings) > 0 {
		merged, err := mergePatch(m.mappings, v.Mappings)
		if err != nil {
			return fmt.Errorf("mappings: %w", err)
		}
		m.mappings = merged
	}
	return nil
}

// mergePatch is RFC 7386 for objects.
func mergePatch(target, patch json.RawMessage) (json.RawMessage, error) {
	var changes map[string]json.RawMessage
	if err := json.Unmarshal(patch, &changes); err != nil {
		return nil, err
	}
	fields := map[string]json.RawMessage{}
	if t := bytes.TrimSpace(target); len(t) > 0 && t[0] == '{' {
		if err := json.Unmarshal(t, &fields); err != nil {
			return nil, err
		}
	}
	for k, v := range changes {
		switch v = bytes.TrimSpace(v); {
		case bytes.Equal(v, null):
			delete(fields, k)
		case v[0] == '{':
			merged, err := mergePatch(fields[k], v)
			if err != nil {
				return nil, err
			}
			fields[k] = merged
		default:
			fields[k] = v
		}
	}
	return json.Marshal(fields)
}
