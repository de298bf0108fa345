package restore

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

// dump backs a cluster up into a directory.
func dump(t *testing.T, es elastictransport.Interface, o *backup.Options) (fs.FS, *layout.Manifest) {
	t.Helper()
	dir := t.TempDir()
	to, err := backup.Dir(dir)
	require.NoError(t, err)
	m, err := backup.Dump(t.Context(), es, to, o)
	require.NoError(t, err)
	require.NoError(t, to.Close())
	return os.DirFS(dir), m
}

// must sends a request that succeeds.
func must(t *testing.T, es elastictransport.Interface, method, path, body string) json.RawMessage {
	t.Helper()
	res, err := elastic.New(es, nil).Do(t.Context(), elastic.Request{Method: method, Path: path, Body: []byte(body)})
	require.NoError(t, err)
	return res.Body
}

// restored plans and runs.
func restored(t *testing.T, src fs.FS, es elastictransport.Interface, o Options) (*Plan, *Result) {
	t.Helper()
	p, err := NewPlan(t.Context(), src, es, fast(o))
	require.NoError(t, err)
	r, err := p.Run(t.Context())
	require.NoError(t, err)
	return p, r
}

// everything is at least one object of each section: the request that makes it, and the one that shows it.
var everything = []struct{ section, name, path, body string }{
	{"cluster_settings", "indices.recovery.max_bytes_per_sec", "/_cluster/settings", `{"persistent":{"indices.recovery.max_bytes_per_sec":"50mb"}}`},
	{"stored_scripts", "s/1", "/_scripts/s%2F1", `{"script":{"lang":"painless","source":"ctx.a = '<b>&'"}}`},
	{"ingest_pipelines", "clean", "/_ingest/pipeline/clean", `{"description":"é","processors":[{"set":{"field":"a","value":1.0}}]}`},
	{"security_roles", "reader", "/_security/role/reader", `{"cluster":["monitor"],"indices":[{"names":["a*"],"privileges":["read"]}]}`},
	{"security_role_mappings", "m1", "/_security/role_mapping/m1", `{"enabled":true,"roles":["reader"],"rules":{"field":{"username":"*"}}}`},
	{"security_users", "kim", "/_security/user/kim", `{"password":"a-secret","roles":["reader"],"full_name":"Kim"}`},
	{"slm_policies", "nightly", "/_slm/policy/nightly", `{"schedule":"0 30 1 * * ?","name":"<n-{now/d}>","repository":"r","config":{"indices":["*"]}}`},
	{"ilm_policies", "hot", "/_ilm/policy/hot", `{"policy":{"phases":{"hot":{"actions":{"rollover":{"max_age":"1d"}}}}}}`},
	{"component_templates", "c1", "/_component_template/c1", `{"template":{"mappings":{"properties":{"a":{"type":"keyword"}}}}}`},
	{"index_templates", "t1", "/_index_template/t1", `{"index_patterns":["x-*"],"composed_of":["c1"],"priority":7,"template":{"settings":{"index.number_of_replicas":0}}}`},
	{"index_templates", "t2", "/_index_template/t2", `{"index_patterns":["y-*"],"composed_of":["nope"],"ignore_missing_component_templates":["nope"]}`},
	{"legacy_templates", "old", "/_template/old", `{"index_patterns":["z-*"],"order":3,"settings":{"index.number_of_replicas":"0"}}`},
	{"enrich_policies", "users", "/_enrich/policy/users", `{"match":{"indices":["people"],"match_field":"id","enrich_fields":["name"]}}`},
	{"transforms", "sums", "/_transform/sums", `{"source":{"index":["people"]},"dest":{"index":"sums"},"pivot":{"group_by":{"n":{"terms":{"field":"n"}}},"aggregations":{"c":{"value_count":{"field":"n"}}}}}`},
	{"watches", "w1", "/_watcher/watch/w1?active=false", `{"trigger":{"schedule":{"interval":"10m"}},"input":{"simple":{}},"actions":{}}`},
}

