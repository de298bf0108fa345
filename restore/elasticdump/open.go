package elasticdump

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/escrow-backup/escrow/layout"
)

// Options of Open; nil and the zero value work.
type Options struct {
	// AllowMissing takes an index without a file of documents, mappings or settings for one without documents, or lets the server
	// that it is restored to make them up. Default: that is an error, which wraps fs.ErrNotExist.
	AllowMissing bool
	// Name is the cluster's in the manifest; the files do not tell. Default "elasticdump".
	Name string
}

// dumped are the files of one index.
type dumped struct {
	docs  []string          // one, or several that were split, in their order
	other map[string]string // by kind
}

var (
	splitName = regexp.MustCompile(`^(.+)\.split-([0-9]+)$`)
	kinds     = []string{"mapping", "settings", "analyzer", "alias", "template"}
)

// Open shows a directory as a backup in the layout of package layout. It reads everything once, so that what is not whole is an
// error here; an error names the file, and the line. Documents are read again, one after the other, when their file is. The context
// is that of Open and of all later reading.
func Open(ctx context.Context, dir fs.FS, o *Options) (fs.FS, error) {
	v := &view{ctx: ctx, src: dir, files: map[string]*file{}}
	if o != nil {
		v.o = *o
	}
	if v.o.Name == "" {
		v.o.Name = "elasticdump"
	}
	if err := v.read(); err != nil {
		return nil, fmt.Errorf("read elasticdump directory: %w", err)
	}
	return v, nil
}

func (v *view) read() error {
	entries, err := fs.ReadDir(v.src, ".")
	if err != nil {
		return err
	}
	indices := map[string]*dumped{}
	for _, e := range entries {
		base, ok := strings.CutSuffix(strings.TrimSuffix(e.Name(), ".gz"), ".json")
		if e.IsDir() || !ok {
			continue
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		if fi.ModTime().After(v.time) {
			v.time = fi.ModTime()
		}
		kind := ""
		for _, k := range kinds {
			if name, is := strings.CutSuffix(base, "."+k); is {
				base, kind = name, k
			}
		}
		if m := splitName.FindStringSubmatch(base); m != nil {
			base = m[1]
		}
		d := indices[base]
		if d == nil {
			d = &dumped{other: map[string]string{}}
			indices[base] = d
		}
		switch {
		case kind == "":
			d.docs = append(d.docs, e.Name())
		case d.other[kind] != "":
			return fmt.Errorf("%s and %s: the same thing twice", d.other[kind], e.Name())
		default:
			d.other[kind] = e.Name()
		}
	}
	m := layout.Manifest{Format: layout.Format, Cluster: layout.Cluster{Name: v.o.Name}, Started: v.time.UTC(), Finished: v.time.UTC(),
		Selection: layout.Selection{Indices: []string{"*"}}, Omitted: []layout.Omission{}, Warnings: []string{}}
	templates := map[string]json.RawMessage{}
	for _, name := range slices.Sorted(maps.Keys(indices)) {
		ix, err := v.index(name, indices[name], templates)
		if err != nil {
			return err
		}
		m.Indices = append(m.Indices, *ix)
	}
	if len(m.Indices) == 0 {
		return fmt.Errorf("it holds no index: no file is called <index>.json: %w", fs.ErrNotExist)
	}
	if len(templates) > 0 {
		m.Sections = []layout.Section{{Name: "legacy_templates", Objects: len(templates)}}
		v.add(layout.SectionPath("legacy_templates"), layout.AppendSection(nil, templates))
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	v.add(layout.ManifestPath, b)
	return nil
}

// index reads all files of one index.
func (v *view) index(name string, d *dumped, templates map[string]json.RawMessage) (*layout.Index, error) {
	if strings.HasPrefix(name, ".partial") || !fs.ValidPath(name) {
		return nil, fmt.Errorf("%q is no name of an index", name)
	}
	if err := v.missing(name, d); err != nil {
		return nil, err
	}
	parts := map[string]json.RawMessage{}
	for kind, member := range map[string]string{"mapping": "mappings", "settings": "settings", "alias": "aliases", "analyzer": "analyzer"} {
		raw, err := v.part(name, d.other[kind], strings.Replace(member, "analyzer", "settings", 1))
		if err != nil {
			return nil, err
		}
		parts[member] = raw
	}
	if parts["settings"] == nil {
		parts["settings"] = parts["analyzer"]
	}
	delete(parts, "analyzer") // the settings hold it as well
	maps.DeleteFunc(parts, func(_ string, raw json.RawMessage) bool { return raw == nil })
	b, err := json.Marshal(parts)
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", name, err)
	}
	v.add(layout.IndexPath(name), b)
	if err := v.templates(d.other["template"], templates); err != nil {
		return nil, err
	}
	slices.SortFunc(d.docs, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b) // split-10 comes after split-9
		}
		return strings.Compare(a, b)
	})
	sh := layout.Shard{GlobalCheckpoint: -1, MaxSeqNo: -1, Reason: "read from files of elasticdump"}
	var lines []byte
	for _, f := range d.docs {
		for doc, err := range documents(v.ctx, v.src, f, name) {
			if err == nil {
				lines, err = doc.AppendLines(lines[:0])
			}
			if err != nil {
				return nil, err
			}
			sh.Digest.Add(lines)
			sh.Docs++
			sh.Bytes += int64(len(lines))
		}
	}
	v.files[layout.DocumentsPath(name, 0)] = &file{size: sh.Bytes, docs: d.docs, index: name}
	return &layout.Index{Name: name, AsOf: v.time.UTC(), Docs: sh.Docs, Bytes: sh.Bytes, Shards: []layout.Shard{sh}}, nil
}

