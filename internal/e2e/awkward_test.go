package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/restore"
)

// awkward is what a cluster may hold and a backup may lose. docs/fidelity.md lists all cases.
type awkward struct {
	name, about string
	script      string   // requests that make it, as paritySteps reads them
	only        string   // versions that begin so have it
	lacks       string   // why the others have not
	indices     []string // that it makes; default aw-<name>
	streams     []string // data streams that it makes
	gone        string   // an index that the backup was told to leave out
	objects     []string // paths of templates and the like, in the order of making them
	settings    string   // how those persistent settings of the cluster begin that it makes
	omitted     string   // why the backup does not have it whole; empty in general
	partly      bool     // it is in the backup all the same, as the server shows it
	vectors     bool     // the server leaves vectors out of hits
	native      string   // why the server's own snapshot does not bring it back; empty: it does, whole
	// own backs up and restores the case, whose index is awo-<name>, by itself. Default: with all others.
	own    func(t *testing.T, e *es, index string)
	result string // of own, in words
}

// awkwardCases are the cases of TestAwkward. All that they make is named aw-something, or awo-something where they have an own.
var awkwardCases = slices.Concat(awkwardIndices, awkwardMappings, awkwardObjects)

func (c *awkward) names() []string {
	if c.indices == nil && c.streams == nil && c.objects == nil && c.settings == "" {
		return []string{"aw-" + c.name}
	}
	return c.indices
}

func (c *awkward) on(version string) bool { return strings.HasPrefix(version, c.only) }

// state is what the cluster says of a case, and its documents.
type state struct {
	indices map[string]map[string]any
	answers map[string]string
	docs    contents
}

// awkwardState asks the cluster, not escrow.
func awkwardState(t *testing.T, e *es, c *awkward) state {
	t.Helper()
	s := state{map[string]map[string]any{}, map[string]string{}, contents{}}
	for _, name := range c.names() {
		m := metadata(t, e, name)
		settings := m["settings"].(map[string]any)
		// Where an index was resized from is not restored: see package restore.
		delete(settings, "resize")
		if r, is := settings["routing"].(map[string]any); is {
			if a, is := r["allocation"].(map[string]any); is {
				delete(a, "initial_recovery")
			}
		}
		s.indices[name] = m
		e.read(t, s.docs, c.vectors, pathEscape(name))
	}
	for _, name := range c.streams {
		answer, docs := e.whole(t, name)
		s.answers[name] = answer
		for k, h := range docs {
			s.docs[k] = h
		}
	}
	for _, path := range c.objects {
		s.answers[path] = e.answer(t, path)
	}
	if c.settings != "" {
		s.answers["persistent settings"] = persistent(t, e, c.settings)
	}
	return s
}

// persistent are the persistent settings of the cluster whose names begin so. There must be some.
func persistent(t *testing.T, e *es, prefix string) string {
	t.Helper()
	var all struct{ Persistent map[string]string }
	require.NoError(t, json.Unmarshal(e.do(t, "GET", "/_cluster/settings?flat_settings=true", ""), &all))
	for k := range all.Persistent {
		if !strings.HasPrefix(k, prefix) {
			delete(all.Persistent, k)
		}
	}
	require.NotEmpty(t, all.Persistent)
	b, err := json.Marshal(all.Persistent)
	require.NoError(t, err)
	return string(b)
}

// awkwardWipe removes everything that the cases made. It works in a cleanup too, where the test's context has ended.
func awkwardWipe(t *testing.T, e *es) {
	t.Helper()
	for _, c := range awkwardCases {
		for _, name := range c.streams {
			parityDo(t, e, "DELETE", "/_data_stream/"+name)
		}
		if c.settings != "" {
			parityDo(t, e, "PUT", "/_cluster/settings", `{"persistent":{"`+c.settings+`*":null}}`)
		}
	}
	names := awkwardNames(t, e)
	for some := range slices.Chunk(names, 10) {
		path := "/" + strings.Join(some, ",")
		parityDo(t, e, "PUT", path+"/_settings", `{"index.blocks.read_only":null,"index.blocks.metadata":null,"index.blocks.read_only_allow_delete":null}`)
		parityDo(t, e, "DELETE", path)
	}
	for _, c := range slices.Backward(awkwardCases) {
		for _, path := range slices.Backward(c.objects) {
			parityDo(t, e, "DELETE", path)
		}
	}
	require.Empty(t, awkwardNames(t, e))
}

