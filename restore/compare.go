package restore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/escrow-backup/escrow/internal/elastic"
)

// maxDifferences bounds what is listed of one kind of metadata.
const maxDifferences = 50

// compareMetadata lists how the cluster's settings, mapping and aliases differ from the backup's.
func compareMetadata(backup, cluster *metadata) ([]string, error) {
	for _, m := range []*metadata{backup, cluster} {
		if err := m.moveSourceMode(); err != nil {
			return nil, err
		}
	}
	diffs := compareFlat("settings", comparedSettings(backup.settings), comparedSettings(cluster.settings))
	for _, part := range []struct {
		name string
		a, b any
	}{{"mappings", backup.mappings, cluster.mappings}, {"aliases", backup.aliases, cluster.aliases}} {
		a, err := leaves(part.a)
		if err != nil {
			return nil, fmt.Errorf("%s of the backup: %w", part.name, err)
		}
		b, err := leaves(part.b)
		if err != nil {
			return nil, fmt.Errorf("%s of the cluster: %w", part.name, err)
		}
		diffs = append(diffs, compareFlat(part.name, a, b)...)
	}
	return diffs, nil
}

// comparedSettings drops what no two indices have in common.
func comparedSettings(settings map[string]json.RawMessage) map[string]string {
	out := map[string]string{}
	for k, v := range settings {
		if s := text(v); !elastic.Match(private, k) && !(k == "routing_partition_size" && s == "1") {
			out[k] = s // a clone spells out the partition size that others have unsaid
		}
	}
	return out
}

// leaves gives the paths and values of a JSON text in one form: spaces and the order of keys do not count, and numbers are
// equal by value. An empty object is a value of its own.
func leaves(v any) (map[string]string, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	out := map[string]string{}
	if obj, ok := tree.(map[string]any); !ok || len(obj) > 0 {
		walk("", tree, out)
	}
	return out, nil
}

func walk(path string, v any, out map[string]string) {
	switch v := v.(type) {
	case nil:
		if path != "" {
			out[path] = "null"
		}
	case map[string]any:
		if len(v) == 0 {
			out[path] = "{}"
		}
		for k, e := range v {
			walk(strings.TrimPrefix(path+"."+k, "."), e, out)
		}
	case []any:
		if len(v) == 0 {
			out[path] = "[]"
		}
		for i, e := range v {
			walk(fmt.Sprintf("%s[%d]", path, i), e, out)
		}
	case json.Number:
		out[path] = number(v.String())
	default:
		b, err := json.Marshal(v)
		if err != nil { // a decoded string or bool always has a form
			b = fmt.Append(nil, v)
		}
		out[path] = string(b)
	}
}

// number gives equal text for equal numbers. One with a large exponent stays as it is: its value could fill the memory.
func number(s string) string {
	if _, exp, ok := strings.Cut(strings.ToLower(s), "e"); ok && len(strings.TrimLeft(exp, "+-")) > 3 {
		return s
	}
	if r, ok := new(big.Rat).SetString(s); ok {
		return r.RatString()
	}
	return s
}

func compareFlat(what string, backup, cluster map[string]string) []string {
	keys := map[string]bool{}
	for k := range backup {
		keys[k] = true
	}
	for k := range cluster {
		keys[k] = true
	}
	var diffs []string
	more := 0
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		a, inA := backup[k]
		b, inB := cluster[k]
		if inA == inB && a == b {
			continue
		}
		if len(diffs) == maxDifferences {
			more++
			continue
		}
		diffs = append(diffs, fmt.Sprintf("%s: %s: backup %s, cluster %s", what, k, orNone(a, inA), orNone(b, inB)))
	}
	if more > 0 {
		diffs = append(diffs, fmt.Sprintf("%s: %d more differences", what, more))
	}
	return diffs
}

func orNone(s string, ok bool) string {
	if !ok {
		return "none"
	}
	return clip(s)
}
