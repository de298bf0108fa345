package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/esserver"
	"github.com/escrow-backup/escrow/internal/e2e/servers"
)

// dumper runs the real elasticdump and multielasticdump.
type dumper struct{ bin string }

func (d dumper) run(t *testing.T, program string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(d.bin, program), args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %s: %s", program, strings.Join(args, " "), out)
}

// The kinds of files that are asked for: without that, multielasticdump leaves out aliases and analyzers.
const allKinds = "--includeType=data,mapping,analyzer,alias,settings,template"

// TestElasticdump takes over what the real elasticdump and multielasticdump wrote, and has them load what we write.
func TestElasticdump(t *testing.T) {
	program := servers.Elasticdump(t)
	d := dumper{filepath.Dir(program)}
	e := server(t, esserver.V8)
	indices := []string{"ed-logs", "ed-plain"}
	e.later(t, "/_template/ed-old")
	e.do(t, "PUT", "/_template/ed-old", `{"index_patterns":["ed-never-*"],"order":3,"settings":{"number_of_shards":3}}`)
	e.create(t, "ed-logs", `{"settings":{"number_of_shards":2,"number_of_replicas":0,"refresh_interval":"17s",
		"analysis":{"analyzer":{"mine":{"type":"custom","tokenizer":"standard","filter":["lowercase"]}}}},
		"mappings":{"dynamic":false,"properties":{"level":{"type":"keyword"},"text":{"type":"text","analyzer":"mine"}}},
		"aliases":{"ed-errors":{"filter":{"term":{"level":"ERROR"}},"routing":"r"},"ed-all":{}}}`)
	e.create(t, "ed-plain", `{"settings":{"number_of_shards":1,"number_of_replicas":0}}`)
	l := e.loader(t)
	for n := range 2_500 { // what JavaScript writes as it read it: other values it changes, which is not ours to prove
		source := fmt.Appendf(nil, `{"level":"ERROR","n":%d,"took":%d.5,"text":"café \"%d\" 日本 😀 \\ /","tags":["a",null,true,{"b":{}}]}`, n, n, n)
		routing := ""
		if n%3 == 0 {
			routing = fmt.Sprint("r", n%7)
		}
		l.index("ed-logs", fmt.Sprintf("id/%d é", n), routing, source)
		l.index("ed-plain", fmt.Sprint(n), "", fmt.Appendf(nil, `{"n":%d}`, n))
	}
	l.flush()
	want := contents{}
	e.read(t, want, false, indices...)
	meta := map[string]map[string]any{}
	for _, index := range indices {
		meta[index] = metadata(t, e, index)
	}

	dirs := map[string]string{"elasticdump": t.TempDir(), "multielasticdump": t.TempDir()}
	d.run(t, "multielasticdump", "--direction=dump", "--match=^ed-", "--input="+e.url, "--output="+dirs["multielasticdump"], "--limit=1000", allKinds)
	for _, index := range indices {
		for _, kind := range []string{"data", "mapping", "settings", "alias", "template"} {
			name := index + "." + kind + ".json"
			if kind == "data" {
				name = index + ".json"
			}
			from := e.url + "/" + index
			if kind == "template" {
				from = e.url
			}
			d.run(t, "elasticdump", "--type="+kind, "--input="+from, "--output="+filepath.Join(dirs["elasticdump"], name), "--limit=1000")
		}
	}

	// What they write: mappings as JSON, all else as JSON in a text.
	for name, begin := range map[string]string{
		"ed-logs.mapping.json": `{"ed-logs":{"mappings":`, "ed-logs.settings.json": `"{\"ed-logs\":{\"settings\":{\"index\":`,
		"ed-logs.analyzer.json": `"{\"ed-logs\":{\"settings\":{\"index\":`, "ed-logs.alias.json": `"{\"ed-logs\":{\"aliases\":`,
		"ed-logs.template.json": `"{\"ed-old\":{`, "ed-logs.json": `{"_index":"ed-logs","_id":"`,
	} {
		b, err := os.ReadFile(filepath.Join(dirs["multielasticdump"], name))
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(b), begin), "%s begins with %.100s", name, b)
	}

	for program, dir := range dirs {
		t.Run("from "+program, func(t *testing.T) {
			for _, path := range []string{"/ed-logs", "/ed-plain", "/_template/ed-old"} {
				e.do(t, "DELETE", path, "")
			}
			c := newCLI(t)
			c.init(t)
			var in struct{ Indices, Documents int64 }
			c.summary(t, &in, "import-elasticdump", dir)
			require.EqualValues(t, 2, in.Indices)
			require.EqualValues(t, len(want), in.Documents)
			c.ok(t, "restore", "--es", e.url)
			got := contents{}
			e.read(t, got, false, indices...)
			same(t, want, got)
			for _, index := range indices {
				require.Equal(t, meta[index], metadata(t, e, index))
			}
			require.Contains(t, string(e.do(t, "GET", "/_template/ed-old", "")), "ed-never-*")
			c.identical(t, e)
		})
	}

	c := newCLI(t)
	c.init(t)
	c.ok(t, "backup", "--es", e.url, "--index", "ed-*", "--section", "legacy_templates/ed-*")
	dir := filepath.Join(t.TempDir(), "out")
	c.ok(t, "export", "latest", "--format", "elasticdump", "--output", dir)
	for _, program := range []string{"elasticdump", "multielasticdump"} {
		t.Run("to "+program, func(t *testing.T) {
			fresh := &es{url: esserver.Start(t, esserver.V8, &esserver.Options{HeapMB: 512}).URL(), version: esserver.V8}
			if program == "multielasticdump" {
				d.run(t, program, "--direction=load", "--match=^ed-", "--input="+dir, "--output="+fresh.url, "--limit=1000")
			} else {
				for _, index := range indices {
					for _, kind := range []string{"settings", "mapping", "alias", "data", "template"} {
						name := index + "." + kind + ".json"
						if kind == "data" {
							name = index + ".json"
						}
						if kind == "alias" && index == "ed-plain" {
							continue // the program fails for one without aliases, and for its own file of that kind
						}
						to := fresh.url + "/" + index
						if kind == "template" {
							to = fresh.url
						}
						d.run(t, program, "--type="+kind, "--input="+filepath.Join(dir, name), "--output="+to, "--limit=1000")
					}
				}
			}
			got := contents{}
			fresh.read(t, got, false, indices...)
			same(t, want, got)
			for _, index := range indices {
				theirs := metadata(t, fresh, index)
				if program == "multielasticdump" {
					theirs["aliases"] = meta[index]["aliases"] // it leaves them out unless asked
				}
				require.Equal(t, jsonOf(t, meta[index]), jsonOf(t, theirs))
			}
			require.Contains(t, string(fresh.do(t, "GET", "/_template/ed-old", "")), "ed-never-*")
		})
	}
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	require.NoError(t, err)
	return string(b)
}
