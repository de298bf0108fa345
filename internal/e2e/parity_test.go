package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
)

// TestParity sends the same requests to the in-memory Elasticsearch and to a real one, and requires the same answers, but for
// what parityIgnored names. So the unit tests that stand on estest stand on what a server does.
func TestParity(t *testing.T) {
	onEach(t, func(t *testing.T, e *es) {
		for _, c := range parityCases {
			t.Run(c.name, func(t *testing.T) {
				fake := &es{url: estest.New(t, &estest.Options{Version: string(e.version)}).URL, version: e.version}
				parityClean(t, e)
				t.Cleanup(func() { parityClean(t, e) })
				vars := [2]map[string]string{{}, {}}
				for n, step := range paritySteps(c.script) {
					if step.only != "" && !strings.HasPrefix(string(e.version), step.only) {
						continue
					}
					var got [2]any
					for i, s := range []*es{e, fake} {
						got[i] = step.send(t, s, vars[i])
					}
					real, ours := parityText(t, got[0]), parityText(t, got[1])
					if real != ours {
						t.Errorf("step %d: %s %s\n%s\nreal: %s\nours: %s", n, step.method, step.path, step.body, real, ours)
					}
				}
			})
		}
	})
}

// parityClean removes what the cases make: everything there is named parity-something.
func parityClean(t *testing.T, e *es) {
	for _, path := range []string{"/parity-*?expand_wildcards=all", "/_index_template/parity-*", "/_component_template/parity-*",
		"/_template/parity-*", "/_ingest/pipeline/parity-*"} {
		if strings.HasPrefix(path, "/parity") {
			// Servers refuse to delete by a pattern, so the names are asked for.
			var names map[string]json.RawMessage
			require.NoError(t, json.Unmarshal(parityDo(t, e, "GET", path), &names))
			for name := range names {
				parityDo(t, e, "PUT", "/"+name+"/_settings", `{"index.blocks.read_only":null,"index.blocks.metadata":null,"index.blocks.read_only_allow_delete":null}`)
				parityDo(t, e, "DELETE", "/"+name)
			}
			continue
		}
		parityDo(t, e, "DELETE", path)
	}
}

// parityDo works in a cleanup too, where the context of the test has ended.
func parityDo(t *testing.T, e *es, method, path string, body ...string) []byte {
	t.Helper()
	_, b := parityRequest(t, e, method, path, strings.Join(body, ""))
	return b
}

func parityRequest(t *testing.T, e *es, method, path, body string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequest(method, e.url+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { require.NoError(t, resp.Body.Close()) }()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, b
}

// parityStep is one request of a script. See parityCases.
type parityStep struct {
	method, path, body string
	capture            string // keep the answer's context id under this name
	status             bool   // compare the status alone
	only               string // versions that begin so
}

func paritySteps(script string) (steps []parityStep) {
	for block := range strings.SplitSeq(strings.TrimSpace(script), "\n\n") {
		var s parityStep
		head, body, _ := strings.Cut(strings.TrimSpace(block), "\n")
		words := strings.Fields(head)
		for strings.HasPrefix(words[0], "@") {
			switch w := words[0][1:]; {
			case w == "status":
				s.status = true
			case strings.HasPrefix(w, "v"):
				s.only = w[1:]
			default:
				s.capture = w
			}
			words = words[1:]
		}
		s.method, s.path, s.body = words[0], words[1], body
		if strings.Contains(s.path, "_bulk") && body != "" {
			s.body = body + "\n"
		}
		// A body that is to be sent without its last newline ends with this.
		s.body = strings.TrimSuffix(s.body, "<cut>\n")
		steps = append(steps, s)
	}
	return steps
}

func (s *parityStep) send(t *testing.T, e *es, vars map[string]string) any {
	t.Helper()
	path, body := s.path, s.body
	for k, v := range vars {
		path, body = strings.ReplaceAll(path, "${"+k+"}", v), strings.ReplaceAll(body, "${"+k+"}", v)
	}
	status, b := parityRequest(t, e, s.method, path, body)
	var v any
	if len(b) > 0 {
		d := json.NewDecoder(strings.NewReader(string(b)))
		d.UseNumber()
		require.NoError(t, d.Decode(&v), "%s", b)
	}
	m, _ := v.(map[string]any)
	if s.capture != "" {
		for _, k := range []string{"id", "_scroll_id"} {
			if id, is := m[k].(string); is {
				vars[s.capture] = id
			}
		}
		delete(m, "id")
	}
	if s.path == "/" || strings.HasPrefix(s.path, "/?") {
		delete(m, "name")
	}
	if s.status {
		return status
	}
	v = parityNormal(v)
	return map[string]any{"status": status, "body": v}
}

// parityIgnored are the fields that differ between any two servers, or that this comparison is not about.
var parityIgnored = []string{"took", "ingest_took", "uuid", "index_uuid", "creation_date", "created", "modified_date", "created_date", "created_date_millis",
	"modified_date_millis", "cluster_uuid", "cluster_name", "build_flavor", "_scroll_id", "pit_id", "node", "skipped", "history_uuid", "failed_shards", "failures", "history", "resource.id", "resource.type"}

var parityGenerated = regexp.MustCompile(`^[A-Za-z0-9_-]{20}$`)

func parityNormal(v any) any {
	switch x := v.(type) {
	case map[string]any:
		if x["type"] != nil && x["reason"] != nil {
			return parityError(x)
		}
		out := map[string]any{}
		for k, e := range x {
			switch {
			case slices.Contains(parityIgnored, k[strings.LastIndexByte(k, '.')+1:]):
			case k == "_id" && parityGenerated.MatchString(fmt.Sprint(e)):
				out[k] = "generated"
			case k == "error":
				out[k] = parityError(e)
			case (k == "_score" || k == "max_score") && e != nil:
				out[k] = "a score"
			default:
				out[k] = parityNormal(e)
			}
		}
		return out
	case []any:
		for i := range x {
			x[i] = parityNormal(x[i])
		}
	}
	return v
}

// parityError keeps the kinds of an error and of its causes, not the texts.
func parityError(v any) any {
	m, is := v.(map[string]any)
	if !is {
		if v != nil {
			return "a text"
		}
		return nil
	}
	out := map[string]any{"type": m["type"]}
	for _, k := range []string{"root_cause", "caused_by"} {
		switch x := m[k].(type) {
		case []any:
			var kinds []any
			for _, e := range x {
				kinds = append(kinds, parityError(e))
			}
			out[k] = kinds
		case map[string]any:
			out[k] = parityError(x)
		}
	}
	for _, k := range []string{"index", "shard"} {
		if m[k] != nil {
			out[k] = m[k]
		}
	}
	return out
}

func parityText(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v) // keys sorted
	require.NoError(t, err)
	return string(b)
}
