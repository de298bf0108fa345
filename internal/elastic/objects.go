package elastic

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"mime/multipart"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// AbsentError says that the server has no such feature as a section is about.
type AbsentError struct {
	Section string
	Answer  string // how it said so
}

func (e *AbsentError) Error() string {
	return "section " + e.Section + ": the server has no such feature: " + e.Answer
}

const listPage = 1000

// Objects lists a section: by name, the server's own bytes. A server without the feature gives an *AbsentError.
func (c *Client) Objects(ctx context.Context, s *Section) (map[string]json.RawMessage, error) {
	if s.Name == KibanaObjects {
		return c.savedObjects(ctx, s)
	}
	objects := map[string]json.RawMessage{}
	for from := 0; ; from += listPage {
		raw, err := c.listPage(ctx, s, from)
		if from == 0 && nothing(err) {
			return objects, nil
		}
		if err != nil {
			if from == 0 {
				err = s.absence(err)
			}
			return nil, err
		}
		n, err := s.collect(raw, objects)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", s.list.method, s.list.path, err)
		}
		if s.list.pages != onePage && n == listPage {
			continue
		}
		if s.list.pages != onePage {
			if total := string(member(raw, []string{"count"})); total != strconv.Itoa(len(objects)) {
				return nil, fmt.Errorf("%s %s: it counts %s, and lists %d", s.list.method, s.list.path, total, len(objects))
			}
		}
		break
	}
	if s.Name == "security_users" {
		return objects, c.addHashes(ctx, objects)
	}
	return objects, nil
}

// nothing reports whether an answer says that there are no objects. Some lists do so with 404, but without an error.
func nothing(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == 404 && e.Type == "" && e.Reason == "{}"
}

// absence turns an answer that says that the feature is not there into an AbsentError.
func (s *Section) absence(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	// A feature that the license does not hold is refused as if it were a question of rights.
	unlicensed := e.Status == 403 && strings.Contains(e.Reason, "license is non-compliant")
	if slices.Contains(s.absent, e.Status) || unlicensed {
		return &AbsentError{Section: s.Name, Answer: e.Error()}
	}
	return err
}

func (c *Client) listPage(ctx context.Context, s *Section, from int) (json.RawMessage, error) {
	r := Request{Method: s.list.method, Path: s.list.path, Query: maps.Clone(s.list.query)}
	switch s.list.pages {
	case inQuery:
		r.Query = url.Values{"from": {strconv.Itoa(from)}, "size": {strconv.Itoa(listPage)}}
	case inBody:
		r.Body = fmt.Appendf(nil, `{"from":%d,"size":%d}`, from, listPage)
	}
	var raw json.RawMessage
	return raw, c.JSON(ctx, r, &raw)
}

// collect adds the objects of one answer, and returns how many there were.
func (s *Section) collect(raw json.RawMessage, into map[string]json.RawMessage) (int, error) {
	at := raw
	for _, m := range s.list.at {
		if at = member(at, []string{m}); at == nil {
			break
		}
	}
	if at == nil {
		if s.list.query.Has("filter_path") {
			return 0, nil // nothing is left where there is nothing
		}
		return 0, fmt.Errorf("the answer has no %q", strings.Join(s.list.at, "."))
	}
	if s.list.name == nil {
		found := map[string]json.RawMessage{}
		if err := json.Unmarshal(at, &found); err != nil {
			return 0, fmt.Errorf("decode answer: %w", err)
		}
		maps.Copy(into, found)
		return len(found), nil
	}
	var elements []json.RawMessage
	if err := json.Unmarshal(at, &elements); err != nil {
		return 0, fmt.Errorf("decode answer: %w", err)
	}
	for i, e := range elements {
		var name string
		if err := json.Unmarshal(member(e, s.list.name), &name); err != nil || name == "" {
			return 0, fmt.Errorf("element %d has no %q", i, strings.Join(s.list.name, "."))
		}
		if s.list.pick != "" {
			if e = member(e, []string{s.list.pick}); e == nil {
				return 0, fmt.Errorf("%s has no %q", name, s.list.pick)
			}
		}
		into[name] = e
	}
	return len(elements), nil
}

