package elastic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Section is a kind of things that a cluster holds beside its indices: how they are listed, written, compared and told from
// those that the server itself keeps.
type Section struct {
	Name  string
	OptIn bool // only where it is asked for by name
	// Kibana: it is asked of Kibana, not of Elasticsearch.
	Kibana bool

	// Late: it is restored after the indices and data streams. Of a section that is not, single objects may be.
	Late bool
	// after is the section that some objects must wait for, and needs says which.
	after string
	needs func(raw json.RawMessage) bool

	list    listing
	put     writing
	managed []string // dotted paths that are true in an object which the server or a product keeps
	builtin string   // likewise, of one that cannot be written at all
	// absent are the statuses that say that the server has no such feature.
	absent []int
	secret string // text that stands where the server hides a part of an object
}

// listing is the request that lists a section, and where the objects stand in its answer.
type listing struct {
	method, path string
	query        url.Values
	at           []string // members that lead to the objects
	name         []string // members that lead to an element's name, "*" for any one; nil: the objects are members themselves
	pick         string   // the member of an element that is the object; empty: all of it
	pages        paging
}

type paging int

const (
	onePage paging = iota
	inQuery        // from and size in the query, the answer counts all
	inBody         // in the body
)

// writing is the request that writes an object.
type writing struct {
	method, path string // {name} stands for the name
	query        url.Values
	pick         string   // the member that counts; empty: all
	keep         []string // the members that count; nil: all
	drop         []string // members that do not count: the server makes them itself, or refuses them
	wrap         string   // the member of the body that the object becomes
	byName       bool     // the wrapped object is {name: object}
	deleteFirst  bool     // an object that exists is not overwritten by the server
	after        string   // a request that must follow
	state        []string // members that lead to a bool, which is said in the query as "active"
}

var none = []int{400, 404, 405}

// made are what newer servers add to templates and pipelines.
var made = []string{"created_date", "created_date_millis", "modified_date", "modified_date_millis"}

