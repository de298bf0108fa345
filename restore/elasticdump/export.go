package elasticdump

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/escrow-backup/escrow/layout"
)

// Result of Export.
type Result struct {
	Indices   int
	Documents int64
	Bytes     int64 // of the documents' sources
	// LeftOut names what is in the backup and has no place in such a directory: sections, and that indices belong to data streams.
	LeftOut []string
}

// Export writes a backup, any fs.FS in the layout of package layout, into a directory, which must be empty or not exist. Every
// document is read and checked against the manifest. After an error the directory is not whole: it has no file of the index that failed.
func Export(ctx context.Context, src fs.FS, dir string) (*Result, error) {
	res, err := export(ctx, src, dir)
	if err != nil {
		return nil, fmt.Errorf("write elasticdump directory %s: %w", dir, err)
	}
	return res, nil
}

func export(ctx context.Context, src fs.FS, dir string) (*Result, error) {
	m, err := layout.ReadManifest(src)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("it is not empty: %w", fs.ErrExist)
	}
	res := &Result{}
	templates, err := layout.ReadSection(src, m, "legacy_templates")
	if err != nil {
		return nil, err
	}
	for i := range m.Indices {
		if err := exportIndex(ctx, src, &m.Indices[i], templates, dir, res); err != nil {
			return nil, fmt.Errorf("index %s: %w", m.Indices[i].Name, err)
		}
	}
	for _, s := range m.Sections {
		if s.Objects > 0 && s.Name != "legacy_templates" {
			res.LeftOut = append(res.LeftOut, "section "+s.Name)
		}
	}
	for _, d := range m.DataStreams {
		res.LeftOut = append(res.LeftOut, "data stream "+d.Name+", whose indices are there as plain ones")
	}
	return res, nil
}

func exportIndex(ctx context.Context, src fs.FS, ix *layout.Index, templates map[string]json.RawMessage, dir string, res *Result) error {
	var meta map[string]json.RawMessage
	b, err := fs.ReadFile(src, layout.IndexPath(ix.Name))
	if err == nil {
		err = json.Unmarshal(b, &meta)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", layout.IndexPath(ix.Name), err)
	}
	write := func(kind string, content any) error {
		b, err := encode(content)
		if err == nil && kind != ".mapping" {
			b, err = encode(string(bytes.TrimSpace(b))) // so does elasticdump: a text that holds JSON
		}
		if err != nil {
			return err
		}
		return create(dir, ix.Name+kind+".json", func(w io.Writer) error {
			_, err := w.Write(b)
			return err
		})
	}
	settings, err := publicSettings(meta["settings"])
	if err != nil {
		return fmt.Errorf("read %s: %w", layout.IndexPath(ix.Name), err)
	}
	meta["settings"] = settings
	for kind, member := range map[string]string{".mapping": "mappings", ".settings": "settings", ".alias": "aliases"} {
		raw := meta[member]
		if raw == nil {
			raw = json.RawMessage("{}")
		}
		if err := write(kind, map[string]any{ix.Name: map[string]any{member: raw}}); err != nil {
			return err
		}
	}
	if err := write(".template", templates); err != nil {
		return err
	}
	err = create(dir, ix.Name+".json", func(w io.Writer) error {
		for i := range ix.Shards {
			if err := exportShard(ctx, src, ix.Name, &ix.Shards[i], w, res); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	res.Indices++
	return nil
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// publicSettings leaves out what a server makes itself and refuses from others, as elasticdump does.
func publicSettings(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 {
		return raw, nil
	}
	var s map[string]map[string]json.RawMessage
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, err
	}
	for _, own := range []string{"uuid", "history", "creation_date", "provided_name", "version", "resize"} {
		delete(s["index"], own)
	}
	return json.Marshal(s)
}

var errDamaged = errors.New("the backup is damaged")

// exportShard writes the live documents of a shard, and checks them against the manifest.
func exportShard(ctx context.Context, src fs.FS, index string, sh *layout.Shard, w io.Writer, res *Result) error {
	dead, err := deletes(ctx, src, index, sh.Number)
	if err != nil {
		return err
	}
	var sum layout.Digest
	var lines []byte
	docs, ordinal := int64(0), 0
	err = read(ctx, src, index, sh.Number, func(d *layout.Document) (err error) {
		ordinal++
		last, removed := dead[key{d.ID, d.Routing}]
		if d.Deleted || removed && ordinal < last {
			return nil
		}
		if lines, err = sum.AddWith(d, lines); err != nil {
			return err
		}
		docs++
		res.Documents++
		res.Bytes += int64(len(d.Source))
		_, err = w.Write(appendHit(lines[:0], d))
		return err
	})
	if err == nil && (docs != sh.Docs || !sum.Equal(sh.Digest)) {
		err = fmt.Errorf("%s: %w: %d documents, digest %v, the manifest says %d and %v", layout.DocumentsPath(index, sh.Number), errDamaged, docs, sum,
			sh.Docs, sh.Digest)
	}
	return err
}

// key tells the documents of one shard apart.
type key struct{ id, routing string }

// deletes gives the place of the last delete line of every document that has one.
func deletes(ctx context.Context, src fs.FS, index string, shard int) (map[key]int, error) {
	dead, ordinal := map[key]int{}, 0
	err := read(ctx, src, index, shard, func(d *layout.Document) error {
		if ordinal++; d.Deleted {
			dead[key{d.ID, d.Routing}] = ordinal
		}
		return nil
	})
	return dead, err
}

func read(ctx context.Context, src fs.FS, index string, shard int, fn func(*layout.Document) error) error {
	name := layout.DocumentsPath(index, shard)
	f, err := src.Open(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer f.Close()
	for d, err := range layout.Documents(f, index) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = fn(&d)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// appendHit writes a document as elasticdump does.
func appendHit(b []byte, d *layout.Document) []byte {
	b = layout.AppendString(append(b, `{"_index":`...), d.Index)
	b = layout.AppendString(append(b, `,"_id":`...), d.ID)
	b = append(b, `,"_score":null`...)
	if d.Routing != "" {
		b = layout.AppendString(append(b, `,"_routing":`...), d.Routing)
	}
	b = append(b, `,"_source":`...)
	return append(append(b, d.Source...), "}\n"...)
}

// create writes a file that has its name once it is complete.
func create(dir, name string, write func(io.Writer) error) error {
	temp := filepath.Join(dir, name+".partial")
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	if err = write(w); err == nil {
		err = errors.Join(w.Flush(), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, filepath.Join(dir, name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}
