package restore

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/escrow-backup/escrow/internal/elastic"
)

// metadata reads what the backup says of an index, and changes it into what this cluster is to be given.
func (p *Plan) metadata(ctx context.Context, x *PlannedIndex) (*metadata, error) {
	m, err := readMetadata(p.src, x.From)
	if err != nil {
		return nil, err
	}
	if err := p.o.adapt(m, x.From); err != nil {
		return nil, fmt.Errorf("index %s: %w", x.To, err)
	}
	if ignoresSourceMode(p.version) {
		if err := m.moveSourceMode(); err != nil {
			return nil, fmt.Errorf("index %s: %w", x.To, err)
		}
	}
	if p.o.MetadataOnly {
		x.Docs = 0
	}
	if p.o.DocumentsOnly {
		return m, nil
	}
	if err := p.learn(ctx, m); err != nil {
		return nil, fmt.Errorf("index %s: %w", x.To, err)
	}
	x.Removed = p.unknown(m)
	return m, nil
}

var unknownSetting = regexp.MustCompile(`unknown setting \[(index\.[^\]]+)\]`)

// learn finds out which of an index's settings a server of another version than the backup's does not know, without writing
// anything: it asks what an index template with them would amount to.
//
// See https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-indices-simulate-template
func (p *Plan) learn(ctx context.Context, m *metadata) error {
	if p.Manifest.Cluster.Version == "" || p.Manifest.Cluster.Version == p.version {
		return nil
	}
	ask := map[string]json.RawMessage{}
	for name, v := range m.settings {
		if _, seen := p.known[name]; !seen && !elastic.Match(private, name) {
			ask["index."+name] = v
		}
	}
	if len(ask) == 0 {
		return nil
	}
	body := map[string]any{"index_patterns": []string{"escrow-settings-" + random()}, "priority": 1 << 30, "template": map[string]any{"settings": ask}}
	for {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		_, err = p.c.Do(ctx, elastic.Request{Method: "POST", Path: "/_index_template/_simulate", Body: b})
		var refused *elastic.Error
		if err != nil && !errors.As(err, &refused) {
			return fmt.Errorf("ask which settings the server knows: %w", err)
		}
		found := false
		if refused != nil {
			if elastic.Retryable(err) {
				return fmt.Errorf("ask which settings the server knows: %w", err)
			}
			for _, match := range unknownSetting.FindAllStringSubmatch(refused.Reason, -1) {
				if _, asked := ask[match[1]]; asked {
					found = true
					p.known[strings.TrimPrefix(match[1], "index.")] = false
					delete(ask, match[1])
				}
			}
		}
		if found {
			continue
		}
		// Whatever else is wrong, or may not be asked, is said when the index is made.
		for name := range maps.Keys(ask) {
			p.known[strings.TrimPrefix(name, "index.")] = true
		}
		return nil
	}
}

// relevant are the settings that a mapping can need. Of others some are refused in a template only, such as routing_partition_size.
var relevant = []string{"analysis.*", "similarity.*", "mapping.*", "mapper.*", "mode", "routing_path", "time_series.*", "logsdb.*", "sort.*"}

// refusals asks a server of another version than the backup's, without writing anything, whether it takes the mappings of the indices and
// templates that are to be made, with the settings that belong to them. The error names all that it could not make, and why. Where it may not
// be asked, that is found out when the index is made.
func (p *Plan) refusals(ctx context.Context) error {
	if p.Manifest.Cluster.Version == "" || p.Manifest.Cluster.Version == p.version {
		return nil
	}
	all := slices.Clone(p.Indices)
	for _, s := range p.DataStreams {
		all = append(all, s.Indices...)
	}
	answers := map[[sha256.Size]byte]string{} // many indices have the same mapping
	var refused []string
	for _, x := range all {
		if x.Action != "create" && x.Action != "replace" {
			continue
		}
		settings := map[string]json.RawMessage{}
		for name, v := range x.make.settings {
			if elastic.Match(relevant, strings.TrimPrefix(name, "index.")) {
				settings[name] = v
			}
		}
		template := map[string]any{"settings": settings}
		if len(x.make.mappings) > 0 {
			template["mappings"] = x.make.mappings
		}
		b, err := json.Marshal(template)
		if err != nil {
			return fmt.Errorf("index %s: %w", x.To, err)
		}
		key := sha256.Sum256(b)
		why, asked := answers[key]
		if !asked {
			if why, err = p.refuses(ctx, b); err != nil {
				return fmt.Errorf("index %s: %w", x.To, err)
			}
			answers[key] = why
		}
		if why != "" {
			refused = append(refused, fmt.Sprintf("index %s: %s", x.To, why))
		}
	}
	for i := range p.Objects {
		if x := &p.Objects[i]; x.writes() {
			why, err := p.refusesTemplate(ctx, x)
			if err != nil {
				return fmt.Errorf("section %s: %s: %w", x.Section, x.Name, err)
			}
			if why != "" {
				refused = append(refused, fmt.Sprintf("%s/%s: %s", x.Section, x.Name, why))
			}
		}
	}
	if len(refused) > 0 {
		return fmt.Errorf("version %s does not take what %s did (override it, or leave it out): %s", p.version, p.Manifest.Cluster.Version,
			strings.Join(refused, "; "))
	}
	return nil
}