// awkwardNames are the indices that there are of the cases, escaped for paths. A block on metadata hides an index from requests that
// describe it, not from this one.
func awkwardNames(t *testing.T, e *es) (names []string) {
	t.Helper()
	var listed struct{ Indices []struct{ Name string } }
	require.NoError(t, json.Unmarshal(parityDo(t, e, "GET", "/_resolve/index/aw-*,awo-*,.aw-*,.fs-aw-*?expand_wildcards=all"), &listed))
	for _, x := range listed.Indices {
		names = append(names, pathEscape(x.Name))
	}
	return names
}

// make sends the requests of the case's script, and waits until its shards are there.
func (c *awkward) make(t *testing.T, e *es) {
	t.Helper()
	for _, step := range paritySteps(c.script) {
		if !strings.HasPrefix(string(e.version), step.only) {
			continue
		}
		answer := e.do(t, step.method, step.path, step.body)
		require.NotContains(t, string(answer), `"errors":true`)
	}
	e.do(t, "GET", "/_cluster/health?wait_for_no_initializing_shards=true&wait_for_events=languid&timeout=60s", "")
}

// TestAwkward makes all cases, backs everything up once, wipes it, restores it once, and then compares case by case with what
// the cluster said before.
func TestAwkward(t *testing.T) {
	onEach(t, func(t *testing.T, e *es) {
		awkwardWipe(t, e)
		t.Cleanup(func() { awkwardWipe(t, e) })
		// A server takes the block read_only_allow_delete off when it looks at its disk.
		e.do(t, "PUT", "/_cluster/settings", `{"persistent":{"cluster.info.update.interval":"1h"}}`)
		t.Cleanup(func() {
			e.afterwards(t, "PUT", "/_cluster/settings", `{"persistent":{"cluster.info.update.interval":null}}`)
		})
		cases := slices.DeleteFunc(slices.Clone(awkwardCases), func(c awkward) bool { return !c.on(string(e.version)) })
		require.GreaterOrEqual(t, len(cases), 80)
		omitted := map[string]string{}
		before := map[string]state{}
		made := t.Run("make", func(t *testing.T) {
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					c.make(t, e)
					if c.omitted != "" {
						omitted["index aw-"+c.name] = c.omitted
					}
					if c.own == nil && (c.omitted == "" || c.partly) {
						before[c.name] = awkwardState(t, e, &c)
					}
				})
			}
		})
		sections := []string{"default"}
		for _, c := range cases {
			if c.settings != "" {
				sections = append(sections, "cluster_settings/"+c.settings+"*")
			}
		}
		for _, c := range cases {
			if c.omitted != "" { // without leave to go on, there is no backup of it
				t.Run(c.name, func(t *testing.T) {
					repo := newRepo(t, t.TempDir()+"/repo")
					_, err := backup.Run(t.Context(), e.transport(t), repo, &backup.Options{Indices: []string{"aw-plain", "aw-" + c.name}, Sections: []string{"none"}, Retries: 1})
					require.ErrorContains(t, err, c.omitted)
					require.ErrorContains(t, err, "index aw-"+c.name)
					require.Zero(t, held(t, repo))
				})
			}
		}
		src, m := e.dumped(t, &backup.Options{Indices: []string{"aw-*", ".aw-*"}, Exclude: []string{"aw-not-*"}, Sections: sections, AllowOmissions: true, Retries: 2})
		require.Equal(t, omitted, matching(t, omitted, m.Omitted))
		noContexts(t, e, "aw-*,-aw-block-metadata")
		back := nativeSnapshot(t, e, cases)
		for _, c := range cases {
			if c.own != nil {
				t.Run(c.name, func(t *testing.T) { c.own(t, e, "awo-"+c.name) })
			}
		}

		awkwardWipe(t, e)
		o := &restore.Options{Sections: sections}
		e.restored(t, src, o)
		for _, c := range cases {
			if c.own != nil {
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				if c.omitted != "" {
					require.Equal(t, c.partly, e.exists(t, "aw-"+c.name))
					if !c.partly {
						return
					}
				}
				if c.gone != "" {
					require.False(t, e.exists(t, c.gone))
				}
				after := awkwardState(t, e, &c)
				require.Equal(t, before[c.name].indices, after.indices)
				require.Equal(t, before[c.name].answers, after.answers)
				same(t, before[c.name].docs, after.docs)
			})
		}
		diff := verify(t, e, src, o)
		require.True(t, diff.Identical(), diff.String())
		require.True(t, made)
		t.Logf("elasticsearch %s: %d cases", e.version, len(cases))
		t.Run("native", func(t *testing.T) {
			awkwardWipe(t, e)
			back()
			there := strings.Join(awkwardNames(t, e), " ") + " "
			for _, c := range cases {
				if c.own == nil && c.native == "" && c.omitted == "" {
					after := awkwardState(t, e, &c)
					require.Equal(t, before[c.name].indices, after.indices, c.name)
					require.Equal(t, before[c.name].answers, after.answers, c.name)
					same(t, before[c.name].docs, after.docs)
				} else if c.own == nil {
					require.Equal(t, c.native == "", strings.Contains(there, "aw-"+c.name+" "), c.name)
				}
			}
		})
	})
}

