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

// references lets objects of sections follow the new names of what they name. A nil one changes nothing.
type references struct {
	o  *Options
	to map[string]string // new names of all indices, data streams and aliases that are restored, by those in the backup
	in map[string]bool   // the indices and data streams of the backup
}

// newReferences returns nil if nothing gets a new name.
func newReferences(src fs.FS, m *layout.Manifest, o *Options, chosen []choice, streams []streamChoice) (*references, error) {
	if len(o.Rename)+len(o.RenameAliases) == 0 {
		return nil, nil
	}
	r := &references{o: o, to: map[string]string{}, in: map[string]bool{}}
	for _, ix := range m.Indices {
		r.in[ix.Name] = true
	}
	aliases := func(of map[string]json.RawMessage) {
		for name := range of {
			if !elastic.Match(o.ExcludeAliases, name) {
				r.to[name] = rename(o.RenameAliases, name)
			}
		}
	}
	for _, d := range m.DataStreams {
		r.in[d.Name] = true
	}
	for _, ch := range streams {
		r.to[ch.stream.Name] = ch.to
		s, err := readStream(src, m, ch.stream.Name, &elastic.DataStream{})
		if err != nil {
			return nil, err
		}
		of, err := aliasesOf(s)
		if err != nil {
			return nil, fmt.Errorf("data stream %s: aliases: %w", ch.stream.Name, err)
		}
		aliases(of)
		for _, c := range ch.members {
			r.to[c.index.Name] = c.to
		}
	}
	for _, c := range chosen {
		r.to[c.index.Name] = c.to
		meta, err := readMetadata(src, c.index.Name)
		if err != nil {
			return nil, err
		}
		aliases(meta.aliases)
	}
	return r, nil
}

// follow changes the names in an object of a section, and tells those that it could not change though a rule is about them.
func (r *references) follow(section string, raw json.RawMessage) (json.RawMessage, []string, error) {
	if r == nil || section != "transforms" && section != "enrich_policies" && section != "watches" {
		return raw, nil, nil
	}
	var doc map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // they come out as they went in
	if err := d.Decode(&doc); err != nil {
		return nil, nil, err
	}
	f := &following{r: r}
	switch section {
	case "transforms":
		f.names(doc, "source", "index")
		f.made = true
		f.names(doc, "dest", "index")
		f.made = false
		dest, _ := doc["dest"].(map[string]any)
		aliases, _ := dest["aliases"].([]any)
		for _, a := range aliases {
			if a, ok := a.(map[string]any); ok {
				f.alias(a, "alias")
			}
		}
	case "enrich_policies":
		for kind := range doc {
			f.names(doc, kind, "indices")
		}
	case "watches":
		f.watch(doc["watch"])
	}
	if !f.changed {
		return raw, f.left, nil
	}
	out, err := json.Marshal(doc)
	return out, f.left, err
}

// following is the work on one object.
type following struct {
	r       *references
	made    bool // the index need not be there: the object makes it
	changed bool
	left    []string
}

// names changes the names at a path: one, or a list.
func (f *following) names(doc map[string]any, path ...string) {
	at := doc
	for _, p := range path[:len(path)-1] {
		at, _ = at[p].(map[string]any) // nil holds nothing
	}
	last := path[len(path)-1]
	switch v := at[last].(type) {
	case string:
		at[last] = f.expression(v, strings.Join(path, "."))
	case []any:
		for i := range v {
			if s, ok := v[i].(string); ok {
				v[i] = f.expression(s, strings.Join(path, "."))
			}
		}
	}
}

func (f *following) alias(at map[string]any, key string) {
	if name, ok := at[key].(string); ok {
		if to := rename(f.r.o.RenameAliases, name); to != name {
			at[key], f.changed = to, true
		}
	}
}

// watch looks for searches and for actions that index, wherever they are in a watch.
func (f *following) watch(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			f.watch(e)
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			in, ok := v[k].(map[string]any)
			switch {
			case ok && k == "search":
				if request, ok := in["request"].(map[string]any); ok {
					f.names(map[string]any{"search": map[string]any{"request": request}}, "search", "request", "indices")
				}
			case ok && k == "index":
				f.made = true
				f.names(map[string]any{"index": in}, "index", "index")
				f.made = false
			case k != "body" && k != "metadata":
				f.watch(v[k])
			}
		}
	}
}

// expression gives an index expression its new names: of one or more parts with commas between them, each a name or a pattern.
func (f *following) expression(text, where string) string {
	parts := strings.Split(text, ",")
	if strings.ContainsAny(text, "<{") {
		parts = []string{text}
	}
	for i, part := range parts {
		name, selector, selects := strings.Cut(part, "::")
		minus := ""
		if rest, ok := strings.CutPrefix(name, "-"); ok {
			minus, name = "-", rest
		}
		to, why := f.r.name(name, f.made)
		if why != "" {
			f.left = append(f.left, fmt.Sprintf("%s keeps %s: %s", where, name, why))
		}
		if parts[i] = minus + to; selects {
			parts[i] += "::" + selector
		}
	}
	out := strings.Join(parts, ",")
	f.changed = f.changed || out != text
	return out
}

// name is what a name or pattern is to be called. why is not empty if it stays, and perhaps should not.
func (r *references) name(name string, made bool) (to, why string) {
	byRule := rename(r.o.Rename, name)
	switch {
	case strings.Contains(name, "{{"):
		return name, "its names are made when it is used"
	case strings.HasPrefix(name, "<"):
		if inner := strings.Trim(name, "<>"); rename(r.o.Rename, inner) != inner || rename(r.o.RenameAliases, inner) != inner {
			return name, "it is made of the date"
		}
	case strings.Contains(name, ":"): // of another cluster
	case strings.Contains(name, "*"):
		return r.pattern(name)
	case r.to[name] != "":
		return r.to[name], ""
	case made && !r.in[name]:
		return byRule, ""
	case byRule != name:
		return name, "it is not restored"
	}
	return name, ""
}

// pattern finds the pattern that matches under their new names what this one matches.
func (r *references) pattern(p string) (to, why string) {
	want, moved := map[string]bool{}, false
	visible := func(name string) bool { return name[0] != '.' || p[0] == '.' }
	for from, to := range r.to {
		if visible(from) && elastic.Match([]string{p}, from) {
			want[to] = true
			moved = moved || from != to
		}
	}
	byRule := rename(r.o.Rename, p)
	if !moved {
		if len(want) == 0 && byRule != p {
			return p, "nothing that it matches is restored"
		}
		return p, ""
	}
	for _, candidate := range []string{byRule, rename(r.o.RenameAliases, p), p} {
		same := true
		for _, to := range r.to {
			same = same && (want[to] == (visible(to) && elastic.Match([]string{candidate}, to)))
		}
		if same {
			return candidate, ""
		}
	}
	return p, "no pattern matches just what is called otherwise now"
}