// refusesTemplate asks about a template of a section, if it is one that the server checks by itself, not with others that it is composed of.
func (p *Plan) refusesTemplate(ctx context.Context, x *PlannedObject) (string, error) {
	if !strings.HasSuffix(x.Section, "_templates") {
		return "", nil
	}
	var body, template struct {
		Template   json.RawMessage `json:"template"`
		ComposedOf []string        `json:"composed_of"`
		Settings   json.RawMessage `json:"settings"`
		Mappings   json.RawMessage `json:"mappings"`
	}
	err := json.Unmarshal(x.raw, &body)
	if template = body; err == nil && len(body.Template) > 0 { // a legacy one has the members itself
		err = json.Unmarshal(body.Template, &template)
	}
	m := &metadata{settings: map[string]json.RawMessage{}}
	if err == nil && len(template.Settings) > 0 {
		flat := map[string]json.RawMessage{}
		err = flatten("", template.Settings, flat)
		for name, v := range flat {
			m.settings[strings.TrimPrefix(name, "index.")] = v
		}
	}
	if err == nil {
		err = p.learn(ctx, m)
	}
	if err != nil {
		return "", err
	}
	if unknown := p.unknown(m); len(unknown) > 0 {
		return "setting " + unknown[0], nil
	}
	if len(body.ComposedOf) > 0 || len(template.Mappings) == 0 {
		return "", nil
	}
	settings := map[string]json.RawMessage{}
	for name, v := range m.settings {
		// Some modes want of an index what a template need not have.
		if elastic.Match([]string{"analysis.*", "similarity.*", "mapping.*"}, name) {
			settings["index."+name] = v
		}
	}
	b, err := json.Marshal(map[string]any{"settings": settings, "mappings": template.Mappings})
	if err != nil {
		return "", err
	}
	return p.refuses(ctx, b)
}

// refuses asks what an index template would amount to, and returns the server's words if it could not make an index of it.
func (p *Plan) refuses(ctx context.Context, template json.RawMessage) (string, error) {
	b, err := json.Marshal(map[string]any{"index_patterns": []string{"escrow-mappings-" + random()}, "priority": 1 << 30, "template": template})
	if err != nil {
		return "", err
	}
	_, err = p.c.Do(ctx, elastic.Request{Method: "POST", Path: "/_index_template/_simulate", Body: b})
	var answer *elastic.Error
	if err != nil && (!errors.As(err, &answer) || elastic.Retryable(err)) {
		return "", fmt.Errorf("ask whether the server takes its mapping: %w", err)
	}
	// Nothing else is about the mapping: who may not ask, or a server without the interface, says it with other words.
	if answer == nil || answer.Innermost == "" || !strings.Contains(answer.Reason, "template after composition is invalid") {
		return "", nil
	}
	return answer.Innermost, nil
}

// unknown are the settings among m's that the server does not know; they are taken out, with the reason for each.
func (p *Plan) unknown(m *metadata) (removed []string) {
	for _, name := range keysOf(m.settings) {
		if known, asked := p.known[name]; asked && !known {
			delete(m.settings, name)
			removed = append(removed, fmt.Sprintf("%s: version %s does not know it, %s did", name, p.version, p.Manifest.Cluster.Version))
		}
	}
	return removed
}