// full is a cluster that holds everything, with a pipeline that needs an enrich policy, which needs an index.
func full(t *testing.T) (*estest.Handler, elastictransport.Interface) {
	t.Helper()
	h := estest.NewHandler(nil)
	es := h.Transport()
	must(t, es, "PUT", "/people", `{"mappings":{"properties":{"id":{"type":"keyword"}}}}`)
	must(t, es, "PUT", "/people/_doc/1?refresh=true", `{"id":"1","name":"Kim"}`)
	for _, x := range everything {
		must(t, es, "PUT", x.path, x.body)
	}
	must(t, es, "PUT", "/_enrich/policy/users/_execute", "")
	must(t, es, "PUT", "/_ingest/pipeline/enriched", `{"processors":[{"foreach":{"field":"l","processor":{"enrich":{"policy_name":"users","field":"id","target_field":"u"}}}}]}`)
	must(t, es, "PUT", "/people/_settings", `{"index.default_pipeline":"enriched"}`)
	return h, es
}

// shown is everything that the clusters' own answers say, as compared.
func shown(t *testing.T, es elastictransport.Interface) map[string]string {
	t.Helper()
	out := map[string]string{}
	c := elastic.New(es, nil)
	for _, s := range elastic.Sections() {
		if s.Kibana {
			continue
		}
		objects, err := c.Objects(t.Context(), s)
		require.NoError(t, err)
		for name, raw := range objects {
			content, err := s.Content(raw)
			require.NoError(t, err)
			flat, err := leaves(content)
			require.NoError(t, err)
			out[s.Name+"/"+name] = fmt.Sprint(flat, s.Active(raw))
		}
	}
	return out
}

func TestEverySectionRoundTrip(t *testing.T) {
	_, es := full(t)
	src, m := dump(t, es, &backup.Options{Sections: []string{"*"}})
	covered := map[string]bool{}
	for _, x := range everything {
		covered[x.section] = true
		objects, err := layout.ReadSection(src, m, x.section)
		require.NoError(t, err)
		require.Contains(t, objects, x.name)
	}
	for _, s := range elastic.Sections() {
		require.True(t, s.Kibana || covered[s.Name], s.Name)
	}
	want := shown(t, es)
	require.Contains(t, want["watches/w1"], "false")

	to := estest.NewHandler(nil).Transport()
	p, r := restored(t, src, to, Options{Sections: []string{"*"}})
	require.Equal(t, want, shown(t, to))
	require.Equal(t, len(everything)+1, r.Objects)
	require.Equal(t, 2, r.ObjectsLeft, "a built-in role and user")
	require.Contains(t, p.String(), "create   ingest_pipelines/clean\n")
	d, err := Verify(t.Context(), src, to, &Options{Sections: []string{"*"}})
	require.NoError(t, err)
	require.True(t, d.Identical(), d.String())

	// What is equal is left alone, in every mode.
	for _, mode := range []Conflict{Skip, Merge, Replace} {
		p, err := NewPlan(t.Context(), src, to, fast(Options{Sections: []string{"*"}, Conflict: mode}))
		require.NoError(t, err)
		for _, x := range p.Objects {
			require.Contains(t, []string{"equal", "builtin"}, x.Action, x.Name)
		}
	}
}

func TestOptInSectionsAreAskedFor(t *testing.T) {
	_, es := full(t)
	src, m := dump(t, es, nil)
	var names []string
	for _, s := range m.Sections {
		names = append(names, s.Name)
	}
	require.Equal(t, []string{"stored_scripts", "ingest_pipelines", "slm_policies", "ilm_policies", "component_templates", "index_templates",
		"legacy_templates", "enrich_policies", "transforms", "watches"}, names)
	_, err := NewPlan(t.Context(), src, es, fast(Options{Sections: []string{"security_users"}}))
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = NewPlan(t.Context(), src, es, fast(Options{Sections: []string{"nonsense"}}))
	require.ErrorContains(t, err, `section "nonsense": there is none of that name; there are cluster_settings, `)
	_, err = NewPlan(t.Context(), src, es, fast(Options{Sections: []string{"kibana_spaces"}}))
	require.ErrorContains(t, err, "needs a connection to Kibana")
	_, m = dump(t, es, &backup.Options{Sections: []string{"none"}})
	require.Empty(t, m.Sections)
	src, m = dump(t, es, &backup.Options{Sections: []string{"ingest_pipelines/cl*", "default", "legacy_templates/none"}})
	require.Len(t, m.Sections, 10, "default wins over a part")
	_ = src
	src, m = dump(t, es, &backup.Options{Sections: []string{"ingest_pipelines/cl*", "legacy_templates/none"}})
	require.Equal(t, []layout.Section{{Name: "ingest_pipelines", Objects: 1}, {Name: "legacy_templates"}}, m.Sections)
	objects, err := layout.ReadSection(src, m, "ingest_pipelines")
	require.NoError(t, err)
	require.Contains(t, objects, "clean")
}