// sections is the one place that knows them, in the order in which they are restored: what is needed by others comes
// first. Scripts are compiled when a pipeline names them; lifecycle policies are checked for nothing but repositories; index
// templates must find their component templates. Then come indices and data streams, which need templates; then what is made
// of indices: enrich policies, which are executed at once, the pipelines that use them, transforms, watches. Last, Kibana's
// objects, which live in spaces and show indices.
var sections = []Section{
	{
		Name: "cluster_settings", OptIn: true, absent: none,
		list: listing{method: "GET", path: "/_cluster/settings", query: url.Values{"flat_settings": {"true"}}, at: []string{"persistent"}},
		put:  writing{method: "PUT", path: "/_cluster/settings", wrap: "persistent", byName: true},
	},
	{
		Name: "stored_scripts", absent: none,
		list: listing{method: "GET", path: "/_cluster/state/metadata", query: url.Values{"filter_path": {"metadata.stored_scripts"}},
			at: []string{"metadata", "stored_scripts"}},
		put: writing{method: "PUT", path: "/_scripts/{name}", wrap: "script"},
	},
	{
		Name: "ingest_pipelines", absent: none, managed: []string{"_meta.managed"}, after: "enrich_policies", needs: enriches,
		list: listing{method: "GET", path: "/_ingest/pipeline"},
		put:  writing{method: "PUT", path: "/_ingest/pipeline/{name}", drop: made},
	},
	{
		Name: "security_roles", OptIn: true, absent: none, builtin: "metadata._reserved",
		list: listing{method: "GET", path: "/_security/role"},
		put:  writing{method: "PUT", path: "/_security/role/{name}", drop: []string{"transient_metadata"}},
	},
	{
		Name: "security_role_mappings", OptIn: true, absent: none, builtin: "metadata._read_only",
		list: listing{method: "GET", path: "/_security/role_mapping"},
		put:  writing{method: "PUT", path: "/_security/role_mapping/{name}"},
	},
	{
		Name: "security_users", OptIn: true, absent: none, builtin: "metadata._reserved",
		list: listing{method: "GET", path: "/_security/user"},
		put:  writing{method: "PUT", path: "/_security/user/{name}", drop: []string{"username", "profile_uid"}},
	},
	{
		Name: "slm_policies", absent: none,
		list: listing{method: "GET", path: "/_slm/policy"},
		put:  writing{method: "PUT", path: "/_slm/policy/{name}", pick: "policy"},
	},
	{
		Name: "ilm_policies", absent: none, managed: []string{"policy._meta.managed"},
		list: listing{method: "GET", path: "/_ilm/policy"},
		put:  writing{method: "PUT", path: "/_ilm/policy/{name}", keep: []string{"policy"}},
	},
	{
		Name: "component_templates", absent: none, managed: []string{"_meta.managed"},
		list: listing{method: "GET", path: "/_component_template", at: []string{"component_templates"}, name: []string{"name"}, pick: "component_template"},
		put:  writing{method: "PUT", path: "/_component_template/{name}", drop: made},
	},
	{
		Name: "index_templates", absent: none, managed: []string{"_meta.managed"},
		list: listing{method: "GET", path: "/_index_template", at: []string{"index_templates"}, name: []string{"name"}, pick: "index_template"},
		put:  writing{method: "PUT", path: "/_index_template/{name}", drop: made},
	},
	{
		Name: "legacy_templates", absent: none,
		list: listing{method: "GET", path: "/_template"},
		put:  writing{method: "PUT", path: "/_template/{name}"},
	},

	// Here stand the indices and data streams.

	{
		Name: "enrich_policies", Late: true, absent: none,
		list: listing{method: "GET", path: "/_enrich/policy", at: []string{"policies"}, name: []string{"config", "*", "name"}, pick: "config"},
		put: writing{method: "PUT", path: "/_enrich/policy/{name}", drop: []string{"*.name"}, deleteFirst: true,
			after: "/_enrich/policy/{name}/_execute"},
	},
	{
		Name: "transforms", Late: true, absent: none, managed: []string{"_meta.managed"},
		list: listing{method: "GET", path: "/_transform", at: []string{"transforms"}, name: []string{"id"}, pages: inQuery},
		put: writing{method: "PUT", path: "/_transform/{name}", query: url.Values{"defer_validation": {"true"}}, deleteFirst: true,
			drop: []string{"id", "version", "create_time", "authorization"}},
	},
	{
		Name: "watches", Late: true, absent: none, secret: "::es_redacted::",
		list: listing{method: "POST", path: "/_watcher/_query/watches", at: []string{"watches"}, name: []string{"_id"}, pages: inBody},
		put:  writing{method: "PUT", path: "/_watcher/watch/{name}", pick: "watch", state: []string{"status", "state", "active"}},
	},
	{
		Name: "kibana_spaces", OptIn: true, Kibana: true, Late: true, absent: []int{404}, managed: []string{"_reserved"},
		list: listing{method: "GET", path: "/api/spaces/space", name: []string{"id"}},
		put:  writing{path: "/api/spaces/space", drop: []string{"_reserved"}},
	},
	{
		Name: KibanaObjects, OptIn: true, Kibana: true, Late: true, absent: []int{404},
		put: writing{drop: []string{"updated_at", "updated_by", "created_at", "created_by", "version", "managed", "coreMigrationVersion",
			"typeMigrationVersion", "namespaces", "originId", "sort"}},
	},
}

// KibanaObjects is the section of Kibana's saved objects, which are written in one request a space.
const KibanaObjects = "kibana_objects"

// Sections returns all sections in the order in which they are restored.
func Sections() []*Section {
	all := make([]*Section, len(sections))
	for i := range sections {
		all[i] = &sections[i]
	}
	return all
}

// After is the section that an object must wait for, besides those before its own; empty for most.
func (s *Section) After(raw json.RawMessage) string {
	if s.needs != nil && s.needs(raw) {
		return s.after
	}
	return ""
}

