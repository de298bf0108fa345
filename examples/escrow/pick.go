package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/escrow-backup/escrow/restore"
	"github.com/escrow-backup/escrow/restore/query"
)

// pick is the part of a selection that chooses documents and changes metadata.
type pick struct {
	query, idsFile     string
	from, to           string
	renameAliases      []string
	settings, mappings string
}

func (k *pick) flags(f *pflag.FlagSet, o *restore.Options) {
	f.StringArrayVar(&k.renameAliases, "rename-alias", nil, "`FROM=TO` for aliases, as --rename")
	f.StringArrayVar(&o.ExcludeAliases, "exclude-alias", nil, "`PATTERN` of aliases to leave out, repeatable")
	f.BoolVar(&o.DocumentsOnly, "documents-only", false, "only documents, of indices that exist and are empty, or with --conflict merge are not")
	f.BoolVar(&o.MetadataOnly, "metadata-only", false, "everything but documents")
	f.StringVar(&k.query, "query", "", "documents that match, in `JSON` or @FILE with it: match_all, ids, term, terms, prefix, exists, range and bool, of _source as it stands")
	f.StringVar(&k.idsFile, "ids-file", "", "documents whose ids stand in `FILE`, one a line, - for standard input")
	f.StringVar(&k.from, "from", "", "documents of this `TIME` or later, such as 2026-01-02T15:04:05Z or 2026-01-02")
	f.StringVar(&k.to, "to", "", "documents before this `TIME`")
	f.StringVar(&o.TimeField, "time-field", "@timestamp", "`FIELD` that --from and --to look at")
	f.StringVar(&k.settings, "settings", "", "settings to change, `JSON` or @FILE with it, merged into those of every index; null takes one away")
	f.StringVar(&k.mappings, "mappings", "", "mappings to change, `JSON` or @FILE with it, merged into those of every index (RFC 7386)")
}

// parse fills in the options before anything is opened.
func (k *pick) parse(o *restore.Options, stdin io.Reader) (err error) {
	if o.RenameAliases, err = renames("--rename-alias", k.renameAliases); err != nil {
		return err
	}
	if o.DocumentsOnly && o.MetadataOnly {
		return usagef("--documents-only and --metadata-only: choose one")
	}
	for flag, at := range map[string]struct {
		text string
		into *time.Time
	}{"--from": {k.from, &o.From}, "--to": {k.to, &o.To}} {
		if at.text == "" {
			continue
		}
		if *at.into, err = query.ParseTime(at.text); err != nil {
			return usagef("%s: %v", flag, err)
		}
	}
	var filters []func(*restore.Document) (bool, error)
	if k.query != "" {
		text, err := textOrFile("--query", k.query)
		if err != nil {
			return err
		}
		q, err := query.Parse(text)
		if err != nil {
			return usagef("--query: %v", err)
		}
		filters = append(filters, q.Match)
	}
	if k.idsFile != "" {
		ids, err := readIDs(k.idsFile, stdin)
		if err != nil {
			return fmt.Errorf("--ids-file: %w", err)
		}
		filters = append(filters, query.IDs(ids...).Match)
	}
	if len(filters) > 0 {
		o.Filter = func(d *restore.Document) (bool, error) {
			for _, f := range filters {
				if ok, err := f(d); !ok || err != nil {
					return false, err
				}
			}
			return true, nil
		}
	}
	return k.overrides(o)
}

func (k *pick) overrides(o *restore.Options) error {
	var v restore.Override
	for flag, change := range map[string]struct {
		text string
		into *json.RawMessage
	}{"--settings": {k.settings, &v.Settings}, "--mappings": {k.mappings, &v.Mappings}} {
		if change.text == "" {
			continue
		}
		text, err := textOrFile(flag, change.text)
		if err != nil {
			return err
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal(text, &object); err != nil || object == nil {
			return usagef("%s: want a JSON object: %v", flag, err)
		}
		*change.into = text
	}
	if v.Settings != nil || v.Mappings != nil {
		o.Overrides = []restore.Override{v}
	}
	return nil
}

// textOrFile reads what a flag gives itself, or in a file after an @.
func textOrFile(flag, value string) ([]byte, error) {
	name, isFile := strings.CutPrefix(value, "@")
	if !isFile {
		return []byte(value), nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return b, nil
}

// readIDs reads an id a line. An empty line is no id.
func readIDs(name string, stdin io.Reader) ([]string, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		stdin = f
	}
	var ids []string
	lines := bufio.NewScanner(stdin)
	for lines.Scan() {
		if id := strings.TrimSuffix(lines.Text(), "\r"); id != "" {
			ids = append(ids, id)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, errors.New("it holds no ids")
	}
	return ids, nil
}

// renames reads from=to.
func renames(flag string, list []string) ([]restore.Rename, error) {
	var out []restore.Rename
	for _, r := range list {
		from, to, ok := strings.Cut(r, "=")
		if !ok || from == "" || to == "" || strings.Count(from, "*") > 1 || strings.Count(to, "*") > 1 {
			return nil, usagef("%s %q: want from=to, each with at most one *", flag, r)
		}
		out = append(out, restore.Rename{From: from, To: to})
	}
	return out, nil
}

// rejectedFile is where refused documents are written down.
type rejectedFile struct {
	*restore.RejectionLog
	f *os.File
}

// openRejected makes the file, which must not exist. Without a name, or for a dry run, nothing is written.
func openRejected(name string, dryRun bool) (*rejectedFile, error) {
	if name == "" || dryRun {
		return &rejectedFile{RejectionLog: restore.NewRejectionLog(io.Discard)}, nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--rejected-file: %w", err)
	}
	return &rejectedFile{restore.NewRejectionLog(f), f}, nil
}

// close says whether everything was written down. An empty file is removed.
func (r *rejectedFile) close() error {
	if r.f == nil {
		return nil
	}
	err := closed(r.Err(), r.f.Close())
	if r.Count() == 0 {
		err = errors.Join(err, os.Remove(r.f.Name()))
	}
	return err
}