// nativeSnapshot has the server take a snapshot of its own of the cases, and returns what restores that: it is what we are compared with.
func nativeSnapshot(t *testing.T, e *es, cases []awkward) (back func()) {
	t.Helper()
	indices := "aw-*,.aw-*,-aw-not-*"
	for _, c := range cases {
		if c.native != "" {
			indices += ",-aw-" + c.name
		}
	}
	e.do(t, "PUT", "/_snapshot/awkward", `{"type":"fs","settings":{"location":"awkward"}}`)
	t.Cleanup(func() {
		e.afterwards(t, "DELETE", "/_snapshot/awkward/all", "")
		e.afterwards(t, "DELETE", "/_snapshot/awkward", "")
	})
	body := fmt.Sprintf(`{"indices":%q,"include_global_state":true,"feature_states":["none"]}`, indices)
	require.Contains(t, string(e.do(t, "PUT", "/_snapshot/awkward/all?wait_for_completion=true", body)), `"state":"SUCCESS"`)
	return func() {
		t.Helper()
		e.do(t, "POST", "/_snapshot/awkward/all/_restore?wait_for_completion=true", `{"indices":"aw-*,.aw-*","include_global_state":true,"feature_states":["none"]}`)
	}
}

// matching gives, for each omission, the expected reason if it is part of the real one, and else the real one.
func matching(t *testing.T, want map[string]string, got []layout.Omission) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, om := range got {
		out[om.What] = om.Why
		if why, ok := want[om.What]; ok && strings.Contains(om.Why, why) {
			out[om.What] = why
		}
	}
	return out
}

// ownVersions restores the versions of the documents, which a backup records if it is told to.
func ownVersions(t *testing.T, e *es, index string) {
	versions := func() (all []string) {
		for n := range 3 {
			var d struct {
				Version json.Number `json:"_version"`
				Source  json.RawMessage
			}
			require.NoError(t, json.Unmarshal(e.do(t, "GET", fmt.Sprintf("/%s/_doc/%d", index, n+1), ""), &d))
			all = append(all, d.Version.String())
		}
		return all
	}
	before, docs := versions(), contents{}
	require.Equal(t, []string{"9007199254740993", "5", "2"}, before)
	e.read(t, docs, false, index)
	src, _ := e.dumped(t, &backup.Options{Indices: []string{index}, Sections: []string{"none"}, Versions: true})
	e.remove(t, index)
	e.restored(t, src, nil)
	require.Equal(t, before, versions())
	after := contents{}
	e.read(t, after, false, index)
	same(t, docs, after)
}

