package restore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// sourceMode is the setting that says how a server keeps _source.
const sourceMode = "mapping.source.mode"

// moveSourceMode turns the member "mode" of a mapping's _source into the setting that means the same. Version 8 has both. Version 9 takes the
// member, and does as if it were not there: the index would keep each _source, where the one of the backup makes them of other fields.
func (m *metadata) moveSourceMode() error {
	if !bytes.Contains(m.mappings, []byte(`"mode"`)) {
		return nil
	}
	var mapping, source map[string]json.RawMessage
	if err := json.Unmarshal(m.mappings, &mapping); err != nil {
		return fmt.Errorf("mappings: %w", err)
	}
	if len(mapping["_source"]) == 0 {
		return nil
	}
	if err := json.Unmarshal(mapping["_source"], &source); err != nil {
		return fmt.Errorf("mappings: _source: %w", err)
	}
	mode := source["mode"]
	if len(mode) == 0 {
		return nil
	}
	if m.settings[sourceMode] == nil {
		m.settings[sourceMode] = mode
	}
	delete(source, "mode")
	delete(mapping, "_source")
	var err error
	if len(source) > 0 {
		if mapping["_source"], err = json.Marshal(source); err != nil {
			return err
		}
	}
	m.mappings, err = json.Marshal(mapping)
	return err
}

// ignoresSourceMode says that a version takes the setting alone.
func ignoresSourceMode(version string) bool {
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n >= 9
}

// objectFor is an object of a section as a version of the server is to get it: the mode of _source in the mappings of a template becomes the
// setting of the same meaning, where the version overlooks it.
func objectFor(version, section string, raw json.RawMessage) (json.RawMessage, error) {
	if !strings.HasSuffix(section, "_templates") || !ignoresSourceMode(version) || !bytes.Contains(raw, []byte(`"_source"`)) {
		return raw, nil
	}
	var outer, template map[string]json.RawMessage
	err := json.Unmarshal(raw, &outer)
	if template = outer; err == nil && len(outer["template"]) > 0 { // a legacy one has the members itself
		template = nil
		err = json.Unmarshal(outer["template"], &template)
	}
	if err != nil || len(template["mappings"]) == 0 {
		return raw, err
	}
	m := &metadata{settings: map[string]json.RawMessage{}, mappings: template["mappings"]}
	settings := map[string]json.RawMessage{}
	if s := template["settings"]; len(s) > 0 {
		if err = json.Unmarshal(s, &settings); err == nil {
			err = flatten("", s, m.settings)
		}
	}
	had := m.settings["index."+sourceMode]
	if err == nil {
		err = m.moveSourceMode()
	}
	mode := m.settings[sourceMode]
	if err != nil || len(mode) == 0 {
		return raw, err
	}
	template["mappings"] = m.mappings
	if len(had) == 0 {
		settings["index."+sourceMode] = mode
		if template["settings"], err = json.Marshal(settings); err != nil {
			return nil, err
		}
	}
	if len(outer["template"]) > 0 {
		if outer["template"], err = json.Marshal(template); err != nil {
			return nil, err
		}
	}
	return json.Marshal(outer)
}