func TestOneSectionAlone(t *testing.T) {
	_, es := full(t)
	src, _ := dump(t, es, nil)
	to := estest.NewHandler(nil).Transport()
	_, r := restored(t, src, to, Options{Sections: []string{"ingest_pipelines/clean", "ilm_policies"}, Exclude: []string{"*"}})
	require.Equal(t, 2, r.Objects)
	require.Zero(t, r.Indices)
	got := shown(t, to)
	require.Contains(t, got, "ingest_pipelines/clean")
	require.Contains(t, got, "ilm_policies/hot")
	require.NotContains(t, got, "legacy_templates/old")
	require.False(t, exists(t, to, "people"))
	_, err := NewPlan(t.Context(), src, to, fast(Options{Sections: []string{"ingest_pipelines/nope"}, Exclude: []string{"*"}}))
	require.ErrorIs(t, err, fs.ErrNotExist)

	// A restore of chosen indices is of these alone.
	to = estest.NewHandler(nil).Transport()
	_, r = restored(t, src, to, Options{Indices: []string{"people"}})
	require.Zero(t, r.Objects)
	require.True(t, exists(t, to, "people"))
}

func TestSectionConflicts(t *testing.T) {
	_, es := full(t)
	src, _ := dump(t, es, nil)
	for _, mode := range []Conflict{Fail, Skip, Replace, Merge} {
		h := estest.NewHandler(nil)
		to := h.Transport()
		must(t, to, "PUT", "/_ingest/pipeline/clean", `{"processors":[]}`)
		must(t, to, "PUT", "/people", ``)
		must(t, to, "PUT", "/_enrich/policy/users", `{"match":{"indices":["people"],"match_field":"other","enrich_fields":["name"]}}`)
		must(t, to, "DELETE", "/people", "")
		h.ResetRequests()
		p, err := NewPlan(t.Context(), src, to, fast(Options{Conflict: mode}))
		if mode == Fail {
			require.ErrorIs(t, err, fs.ErrExist)
			require.ErrorContains(t, err, "these exist already, with other contents: ingest_pipelines/clean, enrich_policies/users")
			for _, r := range h.Requests("") {
				require.True(t, r.Method == "GET" || strings.Contains(r.Path, "_watcher/_query"), r.Path)
			}
			continue
		}
		require.NoError(t, err)
		r, err := p.Run(t.Context())
		require.NoError(t, err)
		pipeline := string(must(t, to, "GET", "/_ingest/pipeline/clean", ""))
		policy := string(must(t, to, "GET", "/_enrich/policy/users", ""))
		if mode == Skip {
			require.Contains(t, p.String(), "skip     ingest_pipelines/clean\n")
			require.NotContains(t, pipeline, "é")
			require.Contains(t, policy, `"other"`)
			require.Equal(t, 2, r.ObjectsLeft)
			d, err := Verify(t.Context(), src, to, &Options{})
			require.NoError(t, err)
			require.Len(t, d.Objects, 2)
			require.Contains(t, d.String(), "ingest_pipelines/clean:\n  ingest_pipelines: description: backup \"é\", cluster none\n")
			continue
		}
		require.Contains(t, pipeline, "é")
		require.NotContains(t, policy, `"other"`)
		require.Contains(t, p.String(), "replace  ingest_pipelines/clean\n")
	}
}