// Rank is the place of an object in the order of restoring, and late says that it comes after the indices and data streams.
func (s *Section) Rank(raw json.RawMessage) (rank int, late bool) {
	name := s.Name
	if after := s.After(raw); after != "" {
		name, rank = after, 1
	}
	for i := range sections {
		if sections[i].Name == name {
			return rank + 2*i, sections[i].Late
		}
	}
	return rank, s.Late
}

// enriches reports whether a pipeline has an enrich processor, which the server takes only once its policy was executed.
func enriches(raw json.RawMessage) bool {
	var v any
	return json.Unmarshal(raw, &v) == nil && hasProcessor(v, "enrich")
}

func hasProcessor(v any, kind string) bool {
	switch v := v.(type) {
	case map[string]any:
		if p, ok := v[kind].(map[string]any); ok && p["policy_name"] != nil {
			return true
		}
		for _, e := range v {
			if hasProcessor(e, kind) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(e any) bool { return hasProcessor(e, kind) })
	}
	return false
}

// Managed reports whether an object belongs to the server or to a product, which keeps it up to date: its name begins with
// a dot, or it says so.
func (s *Section) Managed(name string, raw json.RawMessage) bool {
	return strings.HasPrefix(name, ".") || slices.ContainsFunc(s.managed, func(p string) bool { return isTrue(raw, p) })
}

// Builtin reports whether the server refuses to write an object.
func (s *Section) Builtin(raw json.RawMessage) bool { return s.builtin != "" && isTrue(raw, s.builtin) }

// Hidden reports whether the server hides a part of an object.
func (s *Section) Hidden(raw json.RawMessage) bool {
	return s.secret != "" && bytes.Contains(raw, []byte(s.secret))
}

func isTrue(raw json.RawMessage, path string) bool {
	v := string(bytes.TrimSpace(member(raw, strings.Split(path, "."))))
	return v == "true" || v == `"true"`
}

// member follows a path of members; "*" is the first one. It returns nil where there is none.
func member(raw json.RawMessage, path []string) json.RawMessage {
	for _, p := range path {
		var m map[string]json.RawMessage
		if json.Unmarshal(raw, &m) != nil {
			return nil
		}
		raw = m[p]
		if p == "*" {
			raw = nil
			for _, v := range m {
				raw = v
			}
		}
		if raw == nil {
			return nil
		}
	}
	return raw
}

// without removes the members at dotted paths.
func without(raw json.RawMessage, paths []string) (json.RawMessage, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	for _, p := range paths {
		head, rest, deeper := strings.Cut(p, ".")
		for k, v := range m {
			if k != head && head != "*" {
				continue
			}
			if !deeper {
				delete(m, k)
				continue
			}
			w, err := without(v, []string{rest})
			if err != nil {
				return nil, err
			}
			m[k] = w
		}
	}
	return plain(m)
}

// plain encodes without escaping what HTML would need.
func plain(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// Content is what counts of an object: what is written, and what two objects are compared by. The server's own additions are
// not in it.
func (s *Section) Content(raw json.RawMessage) (json.RawMessage, error) {
	w := &s.put
	body := raw
	if w.pick != "" {
		if body = member(raw, []string{w.pick}); body == nil {
			return nil, fmt.Errorf("it has no %q", w.pick)
		}
	}
	if w.keep == nil && w.drop == nil {
		return body, nil
	}
	if w.keep != nil {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(body, &m); err != nil {
			return nil, err
		}
		for k := range m {
			if !slices.Contains(w.keep, k) {
				delete(m, k)
			}
		}
		return plain(m)
	}
	return without(body, w.drop)
}

// Active is the state that goes with an object: "true", "false", or empty where the section has none.
func (s *Section) Active(raw json.RawMessage) string {
	if s.put.state == nil {
		return ""
	}
	return string(bytes.TrimSpace(member(raw, s.put.state)))
}

// Recreate reports whether an object that exists must be deleted before it can be written.
func (s *Section) Recreate() bool { return s.put.deleteFirst }
