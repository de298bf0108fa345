package restore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

// metadata is an index's index.json: what GET /<index> says of one index.
type metadata struct {
	settings map[string]json.RawMessage // flat, without the leading "index."
	mappings json.RawMessage
	aliases  map[string]json.RawMessage
	stream   string // the data stream that it belongs to
}

func (m *metadata) UnmarshalJSON(b []byte) error {
	var w struct {
		Settings struct {
			Index json.RawMessage `json:"index"`
		} `json:"settings"`
		Mappings json.RawMessage            `json:"mappings"`
		Aliases  map[string]json.RawMessage `json:"aliases"`
		Stream   string                     `json:"data_stream"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	m.mappings, m.aliases, m.stream, m.settings = w.Mappings, w.Aliases, w.Stream, map[string]json.RawMessage{}
	if len(w.Settings.Index) == 0 {
		return nil
	}
	return flatten("", w.Settings.Index, m.settings)
}

// flatten writes the leaves of an object into out, under their dotted names. Arrays are leaves.
func flatten(prefix string, obj json.RawMessage, out map[string]json.RawMessage) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(obj, &fields); err != nil {
		return err
	}
	for k, v := range fields {
		name := k
		if prefix != "" {
			name = prefix + "." + k
		}
		if len(v) > 0 && v[0] == '{' {
			if err := flatten(name, v, out); err != nil {
				return err
			}
			continue
		}
		out[name] = v
	}
	return nil
}

func (m *metadata) text(setting string) string { return text(m.settings[setting]) }

// text gives a setting's value as the server's settings see it: 1 and "1" are the same.
func text(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return s
	}
	var buf bytes.Buffer
	if json.Compact(&buf, v) != nil {
		return string(v)
	}
	return buf.String()
}

// blocked returns the first of the given blocks that is set.
func (m *metadata) blocked(kinds ...string) string {
	for _, k := range kinds {
		if m.text("blocks."+k) == "true" {
			return "blocks." + k
		}
	}
	return ""
}

func (m *metadata) unfinished() bool {
	for a := range m.aliases {
		if strings.HasPrefix(a, UnfinishedPrefix) {
			return true
		}
	}
	return false
}

func readMetadata(src fs.FS, index string) (*metadata, error) {
	name := layout.IndexPath(index)
	b, err := fs.ReadFile(src, name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	m := &metadata{}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return m, nil
}

// private are the settings that a server makes itself. They are neither restored nor compared.
var private = []string{
	"uuid", "history.uuid", "history_uuid", "creation_date", "creation_date_string", "provided_name", "version.*", "resize.*",
	"shrink.source.*", "split.source.*", "routing.allocation.initial_recovery.*", "verified_before_close",
	"verified_read_only", "frozen", "search.throttled", "downsample.*", "rollup.source.*", "store.snapshot.*", "xpack.ccr.*",
}

// deferred are the settings that are put aside while documents are loaded.
var deferred = []string{
	"blocks.*", "default_pipeline", "final_pipeline", "routing.allocation.include.*", "routing.allocation.exclude.*",
	"routing.allocation.require.*", "number_of_replicas", "auto_expand_replicas",
	"write.wait_for_active_shards", // there are no replicas to wait for
}

// creation is what it takes to make an index anew.
type creation struct {
	settings map[string]json.RawMessage // to create it with, names with "index."
	later    map[string]json.RawMessage // to put once it is loaded, blocks excepted
	blocks   map[string]json.RawMessage // to put last
	aside    map[string]json.RawMessage // to put when its data stream is complete
	removed  []string
	mappings json.RawMessage
	aliases  map[string]json.RawMessage
}

func newCreation(m *metadata) *creation {
	c := &creation{
		settings: map[string]json.RawMessage{},
		// A template of the cluster may match the index. What it says of pipelines and replicas must not count while loading.
		later:    map[string]json.RawMessage{"index.default_pipeline": null, "index.final_pipeline": null, "index.write.wait_for_active_shards": null},
		blocks:   map[string]json.RawMessage{},
		mappings: m.mappings, aliases: m.aliases,
	}
	expand := m.text("auto_expand_replicas")
	for _, name := range slices.Sorted(maps.Keys(m.settings)) {
		v := m.settings[name]
		switch {
		case elastic.Match(private, name):
			c.removed = append(c.removed, name+": the server makes it itself")
		case name == "soft_deletes.enabled" && text(v) == "false":
			c.removed = append(c.removed, name+": indices without soft deletes cannot be created any more")
		case name == "store.type" && text(v) == "snapshot":
			c.removed = append(c.removed, name+": the index was mounted from a snapshot, and becomes one of its own")
		case name == "routing.allocation.include._tier_preference" && text(v) == "data_frozen":
			c.removed = append(c.removed, name+": only indices that are mounted from snapshots may be in this tier")
		case strings.HasPrefix(name, "blocks."):
			c.blocks["index."+name] = v
		case name == "number_of_replicas" && expand != "" && expand != "false":
			// It follows from auto_expand_replicas.
		case elastic.Match(deferred, name):
			c.later["index."+name] = v
		default:
			c.settings["index."+name] = v
		}
	}
	c.settings["index.number_of_replicas"] = json.RawMessage(`"0"`)
	c.settings["index.auto_expand_replicas"] = json.RawMessage(`"false"`)
	c.settings["index.write.wait_for_active_shards"] = json.RawMessage(`"1"`)
	c.settings["index.default_pipeline"] = json.RawMessage(`"_none"`)
	c.settings["index.final_pipeline"] = json.RawMessage(`"_none"`)
	if _, ok := c.later["index.auto_expand_replicas"]; !ok {
		c.later["index.auto_expand_replicas"] = null
	}
	return c
}

// setAside keeps a setting until the index is in its data stream.
func (c *creation) setAside(name string) {
	c.aside = map[string]json.RawMessage{}
	if v, ok := c.settings[name]; ok {
		c.aside[name] = v
		delete(c.settings, name)
	}
}

var null = json.RawMessage("null")

// body is the body of the request that creates the index, under an alias that says that it is not finished.
func (c *creation) body(mark string) ([]byte, error) {
	body := map[string]any{
		"settings": c.settings,
		"aliases":  map[string]any{mark: map[string]any{"is_hidden": true}},
	}
	if len(c.mappings) > 0 {
		body["mappings"] = c.mappings
	}
	return json.Marshal(body)
}