// addHashes gives users the hash of their password, where the index that holds them may be searched.
func (c *Client) addHashes(ctx context.Context, users map[string]json.RawMessage) error {
	if len(users) == 0 {
		return nil
	}
	var out struct {
		Hits struct {
			Hits []struct {
				Source struct {
					Name     string `json:"username"`
					Password string `json:"password"`
				} `json:"_source"`
			} `json:"hits"`
		} `json:"hits"`
	}
	err := c.JSON(ctx, Request{Method: "POST", Path: "/.security/_search", Query: url.Values{"allow_partial_search_results": {"false"}},
		Body: fmt.Appendf(nil, `{"size":%d,"query":{"term":{"type":"user"}}}`, maxHits)}, &out)
	var e *Error
	if errors.As(err, &e) && (e.Status == 403 || e.Status == 404 || e.Status == 400) {
		return nil // then there are none
	}
	if err != nil {
		return fmt.Errorf("read hashes of passwords: %w", err)
	}
	for _, h := range out.Hits.Hits {
		u := users[h.Source.Name]
		if u == nil || h.Source.Password == "" {
			continue
		}
		var m map[string]json.RawMessage
		if err := json.Unmarshal(u, &m); err != nil {
			return fmt.Errorf("user %s: decode: %w", h.Source.Name, err)
		}
		if m["password_hash"], err = plain(h.Source.Password); err != nil {
			return err
		}
		if users[h.Source.Name], err = plain(m); err != nil {
			return err
		}
	}
	return nil
}

// PutObject writes an object of a section. exists says that there is one of its name already.
func (c *Client) PutObject(ctx context.Context, s *Section, name string, raw json.RawMessage, exists bool) error {
	w := &s.put
	body, err := s.Content(raw)
	if err != nil {
		return err
	}
	if w.byName {
		if body, err = plain(map[string]json.RawMessage{name: body}); err != nil {
			return err
		}
	}
	if w.wrap != "" {
		if body, err = plain(map[string]json.RawMessage{w.wrap: body}); err != nil {
			return err
		}
	}
	path := func(p string) string { return strings.ReplaceAll(p, "{name}", PathEscape(name)) }
	if exists && w.deleteFirst {
		if _, err := c.Do(ctx, Request{Method: "DELETE", Path: path(w.path), Accept: []int{404}}); err != nil {
			return fmt.Errorf("delete the one that exists: %w", err)
		}
	}
	r := Request{Method: w.method, Path: path(w.path), Query: maps.Clone(w.query), Body: body}
	if a := s.Active(raw); a != "" {
		r.Query = url.Values{"active": {a}}
	}
	if s.Kibana { // only spaces are written one by one
		r.Header = kibanaHeader
		if r.Method = "POST"; exists {
			r.Method, r.Path = "PUT", r.Path+"/"+PathEscape(name)
		}
	}
	var out struct{ Acknowledged *bool } // most sections have it, users and the like have not
	if err := c.JSON(ctx, r, &out); err != nil {
		return err
	}
	if out.Acknowledged != nil && !*out.Acknowledged {
		return fmt.Errorf("%s %s: not acknowledged in time", r.Method, r.Path)
	}
	return c.Follow(ctx, s, name)
}

// Follow does what must follow once an object is there: an enrich policy is executed, which this waits for.
func (c *Client) Follow(ctx context.Context, s *Section, name string) error {
	if s.put.after == "" {
		return nil
	}
	path := strings.ReplaceAll(s.put.after, "{name}", PathEscape(name))
	var out struct {
		Status struct {
			Phase string `json:"phase"`
		} `json:"status"`
	}
	if err := c.JSON(ctx, Request{Method: "PUT", Path: path, Query: url.Values{"wait_for_completion": {"true"}}}, &out); err != nil {
		return fmt.Errorf("execute: %w", err)
	}
	if out.Status.Phase != "COMPLETE" {
		return fmt.Errorf("execute: phase %s", out.Status.Phase)
	}
	return nil
}

// kibanaHeader is what Kibana wants of requests that change something, and of exports.
var kibanaHeader = map[string]string{"kbn-xsrf": "escrow"}

// inSpace is a path of Kibana's interface in a space.
func inSpace(space, path string) string {
	if space == "default" {
		return path
	}
	return "/s/" + PathEscape(space) + path
}