func (v *view) missing(name string, d *dumped) error {
	if v.o.AllowMissing {
		return nil
	}
	for _, kind := range []string{"mapping", "settings"} {
		if d.other[kind] == "" && !(kind == "settings" && d.other["analyzer"] != "") {
			return fmt.Errorf("index %s: %s.%s.json is missing: %w", name, name, kind, fs.ErrNotExist)
		}
	}
	if len(d.docs) == 0 {
		return fmt.Errorf("index %s: %s.json with its documents is missing: %w", name, name, fs.ErrNotExist)
	}
	return nil
}

// part reads one member of a file of metadata, which must be about this index and no other. Without a file it is nil.
func (v *view) part(index, name, member string) (json.RawMessage, error) {
	if name == "" {
		return nil, nil
	}
	var file map[string]map[string]json.RawMessage
	if err := v.json(name, &file); err != nil {
		return nil, err
	}
	if _, ok := file[index]; !ok || len(file) != 1 {
		if len(file) == 0 && member == "aliases" {
			return nil, nil
		}
		return nil, fmt.Errorf("%s: it is about %s, want %s alone", name, strings.Join(slices.Sorted(maps.Keys(file)), ", "), index)
	}
	raw := file[index][member]
	if raw == nil && member != "aliases" {
		return nil, fmt.Errorf("%s: it has no %s", name, member)
	}
	return raw, nil
}

func (v *view) templates(name string, into map[string]json.RawMessage) error {
	if name == "" {
		return nil
	}
	var file map[string]json.RawMessage
	if err := v.json(name, &file); err != nil {
		return err
	}
	for t, raw := range file {
		if other, ok := into[t]; ok && !bytes.Equal(other, raw) {
			return fmt.Errorf("%s: template %s is another one in another file", name, t)
		}
		into[t] = raw
	}
	return nil
}

func (v *view) json(name string, into any) error {
	f, err := open(v.src, name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	b = bytes.TrimSpace(b)
	if err == nil && len(b) > 0 && b[0] == '"' { // all but mappings are a text that holds JSON
		var text string
		err = json.Unmarshal(b, &text)
		b = []byte(text)
	}
	if err == nil && len(b) > 0 {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (v *view) add(name string, data []byte) {
	v.files[name] = &file{size: int64(len(data)), data: data}
}

// view is a directory in our layout.
type view struct {
	ctx   context.Context // an fs.FS has no other place for it
	src   fs.FS
	o     Options
	time  time.Time
	files map[string]*file
}

// file is one that is made up: of its bytes, or of the documents of files of the directory.
type file struct {
	size  int64
	data  []byte
	docs  []string
	index string
}