func TestManagedObjectsAreTheClustersOwn(t *testing.T) {
	es := estest.NewHandler(nil).Transport()
	for _, x := range [][2]string{
		{"/_ilm/policy/logs", `{"policy":{"_meta":{"managed":true},"phases":{"hot":{"min_age":"OLD"}}}}`},
		{"/_component_template/.own", `{"template":{"settings":{"index.number_of_replicas":0}}}`},
		{"/_index_template/fleet", `{"index_patterns":["f-*"],"_meta":{"managed":true}}`},
	} {
		must(t, es, "PUT", x[0], x[1])
	}
	src, m := dump(t, es, nil)
	objects, err := layout.ReadSection(src, m, "ilm_policies")
	require.NoError(t, err)
	require.Len(t, objects, 1, "they are recorded")
	target := func() elastictransport.Interface {
		to := estest.NewHandler(nil).Transport()
		must(t, to, "PUT", "/_ilm/policy/logs", `{"policy":{"_meta":{"managed":true},"phases":{"hot":{"min_age":"NEW"}}}}`)
		must(t, to, "PUT", "/_component_template/.own", `{"template":{"settings":{"index.number_of_replicas":1}}}`)
		return to
	}
	to := target()
	p, _ := restored(t, src, to, Options{}) // not even a conflict
	require.Contains(t, string(must(t, to, "GET", "/_ilm/policy/logs", "")), "NEW")
	require.Contains(t, string(must(t, to, "GET", "/_component_template/.own", "")), `"1"`)
	require.Contains(t, string(must(t, to, "GET", "/_index_template/fleet", "")), "f-*", "one that is not there is made")
	require.Contains(t, p.String(), "1 objects of sections to write; 0 are equal, 2 are kept by the cluster itself\n")
	d, err := Verify(t.Context(), src, to, nil)
	require.NoError(t, err)
	require.True(t, d.Identical(), d.String())

	to = target()
	restored(t, src, to, Options{Managed: true, Conflict: Replace})
	require.Contains(t, string(must(t, to, "GET", "/_ilm/policy/logs", "")), "OLD")
	_, err = NewPlan(t.Context(), src, target(), fast(Options{Managed: true}))
	require.ErrorIs(t, err, fs.ErrExist)
}

func TestAbsentFeatures(t *testing.T) {
	for _, status := range []int{400, 404, 405} {
		h, es := full(t)
		h.Inject().PathMatch("^/_(ilm|enrich|watcher)/").Error(status, "some_exception", "no handler found for uri")
		src, m := dump(t, es, nil)
		require.Empty(t, m.Omitted)
		for _, s := range m.Sections {
			absent := s.Name == "ilm_policies" || s.Name == "enrich_policies" || s.Name == "watches"
			require.Equal(t, absent, s.Absent != "", s.Name)
			if absent {
				require.Contains(t, s.Absent, fmt.Sprintf("status %d", status))
			}
			_, err := fs.Stat(src, layout.SectionPath(s.Name))
			require.Equal(t, absent, err != nil, s.Name)
		}
		// The other way round: what the backup has and the cluster cannot take is said before anything is written.
		h.ClearFaults()
		src, _ = dump(t, es, nil)
		to := estest.NewHandler(nil)
		to.Inject().Path("/_ilm/policy").Error(status, "some_exception", "no handler found for uri")
		_, err := NewPlan(t.Context(), src, to.Transport(), fast(Options{}))
		require.ErrorContains(t, err, "section ilm_policies: hot cannot be restored; leave the section out")
	}
	h, es := full(t)
	h.Inject().Path("/_watcher").Error(403, "security_exception", "current license is non-compliant for [watcher]")
	_, m := dump(t, es, nil)
	require.Contains(t, m.Sections[len(m.Sections)-1].Absent, "license")
}