// savedObjects exports every space of Kibana. Objects are called <space>/<type>/<id>.
func (c *Client) savedObjects(ctx context.Context, s *Section) (map[string]json.RawMessage, error) {
	spaces, err := c.Objects(ctx, spacesSection())
	if err != nil {
		var absent *AbsentError
		if errors.As(err, &absent) {
			return nil, &AbsentError{Section: s.Name, Answer: absent.Answer}
		}
		return nil, err
	}
	objects := map[string]json.RawMessage{}
	for _, space := range slices.Sorted(maps.Keys(spaces)) {
		path := inSpace(space, "/api/saved_objects/_export")
		res, err := c.Do(ctx, Request{Method: "POST", Path: path, Header: kibanaHeader,
			Body: []byte(`{"type":"*","includeReferencesDeep":false,"excludeExportDetails":false}`)})
		if err != nil {
			return nil, s.absence(err)
		}
		if err := exported(space, res.Body, objects); err != nil {
			return nil, fmt.Errorf("POST %s: %w", path, err)
		}
	}
	return objects, nil
}

func spacesSection() *Section {
	i := slices.IndexFunc(sections, func(s Section) bool { return s.Name == "kibana_spaces" })
	return &sections[i]
}

// exported reads an export: an object a line, and a line that counts them.
func exported(space string, body []byte, into map[string]json.RawMessage) error {
	n, counted := 0, -1
	lines := bufio.NewScanner(bytes.NewReader(body))
	lines.Buffer(nil, len(body)+1)
	for lines.Scan() {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		var o struct {
			ID      string `json:"id"`
			Type    string `json:"type"`
			Count   *int   `json:"exportedCount"`
			Missing []any  `json:"missingReferences"`
		}
		if err := json.Unmarshal(line, &o); err != nil {
			return fmt.Errorf("decode line %d: %w", n+1, err)
		}
		switch {
		case o.Count != nil && o.Type == "":
			counted = *o.Count
		case o.ID == "" || o.Type == "":
			return fmt.Errorf("line %d has no type or id", n+1)
		default:
			n++
			into[space+"/"+o.Type+"/"+o.ID] = bytes.Clone(line)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if counted != n {
		return &PartialError{What: "export", Reason: fmt.Sprintf("it holds %d objects and counts %d", n, counted)}
	}
	return nil
}

// ImportObjects writes saved objects, named as by Objects, overwriting those that exist. Each space is one request, so that
// objects find those that they refer to.
func (c *Client) ImportObjects(ctx context.Context, objects map[string]json.RawMessage) error {
	bySpace := map[string][]byte{}
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		space, _, _ := strings.Cut(name, "/")
		bySpace[space] = append(append(bySpace[space], objects[name]...), '\n')
	}
	for _, space := range slices.Sorted(maps.Keys(bySpace)) {
		var form bytes.Buffer
		w := multipart.NewWriter(&form)
		part, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {`form-data; name="file"; filename="objects.ndjson"`},
			"Content-Type": {"application/ndjson"}})
		if err != nil {
			return err
		}
		if _, err := part.Write(bySpace[space]); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		var out struct {
			Success bool              `json:"success"`
			Count   int               `json:"successCount"`
			Errors  []json.RawMessage `json:"errors"`
		}
		path := inSpace(space, "/api/saved_objects/_import")
		err = c.JSON(ctx, Request{Method: "POST", Path: path, Query: url.Values{"overwrite": {"true"}}, Header: kibanaHeader,
			Body: form.Bytes(), ContentType: w.FormDataContentType()}, &out)
		if err != nil {
			return err
		}
		if n := bytes.Count(bySpace[space], []byte("\n")); !out.Success || out.Count != n {
			why := ""
			if len(out.Errors) > 0 {
				why = ", the first of those that were not: " + clip(string(out.Errors[0]))
			}
			return fmt.Errorf("POST %s: %d of %d objects were imported%s", path, out.Count, n, why)
		}
	}
	return nil
}

// Forbidden reports whether err says that we have no right, as opposed to no credentials.
func Forbidden(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == 403 && errors.Is(err, fs.ErrPermission)
}