// ownSystem restores the index of the results of tasks. It is backed up where a pattern with a dot asks for it.
func ownSystem(t *testing.T, e *es, _ string) {
	const index = ".tasks"
	e.removeLater(t, index)
	before, docs := metadata(t, e, index), contents{}
	e.read(t, docs, false, index)
	require.Len(t, docs, 1)
	src, _ := e.dumped(t, &backup.Options{Indices: []string{".t*"}, Exclude: []string{".aw-*"}, Sections: []string{"none"}})
	e.remove(t, index)
	plan, err := restore.NewPlan(t.Context(), src, e.transport(t), nil)
	require.NoError(t, err)
	_, err = plan.Run(t.Context())
	require.ErrorContains(t, err, "index .tasks: create: ")
	require.ErrorContains(t, err, "restore the documents alone")
	require.Zero(t, e.count(t, index))
	e.restored(t, src, &restore.Options{DocumentsOnly: true})
	after := contents{}
	e.read(t, after, false, index)
	same(t, docs, after)
	require.Equal(t, before, metadata(t, e, index))
	// Replacing leaves it as it is.
	plan, err = restore.NewPlan(t.Context(), src, e.transport(t), &restore.Options{Conflict: restore.Replace})
	require.NoError(t, err)
	_, err = plan.Run(t.Context())
	require.ErrorContains(t, err, "system index")
	require.EqualValues(t, 1, e.count(t, index))
}

// ownIncrement restores an increment, made after nothing was done, and then documents were replaced and deleted, and the segments merged.
func ownIncrement(t *testing.T, e *es, index string) {
	repo := newRepo(t, t.TempDir()+"/repo")
	o := &backup.Options{Indices: []string{index}, Sections: []string{"none"}, VerifyEvery: 1}
	first, err := backup.Run(t.Context(), e.transport(t), repo, o)
	require.NoError(t, err)
	require.EqualValues(t, 300, first.Documents)
	idle, err := backup.Run(t.Context(), e.transport(t), repo, o)
	require.NoError(t, err)
	require.EqualValues(t, 300, idle.Documents)
	l := e.loader(t)
	for n := range 20 {
		l.index(index, fmt.Sprint(n*7), "", fmt.Appendf(nil, `{"n":%d,"again":true}`, n))
		l.delete(index, fmt.Sprint(n*7+1), "")
		l.index(index, fmt.Sprint("new ", n), "", []byte(`{"new":true}`))
	}
	l.flush()
	e.do(t, "POST", "/"+index+"/_forcemerge?max_num_segments=1", "")
	docs := contents{}
	e.read(t, docs, false, index)
	require.Len(t, docs, 300)
	second, err := backup.Run(t.Context(), e.transport(t), repo, o)
	require.NoError(t, err)
	require.EqualValues(t, 300, second.Documents)
	t.Logf("read %d documents; not reused: %v", second.DocumentsRead, second.NotReused)
	e.remove(t, index)
	e.restored(t, files(t, repo, second.Snapshot), nil)
	after := contents{}
	e.read(t, after, false, index)
	same(t, docs, after)
}

const refusedResult = "the restore fails and names them; with `MaxRejects` they are written to a file, the others restored"