func TestForbiddenAndFailingSections(t *testing.T) {
	for _, s := range elastic.Sections() {
		if s.Kibana {
			continue
		}
		path := map[string]string{"stored_scripts": "filter_path=metadata.stored_scripts", "cluster_settings": "/_cluster/settings"}[s.Name]
		if path == "" {
			path = "/_" + strings.Split(s.Name, "_")[0]
		}
		switch s.Name {
		case "legacy_templates":
			path = "/_template"
		case "component_templates", "index_templates":
			path = "/_" + strings.TrimSuffix(s.Name, "s")
		case "transforms":
			path = "/_transform"
		case "watches":
			path = "/_watcher"
		case "security_roles":
			path = "/_security/role?"
		}
		match := strings.ReplaceAll(path, "?", `\??$`)
		h, es := full(t)
		h.Inject().PathMatch(match).Error(403, "security_exception", "action is unauthorized for user")
		_, err := backup.Dump(t.Context(), es, nopTarget{}, &backup.Options{Sections: []string{s.Name}})
		var omitted *backup.OmissionError
		require.ErrorAs(t, err, &omitted, s.Name)
		require.Equal(t, "section "+s.Name, omitted.Omitted[0].What)
		_, m := dump(t, es, &backup.Options{Sections: []string{s.Name}, AllowOmissions: true})
		require.Len(t, m.Omitted, 1)
		require.Empty(t, m.Sections)

		h.ClearFaults()
		h.Inject().PathMatch(match).Error(500, "internal", "broken")
		_, err = backup.Dump(t.Context(), es, nopTarget{}, &backup.Options{Sections: []string{s.Name}, AllowOmissions: true, Retries: -1})
		require.ErrorContains(t, err, "back up section "+s.Name, s.Name)
	}
}

// nopTarget forgets what is written.
type nopTarget struct{}

func (nopTarget) Create(ctxOf, string) (backup.File, error) { return nopFile{}, nil }

type nopFile struct{}

func (nopFile) Write(p []byte) (int, error) { return len(p), nil }
func (nopFile) Close() error                { return nil }
func (nopFile) Abort() error                { return nil }

func TestAHiddenSecretIsAnOmission(t *testing.T) {
	_, es := full(t)
	must(t, es, "PUT", "/_watcher/watch/mail", `{"trigger":{},"actions":{"a":{"webhook":{"auth":{"basic":{"password":"::es_redacted::"}}}}}}`)
	_, err := backup.Dump(t.Context(), es, nopTarget{}, nil)
	require.ErrorContains(t, err, "section watches: mail: the server hides a secret in it")
	_, m := dump(t, es, &backup.Options{AllowOmissions: true})
	require.Equal(t, "section watches: mail", m.Omitted[0].What)
	require.Equal(t, 1, m.Sections[len(m.Sections)-1].Objects)
}

func TestUsersAndTheirHashes(t *testing.T) {
	h, es := full(t)
	src, m := dump(t, es, &backup.Options{Sections: []string{"security_users"}})
	users, err := layout.ReadSection(src, m, "security_users")
	require.NoError(t, err)
	require.Contains(t, string(users["kim"]), `"password_hash":"$2a$10$`)
	require.NotContains(t, string(users["elastic"]), "password")
	h.Inject().Path("/.security/_search").Error(403, "security_exception", "no")
	src, _ = dump(t, es, &backup.Options{Sections: []string{"security_users"}})
	to := estest.NewHandler(nil).Transport()
	p, _ := restored(t, src, to, Options{Sections: []string{"security_users"}})
	require.Contains(t, p.String(), "create   security_users/kim: its password is not in the backup: set a new one\n")
	require.Contains(t, string(must(t, to, "GET", "/_security/user/kim", "")), `"Kim"`)
}

func TestManyTransformsAndWatches(t *testing.T) {
	es := estest.NewHandler(nil).Transport()
	for i := range 2500 {
		must(t, es, "PUT", fmt.Sprintf("/_transform/t%04d?defer_validation=true", i), `{"source":{"index":"x"},"dest":{"index":"y"}}`)
		must(t, es, "PUT", fmt.Sprintf("/_watcher/watch/w%04d", i), `{"trigger":{}}`)
	}
	_, m := dump(t, es, &backup.Options{Sections: []string{"transforms", "watches"}})
	require.Equal(t, []layout.Section{{Name: "transforms", Objects: 2500}, {Name: "watches", Objects: 2500}}, m.Sections)
	w := &wireFunc{es, func(r *http.Request, res string) string {
		if strings.Contains(r.URL.Path, "/_transform") {
			return strings.Replace(res, `"count":2500`, `"count":2501`, 1)
		}
		return res
	}}
	_, err := backup.Dump(t.Context(), w, nopTarget{}, nil)
	require.ErrorContains(t, err, "it counts 2501, and lists 2500")
}

