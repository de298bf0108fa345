package estest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
)

// Kibana is the part of Kibana that backups ask for, in memory: spaces, and saved objects, which can be exported and imported. It
// is an http.Handler, safe for concurrent use. Unlike a real one it checks no references, and knows every type of object.
type Kibana struct {
	mu      sync.Mutex
	spaces  map[string]json.RawMessage
	objects map[string]map[string]json.RawMessage // by space and type/id
}

// NewKibana returns a Kibana with the space "default" and no objects.
func NewKibana() *Kibana {
	return &Kibana{objects: map[string]map[string]json.RawMessage{},
		spaces: map[string]json.RawMessage{"default": json.RawMessage(`{"id":"default","name":"Default","_reserved":true,"disabledFeatures":[]}`)}}
}

// Perform answers a request without a socket, so that a Kibana is its own client.
func (k *Kibana) Perform(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	k.ServeHTTP(w, r)
	return w.Result(), nil
}

// ServeHTTP answers one request.
func (k *Kibana) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	space, path := "default", r.URL.Path
	if rest, ok := strings.CutPrefix(path, "/s/"); ok {
		space, path, _ = strings.Cut(rest, "/")
		path = "/" + path
	}
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.Method != http.MethodGet && r.Header.Get("Kbn-Xsrf") == "":
		k.fail(w, 400, "Request must contain a kbn-xsrf header.")
	case strings.HasPrefix(path, "/api/spaces/space"):
		k.space(w, r, strings.Trim(strings.TrimPrefix(path, "/api/spaces/space"), "/"))
	case k.spaces[space] == nil:
		k.fail(w, 404, "space "+space+" not found")
	case path == "/api/saved_objects/_export" && r.Method == http.MethodPost:
		k.export(w, space)
	case path == "/api/saved_objects/_import" && r.Method == http.MethodPost:
		k.load(w, r, space)
	default:
		k.fail(w, 404, "Not Found")
	}
}

func (k *Kibana) fail(w http.ResponseWriter, status int, message string) {
	w.WriteHeader(status)
	k.answer(w, obj{"statusCode", status, "error", http.StatusText(status), "message", message})
}

func (*Kibana) answer(w io.Writer, v any) { _, _ = w.Write(encode(v)) } // the client is gone: nobody to tell

func (k *Kibana) space(w http.ResponseWriter, r *http.Request, id string) {
	if r.Method == http.MethodGet && id == "" {
		rows := []any{}
		for _, s := range slices.Sorted(maps.Keys(k.spaces)) {
			rows = append(rows, k.spaces[s])
		}
		k.answer(w, rows)
		return
	}
	if r.Method == http.MethodDelete {
		delete(k.spaces, id)
		delete(k.objects, id)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	body, err := io.ReadAll(r.Body)
	var s struct {
		ID       string `json:"id"`
		Reserved *bool  `json:"_reserved"`
	}
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	_, exists := k.spaces[s.ID]
	switch {
	case err != nil || s.ID == "" || s.Reserved != nil:
		k.fail(w, 400, "[request body]: invalid")
	case r.Method == http.MethodPost && exists:
		k.fail(w, 409, "A space with the identifier "+s.ID+" already exists.")
	case r.Method == http.MethodPut && (!exists || id != s.ID):
		k.fail(w, 404, "Not Found")
	default:
		k.spaces[s.ID] = body
		_, _ = w.Write(body) // as in answer
	}
}

func (k *Kibana) export(w http.ResponseWriter, space string) {
	for _, id := range slices.Sorted(maps.Keys(k.objects[space])) {
		_, _ = w.Write(append(slices.Clone(k.objects[space][id]), '\n')) // as in answer
	}
	k.answer(w, obj{"excludedObjects", []any{}, "excludedObjectsCount", 0, "exportedCount", len(k.objects[space]), "missingRefCount", 0, "missingReferences", []any{}})
}

func (k *Kibana) load(w http.ResponseWriter, r *http.Request, space string) {
	f, _, err := r.FormFile("file")
	if err != nil {
		k.fail(w, 400, err.Error())
		return
	}
	body, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		k.fail(w, 400, err.Error())
		return
	}
	n, failed := 0, []any{}
	for line := range bytes.Lines(body) {
		line = bytes.TrimSpace(line)
		var o map[string]any
		if err := decode(line, &o); err != nil || o["type"] == nil || o["id"] == nil {
			k.fail(w, 400, "Unexpected token in JSON")
			return
		}
		id := fmt.Sprint(o["type"], "/", o["id"])
		if k.objects[space] == nil {
			k.objects[space] = map[string]json.RawMessage{}
		}
		if k.objects[space][id] != nil && r.URL.Query().Get("overwrite") != "true" {
			failed = append(failed, obj{"id", o["id"], "type", o["type"], "error", obj{"type", "conflict"}})
			continue
		}
		k.objects[space][id] = bytes.Clone(line)
		n++
	}
	out := obj{"success", len(failed) == 0, "successCount", n}
	if len(failed) > 0 {
		out = append(out, "errors", failed)
	}
	k.answer(w, out)
}