// ownRefused restores an index with a document "old", which the mapping refuses for a reason of the given type, and "new".
func ownRefused(reason string) func(t *testing.T, e *es, index string) {
	return func(t *testing.T, e *es, index string) {
		want := metadata(t, e, index)
		src, m := e.dumped(t, &backup.Options{Indices: []string{index}, Sections: []string{"none"}})
		require.EqualValues(t, 2, m.Indices[0].Docs)
		e.remove(t, index)
		plan, err := restore.NewPlan(t.Context(), src, e.transport(t), nil)
		require.NoError(t, err)
		_, err = plan.Run(t.Context())
		var load *restore.LoadError
		require.ErrorAs(t, err, &load)
		require.EqualValues(t, 1, load.Count)
		require.Equal(t, "old", load.Rejections[0].Document.ID)
		require.Equal(t, reason, load.Rejections[0].Type)
		require.False(t, e.exists(t, index))

		file, err := os.Create(t.TempDir() + "/rejected")
		require.NoError(t, err)
		log := restore.NewRejectionLog(file)
		r := e.restored(t, src, &restore.Options{MaxRejects: 1, Rejected: log.Add})
		require.NoError(t, log.Err())
		require.NoError(t, file.Close())
		require.EqualValues(t, 1, r.Rejected)
		require.EqualValues(t, 1, r.Documents)
		written, err := os.ReadFile(file.Name())
		require.NoError(t, err)
		require.Contains(t, string(written), `"old"`)
		require.Contains(t, string(written), reason)
		require.EqualValues(t, 1, e.count(t, index))
		require.Equal(t, want, metadata(t, e, index))
	}
}

// awkwardBulk is a request that loads n documents.
func awkwardBulk(index string, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "POST /%s/_bulk?refresh=true", index)
	for i := range n {
		fmt.Fprintf(&b, "\n{\"index\":{\"_id\":\"%d\"}}\n{\"n\":%d}", i, i)
	}
	return b.String()
}

// awkwardIDs are documents whose ids are a character each, between letters.
func awkwardIDs() string {
	var b strings.Builder
	b.WriteString("PUT /aw-ids-all\n{\"settings\":{\"number_of_replicas\":0,\"number_of_shards\":2}}\n\nPOST /aw-ids-all/_bulk?refresh=true")
	add := func(r rune) {
		id := "a" + string(r) + "b"
		meta := layout.AppendString(nil, id)
		fmt.Fprintf(&b, "\n{\"index\":{\"_id\":%s,\"routing\":%s}}\n{\"id\":%s}", meta, meta, meta)
	}
	for r := rune(0); r < 0x300; r++ {
		add(r)
	}
	for plane := range rune(17) {
		for _, r := range []rune{0x1000, 0xd7ff, 0xe000, 0xfffc} {
			add(plane<<16 + r)
		}
	}
	return b.String()
}

// awkwardType is the case of a type of fields.
func awkwardType(kind, value string) awkward {
	name := "type-" + strings.ReplaceAll(kind, "_", "-")
	return awkward{name: name, about: "a field of the type " + kind, script: fmt.Sprintf(`PUT /aw-%[1]s
{"settings":{"number_of_replicas":0},
"mappings":{"properties":{"f":{"type":"%[2]s"}}}}

POST /aw-%[1]s/_bulk?refresh=true
{"index":{"_id":"0"}}
{"f":%[3]s}
{"index":{"_id":"1"}}
{"f":null}`, name, kind, value)}
}

func awkwardMany() (names []string) {
	for n := range 10 {
		names = append(names, fmt.Sprintf("aw-many-%d", n))
	}
	return names
}

// awkwardFields are the mappings of 1,500 fields.
func awkwardFields() string {
	fields := make([]string, 1500)
	for n := range fields {
		fields[n] = fmt.Sprintf(`"f%d":{"type":"keyword"}`, n)
	}
	return strings.Join(fields, ",")
}

func awkwardManyScript() string {
	var b strings.Builder
	for n, name := range awkwardMany() {
		fmt.Fprintf(&b, "PUT /%s/_doc/1?refresh=true\n{\"n\":%d}\n\n", name, n)
	}
	return b.String()
}