func TestKibana(t *testing.T) {
	es, k := estest.NewHandler(nil).Transport(), estest.NewKibana()
	kibana := elastic.New(k, nil)
	spaces := elastic.Sections()[len(elastic.Sections())-2]
	objects := map[string]json.RawMessage{}
	require.NoError(t, kibana.PutObject(t.Context(), spaces, "team", json.RawMessage(`{"id":"team","name":"Team <é>"}`), false))
	for i := range 20 {
		for _, space := range []string{"default", "team"} {
			objects[fmt.Sprintf("%s/dashboard/%d", space, i)] = fmt.Appendf(nil, `{"type":"dashboard","id":"%d","attributes":{"title":"<%s>","n":1.0},"updated_at":"x","version":"v"}`, i, space)
		}
	}
	require.NoError(t, kibana.ImportObjects(t.Context(), objects))
	src, m := dump(t, es, &backup.Options{Sections: []string{"kibana_*"}, Kibana: k})
	require.Equal(t, []layout.Section{{Name: "kibana_spaces", Objects: 2}, {Name: "kibana_objects", Objects: 40}}, m.Sections)

	to := estest.NewKibana()
	o := Options{Sections: []string{"kibana_*"}, Kibana: to}
	_, r := restored(t, src, es, o)
	require.Equal(t, 41, r.Objects, "the default space is there")
	got, err := elastic.New(to, nil).Objects(t.Context(), elastic.Sections()[len(elastic.Sections())-1])
	require.NoError(t, err)
	for name, raw := range objects {
		require.JSONEq(t, string(raw), string(got[name]))
	}
	d, err := Verify(t.Context(), src, es, &o)
	require.NoError(t, err)
	require.True(t, d.Identical(), d.String())

	require.NoError(t, elastic.New(to, nil).ImportObjects(t.Context(), map[string]json.RawMessage{"team/dashboard/3": json.RawMessage(`{"type":"dashboard","id":"3","attributes":{}}`)}))
	_, err = NewPlan(t.Context(), src, es, fast(o))
	require.ErrorContains(t, err, "these exist already, with other contents: kibana_objects/team/dashboard/3")
	o.Conflict = Replace
	_, r = restored(t, src, es, o)
	require.Equal(t, 1, r.Objects)

	// An export that ends early is no export.
	cut := &wireFunc{k, func(r *http.Request, res string) string {
		if strings.Contains(r.URL.Path, "_export") {
			return res[strings.IndexByte(res, '\n')+1:]
		}
		return res
	}}
	_, err = backup.Dump(t.Context(), es, nopTarget{}, &backup.Options{Sections: []string{"kibana_objects"}, Kibana: cut, Retries: -1})
	require.ErrorContains(t, err, "it holds 19 objects and counts 20")

	// Nor is an import of some an import.
	for answer, want := range map[string]string{
		`{"success":true,"successCount":19}`: "/api/saved_objects/_import: 19 of 20 objects were imported",
		`{"success":false,"successCount":20,"errors":[{"id":"7","type":"dashboard","error":{"type":"missing_references"}}]}`: "objects were imported, " +
			`the first of those that were not: {"id":"7","type":"dashboard","error":{"type":"missing_references"}}`,
	} {
		o = Options{Sections: []string{"kibana_*"}, Kibana: &wireFunc{estest.NewKibana(), func(r *http.Request, res string) string {
			if strings.Contains(r.URL.Path, "_import") {
				return answer
			}
			return res
		}}}
		_, err = once(t.Context(), src, es, o)
		require.ErrorContains(t, err, want)
	}
}
